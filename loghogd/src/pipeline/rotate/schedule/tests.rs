//! Schedules against an oracle: a walker that looks at every single minute.

use super::*;
use jiff::civil::Date;
use jiff::{SignedDuration, ToSpan};
use proptest::prelude::*;

/// Zones with every oddity there is: half-hour and two-hour steps, changes at
/// midnight and a minute past it, in Ramadan, a skipped day, no change at all.
const ZONES: [&str; 16] = [
    "UTC",
    "Europe/Paris",
    "Europe/Dublin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "America/Santiago",
    "America/Scoresbysund",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Kolkata",
    "Asia/Gaza",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Pacific/Apia",
];

fn zones() -> impl Strategy<Value = TimeZone> {
    proptest::sample::select(&ZONES[..]).prop_map(|name| TimeZone::get(name).unwrap())
}

/// Instants of the years 1990 to 2037, mostly shortly before a change of the
/// zone's offset.
fn starts() -> impl Strategy<Value = (TimeZone, Timestamp)> {
    let seconds = 631_152_000_i64..2_145_916_800;
    (zones(), seconds, any::<bool>(), 0_i64..36 * 60).prop_map(
        |(zone, seconds, near_change, minutes_before)| {
            let at = Timestamp::from_second(seconds).unwrap();
            let change = zone.following(at).next().map(|change| change.timestamp());
            let at = match change.filter(|_| near_change) {
                Some(change) => change - SignedDuration::from_mins(minutes_before),
                None => at,
            };
            (zone, at)
        },
    )
}

/// A field as text, made of `*`, values and ranges with and without steps.
fn field(from: u32, to: u32) -> impl Strategy<Value = String> {
    let item = prop_oneof![
        3 => Just("*".to_owned()),
        2 => (2_u32..20).prop_map(|step| format!("*/{step}")),
        4 => (from..=to).prop_map(|value| value.to_string()),
        2 => (from..=to, from..=to)
            .prop_map(|(one, other)| format!("{}-{}", one.min(other), one.max(other))),
        1 => (from..=to, from..=to, 1_u32..9).prop_map(|(one, other, step)| {
            format!("{}-{}/{step}", one.min(other), one.max(other))
        }),
    ];
    proptest::collection::vec(item, 1..3).prop_map(|items| items.join(","))
}

