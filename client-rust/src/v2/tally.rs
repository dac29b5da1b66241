//! What was dropped, and whether the server knows.
//! Counters, and what an earlier program has left untold -> a REPORT when there is news.
//! Invariant: a drop is reported until a batch behind its report was acknowledged.
//! Leaves out: counting (`queue`), keeping what is untold (`spool`).

use wire::v2::report::{Dropped, Report};

use crate::spool::REASONS;
use crate::stats::Stats;

/// Messages by reason, in the order of the protocol's numbers.
type Counts = [u64; REASONS];

#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Dropped by an earlier program that told nobody.
    earlier: Counts,
    /// Told in this session or before.
    told: Counts,
    /// Told, and the server is known to have read it.
    confirmed: Counts,
    /// The last number sent before the last report.
    barrier: u64,
}

impl Tally {
    pub(super) fn new(earlier: Counts) -> Tally {
        Tally { earlier, ..Tally::default() }
    }

    /// What the server does not know yet, once; `sent` is the last number sent
    /// before it.
    pub(super) fn news(&mut self, stats: &Stats, sent: u64) -> Option<Report> {
        let all = self.all(stats);
        let dropped: Vec<_> = (1..)
            .zip(less(all, self.told))
            .filter(|(_, messages)| *messages > 0)
            .map(|(reason, messages)| (Dropped::from_number(reason), messages))
            .collect();
        if dropped.is_empty() {
            return None;
        }
        self.told = all;
        self.barrier = sent;
        Some(Report { dropped })
    }

    /// Whether there is something to tell.
    pub(super) fn has_news(&self, stats: &Stats) -> bool {
        less(self.all(stats), self.told).iter().any(|messages| *messages > 0)
    }

    /// What no server is known to have read.
    pub(super) fn unconfirmed(&self, stats: &Stats) -> Counts {
        less(self.all(stats), self.confirmed)
    }

    /// The server has acknowledged so far: all that came before it was read.
    pub(super) fn acknowledged(&mut self, durable: u64) {
        if durable > self.barrier {
            self.confirmed = self.told;
        }
    }

    /// The session ended as it should: what was told was read.
    pub(super) fn finished(&mut self) {
        self.confirmed = self.told;
    }

    /// The session broke: what the server may not have read is told again.
    pub(super) fn lost(&mut self) {
        self.told = self.confirmed;
    }

    fn all(&self, stats: &Stats) -> Counts {
        let dropped = &stats.dropped;
        let mut all = [
            dropped.queue_full,
            dropped.spool_full,
            dropped.spool_failed,
            stats.damaged,
            dropped.too_large,
            dropped.closed,
        ];
        for (messages, earlier) in all.iter_mut().zip(self.earlier) {
            *messages = messages.saturating_add(earlier);
        }
        all
    }
}

fn less(all: Counts, known: Counts) -> Counts {
    let mut left = all;
    for (messages, known) in left.iter_mut().zip(known) {
        *messages = messages.saturating_sub(known);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_is_told_again_until_the_server_has_surely_read_it() {
        let mut stats = Stats::default();
        let mut tally = Tally::default();
        assert_eq!(tally.news(&stats, 5), None);
        stats.dropped.queue_full = 3;
        let three = Some(Report { dropped: vec![(Dropped::MemoryFull, 3)] });
        assert!(tally.has_news(&stats));
        assert_eq!(tally.news(&stats, 5), three);
        assert_eq!(tally.news(&stats, 5), None);
        assert!(!tally.has_news(&stats));
        tally.acknowledged(5);
        tally.lost();
        assert_eq!(tally.news(&stats, 5), three);
        assert_eq!(tally.unconfirmed(&stats), [3, 0, 0, 0, 0, 0]);
        tally.acknowledged(6);
        tally.lost();
        assert_eq!(tally.news(&stats, 6), None);
        assert_eq!(tally.unconfirmed(&stats), [0; REASONS]);
    }

    #[test]
    fn what_an_earlier_program_could_not_tell_is_told_with_the_rest() {
        let mut stats = Stats::default();
        let mut tally = Tally::new([0, 4, 0, 0, 0, 9]);
        stats.dropped.spool_full = 1;
        let report = tally.news(&stats, 0).unwrap();
        assert_eq!(report.dropped, [(Dropped::SpoolFull, 5), (Dropped::Ended, 9)]);
        assert_eq!(tally.unconfirmed(&stats), [0, 5, 0, 0, 0, 9]);
        tally.finished();
        assert_eq!(tally.unconfirmed(&stats), [0; REASONS]);
    }
}
