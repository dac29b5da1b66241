//! A client and a server that speak v2: every message is there once, in order.

mod harness;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use harness::certificates::Authority;
use harness::v2::{Fake, Manners, State};
use harness::{PATIENCE, Reserved, balanced, eventually, say};
use log::Log;
use loghog::{Builder, Client, Compression, Protocol, Record, builder};
use proptest::prelude::*;
use wire::v2::handshake::ClientId;

fn for_server(server: &Fake) -> Builder {
    builder("app").address(server.address.to_string()).hostname("web01").protocol(Protocol::V2)
}

fn client(server: &Fake) -> Client {
    for_server(server).build_client().unwrap()
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

fn say_numbers(client: &Client, from: usize, to: usize) {
    (from..to).for_each(|number| say(client, &number.to_string()));
}

fn folders(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("app")).map_or(0, Iterator::count)
}

#[test]
fn what_was_flushed_is_durable_once_and_in_order() {
    let server = Fake::start();
    let client = client(&server);
    say_numbers(&client, 0, 10_000);
    assert!(client.flush(PATIENCE));
    assert_eq!(server.read(State::bodies), numbers(10_000));
    let stats = balanced(&client);
    assert_eq!((stats.acknowledged, stats.sent, stats.resent), (10_000, 10_000, 0));
    assert_eq!((stats.queued, stats.written), (0, 10_000));
    assert!(client.close(PATIENCE));
    server.until("the farewell", |state| state.farewells == 1);
}

#[test]
fn flush_waits_for_the_acknowledgement_not_for_the_kernel() {
    let server = Fake::with(Manners { holds_acks: true, ..Manners::default() });
    let client = client(&server);
    say(&client, "one");
    server.wait_for(1);
    assert!(!client.flush(Duration::from_millis(200)));
    assert_eq!(balanced(&client).queued, 1);
    server.change(|manners| manners.holds_acks = false);
    say(&client, "two");
    assert!(client.flush(PATIENCE));
}

#[test]
fn what_a_server_has_taken_is_kept_until_it_is_durable_and_sent_again_when_it_was_lost() {
    let dir = tempfile::tempdir().unwrap();
    for spools in [false, true] {
        let server = Fake::with(Manners { holds_acks: true, ..Manners::default() });
        let client = match spools {
            false => client(&server),
            true => for_server(&server).spool(dir.path()).build_client().unwrap(),
        };
        say_numbers(&client, 0, 10);
        server.wait_for(10);
        let id = server.read(|state| state.ids[0]);
        server.change(|manners| (manners.unsynced, manners.holds_acks) = (Some(id), false));
        server.cut_all();
        // The next session goes on behind what was taken.
        say(&client, "10");
        server.wait_for(11);
        assert!(!client.flush(Duration::from_millis(100)));
        let stats = balanced(&client);
        assert_eq!((stats.queued, stats.acknowledged, stats.resent), (11, 0, 0));
        server.lose_power();
        assert!(client.flush(PATIENCE), "{:?}", client.take_failures());
        assert_eq!(server.read(State::bodies), numbers(11));
        assert_eq!(balanced(&client).acknowledged, 11);
    }
}

#[test]
fn a_server_that_acknowledges_what_was_not_sent_is_not_believed() {
    let server = Fake::with(Manners { boasts: 1, ..Manners::default() });
    let client = client(&server);
    say(&client, "one");
    eventually("it is told", || client.last_failure().is_some());
    let failure = client.last_failure().unwrap();
    assert!(failure.contains("the server acknowledged 2"), "{failure}");
    server.change(|manners| manners.boasts = 0);
    say(&client, "two");
    assert!(client.flush(Duration::ZERO) || client.flush(PATIENCE));
    assert_eq!(server.read(State::bodies), ["one", "two"]);
    assert_eq!(balanced(&client).acknowledged, 2);
}

