//! How long to wait: after trouble, and to stay below a rate. Pure.
//! Attempts, amounts and times -> pauses.
//! Invariant: pauses grow up to their longest, and begin anew when something has arrived.
//! Leaves out: waiting.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use super::limits::{ASKED_PAUSE_MAX, RATE_SECONDS, RETRY_MAX, RETRY_MIN};

/// The pauses after one trouble after another.
#[derive(Debug)]
pub(super) struct Pauses {
    attempts: u32,
    min: Duration,
}

impl Default for Pauses {
    fn default() -> Pauses {
        Pauses { attempts: 0, min: RETRY_MIN }
    }
}

impl Pauses {
    /// None at all, for tests.
    #[cfg(test)]
    pub(super) fn none() -> Pauses {
        Pauses { attempts: 0, min: Duration::ZERO }
    }

    /// The next pause; `chance` is from 0 to 1. Not shorter than what the target asks
    /// for, up to [`ASKED_PAUSE_MAX`].
    pub(super) fn next(&mut self, chance: f64, asked: Option<Duration>) -> Duration {
        let doubled = self.min.saturating_mul(1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX));
        self.attempts = self.attempts.saturating_add(1);
        let pause = doubled.min(RETRY_MAX).mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0);
        pause.max(asked.unwrap_or_default().min(ASKED_PAUSE_MAX))
    }

    /// Something has arrived.
    pub(super) fn begin_anew(&mut self) {
        self.attempts = 0;
    }
}

/// Keeps below so many bytes a second, averaged over a second.
#[derive(Debug)]
pub(super) struct Throttle {
    rate_bytes: Option<NonZeroU64>,
    /// When all that was let through is paid for.
    paid_at: Instant,
}

impl Throttle {
    pub(super) fn new(rate_bytes: Option<NonZeroU64>, now: Instant) -> Throttle {
        Throttle { rate_bytes, paid_at: now }
    }

    /// Most bytes that should go at once.
    pub(super) fn portion(&self, bytes: usize) -> usize {
        let rate = self.rate_bytes.map_or(u64::MAX, NonZeroU64::get);
        bytes.min(usize::try_from(rate).unwrap_or(usize::MAX))
    }

    /// How long to wait before more goes; so many bytes have gone.
    pub(super) fn pay(&mut self, bytes: u64, now: Instant) -> Duration {
        let Some(rate) = self.rate_bytes else { return Duration::ZERO };
        let cost = Duration::try_from_secs_f64(bytes as f64 / rate.get() as f64);
        let paid_at = self.paid_at.max(now).checked_add(cost.unwrap_or(Duration::MAX));
        // Beyond what a clock can say it is for ever, in steps of a day.
        self.paid_at = paid_at.unwrap_or(now + Duration::from_secs(86_400));
        self.paid_at.saturating_duration_since(now)
    }
}

/// What goes through a second, averaged over some seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    a_second: f64,
    at: Instant,
}

impl Rate {
    pub(super) fn new(now: Instant) -> Rate {
        Rate { a_second: 0.0, at: now }
    }

    /// So much has gone through.
    pub(super) fn add(&mut self, amount: u64, now: Instant) {
        self.a_second = self.now(now) + amount as f64 / RATE_SECONDS;
        self.at = now;
    }

    /// What it is now.
    pub(super) fn now(&self, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.a_second * (-elapsed / RATE_SECONDS).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_begin_anew() {
        let mut pauses = Pauses::default();
        let all: Vec<Duration> = (0..40).map(|_| pauses.next(0.0, None)).collect();
        assert_eq!(all[..3], [250, 500, 1000].map(Duration::from_millis));
        assert!(all[10..].iter().all(|pause| *pause == RETRY_MAX));
        assert_eq!(pauses.next(1.0, None), RETRY_MAX / 2);
        pauses.begin_anew();
        assert_eq!(pauses.next(1.0, None), RETRY_MIN / 2);
        assert_eq!(pauses.next(1.0, Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(pauses.next(0.0, Some(Duration::from_secs(300))), Duration::from_secs(300));
        assert_eq!(pauses.next(0.0, Some(Duration::from_secs(7_000))), ASKED_PAUSE_MAX);
    }

    #[test]
    fn a_throttle_lets_through_what_it_should_and_saves_nothing_up() {
        let now = Instant::now();
        let mut throttle = Throttle::new(NonZeroU64::new(1_000), now);
        assert_eq!(throttle.portion(5_000), 1_000);
        assert_eq!(throttle.pay(500, now), Duration::from_millis(500));
        assert_eq!(throttle.pay(500, now), Duration::from_secs(1));
        let later = now + Duration::from_secs(60);
        assert_eq!(throttle.pay(500, later), Duration::from_millis(500));
        // A segment of 1 GiB at 1 MiB a second.
        let mut throttle = Throttle::new(NonZeroU64::new(1 << 20), now);
        assert_eq!(throttle.pay(1 << 30, now), Duration::from_secs(1_024));
        let mut slow = Throttle::new(NonZeroU64::new(1), now);
        assert!(slow.pay(u64::MAX, now) >= Duration::from_secs(86_400));
        assert_eq!(Throttle::new(None, now).pay(u64::MAX, now), Duration::ZERO);
    }

    #[test]
    fn a_rate_fades_when_nothing_goes_through() {
        let now = Instant::now();
        let mut rate = Rate::new(now);
        for second in 0..60 {
            rate.add(100, now + Duration::from_secs(second));
        }
        let then = rate.now(now + Duration::from_secs(60));
        assert!((90.0..110.0).contains(&then), "{then}");
        assert!(rate.now(now + Duration::from_secs(120)) < 1.0);
    }
}
