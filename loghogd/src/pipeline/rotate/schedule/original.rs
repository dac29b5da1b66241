//! What a schedule meant to the original, as far as that is known. Pure.
//! Five fields -> the same in the words of Vixie cron; two schedules -> where they differ.
//! Invariant: nothing is guessed: what is not known here to differ is not told of.
//! Leaves out: how to say it (`config::original`).
//!
//! Known of the library that the original used; the notes of the golden cases have both:
//!
//! - A step counted from 0, not from the beginning of the range: `10-50/15` was 15, 30
//!   and 45, and `*/10` as a day 10, 20 and 30.
//! - When neither day nor weekday was `*` alone, either did, also where one of them
//!   begins with `*`, as in `*/2`.
//!
//! Not known is what it did when the clocks change; so that is told of wherever a
//! schedule meets a change.

use super::Schedule;
use super::fields::Fields;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Longest part of the future that is compared, in days: a year and a month, so that a
/// yearly schedule comes in it, and both changes of the clock.
pub const COMPARED_DAYS: i64 = 400;

/// The ranges that `*` stood for, by field.
const RANGES: [(u32, u32); 5] = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];

/// Where two schedules differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Differing {
    /// The first time that is due by the new rules only.
    pub only_now: Option<Timestamp>,
    /// The first time that was due by the original's rules only.
    pub only_then: Option<Timestamp>,
}

/// A change of the clock that a schedule meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When it is due then.
    pub due: Timestamp,
    /// Its time on the wall comes twice; else it does not come.
    pub twice: bool,
}

/// The schedule that the original followed, where that is known to be another one.
#[must_use]
pub fn meaning(schedule: &Schedule) -> Option<Schedule> {
    let fields: Vec<&str> = schedule.fields().split(' ').collect();
    let [minute, hour, day, month, weekday] = fields[..] else { return None };
    let mut written = Vec::with_capacity(RANGES.len());
    for (text, range) in [minute, hour, day, month, weekday].into_iter().zip(RANGES) {
        written.push(field(text, range)?);
    }
    let old = Schedule::parse(&written.join(" ")).ok()?;
    let differs = is_other(schedule.fields(), old.fields())?;
    differs.then_some(old)
}

/// Whether two texts mean other days or other times of the day.
fn is_other(one: &str, other: &str) -> Option<bool> {
    let (one, other) = (Fields::parse(one).ok()?, Fields::parse(other).ok()?);
    let values = |fields: &Fields| {
        let all = [&fields.minute, &fields.hour, &fields.day, &fields.month, &fields.weekday];
        all.map(|field| field.values().collect::<Vec<_>>())
    };
    let either = |fields: &Fields| !fields.day.starts_with_star && !fields.weekday.starts_with_star;
    Some(values(&one) != values(&other) || either(&one) != either(&other))
}

/// A field as the original read it, without steps. None where that is not known.
fn field(text: &str, range: (u32, u32)) -> Option<String> {
    if text == "*" {
        return Some(text.to_owned());
    }
    let mut items = Vec::new();
    for item in text.split(',') {
        match item.split_once('/') {
            Some((span, step)) => {
                let multiples = multiples(span, step, range)?;
                items.extend(multiples.iter().map(u32::to_string));
            }
            // Beside others it made the original stumble.
            None if item == "*" => return None,
            None => items.push(item.to_owned()),
        }
    }
    Some(items.join(","))
}

/// What the step divides within the range; never nothing.
fn multiples(span: &str, step: &str, range: (u32, u32)) -> Option<Vec<u32>> {
    let (from, to) = match span.split_once('-') {
        Some((from, to)) => (from.parse().ok()?, to.parse().ok()?),
        None if span == "*" => range,
        None => return None,
    };
    let step: u32 = step.parse().ok().filter(|step| *step > 0)?;
    let found: Vec<u32> = (from..=to).filter(|value| value % step == 0).collect();
    (!found.is_empty()).then_some(found)
}

/// Where the schedule and what the original made of it differ, after `now` and within
/// [`COMPARED_DAYS`].
#[must_use]
pub fn differing(
    schedule: &Schedule,
    old: &Schedule,
    now: Timestamp,
    zone: &TimeZone,
) -> Differing {
    let end = now.saturating_add(SignedDuration::from_hours(24 * COMPARED_DAYS)).unwrap_or(now);
    let next = |schedule: &Schedule, after| schedule.next_after(after, zone).filter(|at| *at < end);
    let (mut new, mut then) = (next(schedule, now), next(old, now));
    let mut differing = Differing::default();
    loop {
        match (new, then) {
            (Some(one), Some(other)) if one == other => {
                (new, then) = (next(schedule, one), next(old, other));
            }
            (Some(one), other) if other.is_none_or(|other| one < other) => {
                differing.only_now.get_or_insert(one);
                new = next(schedule, one);
            }
            (_, Some(other)) => {
                differing.only_then.get_or_insert(other);
                then = next(old, other);
            }
            (_, None) => return differing,
        }
        if differing.only_now.is_some() && differing.only_then.is_some() {
            return differing;
        }
    }
}