#[test]
fn a_record_arrives_with_level_thread_process_and_fields() {
    let server = Fake::start();
    let logger = for_server(&server).build().unwrap();
    let pairs = [("user", "ada")];
    let record = log::Record::builder()
        .level(log::Level::Warn)
        .target("a::b")
        .args(format_args!("hello"))
        .key_values(&pairs)
        .build();
    logger.log(&record);
    logger.flush();
    let kept = server.read(|state| state.kept.values().next().unwrap()[0].clone());
    assert_eq!((kept.level, kept.logger.as_str(), kept.body.as_str()), (30, "a.b", "hello"));
    assert_eq!(kept.fields, [("user".to_owned(), "Text(\"ada\")".to_owned())]);
    assert_eq!(kept.thread, std::thread::current().name().unwrap());
    assert_eq!((kept.process_id, kept.number), (std::process::id(), 1));
}

#[test]
fn a_secret_is_proven_by_both_sides_and_every_frame_is_sealed() {
    let secret = || Some("s3cret".to_owned());
    let server = Fake::with(Manners { secret: secret(), ..Manners::default() });
    let right = for_server(&server).secret("s3cret").compression(Compression::Zstd);
    let right = right.build_client().unwrap();
    say_numbers(&right, 0, 1_000);
    assert!(right.flush(PATIENCE));
    let packed = server.read(|state| state.kept.values().next().unwrap()[999].compression);
    assert_eq!(packed, wire::v2::compress::Compression::Zstd);
    for (client, reason) in [
        (for_server(&server).secret("guess"), "code 7"),
        (for_server(&server), "we have no secret"),
    ] {
        let client = client.build_client().unwrap();
        say(&client, "let me in");
        eventually("it is refused", || client.last_failure().is_some());
        let failure = client.last_failure().unwrap();
        assert!(failure.contains(reason), "{failure}");
        assert!(!client.close(Duration::ZERO));
    }
    server.change(|manners| manners.secret = None);
    let other = for_server(&server).secret("s3cret").build_client().unwrap();
    say(&other, "who are you");
    eventually("it is refused", || other.last_failure().is_some());
    assert!(other.last_failure().unwrap().contains("asks for none"));
    assert_eq!(server.read(State::bodies).len(), 1_000);
}

#[test]
fn compressed_batches_arrive_over_tls() {
    let authority = Authority::new();
    let server = Fake::tls(authority.server(&["localhost"]));
    for compression in [Compression::None, Compression::Zlib, Compression::Zstd] {
        let tls = loghog::Tls::new(authority.client("web"), &authority.ca);
        let client = builder("app")
            .address("localhost")
            .port(server.address.port())
            .transport(loghog::Transport::Tls(tls))
            .protocol(Protocol::V2)
            .compression(compression)
            .build_client()
            .unwrap();
        say_numbers(&client, 0, 20_000);
        assert!(client.flush(PATIENCE), "{:?}", client.take_failures());
        assert!(client.close(PATIENCE));
    }
    let all = server.read(|state| state.kept.values().map(Vec::len).collect::<Vec<_>>());
    assert_eq!(all, [20_000; 3]);
}

#[test]
fn a_server_back_from_an_outage_gets_what_it_lacks_and_nothing_twice() {
    let server = Fake::with(Manners { holds_acks: true, ..Manners::default() });
    let client = client(&server);
    say_numbers(&client, 0, 100);
    server.wait_for(100);
    server.change(|manners| manners.holds_acks = false);
    server.cut_all();
    say_numbers(&client, 100, 200);
    assert!(client.flush(PATIENCE));
    assert_eq!(server.read(State::bodies), numbers(200));
    let stats = balanced(&client);
    assert_eq!((stats.acknowledged, stats.resent), (200, 0), "welcome told what is durable");
}

