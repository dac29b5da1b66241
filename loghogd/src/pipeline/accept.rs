//! Sockets -> bytes.
//! A configured address -> sockets; a socket -> connections and datagrams.
//! Invariant: a failed accept or read never ends the daemon, only what it was about.
//! Leaves out: what the bytes say.
//!
//! ```text
//! bind   addresses -> sockets, before privileges are dropped
//! tcp    a listening socket -> connections
//! tls    a connection -> one whose peer has shown its certificate
//! udp    a socket -> datagrams, many a call
//! ```

pub mod bind;
pub mod tcp;
pub mod tls;
pub mod udp;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A connection that frames come from.
#[derive(Debug)]
pub enum Stream {
    /// In the clear.
    Tcp(TcpStream),
    /// Inside TLS, both sides verified.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Waits until there is something to read, or the connection has ended.
    /// No buffer is needed to wait, so an idle connection costs next to nothing.
    ///
    /// # Errors
    /// What the system says of the socket.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.readable().await,
            Stream::Tls(stream) => stream.get_ref().0.readable().await,
        }
    }

    /// Reads what is there, without waiting. `Ok(0)` means that the peer has
    /// closed the connection.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; else what the system or TLS says.
    pub fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_read(buffer),
            Stream::Tls(stream) => read_records(stream, buffer),
        }
    }
}

/// Reads as many TLS records as are there and fit. One call of the stream
/// yields one record at most.
fn read_records(stream: &mut TlsStream<TcpStream>, buffer: &mut [u8]) -> io::Result<usize> {
    // Waking is `readable`'s business, which looks at the socket itself.
    let mut context = Context::from_waker(Waker::noop());
    let mut filled = ReadBuf::new(buffer);
    while filled.remaining() > 0 {
        let before = filled.filled().len();
        match Pin::new(&mut *stream).poll_read(&mut context, &mut filled) {
            Poll::Ready(Ok(())) if filled.filled().len() == before => break,
            Poll::Ready(Ok(())) => {}
            // What was read before the error is read; the error comes again.
            Poll::Ready(Err(_)) | Poll::Pending if before > 0 => break,
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
        }
    }
    Ok(filled.filled().len())
}
