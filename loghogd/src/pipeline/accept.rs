//! Sockets -> bytes.
//! A configured address -> sockets; a socket -> connections and datagrams.
//! Invariant: a failed accept or read never ends the daemon, only what it was about.
//! Leaves out: what the bytes say.
//!
//! ```text
//! bind   addresses -> sockets, before privileges are dropped
//! inherit those that are open already
//! tcp    a listening socket -> connections
//! tls    a connection -> one whose peer has shown its certificate
//! udp    a socket -> datagrams, many a call
//! ```

pub mod bind;
pub mod inherit;
pub mod tcp;
pub mod tls;
pub mod udp;

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
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
    Tls(Box<Tls>),
}

#[derive(Debug)]
struct Tls {
    stream: TlsStream<TcpStream>,
    woken: Arc<Woken>,
    /// How it has ended, while what came before that is still being read.
    ended: Option<io::Result<()>>,
}

impl Stream {
    /// A connection in the clear.
    pub fn tcp(stream: TcpStream) -> Stream {
        Stream { wire: Wire::Tcp(stream), more: false }
    }

    /// A connection inside TLS, both sides verified.
    pub fn tls(stream: TlsStream<TcpStream>) -> Stream {
        let tls = Tls { stream, woken: Arc::default(), ended: None };
        // The peer may have sent its first messages with its handshake.
        Stream { wire: Wire::Tls(Box::new(tls)), more: true }
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
            Wire::Tls(tls) => tls.stream.get_ref().0.readable().await,
        }
    }

    /// May there be something to read, whatever the socket says?
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// Reads what is there, without waiting. `Ok(0)` means that the peer has
    /// closed the connection.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; `InvalidData` when the peer breaks
    /// the rules of TLS; else what the system says.
    pub fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.wire {
            Wire::Tcp(stream) => stream.try_read(buffer),
            Wire::Tls(tls) => {
                let outcome = tls.try_read(buffer);
                let full = outcome.as_ref().is_ok_and(|bytes| *bytes == buffer.len());
                let woken = tls.woken.0.load(Ordering::Relaxed);
                self.more = full || woken || tls.ended.is_some();
                outcome
            }
        }
    }
}

// For the second protocol; the first never writes.
impl Stream {
    /// Waits until something can be written, or the connection has ended.
    ///
    /// # Errors
    /// What the system says of the socket.
    pub async fn writable(&self) -> io::Result<()> {
        match &self.wire {
            Wire::Tcp(stream) => stream.writable().await,
            Wire::Tls(tls) => tls.stream.get_ref().0.writable().await,
        }
    }

    /// Writes what fits, without waiting; returns how many bytes that were.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits; else what the system says.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.wire {
            Wire::Tcp(stream) => stream.try_write(bytes),
            Wire::Tls(tls) => {
                let mut context = Context::from_waker(Waker::noop());
                let written = Pin::new(&mut tls.stream).poll_write(&mut context, bytes);
                // What TLS keeps goes with the next write, or now.
                let _ = Pin::new(&mut tls.stream).poll_flush(&mut context);
                match written {
                    Poll::Ready(written) => written,
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
        }
    }

    /// Says that nothing more comes.
    pub async fn shut_down(&mut self) {
        // Whoever has gone need not be told.
        let shut_down = std::future::poll_fn(|context| match &mut self.wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Wire::Tls(tls) => Pin::new(&mut tls.stream).poll_shutdown(context),
        });
        let _ = shut_down.await;
    }
}

impl Tls {
    /// Reads as many records as are there and fit. One call of the stream
    /// yields one at most. An end is told once everything before it is read.
    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Waiting is `readable`'s business, which looks at the socket itself.
        self.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut context = Context::from_waker(&waker);
        let mut filled = ReadBuf::new(buffer);
        while filled.remaining() > 0 && self.ended.is_none() {
            let before = filled.filled().len();
            match Pin::new(&mut self.stream).poll_read(&mut context, &mut filled) {
                Poll::Ready(Ok(())) if filled.filled().len() == before => self.ended = Some(Ok(())),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => self.ended = Some(Err(error)),
                Poll::Pending if before == 0 => return Err(io::ErrorKind::WouldBlock.into()),
                Poll::Pending => break,
            }
        }
        if self.ended.is_some() {
            // An error comes before the last records that were decrypted.
            let decrypted = self.stream.get_mut().1.reader().read(filled.initialize_unfilled());
            filled.advance(decrypted.unwrap_or(0));
        }
        match filled.filled().len() {
            0 => self.ended.take().unwrap_or(Ok(())).map(|()| 0),
            bytes => Ok(bytes),
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