#[test]
fn connections_that_brought_something_never_lengthen_the_pause_however_short_they_were() {
    const CUTS: usize = 12;
    let server = Fake::start();
    let client = client(&server);
    let started = Instant::now();
    for number in 0..CUTS {
        // Nobody hurries the client by a flush.
        say(&client, &number.to_string());
        server.wait_for(number + 1);
        eventually("it is acknowledged", || client.stats().acknowledged == number as u64 + 1);
        server.cut_all();
        eventually("the cut is noticed", || client.stats().failures == number as u64 + 1);
    }
    // Doubled each time, the pauses would be far longer together.
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
}

#[test]
fn a_server_that_takes_us_and_drops_us_at_once_is_called_seldomer_each_time() {
    // Greeted, and gone in the middle of the first batch.
    let cuts = vec![150; 100];
    let server = Fake::with(Manners { cuts, forgets: true, ..Manners::default() });
    let client = client(&server);
    let started = Instant::now();
    say(&client, &"x".repeat(1_000));
    server.until("six attempts", |state| state.hellos == 6);
    let pauses = [0, 0, 200, 400, 800].map(|millis| Duration::from_millis(millis) * 3 / 4);
    let least: Duration = pauses.iter().sum();
    assert!(started.elapsed() >= least, "{:?}", started.elapsed());
    assert_eq!(balanced(&client).queued, 1);
}

#[test]
fn what_is_dropped_is_reported_by_reason() {
    let nobody = Reserved::new();
    let client = builder("app")
        .address(nobody.address.to_string())
        .protocol(Protocol::V2)
        .queue_messages(10)
        .build_client()
        .unwrap();
    say_numbers(&client, 0, 100);
    say(&client, &"x".repeat(2 << 20));
    assert_eq!(balanced(&client).dropped.queue_full, 90);
    let address = nobody.address;
    drop(nobody);
    let server = Fake::at(address, Manners::default());
    assert!(client.flush(PATIENCE));
    let expected: Vec<_> = (90..100).map(|number: i32| number.to_string()).collect();
    assert_eq!(server.read(State::bodies), expected);
    server.until("the report", |state| !state.reports.is_empty());
    let dropped = server.read(|state| state.reports[0].dropped.clone());
    use wire::v2::report::Dropped;
    assert_eq!(dropped, [(Dropped::MemoryFull, 90), (Dropped::TooLong, 1)]);
}

fn told(server: &Fake) -> Vec<(wire::v2::report::Dropped, u64)> {
    server.read(|state| {
        state.reports.iter().flat_map(|report| report.dropped.iter().copied()).collect()
    })
}

#[test]
fn what_is_dropped_at_the_very_end_is_reported_before_the_farewell() {
    let server = Fake::start();
    let client = client(&server);
    say(&client, "well");
    assert!(client.flush(PATIENCE));
    say(&client, &"x".repeat(2 << 20));
    assert!(client.close(PATIENCE));
    server.until("the farewell", |state| state.farewells == 1);
    assert_eq!(told(&server), [(wire::v2::report::Dropped::TooLong, 1)]);
}

#[test]
fn what_could_not_be_reported_is_by_the_next_program_with_the_spool() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = Reserved::new();
    let address = nobody.address.to_string();
    let with = || builder("app").address(&address).spool(dir.path());
    let clients: Vec<_> = (0..3).map(|_| with().build_client().unwrap()).collect();
    eventually("each has a folder", || folders(dir.path()) == 3);
    clients.iter().for_each(|client| say(client, &"x".repeat(2 << 20)));
    // The first leaves a message as well.
    say(&clients[0], "0");
    clients.iter().for_each(|client| assert!(client.close(PATIENCE)));
    drop(clients);
    let address = nobody.address;
    drop(nobody);
    let server = Fake::at(address, Manners::default());
    // It has nothing to say itself.
    let client = with().build_client().unwrap();
    server.wait_for(1);
    let tooled = (wire::v2::report::Dropped::TooLong, 1);
    eventually("all is told", || told(&server) == [tooled; 3]);
    eventually("nothing is left to adopt", || !client.is_adopting());
    assert!(client.close(PATIENCE));
    assert_eq!(folders(dir.path()), 1);
    drop(client);
    // Once is enough.
    let client = with().build_client().unwrap();
    say(&client, "1");
    assert!(client.flush(PATIENCE) && client.close(PATIENCE));
    assert_eq!(told(&server).len(), 3);
}

