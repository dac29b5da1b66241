//! What the client library has to drop is told to the daemon, and stands in its
//! own log with the client's name: reason by reason, and none twice.

use std::time::Duration;

use loghog::{Builder, Client, Message, Protocol};
use loghog_tests::command::{FACILITIES, folder, start};
use loghog_tests::proxy::Proxy;
use loghog_tests::random::Random;
use loghog_tests::{DEADLINE, Daemon, wait_until};

/// A way to a daemon that is not there yet.
fn way() -> Proxy {
    let way = Proxy::start(Random::from_environment());
    way.calm();
    way
}

fn client(way: &Proxy, more: impl FnOnce(Builder) -> Builder) -> Client {
    assert!(FACILITIES.contains("[app]"));
    let builder = loghog::builder("app").address(way.address().to_string()).hostname("web-1");
    more(builder.protocol(Protocol::V2)).build_client().expect("all is well")
}

fn say(client: &Client, body: &str) {
    client.send(&Message { module: "", stamp: 1, nsecs: 0, body });
}

/// The daemon tells of the drops under the client's name.
#[track_caller]
fn assert_told(daemon: &Daemon, messages: u64, reason: &str) {
    let said = daemon.wait_until_it_said(&format!("has dropped {messages} messages: {reason}"));
    assert!(said.contains("WARN") && said.contains("client app/"), "{said}");
    assert!(said.contains("\"web-1\""), "{said}");
}

#[test]
fn a_memory_that_is_full_and_messages_that_are_too_long() {
    let way = way();
    let client = client(&way, |builder| builder.queue_messages(10));
    (0..100).for_each(|number| say(&client, &format!("line {number}")));
    say(&client, &"x".repeat(2 << 20));
    let daemon = start();
    way.lead_to(daemon.tcp());
    assert!(client.flush(DEADLINE), "{:?}", client.take_failures());
    assert_told(&daemon, 90, "the memory for messages was full");
    assert_told(&daemon, 1, "they are longer than a frame");
    let kept: Vec<_> = (90..100).map(|number| format!(" - web-1 - line {number}")).collect();
    assert_eq!(daemon.records("app/root.log"), kept);
    assert!(client.close(DEADLINE));
    assert_eq!(daemon.stats()["client_dropped"], 91);
}

#[test]
fn a_spool_that_is_full_though_the_program_has_ended_before_anybody_could_be_told() {
    const DROPS: u64 = 1_000;
    let (way, folder) = (way(), folder());
    let with =
        |builder: Builder| builder.spool(folder.path()).spool_bytes(4 << 20).queue_bytes(2 << 20);
    let first = client(&way, with);
    let line = "x".repeat(1_000);
    wait_until(DEADLINE, "the spool is full, and memory as well", || {
        (0..100).for_each(|_| say(&first, &line));
        (first.stats().dropped.spool_full >= DROPS).then_some(())
    });
    // What is left in memory finds no room at the end.
    assert!(!first.close(DEADLINE));
    let stats = first.stats();
    let spool_full = stats.dropped.spool_full;
    drop(first);
    let daemon = start();
    way.lead_to(daemon.tcp());
    let second = client(&way, with);
    say(&second, "the last one");
    assert!(second.flush(DEADLINE), "{:?}", second.take_failures());
    assert_told(&daemon, spool_full, "the spool was full");
    assert_told(&daemon, stats.dropped.closed, "the program ended");
    // A program that is faster than its disk loses from memory as well.
    let memory_full = stats.dropped.queue_full;
    if memory_full > 0 {
        assert_told(&daemon, memory_full, "the memory for messages was full");
    }
    assert_eq!(spool_full + stats.dropped.closed + memory_full, stats.dropped.total());
    assert!(second.close(Duration::from_secs(10)));
    assert_eq!(daemon.records("app/root.log").len() as u64, stats.spooled + 1);
}
