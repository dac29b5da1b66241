//! Says when the own log turns, and how the turned file is called. Pure.
//! `[log] when`, an instant, a time zone -> the next turn; a turn -> the end of a name.
//! Invariant: names sort as the times they stand for, and are those of Python's TimedRotatingFileHandler.
//! Leaves out: files. See `own_log::file`.
//!
//! ```text
//! midnight, D, W0-W6   loghogd.log.2026-11-20            the day, or the first of the days, in it
//! H                    loghogd.log.2026-11-20_12         when it began, in local time
//! M                    loghogd.log.2026-11-20_12-00
//! S                    loghogd.log.2026-11-20_12-00-00
//! ```
//! As in Python, S, M, H and D count from when the file was begun (or last
//! changed before the start), midnight and W0-W6 are local midnights; W0 is
//! the one at the end of Monday.

use jiff::civil::Date;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

use crate::config::checked::When;

/// The next turn of a file that was begun at `begun`. None beyond the year
/// 9999.
pub(super) fn due_after(when: When, begun: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let today = zone.to_datetime(begun).date();
    let days = match when {
        When::Midnight => 0,
        When::Weekly { weekday } => {
            (7 + i64::from(weekday) - i64::from(today.weekday().to_monday_zero_offset())) % 7
        }
        _ => return Timestamp::from_second(begun.as_second()).ok()?.checked_add(span(when)).ok(),
    };
    let day = today.checked_add(Span::new().days(1 + days)).ok()?;
    Some(day.to_zoned(zone.clone()).ok()?.timestamp())
}

/// What stands behind the dot in the name of a file that turned at `due`.
pub(super) fn suffix(when: When, due: Timestamp, zone: &TimeZone) -> Option<String> {
    let due_day = zone.to_datetime(due).date();
    let day_before =
        |days: i64| -> Option<Date> { due_day.checked_sub(Span::new().days(days)).ok() };
    let day = match when {
        When::Midnight => day_before(1)?,
        When::Weekly { .. } => day_before(7)?,
        _ => {
            let begun = zone.to_datetime(due.checked_sub(span(when)).ok()?);
            return Some(begun.strftime(format(when)).to_string());
        }
    };
    Some(day.strftime(format(when)).to_string())
}

/// Is it exactly what [`suffix`] gives for some time?
pub(super) fn is_suffix(when: When, text: &str) -> bool {
    let format = format(when);
    let Ok(parsed) = BrokenDownTime::parse(format, text) else { return false };
    parsed.to_date().is_ok() && parsed.to_string(format).is_ok_and(|again| again == text)
}

/// Longer than the time between two turns can be: a turn that is farther off
/// was computed before the clock was set back.
pub(super) fn is_too_far(when: When, due: Timestamp, now: Timestamp) -> bool {
    let margin = match when {
        // A change to or from summer time makes a day longer.
        When::Midnight | When::Weekly { .. } => SignedDuration::from_hours(3),
        _ => SignedDuration::ZERO,
    };
    due.duration_since(now) > span(when) + margin
}

/// The time between two turns, as far as it is constant.
fn span(when: When) -> SignedDuration {
    match when {
        When::EverySecond => SignedDuration::from_secs(1),
        When::EveryMinute => SignedDuration::from_mins(1),
        When::EveryHour => SignedDuration::from_hours(1),
        When::EveryDay | When::Midnight => SignedDuration::from_hours(24),
        When::Weekly { .. } => SignedDuration::from_hours(7 * 24),
    }
}

