//! TCP or TLS, one read or write at a time.
//! Bytes -> the kernel, as many as it takes; what has come -> bytes.
//! Invariant: neither waits longer than the socket's own time limit, which is none in a session.
//! Leaves out: frames (`session`).

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use crate::connect::is_retried;
use crate::connection::{Connection, Lost, Plain, Sealed};
use crate::limits::TLS_RECORD_BYTES;

#[derive(Debug)]
pub(super) enum Stream {
    Tcp(Plain),
    Tls(Box<Sealed>),
}

impl Stream {
    /// None for UDP.
    pub(super) fn of(connection: Connection) -> Option<Stream> {
        match connection {
            Connection::Tcp(plain) => Some(Stream::Tcp(plain)),
            Connection::Tls(sealed) => Some(Stream::Tls(sealed)),
            Connection::Udp(_) => None,
        }
    }

    fn plain(&self) -> &Plain {
        match self {
            Stream::Tcp(plain) => plain,
            Stream::Tls(sealed) => &sealed.plain,
        }
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.plain().peer
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.plain().socket.io.as_fd()
    }

    /// From now on nothing waits.
    pub(super) fn never_wait(&self) -> Result<(), Lost> {
        Ok(self.plain().socket.io.set_nonblocking(true)?)
    }

    /// Appends what has come to `into`; once.
    pub(super) fn read(&mut self, into: &mut Vec<u8>) -> Result<(), Lost> {
        let mut chunk = [0; 16 << 10];
        match self {
            Stream::Tcp(plain) => match plain.socket.io.read(&mut chunk) {
                Ok(0) => Err(Lost::Closed),
                Ok(read) => {
                    into.extend_from_slice(chunk.get(..read).unwrap_or_default());
                    Ok(())
                }
                Err(error) if is_retried(&error) => Ok(()),
                Err(error) => Err(error.into()),
            },
            Stream::Tls(sealed) => {
                match sealed.tls.read_tls(&mut sealed.plain.socket.io) {
                    Ok(0) => return Err(Lost::Closed),
                    Ok(_) => {}
                    Err(error) if is_retried(&error) => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
                let state = sealed.tls.process_new_packets()?;
                let mut left = state.plaintext_bytes_to_read();
                while left > 0 {
                    let read = sealed.tls.reader().read(&mut chunk)?;
                    into.extend_from_slice(chunk.get(..read).unwrap_or_default());
                    left = left.saturating_sub(read.max(1));
                }
                if state.peer_has_closed() { Err(Lost::Closed) } else { Ok(()) }
            }
        }
    }

    /// Writes what the kernel takes now; returns how much that was.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<usize, Lost> {
        let mut written = 0;
        loop {
            let rest = bytes.get(written..).unwrap_or_default();
            let taken = match self {
                Stream::Tcp(_) if rest.is_empty() => return Ok(written),
                Stream::Tcp(plain) => plain.socket.io.write(rest),
                Stream::Tls(sealed) if sealed.tls.wants_write() => {
                    sealed.tls.write_tls(&mut sealed.plain.socket.io).map(|_| 0)
                }
                Stream::Tls(_) if rest.is_empty() => return Ok(written),
                Stream::Tls(sealed) => {
                    let record = rest.get(..TLS_RECORD_BYTES).unwrap_or(rest);
                    sealed.tls.writer().write(record)
                }
            };
            match taken {
                Ok(taken) => written += taken,
                Err(error) if is_retried(&error) => return Ok(written),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether bytes that were taken still wait for the kernel.
    pub(super) fn has_more(&self) -> bool {
        matches!(self, Stream::Tls(sealed) if sealed.tls.wants_write())
    }

    /// Says that nothing more comes.
    pub(super) fn finish(&mut self) {
        if let Stream::Tls(sealed) = self {
            sealed.tls.send_close_notify();
            let _ = self.write(&[]);
        }
        let _ = self.plain().socket.io.shutdown(Shutdown::Write);
    }
}
