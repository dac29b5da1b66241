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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A connection that frames come from.
#[derive(Debug)]
pub struct Stream {
    wire: Wire,
    /// There may be more, of which the socket knows nothing, because TLS has
    /// already taken it from there.
    more: bool,
}

#[derive(Debug)]
enum Wire {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>, Arc<Woken>),
}

impl Stream {
    /// A connection in the clear.
    pub fn tcp(stream: TcpStream) -> Stream {
        Stream { wire: Wire::Tcp(stream), more: false }
    }

    /// A connection inside TLS, both sides verified.
    pub fn tls(stream: TlsStream<TcpStream>) -> Stream {
        // The peer may have sent its first messages with its handshake.
        Stream { wire: Wire::Tls(Box::new(stream), Arc::default()), more: true }
    }

    /// Waits until there is something to read, or the connection has ended.
    /// No buffer is needed to wait, so an idle connection costs next to nothing.
    ///
    /// # Errors
    /// What the system says of the socket.
    pub async fn readable(&self) -> io::Result<()> {
        match &self.wire {
            _ if self.more => Ok(()),
            Wire::Tcp(stream) => stream.readable().await,
            Wire::Tls(stream, _) => stream.get_ref().0.readable().await,
        }
    }

    /// Reads what is there, without waiting. `Ok(0)` means that the peer has
    /// closed the connection.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; else what the system or TLS says.
    pub fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.wire {
            Wire::Tcp(stream) => stream.try_read(buffer),
            Wire::Tls(stream, woken) => {
                let outcome = read_records(stream, woken, buffer);
                let full = outcome.as_ref().is_ok_and(|bytes| *bytes == buffer.len());
                self.more = full || woken.0.load(Ordering::Relaxed);
                outcome
            }
        }
    }
}

/// Notes that the stream asks to be read again at once.
#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads as many TLS records as are there and fit. One call of the stream
/// yields one record at most.
fn read_records(
    stream: &mut TlsStream<TcpStream>,
    woken: &Arc<Woken>,
    buffer: &mut [u8],
) -> io::Result<usize> {
    // Waking is `readable`'s business, which looks at the socket itself; only
    // a wake during the call counts, by which the runtime cuts a turn short.
    woken.0.store(false, Ordering::Relaxed);
    let waker = Waker::from(Arc::clone(woken));
    let mut context = Context::from_waker(&waker);
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
