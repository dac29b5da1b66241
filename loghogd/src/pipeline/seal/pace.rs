//! Gives way to those who write.
//! What is being written, and how fast -> pauses in sealing.
//! Invariant: whoever pauses goes on as soon as it is time to stop.
//! Leaves out: priorities, which the system looks after.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::limits::{PACE_BYTES_A_SECOND, PACE_LOOK_EVERY, PACE_PAUSE};
use crate::pipeline::cold::Bell;
use crate::stats::{Counter, Stats};

/// Gives way while much is being written. Even threads that run only when
/// nobody else wants to take something from those who do: processors share
/// their caches, and often more.
pub(super) struct Pace<'a> {
    stats: &'a Stats,
    last: Mutex<Look>,
}

/// What was written until when.
struct Look {
    at: Instant,
    bytes: u64,
}

impl Pace<'_> {
    pub(super) fn new(stats: &Stats) -> Pace<'_> {
        let last = Look { at: Instant::now(), bytes: stats.get(Counter::Bytes) };
        Pace { stats, last: Mutex::new(last) }
    }

    /// Asked some fifty times a second by whoever hands out work. While there
    /// is much to write it pauses; what has been handed out is finished
    /// meanwhile. False when the bell has ended.
    pub(super) fn keep(&self, bell: &Bell) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + PACE_PAUSE;
        if Instant::now() >= last.at + PACE_LOOK_EVERY {
            while self.is_much(&mut last) && Instant::now() < until && !bell.has_ended() {
                std::thread::sleep(PACE_LOOK_EVERY);
            }
        }
        !bell.has_ended()
    }

    /// Is more being written than sealing should take from?
    fn is_much(&self, last: &mut Look) -> bool {
        let look = Look { at: Instant::now(), bytes: self.stats.get(Counter::Bytes) };
        let written = u128::from(look.bytes.saturating_sub(last.bytes));
        let passed = look.at.saturating_duration_since(last.at);
        *last = look;
        written * 1000 > u128::from(PACE_BYTES_A_SECOND) * passed.as_millis()
    }
}
