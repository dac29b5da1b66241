//! Stopping loses nothing that the daemon had read, and takes less than two
//! seconds, whatever the clients do meanwhile.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use loghog_tests::certs::Authority;
use loghog_tests::frames::frame;
use loghog_tests::load::{Load, assert_gapless, numbers};
use loghog_tests::tls::connect;
use loghog_tests::{Scenario, Stopped};
use nix::sys::signal::Signal;

const STOPPED_WITHIN: Duration = Duration::from_secs(2);

/// The promise, in bytes.
const RSS_BYTES_MAX: u64 = 64 << 20;

/// One facility for each connection, so that the order of each shows.
const FOUR: &str = "[a]\nrotate = daily\nbackup_count = 1\n\
                    [b]\nrotate = daily\nbackup_count = 1\nflush_every = 1000\n\
                    [c]\nrotate = daily\nbackup_count = 1\n\
                    [d]\nrotate = daily\nbackup_count = 1\nflush_every = 7\n";

#[test]
fn all_that_was_read_at_full_speed_is_written_before_the_end() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let authority = Authority::new();
        let client = authority.client("web-1");
        let daemon = Scenario::new().fast_disk().facilities(FOUR).tls(&authority).start();
        let apps = ["a", "b", "c", "d"];
        let loads = apps.map(|app| match app {
            "d" => {
                let ca = authority.certificate();
                Load::over(connect(daemon.tls(), &ca, Some(&client)).unwrap(), app, "")
            }
            _ => Load::start(daemon.tcp(), app, ""),
        });
        for app in apps {
            daemon.wait_for_records(&format!("{app}/root.log"), 5_000);
        }
        let peak = daemon.rss_bytes_peak();
        assert!(peak < RSS_BYTES_MAX, "the daemon took {} KiB at full load", peak >> 10);
        let stopped = daemon.stop_with(signal);
        assert_in_time(&stopped);
        let sent = loads.map(|load| load.wait());
        let mut lines = 0;
        for (app, sent) in apps.into_iter().zip(sent) {
            let numbers = numbers(&stopped.site.records(&format!("{app}/root.log")));
            assert_gapless(&numbers);
            assert!(sent.cut_off, "the daemon has closed the connection");
            lines += u64::try_from(numbers.len()).unwrap();
        }
        let stats = stopped.stats();
        assert_eq!((stats["records"], stats["lines"], stats["lines_lost"]), (lines, lines, 0));
    }
}

#[test]
fn what_was_sent_before_the_signal_is_written() {
    let daemon = Scenario::new().fast_disk().start();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    socket.write_all(&frame("plain", "", "h", "first")).unwrap();
    daemon.wait_for_records("plain/root.log", 1);
    let many: Vec<u8> =
        (0..2_000).flat_map(|n| frame("plain", "", "h", &format!("number {n}"))).collect();
    socket.write_all(&many).unwrap();
    let stopped = daemon.stop();
    assert_in_time(&stopped);
    assert_eq!(stopped.site.records("plain/root.log").len(), 2_001);
}

#[test]
fn idle_and_half_spoken_connections_do_not_delay_the_end() {
    let daemon = Scenario::new().fast_disk().start();
    let idle: Vec<_> = (0..100).map(|_| TcpStream::connect(daemon.tcp()).unwrap()).collect();
    let mut half = TcpStream::connect(daemon.tcp()).unwrap();
    half.write_all(&frame("plain", "", "h", "never ended")[..50]).unwrap();
    daemon.wait_for_count("connections", 101);
    let stopped = daemon.stop();
    assert_in_time(&stopped);
    assert_eq!(stopped.site.records("plain/root.log").len(), 0);
    drop((idle, half));
}

fn assert_in_time(stopped: &Stopped) {
    assert_eq!(stopped.status.code(), Some(0), "{}", stopped.said);
    assert!(stopped.took < STOPPED_WITHIN, "stopping took {:?}", stopped.took);
}
