//! The command `loghog` loses nothing: not when the daemon is away, or killed in
//! the middle, nor with a spool when the command itself is.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use loghog_tests::command::{
    Running, assert_ended, folder, holds, lines, loghog, nobody, records, run, start,
};
use loghog_tests::proxy::Proxy;
use loghog_tests::random::Random;
use loghog_tests::{DEADLINE, wait_until};
use nix::sys::signal::Signal;

#[test]
fn a_spool_keeps_what_a_server_that_is_away_cannot_take() {
    let folder = folder();
    let mut command = loghog("send", "app", nobody());
    let output = run(command.arg("--spool").arg(folder.path()), lines(0..3).as_bytes());
    assert_ended(&output, 0, "3 messages stay in");
    let daemon = start();
    let mut command = loghog("send", "app", daemon.tcp());
    assert_ended(&run(command.arg("--spool").arg(folder.path()).arg("line 3"), b""), 0, "");
    assert_eq!(daemon.wait_for_records("app/root.log", 4), records(4));
}

#[test]
fn a_pipe_loses_nothing_when_the_daemon_is_killed_in_the_middle() {
    survive_kills(|_, _| {});
}

#[test]
fn a_pipe_with_a_spool_loses_nothing_either() {
    survive_kills(|command, folder| {
        command.arg("--spool").arg(folder);
    });
}

fn survive_kills(options: impl FnOnce(&mut Command, &Path)) {
    const PART: usize = 2_000;
    const KILLS: usize = 8;
    let (proxy, folder) = (Proxy::start(Random::from_environment()), folder());
    proxy.calm();
    let mut daemon = start();
    proxy.lead_to(daemon.tcp());
    let mut command = loghog("pipe", "app", proxy.address());
    options(command.args(["--timeout", "30"]), folder.path());
    let mut pipe = Running::start(&mut command);
    for part in 0..KILLS {
        pipe.write(lines(part * PART..part * PART + PART / 2).as_bytes());
        daemon.wait_for_records("app/root.log", part * PART + 1);
        let site = daemon.kill();
        pipe.write(lines(part * PART + PART / 2..part * PART + PART).as_bytes());
        daemon = site.start();
        proxy.lead_to(daemon.tcp());
    }
    assert_ended(&pipe.finish(), 0, "");
    assert_eq!(daemon.records("app/root.log"), records(KILLS * PART));
}

#[test]
fn a_pipe_that_was_killed_is_made_good_by_the_next_with_its_spool() {
    const LINES: usize = 10_000;
    let folder = folder();
    let mut command = loghog("pipe", "app", nobody());
    let mut pipe = Running::start(command.arg("--spool").arg(folder.path()));
    pipe.write(lines(0..LINES).as_bytes());
    let last = format!("line {}", LINES - 1);
    wait_until(DEADLINE, "all is in the spool", || holds(folder.path(), &last).then_some(()));
    pipe.signal(Signal::SIGKILL);
    assert_eq!(pipe.finish().status.code(), None);
    let daemon = start();
    let mut command = loghog("pipe", "app", daemon.tcp());
    let output = run(command.arg("--spool").arg(folder.path()), b"line 10000\n");
    assert_ended(&output, 0, "");
    assert_eq!(daemon.wait_for_records("app/root.log", LINES + 1), records(LINES + 1));
}

#[test]
fn without_server_and_spool_reading_stops_and_nothing_is_dropped() {
    stop_reading(|_, _| {});
}

#[test]
fn with_a_full_spool_reading_stops_and_goes_on_when_the_server_is_there() {
    stop_reading(|command, folder| {
        command.args(["--spool-bytes", "4M", "--spool"]).arg(folder);
    });
}

