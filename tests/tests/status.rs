//! A running daemon says how it is doing: to load balancers, to Prometheus, to scripts and
//! to people; and shows messages as they pass, without holding anybody up.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use loghog_tests::frames::{frame, raw, signed};
use loghog_tests::load::Load;
use loghog_tests::process;
use loghog_tests::services::promtool;
use loghog_tests::session::{Who, greet};
use loghog_tests::{DEADLINE, Daemon, Scenario, binaries, wait_until};
use serde_json::Value;
use wire::v2::frame::Type;
use wire::v2::report::{Dropped, Report};

const FACILITIES: &str = "[plain]\nrotate = daily\nbackup_count = 9\n\
                          [plain:web]\nrotate = daily\nbackup_count = 9\n\
                          [signed]\nrotate = daily\nbackup_count = 9\nsecret = s\n";

fn scenario() -> Scenario {
    Scenario::new().facilities(FACILITIES).option("status", "listen", "127.0.0.1:0")
}

/// Asks the status page; the status and the body.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    ask(TcpStream::connect(address).unwrap(), "GET", path)
}

fn ask(mut stream: impl Read + Write, method: &str, path: &str) -> (u16, String) {
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

fn json(address: SocketAddr, path: &str) -> Value {
    let (status, body) = get(address, path);
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn question(daemon: &Daemon, words: &[&str]) -> Command {
    let mut command = Command::new(binaries::binary("loghogd"));
    command.arg("--config").arg(daemon.site().config_file()).args(words);
    command.stdin(Stdio::null());
    command
}

#[track_caller]
fn answer(daemon: &Daemon, words: &[&str]) -> String {
    let output = question(daemon, words).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{words:?} ended with {}: {text}{said}", output.status);
    text
}

/// Sends messages over TCP, a refused one, and some over the second protocol.
fn some_traffic(daemon: &Daemon) {
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    for n in 0..10 {
        socket.write_all(&frame("plain", "", "h1", &format!("message {n}"))).unwrap();
    }
    socket.write_all(&signed("wrong", "signed", "", "h2", "b")).unwrap();
    socket.write_all(&raw(b"nonsense")).unwrap();
    let mut session = greet(daemon.tcp(), &Who::new(1, "plain").host("h3")).unwrap();
    session.send(1, "web", &["one", "two"]).unwrap();
    session.wait_for_ack(2);
    daemon.wait_for_count("not_json", 1);
    daemon.wait_for_count("lines", 12);
}

#[test]
fn a_daemon_that_is_well_is_ready_and_counts() {
    let daemon = scenario().start();
    some_traffic(&daemon);
    let (status, health) = get(daemon.status(), "/health");
    assert_eq!((status, health.trim()), (200, r#"{"state":"ready","reasons":[]}"#));
    let report = json(daemon.status(), "/api/v1/status");
    assert_eq!(report["counters"]["records"], 12);
    assert_eq!(report["counters"]["signature_bad"], 1);
    assert_eq!(report["facilities"], 3);
    assert_eq!(report["pid"], daemon.pid());
    assert!(report["syncs"]["count"].as_u64().unwrap() > 0);
    assert_eq!(json(daemon.status(), "/api/v1/counters"), report["counters"]);
    for (part, path) in [("health", "/api/v1/health"), ("targets", "/api/v1/targets")] {
        assert_eq!(json(daemon.status(), path), report[part]);
    }
    assert_eq!(get(daemon.status(), "/nowhere").0, 404);
    assert_eq!(ask(TcpStream::connect(daemon.status()).unwrap(), "POST", "/health").0, 405);
    let (status, body) = ask(TcpStream::connect(daemon.status()).unwrap(), "HEAD", "/metrics");
    assert_eq!((status, body.as_str()), (200, ""));
    let shown = answer(&daemon, &["status"]);
    assert!(shown.contains(": ready ") && shown.contains("12 messages"), "{shown}");
    assert!(shown.contains("signature_bad 1") && !shown.contains('\x1b'), "{shown}");
    let same: Value = serde_json::from_str(&answer(&daemon, &["status", "--json"])).unwrap();
    assert_eq!(same["counters"], report["counters"]);
}

#[test]
fn prometheus_understands_the_metrics_and_finds_every_counter_with_its_meaning() {
    let daemon = scenario().start();
    some_traffic(&daemon);
    let evil = "a\"} 1\n# evil\\";
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    socket.write_all(&frame("plain", "", evil, "b")).unwrap();
    daemon.wait_for_count("lines", 13);
    let (status, metrics) = get(daemon.status(), "/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("\nloghog_records_total 13\n"), "{metrics}");
    assert!(metrics.contains("\nloghog_refused_total{reason=\"signature_bad\"} 1\n"));
    assert!(metrics.contains("loghog_health{state=\"ready\"} 1\n"));
    assert!(metrics.contains(
        "loghog_client_received_total{address=\"127.0.0.1\",host=\"h3\",app=\"plain\"} 2\n"
    ));
    assert!(metrics.contains(r#"host="a\"} 1\n# evil\\""#), "{metrics}");
    let help = metrics.lines().filter(|line| line.starts_with("# HELP")).count();
    let kinds = metrics.lines().filter(|line| line.starts_with("# TYPE")).count();
    assert!(help == kinds && help > 40, "{help} and {kinds}");
    let mut check = Command::new(promtool())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let checked = check.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{}{said}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn the_rules_for_alerts_are_rules_of_metrics_that_there_are() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
    let rules = format!("{docs}/alerts.yml");
    let checked = Command::new(promtool()).args(["check", "rules", &rules]).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));

    let daemon = scenario().start();
    let (_, metrics) = get(daemon.status(), "/metrics");
    let known = |name: &str| {
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        // Those of targets and certificates are there when there are some.
        metrics.contains(&format!("# TYPE {family} "))
            || name.starts_with("loghog_ship_")
            || name.starts_with("loghog_certificate_")
    };
    for file in ["alerts.yml", "grafana.json"] {
        let text = std::fs::read_to_string(format!("{docs}/{file}")).unwrap();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names: Vec<&str> = words.filter(|word| word.starts_with("loghog_")).collect();
        assert!(names.len() > 10);
        for name in names {
            assert!(known(name), "{file} names {name}, which is no metric");
        }
    }
    let dashboard = std::fs::read_to_string(format!("{docs}/grafana.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 10);
}

#[test]
fn a_full_disk_is_failing_with_its_reason_and_ready_again_when_there_is_room() {
    let daemon = scenario().tiny_disk(16 << 20).start();
    daemon.site().disk().leave_free(8 << 10);
    let load = Load::start(daemon.tcp(), "plain", "");
    let health = wait_until(DEADLINE, "it is failing", || {
        let (status, health) = get(daemon.status(), "/health");
        (status == 503).then_some(health)
    });
    assert!(health.contains("plain/root.log cannot be written: No space left"), "{health}");
    assert!(health.contains("\"code\":\"file_refuses\""), "{health}");
    let output = question(&daemon, &["status"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains(": failing ") && shown.contains("who sends to it waits"), "{shown}");
    load.ask_to_stop();
    daemon.site().disk().free();
    wait_until(DEADLINE, "it takes messages again", || {
        (get(daemon.status(), "/health").0 == 200).then_some(())
    });
    load.stop();
}

#[test]
fn what_is_missing_is_told_by_client() {
    let daemon = scenario().start();
    some_traffic(&daemon);
    // One that comes back with numbers that were never sent here, and has dropped some.
    let mut session = greet(daemon.tcp(), &Who::new(1, "plain").host("h3").holding(8, 9)).unwrap();
    let report = Report { dropped: vec![(Dropped::MemoryFull, 4)] };
    session.say(Type::Report, &report.encode()).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.send_to(&frame("plain", "", "h4", "datagram"), daemon.udp()).unwrap();
    daemon.wait_for_count("client_dropped", 4);
    daemon.wait_for_count("lines", 13);
    let clients: Value =
        serde_json::from_str(&answer(&daemon, &["status", "--loss", "--json"])).unwrap();
    assert_eq!(clients, json(daemon.status(), "/api/v1/clients"));
    let client = |host: &str| {
        let clients = clients.as_array().unwrap();
        clients.iter().find(|client| client["host"] == host).unwrap_or_else(|| panic!("{host}"))
    };
    assert_eq!(
        (client("h1")["received"].as_u64(), &client("h1")["app"]),
        (Some(10), &"plain".into())
    );
    assert_eq!(client("h2")["refused"], 1);
    assert_eq!(client("")["refused"], 1);
    let h3 = client("h3");
    assert_eq!((&h3["received"], &h3["gaps"], &h3["dropped"]), (&2.into(), &5.into(), &4.into()));
    assert_eq!(client("h4")["received"], 1);
    let shown = answer(&daemon, &["status", "--loss"]);
    assert!(shown.contains("127.0.0.1") && shown.contains("h3"), "{shown}");
    let health = json(daemon.status(), "/api/v1/health");
    assert_eq!(health["state"], "degraded");
    assert_eq!(health["reasons"][0]["code"], "client_dropped");
    assert_eq!(get(daemon.status(), "/health").0, 200);
    assert_eq!(get(daemon.status(), "/health?strict").0, 503);
}

#[test]
fn top_says_who_sends_how_much() {
    let daemon = scenario().start();
    some_traffic(&daemon);
    let load = Load::start(daemon.tcp(), "plain", "");
    let rows = answer(&daemon, &["top", "--every", "1", "--count", "1", "--json"]);
    load.ask_to_stop();
    load.stop();
    let rows: Value = serde_json::from_str(&rows).unwrap();
    assert_eq!(rows[0]["app"], "plain");
    assert!(rows[0]["received_a_second"].as_f64().unwrap() > 0.0, "{rows}");
    let shown = answer(&daemon, &["top", "--every", "1", "--count", "1"]);
    assert!(shown.contains("MESSAGES/s") && shown.contains("h1"), "{shown}");
}

/// A `loghogd tap` that looks already.
struct Tap {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Tap {
    fn start(daemon: &Daemon, words: &[&str]) -> Tap {
        let mut command = question(daemon, &[&["tap"], words].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Tap { child, lines }
    }

    fn next(&mut self) -> String {
        self.lines.next().expect("a line").unwrap()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends until somebody has seen it.
fn send_until(daemon: &Daemon, is_seen: impl Fn() -> bool) {
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    wait_until(DEADLINE, "somebody looks", || {
        socket.write_all(&frame("plain", "warm", "h", "is anybody there?")).unwrap();
        is_seen().then_some(())
    });
}

#[test]
fn messages_are_shown_as_they_pass_to_who_wants_to_see_them() {
    let daemon = scenario().start();
    let mut all = Tap::start(&daemon, &["plain"]);
    let mut web = Tap::start(&daemon, &["plain:web", "--host", "h3", "--grep", "^tw", "--json"]);
    // Each is known to look when it has shown something.
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        let told = std::sync::Arc::clone(&seen);
        let all = &mut all;
        scope.spawn(move || {
            let first = all.next();
            assert!(first.ends_with(" h plain:warm - is anybody there?"), "{first}");
            told.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        send_until(&daemon, || seen.load(std::sync::atomic::Ordering::Relaxed));
    });
    let mut session = greet(daemon.tcp(), &Who::new(7, "plain").host("h3")).unwrap();
    let mut number = 1;
    let seen = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let message: Value = serde_json::from_str(&web.next()).unwrap();
            assert_eq!(message["message"], "two");
            assert_eq!((&message["host"], &message["logger"]), (&"h3".into(), &"web.views".into()));
            seen.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        wait_until(DEADLINE, "the other one looks as well", || {
            session.send(number, "web.views", &["one", "two"]).unwrap();
            number += 2;
            session.wait_for_ack(number - 1);
            seen.load(std::sync::atomic::Ordering::Relaxed).then_some(())
        });
    });
    let shown = std::iter::from_fn(|| Some(all.next())).find(|line| line.ends_with(" - two"));
    assert!(shown.unwrap().contains(" h3 plain:web.views "));
}

#[test]
fn who_looks_and_does_not_read_holds_nobody_up() {
    let daemon = scenario().start();
    let stream = UnixStream::connect(daemon.site().folder().join("run/loghogd.sock")).unwrap();
    (&stream).write_all(b"{\"ask\":\"tap\",\"app\":\"*\"}\n").unwrap();
    let mut looking = String::new();
    BufReader::new(&stream).read_line(&mut looking).unwrap();
    assert_eq!(looking, "\"looking\"\n");
    let load = Load::start(daemon.tcp(), "plain", "");
    daemon.wait_for_count("lines", 200_000);
    load.ask_to_stop();
    let sent = load.stop();
    daemon.wait_for_count("lines", sent.messages);
    assert!(daemon.rss_bytes_peak() < 64 << 20, "what waits for it is bounded");
    drop(stream);
}

#[test]
fn a_pattern_that_is_none_and_a_daemon_that_is_not_there_are_said() {
    let daemon = scenario().start();
    let output = question(&daemon, &["tap", "plain", "--grep", "("]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--grep: regex parse error"));
    let stopped = daemon.stop();
    for words in [&["status"][..], &["status", "--loss"], &["top"], &["tap", "plain"], &["ship"]] {
        let mut command = Command::new(binaries::binary("loghogd"));
        command.arg("--config").arg(stopped.site.config_file()).args(words);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(69), "{words:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("loghogd.sock") && said.contains("is loghogd running"), "{said}");
    }
}

#[test]
fn the_page_may_be_a_socket_in_the_file_system() {
    let daemon = scenario().option("status", "listen", "unix:../run/status.sock").start();
    let path = daemon.site().folder().join("run/status.sock");
    let (status, _) = ask(UnixStream::connect(&path).unwrap(), "GET", "/health");
    assert_eq!(status, 200);
    // One that a kill has left is replaced.
    let daemon = daemon.kill().start();
    let (status, _) = ask(UnixStream::connect(&path).unwrap(), "GET", "/health");
    assert_eq!(status, 200);
    drop(daemon);
}

#[test]
fn a_page_that_cannot_be_had_keeps_no_daemon_from_its_work() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let daemon = scenario().option("status", "listen", &address).start();
    let said = daemon.wait_until_it_said("status page");
    assert!(said.contains(&address) && said.contains("see [status] listen"), "{said}");
    some_traffic(&daemon);
}

#[test]
fn hostile_questions_cost_little_and_others_are_answered() {
    let daemon = scenario().start();
    let descriptors = process::descriptors(daemon.pid());
    // More than there are seats, each silent.
    let silent: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect(daemon.status()).unwrap()).collect();
    wait_until(DEADLINE, "those that have no seat are closed", || {
        (process::descriptors(daemon.pid()) <= descriptors + 40).then_some(())
    });
    drop(silent);
    wait_until(DEADLINE, "there is room again", || {
        let mut stream = TcpStream::connect(daemon.status()).unwrap();
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.0 200").then_some(())
    });
    let mut long = TcpStream::connect(daemon.status()).unwrap();
    let head = format!("GET /health HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    // It may be refused before it is through.
    let _ = long.write_all(head.as_bytes());
    let mut answer = Vec::new();
    let _ = long.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    let mut nonsense = TcpStream::connect(daemon.status()).unwrap();
    nonsense.write_all(b"\x16\x03\x01\x02\x00nonsense\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    nonsense.read_to_end(&mut answer).unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    assert_eq!(get(daemon.status(), "/health").0, 200);
}
