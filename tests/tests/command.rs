//! The command `loghog` with the real daemon: what it is given reaches the file
//! as it should, and its exit code says what went wrong.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use loghog_tests::Daemon;
use loghog_tests::command::{assert_ended, folder, loghog, nobody, run, start};

#[test]
fn arguments_are_one_message_and_input_is_one_a_line() {
    let daemon = start();
    let mut command = loghog("send", "app", daemon.tcp());
    assert_ended(&run(command.args(["backup", "finished"]), b""), 0, "");
    let mut command = loghog("send", "app", daemon.tcp());
    assert_ended(&run(&mut command, b"one\n\ntwo \xff\nthree"), 0, "");
    // Acknowledged means synced: nothing is waited for.
    let expected =
        [" - h - backup finished", " - h - one", " - h - ", " - h - two \u{fffd}", " - h - three"];
    assert_eq!(daemon.records("app/root.log"), expected);
}

#[test]
fn level_and_fields_travel_beside_the_text() {
    let daemon = start();
    let mut command = loghog("send", "app:json", daemon.tcp());
    command.args(["--level", "error", "--field", "disk=sda 1", "--", "-full-"]);
    assert_ended(&run(&mut command, b""), 0, "");
    assert_json(&daemon, &["-full-", "\"sda 1\"", "ERROR"]);
}

#[test]
fn lines_that_begin_with_white_space_belong_to_the_message_before() {
    let daemon = start();
    let mut command = loghog("pipe", "app", daemon.tcp());
    let input = b"Traceback:\n  line 1\n\tline 2\nnext\n";
    let output = run(command.args(["--multiline", "--tee"]), input);
    assert_ended(&output, 0, "");
    assert_eq!(output.stdout, input);
    assert_eq!(daemon.stop().stats()["records"], 2);
}

#[test]
fn a_message_that_nobody_takes_is_told_by_the_exit_code() {
    let mut command = loghog("send", "app", nobody());
    let output = run(command.args(["--timeout", "0.3", "lost"]), b"");
    assert_ended(&output, 75, "1 of 1 messages are not acknowledged");
    assert_ended(&output, 75, "give --spool");

    let daemon = start();
    let output = run(loghog("send", "unheard", daemon.tcp()).args(["--timeout", "1", "x"]), b"");
    assert_ended(&output, 75, "loghog: ");
}

#[test]
fn wrong_usage_and_wrong_files_have_codes_of_their_own() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "\n").expect("a writable folder");
    let file = file.to_str().expect("a plain path");
    let ends = |options: &[&str], code, said: &str| {
        let mut command = loghog("send", "app", nobody());
        assert_ended(&run(command.args(options).arg("x"), b""), code, said);
    };
    ends(&["--loud"], 64, "--loud");
    ends(&["--server", "host:99999"], 64, "is no address");
    ends(&["--spool", file, "--protocol", "1"], 64, "spool");
    ends(&["--secret-file", "/nonexistent"], 78, "/nonexistent");
    ends(&["--secret-file", file], 78, "holds no secret");
    ends(&["--tls", "--pem", file, "--ca", file], 78, "PEM");
    ends(&["--spool", file], 78, "spool");
    ends(&["--spool", "/proc/spool"], 78, "/proc/spool");
    ends(&["--spool", file, "--spool-bytes", "1k"], 78, "spool");
    ends(&["--timeout", "0"], 64, "--spool");
    ends(&["-p", "user.err"], 64, "APP");
    let mut command = loghog("send", "app", nobody());
    assert_ended(&run(command.args(["--file", "/nonexistent"]), b""), 78, "/nonexistent");
}

#[test]
fn a_secret_comes_from_a_file_or_the_environment_and_a_wrong_one_is_told() {
    let daemon = start();
    let folder = folder();
    let file = folder.path().join("secret");
    fs::write(&file, "my-big-secret\n").expect("a writable folder");
    let mut command = loghog("send", "signed", daemon.tcp());
    // The file is preferred.
    command.arg("--secret-file").arg(&file).env("LOGHOG_SECRET", "other").arg("file");
    assert_ended(&run(&mut command, b""), 0, "");
    let mut command = loghog("send", "signed", daemon.tcp());
    assert_ended(&run(command.env("LOGHOG_SECRET", "my-big-secret").arg("variable"), b""), 0, "");
    let mut command = loghog("send", "signed", daemon.tcp());
    command.env("LOGHOG_SECRET", "wrong-and-hidden").args(["--timeout", "1", "x"]);
    let output = run(&mut command, b"");
    assert_ended(&output, 75, "secret");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("wrong-and-hidden"));
    assert_eq!(daemon.records("signed/root.log"), [" - h - file", " - h - variable"]);
}

#[test]
fn a_line_that_is_too_long_is_cut_and_said_so() {
    let daemon = start();
    let line = "x".repeat(200_000);
    let output = run(&mut loghog("pipe", "app", daemon.tcp()), line.as_bytes());
    assert_ended(&output, 0, "cut into several");
    let records = daemon.records("app/root.log");
    let text: String = records.iter().map(|record| &record[" - h - ".len()..]).collect();
    assert_eq!((records.len(), text), (4, line));
}

#[test]
fn who_knows_logger_finds_its_options() {
    let daemon = start();
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "one\n\ntwo\n").expect("a writable folder");
    let mut command = loghog("send", "app", daemon.tcp());
    let output = run(command.arg("-esf").arg(&file), b"not read\n");
    assert_ended(&output, 0, "one\ntwo\n");
    assert_eq!(daemon.records("app/root.log"), [" - h - one", " - h - two"]);

    let mut command = loghog("send", "app:json", daemon.tcp());
    assert_ended(&run(command.args(["-p", "err", "--id=4711", "full"]), b""), 0, "");
    assert_json(&daemon, &["ERROR", "4711", "full"]);
}

#[test]
fn an_argument_that_is_not_utf_8_loses_only_what_is_none() {
    let daemon = start();
    let mut command = loghog("send", "app", daemon.tcp());
    command.arg(OsStr::from_bytes(b"caf\xe9")).arg("au lait");
    assert_ended(&run(&mut command, b""), 0, "");
    assert_eq!(daemon.records("app/root.log"), [" - h - caf\u{fffd} au lait"]);
    let mut command = loghog("send", "app", daemon.tcp());
    command.arg("--field").arg(OsStr::from_bytes(b"caf\xe9=1")).arg("x");
    assert_ended(&run(&mut command, b""), 64, "UTF-8");
}

/// The one line of the file of `[app:json]` has these parts.
#[track_caller]
fn assert_json(daemon: &Daemon, parts: &[&str]) {
    let text = fs::read_to_string(daemon.log_dir().join("app/json.log")).expect("written");
    let line: serde_json::Value = serde_json::from_str(&text).expect("one object");
    let text = line.to_string();
    for part in parts {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}
