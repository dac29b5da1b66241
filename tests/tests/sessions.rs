//! Who speaks the second protocol hears what became of his messages, and what
//! he hears is true: of files, of restarts, of whoever else has his id.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;

use loghog_tests::certs::Authority;
use loghog_tests::frames::frame;
use loghog_tests::session::{Ended, Heard, Session, Who, batch, greet, record};
use loghog_tests::{DEADLINE, Daemon, Scenario, tls, wait_until};
use wire::v2::batch::{Field, Record, Value};
use wire::v2::compress::Compression;
use wire::v2::frame::Type;
use wire::v2::report::{Code, Dropped, Refusal, Report};

const TWO: &str = "[app]\nrotate = daily\nbackup_count = 9\n\
                   [app:b]\nrotate = daily\nbackup_count = 9\n";

/// The bodies of a file of host `h`.
fn bodies(daemon: &Daemon, file: &str) -> Vec<String> {
    let body = |record: String| record.strip_prefix(" - h - ").expect("host h").to_owned();
    daemon.records(file).into_iter().map(body).collect()
}

fn durable_and_taken<S>(session: &Session<S>) -> (u64, u64) {
    (session.welcome.durable, session.welcome.taken)
}

#[test]
fn what_is_acknowledged_is_in_its_file_once_and_in_order() {
    let daemon = Scenario::new().start();
    let mut session = greet(daemon.tcp(), &Who::new(1, "plain")).unwrap();
    assert_eq!(durable_and_taken(&session), (0, 0));
    let mut expected = Vec::new();
    for first in (1..200).step_by(3) {
        let fresh: Vec<String> = (first..first + 3).map(|n| format!("number {n}")).collect();
        let fresh_bodies: Vec<&str> = fresh.iter().map(String::as_str).collect();
        session.send(first, "", &fresh_bodies).unwrap();
        expected.extend(fresh);
        if first % 10 == 1 {
            session.wait_for_ack(first + 2);
            assert_eq!(bodies(&daemon, "plain/root.log"), expected);
        }
    }
    session.wait_for_ack(expected.len() as u64);
    session.say_done();
    assert_eq!(bodies(&daemon, "plain/root.log"), expected);
    let stats = daemon.stop().stats();
    let lines = expected.len() as u64;
    assert_eq!((stats["records"], stats["lines"], stats["connections"]), (lines, lines, 1));
    assert!(stats["syncs"] > 0, "what is acknowledged is synced");
}

#[test]
fn a_client_that_comes_back_is_told_how_far_it_came_and_what_it_repeats_is_skipped() {
    let daemon = Scenario::new().start();
    let who = Who::new(1, "plain");
    let mut session = greet(daemon.tcp(), &who).unwrap();
    session.send(1, "", &["one", "two", "three"]).unwrap();
    session.wait_for_ack(3);
    drop(session);
    // As if the last acknowledgement had not reached it.
    let mut session = greet(daemon.tcp(), &who.clone().holding(2, 6)).unwrap();
    assert_eq!(durable_and_taken(&session), (3, 3));
    session.send(2, "", &["TWO", "THREE", "four"]).unwrap();
    session.send(5, "", &["five"]).unwrap();
    session.wait_for_ack(5);
    // A program that has lost what it held: nobody can ask for it any more.
    let mut session = greet(daemon.tcp(), &who.holding(0, 9)).unwrap();
    assert_eq!(durable_and_taken(&session), (8, 8));
    session.send(9, "", &["nine"]).unwrap();
    session.wait_for_ack(9);
    assert_eq!(bodies(&daemon, "plain/root.log"), ["one", "two", "three", "four", "five", "nine"]);
}

