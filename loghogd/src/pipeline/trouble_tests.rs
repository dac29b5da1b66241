//! Troubles that come together, each told as it happens: a disk that refuses
//! for a moment, somebody who deletes, empties or truncates a file meanwhile, a
//! clock that goes back, a schedule that changes.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::errno::Errno;

use super::claims::Claims;
use super::cold::Call;
use super::persist::live::{Form, mend};
use super::persist::rounds::Settings;
use super::seal::{Compressor, Queue, Sealer};
use super::tally::kept::Tallies;
use super::test_writer::{SETTINGS, TestWriter};
use crate::clock::Clock;
use crate::config::checked::{Format, MinFree};
use crate::config::{self, Table};
use crate::disk::simulated::{Fault, Operation, Simulated};
use crate::disk::{Disk, DiskFile, Facts};
use crate::stats::Stats;

const CONF: &str = "[app]\nrotate = hourly\nbackup_count = 9\n";

fn table(text: &str) -> Arc<Table> {
    Arc::new(config::read_facilities(text.as_bytes(), Path::new("facilities.conf")).unwrap())
}

/// A sealer that has looked at everything, and what it found.
fn sealing(disk: Arc<dyn Disk>) -> (Sealer, Queue) {
    let sealer = Sealer {
        disk,
        table: Arc::new(ArcSwap::new(table(CONF))),
        compressor: Mutex::new(Compressor::with_threads(Format::Gzip, 1, 1, || ())),
        claims: Claims::new(),
        tallies: Tallies::none(),
        zone: TimeZone::UTC,
        stats: Arc::new(Stats::new()),
    };
    let mut queue = Queue::default();
    sealer.look(&Call { all: true, ..Call::default() }, &mut queue);
    (sealer, queue)
}

const X: &str = "root.log.2026-11-20-00-00-00-000000";
const Y: &str = "root.log.2026-11-21-00-00-00-000000";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn tries(operation: Operation) -> Vec<String> {
    let disk = Simulated::new();
    disk.put("app", X, b"one\ntwo\n", at("2026-11-20T01:00:00Z"));
    let (sealer, mut queue) = sealing(Arc::new(disk.clone()));
    // For a moment the disk refuses the step behind the rename.
    disk.fail(
        Fault::new(Errno::EIO).on(&[operation]).at(|_, name| name.is_empty() || name == X).times(1),
    );
    let mut now = Instant::now();
    let mut outcomes = Vec::new();
    for _ in 0..6 {
        if let Some(outcome) = sealer.seal_next(&mut queue, now, &|| true) {
            outcomes.push(outcome.map_or_else(|e| e.to_string(), |o| format!("{o:?}")));
        }
        // Somebody rings: the folder is looked at again.
        sealer.look(&Call { folders: ["app".into()].into(), ..Call::default() }, &mut queue);
        now += Duration::from_secs(120);
    }
    outcomes.push(disk.tree().join(" "));
    outcomes
}

#[test]
fn a_segment_whose_seal_was_published_before_a_fault_is_finished_when_it_is_over() {
    for operation in [Operation::Remove, Operation::SyncFolder] {
        let outcomes = tries(operation);
        assert_eq!(
            outcomes.last().unwrap(),
            &format!("app/{X}.gz"),
            "{operation:?}: {outcomes:#?}"
        );
    }
}

#[test]
fn a_plain_segment_that_cannot_be_read_for_a_moment_is_not_deleted_for_another_content() {
    let disk = Simulated::new();
    let now = at("2026-11-20T01:00:00Z");
    disk.put("app", X, b"only here\n", now);
    let mut other = Vec::new();
    let mut gz = flate2::write::GzEncoder::new(&mut other, flate2::Compression::fast());
    gz.write_all(b"something else\n").unwrap();
    gz.finish().unwrap();
    disk.put("app", &format!("{X}.gz"), &other, now);
    let (sealer, mut queue) = sealing(Arc::new(disk.clone()));
    disk.fail(Fault::new(Errno::ENOMEM).on(&[Operation::Read]).at(|_, name| name == X).times(1));
    let _ = sealer.seal_next(&mut queue, Instant::now(), &|| true);
    let kept = disk.tree().iter().any(|path| {
        disk.content("app", path.strip_prefix("app/").unwrap()).unwrap() == b"only here\n"
    });
    assert!(kept, "{:?}", disk.tree());
}

