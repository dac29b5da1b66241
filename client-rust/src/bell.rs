//! Wakes a thread that waits for a socket.
//! A ring from any thread -> a descriptor that can be read.
//! Invariant: ringing never waits; a ring is never lost.
//! Leaves out: what there is to do.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Both ends, shared by who rings and who listens.
#[derive(Clone, Debug)]
pub(crate) struct Bell(Arc<Ends>);

#[derive(Debug)]
struct Ends {
    ringing: UnixStream,
    listening: UnixStream,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Bell> {
        let (ringing, listening) = UnixStream::pair()?;
        ringing.set_nonblocking(true)?;
        listening.set_nonblocking(true)?;
        Ok(Bell(Arc::new(Ends { ringing, listening })))
    }

    pub(crate) fn ring(&self) {
        // Full: it rings already.
        let _ = (&self.0.ringing).write(&[1]);
    }

    /// Takes all rings so far.
    pub(crate) fn quiet(&self) {
        while matches!((&self.0.listening).read(&mut [0; 64]), Ok(64)) {}
    }

    pub(crate) fn listening(&self) -> BorrowedFd<'_> {
        self.0.listening.as_fd()
    }
}
