//! Starts on arbitrary bytes as the journal of what clients were told.
//! A byte for the file, and its bytes, or entries without their checksums ->
//! what is remembered, and the same again from what a start has written down.
//! Invariant: no bytes keep the daemon from starting or reach beyond the log
//! folder; files that no region names stay as they are.
//! Leaves out: whether what is remembered is right (`crash_tests/numbered`).

#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use loghogd::disk::LogDir;
use loghogd::pipeline::persist::journal::Journal;

/// More clients than an input can name.
const CLIENTS_MAX: usize = 100_000;

const LINE: &[u8] = b"2026-11-20 12:00:00.123456 - h - a line\n";

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, rest)) = bytes.split_first() else { return };
    let content = if kind & 1 == 0 { rest.to_vec() } else { entries(rest) };
    let folder = folder();
    let (log, state) = (folder.join("log"), folder.join("log/.loghogd"));
    let _ = fs::remove_dir_all(&state);
    fs::create_dir_all(&state).expect("a writable folder");
    fs::create_dir_all(log.join("a")).expect("a writable folder");
    for file in ["log/a/web.log", "log/other", "outside.log"] {
        fs::write(folder.join(file), LINE).expect("a writable folder");
    }
    let name = if kind & 2 == 0 { "journal.0" } else { "clients.1" };
    fs::write(state.join(name), content).expect("a writable folder");
    let first = start(&log);
    assert_eq!(start(&log), first, "a start remembers something else than the one before");
    for file in ["log/other", "outside.log"] {
        assert_eq!(fs::read(folder.join(file)).expect("it stays"), LINE, "{file}");
    }
});

/// Starts; what is remembered then, as it was written down.
fn start(log: &Path) -> Vec<u8> {
    let disk = Arc::new(LogDir::open(log).expect("a folder"));
    let now = Timestamp::from_second(1_795_176_000).expect("a time");
    drop(Journal::open(disk, CLIENTS_MAX, now).expect("whatever is damaged is no error"));
    let names = fs::read_dir(log.join(".loghogd")).expect("a folder");
    let snapshots = names.filter_map(|entry| {
        let path = entry.expect("a name").path();
        let number = path.file_name()?.to_str()?.strip_prefix("clients.")?.parse::<u64>().ok()?;
        Some((number, path))
    });
    let (_, newest) = snapshots.max().expect("a start writes down what it has found");
    fs::read(newest).expect("readable")
}

/// The bytes as entries that pass for whole: each begins with its length.
fn entries(bytes: &[u8]) -> Vec<u8> {
    let (mut entries, mut rest) = (Vec::new(), bytes);
    while let Some((&length, behind)) = rest.split_first() {
        let (entry, behind) = behind.split_at(usize::from(length).min(behind.len()));
        entries.extend(u32::try_from(entry.len()).expect("short").to_le_bytes());
        entries.extend(crc32(entry).to_le_bytes());
        entries.extend(entry);
        rest = behind;
    }
    entries
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// In memory where that is to be had, and the same for all runs of a process.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = parent.join(format!("loghog-fuzz-journal-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a writable folder");
        folder
    })
}
