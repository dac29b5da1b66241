//! SIGHUP takes new facilities over without losing a connection or a message;
//! what is broken is reported, and the old stays in force.

use std::io::Write as _;
use std::net::TcpStream;

use loghog_tests::frames::{frame, signed};
use loghog_tests::load::{Load, assert_gapless, numbers};
use loghog_tests::{DEADLINE, Daemon, Scenario, wait_until};

const ROOT: &str = "[plain]\nrotate = daily\nbackup_count = 14\n";

fn with(more: &str) -> String {
    format!("{ROOT}{more}\nrotate = hourly\nbackup_count = 3\n")
}

#[test]
fn a_reload_under_load_loses_no_connection_and_no_message() {
    let daemon = Scenario::new().facilities(ROOT).start();
    let load = Load::start(daemon.tcp(), "plain", "web.requests");
    for round in 0..20_usize {
        // From root to web and on to web.requests, and back again.
        let facilities = match round % 3 {
            0 => with("[plain:web]"),
            1 => with("[plain:web.requests]"),
            _ => ROOT.to_owned(),
        };
        daemon.site().set_facilities(&facilities);
        let said = daemon.reload();
        assert!(said.contains("reloaded"), "{said}");
        let before = load.messages();
        wait_until(DEADLINE, "messages flow on", || (load.messages() > before + 500).then_some(()));
    }
    let sent = load.stop();
    assert!(!sent.cut_off, "a reload has cut the connection");
    let stats = daemon.wait_for_count("lines", sent.messages);
    assert_eq!((stats["connections"], stats["records"]), (1, sent.messages));

    let stopped = daemon.stop();
    let mut all = Vec::new();
    for file in ["plain/root.log", "plain/web.log", "plain/web.requests.log"] {
        let numbers = numbers(&stopped.site.records(file));
        assert!(!numbers.is_empty(), "{file} has had its turn");
        assert!(numbers.is_sorted(), "{file} is out of order");
        all.extend(numbers);
    }
    all.sort_unstable();
    assert_gapless(&all);
    assert_eq!(u64::try_from(all.len()).unwrap(), sent.messages);
}

#[test]
fn broken_facilities_are_reported_and_the_old_stay_in_force() {
    let daemon = Scenario::new().facilities(ROOT).start();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    let mut log = |daemon: &Daemon, count: usize| {
        socket.write_all(&frame("plain", "", "h", "still here")).unwrap();
        daemon.wait_for_records("plain/root.log", count);
    };
    log(&daemon, 1);
    let broken = [
        "[plain]\nrotate = every now and then\nbackup_count = 14\n",
        "[plain:web]\nrotate = daily\nbackup_count = 14\n",
        "[plain]\nrotate = daily\nbackup_count = 14\ncolour = red\n",
        "no configuration\n",
        "",
    ];
    for (count, text) in (2..).zip(broken) {
        if text.is_empty() {
            std::fs::remove_file(daemon.site().facilities_file()).unwrap();
        } else {
            daemon.site().set_facilities(text);
        }
        let said = daemon.reload();
        assert!(said.contains("reload failed"), "{said}");
        assert!(said.contains("facilities.conf"), "the file is named: {said}");
        log(&daemon, count);
    }
    daemon.site().set_facilities(&with("[plain:web]"));
    assert!(daemon.reload().contains("reloaded"), "and a good one is taken again");
    assert!(daemon.stop().status.success());
}

#[test]
fn new_secrets_bind_from_the_next_message_on_an_open_connection() {
    let secret = |secret: &str| format!("{ROOT}secret = {secret}\n");
    let daemon = Scenario::new().facilities(&secret("old")).start();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    socket.write_all(&signed("old", "plain", "", "h", "first")).unwrap();
    daemon.wait_for_records("plain/root.log", 1);
    daemon.site().set_facilities(&secret("new"));
    daemon.reload();
    socket.write_all(&signed("old", "plain", "", "h", "FORGED")).unwrap();
    socket.write_all(&signed("new", "plain", "", "h", "second")).unwrap();
    daemon.wait_for_records("plain/root.log", 2);
    let stopped = daemon.stop();
    assert_eq!(stopped.site.records("plain/root.log"), [" - h - first", " - h - second"]);
    assert_eq!(stopped.stats()["signature_bad"], 1);
}

#[test]
fn a_facility_that_is_gone_takes_no_more_messages() {
    let daemon = Scenario::new().facilities(&with("[other]")).start();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    socket.write_all(&frame("other", "", "h", "before")).unwrap();
    daemon.wait_for_records("other/root.log", 1);
    daemon.site().set_facilities(ROOT);
    daemon.reload();
    socket.write_all(&frame("other", "", "h", "after")).unwrap();
    socket.write_all(&frame("plain", "", "h", "after")).unwrap();
    daemon.wait_for_records("plain/root.log", 1);
    let stopped = daemon.stop();
    assert_eq!(stopped.site.records("other/root.log"), [" - h - before"]);
    assert_eq!(stopped.stats()["app_unknown"], 1);
}

#[test]
fn the_level_of_the_own_log_follows_and_the_rest_waits_for_a_restart() {
    let daemon = Scenario::new().start();
    let mark = daemon.mark();
    let config = daemon.site().config_file();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("[server]", "[server]\nmax_connections = 17")).unwrap();
    daemon.reload();
    let said = daemon.wait_until_it_said_since(mark, "restart");
    assert!(said.contains("WARN"), "{said}");

    std::fs::write(&config, text.replace("level = INFO", "level = ERROR")).unwrap();
    daemon.site().set_facilities("[fresh]\nrotate = daily\nbackup_count = 1\n");
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    wait_until(DEADLINE, "the new facilities are in force", || {
        socket.write_all(&frame("fresh", "", "h", "x")).unwrap();
        (!daemon.records("fresh/root.log").is_empty()).then_some(())
    });
    let mark = daemon.mark();
    socket.write_all(&frame("plain", "", "h", "unknown now")).unwrap();
    socket.write_all(&frame("fresh", "", "h", "last")).unwrap();
    wait_until(DEADLINE, "the last message is written", || {
        daemon.records("fresh/root.log").last().filter(|last| last.ends_with("last")).map(drop)
    });
    let stopped = daemon.stop();
    assert_eq!(&stopped.said[mark..], "", "warnings are below the level now");
}
