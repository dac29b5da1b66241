//! SIGHUP takes new facilities over without losing a connection or a message;
//! what is broken is reported, and the old stays in force.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};

use loghog_tests::certs::Authority;
use loghog_tests::frames::{frame, signed};
use loghog_tests::load::{Load, assert_gapless, numbers};
use loghog_tests::session::{Session, Who, greet};
use loghog_tests::{DEADLINE, Daemon, Scenario, tls, wait_until};

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

const EVERYBODY: &str = "[DEFAULT]\nrotate = daily\nbackup_count = 9\n\
                         [plain]\n[tls]\n[udp]\n[session]\n[safe-session]\n";

/// Sends numbered messages in a session until it is told to stop; gives their number.
fn numbered<S: Read + Write>(mut session: Session<S>, stop: &AtomicBool) -> u64 {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let bodies: Vec<String> = (number + 1..=number + 100).map(|n| n.to_string()).collect();
        let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
        session.send(number + 1, "", &bodies).expect("the session goes on");
        number += 100;
        session.wait_for_ack(number);
    }
    number
}

/// Sends datagrams, no faster than they are taken, until it is told to stop.
fn datagrams(daemon: &Daemon, stop: &AtomicBool) -> u64 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..50 {
            let frame = frame("udp", "", "h", &sent.to_string());
            socket.send_to(&frame, daemon.udp()).unwrap();
            sent += 1;
        }
        daemon.wait_for_records("udp/root.log", usize::try_from(sent).unwrap());
    }
    sent
}

#[test]
fn everything_changes_at_once_under_the_load_of_everybody_and_nothing_is_lost() {
    let authority = Authority::new();
    let client = authority.client("client");
    let site = Scenario::new()
        .facilities(EVERYBODY)
        .tls(&authority)
        .option("log", "level", "INFO")
        .fast_disk()
        .site();
    let config = std::fs::read_to_string(site.config_file()).unwrap();
    let daemon = site.start();
    let secured = || tls::connect(daemon.tls(), &authority.certificate(), Some(&client)).unwrap();
    let plain = Load::start(daemon.tcp(), "plain", "");
    let over_tls = Load::over(secured(), "tls", "");
    let session = greet(daemon.tcp(), &Who::new(1, "session")).unwrap();
    let safe_session = Session::greet(secured(), &Who::new(2, "safe-session")).unwrap();
    let stop = AtomicBool::new(false);
    let (in_session, in_safe_session, by_datagram) = std::thread::scope(|scope| {
        let one = scope.spawn(|| numbered(session, &stop));
        let other = scope.spawn(|| numbered(safe_session, &stop));
        let third = scope.spawn(|| datagrams(&daemon, &stop));
        for round in 0..10_u32 {
            daemon.site().set_facilities(&format!("{EVERYBODY}[new-{round}]\n"));
            let level = ["INFO", "DEBUG"][usize::from(round % 2 == 0)];
            let target = format!(
                "[ship:far]\ntype = influxdb\nurl = http://127.0.0.1:9\ndatabase = d{round}\n"
            );
            let config = config.replace("level = INFO", &format!("level = {level}"));
            std::fs::write(daemon.site().config_file(), format!("{config}{target}")).unwrap();
            let name = format!("gone-{round}");
            authority.client(&name);
            authority.revoke(&name);
            authority.renew_server();
            daemon.site().install_certificates(authority.folder());
            let mark = daemon.mark();
            let (before, before_tls) = (plain.messages(), over_tls.messages());
            let said = daemon.reload_certificates();
            assert!(said.contains("reloaded the certificates"), "{said}");
            let facilities = format!("reloaded the configuration: {} facilities", 6);
            daemon.wait_until_it_said_since(mark, &facilities);
            wait_until(DEADLINE, "messages flow on", || {
                let flow = plain.messages() > before && over_tls.messages() > before_tls;
                flow.then_some(())
            });
        }
        stop.store(true, Ordering::Relaxed);
        (one.join().unwrap(), other.join().unwrap(), third.join().unwrap())
    });
    let (plain, over_tls) = (plain.stop(), over_tls.stop());
    assert!(!plain.cut_off && !over_tls.cut_off, "a reload has cut a connection");
    let all = plain.messages + over_tls.messages + in_session + in_safe_session + by_datagram;
    let stats = daemon.wait_for_count("lines", all);
    assert_eq!((stats["lines"], stats["connections"]), (all, 4));
    for app in ["plain", "tls"] {
        assert_gapless(&numbers(&daemon.records(&format!("{app}/root.log"))));
    }
    for (app, count) in [("session", in_session), ("safe-session", in_safe_session)] {
        let records = daemon.records(&format!("{app}/root.log"));
        let expected: Vec<String> = (1..=count).map(|n| format!(" - h - {n}")).collect();
        assert!(records == expected, "{app}: {} of {count}", records.len());
    }
}
