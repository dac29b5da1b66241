use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use serde_json::Value;

use super::*;
use crate::config::read_facilities;
use crate::disk::simulated::{Fault, Operation, Restart, Simulated};
use crate::pipeline::ship::{Mark, Message, Part, RecordTimes, Stream};

/// A batch of one part with these messages, and all of them refused.
fn batch(bodies: &[&[u8]]) -> (Batch, Vec<Refused>) {
    let text = b"[app]\nrotate = daily\nbackup_count = 2\n";
    let table = read_facilities(text, Path::new("facilities.conf")).unwrap();
    let facility = Arc::clone(table.iter().next().unwrap());
    let (mut bytes, mut messages) = (Vec::new(), Vec::new());
    for body in bodies {
        let begin = bytes.len();
        bytes.extend_from_slice(body);
        bytes.push(b'\n');
        messages.push((Message { begin, end: bytes.len() }, RecordTimes::default()));
    }
    let begin = Mark { offset: 1_000, ..Mark::default() };
    let part = Part {
        stream: Arc::new(Stream { app: "app".into(), live: "root.log".into() }),
        facility,
        file: "root.log".into(),
        begin,
        end: begin,
        bytes,
        messages,
    };
    let refused = (0..bodies.len()).map(|message| {
        let reason = "too bad".to_owned();
        Refused { part: 0, message, reason }
    });
    (Batch { parts: vec![part] }, refused.collect())
}

fn keep_all(disk: &Simulated, bodies: &[&[u8]], dropped: &mut u64) -> io::Result<()> {
    let (batch, refused) = batch(bodies);
    keep(disk, "far", &batch, &refused, Timestamp::UNIX_EPOCH, dropped)
}

fn letters(disk: &Simulated, name: &str) -> Vec<Value> {
    let text = disk.content("far", name).unwrap();
    let text = std::str::from_utf8(&text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_letter_says_what_was_refused_and_where_it_stands() {
    let disk = Simulated::new();
    let mut dropped = 0;
    keep_all(&disk, &[b"one", b"\xff two"], &mut dropped).unwrap();
    let letters = letters(&disk.restart(Restart::PowerLost(0)), NAME);
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[1]["line"], "\u{fffd} two");
    assert_eq!((&letters[1]["offset"], &letters[1]["reason"]), (&1_004.into(), &"too bad".into()));
}

#[test]
fn a_letter_is_never_long_whatever_the_message_is() {
    let disk = Simulated::new();
    for byte in [b'x', 1, 0xff, b'"'] {
        keep_all(&disk, &[&vec![byte; 1 << 20]], &mut 0).unwrap();
    }
    let text = disk.content("far", NAME).unwrap();
    let lengths: Vec<usize> = text.split(|&byte| byte == b'\n').map(<[u8]>::len).collect();
    assert_eq!(lengths.len(), 5);
    assert!(lengths[..4].iter().all(|length| *length > DEAD_LINE_BYTES_MAX / 8), "{lengths:?}");
    assert!(lengths.iter().all(|length| *length < DEAD_LINE_BYTES_MAX), "{lengths:?}");
    assert_eq!(letters(&disk, NAME).len(), 4);
}

#[test]
fn full_files_turn_and_the_oldest_letters_go_and_are_counted() {
    let disk = Simulated::new();
    let body = vec![b'x'; DEAD_LINE_BYTES_MAX / 2];
    let bodies: Vec<&[u8]> = vec![&body; 64];
    let (mut dropped, mut kept) = (0, 0);
    let folder = |disk: &Simulated| {
        let names = disk.names("far").unwrap();
        names.iter().map(|name| disk.content("far", name).unwrap().len() as u64).sum::<u64>()
    };
    while dropped == 0 {
        keep_all(&disk, &bodies, &mut dropped).unwrap();
        kept += bodies.len() as u64;
        assert!(folder(&disk) < (DEAD_FILES_MAX as u64 + 1) * DEAD_FILE_BYTES_MAX);
    }
    assert!(folder(&disk) > (DEAD_FILES_MAX as u64 - 1) * DEAD_FILE_BYTES_MAX);
    let names = disk.names("far").unwrap();
    let here: u64 = names.iter().map(|name| letters(&disk, name).len() as u64).sum();
    assert_eq!(here + dropped, kept, "each is here or counted");
    assert!(!names.contains(&turned(1)) && names.contains(&turned(2)), "{names:?}");
}

#[test]
fn half_a_letter_is_cut_off_and_written_again() {
    for stays in [1, 40] {
        let disk = Simulated::new();
        keep_all(&disk, &[b"one"], &mut 0).unwrap();
        let mut text = disk.content("far", NAME).unwrap();
        let half = text.len() - stays;
        text.extend_from_within(..half);
        disk.put("far", NAME, &text, Timestamp::UNIX_EPOCH);
        keep_all(&disk, &[b"two"], &mut 0).unwrap();
        let bodies: Vec<_> = letters(&disk, NAME).iter().map(|one| one["line"].clone()).collect();
        assert_eq!(bodies, ["one", "two"]);
    }
}

#[test]
fn a_disk_that_refuses_costs_attempts_and_no_letter() {
    for after in 0..20 {
        let disk = Simulated::new();
        keep_all(&disk, &[b"one"], &mut 0).unwrap();
        disk.fail(Fault::new(Errno::EIO).after(after).times(1));
        while keep_all(&disk, &[b"two"], &mut 0).is_err() {}
        disk.heal();
        let disk = disk.restart(Restart::PowerLost(0));
        let mut bodies: Vec<_> =
            letters(&disk, NAME).iter().map(|one| one["line"].clone()).collect();
        bodies.dedup();
        assert_eq!(bodies, ["one", "two"], "{after}");
    }
    let disk = Simulated::new();
    disk.fail(Fault::new(Errno::ENOSPC).on(&[Operation::Write]));
    keep_all(&disk, &[b"one"], &mut 0).unwrap_err();
}