fn stop_reading(options: impl FnOnce(&mut Command, &Path)) {
    const LINES: usize = 20_000;
    /// What the writer does not get rid of for so long is not read.
    const STILL: Duration = Duration::from_secs(1);
    let (proxy, folder) = (Proxy::start(Random::from_environment()), folder());
    proxy.calm();
    let mut command = loghog("pipe", "app", proxy.address());
    options(command.args(["--timeout", "30"]), folder.path());
    let mut pipe = Running::start(&mut command);
    // More than it may hold.
    let long = "x".repeat(1000);
    let (taken, tail) = (Arc::<AtomicUsize>::default(), long.clone());
    let mut stdin = pipe.take_input();
    let counter = Arc::clone(&taken);
    let writer = std::thread::spawn(move || {
        for number in 0..LINES {
            stdin.write_all(format!("{number} {tail}\n").as_bytes()).expect("read");
            counter.store(number + 1, Ordering::Relaxed);
        }
    });
    let mut last = (0, Instant::now());
    wait_until(DEADLINE, "it reads no more", || {
        let now = taken.load(Ordering::Relaxed);
        assert!(now < LINES, "all was taken while nobody was there");
        if now > last.0 {
            last = (now, Instant::now());
        }
        (now > 0 && last.1.elapsed() >= STILL).then_some(())
    });
    assert!(loghog_tests::process::rss_bytes_peak(pipe.pid()) < 64 << 20);
    let daemon = start();
    proxy.lead_to(daemon.tcp());
    writer.join().expect("the writer is heard to its end");
    assert_ended(&pipe.finish(), 0, "");
    let records = daemon.records("app/root.log");
    assert_eq!(records.len(), LINES);
    let in_order = |(number, record): (usize, &String)| {
        record.starts_with(&format!(" - h - {number} ")) && record.ends_with(&long)
    };
    assert!(records.iter().enumerate().all(in_order));
}

#[test]
fn two_pipes_may_share_a_spool_and_the_next_command_sends_what_both_have_left() {
    const LINES: usize = 1_000;
    let folder = folder();
    let start_one = || {
        let mut command = loghog("pipe", "app", nobody());
        Running::start(command.arg("--spool").arg(folder.path()))
    };
    let mut pipes = [start_one(), start_one()];
    for number in 0..LINES {
        for (name, pipe) in ["a", "b"].iter().zip(&mut pipes) {
            pipe.write(format!("{name} {number}\n").as_bytes());
        }
    }
    let said = format!("{LINES} messages stay in");
    pipes.into_iter().for_each(|pipe| assert_ended(&pipe.finish(), 0, &said));
    let daemon = start();
    let mut command = loghog("send", "app", daemon.tcp());
    command.args(["--timeout", "60", "--spool"]).arg(folder.path()).arg("mine");
    assert_ended(&run(&mut command, b""), 0, "");
    let records = daemon.records("app/root.log");
    for name in ["a", "b"] {
        let expected: Vec<_> = (0..LINES).map(|number| format!(" - h - {name} {number}")).collect();
        let prefix = format!(" - h - {name} ");
        let got: Vec<_> = records.iter().filter(|record| record.starts_with(&prefix)).collect();
        assert_eq!(got, expected.iter().collect::<Vec<_>>());
    }
    assert_eq!(records.len(), 2 * LINES + 1);
}

#[test]
fn a_spool_that_refuses_is_told_and_the_server_alone_makes_messages_safe() {
    let folder = folder();
    fs::write(folder.path().join("app"), "a file where a folder should be").expect("writable");
    let daemon = start();
    let mut command = loghog("send", "app", daemon.tcp());
    let output = run(command.arg("--spool").arg(folder.path()).arg("safe"), b"");
    assert_ended(&output, 0, "memory only");
    assert_eq!(daemon.records("app/root.log"), [" - h - safe"]);
    let mut command = loghog("send", "app", nobody());
    command.args(["--timeout", "1", "--spool"]).arg(folder.path()).arg("lost");
    assert_ended(&run(&mut command, b""), 75, "may be lost");
}

#[test]
fn no_time_at_all_leaves_the_sending_to_the_next_command() {
    let (daemon, folder) = (start(), folder());
    let mut command = loghog("send", "app", daemon.tcp());
    command.args(["--timeout", "0", "--spool"]).arg(folder.path());
    assert_ended(&run(&mut command, lines(0..100).as_bytes()), 0, "");
    let mut command = loghog("send", "app", daemon.tcp());
    command.arg("--spool").arg(folder.path()).arg("line 100");
    assert_ended(&run(&mut command, b""), 0, "");
    assert_eq!(daemon.records("app/root.log"), records(101));
}