#[test]
fn a_batch_with_a_gap_or_a_step_back_ends_the_session_and_nothing_of_it_is_taken() {
    let daemon = Scenario::new().start();
    for (id, first) in [(1, 5), (2, 3), (3, 1)] {
        let who = Who::new(id, "plain");
        let mut session = greet(daemon.tcp(), &who).unwrap();
        session.send(1, "", &["one", "two", "three"]).unwrap();
        session.send(first, "", &["WRONG"]).unwrap();
        assert_eq!(session.wait_for_end(), Some(Code::Numbers), "batch at {first}");
        let session = greet(daemon.tcp(), &who.holding(1, 4)).unwrap();
        assert_eq!(session.welcome.taken, 3);
    }
    // Also the first one of a session has to go on behind what was taken.
    let mut session = greet(daemon.tcp(), &Who::new(4, "plain")).unwrap();
    session.send(2, "", &["WRONG"]).unwrap();
    assert_eq!(session.wait_for_end(), Some(Code::Numbers));
    let stopped = daemon.stop();
    assert_eq!(stopped.site.records("plain/root.log").len(), 9);
    assert_eq!(stopped.stats()["session_malformed"], 4);
}

#[test]
fn messages_of_several_files_are_acknowledged_when_all_before_them_are_safe() {
    let site = Scenario::new().facilities(TWO).fast_disk().site();
    let obstacle = site.log_dir().join("app/b.log");
    fs::create_dir_all(&obstacle).unwrap();
    let daemon = site.start();
    let who = Who::new(1, "app");
    let mut session = greet(daemon.tcp(), &who).unwrap();
    let records = [record("a", "one"), record("b", "two"), record("c", "three")];
    session.say(Type::Batch, &batch(1, &records)).unwrap();
    session.wait_for_ack(1);
    daemon.wait_for_records("app/root.log", 2);
    // The third is safe, but the second is not.
    let mut session = greet(daemon.tcp(), &who.clone().holding(2, 4)).unwrap();
    assert_eq!(durable_and_taken(&session), (1, 3));
    fs::remove_dir(&obstacle).unwrap();
    session.wait_for_ack(3);
    assert_eq!(bodies(&daemon, "app/b.log"), ["two"]);
    assert_eq!(bodies(&daemon, "app/root.log"), ["one", "three"]);
}

#[test]
fn what_was_safe_in_one_file_is_not_repeated_although_another_lost_what_came_before() {
    let site = Scenario::new().facilities(TWO).fast_disk().site();
    let obstacle = site.log_dir().join("app/b.log");
    fs::create_dir_all(&obstacle).unwrap();
    let daemon = site.start();
    let who = Who::new(1, "app");
    let mut session = greet(daemon.tcp(), &who).unwrap();
    let records = [record("a", "one"), record("b", "two"), record("c", "three")];
    let payload = batch(1, &records);
    session.say(Type::Batch, &payload).unwrap();
    session.wait_for_ack(1);
    daemon.wait_for_records("app/root.log", 2);
    let site = daemon.kill();
    fs::remove_dir(&obstacle).unwrap();

    let daemon = site.start();
    let mut session = greet(daemon.tcp(), &who.holding(1, 4)).unwrap();
    assert_eq!(durable_and_taken(&session), (1, 1));
    // The third is known, but told only when the client has come to it: batches
    // have no gaps, and a client does not keep what was acknowledged.
    session.say(Type::Batch, &batch(1, &records[..2])).unwrap();
    session.wait_for_ack(2);
    session.say(Type::Batch, &batch(3, &records[2..])).unwrap();
    session.wait_for_ack(3);
    assert_eq!(bodies(&daemon, "app/b.log"), ["two"]);
    assert_eq!(bodies(&daemon, "app/root.log"), ["one", "three"]);
}

#[test]
fn a_batch_that_waits_for_its_file_is_gone_on_with_also_by_the_session_that_comes_next() {
    let site = Scenario::new().facilities(TWO).fast_disk().site();
    let obstacle = site.log_dir().join("app/b.log");
    fs::create_dir_all(&obstacle).unwrap();
    let daemon = site.start();
    let who = Who::new(1, "app");
    let mut older = greet(daemon.tcp(), &who).unwrap();
    let one = "x".repeat(600_000);
    older.send(1, "b", &[&one]).unwrap();
    // As soon as it was tried again with so much, its senders have to wait.
    let tried = daemon.wait_for_count("records", 1)["write_retries"];
    daemon.wait_for_count("write_retries", tried + 3);
    let records = [record("a", "two"), record("b", "three"), record("c", "four")];
    older.say(Type::Batch, &batch(2, &records)).unwrap();
    older.send(5, "a", &["five"]).unwrap();
    daemon.wait_for_records("app/root.log", 1);
    let mut newer = greet(daemon.tcp(), &who.holding(1, 6)).unwrap();
    assert_eq!(durable_and_taken(&newer), (0, 2));
    assert_eq!(older.wait_for_end(), Some(Code::Evicted));
    newer.say(Type::Batch, &batch(3, &records[1..])).unwrap();
    newer.send(5, "a", &["five"]).unwrap();
    fs::remove_dir(&obstacle).unwrap();
    newer.wait_for_ack(5);
    assert_eq!(bodies(&daemon, "app/b.log"), [&one, "three"]);
    assert_eq!(bodies(&daemon, "app/root.log"), ["two", "four", "five"]);
}

