//! Ships to a real InfluxDB and a real VictoriaMetrics, and to servers that do
//! what those do only on bad days.
//!
//! `tools/debian-programs` fetches both.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use loghog_tests::batches::{self, Lines};
use loghog_tests::certs::Authority;
use loghog_tests::fake_http::{Answer, FakeHttp};
use loghog_tests::services::influxdb::{InfluxDb, Setup, VictoriaMetrics};
use loghogd::config::ship::{Kind, influxdb::InfluxDb as Options};
use loghogd::config::{Overrides, read_config};
use loghogd::pipeline::ship::influxdb::InfluxDbTarget;
use loghogd::pipeline::ship::{Batch, Records as _, Refused, Surroundings, Trouble};
use tokio::runtime::Runtime;

/// A target, and what it runs in.
struct Target {
    target: InfluxDbTarget,
    surroundings: Surroundings,
    _runtime: Runtime,
}

impl Target {
    fn new(options: &str) -> Target {
        Target::try_new(options).unwrap()
    }

    fn try_new(options: &str) -> Result<Target, Trouble> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let surroundings =
            Surroundings::new(runtime.handle().clone(), "0123456789abcdef", TimeZone::UTC);
        let options = read(options);
        let target = InfluxDbTarget::new("metrics", &options, surroundings.clone())?;
        Ok(Target { target, surroundings, _runtime: runtime })
    }

    fn connect(&mut self) -> Result<(), String> {
        self.target.connect().map_err(|trouble| trouble.to_string())
    }

    /// Delivers a batch; returns what the server will never take.
    fn try_deliver(&mut self, batch: &Batch) -> Result<Vec<Refused>, Trouble> {
        batches::deliver(&mut self.target, batch)
    }

    /// Delivers what has to be taken as it is.
    #[track_caller]
    fn deliver(&mut self, batch: &Batch) {
        assert_eq!(self.try_deliver(batch).unwrap(), []);
    }

    /// Delivers what has to fail.
    #[track_caller]
    fn fail(&mut self, batch: &Batch) -> String {
        self.try_deliver(batch).unwrap_err().to_string()
    }
}

fn read(options: &str) -> Options {
    let text = format!("[ship:metrics]\ntype = influxdb\n{options}\n");
    let read = read_config(text.as_bytes(), "loghogd.conf".as_ref(), &Overrides::default());
    match read.unwrap().0.ship.remove(0).kind {
        Kind::InfluxDb(options) => *options,
        _ => unreachable!("its type is influxdb"),
    }
}

/// An InfluxDB with the database `logs`.
fn influxdb() -> InfluxDb {
    let influxdb = InfluxDb::start(Setup::default());
    influxdb.ask("CREATE DATABASE logs");
    influxdb
}

fn target_of(influxdb: &InfluxDb, more: &str) -> Target {
    let mut target = Target::new(&format!("url = {}\ndatabase = logs\n{more}", influxdb.url()));
    target.connect().unwrap();
    target
}

/// So many messages of one instant.
fn messages(count: usize) -> Vec<u8> {
    let line = |n| format!("2026-11-20 12:00:00.123456 - web01 - INFO - message {n}\n");
    (0..count).map(line).collect::<String>().into_bytes()
}

const INSTANT_NS: i64 = 1_795_176_000_123_456_000;

#[test]
fn a_thousand_messages_of_one_instant_become_a_thousand_points_however_often_they_are_sent() {
    let influxdb = influxdb();
    let mut target = target_of(&influxdb, "batch_points = 300\n");
    let batch = Lines::new("my-app", "web").batch(&messages(1_000));
    for _ in 0..3 {
        target.deliver(&batch);
    }
    let points = influxdb.points("logs", "my-app");
    assert_eq!(points.len(), 1_000);
    for (n, point) in points.iter().enumerate() {
        let expected = serde_json::json!({
            "time": INSTANT_NS + i64::try_from(n).unwrap(), "app": "my-app", "host": "web01",
            "level": "INFO", "module": "web", "body": format!("INFO - message {n}"),
        });
        assert_eq!(*point, expected);
    }
    assert_eq!(target.target.marks(), Ok(None));
}

