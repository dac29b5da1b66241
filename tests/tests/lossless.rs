//! Whatever happens to the daemon and on the way to it, every message of
//! numbered clients is in its file once, in its client's order.
//!
//! Clients write into several files through a proxy that delays, swallows and
//! cuts; the daemon is killed, frozen and stopped meanwhile.
//! `LOGHOG_CRASH_ROUNDS` sets how often; `make test-crash` asks for many.
//! `LOGHOG_SEED` repeats a run as far as it can be repeated: what is drawn is
//! the same then, the moments at which it happens are nearly so.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use loghog_tests::frames::frame;
use loghog_tests::numbered::{Done, Numbered, Plan};
use loghog_tests::proxy::Proxy;
use loghog_tests::random::Random;
use loghog_tests::segments::{self, assert_nothing_else, records_when_sealed};
use loghog_tests::{DEADLINE, Daemon, Scenario, Site, rounds, wait_until};
use nix::sys::signal::Signal;

/// Files that turn by size and are sealed while all that happens; one is
/// synced seldom.
const FACILITIES: &str = "[one]\nrotate = size\nmax_size = 60000\nbackup_count = 1000000\n\
                          [one:a]\nrotate = size\nmax_size = 300000\nbackup_count = 1000000\n\
                          [one:b]\nrotate = size\nmax_size = 100000000\nbackup_count = 9\nflush_every = 1000\n\
                          [two]\nrotate = size\nmax_size = 90000\nbackup_count = 1000000\n\
                          secret = my-big-secret\n\
                          [two:a]\nrotate = size\nmax_size = 30000\nbackup_count = 1000000\n";

const LOGGERS: &[&str] = &["", "a", "b", "a.below", "elsewhere"];

fn plans() -> Vec<Plan> {
    let plan = |id, app, secret| Plan { id, app, secret, loggers: LOGGERS };
    let secret = Some("my-big-secret");
    vec![
        plan(1, "one", None),
        plan(2, "one", None),
        plan(3, "two", secret),
        plan(4, "two", secret),
        // All into one file, and another for the rest.
        Plan { id: 5, app: "one", secret: None, loggers: &["b", "b", "b", "a"] },
    ]
}

/// The stem of the file of a message.
fn stem(app: &str, logger: &str) -> &'static str {
    match (app, logger) {
        (_, "a" | "a.below") => "a",
        ("one", "b") => "b",
        _ => "root",
    }
}

#[test]
fn every_message_is_there_once_and_in_order_whatever_happens_to_the_daemon_and_on_the_way() {
    lose_nothing(Scenario::new());
}

#[test]
fn the_same_holds_where_files_are_compressed_while_they_are_written() {
    lose_nothing(Scenario::new().option("compressor", "compress_on_write", "yes"));
}

/// What was done to the daemon.
#[derive(Clone, Copy, Debug, Default)]
struct Deeds {
    kills: u32,
    freezes: u32,
    stops: u32,
}

fn lose_nothing(scenario: Scenario) {
    let (mut random, start) = (Random::from_environment(), Instant::now());
    let scenario = scenario.fast_disk().facilities(FACILITIES).option("compressor", "level", "0");
    let proxy = Proxy::start(random.fork());
    let mut daemon = scenario.start();
    proxy.lead_to(daemon.tcp());
    let clients: Vec<Numbered> = plans()
        .into_iter()
        .map(|plan| Numbered::start(plan, proxy.address(), random.fork()))
        .collect();
    let mut deeds = Deeds::default();
    for _ in 0..rounds(20) {
        wait_for_progress(&clients, 100 + random.below(2_000));
        send_unnumbered(&daemon);
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        daemon = trouble(daemon, &mut random, &mut deeds);
        proxy.lead_to(daemon.tcp());
    }
    proxy.calm();
    clients.iter().for_each(Numbered::ask_to_finish);
    let done: Vec<Done> = clients.into_iter().map(Numbered::finish).collect();

    for (app, stems) in [("one", &["root", "a", "b"][..]), ("two", &["root", "a"])] {
        let folder = daemon.log_dir().join(app);
        stems.iter().for_each(|stem| drop(records_when_sealed(&folder, stem)));
        assert_nothing_else(&folder, stems);
    }
    let stopped = daemon.stop();
    assert!(stopped.status.success());
    let stats = stopped.stats();
    assert_eq!((stats["segments_damaged"], stats["lines_lost"]), (0, 0));
    let (messages, files) = check(&stopped.site, &done);
    let sent: u64 = done.iter().map(|done| done.sent).sum();
    let sessions: u64 = done.iter().map(|done| done.sessions).sum();
    println!(
        "{messages} messages in {files} files, {} sent again, {sessions} sessions; \
         {deeds:?}, {:?}, {:.1} s",
        sent - messages,
        proxy.troubles(),
        start.elapsed().as_secs_f64(),
    );
}

