//! Watches the room on the file system.
//! `[main] min_free` and what is free -> may lines be written?
//! Invariant: what is not ours to use stays free, but for what one round writes.
//! Leaves out: making room (`pipeline::trim`).

use std::fmt;
use std::io;

use crate::config::checked::MinFree;
use crate::disk::{Disk, Space};

/// What has to stay free.
#[derive(Debug)]
pub(super) struct Room {
    min_free: Option<MinFree>,
}

/// Lines wait, because less is free than has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) struct Short {
    free_bytes: u64,
    min_free: MinFree,
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "only {} KiB of its file system are free, and [main] min_free keeps {}",
            self.free_bytes >> 10,
            self.min_free
        )
    }
}

impl Short {
    pub(super) fn error(self) -> io::Error {
        io::Error::new(io::ErrorKind::StorageFull, self)
    }
}

impl Room {
    pub(super) fn new(min_free: Option<MinFree>) -> Room {
        Room { min_free }
    }

    /// Asked before each round, which writes no more than is on its way.
    ///
    /// # Errors
    /// When nothing may be written now.
    pub(super) fn look(&self, disk: &dyn Disk) -> Result<(), Short> {
        let Some(min_free) = self.min_free else { return Ok(()) };
        // Who cannot tell how much is free is not held back: the disk itself
        // refuses what it cannot take.
        let Ok(Space { total_bytes, free_bytes }) = disk.space() else { return Ok(()) };
        match free_bytes < min_free.bytes_of(total_bytes) {
            true => Err(Short { free_bytes, min_free }),
            false => Ok(()),
        }
    }
}