/// The changes of the clock, after `now` and within [`COMPARED_DAYS`], that a schedule
/// of fixed times meets.
#[must_use]
pub fn changes(schedule: &Schedule, now: Timestamp, zone: &TimeZone) -> Vec<Change> {
    if schedule.follows_wall_clock() {
        return Vec::new();
    }
    let instant = SignedDuration::from_nanos(1);
    let end = now.saturating_add(SignedDuration::from_hours(24 * COMPARED_DAYS)).unwrap_or(now);
    let mut changes = Vec::new();
    let transitions = zone.following(now).map(|transition| transition.timestamp());
    for at in transitions.take_while(|at| *at < end) {
        let Ok(just_before) = at.checked_sub(instant) else { continue };
        let before = zone.to_offset(just_before).to_datetime(at);
        let after = zone.to_offset(at).to_datetime(at);
        let twice = after < before;
        let (from, to) = if twice { (after, before) } else { (before, after) };
        // Read as UTC, the time on the wall has neither gaps nor repetitions.
        let utc = |wall: jiff::civil::DateTime| wall.to_zoned(TimeZone::UTC).ok();
        let (Some(from), Some(to)) = (utc(from), utc(to)) else { continue };
        let Ok(eve) = from.timestamp().checked_sub(instant) else { continue };
        let meets = schedule.next_after(eve, &TimeZone::UTC).filter(|wall| *wall < to.timestamp());
        // What is skipped is due at the change, what comes twice in the hour before it.
        let Some(wall) = meets else { continue };
        let due = match twice {
            true => zone
                .to_offset(just_before)
                .to_timestamp(wall.to_zoned(TimeZone::UTC).datetime())
                .ok(),
            false => Some(at),
        };
        changes.extend(due.map(|due| Change { due, twice }));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(text: &str) -> Schedule {
        Schedule::parse(text).unwrap()
    }

    fn old(text: &str) -> Option<String> {
        meaning(&schedule(text)).map(|old| old.fields().to_owned())
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_step_counted_from_zero() {
        assert_eq!(old("10-50/15 * * * *").as_deref(), Some("15,30,45 * * * *"));
        assert_eq!(old("0 0 */10 * *").as_deref(), Some("0 0 10,20,30 * *"));
        assert_eq!(old("0 0 1 */3 *").as_deref(), Some("0 0 1 3,6,9,12 *"));
        assert_eq!(old("5,10-50/15 * * * *").as_deref(), Some("5,15,30,45 * * * *"));
    }

    #[test]
    fn either_day_did_unless_one_was_a_star_alone() {
        assert_eq!(
            old("0 0 */2 * 1").as_deref(),
            Some("0 0 2,4,6,8,10,12,14,16,18,20,22,24,26,28,30 * 1")
        );
        assert_eq!(old("0 0 1-7 * */1").as_deref(), Some("0 0 1-7 * 0,1,2,3,4,5,6"));
    }

    #[test]
    fn what_meant_the_same_or_is_not_known_is_not_told_of() {
        for same in [
            "hourly",
            "daily",
            "weekly",
            "monthly",
            "yearly",
            "*/15 * * * *",
            "*/90 * * * *",
            "0 */6 * * *",
            "30 9-17 * * mon-fri",
            "0 0 13 * 5",
            "0-10/5,30,50-52 * * * *",
            "0 0 * * */2",
            "0 0 1 jan-mar *",
        ] {
            assert_eq!(old(same), None, "{same}");
        }
        for unknown in ["0 0 *,13 * 5", "0 0 1 jan-dec/2 *", "1-2/7 * * * *"] {
            assert_eq!(old(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn the_first_times_that_differ_are_found_in_either_direction() {
        let tenth = schedule("0 0 */10 * *");
        let old = meaning(&tenth).unwrap();
        let found = differing(&tenth, &old, at("2026-11-29T12:00:00Z"), &TimeZone::UTC);
        assert_eq!(found.only_then, Some(at("2026-11-30T00:00:00Z")));
        assert_eq!(found.only_now, Some(at("2026-12-01T00:00:00Z")));
        // Every even day or Monday was more than every odd day that is a Monday.
        let odd = schedule("0 0 */2 * 1");
        let old = meaning(&odd).unwrap();
        let found = differing(&odd, &old, at("2024-01-15T00:00:00Z"), &TimeZone::UTC);
        assert_eq!(found.only_then, Some(at("2024-01-16T00:00:00Z")));
        assert_eq!(found.only_now, None);
        let same = schedule("daily");
        let found = differing(&same, &same, at("2024-01-15T00:00:00Z"), &TimeZone::UTC);
        assert_eq!(found, Differing::default());
    }

    #[test]
    fn changes_of_the_clock_are_told_where_a_fixed_time_meets_them() {
        let zone = TimeZone::get("Europe/Paris").unwrap();
        let now = at("2026-11-29T12:00:00Z");
        let half_past_two = changes(&schedule("30 2 * * *"), now, &zone);
        let (spring, autumn) = (at("2027-03-28T01:00:00Z"), at("2027-10-31T00:30:00Z"));
        assert_eq!(
            half_past_two,
            [Change { due: spring, twice: false }, Change { due: autumn, twice: true }]
        );
        // As the daemon has it.
        for change in half_past_two {
            let eve = change.due - SignedDuration::from_nanos(1);
            assert_eq!(schedule("30 2 * * *").next_after(eve, &zone), Some(change.due));
        }
        for untouched in ["daily", "0 3 * * *", "hourly", "*/20 2 * * *", "30 2 1 * *"] {
            assert_eq!(changes(&schedule(untouched), now, &zone), [], "{untouched}");
        }
        assert_eq!(changes(&schedule("30 2 * * *"), now, &TimeZone::UTC), []);
    }
}
