//! One open connection: write a batch, see whether the server is still there.
//! `Frames` -> bytes in the kernel; the peer's end -> `Lost`.
//! Invariant: what is counted as written is wholly in the kernel; a frame cut in two stays in the batch.
//! Leaves out: opening (`connect`) and what to do after the end (`send`).
//!
//! What v1 cannot know: whether the server has read what the kernel took. When
//! a connection breaks, the bytes in the kernel's send buffer and in the
//! server's receive buffer are lost, and a frame of which only a part had been
//! taken is sent again from its start.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use rustls::ClientConnection;

use crate::connect::is_retried;
use crate::frames::Frames;
use crate::limits::{IO_SLICE, TLS_RECORD_BYTES};
use crate::queue::Tally;
use crate::socket::Leased;
use crate::tls;

/// Why a connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error("the server closed the connection")]
    Closed,
    #[error("TLS: {source}{remedy}", remedy = tls::remedy(source))]
    Tls { source: rustls::Error },
    #[error("{source}")]
    Broken {
        #[from]
        source: io::Error,
    },
    #[error("stopped while writing")]
    Stopped,
}

impl From<rustls::Error> for Lost {
    fn from(source: rustls::Error) -> Self {
        Lost::Tls { source }
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) enum Connection {
    Tcp(Plain),
    Tls(Box<Sealed>),
    Udp(SingleFrames),
}

impl Connection {
    pub(crate) fn peer(&self) -> SocketAddr {
        match self {
            Connection::Tcp(plain) => plain.peer,
            Connection::Tls(sealed) => sealed.plain.peer,
            Connection::Udp(frames) => frames.peer,
        }
    }

    /// Whether anybody is at the other end: over UDP that shows with the first
    /// datagram.
    pub(crate) fn is_answered(&self) -> bool {
        match self {
            Connection::Tcp(_) | Connection::Tls(_) => true,
            Connection::Udp(frames) => frames.first_wait.is_none(),
        }
    }

    /// Whether the server is still there, without waiting. A v1 server never
    /// writes; what it says all the same is passed over.
    pub(crate) fn check(&mut self) -> Result<(), Lost> {
        match self {
            Connection::Tcp(plain) => plain.check(),
            Connection::Tls(sealed) => sealed.check(),
            Connection::Udp(frames) => frames.check(),
        }
    }

    /// Hands the batch to the kernel and takes out of it what has left. Stops
    /// when `is_over`.
    pub(crate) fn write(
        &mut self,
        batch: &mut Frames,
        is_over: &dyn Fn() -> bool,
    ) -> (Tally, Result<(), Lost>) {
        let (sent_bytes, result) = match self {
            Connection::Tcp(plain) => plain.write(batch.as_slice(), is_over),
            Connection::Tls(sealed) => sealed.write(batch.as_slice(), is_over),
            Connection::Udp(frames) => return frames.write(batch, is_over),
        };
        let (messages, bytes) = batch.consume(sent_bytes);
        (Tally { messages, bytes, too_large: 0 }, result)
    }

    /// Ends the connection so that the server reads all that was written.
    pub(crate) fn finish(mut self) {
        // Closing with something unread would make the kernel send a reset,
        // which may overtake our last bytes.
        if self.check().is_err() {
            return;
        }
        let socket = match &mut self {
            Connection::Tcp(plain) => &plain.socket.io,
            Connection::Tls(sealed) => {
                sealed.tls.send_close_notify();
                // The kernel has room for these few bytes, or the peer is gone.
                let _ = sealed.tls.write_tls(&mut sealed.plain.socket.io);
                &sealed.plain.socket.io
            }
            Connection::Udp(_) => return,
        };
        let _ = socket.shutdown(Shutdown::Write);
    }
}

/// TCP.
#[derive(Debug)]
pub(crate) struct Plain {
    pub(crate) peer: SocketAddr,
    pub(crate) socket: Leased<TcpStream>,
}

impl Plain {
    fn check(&mut self) -> Result<(), Lost> {
        let mut unasked = [0; 1024];
        while has_input(&self.socket.io)? {
            let _ = self.socket.io.read(&mut unasked)?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], is_over: &dyn Fn() -> bool) -> (usize, Result<(), Lost>) {
        let mut sent = 0;
        loop {
            let rest = bytes.get(sent..).unwrap_or_default();
            if rest.is_empty() {
                return (sent, Ok(()));
            }
            match self.socket.io.write(rest) {
                Ok(taken) if taken == rest.len() => return (bytes.len(), Ok(())),
                Ok(taken) => sent += taken,
                Err(error) if is_retried(&error) => {}
                Err(source) => return (sent, Err(source.into())),
            }
            // Not all at once: the peer is slow, and time may be up.
            if is_over() {
                return (sent, Err(Lost::Stopped));
            }
        }
    }
}

/// TLS over TCP.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) plain: Plain,
    pub(crate) tls: ClientConnection,
}

impl Sealed {
    /// Waits for the server to refuse our certificate.
    pub(crate) fn wait_for_refusal(&mut self, wait: Duration) -> Result<(), Lost> {
        let socket = &self.plain.socket.io;
        socket.set_read_timeout(Some(wait))?;
        match socket.peek(&mut [0]) {
            Ok(_) => self.check()?,
            Err(error) if is_retried(&error) => {}
            Err(source) => return Err(source.into()),
        }
        self.plain.socket.io.set_read_timeout(Some(IO_SLICE))?;
        Ok(())
    }