#[test]
fn streams_that_log_in_the_same_instant_do_not_replace_each_other() {
    let influxdb = influxdb();
    let mut target = target_of(&influxdb, "measurement = all\nerrors_measurement = errors\n");
    let text =
        b"2026-11-20 12:00:00.123456 - h - ERROR - x\n2026-11-20 12:00:00.123456 - h - ERROR - y\n";
    let mut batch = Batch::default();
    for (app, module, live) in [
        ("one", "web", "web.log"),
        ("one", "web", "h-web.log"),
        ("one", "web", "g-web.log"),
        ("one", "api", "api.log"),
        ("two", "web", "web.log"),
    ] {
        batch.parts.push(Lines::of_file(app, module, live).part(text));
    }
    target.deliver(&batch);
    target.deliver(&batch);
    assert_eq!((influxdb.count("logs", "all"), influxdb.count("logs", "errors")), (10, 10));
}

#[test]
fn further_measurements_have_errors_and_what_matches() {
    let influxdb = influxdb();
    let options = "errors_measurement = {app}.errors\nmatch.auth = (?i)login (failed|refused)\n\
                   tag.site = north\n";
    let mut target = target_of(&influxdb, options);
    let text = b"2026-11-20 12:00:00.000001 - h - INFO - fine\n\
                 2026-11-20 12:00:00.000002 - h - ERROR - boom\n\
                 2026-11-20 12:00:00.000003 - h - CRITICAL - Login failed\n\
                 2026-11-20 12:00:00.000004 - h - INFO - login refused\n";
    target.deliver(&Lines::new("my-app", "web").batch(text));
    let bodies = |measurement: &str| {
        let points = influxdb.points("logs", measurement);
        assert!(points.iter().all(|point| point["site"] == "north"));
        points.iter().map(|point| point["body"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(bodies("my-app").len(), 4);
    assert_eq!(bodies("my-app.errors"), ["ERROR - boom", "CRITICAL - Login failed"]);
    assert_eq!(bodies("auth"), ["CRITICAL - Login failed", "INFO - login refused"]);
}

#[test]
fn whatever_is_in_a_message_arrives_as_it_was() {
    let influxdb = influxdb();
    let mut target = target_of(&influxdb, "measurement = #m,{app} =x\n");
    let bodies = [
        "a\"b\\c\\\\d\\\" e=1,f 7",
        "line\nevil,app=x v=1 5\n#comment",
        "\\",
        "ends in a backslash\\\n",
        "ünï\u{2028}\u{85}\u{feff}\0\r\n",
    ];
    let json = |(n, body): (usize, &&str)| {
        serde_json::json!({
            "received": format!("2026-11-20T12:00:00.{n:06}+00:00"), "host": "h,o =s\\t%", "message": body,
            "logger": "a\"b", "exception": "Traceback\n  x", "fields": {"took, s=": 0.25, "big": 1e300, "time": 5},
        })
        .to_string() + "\n"
    };
    // serde_json sorts its keys, and ours begin with the time.
    let first = |line: String| {
        let received = line.find("\"received\"").unwrap();
        let (before, behind) = line.split_at(received);
        let (received, behind) = behind.split_once("+00:00\"").unwrap();
        format!("{{{received}+00:00\"{},{}", behind.trim_end_matches("}\n"), &before[1..])
            .trim_end_matches(',')
            .to_owned()
            + "}\n"
    };
    let text: String = bodies.iter().enumerate().map(json).map(first).collect();
    target.deliver(&Lines::new("my-app", "web").batch(text.as_bytes()));
    let points = influxdb.points("logs", "%23m,my-app =x");
    let read: Vec<&str> = points.iter().map(|point| point["body"].as_str().unwrap()).collect();
    assert_eq!(read, bodies);
    for point in points {
        assert_eq!(point["host"], "h,o =s%5Ct%25");
        assert_eq!(
            (&point["logger"], &point["exception"]),
            (&"a\"b".into(), &"Traceback\n  x".into())
        );
        assert_eq!((&point["took, s="], &point["field_time"]), (&0.25.into(), &5.into()));
        assert_eq!(point["big"].as_f64(), Some(1e300));
    }
}

#[test]
fn lines_that_the_server_refuses_are_found_among_the_others() {
    let influxdb = influxdb();
    let mut target = target_of(&influxdb, "");
    // Before us somebody wrote texts where we have numbers.
    target.deliver(&Lines::new("other", "web").batch(b"x"));
    let line = |n: usize| {
        let fields = if n % 40 == 17 { r#","fields":{"host_":1,"a":2}"# } else { "" };
        format!(
            "{{\"received\":\"2026-11-20T12:00:00.{n:06}+00:00\",\"host\":\"h\",\"message\":\"m{n}\"{fields}}}\n"
        )
    };
    let conflict = Lines::new("my-app", "web").batch(b"2026-11-20 11:00:00.000000 - h - x\n");
    target.deliver(&conflict);
    write_raw(influxdb.address(), "my-app a=\"text\" 1795176000000000000");
    let text: String = (0..200).map(line).collect();
    let batch = Lines::new("my-app", "web").batch(text.as_bytes());
    let refused = target.try_deliver(&batch).unwrap();
    let places: Vec<usize> = refused.iter().map(|refused| refused.message).collect();
    assert_eq!(places, [17, 57, 97, 137, 177]);
    for Refused { part, reason, .. } in &refused {
        assert_eq!(*part, 0);
        assert_eq!(
            reason,
            "partial write: field type conflict: input field \"a\" on measurement \"my-app\" is \
             type float, already exists as type string dropped=1"
        );
    }
    assert_eq!(influxdb.count("logs", "my-app"), 196);
}

#[test]
fn what_is_older_than_the_retention_policy_is_refused_with_its_reason() {
    let influxdb = influxdb();
    influxdb.ask("CREATE RETENTION POLICY \"day\" ON \"logs\" DURATION 1d REPLICATION 1");
    let mut target = target_of(&influxdb, "retention_policy = day\n");
    let batch = Lines::new("my-app", "web").batch(b"2001-11-20 12:00:00.000000 - h - old\n");
    let refused = target.try_deliver(&batch).unwrap();
    assert_eq!(refused[0].reason, "partial write: points beyond retention policy dropped=1");
}

#[test]
fn a_request_that_is_too_long_is_cut() {
    let setup = Setup { body_bytes_max: Some(20_000), ..Setup::default() };
    let influxdb = InfluxDb::start(setup);
    influxdb.ask("CREATE DATABASE logs");
    for gzip in ["gzip = no\n", "gzip = yes\n"] {
        let mut target = target_of(&influxdb, gzip);
        let mut lines = Lines::new("my-app", "web");
        target.deliver(&lines.batch(&messages(2_000)));
        assert_eq!(influxdb.count("logs", "my-app"), 2_000);
    }
    let mut target = target_of(&influxdb, "gzip = no\n");
    let long = format!("2026-11-20 13:00:00.000000 - h - {}\n", "x".repeat(30_000));
    let text = [long.as_bytes(), b"2026-11-20 13:00:00.000000 - h - short\n"].concat();
    let refused = target.try_deliver(&Lines::new("my-app", "web").batch(&text)).unwrap();
    let expected = Refused {
        part: 0,
        message: 0,
        reason: "the server takes no request of this length (413)".to_owned(),
    };
    assert_eq!(refused, [expected]);
    assert_eq!(influxdb.count("logs", "my-app"), 2_001);
}

#[test]
fn a_record_as_long_as_any_arrives() {
    let influxdb = influxdb();
    let mut target = target_of(&influxdb, "errors_measurement = errors\n");
    let text = format!("2026-11-20 12:00:00.000000 - h - ERROR - {}\n", "x".repeat(4 << 20));
    target.deliver(&Lines::new("my-app", "web").batch(text.as_bytes()));
    let points = influxdb.points("logs", "errors");
    assert_eq!(points[0]["body"].as_str().unwrap().len(), (4 << 20) + "ERROR - ".len());
}

#[test]
fn who_may_not_write_hears_what_to_do() {
    let influxdb = InfluxDb::start(Setup { auth: true, ..Setup::default() });
    for question in [
        "CREATE DATABASE logs",
        "CREATE USER reader WITH PASSWORD 'reader-password'",
        "CREATE USER writer WITH PASSWORD 'writer-password'",
        "GRANT READ ON logs TO reader",
        "GRANT WRITE ON logs TO writer",
    ] {
        influxdb.ask(question);
    }
    let url = influxdb.url();
    for (login, expected) in [
        (
            "",
            format!(
                "InfluxDB at {url} does not know who we are: unable to parse authentication credentials; \
                 put user and password right, then reload loghogd (SIGHUP)"
            ),
        ),
        (
            "user = writer\npassword = wrong-password\n",
            format!(
                "InfluxDB at {url} does not know who we are: authorization failed; \
                 put user and password right, then reload loghogd (SIGHUP)"
            ),
        ),
        (
            "user = reader\npassword = reader-password\n",
            format!(
                "InfluxDB at {url} does not let us write into the database \"logs\": \"reader\" user \
                 is not authorized to write to database \"logs\"; GRANT WRITE ON \"logs\" TO \"reader\", \
                 then reload loghogd (SIGHUP)"
            ),
        ),
    ] {
        let mut target = Target::new(&format!("url = {url}\ndatabase = logs\n{login}"));
        assert_eq!(target.connect(), Err(expected));
        assert!(!format!("{:?}", target.target).contains("-password"));
    }
    let mut target = target_of(&influxdb, "user = writer\npassword = writer-password\n");
    target.deliver(&Lines::new("my-app", "web").batch(&messages(1)));
    // What is taken away later is told as well.
    influxdb.ask("REVOKE WRITE ON logs FROM writer");
    let said = target.fail(&Lines::new("my-app", "web").batch(&messages(1)));
    assert!(said.contains("GRANT WRITE ON \"logs\" TO \"writer\""), "{said}");
}

#[test]
fn a_database_that_is_not_there_is_named() {
    let influxdb = influxdb();
    let url = influxdb.url();
    let mut target = Target::new(&format!("url = {url}\ndatabase = metrics\n"));
    assert_eq!(
        target.connect(),
        Err(format!(
            "InfluxDB at {url} has no database \"metrics\": database not found: \"metrics\"; create \
             it (CREATE DATABASE \"metrics\"), or put database right, then reload loghogd (SIGHUP)"
        ))
    );
    let mut target = Target::new(&format!("url = {url}\ndatabase = logs\nretention_policy = x\n"));
    assert_eq!(
        target.connect(),
        Err(format!(
            "InfluxDB at {url} has no such retention policy: retention policy not found: x; create \
             it, or put retention_policy right, then reload loghogd (SIGHUP)"
        ))
    );
}

#[test]
fn a_full_quota_stops_the_target_and_loses_nothing() {
    let influxdb = InfluxDb::start(Setup { series_max: Some(2), ..Setup::default() });
    influxdb.ask("CREATE DATABASE logs");
    let mut target = target_of(&influxdb, "");
    let line = |host: usize| format!("2026-11-20 12:00:00.123456 - h{host} - x\n");
    let text: String = (0..9).map(line).collect();
    let said = target.fail(&Lines::new("my-app", "web").batch(text.as_bytes()));
    let begin = format!(
        "InfluxDB at {} takes no further series: partial write: max-series-per-database limit exceeded",
        influxdb.url()
    );
    assert!(said.starts_with(&begin), "{said}");
    assert!(said.contains("; raise max-series-per-database in its configuration"), "{said}");
}

#[test]
fn certificates_are_checked_against_the_configured_authority() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let pem = authority.folder().join("loghog-server.pem");
    let influxdb = InfluxDb::start(Setup { pem: Some(pem), ..Setup::default() });
    let url = influxdb.url();
    let connect = |url: &str, cacert: &str| {
        Target::new(&format!("url = {url}\ndatabase = logs\n{cacert}")).connect()
    };
    let wrong = stranger.certificate();
    let option = format!("cacert = {}\n", wrong.display());
    let signed_by_nobody = |list: &str| {
        Err(format!(
            "the certificate of InfluxDB at {url} is signed by nobody in {list}; write into cacert \
             the file of the authority that has signed it"
        ))
    };
    assert_eq!(connect(&url, &option), signed_by_nobody(&wrong.display().to_string()));
    assert_eq!(connect(&url, ""), signed_by_nobody("the system's list"));
    // Put right under the same path, it is taken by the target that is there.
    let path = stranger.folder().join("authorities.pem");
    std::fs::copy(&wrong, &path).unwrap();
    let options = format!("url = {url}\ndatabase = logs\ncacert = {}\n", path.display());
    let mut target = Target::new(&options);
    assert_eq!(target.connect(), signed_by_nobody(&path.display().to_string()));
    std::fs::copy(authority.certificate(), &path).unwrap();
    let said = target.connect().unwrap_err();
    assert!(said.contains(" has no database \"logs\": "), "{said}");
    let right = format!("cacert = {}\n", authority.certificate().display());
    let said = connect(&url, &right).unwrap_err();
    assert!(said.contains(" has no database \"logs\": "), "{said}");
    let plain = url.replace("https:", "http:");
    let said = connect(&plain, "").unwrap_err();
    assert!(said.contains(" has answered 400"), "{said}");

    // One that has signed itself, for another name.
    let other = rcgen::generate_simple_self_signed(["other.example.org".to_owned()]).unwrap();
    let pem = stranger.folder().join("other.pem");
    std::fs::write(&pem, other.signing_key.serialize_pem() + &other.cert.pem()).unwrap();
    let option = format!("cacert = {}\n", pem.display());
    let influxdb = InfluxDb::start(Setup { pem: Some(pem), ..Setup::default() });
    let url = influxdb.url();
    assert_eq!(
        connect(&url, &option),
        Err(format!(
            "the certificate of InfluxDB at {url} is for another name; write into url a name that it \
             is for, or renew it"
        ))
    );
}

#[test]
fn a_file_of_authorities_that_is_none_is_told_when_it_connects() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let attempt = || {
        let options = format!("url = https://h\ndatabase = logs\ncacert = {}\n", path.display());
        Target::new(&options).connect().unwrap_err()
    };
    let ending = "; write into cacert a PEM file with the authority's certificate, then reload loghogd (SIGHUP)";
    let shown = path.display();
    let missing =
        format!("cacert {shown} cannot be read: No such file or directory (os error 2){ending}");
    assert_eq!(attempt(), missing);
    std::fs::write(&path, "nothing\n").unwrap();
    assert_eq!(attempt(), format!("cacert {shown} has no certificate{ending}"));
}

#[test]
fn a_server_that_is_away_is_told_and_tried_again() {
    let mut influxdb = influxdb();
    let mut target = target_of(&influxdb, "");
    let batch = Lines::new("my-app", "web").batch(&messages(100));
    target.deliver(&batch);
    influxdb.kill();
    let url = influxdb.url();
    let refused = format!(
        "InfluxDB at {url} cannot be reached: Connection refused (os error 111); look whether it \
         runs, and whether url is right"
    );
    assert_eq!(target.connect(), Err(refused));
    influxdb.restart();
    target.connect().unwrap();
    target.deliver(&batch);
    assert_eq!(influxdb.count("logs", "my-app"), 100);
}

#[test]
fn a_frozen_server_holds_nobody_up_for_longer_than_the_timeout() {
    let influxdb = influxdb();
    let mut target = target_of(&influxdb, "timeout = 1s\n");
    let batch = Lines::new("my-app", "web").batch(&messages(100));
    influxdb.freeze();
    let start = Instant::now();
    assert_eq!(
        target.fail(&batch),
        format!(
            "InfluxDB at {} has not answered within 1 s; where that is its normal pace, raise timeout \
             or lower batch_points",
            influxdb.url()
        )
    );
    assert!(start.elapsed() < Duration::from_secs(5));
    influxdb.thaw();
    target.connect().unwrap();
    target.deliver(&batch);
    assert_eq!(influxdb.count("logs", "my-app"), 100);
}

#[test]
fn who_waits_for_an_answer_ends_soon_when_it_is_time_to() {
    let influxdb = influxdb();
    let mut target = target_of(&influxdb, "");
    influxdb.freeze();
    let surroundings = target.surroundings.clone();
    let batch = Lines::new("my-app", "web").batch(&messages(100));
    let waiter = std::thread::spawn(move || target.try_deliver(&batch));
    let start = Instant::now();
    surroundings.end();
    assert_eq!(waiter.join().unwrap(), Err(Trouble::Ended));
    assert!(start.elapsed() < Duration::from_secs(2));
    influxdb.thaw();
}

#[test]
fn victoria_metrics_takes_numbers_by_the_second_protocol() {
    let victoria = VictoriaMetrics::start();
    let options = "version = 2\norg = o\nbucket = b\ntoken = my-token\nmultiline = no\n";
    let mut target = Target::new(&format!("url = {}\n{options}", victoria.url()));
    target.connect().unwrap();
    let line = |n: usize| {
        format!(
            "{{\"received\":\"2026-11-20T12:00:00.{n:03}000+00:00\",\"host\":\"h\",\"message\":\"m\\nevil,app=x v=1 1795176000000000000\\n\",\"fields\":{{\"took\":{n}.5}}}}\n"
        )
    };
    let text: String = (0..100).map(line).collect();
    target.deliver(&Lines::new("my-app", "web").batch(text.as_bytes()));
    let series = victoria.export("my-app_took");
    assert_eq!(series.len(), 1);
    assert_eq!(series[0]["metric"]["module"], "web");
    let expected: Vec<f64> = (0..100).map(|n| f64::from(n) + 0.5).collect();
    assert_eq!(series[0]["values"], serde_json::json!(expected));
    assert_eq!(series[0]["timestamps"][1], 1_795_176_000_001_i64);
    assert_eq!(victoria.export("evil_v").len(), 0, "a message wrote a point of its own");
}

/// Writes a line past us.
fn write_raw(address: SocketAddr, line: &str) {
    let mut socket = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /write?db=logs HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{line}",
        line.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(" 204 "), "{answer}");
}

/// A target that is a fake server.
fn target_at(server: &FakeHttp, more: &str) -> Target {
    Target::new(&format!("url = {}\ndatabase = logs\ngzip = no\n{more}", server.url()))
}

fn one_message() -> Batch {
    Lines::new("my-app", "web").batch(&messages(1))
}

#[test]
fn servers_that_are_busy_are_given_the_time_that_they_ask_for() {
    let busy = r#"{"code":"too many requests","message":"slow down"}"#;
    for (status, heads, what, seconds) in [
        (429, "Retry-After: 7\r\n", "wants less at a time (429): slow down", Some(7)),
        (503, "", "has a fault of its own (503): slow down", None),
        (500, "", "has a fault of its own (500): slow down", None),
        (507, "", "has a fault of its own (507): slow down", None),
    ] {
        let server = FakeHttp::telling(vec![Answer::Status(status, heads, busy.to_owned())]);
        let what = format!("InfluxDB at {} {what}", server.url());
        let pause = seconds.map(Duration::from_secs);
        let expected = Trouble::Later { what, pause };
        assert_eq!(target_at(&server, "").try_deliver(&one_message()), Err(expected));
    }
}

#[test]
fn answers_that_are_cut_or_never_end_are_no_answers() {
    for (answer, expected) in [
        (Answer::Text(String::new()), "has broken off: "),
        (Answer::Text("HTTP/1.1 204 No Con".to_owned()), "has broken off: "),
        (Answer::Text("HTTP/1.1 204 No Content\r\nX: ".to_owned()), "has broken off: "),
        (
            Answer::Text(
                "HTTP/1.1 400 Bad\r\nContent-Length: 99\r\n\r\n{\"error\":\"part".to_owned(),
            ),
            "has broken off: ",
        ),
        (Answer::Text("SSH-2.0-OpenSSH\r\n".to_owned()), "has broken off: "),
        (Answer::Hanging(String::new()), "has not answered within 1 s; "),
        (Answer::Hanging("HTTP/1.1 204".to_owned()), "has not answered within 1 s; "),
        (
            Answer::Hanging("HTTP/1.1 400 Bad\r\nContent-Length: 99\r\n\r\n{".to_owned()),
            "has not answered within 1 s; ",
        ),
    ] {
        let server = FakeHttp::telling(vec![answer]);
        let trouble = target_at(&server, "timeout = 1s\n").try_deliver(&one_message()).unwrap_err();
        let begin = format!("InfluxDB at {} {expected}", server.url());
        assert!(matches!(trouble, Trouble::Later { .. }), "{trouble:?}");
        assert!(trouble.to_string().starts_with(&begin), "{trouble}");
    }
}

#[test]
fn a_no_before_the_request_is_through_is_heard() {
    let too_large = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let server = FakeHttp::telling(vec![Answer::Early(too_large.to_owned())]);
    let long = format!("2026-11-20 12:00:00.000000 - h - {}\n", "x".repeat(3 << 20));
    let batch = Lines::new("my-app", "web").batch(long.as_bytes());
    let refused = target_at(&server, "").try_deliver(&batch).unwrap();
    assert_eq!(refused[0].reason, "the server takes no request of this length (413)");
}

#[test]
fn who_answers_but_is_no_influxdb_gets_nothing() {
    let page = "<html>welcome</html>";
    for (status, heads, expected) in [
        (200, "", "has answered 200 where InfluxDB says 204; "),
        (302, "Location: http://elsewhere/\r\n", "sends us elsewhere (302): http://elsewhere/; "),
        (405, "", "has answered 405: <html>welcome</html>; "),
    ] {
        let server = FakeHttp::telling(vec![Answer::Status(status, heads, page.to_owned())]);
        for said in [
            target_at(&server, "").connect().unwrap_err(),
            target_at(&server, "").fail(&one_message()),
        ] {
            let begin = format!("InfluxDB at {} {expected}", server.url());
            assert!(said.starts_with(&begin), "{said}");
        }
    }
}

#[test]
fn who_refuses_everything_stops_the_target_instead_of_every_record() {
    let no = Answer::Status(400, "", r#"{"error":"invalid precision"}"#.to_owned());
    let server = FakeHttp::telling(vec![no]);
    let mut target = target_at(&server, "");
    target.connect().unwrap();
    let batch = Lines::new("my-app", "web").batch(&messages(10));
    assert_eq!(
        target.fail(&batch),
        format!(
            "InfluxDB at {} refuses whatever we write: invalid precision; put the options of \
             the target right, then reload loghogd (SIGHUP)",
            server.url()
        )
    );
    // One that wants points is content with them.
    let empty = Answer::Status(400, "", r#"{"message":"writing requires points"}"#.to_owned());
    let server = FakeHttp::telling(vec![empty, Answer::Status(204, "", String::new())]);
    let mut target = target_at(&server, "");
    target.connect().unwrap();
    target.deliver(&batch);
}

#[test]
fn credentials_go_in_a_head_and_never_into_the_url() {
    let server = FakeHttp::telling(vec![Answer::Status(204, "", String::new())]);
    let url = format!("url = {}\n", server.url());
    target_at(&server, "user = Aladdin\npassword = open sesame\n").deliver(&one_message());
    let options = "version = 2\norg = my org\nbucket = b&c\ntoken = my-token\ngzip = no\n";
    Target::new(&(url.clone() + options)).deliver(&one_message());
    let options = "version = 3\ndatabase = logs\ntoken = my-token\ngzip = no\n";
    Target::new(&(url.clone() + options)).deliver(&one_message());
    let asked = server.asked();
    let has = |place: usize, text: &str| asked[place].contains(text);
    assert!(asked[0].starts_with("POST /write?db=logs&precision=n HTTP/1.1\r\n"), "{}", asked[0]);
    assert!(has(0, "authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"), "{}", asked[0]);
    let line = "POST /api/v2/write?org=my+org&bucket=b%26c&precision=ns HTTP/1.1\r\n";
    assert!(asked[1].starts_with(line), "{}", asked[1]);
    assert!(has(1, "authorization: Token my-token\r\n"), "{}", asked[1]);
    assert!(asked[2].starts_with("POST /api/v2/write?bucket=logs&precision=ns "), "{}", asked[2]);
    assert!(has(2, "\r\n\r\nmy-app,app=my-app,host=web01,level=INFO,module=web body="));
}
