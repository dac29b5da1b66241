//! The schedules of `tests/golden/cron.json`, by the library and by the
//! real `loghogd schedule`.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use loghogd::pipeline::rotate::schedule::Schedule;
use serde_json::Value;
use std::process::{Command, Output};

const GOLDEN: &str = include_str!("../../tests/golden/cron.json");

fn cases() -> Vec<Value> {
    serde_json::from_str(GOLDEN).unwrap()
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap()
}

fn refused(case: &Value) -> bool {
    case["expect_error"] == true
}

fn ask(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loghogd")).arg("schedule").args(arguments).output().unwrap()
}

#[test]
fn the_library_gives_the_golden_times() {
    for case in cases().iter().filter(|case| !refused(case)) {
        let schedule = Schedule::parse(text(case, "expr")).unwrap();
        let zone = TimeZone::get(text(case, "tz")).unwrap();
        let mut at = Timestamp::from_second(case["start_epoch"].as_i64().unwrap()).unwrap();
        for expected in case["next_epoch"].as_array().unwrap() {
            at = schedule.next_after(at, &zone).unwrap();
            assert_eq!(at.as_second(), expected.as_i64().unwrap(), "{case}");
        }
    }
}

#[test]
fn the_library_refuses_what_is_no_schedule() {
    for case in cases().iter().filter(|case| refused(case)) {
        assert!(Schedule::parse(text(case, "expr")).is_err(), "{case}");
    }
}

#[test]
fn the_daemon_gives_the_golden_times_as_text() {
    for case in cases().iter().filter(|case| !refused(case)) {
        let zone = ["--tz", text(case, "tz"), "--after", text(case, "start"), "--json"];
        let output = ask(&[&[text(case, "expr")], &zone[..]].concat());
        assert!(output.status.success(), "{case}: {output:?}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer, case["next"], "{case}");
    }
}

#[test]
fn the_daemon_refuses_with_78_and_a_reason() {
    for case in cases().iter().filter(|case| refused(case)) {
        let output = ask(&[text(case, "expr"), "--tz", "UTC"]);
        assert_eq!(output.status.code(), Some(78), "{case}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{case}");
    }
}