#[test]
fn what_the_server_refuses_is_settled_and_counted() {
    let server = Fake::with(Manners { refuses: Some("5".into()), ..Manners::default() });
    let client = client(&server);
    say_numbers(&client, 0, 10);
    assert!(client.flush(PATIENCE));
    let stats = balanced(&client);
    assert_eq!((stats.refused, stats.acknowledged), (1, 10));
    assert!(client.take_failures().iter().any(|failure| failure.contains("no room")));
}

#[test]
fn a_message_too_long_for_this_server_is_cut_and_keeps_its_number() {
    let server = Fake::with(Manners { frame_bytes_max: Some(4096), ..Manners::default() });
    let client = client(&server);
    say(&client, "before");
    say(&client, &"x".repeat(100_000));
    say(&client, "after");
    assert!(client.flush(PATIENCE));
    let bodies = server.read(State::bodies);
    assert_eq!((bodies[0].as_str(), bodies[2].as_str()), ("before", "after"));
    assert!(bodies[1].ends_with("(100000 bytes, cut for this server)"), "{}", bodies[1].len());
}

#[test]
fn memory_is_bounded_with_the_server_away_or_deaf() {
    let server = Fake::with(Manners { is_deaf: true, ..Manners::default() });
    let client = for_server(&server).queue_bytes(2 << 20).build_client().unwrap();
    let line = "x".repeat(1_000);
    let started = Instant::now();
    while client.stats().dropped.queue_full < 20_000 {
        say(&client, &line);
        assert!(started.elapsed() < PATIENCE, "{:?}", client.stats());
    }
    // The queue, what is kept until it is acknowledged, and one piece.
    let stats = balanced(&client);
    assert!(stats.queued * 1_000 < (2 << 20) * 2 + (512 << 10), "{stats:?}");
    server.change(|manners| manners.is_deaf = false);
    // Dropped is dropped; the rest arrives.
    assert!(client.flush(PATIENCE), "{:?}", client.stats());
    assert_eq!(server.read(State::bodies).len() as u64, balanced(&client).acknowledged);
}

#[test]
fn a_v1_server_gets_v1_where_that_is_allowed() {
    for manners in [
        Manners { hangs_up: true, ..Manners::default() },
        Manners { is_silent: true, ..Manners::default() },
    ] {
        let server = Fake::with(manners);
        let logger = for_server(&server).protocol(Protocol::Auto).build().unwrap();
        let record = log::Record::builder()
            .level(log::Level::Error)
            .target("a")
            .args(format_args!("hello"))
            .build();
        logger.log(&record);
        assert!(logger.client().flush(PATIENCE));
        server.until("v1", |state| state.v1_bodies == ["ERROR - hello"]);
        assert_eq!(balanced(logger.client()).written, 1);

        // Nobody else falls back.
        let strict = client(&server);
        let dir = tempfile::tempdir().unwrap();
        let spooling = for_server(&server).protocol(Protocol::Auto).spool(dir.path());
        let spooling = spooling.build_client().unwrap();
        for client in [strict, spooling] {
            say(&client, "no");
            eventually("it is told", || client.stats().failures > 0);
            assert_eq!(balanced(&client).queued, 1);
        }
        assert_eq!(server.read(|state| state.v1_bodies.len()), 1);
    }
}

