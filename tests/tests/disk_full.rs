//! A full disk pauses the daemon, which recovers by itself: senders are held
//! back, and when there is room again every line is there, whole and in order.

use std::path::PathBuf;
use std::time::Duration;

use loghog_tests::load::{Load, assert_gapless, numbers};
use loghog_tests::{DEADLINE, Daemon, Scenario, wait_until};

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