#[test]
fn compressed_batches_are_taken_as_plain_ones() {
    let daemon = Scenario::new().start();
    let mut session = greet(daemon.tcp(), &Who::new(1, "plain")).unwrap();
    let mut first = 1;
    for compression in [Compression::Zlib, Compression::Zstd, Compression::Zlib] {
        assert!(session.challenge.compressions.allow(compression));
        let body = format!("again {}and again", "and again ".repeat(20));
        let records = [record("", &body), record("web", &body)];
        session.send_compressed(compression, &batch(first, &records)).unwrap();
        first += 2;
    }
    session.send(first, "", &["plain"]).unwrap();
    session.wait_for_ack(first);
    assert_eq!(bodies(&daemon, "plain/root.log").len(), 4);
    assert_eq!(bodies(&daemon, "plain/web.log").len(), 3);
}

#[test]
fn a_newer_session_of_a_client_ends_the_older_one_and_goes_on_behind_it() {
    let daemon = Scenario::new().start();
    let who = Who::new(1, "plain");
    let mut older = greet(daemon.tcp(), &who).unwrap();
    older.send(1, "", &["one"]).unwrap();
    older.wait_for_ack(1);
    let mut newer = greet(daemon.tcp(), &who.holding(0, 2)).unwrap();
    assert_eq!(older.wait_for_end(), Some(Code::Evicted));
    newer.send(2, "", &["two"]).unwrap();
    newer.wait_for_ack(2);
    // Another client, and one of another application with the same id, stay.
    let _other = greet(daemon.tcp(), &Who::new(2, "plain")).unwrap();
    let _hosts = greet(daemon.tcp(), &Who::new(1, "hosts")).unwrap();
    newer.send(3, "", &["three"]).unwrap();
    newer.wait_for_ack(3);
    assert_eq!(bodies(&daemon, "plain/root.log"), ["one", "two", "three"]);
}

#[test]
fn a_stop_says_so_and_what_was_acknowledged_is_there_and_known_after_the_restart() {
    let daemon = Scenario::new().start();
    let who = Who::new(1, "plain");
    let mut session = greet(daemon.tcp(), &who).unwrap();
    session.send(1, "", &["one", "two"]).unwrap();
    session.wait_for_ack(2);
    let stopped = daemon.stop();
    assert!(stopped.status.success());
    assert_eq!(session.wait_for_end(), Some(Code::Stopping));
    assert_eq!(stopped.site.records("plain/root.log"), [" - h - one", " - h - two"]);

    let daemon = stopped.site.start();
    let mut session = greet(daemon.tcp(), &who.holding(1, 3)).unwrap();
    assert_eq!(durable_and_taken(&session), (2, 2));
    session.send(1, "", &["ONE", "TWO", "three"]).unwrap();
    session.wait_for_ack(3);
    assert_eq!(bodies(&daemon, "plain/root.log"), ["one", "two", "three"]);
}

#[test]
fn a_client_that_is_done_begins_again_where_it_says() {
    let daemon = Scenario::new().start();
    let who = Who::new(1, "plain");
    let mut session = greet(daemon.tcp(), &who).unwrap();
    session.send(1, "", &["one"]).unwrap();
    session.wait_for_ack(1);
    session.say_done();
    let mut session = greet(daemon.tcp(), &who.holding(0, 2)).unwrap();
    assert_eq!(durable_and_taken(&session), (1, 1));
    session.send(2, "", &["two"]).unwrap();
    session.wait_for_ack(2);
    assert_eq!(bodies(&daemon, "plain/root.log"), ["one", "two"]);
}