#[test]
fn the_next_server_takes_over_and_the_better_one_gets_its_place_back() {
    let first = Reserved::new();
    let address = first.address;
    let second = Fake::start();
    let client = builder("app")
        .addresses([address.to_string(), second.address.to_string()])
        .protocol(Protocol::V2)
        .prefer_again(Duration::from_millis(50))
        .build_client()
        .unwrap();
    say(&client, "one");
    assert!(client.flush(PATIENCE));
    assert_eq!(second.wait_for(1), ["one"]);
    drop(first);
    let first = Fake::at(address, Manners::default());
    first.until("the better one is asked", |state| state.hellos > 0);
    eventually("it takes over", || client.stats().failovers == 1);
    say(&client, "two");
    assert!(client.flush(PATIENCE));
    assert_eq!(first.wait_for(1), ["two"]);
    drop(first);
    say(&client, "three");
    assert!(client.flush(PATIENCE));
    assert_eq!(second.wait_for(2), ["one", "three"]);
    assert_eq!(balanced(&client).failovers, 2);
}

#[test]
fn the_next_program_sends_what_the_last_one_left_in_the_spool() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = Reserved::new();
    let address = nobody.address.to_string();
    let with = || builder("app").address(&address).spool(dir.path());
    let client = with().build_client().unwrap();
    say_numbers(&client, 0, 1_000);
    assert!(client.close(Duration::from_secs(5)), "kept, not lost");
    let stats = balanced(&client);
    assert_eq!((stats.spooled, stats.queued, stats.dropped.total()), (1_000, 1_000, 0));
    drop(client);
    let address = nobody.address;
    drop(nobody);
    let server = Fake::at(address, Manners::default());
    // Nothing is said: the spool alone makes the client send.
    let client = with().build_client().unwrap();
    assert_eq!(server.wait_for(1_000), numbers(1_000));
    say_numbers(&client, 1_000, 1_100);
    assert!(client.flush(PATIENCE));
    assert_eq!(server.read(State::bodies), numbers(1_100));
    assert_eq!(server.read(|state| state.ids.len()), 1, "under the same id");
    assert_eq!(client.stats().acknowledged, 1_100);
    assert_eq!(balanced(&client).written, 100);
}

#[test]
fn a_client_closed_at_once_leaves_everything_in_the_spool() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = Reserved::new();
    let with = builder("app").address(nobody.address.to_string()).spool(dir.path());
    let client = with.build_client().unwrap();
    say_numbers(&client, 0, 20_000);
    // It has no time, and then as much as the disk takes.
    client.close(Duration::ZERO);
    assert!(client.close(PATIENCE));
    let stats = balanced(&client);
    assert_eq!((stats.queued, stats.dropped.total()), (20_000, 0));
}

#[test]
fn spools_that_others_left_are_emptied_under_their_own_ids_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = Reserved::new();
    let address = nobody.address.to_string();
    let with = || builder("app").address(&address).spool(dir.path());
    let clients: Vec<_> = (0..3).map(|_| with().build_client().unwrap()).collect();
    eventually("each has a folder", || folders(dir.path()) == 3);
    clients.iter().for_each(|client| say_numbers(client, 0, 10));
    clients.iter().for_each(|client| assert!(client.close(Duration::from_secs(5))));
    drop(clients);
    let address = nobody.address;
    drop(nobody);
    let server = Fake::at(address, Manners::default());
    let client = with().build_client().unwrap();
    server.wait_for(30);
    assert_eq!(server.read(|state| state.ids.len()), 3);
    server.read(|state| state.kept.values().for_each(|kept| assert_eq!(kept.len(), 10)));
    eventually("nothing is left to adopt", || !client.is_adopting());
    assert_eq!(folders(dir.path()), 1, "the others' folders are gone");
    assert_eq!(client.stats().acknowledged, 30);
}

