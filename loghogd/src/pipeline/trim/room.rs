//! Says how much room is missing. Pure.
//! The space on a file system, before and after deleting -> a number of bytes.
//! Invariant: what was deleted counts as room, also where the file system gives it back late.
//! Leaves out: asking the file system; what is deleted.
//!
//! Some file systems give room back with their next transaction only. If
//! nobody waited for that, each look meanwhile would find too little room,
//! until everything is deleted.

use jiff::Timestamp;

use crate::config::checked::MinFree;
use crate::disk::Space;
use crate::limits::ROOM_SHOWS_TIME_MAX;

/// Room that is to be kept free.
#[derive(Debug)]
pub(super) struct Room {
    min_free: MinFree,
    /// What was free at the last look, with what was on its way.
    counted_bytes: u64,
    /// What was deleted and does not show yet.
    awaited: Option<Awaited>,
}

#[derive(Clone, Copy, Debug)]
struct Awaited {
    /// What will be free.
    free_bytes: u64,
    since: Timestamp,
}

impl Room {
    pub(super) fn new(min_free: MinFree) -> Room {
        Room { min_free, counted_bytes: 0, awaited: None }
    }

    pub(super) fn min_free(&self) -> MinFree {
        self.min_free
    }

    /// How many bytes are missing.
    ///
    /// # Errors
    /// What is asked for, in bytes, when there is not so much in all.
    pub(super) fn shortage_bytes(&mut self, space: Space, now: Timestamp) -> Result<u64, u64> {
        let wanted_bytes = self.min_free.bytes_of(space.total_bytes);
        if wanted_bytes >= space.total_bytes {
            return Err(wanted_bytes);
        }
        self.counted_bytes = self.free_bytes(space, now);
        Ok(wanted_bytes.saturating_sub(self.counted_bytes))
    }

    /// Notes that so many bytes were deleted since the last look, and that
    /// this is the space now.
    pub(super) fn note_deleted(&mut self, bytes: u64, after: Space, now: Timestamp) {
        let free_bytes = self.counted_bytes.saturating_add(bytes);
        // Others write meanwhile: if half of it shows, all of it does.
        if after.shows_late && bytes > 0 && after.free_bytes < free_bytes - bytes / 2 {
            self.awaited = Some(Awaited { free_bytes, since: now });
        }
    }

    /// With what is on its way to become free.
    fn free_bytes(&mut self, space: Space, now: Timestamp) -> u64 {
        self.awaited = self.awaited.filter(|awaited| {
            let waited = now.duration_since(awaited.since).unsigned_abs();
            waited < ROOM_SHOWS_TIME_MAX && space.free_bytes < awaited.free_bytes
        });
        self.awaited.map_or(space.free_bytes, |awaited| awaited.free_bytes)
    }
}