#[test]
fn both_protocols_are_served_side_by_side_on_one_port() {
    let daemon = Scenario::new().start();
    let mut v1 = TcpStream::connect(daemon.tcp()).unwrap();
    let mut v2 = greet(daemon.tcp(), &Who::new(1, "plain")).unwrap();
    for number in 1..=20 {
        v1.write_all(&frame("plain", "web", "old", &format!("v1 {number}"))).unwrap();
        v2.send(number, "web", &[&format!("v2 {number}")]).unwrap();
    }
    v2.wait_for_ack(20);
    let records = daemon.wait_for_records("plain/web.log", 40);
    for (protocol, host) in [("v1", "old"), ("v2", "h")] {
        let expected: Vec<String> =
            (1..=20).map(|number| format!(" - {host} - {protocol} {number}")).collect();
        let found: Vec<&String> = records.iter().filter(|r| r.contains(protocol)).collect();
        assert_eq!(found, expected.iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_facility_that_requires_v2_refuses_v1_on_the_port_where_v2_goes_through() {
    let facilities = "[new]\nrotate = daily\nbackup_count = 9\nrequire = v2\n";
    let daemon = Scenario::new().facilities(facilities).start();
    let mut v1 = TcpStream::connect(daemon.tcp()).unwrap();
    v1.write_all(&frame("new", "", "h", "OLD")).unwrap();
    let mut v2 = greet(daemon.tcp(), &Who::new(1, "new")).unwrap();
    v2.send(1, "", &["new"]).unwrap();
    v2.wait_for_ack(1);
    daemon.wait_for_count("protocol_too_old", 1);
    assert_eq!(bodies(&daemon, "new/root.log"), ["new"]);
}

#[test]
fn a_facility_that_requires_tls_sends_plain_clients_away_and_serves_those_over_tls() {
    let authority = Authority::new();
    let client = authority.client("web-1");
    let facilities = "[safe]\nrotate = daily\nbackup_count = 9\nrequire = v2, tls\n\
                      [app]\nrotate = daily\nbackup_count = 9\n\
                      [app:safe]\nrotate = daily\nbackup_count = 9\nrequire = tls\n";
    let daemon = Scenario::new().tls(&authority).facilities(facilities).start();
    let refused = greet(daemon.tcp(), &Who::new(1, "safe")).unwrap_err();
    assert!(matches!(refused, Ended::Farewell(Code::NeedsTls, _)), "{refused:?}");
    let mut plain = greet(daemon.tcp(), &Who::new(1, "app")).unwrap();
    let records = [record("", "one"), record("safe", "IN THE CLEAR"), record("", "three")];
    plain.say(Type::Batch, &batch(1, &records)).unwrap();
    assert_eq!(wait_for_refusals(&mut plain, 3), [(Refusal::NeedsTls, 2, 1)]);

    let stream = tls::connect(daemon.tls(), &authority.certificate(), Some(&client)).unwrap();
    let mut session = Session::greet(stream, &Who::new(1, "safe")).unwrap();
    // More than one record of TLS in both directions.
    let long = "over TLS ".repeat(5_000);
    for number in 1..=10 {
        session.send(number, "", &[&long]).unwrap();
        session.wait_for_ack(number);
    }
    assert_eq!(bodies(&daemon, "safe/root.log").len(), 10);
    assert_eq!(bodies(&daemon, "app/root.log"), ["one", "three"]);
    let stats = daemon.stop().stats();
    assert_eq!(stats["tls_missing"], 2);
}

#[test]
fn refused_messages_are_told_and_those_behind_them_are_acknowledged() {
    let daemon = Scenario::new().start();
    let who = Who::new(1, "signed").secret("my-big-secret");
    let mut session = greet(daemon.tcp(), &who).unwrap();
    let loggers = ["web", "api.x", "api.y", "open", "api", "", "web.x"];
    let records: Vec<Record<'_>> = loggers.iter().map(|logger| record(logger, logger)).collect();
    session.say(Type::Batch, &batch(1, &records)).unwrap();
    // The first of them, and how many.
    assert_eq!(wait_for_refusals(&mut session, 7), [(Refusal::OtherSecret, 2, 3)]);
    // All of a batch refused, and the next one written.
    session.send(8, "api", &["no"]).unwrap();
    session.send(9, "web", &["yes"]).unwrap();
    assert_eq!(wait_for_refusals(&mut session, 9), [(Refusal::OtherSecret, 8, 1)]);
    assert_eq!(bodies(&daemon, "signed/web.log"), ["web", "web.x", "yes"]);
    assert_eq!(bodies(&daemon, "signed/open.log"), ["open"]);
    let stopped = daemon.stop();
    assert_eq!(stopped.site.records("signed/api.log"), [""; 0]);
    assert_eq!(stopped.stats()["signature_missing"], 4);
}

#[test]
fn a_refusal_is_told_when_what_comes_before_is_safe_also_to_the_session_that_comes_next() {
    let facilities = "[app]\nrotate = daily\nbackup_count = 9\n\
                      [app:b]\nrotate = daily\nbackup_count = 9\n\
                      [app:api]\nrotate = daily\nbackup_count = 9\nsecret = another\n";
    let site = Scenario::new().facilities(facilities).fast_disk().site();
    let obstacle = site.log_dir().join("app/b.log");
    fs::create_dir_all(&obstacle).unwrap();
    let daemon = site.start();
    let who = Who::new(1, "app");
    let mut session = greet(daemon.tcp(), &who).unwrap();
    let records = [record("a", "one"), record("b", "two"), record("api", "three")];
    session.say(Type::Batch, &batch(1, &records)).unwrap();
    assert_eq!(wait_for_refusals(&mut session, 1), []);
    daemon.wait_for_count("signature_missing", 1);
    // It did not hear of it, and has the last two still.
    let mut session = greet(daemon.tcp(), &who.clone().holding(2, 4)).unwrap();
    assert_eq!(durable_and_taken(&session), (1, 3));
    fs::remove_dir(&obstacle).unwrap();
    assert_eq!(wait_for_refusals(&mut session, 3), [(Refusal::OtherSecret, 3, 1)]);
    // Nor of that: it comes again with both.
    let mut session = greet(daemon.tcp(), &who.clone().holding(2, 4)).unwrap();
    assert_eq!(durable_and_taken(&session), (3, 3));
    assert_eq!(session.hear(), Some(Heard::Refused(Refusal::OtherSecret, 3, 1)));
    // But not when it has heard.
    let mut session = greet(daemon.tcp(), &who.holding(0, 4)).unwrap();
    session.send(4, "", &["four"]).unwrap();
    assert_eq!(wait_for_refusals(&mut session, 4), []);
    assert_eq!(bodies(&daemon, "app/b.log"), ["two"]);
}

#[test]
fn an_application_that_nobody_knows_is_sent_away() {
    let daemon = Scenario::new().start();
    let refused = greet(daemon.tcp(), &Who::new(1, "nobody\u{1b}[31m")).unwrap_err();
    assert!(matches!(refused, Ended::Farewell(Code::NoFacility, _)), "{refused:?}");
    assert_eq!(daemon.stats()["app_unknown"], 1);
    let said = daemon.wait_until_it_said("app_unknown");
    assert!(said.contains("nobody\\u{1b}"), "{said}");
}

#[test]
fn hosts_have_files_of_their_own_and_one_without_a_file_is_refused() {
    let daemon = Scenario::new().start();
    for (id, host) in [(1, "web-1"), (2, "web-2")] {
        let mut session = greet(daemon.tcp(), &Who::new(id, "hosts").host(host)).unwrap();
        session.send(1, "", &[host]).unwrap();
        session.wait_for_ack(1);
        let file = format!("hosts/{host}-root.log");
        assert_eq!(daemon.records(&file), [format!(" - {host} - {host}")]);
    }
    let mut nobody = greet(daemon.tcp(), &Who::new(3, "hosts").host("")).unwrap();
    nobody.send(1, "", &["from nowhere"]).unwrap();
    assert_eq!(wait_for_refusals(&mut nobody, 1), [(Refusal::Host, 1, 1)]);
    assert_eq!(daemon.stop().stats()["host_empty"], 1);
}

#[test]
fn with_json_a_file_says_everything_that_a_record_said() {
    let facilities = "[app]\nrotate = daily\nbackup_count = 9\nformat = json\n";
    let daemon = Scenario::new().facilities(facilities).start();
    let fields = [
        ("user", Value::Int(-7)),
        ("ok", Value::Bool(true)),
        ("ratio", Value::Float(0.5)),
        ("none", Value::Null),
        ("name", Value::Text("a\"b\n")),
        ("tags", Value::Json("[1,{\"x\":null}]")),
    ]
    .map(|(key, value)| Field { key, value });
    let full = Record {
        time_ns: 1_795_176_000_123_456_789,
        level: 40,
        logger: "web.requests",
        thread: "MainThread",
        process_id: 4711,
        body: "boom\nTraceback (most recent call last)",
        exception_at: Some(5),
        fields: &fields,
    };
    let mut session = greet(daemon.tcp(), &Who::new(1, "app")).unwrap();
    session.say(Type::Batch, &batch(1, &[full, record("", "bare")])).unwrap();
    session.wait_for_ack(2);
    let text = fs::read_to_string(daemon.log_dir().join("app/root.log")).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [full, bare] = &lines[..] else { panic!("{text}") };
    assert_eq!(full["sent"], "2026-11-20T12:00:00.123456789Z");
    assert_eq!(
        (&full["host"], &full["app"], &full["logger"]),
        (&"h".into(), &"app".into(), &"web.requests".into())
    );
    assert_eq!((&full["level"], &full["level_name"]), (&40.into(), &"ERROR".into()));
    assert_eq!((&full["thread"], &full["process"]), (&"MainThread".into(), &4711.into()));
    assert_eq!(full["exception"], "Traceback (most recent call last)");
    let expected =
        r#"{"user":-7,"ok":true,"ratio":0.5,"none":null,"name":"a\"b\n","tags":[1,{"x":null}]}"#;
    assert_eq!(full["fields"], serde_json::from_str::<serde_json::Value>(expected).unwrap());
    assert_eq!((&bare["message"], &bare["level"]), (&"bare".into(), &20.into()));
    assert!(bare.get("fields").is_none() && bare.get("thread").is_none(), "{bare}");
}

#[test]
fn what_a_client_dropped_stands_in_the_own_log() {
    let daemon = Scenario::new().start();
    let mut session = greet(daemon.tcp(), &Who::new(0xab, "plain").host("web-1")).unwrap();
    let dropped = vec![(Dropped::MemoryFull, 3), (Dropped::Other(77), 4)];
    session.say(Type::Report, &Report { dropped }.encode()).unwrap();
    session.send(1, "", &["behind it"]).unwrap();
    session.wait_for_ack(1);
    let said = daemon.wait_until_it_said("has dropped 3 messages");
    assert!(said.contains("WARN") && said.contains("\"web-1\""), "{said}");
    assert!(said.contains("plain/abababababababab"), "the client is named: {said}");
    daemon.wait_until_it_said("has dropped 4 messages");
    assert_eq!(daemon.stats()["client_dropped"], 7);
}

#[test]
fn a_new_secret_ends_sessions_of_the_old_one_at_once_and_no_message_is_lost_with_it() {
    let facilities =
        |secret: &str| format!("[app]\nrotate = daily\nbackup_count = 9\nsecret = {secret}\n");
    let daemon = Scenario::new().facilities(&facilities("old")).start();
    let who = Who::new(1, "app").secret("old");
    let mut session = greet(daemon.tcp(), &who).unwrap();
    session.send(1, "", &["one"]).unwrap();
    session.wait_for_ack(1);
    daemon.site().set_facilities(&facilities("new"));
    daemon.reload();
    // Although the client is silent: nothing more of it may be refused, which
    // would settle it.
    assert!(matches!(session.hear(), Some(Heard::Farewell(Code::Stopping, _))));
    let refused = greet(daemon.tcp(), &who.clone().holding(2, 3)).unwrap_err();
    assert!(matches!(refused, Ended::Farewell(Code::WrongProof, _)), "{refused:?}");
    let mut session = greet(daemon.tcp(), &who.holding(2, 3).secret("new")).unwrap();
    assert_eq!(durable_and_taken(&session), (1, 1));
    session.send(2, "", &["two"]).unwrap();
    session.wait_for_ack(2);
    assert_eq!(bodies(&daemon, "app/root.log"), ["one", "two"]);
}

#[test]
fn a_reload_that_demands_tls_sends_silent_plain_sessions_away() {
    let facilities = |more: &str| format!("[app]\nrotate = daily\nbackup_count = 9\n{more}");
    let daemon = Scenario::new().tls(&Authority::new()).facilities(&facilities("")).start();
    let mut session = greet(daemon.tcp(), &Who::new(1, "app")).unwrap();
    daemon.site().set_facilities(&facilities("require = tls\n"));
    daemon.reload();
    assert!(matches!(session.hear(), Some(Heard::Farewell(Code::Stopping, _))));
    let refused = greet(daemon.tcp(), &Who::new(1, "app")).unwrap_err();
    assert!(matches!(refused, Ended::Farewell(Code::NeedsTls, _)), "{refused:?}");
}

#[test]
fn one_client_more_than_may_be_remembered_waits_until_another_has_gone() {
    let daemon = Scenario::new().option("main", "max_clients", "1").start();
    let mut first = greet(daemon.tcp(), &Who::new(1, "plain")).unwrap();
    first.send(1, "", &["one"]).unwrap();
    first.wait_for_ack(1);
    let refused = greet(daemon.tcp(), &Who::new(2, "plain")).unwrap_err();
    let Ended::Farewell(Code::Busy, text) = refused else { panic!("{refused:?}") };
    assert!(text.contains("raise [main] max_clients"), "{text}");
    drop(first);
    let mut second = wait_until(DEADLINE, "the other has gone", || {
        greet(daemon.tcp(), &Who::new(2, "plain")).ok()
    });
    second.send(1, "", &["two"]).unwrap();
    second.wait_for_ack(1);
    assert_eq!(bodies(&daemon, "plain/root.log"), ["one", "two"]);
}

#[test]
fn a_reload_that_leaves_the_secret_alone_leaves_sessions_alone() {
    let facilities =
        |more: &str| format!("[app]\nrotate = daily\nbackup_count = 9\nsecret = same\n{more}");
    let daemon = Scenario::new().facilities(&facilities("")).start();
    let mut session = greet(daemon.tcp(), &Who::new(1, "app").secret("same")).unwrap();
    session.send(1, "web", &["one"]).unwrap();
    session.wait_for_ack(1);
    daemon.site().set_facilities(&facilities("[app:web]\nrotate = daily\nbackup_count = 9\n"));
    daemon.reload();
    session.send(2, "web", &["two"]).unwrap();
    session.wait_for_ack(2);
    assert_eq!(bodies(&daemon, "app/root.log"), ["one"]);
    assert_eq!(bodies(&daemon, "app/web.log"), ["two"]);
}

#[test]
fn a_killed_daemon_knows_what_it_has_acknowledged() {
    let mut site = Scenario::new().fast_disk().site();
    let who = Who::new(1, "plain");
    for round in 0..5 {
        let daemon = site.start();
        let first = round * 10 + 1;
        let mut session = greet(daemon.tcp(), &who.clone().holding(0, first)).unwrap();
        assert_eq!(durable_and_taken(&session), (first - 1, first - 1));
        for number in first..first + 10 {
            session.send(number, "", &[&format!("number {number}")]).unwrap();
        }
        session.wait_for_ack(first + 9);
        site = daemon.kill();
    }
    let daemon = site.start();
    // A client that never heard of it.
    let session = greet(daemon.tcp(), &who.holding(1, 51)).unwrap();
    assert_eq!(durable_and_taken(&session), (50, 50));
    wait_until(DEADLINE, "all are there", || {
        (bodies(&daemon, "plain/root.log").len() == 50).then_some(())
    });
}

/// Waits for an acknowledgement, and gives the refusals in front of it.
#[track_caller]
fn wait_for_refusals<S: std::io::Read + std::io::Write>(
    session: &mut Session<S>,
    number: u64,
) -> Vec<(Refusal, u64, u64)> {
    let mut refused = Vec::new();
    loop {
        match session.hear() {
            Some(Heard::Refused(code, first, messages)) => refused.push((code, first, messages)),
            Some(Heard::Ack(durable)) if durable < number => {}
            Some(Heard::Ack(durable)) if durable == number => return refused,
            other => panic!("waited for the acknowledgement of {number}: {other:?}"),
        }
    }
}