/// Two programs leave a spool each. The next one goes on with the first, and only
/// empties the other, whose path and id this returns.
fn left_by_two(with: impl Fn() -> Builder, dir: &Path) -> (PathBuf, ClientId) {
    let clients: Vec<_> = (0..2).map(|_| with().build_client().unwrap()).collect();
    eventually("each has a folder", || folders(dir) == 2);
    clients.iter().for_each(|client| say_numbers(client, 0, 10));
    clients.iter().for_each(|client| assert!(client.close(Duration::from_secs(5))));
    drop(clients);
    let entries = std::fs::read_dir(dir.join("app")).unwrap();
    let other = entries.map(|entry| entry.unwrap().path()).max().unwrap();
    let name = other.file_name().unwrap().to_str().unwrap();
    let id = ClientId(u128::from_str_radix(name, 16).unwrap().to_be_bytes());
    (other, id)
}

#[test]
fn a_server_that_is_away_is_called_seldomer_each_time_also_for_what_another_left() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = Reserved::new();
    let address = nobody.address;
    let with = || builder("app").address(address.to_string()).spool(dir.path());
    let (_, id) = left_by_two(with, dir.path());
    drop(nobody);
    let server = Fake::at(address, Manners { unsynced: Some(id), ..Manners::default() });
    let client = with().build_client().unwrap();
    server.wait_for(20);
    eventually("all of its own is acknowledged", || client.stats().acknowledged == 10);
    drop(server);
    let started = Instant::now();
    // Both connections end, and then nobody answers.
    eventually("five attempts", || client.stats().failures >= 2 + 5);
    let pauses = [0, 0, 200, 400, 800].map(|millis| Duration::from_millis(millis) * 3 / 4);
    let least: Duration = pauses.iter().sum();
    assert!(started.elapsed() >= least, "{:?}", started.elapsed());
}

#[test]
fn a_spool_that_another_left_stays_until_all_of_it_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = Reserved::new();
    let address = nobody.address;
    let with = || builder("app").address(address.to_string()).spool(dir.path());
    let (other, id) = left_by_two(with, dir.path());
    drop(nobody);
    let server = Fake::at(address, Manners { unsynced: Some(id), ..Manners::default() });
    let client = with().build_client().unwrap();
    server.wait_for(20);
    assert_eq!(server.read(|state| state.kept[&id].len()), 10);
    client.close(Duration::ZERO);
    eventually("nobody is at work", || !client.is_adopting());
    drop(client);
    assert!(other.exists(), "nobody said that it was safe");
    server.lose_power();
    let client = with().build_client().unwrap();
    server.wait_for(20);
    assert_eq!(server.read(|state| state.kept[&id].len()), 10);
    client.close(PATIENCE);
}

#[test]
fn a_spool_takes_what_memory_cannot_and_catches_up_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = Reserved::new();
    let client = builder("app")
        .address(nobody.address.to_string())
        .spool(dir.path())
        .queue_bytes(2 << 20)
        .build_client()
        .unwrap();
    let tail = "x".repeat(1_000);
    for number in 0..20_000 {
        say(&client, &format!("{number} {tail}"));
        if number % 500 == 0 {
            // A program that logs faster than the disk writes loses; not this one.
            eventually("the spool keeps up", || client.stats().spooled + 1_000 > number);
        }
    }
    eventually("all is in the spool", || client.stats().spooled == 20_000);
    assert_eq!(balanced(&client).dropped.total(), 0);
    let address = nobody.address;
    drop(nobody);
    let server = Fake::at(address, Manners::default());
    assert!(client.flush(Duration::ZERO) || client.flush(PATIENCE));
    let bodies = server.read(State::bodies);
    assert_eq!(bodies.len(), 20_000);
    for (number, body) in bodies.iter().enumerate() {
        assert_eq!(body.split(' ').next().unwrap(), number.to_string());
    }
    eventually("the spool is empty", || client.stats().spool_bytes <= 4 << 20);
}

