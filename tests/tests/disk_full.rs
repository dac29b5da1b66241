//! A full disk pauses the daemon, which recovers by itself: senders are held
//! back, and when there is room again every line is there, whole and in order.
//! Datagrams that got no room are counted, each of them.

use std::collections::HashSet;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use loghog_tests::daemon::Stats;
use loghog_tests::frames::frame;
use loghog_tests::load::{Load, assert_gapless, numbers};
use loghog_tests::{DEADLINE, Daemon, Scenario, segments, wait_until};

const DISK_BYTES: u64 = 64 << 20;

/// What takes the room at first. What remains is less than the daemon and
/// the kernel hold back.
const FILLER_BYTES: usize = 62 << 20;

#[test]
fn disk_full_pauses_then_recovers() {
    let daemon = Scenario::new().tiny_disk(DISK_BYTES).start();
    let filler = fill(&daemon);
    let load = Load::start(daemon.tcp(), "plain", "");
    let said = daemon.wait_until_it_said("plain/root.log");
    assert!(said.contains("ERROR") && said.contains("make room"), "{said}");
    // Held back: the kernel's buffers are full, nothing moves any more.
    let mut before = 0;
    wait_until(DEADLINE, "the sender is held back", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = load.messages();
        let stands_still = now == before;
        before = now;
        stands_still.then_some(())
    });
    let peak = daemon.rss_bytes_peak();
    assert!(peak < 64 << 20, "the daemon took {} KiB", peak >> 10);

    load.ask_to_stop();
    std::fs::remove_file(filler).unwrap();
    let sent = load.stop();
    assert!(!sent.cut_off);
    daemon.wait_until_it_said("can be written again");
    let stats = daemon.wait_for_count("lines", sent.messages);
    assert_eq!(stats["records"], sent.messages);
    let numbers = numbers(&daemon.records("plain/root.log"));
    assert_gapless(&numbers);
    assert_eq!(u64::try_from(numbers.len()).unwrap(), sent.messages);
    let stopped = daemon.stop();
    assert!(stopped.status.success());
    assert_eq!(stopped.stats()["lines_lost"], 0);
}

#[test]
fn of_a_disk_filled_over_tcp_and_udp_no_tcp_line_is_lost_and_each_datagram_is_counted() {
    let facilities = "[plain]\nrotate = size\nmax_size = 1000000\nbackup_count = 100000\n\
                      [udp]\nrotate = size\nmax_size = 1000000\nbackup_count = 100000\n";
    let filling = "x".repeat(1000);
    let daemon = Scenario::new().facilities(facilities).tiny_disk(DISK_BYTES).start();
    let filler = fill(&daemon);
    let load = Load::start(daemon.tcp(), "plain", "");
    let stop = AtomicBool::new(false);
    let (address, stopping) = (daemon.udp(), &stop);
    let (datagrams, tcp) = std::thread::scope(|scope| {
        let _at_the_end = StopAtTheEnd(&stop);
        let udp = scope.spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut sent = 0_u64;
            while !stopping.load(Ordering::Relaxed) {
                let body = format!("number {sent} {filling}");
                socket.send_to(&frame("udp", "", "h", &body), address).unwrap();
                sent += 1;
            }
            sent
        });
        daemon.wait_until_it_said("make room");
        let stats = wait_until(DEADLINE, "datagrams are dropped", || {
            Some(daemon.stats()).filter(|stats| dropped(stats) >= 1000)
        });
        assert!(stats["write_retries"] > 0);
        std::fs::remove_file(&filler).unwrap();
        daemon.wait_for_count("lines", stats["records"] + 1000);
        stop.store(true, Ordering::Relaxed);
        (udp.join().unwrap(), load.stop())
    });
    assert!(!tcp.cut_off);
    let stats = wait_until(DEADLINE, "everything is accounted for", || {
        let stats = daemon.stats();
        let accounted = stats["lines"] + dropped(&stats);
        (accounted >= tcp.messages + datagrams).then_some(stats)
    });
    let folder = daemon.log_dir();
    let numbers = numbers(&segments::records_when_sealed(&folder.join("plain"), "root"));
    assert_gapless(&numbers);
    assert_eq!(u64::try_from(numbers.len()).unwrap(), tcp.messages);
    let udp = segments::records_when_sealed(&folder.join("udp"), "root");
    assert_eq!(udp.iter().collect::<HashSet<_>>().len(), udp.len(), "a line is there twice");
    let lines = u64::try_from(udp.len()).unwrap();
    assert_eq!(lines + dropped(&stats), datagrams, "sent = written + counted");
    assert_eq!(stats["lines"], lines + tcp.messages);
    assert!(daemon.stop().status.success());
}

/// Datagrams that got no room: in the kernel's buffer, or with us.
fn dropped(stats: &Stats) -> u64 {
    stats["udp_dropped_by_kernel"] + stats["udp_dropped_held"]
}

/// Also when the test fails: the scope waits for all of its threads.
struct StopAtTheEnd<'a>(&'a AtomicBool);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn stopping_on_a_full_disk_takes_no_longer_and_says_what_was_lost() {
    let daemon = Scenario::new().tiny_disk(DISK_BYTES).start();
    fill(&daemon);
    let load = Load::start(daemon.tcp(), "plain", "");
    daemon.wait_until_it_said("plain/root.log");
    let stopped = daemon.stop();
    load.wait();
    assert!(stopped.took < Duration::from_secs(3), "stopping took {:?}", stopped.took);
    let stats = stopped.stats();
    assert!(stats["lines_lost"] > 0);
    assert_eq!(stats["records"], stats["lines"] + stats["lines_lost"]);
}

fn fill(daemon: &Daemon) -> PathBuf {
    let filler = daemon.log_dir().join("filler");
    std::fs::write(&filler, vec![0; FILLER_BYTES]).unwrap();
    filler
}
