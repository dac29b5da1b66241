//! Whatever happens to the daemon and to InfluxDB, every message of numbered
//! clients is there as one point.
//!
//! Two targets: one follows the live files, one takes closed segments. The daemon is
//! killed, the server killed, frozen and stopped meanwhile.
//! `LOGHOG_CRASH_ROUNDS` sets how often; `LOGHOG_SEED` repeats what is drawn.
//! `tools/debian-programs` fetches the server.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use loghog_tests::numbered::{Done, Numbered, Plan};
use loghog_tests::proxy::Proxy;
use loghog_tests::random::Random;
use loghog_tests::segments;
use loghog_tests::services::influxdb::{InfluxDb, Setup};
use loghog_tests::{DEADLINE, Daemon, Scenario, rounds, wait_until};

/// Files of text and of JSON, of one host and of all, that turn while all that happens.
const FACILITIES: &str = "[DEFAULT]\nrotate = size\nbackup_count = 1000000\nship = live, sealed\n\
                          [one]\nmax_size = 60000\n\
                          [one:a]\nmax_size = 300000\n\
                          [two]\nmax_size = 90000\nformat = json\n\
                          [two:a]\nmax_size = 30000\nfile_per_host = yes\n";

const LOGGERS: &[&str] = &["", "a", "a.below", "elsewhere"];

/// Applications are measurements.
const APPS: [&str; 2] = ["one", "two"];

fn plans() -> Vec<Plan> {
    let plan = |id, app| Plan { id, app, secret: None, loggers: LOGGERS };
    vec![plan(1, "one"), plan(2, "one"), plan(3, "two"), plan(4, "two")]
}

/// What was done to whom.
#[derive(Clone, Copy, Debug, Default)]
struct Deeds {
    daemon_kills: u32,
    server_kills: u32,
    server_freezes: u32,
    both_kills: u32,
}

#[test]
fn every_message_is_one_point_whatever_happens_to_the_daemon_and_the_server() {
    let (mut random, start) = (Random::from_environment(), Instant::now());
    let mut server = InfluxDb::start(Setup::default());
    let mut scenario = Scenario::new().fast_disk().facilities(FACILITIES);
    for when in ["live", "sealed"] {
        server.ask(&format!("CREATE DATABASE {when}"));
        scenario = scenario.target(
            when,
            &[
                ("type", "influxdb"),
                ("when", when),
                ("url", &server.url()),
                ("database", when),
                ("timeout", "1s"),
                ("batch_points", "1000"),
            ],
        );
    }
    let proxy = Proxy::start_calm();
    let mut daemon = scenario.option("compressor", "level", "0").start();
    proxy.lead_to(daemon.tcp());
    let clients: Vec<Numbered> = plans()
        .into_iter()
        .map(|plan| Numbered::start(plan, proxy.address(), random.fork()))
        .collect();
    let mut deeds = Deeds::default();
    for _ in 0..rounds(12) {
        let durable = || clients.iter().map(Numbered::durable).sum::<u64>();
        let goal = durable() + 100 + random.below(1_000);
        // So many that some come when it happens, and a long run ends.
        clients.iter().for_each(|client| client.pause_behind(client.durable() + 600));
        wait_until(2 * DEADLINE, "more messages are acknowledged", || {
            (durable() >= goal).then_some(())
        });
        std::thread::sleep(Duration::from_micros(random.below(50_000)));
        daemon = trouble(daemon, &mut server, &mut random, &mut deeds);
        proxy.lead_to(daemon.tcp());
    }
    clients.iter().for_each(Numbered::ask_to_finish);
    let done: Vec<Done> = clients.into_iter().map(Numbered::finish).collect();
    let messages: u64 = done.iter().map(|done| done.messages).sum();

    wait_for_points(&server, "live", messages);
    check(&server, "live", &done);
    // Of these, what closed segments have.
    let closed_of = |app: &str| {
        let folder = daemon.log_dir().join(app);
        let stems = ["root", "a", "host-3-a", "host-4-a"];
        stems.iter().map(|stem| closed_messages(&folder, stem)).sum::<usize>()
    };
    let closed = APPS.iter().map(|app| closed_of(app)).sum::<usize>() as u64;
    assert!(closed > 0 && closed <= messages);
    wait_for_points(&server, "sealed", closed);
    check_each_once(&server, "sealed");
    let stopped = daemon.stop();
    assert!(stopped.status.success(), "{}", stopped.said);
    // Nothing came behind.
    assert_eq!((count(&server, "live"), count(&server, "sealed")), (messages, closed));
    println!("{messages} messages, {closed} in segments; {deeds:?}, {:.1?}", start.elapsed());
}

