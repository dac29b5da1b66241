//! Says when a file turns.
//! A schedule, an instant and a time zone -> the next instant.
//! Invariant: answers are strictly later than the question, and follow Vixie cron.
//! Leaves out: the clock, and turning files by their size.
//!
//! The rules are those of crontab(5) of Vixie cron, DST included:
//! - A job whose minute or hour begins with `*` follows the wall clock: it
//!   runs in both passes of a repeated hour and not in a skipped one.
//! - Any other job runs once a matching wall-clock time: in the first pass
//!   of a repeated hour, and at the end of a gap that skips it. Several that
//!   one gap skips run once.

mod calendar;
mod fields;
pub mod original;
#[cfg(test)]
mod tests;

use calendar::Calendar;
use fields::Fields;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use std::fmt;
use std::sync::Arc;

/// The words of the original, and the fields that they stand for.
pub const WORDS: [(&str, &str); 7] = [
    ("hourly", "0 * * * *"),
    ("daily", "0 0 * * *"),
    ("midnight", "0 0 * * *"),
    ("weekly", "0 0 * * 1"),
    ("monthly", "0 0 1 * *"),
    ("yearly", "0 0 1 1 *"),
    ("annually", "0 0 1 1 *"),
];

/// Longest expression, in bytes. A longer one is refused; all values of all
/// fields spelled out take less.
pub const EXPRESSION_BYTES_MAX: usize = 512;

/// When something is due. Cheap to clone.
#[derive(Clone)]
pub struct Schedule(Arc<Parsed>);

struct Parsed {
    fields: Box<str>,
    calendar: Calendar,
    /// Minute or hour begins with `*`.
    follows_wall_clock: bool,
}

/// Why an expression is no schedule. The configuration's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Nothing but blanks.
    #[error("the schedule is empty")]
    Empty,
    /// Longer than [`EXPRESSION_BYTES_MAX`].
    #[error("the schedule is longer than {EXPRESSION_BYTES_MAX} bytes")]
    TooLong,
    /// Neither a word nor five fields.
    #[error(
        "a schedule is one of hourly, daily, midnight, weekly, monthly, yearly and annually, \
         or five fields: minute, hour, day, month and weekday; here are {0}"
    )]
    FieldCount(usize),
    /// A field that cannot be read.
    #[error("the {field} {text:?} is refused: {fault}")]
    Field {
        /// Which of the five fields.
        field: &'static str,
        /// The field as written.
        text: String,
        /// What is wrong with it.
        fault: String,
    },
    /// No year has such a date.
    #[error("there is no such date in any year, so it would never be due")]
    Never,
    /// Our fault: the calendar does not take what was checked.
    #[error("the calendar cannot follow this schedule: {0}")]
    Calendar(String),
}

impl Schedule {
    /// Reads one of the [`WORDS`] or five fields.
    pub fn parse(expression: &str) -> Result<Schedule, ScheduleError> {
        let expression = expression.trim_ascii();
        if expression.len() > EXPRESSION_BYTES_MAX {
            return Err(ScheduleError::TooLong);
        }
        let word = WORDS.iter().find(|(word, _)| *word == expression);
        let expression = word.map_or(expression, |(_, fields)| fields);
        let fields = Fields::parse(expression)?;
        let parsed = Parsed {
            fields: expression.split_ascii_whitespace().collect::<Vec<_>>().join(" ").into(),
            calendar: Calendar::new(&fields)?,
            follows_wall_clock: fields.minute.starts_with_star || fields.hour.starts_with_star,
        };
        Ok(Schedule(Arc::new(parsed)))
    }

    /// The five fields, separated by single blanks.
    pub fn fields(&self) -> &str {
        &self.0.fields
    }

    /// It follows the clock on the wall through changes of the offset: its minute or its
    /// hour begins with `*`.
    pub fn follows_wall_clock(&self) -> bool {
        self.0.follows_wall_clock
    }

    /// The first time due that is strictly later than `after`. None beyond
    /// the year 9999.
    pub fn next_after(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if self.0.follows_wall_clock {
            self.next_on_the_wall(after, zone)
        } else {
            self.next_once(after, zone)
        }
    }

    /// Goes through the stretches of time in which the offset is constant.
    fn next_on_the_wall(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut stretch = after;
        let mut local = zone.to_datetime(after);
        loop {
            let offset = zone.to_offset(stretch);
            let due = self.0.calendar.next_after(local)?;
            let due = offset.to_timestamp(due).ok();
            let Some(end) = zone.following(stretch).next() else { return due };
            let end = end.timestamp();
            if let Some(due) = due.filter(|due| *due < end) {
                return Some(due);
            }
            stretch = end;
            // The beginning of a stretch may itself be due.
            local = zone.to_datetime(end).checked_sub(jiff::SignedDuration::from_nanos(1)).ok()?;
        }
    }

    /// Goes through matching wall-clock times. Later ones never come at
    /// earlier instants, so the first that is late enough is the next.
    fn next_once(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut local = zone.to_datetime(after);
        loop {
            local = self.0.calendar.next_after(local)?;
            let due = first_instant(local, zone)?;
            if due > after {
                return Some(due);
            }
        }
    }
}

/// When this wall-clock time comes: for the first time if it comes twice,
/// and at the end of the gap if it is skipped.
fn first_instant(local: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
        AmbiguousOffset::Gap { after, .. } => {
            // Read with the later offset, a skipped time lies before the gap.
            let before_gap = after.to_timestamp(local).ok()?;
            zone.following(before_gap).next().map(|end| end.timestamp())
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.fields())
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({:?})", self.fields())
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Schedule) -> bool {
        self.fields() == other.fields()
    }
}

impl Eq for Schedule {}
