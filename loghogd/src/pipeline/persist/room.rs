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
        let Ok(Space { total_bytes, free_bytes, .. }) = disk.space() else { return Ok(()) };
        let wanted_bytes = min_free.bytes_of(total_bytes);
        // What no file system of this size can have holds nobody back; the
        // room that trims complains of it.
        match wanted_bytes < total_bytes && free_bytes < wanted_bytes {
            true => Err(Short { free_bytes, min_free }),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::simulated::Simulated;

    #[test]
    fn lines_wait_while_less_is_free_than_has_to_be() {
        let disk = Simulated::new();
        disk.set_total_bytes(1000);
        let mut live = disk.open_live("app", "web.log").unwrap();
        live.file.write_all(&[b'x'; 300]).unwrap();
        let half = Room::new(Some(MinFree::Percent { tenths: 500 }));
        assert_eq!(half.look(&disk), Ok(()));
        live.file.write_all(&[b'x'; 300]).unwrap();
        let error = half.look(&disk).unwrap_err().error();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(error.to_string().contains("[main] min_free keeps 50%"));
        assert_eq!(Room::new(None).look(&disk), Ok(()));
        let impossible = Room::new(Some(MinFree::Bytes(1000)));
        assert_eq!(impossible.look(&disk), Ok(()), "it would never be so");
    }
}
