//! kill -9 under load: every line is whole, what was there stays, and the
//! next start goes on behind it; also while files turn, are sealed, or are
//! compressed while they are written.
//!
//! `LOGHOG_CRASH_ROUNDS` sets how often; `make test-crash` asks for many.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use loghog_tests::files::records;
use loghog_tests::frames::frame;
use loghog_tests::load::{Load, assert_gapless, numbers};
use loghog_tests::segments::{self, assert_nothing_else};
use loghog_tests::{DEADLINE, Scenario, rounds, wait_until};

const FILES: [&str; 2] = ["one/root.log", "two/root.log"];

const FACILITIES: &str = "[one]\nrotate = daily\nbackup_count = 1\n\
                          [two]\nrotate = daily\nbackup_count = 1\nflush_every = 1000\n";

#[test]
fn a_killed_daemon_leaves_whole_lines_and_goes_on_behind_them() {
    let rounds = rounds(6);
    let mut site = Scenario::new().facilities(FACILITIES).site();
    for round in 0..rounds {
        let before = FILES.map(|file| text(&site, file));
        let daemon = site.start();
        let loads = ["one", "two"].map(|app| Load::start(daemon.tcp(), app, ""));
        // Killed at another moment each time.
        let seen = before.each_ref().map(|text| text.len() + 1 + round * 99_991 % 900_000);
        for (file, bytes) in FILES.into_iter().zip(seen) {
            let path = daemon.log_dir().join(file);
            wait_until(DEADLINE, "there is load", || {
                let length = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
                (length >= u64::try_from(bytes).unwrap()).then_some(())
            });
        }
        site = daemon.kill();
        for load in loads {
            load.wait();
        }

        let crashed = FILES.map(|file| text(&site, file));
        for ((before, crashed), seen) in before.iter().zip(&crashed).zip(seen) {
            assert!(crashed.starts_with(before.as_str()), "what was there has changed");
            let fresh = records(whole_lines(&crashed[before.len()..]));
            assert!(crashed.len() >= seen, "what a reader has seen has vanished");
            assert_gapless(&numbers(&fresh));
        }

        // A message behind a torn line would be torn as well.
        let daemon = site.start();
        let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
        for (app, (file, crashed)) in
            ["one", "two"].into_iter().zip(FILES.into_iter().zip(&crashed))
        {
            socket.write_all(&frame(app, "", "load", "again")).unwrap();
            let lines = records(whole_lines(crashed)).len() + 1;
            daemon.wait_for_records(file, lines);
        }
        let stopped = daemon.stop();
        assert!(stopped.status.success());
        for (file, crashed) in FILES.into_iter().zip(&crashed) {
            let after = text(&stopped.site, file);
            assert!(after.starts_with(whole_lines(crashed)), "what was there has changed");
            assert_eq!(records(&after).last().map(String::as_str), Some(" - load - again"));
        }
        site = stopped.site;
        // Every few rounds start afresh, or a long run would only read.
        if round % 8 == 7 {
            for file in FILES {
                std::fs::remove_file(site.log_dir().join(file)).unwrap();
            }
        }
    }
}

#[test]
fn a_kill_while_files_turn_and_are_sealed_loses_and_doubles_nothing() {
    let scenario = Scenario::new()
        .fast_disk()
        .facilities("[plain]\nrotate = size\nmax_size = 300000\nbackup_count = 100000\n")
        .option("compressor", "level", "0");
    kill_again_and_again(scenario);
}

#[test]
fn a_kill_while_files_are_compressed_and_turn_loses_and_doubles_nothing() {
    let scenario = Scenario::new()
        .fast_disk()
        .facilities("[plain]\nrotate = size\nmax_size = 60000\nbackup_count = 100000\n")
        .option("compressor", "compress_on_write", "yes");
    kill_again_and_again(scenario);
}

/// Kills a daemon at another moment of its work each time. What one run has
/// written has to be there after the next start: each line once, in order.
fn kill_again_and_again(scenario: Scenario) {
    let mut site = scenario.site();
    let folder = site.log_dir().join("plain");
    for round in 0..rounds(6) {
        let daemon = site.start();
        let load = Load::start(daemon.tcp(), "plain", "");
        // At least so many were in a file before the kill.
        let seen = daemon.wait_for_count("lines", 1000 + 7919 * (round as u64) % 10_000)["lines"];
        std::thread::sleep(Duration::from_micros(997 * (round as u64) % 20_000));
        site = daemon.kill();
        load.wait();

        // What a kill has torn is mended when its file is written to.
        let daemon = site.start();
        let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
        socket.write_all(&frame("plain", "", "load", "again")).unwrap();
        daemon.wait_for_count("lines", 1);
        let mut records = segments::records_when_sealed(&folder, "root");
        assert_nothing_else(&folder, &["root"]);
        assert_eq!(records.pop().as_deref(), Some(" - load - again"));
        let numbers = numbers(&records);
        assert_gapless(&numbers);
        assert!(numbers.len() as u64 >= seen, "what was in a file has vanished");
        assert_eq!(daemon.stats()["segments_damaged"], 0);
        site = daemon.stop().site;
        // Each round has numbers of its own.
        fs::remove_dir_all(&folder).unwrap();
    }
}

fn text(site: &loghog_tests::Site, file: &str) -> String {
    std::fs::read_to_string(site.log_dir().join(file)).unwrap_or_default()
}

/// The text up to its last line feed. The kernel may end a write in its
/// middle when the process is killed; the next start mends that.
fn whole_lines(text: &str) -> &str {
    &text[..text.rfind('\n').map_or(0, |end| end + 1)]
}
