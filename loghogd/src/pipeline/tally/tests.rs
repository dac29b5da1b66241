use std::path::Path;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use nix::errno::Errno;
use proptest::prelude::*;

use super::kept::{Kept, Tallies, hex};
use super::*;
use crate::clock::Stamp;
use crate::config::checked::Format;
use crate::config::facility::Table;
use crate::config::ship::Target;
use crate::config::{Overrides, read_config, read_facilities};
use crate::disk::simulated::{Fault, Operation, Simulated};
use crate::disk::{Disk, LogDir};
use crate::pipeline::claims::Claims;
use crate::pipeline::persist::entry::Entry;
use crate::pipeline::persist::json::write_json;
use crate::pipeline::rotate::name::{Name, Segment};
use crate::pipeline::seal::{Compressor, Outcome, Sealer};
use crate::pipeline::ship::{Record, Splitter};
use crate::stats::Stats;

fn counted(pieces: &[&[u8]]) -> Tally {
    let mut counting = Counting::new(TimeZone::UTC);
    pieces.iter().for_each(|piece| counting.add(piece));
    assert!(counting.head.capacity() <= 2 * TALLY_HEAD_BYTES);
    counting.finish()
}

/// The same, found out by reading each message whole.
fn read(text: &[u8]) -> Tally {
    let table = facilities("");
    let facility = table.find("app", "").unwrap();
    let mut reader = RecordReader::new(TimeZone::UTC, 0);
    let mut tally = Tally { bytes: text.len() as u64, ..Tally::default() };
    for message in Splitter::new(text, true) {
        let bytes = &text[message.begin..message.end];
        let record = Record::read(bytes, facility, reader.times(bytes));
        tally.lines += 1;
        let at = record.times.received_ns;
        let (begin, end) = tally.span_ns.unwrap_or((at, at));
        tally.span_ns = Some((begin.min(at), end.max(at)));
        tally.hosts.extend(Some(record.host.to_string()).filter(|host| !host.is_empty()));
    }
    tally
}

fn json_line(host: &str, body: &str, sent_ns: i128) -> String {
    let record = wire::v1::Record {
        app_id: "app",
        module: "",
        hostname: host,
        body,
        stamp: 0,
        nsecs: 0,
        signature: None,
    };
    let stamp = Stamp::new("2026-11-20T12:00:00.123456Z".parse().unwrap(), &TimeZone::UTC);
    let mut line = Vec::new();
    write_json(&stamp, &Entry { sent_ns, ..Entry::from(&record) }, &mut line);
    String::from_utf8(line).unwrap()
}

/// What stands in files: lines of both forms, continued ones, lines from elsewhere.
fn lines() -> impl Strategy<Value = String> {
    let sent = prop_oneof![Just(i128::MAX), 0_i128..2_000_000_000_000_000_000];
    let line = prop_oneof![
        4 => "2026-11-2[0-9] 1[0-9]:0[0-9]:59\\.[0-9]{6} - (web0[1-4]|-|é) - [a-z -]{0,60}\n(\t[a-z]{0,30}\n){0,2}",
        1 => "2026-11-2[0-9] 1[0-9]:0[0-9]:59 - web0[1-4] - [a-z]{0,9}\n",
        1 => "[a-z -]{0,30}\n(\t[a-z -]{0,30}\n){0,2}",
        2 => ("(?s).{0,9}", "(?s).{0,30}", sent).prop_map(|(host, body, at)| json_line(&host, &body, at)),
    ];
    let all = ("(\t[a-z]{0,9}\n)?", prop::collection::vec(line, 0..30), "[a-z]{0,9}");
    all.prop_map(|(first, lines, torn)| first + &lines.concat() + &torn)
}

proptest! {
    #[test]
    fn counting_finds_what_reading_every_message_finds(text in lines()) {
        prop_assert_eq!(counted(&[text.as_bytes()]), read(text.as_bytes()));
    }

    #[test]
    fn bytes_cut_anywhere_count_the_same(
        text in lines(), long in 0..3 * TALLY_HEAD_BYTES, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let text = format!("{text}{}\n{text}", "x".repeat(long)).into_bytes();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        prop_assert_eq!(counted(&pieces), counted(&[&text]));
    }
}

