//! The configurations of `tests/golden/facilities.json`, by the library and
//! by the real `loghogd check-config` and `loghogd explain`.
//!
//! Where the golden data allow two answers (`either_ok`), the stricter or
//! friendlier one was chosen; the test holds it in place.

use loghogd::config::facility::{Facility, Rotate};
use loghogd::config::{self, Problem};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use wire::signature::{Key, Signed};

const GOLDEN: &str = include_str!("../../tests/golden/facilities.json");

/// Our answers where two are allowed: the kind of the refusal, or none.
const CHOSEN: [(&str, Option<&str>); 9] = [
    ("same_module_twice_by_alias", Some("duplicate")),
    ("duplicate_section_merges", Some("duplicate")),
    ("indented_comment_is_value", None),
    ("rotate_case", Some("bad_schedule")),
    ("max_size_suffix", None),
    ("rotate_at_daily", Some("bad_schedule")),
    ("rotate_never", Some("bad_schedule")),
    ("unsafe_app_long", Some("unsafe_name")),
    ("space_before_option", None),
];

fn cases() -> Vec<Value> {
    serde_json::from_str(GOLDEN).unwrap()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap()
}

/// The kind of problem that a case must end with, if any.
fn expected_kind(case: &Value) -> Option<String> {
    let name = text(case, "name");
    if case["either_ok"] == true {
        let chosen = CHOSEN.iter().find(|(chosen, _)| *chosen == name);
        return chosen.unwrap_or_else(|| panic!("no choice for {name}")).1.map(str::to_owned);
    }
    case["expect_error"].as_str().map(str::to_owned)
}

fn load(case: &Value) -> Result<config::Table, Vec<Problem>> {
    config::read_facilities(text(case, "config_text").as_bytes(), Path::new("facilities.conf"))
}

/// The lookups whose answer is fixed.
fn lookups(case: &Value) -> Vec<&Value> {
    match case["either_ok"] == true {
        true => Vec::new(),
        false => case["lookups"].as_array().unwrap().iter().collect(),
    }
}

fn kind(problem: &Problem) -> String {
    serde_json::to_value(problem).unwrap()["kind"].as_str().unwrap().to_owned()
}

#[test]
fn every_case_loads_or_is_refused_for_its_reason() {
    for case in cases() {
        let name = text(&case, "name");
        match (load(&case), expected_kind(&case)) {
            (Ok(_), None) => {}
            (Err(problems), Some(expected)) => {
                assert_eq!(kind(&problems[0]), expected, "{name}: {problems:#?}");
                for problem in &problems {
                    assert!(problem.line.is_some() && !problem.remedy.is_empty(), "{problem}");
                }
            }
            (other, expected) => panic!("{name}: expected {expected:?}, not {other:#?}"),
        }
    }
}

#[test]
fn every_lookup_finds_its_facility() {
    for case in cases() {
        for lookup in lookups(&case) {
            let table = load(&case).unwrap();
            let found = table.find(text(lookup, "app"), text(lookup, "module"));
            match (&lookup["expect"], found) {
                (Value::Null, None) => {}
                (expected, Some(facility)) => assert_matches(expected, facility),
                (expected, None) => panic!("{expected}: not found"),
            }
        }
    }
}

fn assert_matches(expected: &Value, facility: &Facility) {
    let rotate = match &facility.rotate {
        Rotate::Schedule(schedule) => schedule.fields(),
        Rotate::Size => "size",
    };
    let file = match facility.file_per_host {
        true => format!("{}/{{host}}-{}.log", facility.app, facility.module),
        false => facility.live_path.to_string(),
    };
    let answer = json!({
        "app": facility.app, "module": facility.module, "rotate": rotate, "file": file,
        "backup_count": facility.backup_count, "max_size": facility.max_size_bytes,
        "flush_every": facility.flush_every, "file_per_host": facility.file_per_host,
    });
    for (field, value) in expected.as_object().unwrap() {
        if field == "secret" {
            assert_secret(value.as_str().unwrap_or_default(), facility);
        } else {
            assert_eq!(&answer[field], value, "{field} of {expected}");
        }
    }
}

fn assert_secret(secret: &str, facility: &Facility) {
    let fields = Signed { app_id: "a", module: "", stamp: 1, nsecs: 2, body: "b" };
    let signature = facility.key.as_ref().map(|key| key.sign(&fields));
    let expected = (!secret.is_empty()).then(|| Key::new(secret.as_bytes()).sign(&fields));
    assert_eq!(signature, expected);
}

#[test]
fn indented_options_and_comments_are_taken_for_what_they_look_like() {
    for name in ["indented_comment_is_value", "space_before_option", "max_size_suffix"] {
        let case = cases().into_iter().find(|case| text(case, "name") == name).unwrap();
        let table = load(&case).unwrap();
        let facility = table.find("a", "").unwrap();
        match name {
            "max_size_suffix" => assert_eq!(facility.max_size_bytes, Some(10 << 20)),
            "space_before_option" => assert_eq!(facility.backup_count, 14),
            _ => assert_secret("x", facility),
        }
    }
}

#[test]
fn the_daemon_answers_every_case_alike() {
    let folder = tempfile::tempdir().unwrap();
    let facilities = folder.path().join("facilities.conf");
    let config = folder.path().join("loghogd.conf");
    std::fs::write(&config, "[main]\nfacilities_config = facilities.conf\n").unwrap();
    let ask = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loghogd"));
        command.arg("-c").arg(&config).args(arguments).arg("--json");
        let output = command.output().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code().unwrap(), answer)
    };
    for case in cases() {
        std::fs::write(&facilities, text(&case, "config_text")).unwrap();
        let (code, answer) = ask(&["check-config"]);
        match expected_kind(&case) {
            None => assert_eq!((code, &answer["ok"]), (0, &json!(true)), "{case}: {answer}"),
            Some(kind) => {
                assert_eq!((code, &answer["ok"]), (78, &json!(false)), "{case}");
                assert_eq!(answer["problems"][0]["kind"], kind, "{answer}");
            }
        }
        for lookup in lookups(&case) {
            // A command line carries no NUL; a longer one than this, no shell.
            let (app, module) = (text(lookup, "app"), text(lookup, "module"));
            if app.contains('\0') || module.contains('\0') {
                continue;
            }
            let (code, answer) = ask(&["explain", app, module]);
            let Some(expected) = lookup["expect"].as_object() else {
                assert_eq!((code, answer), (1, Value::Null), "{lookup}");
                continue;
            };
            assert_eq!(code, 0, "{lookup}");
            for (field, value) in expected.iter().filter(|(field, _)| *field != "secret") {
                assert_eq!(&answer[field], value, "{field} of {lookup}");
            }
            let signed = expected
                .get("secret")
                .is_some_and(|secret| secret.as_str().is_some_and(|secret| !secret.is_empty()));
            assert_eq!(answer["signed"], signed, "{lookup}");
            let keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
            assert_eq!(keys.len(), 15, "{keys:?}");
        }
    }
}
