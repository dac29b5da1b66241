//! The daemon's own log stays readable and short, whatever peers send.

use std::io::Write as _;
use std::net::TcpStream;

use loghog_tests::frames::{frame, raw};
use loghog_tests::{Daemon, Scenario};

#[test]
fn bytes_of_peers_are_escaped_and_cut_short() {
    let daemon = Scenario::new().start();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    let nasty = "\u{1b}]0;title\u{7}\n2020-01-01 00:00:00.000000 - ERROR - forged \u{202e}";
    let long = "a".repeat(10_000);
    socket.write_all(&frame(&format!("{nasty}{long}"), "", "h", "b")).unwrap();
    let said = daemon.wait_until_it_said("app_unknown");
    assert!(said.contains("forged"), "{said}");
    let stopped = daemon.stop();
    for line in stopped.said.lines() {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(!line.contains('\u{202e}'), "text that runs backwards: {line:?}");
        // Only that of the counters may be long.
        let is_stats = line.contains(" - INFO - stats ");
        assert!(line.len() < 1000 || is_stats, "a line of {} bytes", line.len());
        assert!(!line.starts_with("2020"), "{line:?}");
    }
}

#[test]
fn repeated_complaints_about_a_peer_are_summed_up() {
    const BAD: u64 = 5_000;
    let daemon = Scenario::new().start();
    for _ in 0..5 {
        let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
        for _ in 0..BAD / 5 {
            socket.write_all(&raw(b"nonsense")).unwrap();
        }
    }
    daemon.wait_for_count("not_json", BAD);
    let stopped = daemon.stop();
    let complaints: Vec<&str> = stopped
        .said
        .lines()
        .filter(|line| line.contains("not_json") && !line.contains(" stats "))
        .collect();
    assert!(complaints.len() <= 6, "{complaints:#?}");
    // Nothing is forgotten: the first in words, the others as a sum.
    let told: u64 = complaints
        .iter()
        .map(|line| match line.split_once(" more within ") {
            None => 1,
            Some((start, _)) => start.rsplit(' ').next().unwrap().parse().unwrap(),
        })
        .sum();
    assert_eq!(told, BAD, "{complaints:#?}");
}

#[test]
fn the_file_says_what_stderr_says_and_may_be_moved_away() {
    let daemon = Scenario::new().start();
    let file = daemon.site().own_log_file();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), daemon.said());
    std::fs::rename(&file, file.with_extension("old")).unwrap();
    daemon.reload();
    daemon.stats();
    let fresh = std::fs::read_to_string(&file).unwrap();
    assert!(fresh.contains(" stats "), "{fresh}");
    for line in daemon.said().lines() {
        assert_shape(line);
    }
    stop(daemon);
}

/// `2026-11-20 12:00:00.123456 - LEVEL - ...`
fn assert_shape(line: &str) {
    assert!(loghog_tests::files::begins_with_stamp(line), "{line:?}");
    let level = line.split(" - ").nth(1).unwrap_or("");
    assert!(["DEBUG", "INFO", "WARN", "WARNING", "ERROR"].contains(&level), "{line:?}");
}

fn stop(daemon: Daemon) {
    let stopped = daemon.stop();
    assert!(stopped.said.lines().last().is_some_and(|line| line.ends_with("stopped")));
}
