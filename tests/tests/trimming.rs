//! What is surplus is deleted: by number, age, size, and for want of room; the
//! oldest goes first, what is left is without a gap, and no live file goes.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use loghog_tests::files::records;
use loghog_tests::frames::frame;
use loghog_tests::load::{Load, assert_gapless, numbers, send_numbers};
use loghog_tests::segments::{self, assert_nothing_else, wait_until_sealed};
use loghog_tests::{DEADLINE, Daemon, Scenario, wait_until};

const MIB: u64 = 1 << 20;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Is what is left of a load a piece of it without a gap, up to its end?
#[track_caller]
fn assert_newest(folder: &Path, stem: &str, messages: u64) {
    let numbers = numbers(&segments::records(folder, stem));
    assert_eq!(numbers.last().map(|last| last + 1), Some(messages));
    assert_gapless(&numbers.iter().map(|number| number - numbers[0]).collect::<Vec<_>>());
}

/// A segment that ended so long ago, and began a minute before.
fn put(folder: &Path, stem: &str, age: Duration, bytes: usize) -> String {
    let began = SystemTime::now() - age - Duration::from_secs(60);
    let began = began.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let stamp = Command::new("date")
        .args(["-d", &format!("@{began}"), "+%Y-%m-%d-%H-%M-%S-000000"])
        .output()
        .unwrap();
    let stamp = String::from_utf8(stamp.stdout).unwrap();
    let name = format!("{stem}.log.{}.gz", stamp.trim());
    fs::create_dir_all(folder).unwrap();
    // A sealed one keeps its size.
    let mut content = sealed("2020-01-01 00:00:00.000000 - h - x\n");
    while content.len() < bytes {
        content.extend(sealed(&"x".repeat(bytes / 10)));
    }
    fs::write(folder.join(&name), content).unwrap();
    let file = fs::File::options().write(true).open(folder.join(&name)).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
    name
}

