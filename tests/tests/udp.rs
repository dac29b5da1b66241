//! Many senders share the UDP port, and what the kernel had to drop is counted.

use std::net::UdpSocket;

use loghog_tests::frames::{compressed, frame, signed};
use loghog_tests::{DEADLINE, Scenario, wait_until};

#[test]
fn datagrams_of_many_senders_arrive_or_are_counted_as_dropped() {
    const SENDERS: u64 = 50;
    const EACH: u64 = 400;
    let daemon = Scenario::new().start();
    let address = daemon.udp();
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            scope.spawn(move || {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                for number in 0..EACH {
                    let body = format!("sender {sender} number {number}");
                    socket.send_to(&frame("plain", "", "h", &body), address).unwrap();
                }
            });
        }
    });
    let stats = wait_until(DEADLINE, "every datagram is accounted for", || {
        let stats = daemon.stats();
        let accounted = stats["frames"] + stats["udp_dropped_by_kernel"];
        (accounted >= SENDERS * EACH).then_some(stats)
    });
    assert_eq!(stats["frames"] + stats["udp_dropped_by_kernel"], SENDERS * EACH);
    assert_eq!(stats["frames"], stats["records"]);

    let stopped = daemon.stop();
    let records = stopped.site.records("plain/root.log");
    for sender in 0..SENDERS {
        let from = format!(" - h - sender {sender} number ");
        let numbers: Vec<u64> = records
            .iter()
            .filter_map(|record| record.strip_prefix(&from))
            .map(|number| number.parse().unwrap())
            .collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "doubled or out of order");
    }
    assert_eq!(u64::try_from(records.len()).unwrap(), stopped.stats()["lines"]);
}

#[test]
fn at_a_stop_each_datagram_is_written_or_counted() {
    // More than the kernel's buffer takes.
    const DATAGRAMS: u64 = 3000;
    let daemon = Scenario::new().fast_disk().start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let large = frame("plain", "", "h", &"x".repeat(60_000));
    for _ in 0..DATAGRAMS {
        socket.send_to(&large, daemon.udp()).unwrap();
    }
    let stopped = daemon.stop();
    let stats = stopped.stats();
    let lines = u64::try_from(stopped.site.records("plain/root.log").len()).unwrap();
    assert_eq!(lines, stats["lines"]);
    let not_written =
        ["udp_dropped_by_kernel", "udp_dropped_held", "udp_unread_at_stop", "lines_lost"];
    let counted: u64 = not_written.iter().map(|name| stats[*name]).sum();
    assert_eq!(lines + counted, DATAGRAMS, "{stats:?}");
}

#[test]
fn the_largest_datagrams_fit_signed_and_compressed_ones_too() {
    let daemon = Scenario::new().start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let large = "x".repeat(65_000);
    let huge = "y".repeat(500_000);
    for message in [
        frame("plain", "", "h", &large),
        compressed("plain", "", "h", &huge),
        signed("my-big-secret", "signed", "", "h", &large),
    ] {
        assert!(message.len() <= 65_507);
        socket.send_to(&message, daemon.udp()).unwrap();
    }
    let records = daemon.wait_for_records("plain/root.log", 2);
    assert_eq!(records, [format!(" - h - {large}"), format!(" - h - {huge}")]);
    daemon.wait_for_records("signed/root.log", 1);
}
