//! What a run of a program has done, and what it was told.
//! Lines of a diary -> an `Account`.
//! Invariant: read while the program writes, or after its end: the account never says too much.
//! Leaves out: what is in the files (`ledger`).
//!
//! ```text
//! logging N                         about to log all up to N
//! logged N written W dropped D ...  logged; W of them are acknowledged, D dropped
//! durable N dropped D               flush was true: all up to N are safe, but D
//! done N dropped D ...              the same, and the client was closed
//! ```
//!
//! A line is one write(2) behind the end of the file. What was written so
//! outlasts the program, and comes before what the program does next.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

/// What is known of a run.
#[derive(Debug, Default)]
pub struct Account {
    /// Messages that may have been logged: all up to this one.
    pub announced: u64,
    /// Messages that have been logged.
    pub logged: u64,
    /// `flush` was true when so many were logged, of which so many had been
    /// dropped: all others were safe.
    pub durable: Vec<(u64, u64)>,
    /// So many are acknowledged by the counters.
    pub written: u64,
    /// The counters as they were told last, by name.
    pub counters: BTreeMap<String, u64>,
    /// It ended by itself, and was told that all is safe.
    pub is_done: bool,
}

/// A diary that grows.
#[derive(Debug)]
pub struct Diary {
    path: PathBuf,
    offset: u64,
    rest: Vec<u8>,
}

impl Account {
    /// The last message up to which all are safe, but those dropped.
    pub fn told(&self) -> u64 {
        self.durable.last().map_or(0, |(number, _)| *number).max(self.written)
    }

    /// A counter as it was told last.
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or(0)
    }

    fn read(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        let mut pairs = words.chunks_exact(2);
        let mut pair = || {
            let pair = pairs.next()?;
            Some((pair[0], pair[1].parse::<u64>().ok()?))
        };
        let (kind, number) = pair()?;
        let mut counters = BTreeMap::new();
        while let Some((name, value)) = pair() {
            counters.insert(name.to_owned(), value);
        }
        match kind {
            "logging" => self.announced = number,
            "logged" => self.logged = number,
            "durable" | "done" => {
                self.durable.push((number, *counters.get("dropped")?));
                self.is_done = kind == "done";
            }
            _ => return None,
        }
        self.written = self.written.max(counters.get("written").copied().unwrap_or(0));
        self.counters.extend(counters);
        Some(())
    }
}

impl Diary {
    /// The diary at this path, which need not be there yet.
    pub fn new(path: PathBuf) -> Diary {
        Diary { path, offset: 0, rest: Vec::new() }
    }

    /// Reads what came since the last call.
    ///
    /// # Panics
    /// When a line is none of a diary.
    #[track_caller]
    pub fn read(&mut self, account: &mut Account) {
        let Ok(file) = File::open(&self.path) else { return };
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = file.read_at(&mut buffer, self.offset).expect("a readable diary");
            if count == 0 {
                return;
            }
            self.offset += count as u64;
            self.rest.extend_from_slice(&buffer[..count]);
            let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let lines: Vec<u8> = self.rest.drain(..whole).collect();
            for line in String::from_utf8(lines).expect("a diary is text").lines() {
                account.read(line).unwrap_or_else(|| panic!("{}: {line:?}", self.path.display()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diary_is_read_as_it_grows_and_a_line_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("diary");
        let (mut diary, mut account) = (Diary::new(path.clone()), Account::default());
        diary.read(&mut account);
        std::fs::write(&path, "logging 7\nlogged 7 written 3 dropped 1\ndurable 7 drop").unwrap();
        diary.read(&mut account);
        assert_eq!((account.announced, account.told(), account.counter("dropped")), (7, 3, 1));
        std::fs::write(&path, "logging 7\nlogged 7 written 3 dropped 1\ndurable 7 dropped 2\n")
            .unwrap();
        diary.read(&mut account);
        assert_eq!((account.told(), account.durable.clone()), (7, vec![(7, 2)]));
        assert!(!account.is_done);
    }
}