    fn check(&mut self) -> Result<(), Lost> {
        let mut unasked = [0; 1024];
        while has_input(&self.plain.socket.io)? {
            self.tls.read_tls(&mut self.plain.socket.io)?;
            let state = self.tls.process_new_packets()?;
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                left = left.saturating_sub(self.tls.reader().read(&mut unasked)?.max(1));
            }
            if state.peer_has_closed() {
                return Err(Lost::Closed);
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], is_over: &dyn Fn() -> bool) -> (usize, Result<(), Lost>) {
        let mut sent = 0;
        for record in bytes.chunks(TLS_RECORD_BYTES) {
            // The peer may be slow, and time up.
            if sent > 0 && is_over() {
                return (sent, Err(Lost::Stopped));
            }
            if let Err(lost) = self.write_record(record, is_over) {
                return (sent, Err(lost));
            }
            sent += record.len();
        }
        (sent, Ok(()))
    }

    fn write_record(&mut self, plain: &[u8], is_over: &dyn Fn() -> bool) -> Result<(), Lost> {
        self.tls.writer().write_all(plain)?;
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.plain.socket.io) {
                Ok(_) => {}
                Err(error) if is_retried(&error) => {
                    if is_over() {
                        return Err(Lost::Stopped);
                    }
                }
                Err(source) => return Err(source.into()),
            }
        }
        Ok(())
    }
}

/// UDP: one frame, one datagram.
#[derive(Debug)]
pub(crate) struct SingleFrames {
    pub(crate) peer: SocketAddr,
    pub(crate) socket: Leased<UdpSocket>,
    /// Until the first datagram has gone: how long to listen then for word that
    /// nobody is there.
    pub(crate) first_wait: Option<Duration>,
}

impl SingleFrames {
    fn check(&mut self) -> Result<(), Lost> {
        let mut unasked = [0; 1024];
        loop {
            match receive(&self.socket.io, &mut unasked, MsgFlags::empty()) {
                Ok(_) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(io::Error::from(errno).into()),
            }
        }
    }

    /// The kernel reports a refused datagram with the next call: then that one
    /// stays in the batch.
    fn write(
        &mut self,
        batch: &mut Frames,
        is_over: &dyn Fn() -> bool,
    ) -> (Tally, Result<(), Lost>) {
        let mut called = 0_usize;
        let mut end = Ok(());
        for frame in batch.iter() {
            end = self.send(frame, is_over);
            if end.is_err() {
                break;
            }
            called += 1;
        }
        if end.is_ok() {
            end = self.check().map_err(NotSent::Lost);
        }
        if end.as_ref().is_err_and(NotSent::is_for_the_last) {
            called = called.saturating_sub(1);
        }
        let bytes = batch.iter().take(called).map(<[u8]>::len).sum();
        let (messages, bytes) = batch.consume(bytes);
        let tally = Tally { messages, bytes, too_large: 0 };
        match end {
            Ok(()) => (tally, Ok(())),
            Err(NotSent::TooLarge) => {
                batch.pop();
                (Tally { too_large: 1, ..tally }, Ok(()))
            }
            Err(NotSent::Lost(lost)) => (tally, Err(lost)),
        }
    }

    fn send(&mut self, frame: &[u8], is_over: &dyn Fn() -> bool) -> Result<(), NotSent> {
        while let Err(error) = self.socket.io.send(frame) {
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EMSGSIZE) => return Err(NotSent::TooLarge),
                Some(Errno::ENOBUFS) => thread::sleep(Duration::from_millis(1)),
                _ if is_retried(&error) => {}
                _ => return Err(NotSent::Lost(error.into())),
            }
            if is_over() {
                return Err(NotSent::Lost(Lost::Stopped));
            }
        }
        match self.first_wait.take() {
            Some(wait) if !wait.is_zero() => self.wait_for_icmp(wait),
            _ => Ok(()),
        }
    }

    /// Listens after the first datagram for word that nobody is there. The
    /// error, if any, is about that datagram, which has not been counted yet.
    fn wait_for_icmp(&self, wait: Duration) -> Result<(), NotSent> {
        let socket = &self.socket.io;
        let heard = socket.set_read_timeout(Some(wait)).and_then(|()| socket.peek(&mut [0]));
        match heard {
            Err(error) if !is_retried(&error) => Err(NotSent::Lost(error.into())),
            _ => Ok(()),
        }
    }
}

/// Why a datagram did not go.
enum NotSent {
    TooLarge,
    Lost(Lost),
}

impl NotSent {
    /// Whether the kernel may have spoken of the datagram before this one.
    fn is_for_the_last(&self) -> bool {
        let NotSent::Lost(Lost::Broken { source }) = self else { return false };
        matches!(
            source.raw_os_error().map(Errno::from_raw),
            Some(Errno::ECONNREFUSED | Errno::EHOSTUNREACH)
        )
    }
}
/// Whether something can be read at once; an error when the end can.
fn has_input(socket: &TcpStream) -> Result<bool, Lost> {
    match receive(socket, &mut [0], MsgFlags::MSG_PEEK) {
        Ok(0) => Err(Lost::Closed),
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN) => Ok(false),
        Err(errno) => Err(io::Error::from(errno).into()),
    }
}

/// Receives without waiting.
fn receive(socket: &impl AsRawFd, bytes: &mut [u8], flags: MsgFlags) -> Result<usize, Errno> {
    loop {
        match recv(socket.as_raw_fd(), bytes, flags | MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}
