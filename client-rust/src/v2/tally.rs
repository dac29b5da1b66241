//! What was dropped, and whether the server knows.
//! Counters -> a REPORT when there is news.
//! Invariant: a drop is reported until a batch behind its report was acknowledged.
//! Leaves out: counting (`queue`).

use wire::v2::report::{Dropped, Report};

use crate::stats::Stats;

const REASONS: usize = 6;

#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Told in this session or before.
    told: [u64; REASONS],
    /// Told, and the server is known to have read it.
    confirmed: [u64; REASONS],
    /// The last number sent before the last report.
    barrier: u64,
}

impl Tally {
    /// What the server does not know yet, once; `sent` is the last number sent
    /// before it.
    pub(super) fn news(&mut self, stats: &Stats, sent: u64) -> Option<Report> {
        let dropped = &stats.dropped;
        let all = [
            (Dropped::MemoryFull, dropped.queue_full),
            (Dropped::SpoolFull, dropped.spool_full),
            (Dropped::SpoolFailed, dropped.spool_failed),
            (Dropped::SpoolDamaged, stats.damaged),
            (Dropped::TooLong, dropped.too_large),
            (Dropped::Ended, dropped.closed),
        ];
        let news: Vec<_> = all
            .iter()
            .zip(self.told)
            .map(|((reason, messages), told)| (*reason, messages.saturating_sub(told)))
            .filter(|(_, messages)| *messages > 0)
            .collect();
        if news.is_empty() {
            return None;
        }
        self.told = all.map(|(_, messages)| messages);
        self.barrier = sent;
        Some(Report { dropped: news })
    }

    /// The server has acknowledged so far: all that came before it was read.
    pub(super) fn acknowledged(&mut self, durable: u64) {
        if durable > self.barrier {
            self.confirmed = self.told;
        }
    }

    /// The session broke: what the server may not have read is told again.
    pub(super) fn lost(&mut self) {
        self.told = self.confirmed;
    }
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
        assert_eq!(tally.news(&stats, 5), three);
        assert_eq!(tally.news(&stats, 5), None);
        tally.acknowledged(5);
        tally.lost();
        assert_eq!(tally.news(&stats, 5), three);
        tally.acknowledged(6);
        tally.lost();
        assert_eq!(tally.news(&stats, 6), None);
    }
}