/// A gzip member that is not compressed.
fn sealed(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn only_the_newest_are_kept_and_the_live_file_is_not_counted() {
    const MESSAGES: u64 = 20_000;
    let daemon = Scenario::new()
        .facilities("[plain]\nrotate = size\nmax_size = 100000\nbackup_count = 3\n")
        .option("compressor", "level", "0")
        .start();
    let folder = daemon.log_dir().join("plain");
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    send_numbers(&mut socket, "plain", "", 0..MESSAGES);
    let stats = daemon.wait_for_count("lines", MESSAGES);
    daemon.wait_for_count("segments_trimmed", stats["files_turned"] - 3);
    let kept = wait_until_sealed(&folder, "root", 3);
    assert_eq!(kept.len(), 3);
    assert!(folder.join("root.log").is_file());
    assert_nothing_else(&folder, &["root"]);
    let stopped = daemon.stop();
    assert_newest(&folder, "root", MESSAGES);
    assert_eq!(stopped.stats()["segments_trimmed"], stats["files_turned"] - 3);
}

#[test]
fn what_is_older_than_its_facility_allows_goes_and_the_rest_stays() {
    let facilities = "[plain]\nrotate = daily\nbackup_count = 99\nmax_age = 3h\n\
                      [plain:web]\nrotate = daily\nbackup_count = 99\nmax_age = 1d\n\
                      [other]\nrotate = daily\nbackup_count = 99\n";
    let site = Scenario::new().facilities(facilities).site();
    let (plain, other) = (site.log_dir().join("plain"), site.log_dir().join("other"));
    let hours = [30, 20, 4, 2, 1];
    let put = |folder: &Path, stem: &str| -> Vec<String> {
        hours.iter().map(|&hours| put(folder, stem, HOUR * hours, 100)).collect()
    };
    let (root, web, kept) = (put(&plain, "root"), put(&plain, "web"), put(&other, "root"));
    // Nobody's, whatever its age.
    let foreign = put(&plain, "root-old");
    let daemon = site.start();
    wait_until(DEADLINE, "the old ones are gone", || {
        let left = (segments::segments(&plain, "root"), segments::segments(&plain, "web"));
        (left == (root[3..].to_vec(), web[1..].to_vec())).then_some(())
    });
    assert_eq!(segments::segments(&other, "root"), kept);
    assert_eq!(segments::segments(&plain, "root-old"), foreign);
    assert_eq!(daemon.stop().stats()["segments_trimmed"], 4);
}

#[test]
fn a_segment_goes_when_it_becomes_too_old_without_anything_happening() {
    let facilities = "[plain]\nrotate = daily\nbackup_count = 99\nmax_age = 1h\n";
    let site = Scenario::new().facilities(facilities).site();
    let folder = site.log_dir().join("plain");
    let almost = put(&folder, "root", HOUR - Duration::from_secs(3), 100);
    let young = put(&folder, "root", HOUR / 2, 100);
    let daemon = site.start();
    assert_eq!(segments::segments(&folder, "root"), [almost, young.clone()], "too slow");
    wait_until(DEADLINE, "it is gone", || {
        (segments::segments(&folder, "root") == [young.clone()]).then_some(())
    });
    assert!(daemon.stop().status.success());
}

#[test]
fn a_live_file_that_grows_drives_the_oldest_out() {
    let facilities = "[plain]\nrotate = daily\nbackup_count = 99\nmax_total_size = 1MB\n";
    let site = Scenario::new().facilities(facilities).site();
    let folder = site.log_dir().join("plain");
    let names = [3, 2, 1].map(|hours| put(&folder, "root", HOUR * hours, 300_000));
    let daemon = site.start();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    send_numbers(&mut socket, "plain", "", 0..3000);
    daemon.wait_for_count("lines", 3000);
    wait_until(DEADLINE / 3, "the oldest is gone", || {
        (segments::segments(&folder, "root") == names[1..]).then_some(())
    });
    assert!(daemon.stop().status.success());
}

#[test]
fn a_facility_takes_no_more_than_its_total_size() {
    const MESSAGES: u64 = 6000;
    let facilities = "[plain]\nrotate = size\nmax_size = 10000\nbackup_count = 9999\n\
                      max_total_size = 40000\n\
                      [other]\nrotate = size\nmax_size = 10000\nbackup_count = 9999\n";
    // What is sealed keeps its size.
    let daemon = Scenario::new()
        .facilities(facilities)
        .option("compressor", "format", "gzip")
        .option("compressor", "level", "0")
        .start();
    let log_dir = daemon.log_dir();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    for app in ["plain", "other"] {
        send_numbers(&mut socket, app, "", 0..MESSAGES);
    }
    daemon.wait_for_count("lines", 2 * MESSAGES);
    let bytes = |app: &str| -> u64 {
        let entries = fs::read_dir(log_dir.join(app)).unwrap();
        entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum()
    };
    wait_until(DEADLINE, &format!("it takes no more than it may: {}", bytes("plain")), || {
        (bytes("plain") <= 40_000).then_some(())
    });
    assert!(bytes("plain") > 20_000, "it takes what it may: {}", bytes("plain"));
    segments::wait_until_sealed(&log_dir.join("plain"), "root", 2);
    assert_newest(&log_dir.join("plain"), "root", MESSAGES);
    let all = numbers(&segments::records_when_sealed(&log_dir.join("other"), "root"));
    assert_eq!(u64::try_from(all.len()).unwrap(), MESSAGES, "another facility has no limit");
    assert!(daemon.stop().status.success());
}

/// The room on the daemon's disk, in bytes.
fn free_bytes(daemon: &Daemon) -> u64 {
    let disk = nix::sys::statvfs::statvfs(&daemon.log_dir()).unwrap();
    disk.blocks_available() * disk.fragment_size()
}

#[test]
fn for_want_of_room_the_oldest_of_all_facilities_go_first() {
    const COUNT: usize = 18;
    let facilities = "[one]\nrotate = daily\nbackup_count = 99\n\
                      [two]\nrotate = daily\nbackup_count = 99\n\
                      [two:web]\nrotate = daily\nbackup_count = 99\n";
    let daemon = Scenario::new()
        .facilities(facilities)
        .option("main", "min_free", "16 MiB")
        .tiny_disk(48 * MIB)
        .start();
    let log_dir = daemon.log_dir();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    for app in ["one", "two"] {
        socket.write_all(&frame(app, "", "h", "live")).unwrap();
    }
    daemon.wait_for_count("lines", 2);
    // In turn one's, two's and web's, from the oldest on; 2 MiB each.
    let files = [("one", "root"), ("two", "root"), ("two", "web")];
    let mut all = Vec::new();
    for number in 0..COUNT {
        let (app, stem) = files[number % files.len()];
        let age = HOUR * u32::try_from(100 - number).unwrap();
        let name = put(&log_dir.join(app), stem, age, 2 << 20);
        all.push(log_dir.join(app).join(name));
    }
    assert!(free_bytes(&daemon) < 16 * MIB);
    daemon.reload();
    wait_until(DEADLINE, "there is room", || (free_bytes(&daemon) >= 16 * MIB).then_some(()));
    let mut left = 0;
    wait_until(DEADLINE, "it has come to rest", || {
        let now = all.iter().filter(|path| path.exists()).count();
        std::thread::sleep(Duration::from_millis(200));
        (std::mem::replace(&mut left, now) == now).then_some(())
    });
    let gone = all.iter().take_while(|path| !path.exists()).count();
    assert!(all[gone..].iter().all(|path| path.exists()), "not the oldest: {all:?}");
    assert!((2..=6).contains(&gone), "{gone} are gone");
    for app in ["one", "two"] {
        assert_eq!(daemon.records(&format!("{app}/root.log")), [" - h - live"]);
    }
    assert!(daemon.stop().status.success());
}

#[test]
fn under_load_a_disk_keeps_its_free_room_and_senders_go_on() {
    let facilities = "[one]\nrotate = size\nmax_size = 1MiB\nbackup_count = 9999\n\
                      [two]\nrotate = size\nmax_size = 1MiB\nbackup_count = 9999\n";
    let daemon = Scenario::new()
        .facilities(facilities)
        .option("main", "min_free", "25%")
        // What is sealed takes nearly no room; this does.
        .option("compressor", "compress_on_write", "yes")
        .option("compressor", "level", "0")
        .tiny_disk(32 * MIB)
        .start();
    let loads = ["one", "two"].map(|app| Load::start(daemon.tcp(), app, ""));
    let mut least = u64::MAX;
    // Twice what fits.
    wait_until(4 * DEADLINE, "much was written", || {
        least = least.min(free_bytes(&daemon));
        (daemon.stats()["bytes"] > 64 * MIB).then_some(())
    });
    let sent = loads.map(Load::stop);
    assert!(sent.iter().all(|sent| !sent.cut_off));
    let messages = sent.iter().map(|sent| sent.messages).sum();
    let stats = daemon.wait_for_count("lines", messages);
    assert!(stats["segments_trimmed"] > 30, "{}", stats["segments_trimmed"]);
    // 8 MiB, but for what is written between two looks.
    assert!(least >= 6 * MIB, "only {} KiB were free", least >> 10);
    for (app, sent) in ["one", "two"].into_iter().zip(sent) {
        assert_newest(&daemon.log_dir().join(app), "root", sent.messages);
    }
    let live = daemon.log_dir().join("one/root.log.gz");
    assert!(live.is_file() && !records(&segments::read(&live)).is_empty());
    assert!(daemon.stop().status.success());
}
