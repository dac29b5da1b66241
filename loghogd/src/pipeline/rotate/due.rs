//! Knows when each file is due.
//! Files, their schedules and the time -> which of them turn now, and when the next one does.
//! Invariant: a file is due once for each time of its schedule that came while it had lines.
//! Leaves out: turning, and sizes; it asks no clock.
//!
//! A file is due at the first time of its schedule after its first line was
//! written, or for a file that was there before the daemon, after its last
//! change. A
//! clock that jumps forward passes many such times at once: the file turns
//! once. When it goes back, times that have been kept do not come again, as
//! cron(8) has it; if it goes back by more than [`CLOCK_BACK_MAX`], the clock
//! was wrong before, and every file is due at the next time from now on.

use std::collections::{BTreeSet, HashMap};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::config::facility::Rotate;

/// How far the clock may go back and still be taken for the same clock
/// (Debian's cron(8): three hours).
pub const CLOCK_BACK_MAX: SignedDuration = SignedDuration::from_hours(3);

/// Schedules whose last answer is remembered. Beyond it all are forgotten.
const ANSWERS_MAX: usize = 1024;

/// When files are due. They are named by numbers.
#[derive(Debug)]
pub struct DueTimes {
    zone: TimeZone,
    in_order: BTreeSet<(Timestamp, usize)>,
    of_file: HashMap<usize, Timestamp>,
    /// By the fields of a schedule: the next time for any instant from the
    /// first one on and before that time. Thousands of files share a few.
    answers: HashMap<Box<str>, (Timestamp, Timestamp)>,
    latest: Timestamp,
}

impl DueTimes {
    /// No file is due.
    pub fn new(zone: TimeZone) -> DueTimes {
        DueTimes {
            zone,
            in_order: BTreeSet::new(),
            of_file: HashMap::new(),
            answers: HashMap::new(),
            latest: Timestamp::UNIX_EPOCH,
        }
    }

    /// The first time of a schedule that is later than `since`; none when
    /// only its size turns a file.
    pub fn next_after(&mut self, rotate: &Rotate, since: Timestamp) -> Option<Timestamp> {
        let Rotate::Schedule(schedule) = rotate else { return None };
        if let Some(&(from, due)) = self.answers.get(schedule.fields())
            && (from..due).contains(&since)
        {
            return Some(due);
        }
        let due = schedule.next_after(since, &self.zone)?;
        if self.answers.len() >= ANSWERS_MAX {
            self.answers.clear();
        }
        self.answers.insert(schedule.fields().into(), (since, due));
        Some(due)
    }

    /// From now on `file` is due then, or not at all.
    pub fn set(&mut self, file: usize, due: Option<Timestamp>) {
        if let Some(before) = self.of_file.remove(&file) {
            self.in_order.remove(&(before, file));
        }
        if let Some(due) = due {
            self.of_file.insert(file, due);
            self.in_order.insert((due, file));
        }
    }

    /// When `file` is due.
    pub fn of(&self, file: usize) -> Option<Timestamp> {
        self.of_file.get(&file).copied()
    }

    /// When the next file is due.
    pub fn first(&self) -> Option<Timestamp> {
        self.in_order.first().map(|&(due, _)| due)
    }

    /// The file that has been due longest, if any is.
    pub fn first_due(&self, now: Timestamp) -> Option<usize> {
        self.in_order.first().filter(|&&(due, _)| due <= now).map(|&(_, file)| file)
    }

    /// From when on a file is due that gets its first line now: times that
    /// have been kept before the clock went back a little do not come again.
    pub fn beginning(&self, now: Timestamp) -> Timestamp {
        let back = self.latest.duration_since(now);
        if SignedDuration::ZERO < back && back <= CLOCK_BACK_MAX { self.latest } else { now }
    }

    /// Looks at the clock. True when it was so wrong before that all files
    /// need a new time: ask [`DueTimes::next_after`] again, from `now`.
    pub fn clock_was_wrong(&mut self, now: Timestamp) -> bool {
        let back = self.latest.duration_since(now);
        if back <= SignedDuration::ZERO {
            self.latest = now;
            return false;
        }
        if back <= CLOCK_BACK_MAX {
            return false;
        }
        self.latest = now;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::rotate::schedule::Schedule;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn rotate(expression: &str) -> Rotate {
        Rotate::Schedule(Schedule::parse(expression).unwrap())
    }

    #[test]
    fn files_come_in_the_order_in_which_they_are_due() {
        let mut due = DueTimes::new(TimeZone::UTC);
        due.set(1, Some(at("2026-11-20T12:00:00Z")));
        due.set(2, Some(at("2026-11-20T11:00:00Z")));
        due.set(3, Some(at("2026-11-20T13:00:00Z")));
        due.set(3, None);
        assert_eq!(due.first_due(at("2026-11-20T10:59:59Z")), None);
        assert_eq!(due.first_due(at("2026-11-20T11:00:00Z")), Some(2));
        due.set(2, None);
        assert_eq!(due.first(), Some(at("2026-11-20T12:00:00Z")));
        assert_eq!((due.of(1), due.of(2)), (due.first(), None));
    }

    #[test]
    fn a_clock_that_goes_back_a_little_repeats_nothing_and_a_wrong_one_is_forgotten() {
        let mut due = DueTimes::new(TimeZone::UTC);
        assert!(!due.clock_was_wrong(at("2026-11-20T12:00:00Z")));
        assert!(!due.clock_was_wrong(at("2026-11-20T09:00:00Z")));
        assert_eq!(due.beginning(at("2026-11-20T09:00:00Z")), at("2026-11-20T12:00:00Z"));
        assert!(!due.clock_was_wrong(at("2026-11-20T12:00:01Z")));
        assert_eq!(due.beginning(at("2026-11-20T13:00:00Z")), at("2026-11-20T13:00:00Z"));
        assert!(due.clock_was_wrong(at("2026-11-20T08:59:59Z")));
        assert!(!due.clock_was_wrong(at("2026-11-20T09:00:00Z")), "once is enough");
    }

    proptest! {
        #[test]
        fn remembered_answers_are_those_of_the_schedule(
            seconds in proptest::collection::vec(1_700_000_000_i64..1_700_400_000, 1..50),
            expression in prop_oneof![Just("hourly"), Just("daily"), Just("*/7 3 * * *")],
        ) {
            let zone = TimeZone::get("Europe/Paris").unwrap();
            let mut due = DueTimes::new(zone.clone());
            let rotate = rotate(expression);
            let schedule = Schedule::parse(expression).unwrap();
            for second in seconds {
                let since = Timestamp::from_second(second).unwrap();
                prop_assert_eq!(due.next_after(&rotate, since), schedule.next_after(since, &zone));
            }
        }
    }
}
