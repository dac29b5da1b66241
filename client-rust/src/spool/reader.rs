//! Reads one file of the spool from its start to its last whole entry.
//! A file -> runs of consecutive records.
//! Invariant: numbers only go up; behind the first thing that is wrong nothing is read.
//! Leaves out: which file comes next (`spool`).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Run;
use super::entry::{self, Next};
use crate::limits::SPOOL_READ_BYTES;

/// A place in a file.
#[derive(Debug)]
pub(super) struct Reader {
    file: File,
    file_first: u64,
    /// Where the next entry begins.
    offset: u64,
    /// Number of the last entry read; before the first one, of the one that was
    /// read last of the file before.
    last: u64,
    torn: bool,
    buffer: Vec<u8>,
}

impl Reader {
    pub(super) fn open(path: &Path, file_first: u64, last: u64) -> io::Result<Reader> {
        let file = File::open(path)?;
        Ok(Reader { file, file_first, offset: 0, last, torn: false, buffer: Vec::new() })
    }

    pub(super) fn file_first(&self) -> u64 {
        self.file_first
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Whether reading can go on here behind this number.
    pub(super) fn is_at(&self, after: u64) -> bool {
        self.last == after
    }

    /// Whether the file ends with something else than a whole entry.
    pub(super) fn is_torn(&self, limit: u64) -> bool {
        self.torn || self.offset < limit
    }

    /// How many records are missing when the next file begins with this number;
    /// at least one, as something is torn. A gap too great to be one is a
    /// restart.
    pub(super) fn missing(&self, next_first: u64) -> u64 {
        let gap = next_first.saturating_sub(self.last).saturating_sub(1);
        if gap < super::NUMBERS_SKIPPED / 2 { gap.max(1) } else { 1 }
    }

    /// Entries behind `after`, from the first `limit` bytes of the file.
    pub(super) fn read(
        &mut self,
        after: u64,
        limit: u64,
        bytes_max: usize,
    ) -> io::Result<Option<Run>> {
        let mut run = Run::default();
        let mut want = SPOOL_READ_BYTES;
        while self.fill(limit, want)? {
            let (used, need) = self.take(after, bytes_max, &mut run);
            self.offset += used as u64;
            if self.torn || !run.records.is_empty() {
                break;
            }
            match need {
                // The file ends in the middle of an entry.
                Some(bytes) if self.offset + bytes as u64 > limit => break,
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
        let left = usize::try_from(limit.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        self.buffer.resize(left.min(want), 0);
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
