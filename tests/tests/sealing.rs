//! Closed files are sealed: Debian's own programs read them, in name order
//! they are what was sent, and nothing is left beside them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use loghog_tests::files::{begins_with_stamp, records};
use loghog_tests::frames::frame;
use loghog_tests::load::{Load, assert_gapless, numbers, send_numbers};
use loghog_tests::segments::{self, assert_nothing_else, wait_until_sealed};
use loghog_tests::{DEADLINE, Scenario, wait_until};

const MIB: usize = 1 << 20;

/// Sends so many messages, waits until what has turned is sealed, and gives
/// the folder and the names of the sealed files.
fn sealed(format: &str, max_size: usize, messages: u64) -> (loghog_tests::Stopped, Vec<String>) {
    let facilities =
        format!("[plain]\nrotate = size\nmax_size = {max_size}\nbackup_count = 9999\n");
    let daemon = Scenario::new()
        .facilities(&facilities)
        .option("compressor", "format", format)
        .option("compressor", "level", "1")
        .start();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    send_numbers(&mut socket, "plain", "", 0..messages);
    let stats = daemon.wait_for_count("lines", messages);
    let turned = usize::try_from(stats["files_turned"]).unwrap();
    let names = wait_until_sealed(&daemon.log_dir().join("plain"), "root", turned);
    (daemon.stop(), names)
}

#[test]
fn what_is_sealed_is_read_by_the_programs_of_its_format_and_is_what_was_sent() {
    const MESSAGES: u64 = 20_000;
    for (format, ending, test) in [
        ("xz", ".xz", "xz"),
        ("gzip", ".gz", "gzip"),
        ("bzip2", ".bz2", "bzip2"),
        ("zstd", ".zst", "zstd"),
    ] {
        let (stopped, names) = sealed(format, 500_000, MESSAGES);
        let folder = stopped.site.log_dir().join("plain");
        assert!(names.len() >= 3 && names.iter().all(|name| name.ends_with(ending)), "{names:?}");
        for name in &names {
            let tested = Command::new(test).args(["-q", "-t"]).arg(folder.join(name)).output();
            let tested = tested.expect("tools/setup has installed it");
            assert!(tested.status.success(), "{name}: {}", String::from_utf8_lossy(&tested.stderr));
            let bytes = segments::read(&folder.join(name)).len();
            assert!((400_000..=500_000).contains(&bytes), "{name} holds {bytes} bytes");
        }
        let numbers = numbers(&segments::records(&folder, "root"));
        assert_gapless(&numbers);
        assert_eq!(u64::try_from(numbers.len()).unwrap(), MESSAGES);
        assert_nothing_else(&folder, &["root"]);
        let stats = stopped.stats();
        assert_eq!(stats["segments_sealed"], u64::try_from(names.len()).unwrap());
        assert!(stats["sealed_bytes"] < stats["sealed_plain_bytes"] / 2);
    }
}

#[test]
fn xz_files_are_made_of_blocks_of_one_to_two_mebibytes_that_begin_at_line_starts() {
    let (stopped, names) = sealed("xz", 5 * MIB, 60_000);
    let folder = stopped.site.log_dir().join("plain");
    assert!(!names.is_empty());
    for name in names {
        let text = segments::read(&folder.join(&name));
        let blocks = blocks(&folder.join(&name));
        assert!(blocks.len() >= text.len() / (2 * MIB), "{} blocks", blocks.len());
        for (offset, bytes) in blocks {
            assert!(offset + bytes == text.len() || (MIB / 2..=2 * MIB).contains(&bytes));
            let block = &text[offset..offset + bytes];
            assert!(begins_with_stamp(block.lines().next().unwrap()) && block.ends_with('\n'));
        }
    }
}

/// Where each block of an .xz file begins in what it holds, and its length.
fn blocks(path: &Path) -> Vec<(usize, usize)> {
    let listed = Command::new("xz").args(["--robot", "-lvv"]).arg(path).output().unwrap();
    assert!(listed.status.success());
    let listed = String::from_utf8(listed.stdout).unwrap();
    let blocks = listed.lines().filter_map(|line| line.strip_prefix("block\t"));
    // Stream, block in it, block in all, where it begins sealed and plain,
    // how long it is sealed and plain: see ROBOT MODE of xz(1).
    let number = |fields: &[&str], place: usize| fields[place].parse::<usize>().unwrap();
    let block = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        (number(&fields, 4), number(&fields, 6))
    };
    blocks.map(block).collect()
}

#[test]
fn what_is_sealed_keeps_the_time_of_its_last_line() {
    let site = Scenario::new().site();
    let folder = site.log_dir().join("plain");
    fs::create_dir(&folder).unwrap();
    let name = "root.log.2020-01-02-03-04-05-678901";
    fs::write(folder.join(name), "2020-01-02 03:04:05.678901 - h - of long ago\n").unwrap();
    let then = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_577_934_999);
    fs::File::options().write(true).open(folder.join(name)).unwrap().set_modified(then).unwrap();
    let daemon = site.start();
    let sealed = wait_until_sealed(&folder, "root", 1);
    assert_eq!(sealed, [format!("{name}.xz")]);
    assert_eq!(fs::metadata(folder.join(&sealed[0])).unwrap().modified().unwrap(), then);
    assert!(daemon.stop().status.success());
}

