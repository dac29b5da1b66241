//! Files on their way to a real broker: whatever is killed, frozen or started again on
//! either side, a reader of what is committed finds each message once, in order; what is
//! too large for Kafka is among the dead letters.
//!
//! `LOGHOG_CRASH_ROUNDS` sets how often the daemon is killed, `LOGHOG_SEED` repeats what
//! is drawn; `make test-crash` asks for many.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use loghog_tests::frames::frame;
use loghog_tests::random::Random;
use loghog_tests::segments;
use loghog_tests::services::kafka::{Kafka, PATIENCE, Read};
use loghog_tests::{Scenario, rounds, wait_until};
use rdkafka::Message as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;

const FACILITIES: &str = "\
    [followed]\nrotate = size\nmax_size = 30000\nbackup_count = 100000\nship = live\n\
    [closed]\nrotate = size\nmax_size = 30000\nbackup_count = 100000\nformat = json\nship = closed\n";

/// Longest record, in bytes; now and then there is a longer one.
const RECORD_BYTES_MAX: usize = 10_000;

fn scenario(broker: &Kafka) -> Scenario {
    let address = broker.address();
    let mut scenario = Scenario::new().fast_disk().facilities(FACILITIES);
    for (target, when) in [("live", "live"), ("closed", "sealed")] {
        scenario = scenario.target(
            target,
            &[
                ("type", "kafka"),
                ("brokers", &address),
                ("when", when),
                ("kafka.message.max.bytes", &RECORD_BYTES_MAX.to_string()),
            ],
        );
    }
    scenario.option("compressor", "level", "0")
}

#[test]
fn kills_of_the_daemon_and_of_the_broker_lose_and_double_nothing() {
    let rounds = rounds(5);
    let mut random = Random::from_environment();
    let mut broker = Kafka::start();
    for app in ["followed", "closed"] {
        broker.create_topic(&format!("logs.{app}"), 1, &[]);
    }
    let mut site = scenario(&broker).site();
    let mut next = 0;
    for round in 0..rounds {
        let daemon = site.start();
        let is_over = AtomicBool::new(false);
        site = std::thread::scope(|scope| {
            let (address, is_over) = (daemon.tcp(), &is_over);
            let sending = scope.spawn(move || send(address, next, is_over));
            std::thread::sleep(Duration::from_millis(50 + random.below(900)));
            match round % 5 {
                1 => {
                    broker.freeze();
                    std::thread::sleep(Duration::from_millis(random.below(1_500)));
                    broker.thaw();
                    std::thread::sleep(Duration::from_millis(random.below(300)));
                }
                3 => {
                    broker.kill();
                    std::thread::sleep(Duration::from_millis(random.below(300)));
                }
                _ => {}
            }
            let site = daemon.kill();
            is_over.store(true, Ordering::Relaxed);
            next = sending.join().unwrap();
            match round % 5 {
                2 => {
                    // With a transaction that is open, and markers that are being written.
                    broker.kill();
                    broker.start_again();
                }
                3 => broker.start_again(),
                _ => {}
            }
            site
        });
    }
    // Now in peace; the last messages also turn what waits.
    let daemon = site.start();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (address, is_over) = (daemon.tcp(), &is_over);
        let sending = scope.spawn(move || send(address, next, is_over));
        std::thread::sleep(Duration::from_millis(500));
        is_over.store(true, Ordering::Relaxed);
        sending.join().unwrap();
    });
    let folder = |app: &str| daemon.log_dir().join(app);
    wait_until(PATIENCE, "all has arrived", || {
        let (followed, _) = parted(segments::records_when_sealed(&folder("followed"), "root"));
        let arrived = broker.read("logs.followed").len();
        let (closed, _) = parted(closed(&folder("closed")));
        (arrived >= followed.len() && broker.read("logs.closed").len() >= closed.len())
            .then_some(())
    });
    let (followed, too_large) = parted(segments::records_when_sealed(&folder("followed"), "root"));
    assert_same(&followed, &lines(&broker.read("logs.followed")));
    assert_eq!(letters(&daemon.log_dir(), "live"), too_large);
    let (closed, too_large) = parted(closed(&folder("closed")));
    assert_same(&closed, &lines(&broker.read("logs.closed")));
    assert_eq!(letters(&daemon.log_dir(), "closed"), too_large);
    assert!(followed.len() > 100 * rounds, "hardly anything was sent: {}", followed.len());
    println!("{} messages to each target, {rounds} kills", followed.len());
    let stopped = daemon.stop();
    assert!(stopped.status.success(), "{:?}", stopped.status);
}

