//! When a segment began, as its name says it. Pure.
//! The stamp of a line, or of a name <-> a wall-clock time to the microsecond.
//! Invariant: names sort as the times they stand for.
//! Leaves out: the clock; which offset the local time had.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::fmt;

/// Length of a stamp in a name, in bytes: `2026-11-20-12-00-00-123456`.
pub const NAME_STAMP_BYTES: usize = 26;

/// Length of a stamp at the head of a line, in bytes, as we write it.
pub const LINE_STAMP_BYTES: usize = crate::clock::STAMP_BYTES;

/// What stands before the stamp of a line that is a JSON object.
pub const JSON_HEAD: &[u8] = b"{\"received\":\"";

/// So many bytes of a file tell when its first line was written.
pub const HEAD_BYTES_MAX: usize = JSON_HEAD.len() + LINE_STAMP_BYTES;

/// A local wall-clock time to the microsecond, of the years 0000 to 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Began(DateTime);

impl Began {
    /// Reads the stamp at the head of a line: `2026-11-20 12:00:00.123456`.
    /// The original wrote what Python's `str(datetime)` gives, which leaves
    /// out the fraction when it is zero. In a line of JSON the stamp stands
    /// behind [`JSON_HEAD`], with a `T` for the blank.
    pub fn from_stamp(line: &[u8]) -> Option<Began> {
        let (stamp, before_time) = match line.strip_prefix(JSON_HEAD) {
            Some(stamp) => (stamp, b'T'),
            None => (line, b' '),
        };
        let mut digits = Digits(stamp);
        let (date, time) = digits.date_and_time([b'-', b'-', before_time, b':', b':'])?;
        let micros = match digits.0.first() {
            None | Some(b' ') => 0,
            Some(b'.') => digits.skip(b'.').and_then(|()| digits.number(6))?,
            Some(_) => return None,
        };
        Began::new(date, time, micros)
    }

    /// A wall-clock time, cut to the microsecond, and to the years that a
    /// name has room for.
    pub fn from_datetime(local: DateTime) -> Began {
        let local = local.max(DateTime::ZERO);
        let below_micros = i64::from(local.subsec_nanosecond() % 1_000);
        Began(local.saturating_sub(SignedDuration::from_nanos(below_micros)))
    }

    /// One microsecond later; none after the last one of the year 9999.
    pub fn next(self) -> Option<Began> {
        self.0.checked_add(SignedDuration::from_micros(1)).ok().map(Began)
    }

    /// The wall-clock time.
    pub fn to_datetime(self) -> DateTime {
        self.0
    }

    /// The latest instant at which clocks in `zone` showed it; where they
    /// skipped it, the one that is as far behind the jump. None beyond what
    /// an instant can be.
    pub fn to_timestamp(self, zone: &TimeZone) -> Option<Timestamp> {
        zone.to_ambiguous_timestamp(self.0).later().ok()
    }

    /// Reads the stamp of a name: `2026-11-20-12-00-00-123456`, exactly.
    pub(super) fn from_name(stamp: &str) -> Option<Began> {
        let mut digits = Digits(stamp.as_bytes());
        let (date, time) = digits.date_and_time([b'-'; 5])?;
        digits.skip(b'-')?;
        let micros = digits.number(6)?;
        digits.0.is_empty().then(|| Began::new(date, time, micros))?
    }

    fn new((year, month, day): Three, (hour, minute, second): Three, micros: u32) -> Option<Began> {
        let part = |value: u32| i8::try_from(value).ok();
        let date = Date::new(i16::try_from(year).ok()?, part(month)?, part(day)?).ok()?;
        let nanos = i32::try_from(micros).ok()?.checked_mul(1_000)?;
        let time = Time::new(part(hour)?, part(minute)?, part(second)?, nanos).ok()?;
        Some(Began(date.to_datetime(time)))
    }
}

/// As it stands in a name.
impl fmt::Display for Began {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (date, time) = (self.0.date(), self.0.time());
        write!(f, "{:04}-{:02}-{:02}", date.year(), date.month(), date.day())?;
        write!(f, "-{:02}-{:02}-{:02}", time.hour(), time.minute(), time.second())?;
        write!(f, "-{:06}", time.subsec_nanosecond() / 1_000)
    }
}

impl fmt::Debug for Began {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Began({self})")
    }
}

type Three = (u32, u32, u32);

/// What is left to read.
struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    /// Two times three numbers, and what stands behind each but the last.
    fn date_and_time(&mut self, between: [u8; 5]) -> Option<(Three, Three)> {
        let [after_year, after_month, after_day, after_hour, after_minute] = between;
        let mut next = |width, after| {
            let number = self.number(width)?;
            self.skip(after)?;
            Some(number)
        };
        let date = (next(4, after_year)?, next(2, after_month)?, next(2, after_day)?);
        let (hour, minute) = (next(2, after_hour)?, next(2, after_minute)?);
        Some((date, (hour, minute, self.number(2)?)))
    }

    /// A number of exactly so many digits.
    fn number(&mut self, width: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(width)?;
        self.0 = rest;
        digits.iter().try_fold(0, |number, digit| match digit {
            b'0'..=b'9' => Some(10 * number + u32::from(digit - b'0')),
            _ => None,
        })
    }

    fn skip(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }
}
