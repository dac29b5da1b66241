//! Waiting until messages have left the queue.
//! A moment -> whether all that waited then is in the kernel's hands.
//! Invariant: no wait outlasts its limit; the sender hurries as long as one lasts.
//! Leaves out: stopping (`close` in `queue`).

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::{Queue, Sender};

/// Somebody's wait until the messages queued before it have left. While one is
/// alive, pauses between attempts to connect are short.
#[derive(Debug)]
pub struct Flush<'a> {
    queue: &'a Queue,
    started: Instant,
    limit: Duration,
    unreachable_limit: Duration,
    target: u64,
    lost_before: u64,
}

impl Flush<'_> {
    /// Waits for at most `slice`. `Some(true)`: all has been handed to the
    /// kernel. `Some(false)`: the time is up, or something was lost
    /// meanwhile, dropped or damaged in the spool. `None`: not yet; wait again.
    pub fn wait(&self, slice: Duration) -> Option<bool> {
        let slice_started = Instant::now();
        let mut state = self.queue.lock();
        loop {
            if state.oldest() >= self.target {
                return Some(state.stats.lost() == self.lost_before);
            }
            let limit = if state.outage { self.unreachable_limit } else { self.limit };
            let left = limit.saturating_sub(self.started.elapsed());
            if left.is_zero() || state.sender == Sender::Absent {
                return Some(false);
            }
            let slice_left = slice.saturating_sub(slice_started.elapsed());
            if slice_left.is_zero() {
                return None;
            }
            let woken = self.queue.progress.wait_timeout(state, left.min(slice_left));
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits to the end of the limit.
    pub(crate) fn wait_all(&self) -> bool {
        self.wait(Duration::MAX).unwrap_or(false)
    }
}

impl Drop for Flush<'_> {
    fn drop(&mut self) {
        self.queue.lock().hurried -= 1;
    }
}

impl Queue {
    /// Begins to wait until all that is queued now has left.
    pub(crate) fn flush(&self, limit: Duration, unreachable_limit: Duration) -> Flush<'_> {
        let mut state = self.lock();
        let flush = Flush {
            queue: self,
            started: Instant::now(),
            limit,
            unreachable_limit: unreachable_limit.min(limit),
            target: state.accepted,
            lost_before: state.stats.lost(),
        };
        state.hurried += 1;
        state.nudges += 1;
        self.wake(state);
        flush
    }
}