#[test]
fn a_followed_file_is_with_its_readers_at_once() {
    let broker = Kafka::start();
    broker.create_topic("logs.followed", 1, &[]);
    broker.create_topic("logs.closed", 1, &[]);
    let daemon = scenario(&broker).start();
    let reader = broker.reader("read_committed");
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset("logs.followed", 0, Offset::Beginning).unwrap();
    reader.assign(&partitions).unwrap();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    let mut delays: Vec<Duration> = (0..60)
        .map(|number| {
            let body = format!("message {number}");
            let called = Instant::now();
            socket.write_all(&frame("followed", "", "load", &body)).unwrap();
            wait_until(PATIENCE, "it is there", || {
                let record = reader.poll(Duration::from_secs(1))?.ok()?;
                let text = String::from_utf8_lossy(record.payload().unwrap()).into_owned();
                text.contains(&format!("\"{body}\"")).then_some(())
            });
            called.elapsed()
        })
        // The first ones wait for connections.
        .skip(5)
        .collect();
    delays.sort();
    let (median, longest) = (delays[delays.len() / 2], delays[delays.len() - 1]);
    println!("from call to reader: median {median:?}, longest {longest:?}");
    assert!(median < Duration::from_secs(1), "{median:?}");
}

#[test]
fn a_progress_topic_that_forgets_is_warned_of_and_used_all_the_same() {
    let broker = Kafka::start();
    broker.create_topic("loghog-progress", 1, &[("cleanup.policy", "delete")]);
    for topic in ["logs.followed", "logs.closed"] {
        broker.create_topic(topic, 1, &[]);
    }
    let daemon = scenario(&broker).start();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    socket.write_all(&frame("followed", "", "load", "a message")).unwrap();
    let said = daemon.wait_until_it_said("cleanup.policy=compact");
    let expected = format!(
        "Kafka at {}: the topic loghog-progress has cleanup.policy=delete, so that it forgets",
        broker.address()
    );
    assert!(said.contains(&expected), "{said}");
    wait_until(PATIENCE, "it has arrived", || {
        (broker.read("logs.followed").len() == 1).then_some(())
    });
}

/// Sends messages, a few at a time, until it is over or the daemon has gone. Returns the
/// number of the next one.
fn send(address: SocketAddr, first: u64, is_over: &AtomicBool) -> u64 {
    let mut number = first;
    let Ok(mut socket) = TcpStream::connect(address) else { return number };
    while !is_over.load(Ordering::Relaxed) {
        for app in ["followed", "closed"] {
            for number in number..number + 5 {
                // Traces have lines of their own.
                let mut body = format!("number {number}\nand its second line");
                if number % 50 == 17 {
                    body.push_str(&"x".repeat(RECORD_BYTES_MAX));
                }
                if socket.write_all(&frame(app, "", "load", &body)).is_err() {
                    return number + 5;
                }
            }
        }
        number += 5;
        std::thread::sleep(Duration::from_millis(2));
    }
    number
}

/// Messages that Kafka takes, and the numbers of those that it does not.
fn parted(messages: Vec<String>) -> (Vec<String>, BTreeSet<u64>) {
    let (large, fit): (Vec<_>, Vec<_>) =
        messages.into_iter().partition(|message| message.len() > RECORD_BYTES_MAX);
    (fit, large.iter().map(|message| number_of(message)).collect())
}

/// The numbers of the messages that are among a target's dead letters, once or more.
fn letters(log_dir: &Path, target: &str) -> BTreeSet<u64> {
    let path = log_dir.join(".loghogd/ship").join(target).join("dead-letter.log");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = |letter| serde_json::from_str::<Value>(letter).expect("JSON")["line"].to_string();
    text.lines().map(|letter| number_of(&line(letter))).collect()
}

fn number_of(message: &str) -> u64 {
    let (_, number) = message.split_once("number ").expect("it has a number");
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..end].parse().expect("a number")
}

/// What stands in segments that are closed, in order.
fn closed(folder: &Path) -> Vec<String> {
    let names = segments::segments(folder, "root");
    let texts = names.iter().map(|name| segments::read(&folder.join(name)));
    texts.flat_map(|text| text.lines().map(message_of_json).collect::<Vec<_>>()).collect()
}

fn message_of_json(line: &str) -> String {
    let value: Value = serde_json::from_str(line).expect("a line of JSON");
    format!(" - {} - {}", value["host"].as_str().unwrap(), value["message"].as_str().unwrap())
}

/// Records as they would stand in a file.
fn lines(records: &[Read]) -> Vec<String> {
    let line = |record: &Read| {
        let value: Value = serde_json::from_str(&record.value).expect("JSON");
        format!(" - {} - {}", value["host"].as_str().unwrap(), value["body"].as_str().unwrap())
    };
    records.iter().map(line).collect()
}

#[track_caller]
fn assert_same(in_files: &[String], arrived: &[String]) {
    let plain = |line: &String| line.replace("\n\t", "\n");
    for (place, (file, record)) in in_files.iter().zip(arrived).enumerate() {
        assert_eq!(&plain(file), record, "at {place}");
    }
    assert_eq!(in_files.len(), arrived.len());
}