/// Kills the daemon, the server or both, or freezes the server; all are there again then.
fn trouble(
    daemon: Daemon,
    server: &mut InfluxDb,
    random: &mut Random,
    deeds: &mut Deeds,
) -> Daemon {
    let mut pause =
        |below_ms: u64| std::thread::sleep(Duration::from_millis(random.below(below_ms)));
    let Deeds { daemon_kills, server_kills, server_freezes, both_kills } = deeds;
    // In turn, so that a short run has all of them.
    match (*daemon_kills + *server_kills + *server_freezes + *both_kills) % 6 {
        0 => {
            *server_kills += 1;
            server.kill();
            pause(300);
            server.restart();
            daemon
        }
        1 => {
            // Sometimes for longer than the timeout. The daemon is killed meanwhile.
            *server_freezes += 1;
            server.freeze();
            pause(1_500);
            let daemon = daemon.kill().start();
            pause(300);
            server.thaw();
            daemon
        }
        2 => {
            *both_kills += 1;
            server.kill();
            let site = daemon.kill();
            pause(50);
            server.restart();
            site.start()
        }
        _ => {
            *daemon_kills += 1;
            let site = daemon.kill();
            pause(30);
            site.start()
        }
    }
}

fn count(server: &InfluxDb, database: &str) -> u64 {
    APPS.iter().map(|app| server.count(database, app)).sum()
}

fn wait_for_points(server: &InfluxDb, database: &str, expected: u64) {
    let start = Instant::now();
    // The last pause between two attempts may be long.
    while count(server, database) < expected {
        let found = count(server, database);
        assert!(start.elapsed() < 3 * DEADLINE, "{database} has {found} of {expected} points");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// How often each message is there: by client and number.
fn found(server: &InfluxDb, database: &str) -> BTreeMap<(u8, u64), u32> {
    let by_host: BTreeMap<String, Plan> =
        plans().into_iter().map(|plan| (plan.host(), plan)).collect();
    let mut found = BTreeMap::new();
    for app in APPS {
        for point in server.pages(database, app).flatten() {
            let text = |column: &str| point[column].as_str().expect("a text");
            let plan = &by_host[text("host")];
            let number = plan.number(text("body"));
            let module = match plan.logger(number) {
                "a" | "a.below" => "a",
                _ => "root",
            };
            assert_eq!((text("app"), text("module")), (plan.app, module), "{point}");
            *found.entry((plan.id, number)).or_default() += 1;
        }
    }
    found
}

fn check_each_once(server: &InfluxDb, database: &str) -> BTreeMap<(u8, u64), u32> {
    let found = found(server, database);
    let twice = found.iter().find(|(_, times)| **times != 1);
    assert_eq!(twice, None, "{database}: a message is there twice");
    found
}

/// Each message that was acknowledged is there once, and no other.
fn check(server: &InfluxDb, database: &str, done: &[Done]) {
    let found = check_each_once(server, database);
    for (plan, done) in plans().iter().zip(done) {
        for number in 1..=done.messages {
            assert!(
                found.contains_key(&(plan.id, number)),
                "{database}: {} is missing",
                plan.body(number)
            );
        }
    }
    let messages: u64 = done.iter().map(|done| done.messages).sum();
    assert_eq!(found.len() as u64, messages, "{database}: there are more than were sent");
}

/// How many messages, of one line each, closed segments have.
fn closed_messages(folder: &Path, stem: &str) -> usize {
    let segments = segments::wait_until_sealed(folder, stem, 0);
    segments.iter().map(|name| segments::read(&folder.join(name)).lines().count()).sum()
}
