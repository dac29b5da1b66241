//! Every golden message of the v1 protocol gets the answer that the original gave,
//! each from a daemon of its own, so that nothing else can have written a byte.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use loghog_tests::files::{begins_with_stamp, tree};
use loghog_tests::frames::frame;
use loghog_tests::golden::{self, text};
use loghog_tests::{DEADLINE, Daemon, Scenario, Stopped, wait_until};
use serde_json::Value;

/// How soon an impossible frame ends its connection.
const CLOSED_WITHIN: Duration = Duration::from_millis(400);

#[test]
fn every_golden_message_gets_its_answer() {
    golden::check_each(&golden::cases("wire_v1.json"), |case| {
        golden::assert_understood(
            case,
            &[
                "name",
                "group",
                "description",
                "transport",
                "frame_hex",
                "secret",
                "source",
                "expected",
            ],
        );
        let daemon = Scenario::new().start();
        let outside = tree_outside(&daemon);
        send(&daemon, case);
        if case["expected"]["inside_logdir_only"] == true {
            assert_eq!(tree_outside(&daemon), outside, "something appeared outside the log folder");
        }
        let stopped = daemon.stop();
        assert!(stopped.status.success(), "{}", stopped.status);
        check(&case["expected"], &stopped);
    });
}

#[test]
fn a_bad_frame_costs_that_frame_only() {
    let daemon = Scenario::new().start();
    let mut names = Vec::new();
    for case in golden::cases("wire_v1.json") {
        let whole = case["expected"]["reason"] != "truncated";
        if case["transport"] != "tcp" || !whole || case["expected"]["connection"] == "close" {
            continue;
        }
        let name = text(&case, "name");
        let mut bytes = golden::bytes(text(&case, "frame_hex"));
        bytes.extend(frame("plain", "web", "behind", &format!("after {name}")));
        let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
        socket.write_all(&bytes).unwrap();
        names.push(format!(" - behind - after {name}"));
    }
    assert!(names.len() > 80);
    let behind = || -> Vec<_> {
        let records = daemon.records("plain/web.log");
        records.into_iter().filter(|record| record.contains(" - behind - ")).collect()
    };
    let mut seen = wait_until(DEADLINE, "every message behind a bad one is written", || {
        Some(behind()).filter(|seen| seen.len() >= names.len())
    });
    names.sort();
    seen.sort();
    assert_eq!(seen, names);
}

/// Sends the case's bytes and waits until the daemon has dealt with them.
fn send(daemon: &Daemon, case: &Value) {
    let bytes = golden::bytes(text(case, "frame_hex"));
    match text(case, "transport") {
        "tcp" => {
            let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
            socket.write_all(&bytes).unwrap();
            match case["expected"]["connection"].as_str() {
                Some("close") => assert!(ends_within(&mut socket, CLOSED_WITHIN), "still open"),
                Some("keep open") => {
                    assert!(!ends_within(&mut socket, CLOSED_WITHIN), "closed by the daemon");
                }
                Some(other) => panic!("nobody knows what {other} means"),
                None => {}
            }
            // A case that was closed already fails here, harmlessly.
            let _ = socket.shutdown(Shutdown::Write);
            assert!(ends_within(&mut socket, DEADLINE), "the daemon does not see our end");
        }
        "udp" => {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.send_to(&bytes, daemon.udp()).unwrap();
            wait_until(DEADLINE, "the datagram is dealt with", || {
                let stats = daemon.stats();
                let dealt_with = ["frames", "frame_too_long", "frame_truncated"];
                dealt_with.iter().any(|name| stats[*name] > 0).then_some(())
            });
        }
        other => panic!("nobody knows the transport {other}"),
    }
}

