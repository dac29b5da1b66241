//! Thousands of connections that do nothing cost others neither their
//! connection nor their time, and the daemon no more than 64 MiB.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use loghog_tests::certs::Authority;
use loghog_tests::frames::frame;
use loghog_tests::honest::Honest;
use loghog_tests::process::{cpu_ticks, raise_descriptors};
use loghog_tests::{Scenario, tls};

const RSS_BYTES_MAX: u64 = 64 << 20;
const WAIT_MAX: Duration = Duration::from_secs(2);

/// What the issue promises; fewer where the system grants fewer descriptors.
fn many() -> usize {
    const FOR_THE_REST: usize = 500;
    10_000.min(raise_descriptors() - FOR_THE_REST)
}

#[test]
fn ten_thousand_idle_connections_are_borne() {
    let count = many();
    let daemon = Scenario::new().start();
    let honest = Honest::start(&daemon);
    let mut idle: Vec<TcpStream> = connect(daemon.tcp(), count);
    daemon.wait_for_count("connections", u64::try_from(count).unwrap());
    let longest = honest.stop();
    assert!(longest < WAIT_MAX, "an honest message took {longest:?}");

    // None was closed: each can still log, after a long time of silence.
    for (number, socket) in idle.iter_mut().enumerate() {
        socket.write_all(&frame("plain", "", "idle", &format!("number {number}"))).unwrap();
    }
    let records = daemon.wait_for_records("plain/root.log", count);
    assert_eq!(records.len(), count);
    let peak = daemon.rss_bytes_peak();
    assert!(peak < RSS_BYTES_MAX, "{count} connections took {} KiB", peak >> 10);
    println!("{count} connections: longest wait {longest:?}, peak {} KiB", peak >> 10);
    let stopped = daemon.stop();
    assert!(stopped.status.success() && stopped.took < Duration::from_secs(2), "{stopped:?}");
}

#[test]
fn peers_that_say_nothing_or_half_a_hello_do_not_keep_tls_busy() {
    raise_descriptors();
    let authority = Authority::new();
    let client = authority.client("web-1");
    let daemon = Scenario::new().tls(&authority).start();
    let honest = Honest::start(&daemon);
    let silent = connect(daemon.tls(), 2_000);
    let mut half = connect(daemon.tls(), 500);
    for socket in &mut half {
        // A record header that announces 512 bytes, and a few of them.
        socket.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).unwrap();
    }
    daemon.wait_for_count("connections", 2_500);
    // All but the last 128 of these have had to make room for the next.
    daemon.wait_for_count("handshakes_evicted", 500 - 128);
    let start = Instant::now();
    let mut good = tls::connect(daemon.tls(), &authority.certificate(), Some(&client)).unwrap();
    good.write_all(&frame("plain", "", "h", "over TLS")).unwrap();
    good.flush().unwrap();
    assert_eq!(daemon.wait_for_records("plain/root.log", 1), [" - h - over TLS"]);
    let took = start.elapsed();
    assert!(took < WAIT_MAX, "an honest handshake took {took:?}");
    let longest = honest.stop();
    assert!(longest < WAIT_MAX, "an honest message took {longest:?}");
    let peak = daemon.rss_bytes_peak();
    assert!(peak < RSS_BYTES_MAX, "the daemon took {} KiB", peak >> 10);
    println!("handshake {took:?}, longest wait {longest:?}, peak {} KiB", peak >> 10);
    drop((silent, half));
    assert!(daemon.stop().status.success());
}

#[test]
fn a_full_house_makes_room_by_those_who_proved_nothing() {
    let daemon = Scenario::new().option("server", "max_connections", "50").start();
    let mut proven: Vec<TcpStream> = connect(daemon.tcp(), 10);
    for socket in &mut proven {
        socket.write_all(&frame("plain", "", "h", "before")).unwrap();
    }
    daemon.wait_for_records("plain/root.log", 10);
    let idle = connect(daemon.tcp(), 500);
    daemon.wait_for_count("connections_evicted", 460);
    for socket in &mut proven {
        socket.write_all(&frame("plain", "", "h", "after")).unwrap();
    }
    daemon.wait_for_records("plain/root.log", 20);
    drop(idle);
    let stats = daemon.stop().stats();
    assert_eq!(stats["connections_evicted"], 460);
    assert_eq!(stats["records"], 20);
}

#[test]
fn a_daemon_that_nobody_talks_to_does_nothing() {
    let daemon = Scenario::new().start();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    socket.write_all(&frame("plain", "", "h", "once")).unwrap();
    daemon.wait_for_records("plain/root.log", 1);
    // Everything that is to be done within a second of a message is done.
    std::thread::sleep(Duration::from_millis(1500));
    let before = cpu_ticks(daemon.pid());
    std::thread::sleep(Duration::from_secs(3));
    let spent = cpu_ticks(daemon.pid()) - before;
    // A tick is ten milliseconds.
    assert!(spent <= 1, "an idle daemon spent {spent} ticks in 3 s");
}

fn connect(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| TcpStream::connect(address).expect("the daemon accepts")).collect()
}
