//! Live files turn by size, on time, and when somebody has moved them away:
//! every line stays, and reading all files in name order gives them in order.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use loghog_tests::files::records;
use loghog_tests::frames::frame;
use loghog_tests::load::{Load, assert_gapless, numbers, send_numbers};
use loghog_tests::segments;
use loghog_tests::zone::midnight_in;
use loghog_tests::{DEADLINE, Scenario, wait_until};

#[test]
fn forty_turns_within_one_second_keep_every_line() {
    const MAX_SIZE: usize = 10_000;
    const MESSAGES: u64 = 10_000;
    let facilities =
        format!("[plain]\nrotate = size\nmax_size = {MAX_SIZE}\nbackup_count = 5000\n");
    let daemon = Scenario::new().facilities(&facilities).start();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    send_numbers(&mut socket, "plain", "", 0..MESSAGES);
    daemon.wait_for_count("lines", MESSAGES);
    let stopped = daemon.stop();
    let folder = stopped.site.log_dir().join("plain");

    let names = segments::segments(&folder, "root");
    let second =
        |name: &String| name["root.log.".len()..][.."2026-11-20-12-00-00".len()].to_owned();
    let mut seconds: Vec<String> = names.iter().map(second).collect();
    seconds.dedup();
    let most = seconds.iter().map(|at| names.iter().filter(|name| second(name) == *at).count());
    assert!(most.max().unwrap() >= 40, "too slow to show anything: {names:?}");

    let mut all = Vec::new();
    for name in segments::names(&folder, "root") {
        let text = segments::read(&folder.join(name));
        let last_line = text.lines().last().map_or(0, |line| line.len() + 1);
        assert!(text.len() < MAX_SIZE + last_line, "{} bytes", text.len());
        all.extend(records(&text));
    }
    let numbers = numbers(&all);
    assert_gapless(&numbers);
    assert_eq!(u64::try_from(numbers.len()).unwrap(), MESSAGES);
    assert_eq!(stopped.stats()["files_turned"], u64::try_from(names.len()).unwrap());
}

#[test]
fn a_turn_missed_while_nobody_was_there_happens_at_the_start() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let line = "2020-01-02 03:04:05.678901 - h - of long ago\n";
    let site = Scenario::new().site();
    let folder = site.log_dir().join("plain");
    fs::create_dir(&folder).unwrap();
    let prepare = |name: &str, text: &str, age: Duration| {
        let mut file = File::create(folder.join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    };
    prepare("root.log", line, 2 * DAY);
    prepare("web.log", "", 2 * DAY);
    let daemon = site.start();
    let turned = "root.log.2020-01-02-03-04-05-678901";
    wait_until(DEADLINE, "the old file has turned", || {
        let names = segments::segments(&folder, "root");
        names.first().is_some_and(|name| name.starts_with(turned)).then_some(())
    });
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    for module in ["", "web"] {
        socket.write_all(&frame("plain", module, "h", "of today")).unwrap();
    }
    daemon.wait_for_records("plain/root.log", 1);
    daemon.wait_for_records("plain/web.log", 1);
    let stopped = daemon.stop();
    assert_eq!(segments::records(&folder, "root"), [" - h - of long ago", " - h - of today"]);
    assert_eq!(segments::segments(&folder, "web"), [""; 0], "an empty file does not turn");
    assert_eq!(stopped.stats()["files_turned"], 1);
}