/// Does the daemon end the connection in time? It never writes.
fn ends_within(socket: &mut TcpStream, time: Duration) -> bool {
    let start = Instant::now();
    socket.set_read_timeout(Some(time)).unwrap();
    match socket.read(&mut [0]) {
        Ok(0) => start.elapsed() <= time,
        Ok(_) => panic!("the daemon wrote to a v1 connection"),
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn check(expected: &Value, stopped: &Stopped) {
    golden::assert_understood(
        expected,
        &[
            "accept",
            "reason",
            "note",
            "connection",
            "file",
            "line_suffix",
            "copies",
            "either_ok",
            "contains",
            "one_record",
            "inside_logdir_only",
            "must_not_contain",
            "must_not_contain_bytes_hex",
            "must_not_contain_line_regex",
        ],
    );
    let written = everything(stopped);
    let accepted = !written.is_empty();
    let either = expected["either_ok"] == true;
    if !either {
        assert_eq!(accepted, expected["accept"] == true, "written: {written:?}");
    }
    if accepted {
        check_record(expected, stopped, &written);
    }
    check_forbidden(expected, &written);
    check_names(stopped);
}

/// What was accepted stands where it should.
fn check_record(expected: &Value, stopped: &Stopped, written: &str) {
    let stamped = written.lines().filter(|line| begins_with_stamp(line)).count();
    if expected["one_record"] == true {
        assert_eq!(stamped, 1, "{written:?}");
    }
    for part in strings(expected, "contains") {
        assert!(written.contains(part), "{part:?} is not in {written:?}");
    }
    let Some(file) = expected["file"].as_str() else { return };
    let records = stopped.site.records(file);
    assert_eq!(records.len(), stamped, "something was written to another file than {file}");
    if let Some(suffix) = expected["line_suffix"].as_str() {
        let copies = expected["copies"].as_u64().unwrap_or(1);
        assert_eq!(records, vec![suffix.to_owned(); usize::try_from(copies).unwrap()]);
    }
}

/// What may never be written, accepted or not.
fn check_forbidden(expected: &Value, written: &str) {
    for part in strings(expected, "must_not_contain") {
        assert!(!written.contains(part), "{part:?} is in {written:?}");
    }
    for hex in strings(expected, "must_not_contain_bytes_hex") {
        let bytes = golden::bytes(hex);
        let found = written.as_bytes().windows(bytes.len()).any(|window| window == bytes);
        assert!(!found, "{hex} is in {written:?}");
    }
    if let Some(pattern) = expected["must_not_contain_line_regex"].as_str() {
        let start = pattern.strip_prefix('^').expect("a pattern for the start of a line");
        let plain =
            start.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" -:".contains(&byte));
        assert!(plain, "this pattern needs a real regular expression: {pattern}");
        assert!(!written.lines().any(|line| line.starts_with(start)), "{written:?}");
    }
}

/// No name in a message has chosen a folder, or a name that is not plain.
fn check_names(stopped: &Stopped) {
    // The daemon's own state has names of its own.
    let named = tree(&stopped.site.log_dir());
    for path in named.into_iter().filter(|path| !path.starts_with(".loghogd/")) {
        let (folder, file) = path.split_once('/').expect("no files directly in the log folder");
        assert!(["plain", "signed", "usecret", "hosts"].contains(&folder), "folder of {path:?}");
        assert!(!file.contains('/'), "a folder in a folder: {path:?}");
        assert!(file.len() <= 255, "a long name: {path:?}");
        assert!(!file.chars().any(char::is_control), "a control character: {path:?}");
    }
}

/// All that stands in all log files.
fn everything(stopped: &Stopped) -> String {
    let folder = stopped.site.log_dir();
    let files = tree(&folder).into_iter().filter(|path| !path.ends_with('/'));
    files.map(|path| std::fs::read_to_string(folder.join(path)).expect("UTF-8")).collect()
}

/// Everything at the site but the log folder.
fn tree_outside(daemon: &Daemon) -> Vec<String> {
    let all = tree(daemon.site().folder()).into_iter();
    all.filter(|path| !path.starts_with("log/")).collect()
}

fn strings<'a>(expected: &'a Value, name: &str) -> Vec<&'a str> {
    let all = expected[name].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().map(|part| part.as_str().expect("a string")).collect()
}