#[test]
fn a_full_spool_keeps_the_oldest_and_memory_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = Reserved::new();
    let client = builder("app")
        .address(nobody.address.to_string())
        .spool(dir.path())
        .spool_bytes(4 << 20)
        .queue_bytes(2 << 20)
        .build_client()
        .unwrap();
    let tail = "x".repeat(1_000);
    let mut number = 0;
    let started = Instant::now();
    while client.stats().dropped.spool_full < 1_000 {
        say(&client, &format!("{number} {tail}"));
        number += 1;
        if client.stats().dropped.total() == 0 && number % 500 == 0 {
            // The spool fills before memory does.
            let is_full = || client.stats().spool_bytes > (4 << 20) - (300 << 10);
            eventually("it is kept", || is_full() || client.stats().spooled == number as u64);
        }
        assert!(started.elapsed() < PATIENCE, "{:?}", client.stats());
    }
    let address = nobody.address;
    drop(nobody);
    let server = Fake::at(address, Manners::default());
    eventually("all that is left has arrived", || client.flush(Duration::from_millis(100)));
    let stats = balanced(&client);
    let bodies = server.read(State::bodies);
    assert_eq!(bodies.len() as u64, stats.enqueued - stats.dropped.total());
    let got: Vec<usize> =
        bodies.iter().map(|body| body.split(' ').next().unwrap().parse().unwrap()).collect();
    assert!(got.is_sorted_by(|a, b| a < b));
    assert_eq!((got[0], *got.last().unwrap()), (0, number - 1));
    let told = || {
        server.read(|state| {
            let dropped = state.reports.iter().flat_map(|report| report.dropped.iter());
            dropped.map(|(_, messages)| messages).sum::<u64>()
        })
    };
    say(&client, "one more");
    eventually("the drops are reported", || told() == stats.dropped.total());
}

#[test]
fn a_spool_that_cannot_be_made_is_told_once_and_memory_does() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("app"), "a file where the folder should be").unwrap();
    let server = Fake::start();
    let client = for_server(&server).spool(dir.path()).build_client().unwrap();
    say_numbers(&client, 0, 100);
    assert!(client.flush(PATIENCE));
    assert_eq!(server.read(State::bodies), numbers(100));
    let failures = client.take_failures();
    assert_eq!(failures.iter().filter(|failure| failure.contains("memory only")).count(), 1);
    assert_eq!(balanced(&client).spooled, 0);
}

#[test]
fn an_old_copy_of_a_spool_goes_on_under_a_new_id() {
    let dir = tempfile::tempdir().unwrap();
    let server = Fake::start();
    let client = for_server(&server).spool(dir.path()).build_client().unwrap();
    say(&client, "first");
    assert!(client.flush(PATIENCE));
    assert!(client.close(PATIENCE));
    // Meanwhile somebody else goes on with the copy, and further.
    let id = server.read(|state| state.ids[0]);
    server.change(|manners| manners.is_ahead = Some((id, 1 << 50)));
    let client = for_server(&server).spool(dir.path()).build_client().unwrap();
    say_numbers(&client, 0, 100);
    assert!(client.flush(PATIENCE), "{:?} {:?}", client.stats(), client.take_failures());
    let other = server.read(|state| *state.ids.last().unwrap());
    assert_ne!(other, id);
    let bodies = server.read(|state| state.kept[&other].clone());
    assert_eq!(bodies.into_iter().map(|kept| kept.body).collect::<Vec<_>>(), numbers(100));
    assert_eq!(balanced(&client).acknowledged, 100);
}

#[test]
fn an_id_that_somebody_else_has_used_for_numbers_of_ours_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = Reserved::new();
    let client = builder("app").address(nobody.address.to_string()).spool(dir.path());
    let client = client.build_client().unwrap();
    say_numbers(&client, 0, 100);
    eventually("all is in the spool", || client.stats().spooled == 100);
    // We have sent nothing, but the server has some of our numbers.
    let folder = std::fs::read_dir(dir.path().join("app")).unwrap().next().unwrap().unwrap();
    let name = folder.file_name().into_string().unwrap();
    let id = ClientId(u128::from_str_radix(&name, 16).unwrap().to_be_bytes());
    let address = nobody.address;
    drop(nobody);
    let server = Fake::at(address, Manners { is_ahead: Some((id, 50)), ..Manners::default() });
    assert!(client.flush(Duration::ZERO) || client.flush(PATIENCE), "{:?}", client.take_failures());
    assert_eq!(server.read(State::bodies), numbers(100));
    assert!(!folder.path().exists() && folders(dir.path()) == 1);
    assert_eq!(balanced(&client).acknowledged, 100);
}