#[test]
fn compressed_while_written_the_live_file_is_read_by_zcat_at_any_time() {
    let facilities = "[plain]\nrotate = size\nmax_size = 300000\nbackup_count = 9999\n";
    let scenario =
        || Scenario::new().facilities(facilities).option("compressor", "compress_on_write", "yes");
    let daemon = scenario().start();
    let folder = daemon.log_dir().join("plain");
    let live = folder.join("root.log.gz");
    let load = Load::start(daemon.tcp(), "plain", "");
    daemon.wait_for_count("files_turned", 2);
    for _ in 0..20 {
        // While it is being written its last member may be there in part.
        let Ok(copy) = fs::read(&live) else { continue };
        let path = daemon.site().folder().join("copy.gz");
        fs::write(&path, copy).unwrap();
        let text = String::from_utf8(segments::try_read(&path).stdout).unwrap();
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let numbers = numbers(&records(whole));
        assert!(numbers.is_sorted_by(|one, next| one + 1 == *next));
    }
    let sent = load.stop();
    daemon.wait_for_count("lines", sent.messages);
    let all = numbers(&segments::records(&folder, "root"));
    assert_gapless(&all);
    assert_eq!(u64::try_from(all.len()).unwrap(), sent.messages);
    for name in segments::segments(&folder, "root") {
        let bytes = fs::metadata(folder.join(&name)).unwrap().len();
        assert!(name.ends_with(".gz") && bytes <= 300_000, "{name}: {bytes} bytes");
    }
    assert_nothing_else(&folder, &["root"]);
    assert_eq!(daemon.stop().stats()["segments_damaged"], 0);
}

#[test]
fn compressed_while_written_a_file_is_no_larger_than_its_facility_says() {
    const MAX_SIZE: u64 = 20_000;
    const MESSAGES: u64 = 10_000;
    let facilities =
        format!("[plain]\nrotate = size\nmax_size = {MAX_SIZE}\nbackup_count = 9999\n");
    // Lines that become no smaller, many at once.
    let daemon = Scenario::new()
        .facilities(&facilities)
        .option("compressor", "compress_on_write", "yes")
        .option("compressor", "level", "0")
        .start();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    send_numbers(&mut socket, "plain", "", 0..MESSAGES);
    daemon.wait_for_count("lines", MESSAGES);
    let folder = daemon.log_dir().join("plain");
    let bytes = |name: &String| fs::metadata(folder.join(name)).unwrap().len();
    let largest = segments::names(&folder, "root").iter().map(bytes).max().unwrap();
    assert!(largest <= MAX_SIZE + 300, "{largest} bytes, and max_size is {MAX_SIZE}");
    let numbers = numbers(&segments::records(&folder, "root"));
    assert_gapless(&numbers);
    assert_eq!(u64::try_from(numbers.len()).unwrap(), MESSAGES);
    assert!(daemon.stop().status.success());
}

#[test]
fn one_small_message_is_read_by_zcat_as_soon_as_it_is_written() {
    let daemon = Scenario::new().option("compressor", "compress_on_write", "yes").start();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    let live = daemon.log_dir().join("plain/root.log.gz");
    for count in 1..=3_usize {
        socket.write_all(&frame("plain", "", "h", &format!("number {count}"))).unwrap();
        wait_until(DEADLINE, "it is there", || {
            let read = Some(segments::try_read(&live)).filter(|read| read.status.success())?;
            (records(&String::from_utf8(read.stdout).unwrap()).len() == count).then_some(())
        });
    }
    let site = daemon.kill();
    let read = segments::records(&site.log_dir().join("plain"), "root");
    assert_eq!(read, [" - h - number 1", " - h - number 2", " - h - number 3"]);
}

#[test]
fn a_changed_format_is_taken_up_and_old_files_stay_as_they_are() {
    let config = |format: &str, on_write: &str| {
        Scenario::new()
            .facilities("[plain]\nrotate = size\nmax_size = 100000\nbackup_count = 9999\n")
            .option("compressor", "format", format)
            .option("compressor", "compress_on_write", on_write)
    };
    let mut site = config("xz", "no").site();
    let folder = site.log_dir().join("plain");
    let mut messages = 0;
    let mut seen: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (format, on_write) in [("xz", "no"), ("zstd", "no"), ("gzip", "yes"), ("bzip2", "no")] {
        let text = fs::read_to_string(site.config_file()).unwrap();
        let keep = |line: &&str| !line.starts_with("format") && !line.starts_with("compress_on");
        let kept: Vec<&str> = text.lines().filter(keep).collect();
        let section = format!("[compressor]\nformat = {format}\ncompress_on_write = {on_write}");
        let text = kept.join("\n").replace("[compressor]", &section);
        fs::write(site.config_file(), text + "\n").unwrap();
        let daemon = site.start();
        let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
        send_numbers(&mut socket, "plain", "", messages..messages + 3000);
        messages += 3000;
        daemon.wait_for_count("lines", 3000);
        drop(socket);
        wait_until_sealed(&folder, "root", 3);
        for (name, content) in &seen {
            assert_eq!(fs::read(folder.join(name)).as_ref().ok(), Some(content), "{name} changed");
        }
        for name in segments::segments(&folder, "root") {
            seen.insert(name.clone(), fs::read(folder.join(name)).unwrap());
        }
        let stopped = daemon.stop();
        assert_eq!(stopped.stats()["segments_damaged"], 0);
        site = stopped.site;
    }
    let numbers = numbers(&segments::records(&folder, "root"));
    assert_gapless(&numbers);
    assert_eq!(u64::try_from(numbers.len()).unwrap(), messages);
    assert_nothing_else(&folder, &["root"]);
}