#[test]
fn one_segment_that_cannot_be_looked_at_does_not_keep_others_from_being_sealed() {
    let disk = Simulated::new();
    disk.put("app", X, b"damaged\n", at("2026-11-20T01:00:00Z"));
    disk.put("app", Y, b"whole\n", at("2026-11-21T01:00:00Z"));
    disk.fail(Fault::new(Errno::EIO).on(&[Operation::Read]).at(|_, name| name == X));
    let (sealer, mut queue) = sealing(Arc::new(disk.clone()));
    while sealer.seal_next(&mut queue, Instant::now(), &|| true).is_some() {}
    assert!(disk.tree().contains(&format!("app/{Y}.gz")), "{:?}", disk.tree());
}

/// A disk with somebody else at work.
#[derive(Debug)]
struct Meddled(Simulated, Meddling);

#[derive(Debug, PartialEq, Eq)]
enum Meddling {
    /// A segment is deleted just after the names were listed.
    Deletes,
    /// Whoever reads back what he has written gets another file.
    Swaps,
}

impl Disk for Meddled {
    fn path(&self) -> &Path {
        self.0.path()
    }
    fn folders(&self) -> io::Result<Vec<String>> {
        self.0.folders()
    }
    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        let names = self.0.names(folder);
        if self.1 == Meddling::Deletes {
            self.0.remove(folder, X)?;
        }
        names
    }
    fn facts(&self, folder: &str, name: &str) -> io::Result<Option<Facts>> {
        self.0.facts(folder, name)
    }
    fn open_live(&self, folder: &str, name: &str) -> io::Result<crate::disk::Live> {
        self.0.open_live(folder, name)
    }
    fn open(&self, folder: &str, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let swapped = self.1 == Meddling::Swaps && name.ends_with(".part");
        self.0.open(folder, if swapped { "other" } else { name })
    }
    fn create(&self, folder: &str, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.0.create(folder, name)
    }
    fn rename(&self, folder: &str, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(folder, from, to)
    }
    fn remove(&self, folder: &str, name: &str) -> io::Result<()> {
        self.0.remove(folder, name)
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.0.sync_folder(folder)
    }
    fn space(&self) -> io::Result<crate::disk::Space> {
        self.0.space()
    }
}

#[test]
fn a_segment_that_the_trimmer_deletes_meanwhile_does_not_come_back_empty() {
    let disk = Simulated::new();
    disk.put("app", X, b"old\n", at("2026-11-20T01:00:00Z"));
    let (sealer, mut queue) = sealing(Arc::new(Meddled(disk.clone(), Meddling::Deletes)));
    while sealer.seal_next(&mut queue, Instant::now(), &|| true).is_some() {}
    assert_eq!(disk.tree(), Vec::<String>::new());
}

/// A file that somebody truncates between two looks at it.
#[derive(Debug)]
struct Shrinking(std::cell::Cell<u64>);

