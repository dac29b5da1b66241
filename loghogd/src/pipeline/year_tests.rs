//! A year in Paris, hour by hour: files turn exactly when crontab(5) says.
//!
//! The writer's rounds run on a clock that the test sets, which goes through
//! a year of messages. What it turns is compared with a calendar that knows
//! no cleverness: it looks at each minute of the year.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::rotate::name::Name;
use super::test_writer::{SETTINGS, TestWriter};
use crate::clock::Clock;
use crate::config::{self, Table};
use crate::disk::Disk;
use crate::disk::simulated::Simulated;
use crate::stats::Counter;

/// A schedule as the configuration has it, and whether a wall-clock time is
/// one of its times; and whether it follows the wall clock (its minute or hour
/// begins with `*`) or runs once for each of its times.
type Rule = (&'static str, fn(&DateTime) -> bool, bool);

const RULES: [Rule; 8] = [
    ("hourly", |t| t.minute() == 0, true),
    ("daily", |t| (t.hour(), t.minute()) == (0, 0), false),
    (
        "weekly",
        |t| (t.hour(), t.minute()) == (0, 0) && t.weekday().to_monday_zero_offset() == 0,
        false,
    ),
    ("monthly", |t| (t.day(), t.hour(), t.minute()) == (1, 0, 0), false),
    ("30 2 * * *", |t| (t.hour(), t.minute()) == (2, 30), false),
    (
        "*/20 1-3 * * 0",
        |t| {
            t.minute() % 20 == 0
                && (1..=3).contains(&t.hour())
                && t.weekday().to_sunday_zero_offset() == 0
        },
        true,
    ),
    (
        "0 3 13 * 5",
        |t| {
            (t.hour(), t.minute()) == (3, 0)
                && (t.day() == 13 || t.weekday().to_monday_zero_offset() == 4)
        },
        false,
    ),
    (
        "15 0,12 1-7 3,10 *",
        |t| {
            [0, 12].contains(&t.hour())
                && t.minute() == 15
                && t.day() <= 7
                && [3, 10].contains(&t.month())
        },
        false,
    ),
];

const START: &str = "2026-01-01T00:00:30+01:00[Europe/Paris]";
const DAYS: i64 = 365;

/// The instants at which a rule holds in the year.
fn calendar(rule: &Rule, minutes: &[(Timestamp, DateTime)]) -> BTreeSet<Timestamp> {
    let (_, holds, follows_wall_clock) = rule;
    let mut instants = BTreeSet::new();
    let mut kept: BTreeSet<DateTime> = BTreeSet::new();
    let mut latest: Option<DateTime> = None;
    for &(at, local) in minutes {
        // Wall-clock minutes that were jumped over belong to the end of the gap.
        let mut minutes = vec![local];
        let mut skipped = latest.map_or(local, |latest| latest + SignedDuration::from_mins(1));
        while !follows_wall_clock && skipped < local {
            minutes.push(skipped);
            skipped += SignedDuration::from_mins(1);
        }
        for local in minutes.iter().filter(|local| holds(local)) {
            // In a repeated hour what runs once has run already.
            if *follows_wall_clock || kept.insert(*local) {
                instants.insert(at);
            }
        }
        latest = latest.max(Some(local));
    }
    instants
}

/// Every minute of the year behind its start, and what clocks show then.
fn minutes(zone: &TimeZone, start: Timestamp) -> Vec<(Timestamp, DateTime)> {
    let first = start.as_second().div_euclid(60) + 1;
    let minutes =
        (first..=first + DAYS * 24 * 60).map(|minute| Timestamp::from_second(60 * minute).unwrap());
    minutes.map(|at| (at, zone.to_datetime(at))).collect()
}

fn table() -> Arc<Table> {
    let sections: String = (0..RULES.len())
        .map(|number| {
            format!("[rule{number}]\nrotate = {}\nbackup_count = 9999\n", RULES[number].0)
        })
        .collect();
    Arc::new(config::read_facilities(sections.as_bytes(), Path::new("facilities.conf")).unwrap())
}

#[test]
fn a_year_in_paris_turns_exactly_when_the_calendar_says() {
    let zone = TimeZone::get("Europe/Paris").unwrap();
    let start: Timestamp = START.parse::<jiff::Zoned>().unwrap().timestamp();
    let end = start + SignedDuration::from_hours(24 * DAYS);
    let clock = Clock::standing(start, zone.clone());
    let disk = Simulated::new();
    disk.set_now(start);
    let table = table();
    let mut now = Instant::now();
    let mut writer = TestWriter::new(Arc::new(disk.clone()), clock.clone(), SETTINGS);
    writer.rounds.adopt(&table, now);
    // Each file gets a line behind each turn, so that each time finds one.
    let mut turned: Vec<BTreeSet<Timestamp>> = vec![BTreeSet::new(); RULES.len()];
    loop {
        for number in 0..RULES.len() {
            writer.send(&table, &format!("rule{number}"), "h", &["x"]);
        }
        writer.rounds.round(now, false);
        let Some(due) = writer.rounds.next_turn().filter(|due| *due <= end) else { break };
        // Just before it nothing turns; at it, what is due does.
        for at in [due - SignedDuration::from_nanos(1), due] {
            clock.set(at);
            disk.set_now(at);
            now += Duration::from_secs(2);
            let before = writer.stats.get(Counter::FilesTurned);
            writer.rounds.round(now, false);
            assert!(
                at == due || writer.stats.get(Counter::FilesTurned) == before,
                "something turned before {due}"
            );
        }
        for (number, turned) in turned.iter_mut().enumerate() {
            let folder = format!("rule{number}");
            for name in disk.names(&folder).unwrap() {
                if let Name::Segment(_) = Name::read(&name) {
                    disk.take_away(&folder, Some(&name));
                    assert!(turned.insert(due), "{folder} turned twice at {due}");
                }
            }
        }
    }
    let minutes = minutes(&zone, start);
    for (rule, turned) in RULES.iter().zip(&turned) {
        let expected = calendar(rule, &minutes);
        let expected = expected.into_iter().filter(|at| *at <= end).collect();
        let local = |set: &BTreeSet<Timestamp>| -> Vec<String> {
            set.iter().map(|at| at.to_zoned(zone.clone()).to_string()).collect()
        };
        assert_eq!(local(turned), local(&expected), "{}", rule.0);
    }
}
