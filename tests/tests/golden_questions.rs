//! The questions on the command line give the golden answers: when a schedule
//! is due, which facility takes a message, and what a configuration lacks.

use std::path::Path;
use std::process::{Command, Output};

use loghog_tests::binaries::binary;
use loghog_tests::golden::{self, text};
use serde_json::Value;

#[test]
fn every_golden_schedule_is_due_when_vixie_cron_says() {
    let known =
        ["expr", "tz", "start", "start_epoch", "next", "next_epoch", "note", "expect_error"];
    golden::check_each(&golden::cases("cron.json"), |case| {
        golden::assert_understood(case, &known);
        let mut command = Command::new(binary("loghogd"));
        command.args(["schedule", text(case, "expr")]);
        if case["expect_error"] == true {
            let output = command.output().unwrap();
            assert_eq!(output.status.code(), Some(78), "{case}");
            assert!(!output.stderr.is_empty(), "the reason is told");
            return;
        }
        command.args(["--tz", text(case, "tz"), "--after", text(case, "start"), "--json"]);
        assert_eq!(answer(&command.output().unwrap()), case["next"], "{case}");
    });
}

#[test]
fn every_golden_configuration_is_taken_or_refused() {
    let known = [
        "name",
        "config_text",
        "lookups",
        "expect_error",
        "either_ok",
        "differs_from_original",
        "note",
    ];
    golden::check_each(&golden::cases("facilities.json"), |case| {
        golden::assert_understood(case, &known);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("facilities.conf");
        std::fs::write(&file, text(case, "config_text")).unwrap();
        let expect_error = case["expect_error"].as_str();
        for lookup in case["lookups"].as_array().into_iter().flatten() {
            look_up(&file, lookup, case["either_ok"] == true);
        }
        let output = explain(&file, "no-such-app", "");
        match (expect_error, case["either_ok"] == true) {
            (_, true) => {}
            (None, false) => assert_eq!(output.status.code(), Some(1), "it is fine: {output:?}"),
            (Some(_), false) => {
                assert_eq!(output.status.code(), Some(78), "it should be refused: {output:?}");
            }
        }
    });
}

/// Asks where a message goes. Texts that no command line can carry are the
/// business of the daemon's own tests.
fn look_up(file: &Path, lookup: &Value, may_be_refused: bool) {
    let (app, module) = (text(lookup, "app"), text(lookup, "module"));
    if app.contains('\0') || module.contains('\0') {
        return;
    }
    let output = explain(file, app, module);
    if may_be_refused && output.status.code() == Some(78) {
        return;
    }
    let expect = &lookup["expect"];
    if expect.is_null() {
        assert_eq!(output.status.code(), Some(1), "{app:?} {module:?}: {output:?}");
        return;
    }
    let got = answer(&output);
    for (name, value) in expect.as_object().unwrap() {
        match name.as_str() {
            "secret" => {
                let signed = value.as_str().is_some_and(|secret| !secret.is_empty());
                assert_eq!(got["signed"], signed, "{app:?} {module:?}");
            }
            "file" if got["file_per_host"] == true => {}
            _ => assert_eq!(&got[name], value, "{name} of {app:?} {module:?}"),
        }
    }
}

fn explain(file: &Path, app: &str, module: &str) -> Output {
    let mut command = Command::new(binary("loghogd"));
    command.arg("--facilities-config").arg(file).args(["--json", "explain", "--", app, module]);
    command.output().unwrap()
}

fn answer(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("an answer in JSON")
}