impl Read for Shrinking {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
}
impl Write for Shrinking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
impl DiskFile for Shrinking {
    fn facts(&self) -> io::Result<Facts> {
        let bytes = self.0.replace(0);
        Ok(Facts { id: (1, 1), bytes, disk_bytes: bytes, modified: Timestamp::UNIX_EPOCH })
    }
    fn read_at(&self, buffer: &mut [u8], _: u64) -> io::Result<usize> {
        buffer.fill(b'\n');
        Ok(buffer.len())
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn set_modified(&self, _: Timestamp) -> io::Result<()> {
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn forget(&self) {}
}

#[test]
fn a_file_that_is_truncated_while_its_end_is_looked_at_is_no_fault_of_ours() {
    let mut file = Shrinking(std::cell::Cell::new(100));
    assert!(mend(&mut file, Form::Plain).is_ok());
}

fn writer_on(disk: &Simulated, clock: &Clock) -> TestWriter {
    TestWriter::new(Arc::new(disk.clone()), clock.clone(), SETTINGS)
}

fn standing(text: &str) -> Clock {
    Clock::standing(at(text), TimeZone::UTC)
}

#[test]
fn a_new_schedule_is_followed_also_when_a_line_under_it_comes_before_the_reload() {
    let disk = Simulated::new();
    let clock = standing("2026-11-20T12:30:00Z");
    let mut writer = writer_on(&disk, &clock);
    let (before, after) = (table("[app]\nrotate = yearly\nbackup_count = 9\n"), table(CONF));
    let now = Instant::now();
    writer.send(&before, "app", "h", &["x"]);
    writer.rounds.round(now, false);
    assert_eq!(writer.rounds.next_turn(), Some(at("2027-01-01T00:00:00Z")));
    // A lane follows the new table at once; the order to reload comes a moment later.
    writer.send(&after, "app", "h", &["y"]);
    writer.rounds.reload(&after, now);
    writer.rounds.round(now, false);
    assert_eq!(writer.rounds.next_turn(), Some(at("2026-11-20T13:00:00Z")));
}

#[test]
fn a_time_that_was_kept_does_not_come_again_when_the_clock_goes_back_a_little() {
    let disk = Simulated::new();
    let clock = standing("2026-11-20T11:59:00Z");
    let mut writer = writer_on(&disk, &clock);
    let table = table(CONF);
    let now = Instant::now();
    writer.send(&table, "app", "h", &["x"]);
    writer.rounds.round(now, false);
    clock.set(at("2026-11-20T12:00:01Z"));
    writer.rounds.round(now, false);
    // NTP sets the clock back by two minutes.
    clock.set(at("2026-11-20T11:58:01Z"));
    writer.send(&table, "app", "h", &["y"]);
    writer.rounds.round(now, false);
    assert_eq!(writer.rounds.next_turn(), Some(at("2026-11-20T13:00:00Z")));
}

#[test]
fn a_full_disk_and_a_file_that_is_emptied_leave_no_torn_line() {
    let disk = Simulated::new();
    let clock = standing("2026-11-20T11:59:00Z");
    let mut writer = writer_on(&disk, &clock);
    let table = table(CONF);
    let mut now = Instant::now();
    writer.send(&table, "app", "h", &["first"]);
    writer.rounds.round(now, false);
    let bytes = disk.content("app", "root.log").unwrap().len() as u64;
    disk.set_total_bytes(bytes + 10);
    writer.send(&table, "app", "h", &["second"]);
    writer.rounds.round(now, false);
    writer.rounds.round(now, false);
    // The operator makes room as operators do: `> root.log`.
    disk.open_live("app", "root.log").unwrap().file.set_len(0).unwrap();
    for _ in 0..4 {
        now += Duration::from_secs(1);
        writer.rounds.round(now, false);
    }
    let text = String::from_utf8(disk.content("app", "root.log").unwrap()).unwrap();
    assert!(text.is_empty() || text == "2026-11-20 11:59:00.000000 - h - second\n", "{text:?}");
}

#[test]
fn a_live_file_that_an_operator_deletes_to_make_room_gives_its_room_back() {
    let disk = Simulated::new();
    let clock = standing("2026-11-20T11:59:00Z");
    disk.set_total_bytes(1000);
    let min_free = Some(MinFree::Percent { tenths: 500 });
    let mut writer =
        TestWriter::new(Arc::new(disk.clone()), clock, Settings { min_free, ..SETTINGS });
    let table = table(CONF);
    let mut now = Instant::now();
    writer.send(&table, "app", "h", &[&"x".repeat(600)]);
    writer.rounds.round(now, false);
    writer.send(&table, "app", "h", &["y"]);
    writer.rounds.round(now, false);
    disk.take_away("app", Some("root.log"));
    for _ in 0..10 {
        now += Duration::from_secs(1);
        writer.rounds.round(now, false);
    }
    assert!(disk.content("app", "root.log").is_some(), "{disk:?}");
}

#[test]
fn stop_with_a_due_file_does_not_spin() {
    let disk = Simulated::new();
    let clock = standing("2026-11-20T11:59:00Z");
    let mut writer = writer_on(&disk, &clock);
    writer.send(&table(CONF), "app", "h", &["x"]);
    let now = Instant::now();
    writer.rounds.round(now, false);
    clock.set(at("2026-11-20T12:00:01Z"));
    // A stop has begun: nothing is to be done before the last batch comes.
    writer.rounds.round(now, true);
    assert!(
        !writer.rounds.has_more(now, true),
        "the writer goes round and round until the stop ends"
    );
}

#[test]
fn what_waits_for_min_free_is_written_at_a_stop() {
    let disk = Simulated::new();
    let clock = standing("2026-11-20T11:59:00Z");
    disk.set_total_bytes(10_000);
    let min_free = Some(MinFree::Percent { tenths: 990 });
    let mut writer =
        TestWriter::new(Arc::new(disk.clone()), clock, Settings { min_free, ..SETTINGS });
    let table = table(CONF);
    writer.send(&table, "app", "h", &[&"x".repeat(200)]);
    writer.rounds.round(Instant::now(), false);
    writer.send(&table, "app", "h", &["y"]);
    writer.rounds.round(Instant::now(), false);
    let lost = writer.rounds.end(Instant::now() + Duration::from_millis(100), |_| ());
    assert_eq!(lost, 0, "there are 9,700 bytes free");
}

#[test]
fn a_turn_that_is_refused_does_not_stop_the_lines() {
    let disk = Simulated::new();
    let clock = standing("2026-11-20T11:59:00Z");
    let mut writer = writer_on(&disk, &clock);
    let table = table(CONF);
    let mut now = Instant::now();
    writer.send(&table, "app", "h", &["x"]);
    writer.rounds.round(now, false);
    disk.fail(Fault::new(Errno::EACCES).on(&[Operation::Rename]));
    clock.set(at("2026-11-20T12:00:01Z"));
    writer.rounds.round(now, false);
    writer.send(&table, "app", "h", &["y"]);
    for _ in 0..5 {
        now += Duration::from_secs(2);
        writer.rounds.round(now, false);
    }
    let text = String::from_utf8(disk.content("app", "root.log").unwrap()).unwrap();
    assert_eq!(
        text.lines().count(),
        2,
        "rounds.rs says that lines go on into the same file: {text}"
    );
}

#[test]
fn a_twin_that_differs_is_set_aside_and_the_plain_one_is_sealed() {
    let disk = Simulated::new();
    let now = at("2026-11-20T01:00:00Z");
    disk.put("app", X, b"right\n", now);
    disk.put("app", &format!("{X}.gz"), &gzip(b"wrong\n"), now);
    let (sealer, mut queue) = sealing(Arc::new(disk.clone()));
    while sealer.seal_next(&mut queue, Instant::now(), &|| true).is_some() {}
    assert_eq!(disk.tree(), [format!("app/{X}.gz"), format!("app/{X}.gz.damaged")]);
    assert_eq!(disk.content("app", &format!("{X}.gz.damaged")).unwrap(), gzip(b"wrong\n"));
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_is_read_back_is_compared_before_the_plain_one_goes() {
    let disk = Simulated::new();
    disk.put("app", X, b"right\n", at("2026-11-20T01:00:00Z"));
    // It is whole, too.
    disk.put("app", "other", &gzip(b"wrong\n"), at("2026-11-20T01:00:00Z"));
    let (sealer, mut queue) = sealing(Arc::new(Meddled(disk.clone(), Meddling::Swaps)));
    let refused = sealer.seal_next(&mut queue, Instant::now(), &|| true).unwrap().unwrap_err();
    assert!(refused.to_string().contains("read back"), "{refused}");
    assert_eq!(disk.tree(), ["app/other".to_owned(), format!("app/{X}")]);
}

#[test]
fn a_segment_that_somebody_writes_to_is_not_sealed_yet() {
    let disk = Simulated::new();
    disk.put("app", X, b"one\n", at("2026-11-20T01:00:00Z"));
    let (sealer, mut queue) = sealing(Arc::new(disk.clone()));
    let appended = std::cell::Cell::new(false);
    let go_on = || {
        if !appended.replace(true) {
            disk.open_live("app", X).unwrap().file.write_all(b"two\n").unwrap();
        }
        true
    };
    let refused = sealer.seal_next(&mut queue, Instant::now(), &go_on).unwrap().unwrap_err();
    assert!(refused.to_string().contains("changes"), "{refused}");
    let later = Instant::now() + Duration::from_secs(3600);
    sealer.seal_next(&mut queue, later, &|| true).unwrap().unwrap();
    assert_eq!(disk.tree(), [format!("app/{X}.gz")]);
}

#[test]
fn a_line_that_comes_after_a_file_was_due_is_in_the_next_segment() {
    let disk = Simulated::new();
    let clock = standing("2026-11-20T11:59:58Z");
    let mut writer = writer_on(&disk, &clock);
    let table = table(CONF);
    writer.send(&table, "app", "h", &["first"]);
    writer.rounds.round(Instant::now(), false);
    clock.set(at("2026-11-20T11:59:59Z"));
    writer.send(&table, "app", "h", &["second"]);
    clock.set(at("2026-11-20T12:00:00Z"));
    writer.send(&table, "app", "h", &["third"]);
    writer.rounds.round(Instant::now(), false);
    writer.rounds.round(Instant::now(), false);
    let bodies = |name: &str| {
        let text = String::from_utf8(disk.content("app", name).unwrap()).unwrap();
        text.lines().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(bodies("root.log.2026-11-20-11-59-58-000000"), ["first", "second"]);
    assert_eq!(bodies("root.log"), ["third"]);
}

#[test]
fn a_live_file_that_an_operator_has_replaced_is_not_turned_for_ours() {
    let disk = Simulated::new();
    let clock = standing("2026-11-20T11:59:58Z");
    let mut writer = writer_on(&disk, &clock);
    let table = table(CONF);
    writer.send(&table, "app", "h", &["x"]);
    writer.rounds.round(Instant::now(), false);
    disk.take_away("app", Some("root.log"));
    disk.put("app", "root.log", b"theirs\n", clock.now());
    clock.set(at("2026-11-20T12:00:00Z"));
    writer.rounds.round(Instant::now(), false);
    assert_eq!(disk.content("app", "root.log").unwrap(), b"theirs\n");
    assert_eq!(disk.tree().len(), 1);
}

#[test]
fn a_message_that_was_cut_short_is_taken_back_before_its_file_is_left() {
    let disk = Simulated::new();
    let clock = standing("2026-11-20T11:59:58Z");
    let mut writer = writer_on(&disk, &clock);
    let table = table(CONF);
    let mut now = Instant::now();
    writer.send(&table, "app", "h", &["first"]);
    writer.rounds.round(now, false);
    let whole = disk.content("app", "root.log").unwrap();
    disk.set_total_bytes(whole.len() as u64 + 10);
    writer.send(&table, "app", "h", &["second"]);
    writer.rounds.round(now, false);
    assert_eq!(disk.content("app", "root.log").unwrap().len(), whole.len() + 10);
    writer.rounds.reload(&table, now);
    assert_eq!(disk.content("app", "root.log").unwrap(), whole);
    disk.set_total_bytes(1 << 20);
    now += Duration::from_secs(3);
    writer.rounds.round(now, false);
    let text = String::from_utf8(disk.content("app", "root.log").unwrap()).unwrap();
    assert_eq!(text.lines().count(), 2);
    assert!(text.ends_with(" - h - second\n"), "{text:?}");
}