/// Minutes and hours of any kind; days that come within a window of days.
fn expressions() -> impl Strategy<Value = String> {
    let every_day = Just("*".to_owned());
    let day = prop_oneof![2 => every_day.clone(), 1 => field(1, 31)];
    let month = prop_oneof![4 => every_day.clone(), 1 => field(1, 12)];
    let weekday = prop_oneof![2 => every_day, 1 => field(0, 7)];
    (field(0, 59), field(0, 23), day, month, weekday).prop_map(
        |(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"),
    )
}

/// The oracle's own reading of a field.
fn includes(field: &str, value: i8, from: i8, to: i8) -> bool {
    field.split(',').any(|item| {
        let (span, step) = item.split_once('/').unwrap_or((item, "1"));
        let step: i8 = step.parse().unwrap();
        let (from, to) = match (span, span.split_once('-')) {
            ("*", _) => (from, to),
            (_, Some((from, to))) => (from.parse().unwrap(), to.parse().unwrap()),
            (value, None) => (value.parse().unwrap(), value.parse().unwrap()),
        };
        (from..=to).contains(&value) && (value - from) % step == 0
    })
}

fn matches(expression: &str, local: DateTime) -> bool {
    let fields: Vec<&str> = expression.split(' ').collect();
    let weekday = local.weekday().to_sunday_zero_offset();
    let day = includes(fields[2], local.day(), 1, 31);
    let weekday =
        includes(fields[4], weekday, 0, 7) || weekday == 0 && includes(fields[4], 7, 0, 7);
    let days = match fields[2].starts_with('*') || fields[4].starts_with('*') {
        true => day && weekday,
        false => day || weekday,
    };
    days && includes(fields[0], local.minute(), 0, 59)
        && includes(fields[1], local.hour(), 0, 23)
        && includes(fields[3], local.month(), 1, 12)
}

/// Is the job due at this minute? `before` is the minute before on the clock
/// of the world, not of the wall.
fn due(expression: &str, zone: &TimeZone, at: Timestamp) -> bool {
    let local = zone.to_datetime(at);
    let fields: Vec<&str> = expression.split(' ').collect();
    if fields[0].starts_with('*') || fields[1].starts_with('*') {
        return matches(expression, local);
    }
    let first_pass = zone.to_ambiguous_timestamp(local).earlier().unwrap() == at;
    let mut skipped = zone.to_datetime(at - SignedDuration::from_mins(1)) + 1.minute();
    while skipped < local {
        if matches(expression, skipped) {
            return true;
        }
        skipped += 1.minute();
    }
    first_pass && matches(expression, local)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_walk_over_every_minute_finds_the_same_times(
        (zone, start) in starts(), expression in expressions(),
    ) {
        let minutes = start.as_second().div_euclid(60) * 60;
        let minutes = Timestamp::from_second(minutes).unwrap();
        let window = (1..=3 * 24 * 60).map(|minute| minutes + SignedDuration::from_mins(minute));
        let expected: Vec<Timestamp> =
            window.filter(|at| due(&expression, &zone, *at)).take(200).collect();
        let Ok(schedule) = Schedule::parse(&expression) else {
            prop_assert!(expected.is_empty(), "refused, but due at {}", expected[0]);
            return Ok(());
        };
        let next = |after: &Timestamp| schedule.next_after(*after, &zone);
        let found: Vec<Timestamp> =
            std::iter::successors(next(&start), next).take(expected.len()).collect();
        prop_assert_eq!(found, expected, "{} in {:?} after {}", expression, zone, start);
    }

    #[test]
    fn times_are_strictly_increasing_and_later_than_the_question(
        (zone, start) in starts(), expression in expressions(), nanos in 0_i64..1_000_000_000,
    ) {
        let Ok(schedule) = Schedule::parse(&expression) else { return Ok(()) };
        let mut at = start + SignedDuration::from_nanos(nanos);
        for _ in 0..20 {
            let next = schedule.next_after(at, &zone).unwrap();
            prop_assert!(next > at);
            at = next;
        }
    }

    #[test]
    fn a_daily_job_comes_once_at_the_beginning_of_each_day((zone, start) in starts()) {
        let schedule = Schedule::parse("daily").unwrap();
        let mut at = start;
        for _ in 0..40 {
            let tomorrow = zone.to_datetime(at).date().tomorrow().unwrap();
            at = schedule.next_after(at, &zone).unwrap();
            prop_assert_eq!(at, first_instant_of(tomorrow, &zone), "{:?}", &zone);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[0-9a-zA-Z*/,\\- @#?]{0,40}") {
        if let Ok(schedule) = Schedule::parse(&text) {
            prop_assert_eq!(&Schedule::parse(schedule.fields()).unwrap(), &schedule);
        }
    }
}

/// When a day begins; for a day that the zone left out, when the next does.
fn first_instant_of(day: Date, zone: &TimeZone) -> Timestamp {
    day.to_zoned(zone.clone()).unwrap().start_of_day().unwrap().timestamp()
}

fn refusal(expression: &str) -> String {
    Schedule::parse(expression).unwrap_err().to_string()
}

#[test]
fn refusals_say_which_field_and_why() {
    for (expression, reasons) in [
        ("", vec!["empty"]),
        ("*/15 * * *", vec!["five fields", "here are 4"]),
        ("60 * * * *", vec!["minute", "60 is not within 0 to 59"]),
        ("* * 0 * *", vec!["day", "not within 1 to 31"]),
        ("*/0 * * * *", vec!["step of 0"]),
        ("5/10 * * * *", vec!["5-59/5"]),
        ("0 0 * * sat-sun", vec!["weekday", "backwards"]),
        ("0 0 * foo *", vec!["month", "jan .. dec"]),
        ("0 0 30 2 *", vec!["no such date"]),
    ] {
        let refusal = refusal(expression);
        for reason in reasons {
            assert!(refusal.contains(reason), "{expression}: {refusal}");
        }
    }
    assert_eq!(Schedule::parse(&"1,".repeat(600)), Err(ScheduleError::TooLong));
}

#[test]
fn names_stand_for_numbers_in_lists_and_ranges() {
    let numbers = Schedule::parse("0 0 * 1-3,12 1-5").unwrap();
    let names = Schedule::parse("0 0 * JAN-mar,Dec Mon-fri").unwrap();
    let start = Timestamp::from_second(1_700_000_000).unwrap();
    let of = |schedule: &Schedule| -> Vec<Timestamp> {
        let next = |after: &Timestamp| schedule.next_after(*after, &TimeZone::UTC);
        std::iter::successors(next(&start), next).take(100).collect()
    };
    assert_eq!(of(&numbers), of(&names));
}

#[test]
fn the_end_of_time_is_no_fault() {
    let schedule = Schedule::parse("0 0 1 1 *").unwrap();
    assert_eq!(schedule.next_after(Timestamp::MAX, &TimeZone::UTC), None);
    let zone = TimeZone::get("Pacific/Apia").unwrap();
    for expression in ["* * * * *", "0 0 1 1 *", "0 0 29 2 *"] {
        let schedule = Schedule::parse(expression).unwrap();
        assert!(schedule.next_after(Timestamp::MIN, &zone).is_some());
        assert_eq!(schedule.next_after(Timestamp::MAX, &zone), None);
    }
}
