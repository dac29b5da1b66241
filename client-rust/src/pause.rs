//! How long to wait before the next attempt to connect.
//! Failures in a row -> a pause.
//! Invariant: never longer than `PAUSE_MAX`; what came of a good connection never lengthens it.
//! Leaves out: the clock and the waiting (`queue`).

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::limits::{CONNECTION_PROVEN, OUTAGE_ATTEMPTS, PAUSE_MAX, PAUSE_MIN};

/// The failures so far.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    failures: u32,
    /// What a good connection that was short leaves to wait.
    rest: Duration,
    /// As it was settled last.
    settled: Duration,
}

/// How a connection went that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) lasted: Duration,
    /// The server has acknowledged something over it.
    pub(crate) brought: bool,
}

impl Pause {
    /// An attempt to connect failed.
    pub(crate) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.rest = Duration::ZERO;
    }

    /// A connection ended. It was good if it brought messages to their place,
    /// however short it was: a server that restarts often, or a proxy that cuts,
    /// is there. Such connections begin `PAUSE_MIN` apart at least, so that a
    /// server that takes little from each is not called in a circle. One that
    /// accepts and closes at once counts like one that refuses.
    pub(crate) fn ended(&mut self, Ended { lasted, brought }: Ended) {
        if brought || lasted >= CONNECTION_PROVEN {
            self.failures = 0;
            self.rest = PAUSE_MIN.saturating_sub(lasted);
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
            return self.rest;
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

    fn ended(pause: &mut Pause, lasted_ms: u64, brought: bool) {
        pause.ended(Ended { lasted: Duration::from_millis(lasted_ms), brought });
    }

    #[test]
    fn a_long_connection_wipes_the_slate_and_a_short_one_that_brought_nothing_does_not() {
        let mut pause = Pause { failures: 7, ..Pause::default() };
        ended(&mut pause, 3, false);
        assert_eq!(pause.failures(), 8);
        assert!(pause.is_outage());
        ended(&mut pause, 2_000, false);
        assert_eq!(pause.length(), Duration::ZERO);
        assert!(!pause.is_outage());
    }

    #[test]
    fn short_connections_that_brought_something_never_lengthen_the_pause() {
        let mut pause = Pause { failures: 7, ..Pause::default() };
        for _ in 0..1_000 {
            ended(&mut pause, 3, true);
            assert_eq!((pause.failures(), pause.is_outage()), (0, false));
            // They begin no faster than the shortest pause, though.
            assert_eq!(pause.length(), PAUSE_MIN - Duration::from_millis(3));
        }
        ended(&mut pause, 500, true);
        assert_eq!(pause.length(), Duration::ZERO);
        // A server that is away afterwards is called at once, and then seldomer.
        ended(&mut pause, 3, true);
        pause.failed();
        assert_eq!(pause.length(), Duration::ZERO);
        pause.failed();
        assert!(pause.length() >= PAUSE_MIN * 3 / 4);
    }
}