/// Waits until so many more messages are acknowledged, against all odds.
fn wait_for_progress(clients: &[Numbered], more: u64) {
    let durable = || clients.iter().map(Numbered::durable).sum::<u64>();
    let goal = durable() + more;
    wait_until(2 * DEADLINE, "more messages are acknowledged", || {
        let are_at_work = clients.iter().all(Numbered::is_at_work);
        assert!(are_at_work, "a client has given up; see above");
        (durable() >= goal).then_some(())
    });
}

/// Messages that nobody acknowledges stand between the others.
fn send_unnumbered(daemon: &Daemon) {
    let mut socket = TcpStream::connect(daemon.tcp()).expect("the daemon listens");
    for logger in LOGGERS {
        socket.write_all(&frame("one", logger, "v1", "unnumbered")).expect("the daemon reads");
    }
}

/// Kills, freezes or stops the daemon; another one runs then, or the same.
fn trouble(daemon: Daemon, random: &mut Random, deeds: &mut Deeds) -> Daemon {
    match random.below(8) {
        0 => {
            deeds.stops += 1;
            let stopped = daemon.stop();
            assert!(stopped.status.success(), "{}", stopped.said);
            stopped.site.start()
        }
        1..=3 => {
            // Long enough for some clients to lose their patience.
            deeds.freezes += 1;
            daemon.signal(Signal::SIGSTOP);
            std::thread::sleep(Duration::from_millis(random.below(250)));
            if random.below(2) == 0 {
                daemon.signal(Signal::SIGCONT);
                return daemon;
            }
            deeds.kills += 1;
            daemon.kill().start()
        }
        _ => {
            deeds.kills += 1;
            let site = daemon.kill();
            // Nobody is there for a moment.
            std::thread::sleep(Duration::from_millis(random.below(30)));
            site.start()
        }
    }
}

/// Reads everything, and holds it against what was acknowledged. Says how many
/// messages that were, in how many files.
fn check(site: &Site, done: &[Done]) -> (u64, usize) {
    let plans = plans();
    let by_host: BTreeMap<String, usize> =
        plans.iter().enumerate().map(|(place, plan)| (plan.host(), place)).collect();
    let mut found: Vec<BTreeMap<u64, u32>> = vec![BTreeMap::new(); plans.len()];
    let mut files = 0;
    for (app, of_app) in [("one", &["root", "a", "b"][..]), ("two", &["root", "a"])] {
        for of_file in of_app {
            let folder = site.log_dir().join(app);
            files += segments::names(&folder, of_file).len();
            let mut last = vec![0; plans.len()];
            for record in segments::records(&folder, of_file) {
                let (host, body) = record[" - ".len()..].split_once(" - ").expect("host and body");
                if host == "v1" {
                    continue;
                }
                let place = by_host[host];
                let plan = &plans[place];
                let number = plan.number(body);
                let logger = plan.logger(number);
                assert_eq!((plan.app, stem(app, logger)), (app, *of_file), "{record}");
                let before = std::mem::replace(&mut last[place], number);
                assert!(before < number, "{app}/{of_file}: {number} of {host} behind {before}");
                *found[place].entry(number).or_default() += 1;
            }
        }
    }
    for ((plan, done), found) in plans.iter().zip(done).zip(&found) {
        let host = plan.host();
        let missing = (1..=done.messages).filter(|number| !found.contains_key(number));
        assert_eq!(some_of(plan, missing), "", "{host}: messages are missing");
        let doubled = found.iter().filter(|&(_, &times)| times != 1).map(|(&number, _)| number);
        assert_eq!(some_of(plan, doubled), "", "{host}: messages are doubled");
        assert_eq!(found.len() as u64, done.messages, "{host} has not sent all that is there");
    }
    (done.iter().map(|done| done.messages).sum(), files)
}

/// The first of some messages with their files, and how many there are.
fn some_of(plan: &Plan, numbers: impl Iterator<Item = u64>) -> String {
    let all: Vec<u64> = numbers.collect();
    let shown = |number: &u64| format!("{number} {} ", stem(plan.app, plan.logger(*number)));
    let first: String = all.iter().take(20).map(shown).collect();
    if all.is_empty() { first } else { format!("{} of them: {first}", all.len()) }
}
