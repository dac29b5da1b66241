//! Each message reaches the file of its facility, and of its host where hosts
//! have their own, however many files that are.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpStream;

use loghog_tests::files::tree;
use loghog_tests::frames::frame;
use loghog_tests::process::descriptors;
use loghog_tests::{DEADLINE, Scenario, wait_until};

#[test]
fn every_host_has_a_file_and_no_two_share_one() {
    let hosts = [
        "web01",
        "WEB01",
        "web01.example",
        "web 01",
        "web%2001",
        "web/01",
        "../web01",
        ".web01",
        "web01-root",
        "wéb01",
        "web\u{7f}",
        "web01\n",
        "-",
        "%",
        "::1",
    ];
    let daemon = Scenario::new().start();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    for (number, host) in hosts.iter().enumerate() {
        for module in ["", "web.requests"] {
            let body = format!("number {number}");
            socket.write_all(&frame("hosts", module, host, &body)).unwrap();
        }
    }
    let lines = u64::try_from(2 * hosts.len()).unwrap();
    daemon.wait_for_count("lines", lines);
    let stopped = daemon.stop();
    let files: Vec<String> = tree(&stopped.site.log_dir());
    let (root, module): (Vec<&String>, Vec<_>) = files
        .iter()
        .filter(|path| path.ends_with(".log"))
        .partition(|path| path.ends_with("-root.log"));
    assert_eq!((root.len(), module.len()), (hosts.len(), hosts.len()), "{files:?}");
    let mut seen = BTreeSet::new();
    for file in root {
        let records = stopped.site.records(file);
        assert_eq!(records.len(), 1, "{file} belongs to one host");
        seen.insert(records[0].rsplit(' ').next().unwrap().to_owned());
    }
    assert_eq!(seen.len(), hosts.len());
    assert!(files.contains(&"hosts/web01-web.requests.log".to_owned()), "{files:?}");
    assert!(files.contains(&"hosts/web%2F01-root.log".to_owned()), "{files:?}");
}

#[test]
fn more_files_than_may_be_open_are_written_all_the_same() {
    const HOSTS: usize = 100;
    let daemon = Scenario::new().option("main", "max_open_files", "8").start();
    let before = descriptors(daemon.pid());
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    for round in 0..5 {
        for host in 0..HOSTS {
            let host = format!("web{host:02}");
            socket.write_all(&frame("hosts", "", &host, &format!("round {round}"))).unwrap();
        }
    }
    daemon.wait_for_count("lines", 500);
    for host in 0..HOSTS {
        let records = daemon.records(&format!("hosts/web{host:02}-root.log"));
        assert_eq!(records.len(), 5);
        assert!(records.is_sorted(), "{records:?}");
    }
    wait_until(DEADLINE, "files that are too many are closed", || {
        (descriptors(daemon.pid()) <= before + 1 + 8).then_some(())
    });
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew_on_a_reload() {
    let daemon = Scenario::new().start();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    socket.write_all(&frame("plain", "", "h", "first")).unwrap();
    daemon.wait_for_records("plain/root.log", 1);
    let path = daemon.log_dir().join("plain/root.log");
    std::fs::rename(&path, path.with_extension("old")).unwrap();
    daemon.reload();
    socket.write_all(&frame("plain", "", "h", "second")).unwrap();
    assert_eq!(daemon.wait_for_records("plain/root.log", 1), [" - h - second"]);
    assert_eq!(daemon.records("plain/root.old"), [" - h - first"]);
}

#[test]
fn a_link_in_the_log_folder_is_not_followed() {
    let site = Scenario::new().site();
    let outside = site.folder().join("outside.txt");
    std::fs::write(&outside, "untouched\n").unwrap();
    std::fs::create_dir(site.log_dir().join("plain")).unwrap();
    std::os::unix::fs::symlink(&outside, site.log_dir().join("plain/root.log")).unwrap();
    let daemon = site.start();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    socket.write_all(&frame("plain", "", "h", "through the link")).unwrap();
    socket.write_all(&frame("plain", "web", "h", "elsewhere")).unwrap();
    daemon.wait_for_records("plain/web.log", 1);
    daemon.wait_until_it_said("plain/root.log");
    // What stands in the way is moved away, and the message finds its place.
    std::fs::remove_file(daemon.log_dir().join("plain/root.log")).unwrap();
    assert_eq!(daemon.wait_for_records("plain/root.log", 1), [" - h - through the link"]);
    assert_eq!(std::fs::read_to_string(outside).unwrap(), "untouched\n");
}