#[test]
fn at_midnight_files_turn_without_a_message_and_empty_ones_do_not() {
    let facilities = "[daily]\nrotate = daily\nbackup_count = 9\n\
                      [hourly]\nrotate = hourly\nbackup_count = 9\n\
                      [fields]\nrotate = 0 0 * * *\nbackup_count = 9\n\
                      [empty]\nrotate = daily\nbackup_count = 9\n\
                      [noon]\nrotate = 0 12 * * *\nbackup_count = 9\n\
                      [size]\nrotate = size\nmax_size = 1000000\nbackup_count = 9\n";
    let due = ["daily", "hourly", "fields"];
    let (zone, _) = midnight_in(Duration::from_secs(3));
    let site = Scenario::new().facilities(facilities).zone(&zone).fast_disk().site();
    fs::create_dir(site.log_dir().join("empty")).unwrap();
    File::create(site.log_dir().join("empty/root.log")).unwrap();
    let daemon = site.start();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    for app in ["daily", "hourly", "fields", "noon", "size"] {
        socket.write_all(&frame(app, "", "h", "before midnight")).unwrap();
    }
    let stats = daemon.wait_for_count("lines", 5);
    assert_eq!(stats["files_turned"], 0, "too slow to show anything");
    daemon.wait_for_count("files_turned", 3);
    for app in due {
        socket.write_all(&frame(app, "", "h", "after midnight")).unwrap();
    }
    daemon.wait_for_count("lines", 8);
    let log_dir = daemon.stop().site;
    let folder = |app: &str| log_dir.log_dir().join(app);
    for app in due {
        let names = segments::segments(&folder(app), "root");
        assert_eq!(names.len(), 1, "{app}: {names:?}");
        assert!(names[0].contains("-23-59-"), "named by its beginning: {names:?}");
        let all = segments::records(&folder(app), "root");
        assert_eq!(all, [" - h - before midnight", " - h - after midnight"]);
        let live = fs::read_to_string(folder(app).join("root.log")).unwrap();
        assert_eq!(live.get(11..14), Some("00:"), "{live}");
    }
    for app in ["empty", "noon", "size"] {
        assert_eq!(segments::segments(&folder(app), "root"), [""; 0], "{app} is not due");
    }
}

/// A daemon under load whose live file is taken from it; returns how many
/// messages the load has sent, and the folder.
fn disturb(take: impl Fn(&Path)) -> (u64, loghog_tests::Stopped) {
    let daemon = Scenario::new().fast_disk().start();
    let live = daemon.log_dir().join("plain/root.log");
    let load = Load::start(daemon.tcp(), "plain", "");
    daemon.wait_for_count("lines", 1000);
    take(&live);
    let start = Instant::now();
    wait_until(DEADLINE, "the file is there again", || live.exists().then_some(()));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "it took {took:?} to notice");
    let before = load.messages();
    wait_until(DEADLINE, "messages flow on", || (load.messages() > before + 500).then_some(()));
    let sent = load.stop();
    assert!(!sent.cut_off);
    let stats = daemon.wait_for_count("lines", sent.messages);
    assert_eq!(stats["files_reopened"], 1);
    (sent.messages, daemon.stop())
}

#[test]
fn a_live_file_that_was_moved_away_is_opened_anew_within_a_second() {
    let (messages, stopped) =
        disturb(|live| fs::rename(live, live.with_file_name("root.log.1")).unwrap());
    let mut all = stopped.site.records("plain/root.log.1");
    all.extend(stopped.site.records("plain/root.log"));
    let numbers = numbers(&all);
    assert_gapless(&numbers);
    assert_eq!(u64::try_from(numbers.len()).unwrap(), messages);
}

#[test]
fn a_live_file_that_was_deleted_is_opened_anew_within_a_second() {
    let (messages, stopped) = disturb(|live| fs::remove_file(live).unwrap());
    let numbers = numbers(&stopped.site.records("plain/root.log"));
    assert_eq!(numbers.last().map(|last| last + 1), Some(messages));
    assert_gapless(&numbers.iter().map(|number| number - numbers[0]).collect::<Vec<_>>());
}

#[test]
fn a_reload_under_load_with_turns_keeps_every_line() {
    let facilities = "[plain]\nrotate = size\nmax_size = 20000\nbackup_count = 100000\n";
    let daemon = Scenario::new().facilities(facilities).start();
    let load = Load::start(daemon.tcp(), "plain", "");
    for _ in 0..10 {
        let before = load.messages();
        wait_until(DEADLINE, "messages flow", || (load.messages() > before).then_some(()));
        daemon.reload();
    }
    let sent = load.stop();
    daemon.wait_for_count("lines", sent.messages);
    let stopped = daemon.stop();
    let folder = stopped.site.log_dir().join("plain");
    assert_gapless(&numbers(&segments::records(&folder, "root")));
}
