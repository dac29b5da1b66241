//! Thousands of hosts with a file each are all due at midnight: all files
//! turn within ten seconds, and nobody else is held back meanwhile.
//!
//! `LOGHOG_HOSTS` sets how many hosts; `make test-long` asks for 5,000.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use loghog_tests::frames::frame;
use loghog_tests::process::raise_descriptors;
use loghog_tests::zone::midnight_in;
use loghog_tests::{Daemon, Scenario, wait_until};

const FACILITIES: &str = "[hosts]\nrotate = daily\nbackup_count = 9\nfile_per_host = yes\n\
                          [other]\nrotate = size\nmax_size = 1GiB\nbackup_count = 9\n";

/// How long all files may take to turn.
const TURNING_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a message for another facility may take to its file meanwhile.
const PAUSE_MAX: Duration = Duration::from_millis(500);

#[test]
fn the_files_of_all_hosts_turn_at_midnight_and_others_go_on() {
    let hosts: usize = match std::env::var("LOGHOG_HOSTS") {
        Ok(hosts) => hosts.parse().expect("LOGHOG_HOSTS is a number"),
        Err(_) => 500,
    };
    raise_descriptors();
    // Time to write to all of them first: a file for each is made and synced.
    let wait = Duration::from_secs(3) + Duration::from_millis(4) * u32::try_from(hosts).unwrap();
    let (zone, midnight) = midnight_in(wait);
    let daemon = Scenario::new()
        .facilities(FACILITIES)
        .option("main", "max_hosts", "100000")
        .zone(&zone)
        .fast_disk()
        .start();
    let lines = u64::try_from(hosts).unwrap();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    for host in 0..hosts {
        socket.write_all(&frame("hosts", "", &format!("h{host}"), "before midnight")).unwrap();
    }
    let stats = daemon.wait_for_count("lines", lines);
    assert_eq!(stats["files_turned"], 0, "too slow to show anything");

    let stop = AtomicBool::new(false);
    let longest = std::thread::scope(|scope| {
        let other = scope.spawn(|| longest_pause(&daemon, &stop));
        let _at_the_end = StopAtTheEnd(&stop);
        wait_until(wait + TURNING_TIME_MAX, "all files have turned", || {
            std::thread::sleep(Duration::from_millis(100));
            (daemon.stats()["files_turned"] >= lines).then_some(())
        });
        let took = SystemTime::now().duration_since(midnight).unwrap();
        assert!(took < TURNING_TIME_MAX, "turning took {took:?}");
        eprintln!("{hosts} files turned within {took:?}");
        stop.store(true, Ordering::Relaxed);
        other.join().unwrap()
    });
    eprintln!("the longest wait for a line in another facility was {longest:?}");
    assert!(longest < PAUSE_MAX, "another facility had to wait {longest:?}");

    // The other facility is silent now.
    let before = daemon.stats()["lines"];
    for host in 0..hosts {
        socket.write_all(&frame("hosts", "", &format!("h{host}"), "after midnight")).unwrap();
    }
    daemon.wait_for_count("lines", before + lines);
    let stopped = daemon.stop();
    assert_eq!(stopped.stats()["files_turned"], lines);
    each_host_has_a_live_file_and_a_segment(&stopped.site.log_dir().join("hosts"), hosts);
}

/// Also when the test fails: the scope waits for all of its threads.
struct StopAtTheEnd<'a>(&'a AtomicBool);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends to another facility and waits for each line, until told to stop.
fn longest_pause(daemon: &Daemon, stop: &AtomicBool) -> Duration {
    let path = daemon.log_dir().join("other/root.log");
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    socket.set_nodelay(true).unwrap();
    let mut longest = Duration::ZERO;
    let mut length = 0;
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        socket.write_all(&frame("other", "", "h", "goes on")).unwrap();
        length = wait_until(Duration::from_secs(10), "the line is there", || {
            let now = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            (now > length).then_some(now)
        });
        longest = longest.max(start.elapsed());
        std::thread::sleep(Duration::from_millis(1));
    }
    longest
}

fn each_host_has_a_live_file_and_a_segment(folder: &Path, hosts: usize) {
    let mut by_host: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".part") {
            continue;
        }
        let (host, behind) = name.split_once("-root.log").unwrap();
        let (live, segments) = by_host.entry(host.to_owned()).or_default();
        *if behind.is_empty() { live } else { segments } += 1;
    }
    assert_eq!(by_host.len(), hosts);
    // One that is being sealed is there twice for a moment.
    let strange: Vec<_> = by_host
        .iter()
        .filter(|(_, (live, segments))| (*live, (*segments).clamp(1, 2)) != (1, *segments))
        .collect();
    assert!(strange.is_empty(), "{strange:?}");
}