#[test]
fn of_many_hosts_some_are_named() {
    let line = |host: usize| format!("2026-11-20 12:00:00.000000 - web{host} - x\n");
    let named: String = (0..TALLY_HOSTS_MAX).map(line).collect();
    let tally = counted(&[named.as_bytes(), named.as_bytes()]);
    assert_eq!((tally.hosts.len(), tally.hosts_more), (TALLY_HOSTS_MAX, false));
    let tally = counted(&[named.as_bytes(), line(TALLY_HOSTS_MAX).as_bytes()]);
    assert_eq!((tally.hosts.len(), tally.hosts_more), (TALLY_HOSTS_MAX, true));
}

const X: &str = "root.log.2026-11-20-00-00-00-000000";

fn segment(name: &str) -> Segment {
    let Name::Segment(segment) = Name::read(name) else { panic!("{name}") };
    segment
}

fn kept() -> Kept {
    let hosts = ["web01".to_owned(), "\"\n".to_owned()].into();
    let tally = Tally { lines: 3, bytes: 300, span_ns: Some((-7, 9)), hosts, hosts_more: true };
    Kept { sealed_bytes: 120, sealed_sha256: "ab".repeat(32), tally }
}

fn facilities(options: &str) -> Table {
    let text = format!("[app]\nrotate = hourly\nbackup_count = 9\n{options}");
    read_facilities(text.as_bytes(), Path::new("facilities.conf")).unwrap()
}

fn targets() -> Vec<Target> {
    let text = "[server]\nlisten_ipv4 = 127.0.0.1:0\n\
                [ship:files]\ntype = s3\nbucket = b\n\
                [ship:rows]\ntype = s3\nbucket = b\nbody = csv.xz\n\
                [ship:stream]\ntype = kafka\nbrokers = 127.0.0.1:1\n";
    let path = Path::new("/etc/loghogd/loghogd.conf");
    read_config(text.as_bytes(), path, &Overrides::default()).unwrap().0.ship
}

fn opened(disk: &Simulated, log: &Simulated) -> Tallies {
    let tallies = Tallies::open(Arc::new(disk.clone()), log).unwrap();
    tallies.keep_for(&targets());
    tallies
}

#[test]
fn what_was_kept_is_there_after_a_restart_for_the_same_file_only() {
    let (disk, log) = (Simulated::new(), Simulated::new());
    let sealed = segment(X).sealed(Format::Xz);
    log.put("app", &sealed.to_string(), b"x", Timestamp::UNIX_EPOCH);
    let tallies = opened(&disk, &log);
    assert_eq!(tallies.get("app", &sealed), None);
    tallies.put("app", &sealed, &Kept { sealed_bytes: 1, ..kept() }).unwrap();
    tallies.put("app", &sealed, &kept()).unwrap();
    let tallies = opened(&disk, &log);
    assert_eq!(tallies.get("app", &sealed), Some(kept()));
    assert_eq!(tallies.get("app", &segment(X).sealed(Format::Zstd)), None);
    // Somebody has copied it.
    let text = disk.content("app", X).unwrap();
    let other = "root.log.2026-11-21-00-00-00-000000";
    disk.put("app", other, &text, Timestamp::UNIX_EPOCH);
    assert_eq!(tallies.get("app", &segment(other).sealed(Format::Xz)), None);
    tallies.remove("app", &sealed);
    assert_eq!(tallies.get("app", &sealed), None);
}

#[test]
fn what_is_torn_or_changed_is_as_good_as_none() {
    let (disk, log) = (Simulated::new(), Simulated::new());
    let tallies = opened(&disk, &log);
    let sealed = segment(X).sealed(Format::Xz);
    tallies.put("app", &sealed, &kept()).unwrap();
    let text = disk.content("app", X).unwrap();
    for place in 0..text.len() {
        disk.put("app", X, &text[..place], Timestamp::UNIX_EPOCH);
        assert_eq!(tallies.get("app", &sealed), None, "cut at {place}");
        let mut changed = text.clone();
        changed[place] ^= 1;
        disk.put("app", X, &changed, Timestamp::UNIX_EPOCH);
        assert_eq!(tallies.get("app", &sealed), None, "changed at {place}");
    }
    disk.put("app", X, &text, Timestamp::UNIX_EPOCH);
    assert_eq!(tallies.get("app", &sealed), Some(kept()));
    disk.put("app", X, &[&text[..], b"\n"].concat(), Timestamp::UNIX_EPOCH);
    assert_eq!(tallies.get("app", &sealed), None, "prolonged");
}

#[test]
fn what_claims_to_be_a_checksum_and_is_none_is_refused() {
    let tallies = opened(&Simulated::new(), &Simulated::new());
    let sealed = segment(X).sealed(Format::Xz);
    for forged in ["", "ab", &"AB".repeat(32), &"../".repeat(22)[..64], &"é".repeat(32)] {
        tallies.put("app", &sealed, &Kept { sealed_sha256: forged.to_owned(), ..kept() }).unwrap();
        assert_eq!(tallies.get("app", &sealed), None, "{forged}");
    }
}

