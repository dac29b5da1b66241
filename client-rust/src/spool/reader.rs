//! Reads one file of the spool from its start to its last whole entry.
//! A file -> runs of consecutive records.
//! Invariant: numbers only go up; behind the first thing that is wrong nothing is read.
//! Leaves out: which file comes next (`spool`).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::Run;
use super::entry::{self, Next};
use crate::limits::SPOOL_READ_BYTES;

/// A place in a file.
#[derive(Debug)]
pub(crate) struct Reader {
    file: File,
    file_first: u64,
    /// Where the next entry begins.
    offset: u64,
    /// Number of the last entry read; before the first one, the one before the
    /// file's.
    last: u64,
    torn: bool,
    buffer: Vec<u8>,
}

impl Reader {
    pub(crate) fn new(file: File, file_first: u64) -> Reader {
        let last = file_first.saturating_sub(1);
        Reader { file, file_first, offset: 0, last, torn: false, buffer: Vec::new() }
    }

    pub(super) fn file_first(&self) -> u64 {
        self.file_first
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Whether reading can go on here behind this number.
    pub(super) fn is_at(&self, after: u64) -> bool {
        self.last == after
    }

    /// How many records are missing at the end of this file, when the next one
    /// begins with this number. None where a write was refused, and what had to
    /// be written is in the next file.
    pub(super) fn missing(&self, limit: u64, next_first: u64) -> u64 {
        let is_torn = self.torn || self.offset < limit;
        super::missing(self.last, next_first).unwrap_or(u64::from(is_torn))
    }

    /// Entries behind `after`, from the first `limit` bytes of the file.
    pub(crate) fn read(
        &mut self,
        after: u64,
        limit: u64,
        bytes_max: usize,
    ) -> io::Result<Option<Run>> {
        let mut run = Run::default();
        let mut want = SPOOL_READ_BYTES;
        while self.fill(limit, want)? {
            let is_short = self.buffer.len() < self.left(limit).min(want);
            let (used, need) = self.take(after, bytes_max, &mut run);
            self.offset += used as u64;
            if self.torn || !run.records.is_empty() {
                break;
            }
            match need {
                // The file ends in the middle of an entry.
                Some(bytes) if self.offset + bytes as u64 > limit => break,
                // It ends before: somebody has cut it since, or the disk has.
                Some(_) if is_short => {
                    self.torn = true;
                    break;
                }
                Some(bytes) => want = want.max(bytes),
                None => {}
            }
        }
        self.buffer = Vec::new();
        Ok(Some(run).filter(|run| !run.records.is_empty()))
    }

    /// Reads to the end of what is whole.
    pub(super) fn skip_all(&mut self, limit: u64) -> io::Result<()> {
        self.read(u64::MAX, limit, usize::MAX).map(drop)
    }

    /// Reads up to `want` bytes; false at the end.
    fn fill(&mut self, limit: u64, want: usize) -> io::Result<bool> {
        self.buffer.resize(self.left(limit).min(want), 0);
        let mut filled = 0;
        while let Some(rest) = self.buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, self.offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.buffer.truncate(filled);
        Ok(filled > 0)
    }

    /// Bytes from here to the end.
    fn left(&self, limit: u64) -> usize {
        usize::try_from(limit.saturating_sub(self.offset)).unwrap_or(usize::MAX)
    }

    /// Takes entries out of the buffer. Returns how many bytes they had, and
    /// the size of the one that is not whole in it.
    fn take(&mut self, after: u64, bytes_max: usize, run: &mut Run) -> (usize, Option<usize>) {
        let mut used = 0;
        loop {
            let rest = self.buffer.get(used..).unwrap_or_default();
            if rest.is_empty() {
                return (used, None);
            }
            let (number, record) = match entry::next(rest) {
                Next::Entry { number, record } => (number, record),
                Next::More { bytes } => return (used, Some(bytes)),
                Next::Torn => {
                    self.torn = true;
                    return (used, None);
                }
            };
            if number < self.file_first || (number <= self.last && used + self.start() > 0) {
                self.torn = true;
                return (used, None);
            }
            if number > after {
                let is_full = run.records.as_slice().len() >= bytes_max;
                if !run.records.is_empty() && (is_full || run.end() != number) {
                    return (used, None);
                }
                if run.records.is_empty() {
                    run.first = number;
                }
                run.records.push(record);
            }
            used += entry::HEADER_BYTES + record.len();
            self.last = number;
        }
    }

    fn start(&self) -> usize {
        usize::try_from(self.offset).unwrap_or(usize::MAX)
    }
}
