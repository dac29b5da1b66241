//! How long to wait before the next attempt to connect.
//! Failures in a row -> a pause.
//! Invariant: never longer than `PAUSE_MAX`; the attempt after a good connection is made at once.
//! Leaves out: the clock and the waiting (`queue`).

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::limits::{CONNECTION_PROVEN, OUTAGE_ATTEMPTS, PAUSE_MAX, PAUSE_MIN};

/// The failures so far.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    failures: u32,
    /// As it was settled last.
    settled: Duration,
}

impl Pause {
    /// An attempt to connect failed.
    pub(crate) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// A connection ended that had lasted so long. A server that accepts and
    /// closes at once counts like one that refuses.
    pub(crate) fn ended(&mut self, lasted: Duration) {
        if lasted >= CONNECTION_PROVEN {
            self.failures = 0;
        } else {
            self.failed();
        }
    }

    /// Whether the server counts as unreachable.
    pub(crate) fn is_outage(&self) -> bool {
        self.failures >= OUTAGE_ATTEMPTS
    }

    /// Failures in a row; chooses among the addresses where nothing else does.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// The pause before the next attempt.
    pub(crate) fn length(&self) -> Duration {
        self.jittered(RandomState::new().hash_one(self.failures))
    }

    /// Settles how long the pause is, for whoever asks more than once.
    pub(crate) fn settle(&mut self) {
        self.settled = self.length();
    }

    /// The pause that was settled.
    pub(crate) fn length_now(&self) -> Duration {
        self.settled
    }

    /// The pause, 25 % shorter to 25 % longer, so that the clients of a server
    /// that came back do not arrive together.
    fn jittered(&self, random: u64) -> Duration {
        let Some(doublings) = self.failures.checked_sub(OUTAGE_ATTEMPTS) else {
            return Duration::ZERO;
        };
        let factor = 1_u32.checked_shl(doublings).filter(|f| *f != 0).unwrap_or(u32::MAX);
        let pause = PAUSE_MIN.saturating_mul(factor).min(PAUSE_MAX);
        let percent = 75 + u32::try_from(random % 51).unwrap_or_default();
        (pause * percent / 100).min(PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(random: u64) -> Vec<u128> {
        let mut pause = Pause::default();
        (0..13)
            .map(|_| {
                pause.failed();
                pause.jittered(random).as_millis()
            })
            .collect()
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        assert_eq!(
            lengths(25),
            [0, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000, 30_000]
        );
        assert_eq!(lengths(0)[1..3], [150, 300]);
        assert_eq!(lengths(50)[1..3], [250, 500]);
        assert_eq!(lengths(50)[12], 30_000);
    }

    #[test]
    fn pauses_stay_bounded_for_ever() {
        let pause = Pause { failures: u32::MAX, ..Pause::default() };
        assert!(pause.length() <= PAUSE_MAX && pause.length() > PAUSE_MAX / 2);
    }

    #[test]
    fn a_good_connection_wipes_the_slate_and_a_short_one_does_not() {
        let mut pause = Pause { failures: 7, ..Pause::default() };
        pause.ended(Duration::from_millis(3));
        assert_eq!(pause.failures(), 8);
        assert!(pause.is_outage());
        pause.ended(CONNECTION_PROVEN);
        assert_eq!(pause.length(), Duration::ZERO);
        assert!(!pause.is_outage());
    }
}
