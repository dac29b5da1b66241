//! Signals that ask the command to end, as something to look at.
//! SIGTERM, SIGINT, SIGHUP -> a descriptor that can be read.
//! Invariant: no code runs inside of a signal; one that was ignored stays so.
//! Leaves out: what to do then.

use std::fs;
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
        let ignored = ignored();
        let set: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]
            .into_iter()
            .filter(|signal| ignored & (1 << (*signal as i32 - 1)) == 0)
            .collect();
        set.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Signals { descriptor: SignalFd::with_flags(&set, flags)? })
    }

    /// Whether one has come since the last call.
    pub(crate) fn came(&self) -> bool {
        matches!(self.descriptor.read_signal(), Ok(Some(_)))
    }
}

/// The signals that this process was told to ignore when it began, as nohup(1)
/// does and a shell for what runs in the background: a bit for each. Holding one
/// back would bring it to light again.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
