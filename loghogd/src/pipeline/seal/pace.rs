//! Gives way to those who write.
//! How much is being written -> pauses in sealing.
//! Invariant: whoever pauses goes on as soon as it is time to stop.
//! Leaves out: priorities, which the system looks after.
//!
//! Even threads that run only when nobody else wants to take something from
//! those who do: processors share their caches, and often more.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::limits::{PACE_BYTES_A_SECOND, PACE_PAUSE, PACE_WORK};
use crate::stats::{Counter, Stats};

/// How often whoever pauses looks whether to go on.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// While much is being written, lets threads work for a part of the time
/// only, all of them at the same times.
#[derive(Debug)]
pub struct Pace {
    stats: Arc<Stats>,
    last: Mutex<Look>,
}

/// What had been written when somebody looked last, and the pause that came
/// of it.
#[derive(Debug)]
struct Look {
    at: Instant,
    bytes: u64,
    pause_until: Instant,
}

impl Pace {
    /// By what is counted here.
    #[must_use]
    pub fn new(stats: Arc<Stats>) -> Pace {
        let now = Instant::now();
        let last = Look { at: now, bytes: stats.get(Counter::Bytes), pause_until: now };
        Pace { stats, last: Mutex::new(last) }
    }

    /// Pauses if it is time to, as long as `go_on` says yes. To be asked some
    /// fifty times a second.
    pub(super) fn keep(&self, go_on: &dyn Fn() -> bool) {
        let pause_until = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.follow(Instant::now(), self.stats.get(Counter::Bytes))
        };
        loop {
            let left = pause_until.saturating_duration_since(Instant::now());
            if left.is_zero() || !go_on() {
                return;
            }
            thread::sleep(left.min(LOOK_EVERY));
        }
    }
}

impl Look {
    /// Until when to pause. After a while of work it is looked at anew.
    fn follow(&mut self, now: Instant, bytes: u64) -> Instant {
        if now >= self.pause_until + PACE_WORK {
            let written = u128::from(bytes.saturating_sub(self.bytes));
            let passed = now.saturating_duration_since(self.at);
            let is_much = written * 1000 > u128::from(PACE_BYTES_A_SECOND) * passed.as_millis();
            let pause_until = if is_much { now + PACE_PAUSE } else { now };
            *self = Look { at: now, bytes, pause_until };
        }
        self.pause_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_much_is_written_sealing_pauses_most_of_the_time_and_else_never() {
        let begun = Instant::now();
        let mut look = Look { at: begun, bytes: 0, pause_until: begun };
        let step = Duration::from_millis(1);
        for (speed, share) in [(PACE_BYTES_A_SECOND * 2, 0.25), (PACE_BYTES_A_SECOND / 2, 1.0)] {
            let (mut now, mut bytes, mut worked) = (look.at, look.bytes, 0);
            for _ in 0..8000 {
                now += step;
                bytes += speed / 1000;
                worked += u32::from(look.follow(now, bytes) <= now);
            }
            assert!((f64::from(worked) / 8000.0 - share).abs() < 0.06, "{worked}");
        }
    }

    #[test]
    fn a_pause_ends_when_it_is_time_to_stop() {
        let pace = Pace::new(Arc::default());
        let far = Instant::now() + Duration::from_secs(3600);
        pace.last.lock().unwrap().pause_until = far;
        let asked = std::cell::Cell::new(0);
        pace.keep(&|| asked.replace(asked.get() + 1) < 2);
        assert!(Instant::now() < far);
    }
}
