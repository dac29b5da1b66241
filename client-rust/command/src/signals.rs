//! Signals that ask the command to end, as something to look at.
//! SIGTERM, SIGINT -> a descriptor that can be read.
//! Invariant: no code runs inside of a signal; all threads hold these back.
//! Leaves out: what to do then.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

#[derive(Debug)]
pub(crate) struct Signals {
    descriptor: SignalFd,
}

impl Signals {
    /// Holds the signals back from now on, in this thread and those that it
    /// starts: to be called before any other is there.
    pub(crate) fn hold() -> io::Result<Signals> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGTERM);
        set.add(Signal::SIGINT);
        set.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Signals { descriptor: SignalFd::with_flags(&set, flags)? })
    }

    /// Whether one has come since the last call.
    pub(crate) fn came(&self) -> bool {
        matches!(self.descriptor.read_signal(), Ok(Some(_)))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