fn format(when: When) -> &'static str {
    match when {
        When::EverySecond => "%Y-%m-%d_%H-%M-%S",
        When::EveryMinute => "%Y-%m-%d_%H-%M",
        When::EveryHour => "%Y-%m-%d_%H",
        When::EveryDay | When::Midnight | When::Weekly { .. } => "%Y-%m-%d",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WEEKLY: When = When::Weekly { weekday: 0 };

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// What Python 3.11 answers (`rolloverAt`, and the name that `doRollover`
    /// gives) with TZ=Europe/Paris; but for the two days on which its first
    /// midnight after a start is an hour off.
    #[test]
    fn turns_and_names_are_those_of_python() {
        let paris = TimeZone::get("Europe/Paris").unwrap();
        for (when, begun, due, name) in [
            (
                When::EverySecond,
                "2026-11-20T12:00:00.7+01",
                "2026-11-20T12:00:01+01",
                "2026-11-20_12-00-00",
            ),
            (
                When::EveryMinute,
                "2026-11-20T12:00:30+01",
                "2026-11-20T12:01:30+01",
                "2026-11-20_12-00",
            ),
            (When::EveryHour, "2026-11-20T12:00:30+01", "2026-11-20T13:00:30+01", "2026-11-20_12"),
            (When::EveryDay, "2026-11-20T12:00:30+01", "2026-11-21T12:00:30+01", "2026-11-20"),
            (When::Midnight, "2026-11-20T12:00:30+01", "2026-11-21T00:00:00+01", "2026-11-20"),
            (When::Midnight, "2026-11-20T00:00:00+01", "2026-11-21T00:00:00+01", "2026-11-20"),
            // Summer time begins and ends; Python: 01:00, and 23:00 of the 25th.
            (When::Midnight, "2026-03-29T00:30:00+01", "2026-03-30T00:00:00+02", "2026-03-29"),
            (When::Midnight, "2026-10-25T00:30:00+02", "2026-10-26T00:00:00+01", "2026-10-25"),
            // The 20th is a Friday, the 23rd a Monday: it turns at its end.
            (WEEKLY, "2026-11-20T12:00:00+01", "2026-11-24T00:00:00+01", "2026-11-17"),
            (WEEKLY, "2026-11-23T12:00:00+01", "2026-11-24T00:00:00+01", "2026-11-17"),
            (WEEKLY, "2026-11-24T00:00:00+01", "2026-12-01T00:00:00+01", "2026-11-24"),
            (
                When::Weekly { weekday: 6 },
                "2026-11-20T12:00:00+01",
                "2026-11-23T00:00:00+01",
                "2026-11-16",
            ),
        ] {
            assert_eq!(due_after(when, at(begun), &paris), Some(at(due)), "{when:?} {begun}");
            assert_eq!(suffix(when, at(due), &paris).as_deref(), Some(name), "{when:?} {begun}");
        }
    }

    #[test]
    fn only_exact_names_are_ours() {
        for (when, ours) in [
            (When::EverySecond, "2026-11-20_12-00-00"),
            (When::EveryMinute, "2026-11-20_12-00"),
            (When::EveryHour, "2026-11-20_12"),
            (When::Midnight, "2026-11-20"),
            (WEEKLY, "2026-11-20"),
        ] {
            assert!(is_suffix(when, ours), "{ours}");
            for end in [".gz", "x", " ", "0", "-00"] {
                assert!(!is_suffix(when, &format!("{ours}{end}")), "{ours}{end}");
            }
            assert!(!is_suffix(when, &ours[1..]) && !is_suffix(when, &format!(" {ours}")));
        }
        for text in [
            "",
            "1",
            "old",
            "2026-13-20",
            "2026-02-30",
            "2026-1-20",
            "+2026-11-20",
            "20261120",
            "0x26-11-20",
        ] {
            assert!(!is_suffix(When::Midnight, text), "{text}");
        }
        assert!(!is_suffix(When::EveryHour, "2026-11-20_24"));
        assert!(!is_suffix(When::EveryHour, "2026-11-20"));
    }

    proptest! {
        #[test]
        fn every_turn_is_later_and_its_name_is_ours_and_sorts(
            begun in 0_i64..4_000_000_000, later in 0_i64..4_000_000_000,
            when in prop_oneof![
                Just(When::EverySecond), Just(When::EveryMinute), Just(When::EveryHour),
                Just(When::EveryDay), Just(When::Midnight),
                (0..7_u8).prop_map(|weekday| When::Weekly { weekday }),
            ],
            zone in prop::sample::select(&["UTC", "Europe/Paris", "America/Santiago", "Asia/Gaza"][..]),
        ) {
            let zone = TimeZone::get(zone).unwrap();
            let (begun, later) = (begun.min(later), begun.max(later));
            let [begun, later] = [begun, later].map(|at| Timestamp::from_second(at).unwrap());
            let due = due_after(when, begun, &zone).unwrap();
            prop_assert!(due > begun);
            prop_assert!(!is_too_far(when, due, begun));
            let name = suffix(when, due, &zone).unwrap();
            prop_assert!(is_suffix(when, &name), "{name}");
            if zone == TimeZone::UTC {
                let later = suffix(when, due_after(when, later, &zone).unwrap(), &zone).unwrap();
                prop_assert!(name <= later);
            }
        }
    }
}