#[test]
fn what_has_no_sealed_segment_goes_at_the_next_start_and_nothing_else() {
    let (disk, log) = (Simulated::new(), Simulated::new());
    let tallies = opened(&disk, &log);
    let (gone, plain) =
        ("root.log.2026-11-21-00-00-00-000000", "root.log.2026-11-22-00-00-00-000000");
    for name in [X, gone, plain] {
        tallies.put("app", &segment(name).sealed(Format::Gzip), &kept()).unwrap();
    }
    disk.put("app", &format!("{X}.part"), b"half", Timestamp::UNIX_EPOCH);
    disk.put("app", "notes", b"somebody's", Timestamp::UNIX_EPOCH);
    log.put("app", &format!("{X}.gz"), b"x", Timestamp::UNIX_EPOCH);
    log.put("app", plain, b"x", Timestamp::UNIX_EPOCH);
    opened(&disk, &log);
    let mut names = disk.names("app").unwrap();
    names.sort();
    assert_eq!(names, ["notes", X]);
}

/// A sealer of real files, and what it keeps of them.
struct Site {
    folder: tempfile::TempDir,
    sealer: Sealer,
    disk: Simulated,
}

impl Site {
    fn new(options: &str) -> Site {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("app")).unwrap();
        let disk = Simulated::new();
        let sealer = Sealer {
            disk: Arc::new(LogDir::open(folder.path()).unwrap()),
            table: Arc::new(ArcSwap::from_pointee(facilities(options))),
            compressor: Mutex::new(Compressor::with_threads(Format::Zstd, 1, 2, || ())),
            claims: Claims::new(),
            tallies: opened(&disk, &Simulated::new()),
            zone: TimeZone::UTC,
            stats: Arc::new(Stats::new()),
        };
        Site { folder, sealer, disk }
    }

    /// What is kept of a text that is sealed; and the sealed file.
    fn seal(&self, text: &[u8]) -> (Option<Kept>, Vec<u8>) {
        std::fs::write(self.folder.path().join("app").join(X), text).unwrap();
        assert_eq!(self.sealer.seal("app", &segment(X), &|| true).unwrap(), Outcome::Sealed);
        let sealed = segment(X).sealed(Format::Zstd);
        let path = self.folder.path().join("app").join(sealed.to_string());
        (self.sealer.tallies.get("app", &sealed), std::fs::read(path).unwrap())
    }
}

fn text(bytes: u64) -> Vec<u8> {
    let lines = (0_u64..).flat_map(|number| {
        format!("2026-11-20 12:00:00.{number:06} - web{} - line\n\tand on\n", number % 3)
            .into_bytes()
    });
    lines.take(usize::try_from(bytes).unwrap()).collect()
}

const LONG: u64 = 3 * crate::limits::TALLY_PLAIN_BYTES_MIN;

#[test]
fn whoever_seals_a_segment_leaves_what_is_in_it_to_those_who_ship_it_as_it_is() {
    for (options, of_use) in [
        ("ship = files\n", true),
        ("ship = stream, files\n", true),
        ("ship = rows\n", false),
        ("ship = stream\n", false),
        ("", false),
    ] {
        let text = text(LONG);
        let (found, sealed) = Site::new(options).seal(&text);
        let expected = Kept {
            sealed_bytes: sealed.len() as u64,
            sealed_sha256: hex(ring::digest::digest(&ring::digest::SHA256, &sealed).as_ref()),
            tally: read(&text),
        };
        assert_eq!(found, of_use.then_some(expected), "{options}");
    }
}

#[test]
fn what_is_in_a_short_segment_is_not_kept() {
    let site = Site::new("ship = files\n");
    let (found, _) = site.seal(&text(crate::limits::TALLY_PLAIN_BYTES_MIN - 1));
    assert_eq!((found, site.disk.tree().len()), (None, 0));
}

#[test]
fn a_segment_is_sealed_although_nothing_can_be_kept_of_it() {
    for operation in [Operation::OpenLive, Operation::Write, Operation::Sync, Operation::Rename] {
        let site = Site::new("ship = files\n");
        site.disk.fail(Fault::new(Errno::ENOSPC).on(&[operation]));
        assert_eq!(site.seal(&text(LONG)).0, None, "{operation:?}");
    }
}