#[test]
fn a_spool_that_is_removed_under_the_program_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = Reserved::new();
    let client = builder("app").address(nobody.address.to_string()).spool(dir.path());
    let client = client.build_client().unwrap();
    say_numbers(&client, 0, 100);
    eventually("all is in the spool", || client.stats().spooled == 100);
    std::fs::remove_dir_all(dir.path().join("app")).unwrap();
    eventually("it is there again", || folders(dir.path()) == 1);
    say_numbers(&client, 100, 200);
    eventually("new messages are in it", || client.stats().spooled == 200);
    let address = nobody.address;
    drop(nobody);
    let server = Fake::at(address, Manners::default());
    assert!(client.flush(Duration::ZERO) || client.flush(PATIENCE), "{:?}", client.take_failures());
    // Memory had the first ones.
    assert_eq!(server.read(State::bodies), numbers(200));
    assert_eq!((balanced(&client).acknowledged, client.stats().damaged), (200, 0));
}

#[test]
fn a_client_that_never_sent_leaves_at_once() {
    let nobody = Reserved::new();
    let dir = tempfile::tempdir().unwrap();
    let client = builder("app").address(nobody.address.to_string()).spool(dir.path());
    let client = client.build_client().unwrap();
    let started = Instant::now();
    assert!(client.flush(PATIENCE));
    assert!(client.close(PATIENCE));
    assert!(started.elapsed() < PATIENCE / 2);
    drop(client);
}

#[test]
fn full_records_travel_as_they_are() {
    let server = Fake::start();
    let client = client(&server);
    let fields = [loghog::Field { key: "n", value: loghog::Value::Int(7) }];
    let body = "failed\nTraceback: x";
    client.send_record(&Record {
        time_ns: 1,
        level: 40,
        logger: "a",
        body,
        exception_at: Some(7),
        fields: &fields,
        ..Record::default()
    });
    assert!(client.flush(PATIENCE));
    let kept = server.read(|state| state.kept.values().next().unwrap()[0].clone());
    assert_eq!((kept.body.as_str(), kept.fields[0].1.as_str()), (body, "Int(7)"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 20, ..ProptestConfig::default() })]

    /// Connections are cut at any byte, again and again, and the server may
    /// have read what came before or not: each message is there once, in order.
    #[test]
    fn connections_cut_at_any_byte_lose_and_repeat_nothing(
        cuts in proptest::collection::vec(0_usize..6_000, 1..5),
        forgets in any::<bool>(),
        spools in any::<bool>(),
        sealed in any::<bool>(),
        count in 1_usize..400,
    ) {
        let secret = sealed.then(|| "s3cret".to_owned());
        let server =
            Fake::with(Manners { cuts, forgets, secret: secret.clone(), ..Manners::default() });
        let dir = tempfile::tempdir().unwrap();
        let mut with = for_server(&server);
        if let Some(secret) = secret {
            with = with.secret(secret);
        }
        if spools {
            with = with.spool(dir.path());
        }
        let client = with.build_client().unwrap();
        say_numbers(&client, 0, count / 2);
        let _ = client.flush(Duration::from_millis(3));
        say_numbers(&client, count / 2, count);
        prop_assert!(client.flush(PATIENCE), "{:?} {:?}", client.stats(), client.take_failures());
        prop_assert_eq!(server.read(State::bodies), numbers(count));
        let stats = balanced(&client);
        prop_assert_eq!((stats.acknowledged, stats.dropped.total()), (count as u64, 0));
        client.close(PATIENCE);
    }
}
