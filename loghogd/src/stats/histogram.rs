//! Counts how long something takes.
//! A duration -> one more in its bucket; anybody may ask for all of them.
//! Invariant: noting takes three atomic additions and no lock.
//! Leaves out: what is timed, and how buckets are shown.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bound of each bucket but the last, in microseconds. A sync takes half a
/// millisecond on a good disk, and seconds on one that fails.
pub const BOUNDS: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 250_000, 1_000_000, 10_000_000];

/// Durations, by how long they were.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// What a histogram held at some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many there were in each bucket: up to each of [`BOUNDS`] and above the one
    /// before; those above all of them come last.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// All of them together, in microseconds.
    pub micros: u64,
}

impl Histogram {
    /// There was one that took so long.
    pub fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = BOUNDS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.buckets.get(place) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What there is now.
    pub fn spread(&self) -> Spread {
        let buckets = std::array::from_fn(|place| {
            self.buckets.get(place).map_or(0, |bucket| bucket.load(Ordering::Relaxed))
        });
        Spread { buckets, micros: self.micros.load(Ordering::Relaxed) }
    }
}

impl Spread {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The bound below which so many of a thousand were, in microseconds; none without
    /// any, or when it lies above all bounds.
    pub fn quantile(&self, of_a_thousand: u64) -> Option<u64> {
        let wanted = (u128::from(self.count()) * u128::from(of_a_thousand)).div_ceil(1_000);
        let mut seen = 0_u128;
        let place = self.buckets.iter().position(|bucket| {
            seen += u128::from(*bucket);
            seen >= wanted && seen > 0
        })?;
        BOUNDS.get(place).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_first_bucket_that_takes_it() {
        let histogram = Histogram::default();
        for micros in [0, 100, 101, 10_000_000, 10_000_001] {
            histogram.note(Duration::from_micros(micros));
        }
        let spread = histogram.spread();
        assert_eq!((spread.buckets[0], spread.buckets[1]), (2, 1));
        assert_eq!((spread.buckets[11], spread.buckets[12]), (1, 1));
        assert_eq!((spread.count(), spread.micros), (5, 20_000_202));
    }

    #[test]
    fn a_quantile_is_the_bound_that_so_many_stay_below() {
        let histogram = Histogram::default();
        assert_eq!(histogram.spread().quantile(500), None);
        for micros in (0..99).map(|_| 700).chain([20_000_000]) {
            histogram.note(Duration::from_micros(micros));
        }
        let spread = histogram.spread();
        assert_eq!(spread.quantile(500), Some(1_000));
        assert_eq!(spread.quantile(990), Some(1_000));
        assert_eq!(spread.quantile(1_000), None);
    }
}
