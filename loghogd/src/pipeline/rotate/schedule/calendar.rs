//! Walks the calendar for a schedule, without any time zone.
//! A wall-clock time -> the next one that matches the five fields.
//! Invariant: answers are strictly later, on whole minutes, in any year.
//! Leaves out: offsets, gaps and repeated hours.
//!
//! The crate `cron` walks within a year. It knows years up to 2100 only, so
//! each year is looked up as a stand-in that has the same days: there are 14
//! kinds of years, by the weekday of 1 January and by whether they are leap
//! years. `cron` counts weekdays from 1 = Sunday, and wants both day fields
//! to match, where Vixie cron takes either if neither begins with `*`; then
//! there are two walkers, and the earlier answer counts.

use super::ScheduleError;
use super::fields::{Field, Fields};
use chrono::{DateTime as UtcTime, Datelike, NaiveDate, NaiveDateTime, Timelike, Utc};
use jiff::civil::DateTime;
use std::str::FromStr;

/// Finds matching wall-clock times.
pub(super) struct Calendar {
    walkers: Vec<cron::Schedule>,
    /// The first match in each kind of year.
    firsts: [Option<NaiveDateTime>; KINDS],
}

impl Calendar {
    pub(super) fn new(fields: &Fields) -> Result<Calendar, ScheduleError> {
        let either_day = !fields.day.starts_with_star && !fields.weekday.starts_with_star;
        let day = list(&fields.day, 0);
        let weekday = list(&fields.weekday, 1);
        let expressions = if either_day {
            vec![cron_fields(fields, &day, "*"), cron_fields(fields, "*", &weekday)]
        } else {
            vec![cron_fields(fields, &day, &weekday)]
        };
        let walkers = expressions
            .iter()
            .map(|expression| cron::Schedule::from_str(expression))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| ScheduleError::Calendar(error.to_string()))?;
        let firsts = STANDINS.map(|year| {
            let eve = NaiveDate::from_ymd_opt(year - 1, 12, 31)?.and_hms_opt(23, 59, 59)?;
            next_in_year(&walkers, year, eve)
        });
        // All kinds of years come within 400 years, so nothing is left to search.
        if firsts.iter().all(Option::is_none) {
            return Err(ScheduleError::Never);
        }
        Ok(Calendar { walkers, firsts })
    }

    /// The next match that is strictly later than `after`; none beyond 9999.
    pub(super) fn next_after(&self, after: DateTime) -> Option<DateTime> {
        let year = after.year();
        let standin = *STANDINS.get(kind_of(i32::from(year)))?;
        let from = NaiveDate::from_ymd_opt(standin, u32_of(after.month()), u32_of(after.day()))?
            .and_hms_opt(u32_of(after.hour()), u32_of(after.minute()), u32_of(after.second()))?;
        if let Some(due) = next_in_year(&self.walkers, standin, from) {
            return in_year(due, year);
        }
        (year.checked_add(1)?..=DateTime::MAX.year())
            .find_map(|year| {
                let first = (*self.firsts.get(kind_of(i32::from(year)))?)?;
                Some(in_year(first, year))
            })
            .flatten()
    }
}

/// The earliest match of any walker strictly later than `after`, unless it
/// is in another year.
fn next_in_year(
    walkers: &[cron::Schedule],
    year: i32,
    after: NaiveDateTime,
) -> Option<NaiveDateTime> {
    let after = UtcTime::<Utc>::from_naive_utc_and_offset(after, Utc);
    walkers
        .iter()
        .filter_map(|walker| walker.after(&after).next())
        .map(|due| due.naive_utc())
        .filter(|due| due.year() == year)
        .min()
}

/// The same day and time in another year of the same kind.
fn in_year(standin: NaiveDateTime, year: i16) -> Option<DateTime> {
    let part = |value: u32| i8::try_from(value).ok();
    DateTime::new(
        year,
        part(standin.month())?,
        part(standin.day())?,
        part(standin.hour())?,
        part(standin.minute())?,
        0,
        0,
    )
    .ok()
}

fn cron_fields(fields: &Fields, day: &str, weekday: &str) -> String {
    let (minute, hour, month) =
        (list(&fields.minute, 0), list(&fields.hour, 0), list(&fields.month, 0));
    format!("0 {minute} {hour} {day} {month} {weekday}")
}

/// A field's values as `cron` reads them, each larger by `shift`.
fn list(field: &Field, shift: u32) -> String {
    let values: Vec<String> = field.values().map(|value| (value + shift).to_string()).collect();
    values.join(",")
}

/// A part of a date or time; none of them is negative.
fn u32_of(part: i8) -> u32 {
    u32::try_from(part).unwrap_or_default()
}

/// Kinds of years: seven weekdays of 1 January, with and without a leap day.
const KINDS: usize = 14;

/// A year of each kind. Late ones, because `cron` goes on to 2100 when it
/// finds nothing.
#[expect(
    clippy::indexing_slicing,
    reason = "the compiler runs this, and a bad index ends it there"
)]
const STANDINS: [i32; KINDS] = {
    let mut standins = [0; KINDS];
    // 28 years in a row have every kind, unless a century is among them.
    let mut year = 2072;
    while year < 2100 {
        standins[kind_of(year)] = year;
        year += 1;
    }
    standins
};

/// The kind of a year of the Gregorian calendar (Gauss's rule for 1 January).
const fn kind_of(year: i32) -> usize {
    let before = year - 1;
    let weekday =
        (1 + 5 * before.rem_euclid(4) + 4 * before.rem_euclid(100) + 6 * before.rem_euclid(400))
            % 7;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    weekday.unsigned_abs() as usize + if leap { 7 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::Date;

    #[test]
    fn a_stand_in_has_the_same_days() {
        for year in -500..=3_000_i16 {
            let standin = STANDINS[kind_of(i32::from(year))];
            let standin = Date::new(i16::try_from(standin).unwrap(), 1, 1).unwrap();
            let year = Date::new(year, 1, 1).unwrap();
            assert_eq!(year.weekday(), standin.weekday(), "{year}");
            assert_eq!(year.in_leap_year(), standin.in_leap_year(), "{year}");
        }
    }
}
