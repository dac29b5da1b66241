//! Reads a spool while it is written, from file to file.
//! A number -> the records behind it; what is missing -> a count.
//! Invariant: nothing that cannot be read holds up for ever what is behind it.
//! Leaves out: one file (`reader`), and when to try again (`v2`).

use super::reader::Reader;
use super::{NUMBERS_SKIPPED, Run, Segment, Spool, SpoolError};
use crate::limits::SPOOL_READ_TRIES;

impl Spool {
    /// The first records with numbers greater than `after` that go on without a
    /// gap, of `bytes_max` bytes or so; `None` when there are none. What is
    /// damaged is passed over and counted, and so is a file that is gone, or has
    /// refused to be read [`SPOOL_READ_TRIES`] times.
    pub(crate) fn read(&mut self, after: u64, bytes_max: usize) -> Result<Option<Run>, SpoolError> {
        loop {
            let after = after.max(self.acknowledged).max(self.passed);
            let (file, error) = match self.read_on(after, bytes_max) {
                Ok(run) => return Ok(run),
                Err(unreadable) => unreadable,
            };
            let tries = if self.unreadable.0 == file { self.unreadable.1 + 1 } else { 1 };
            self.unreadable = (file, tries);
            if !error.is_gone() && tries < SPOOL_READ_TRIES {
                return Err(error);
            }
            self.pass_over(file, after);
        }
    }

    /// The same; an error comes with the file that is its reason.
    fn read_on(&mut self, after: u64, bytes_max: usize) -> Result<Option<Run>, (u64, SpoolError)> {
        let mut reader = match self.reader.take() {
            Some(reader) if reader.is_at(after) && self.has(&reader) => reader,
            _ => match self.reader_at(after)? {
                Some(reader) => reader,
                None => return Ok(None),
            },
        };
        loop {
            let Some(place) = self.files.iter().position(|file| file.first == reader.file_first())
            else {
                return Ok(None);
            };
            let limit = self.files.get(place).map_or(0, |file| file.bytes);
            let run = reader.read(after, limit, bytes_max).map_err(|source| {
                let path = self.folder.file(reader.file_first());
                (reader.file_first(), SpoolError::Read { path, source })
            })?;
            if let Some(run) = run {
                self.reader = Some(reader);
                return Ok(Some(run));
            }
            let Some(next) = self.files.get(place + 1).copied() else {
                self.leave_torn_end(after.max(reader.last()));
                self.reader = Some(reader);
                return Ok(None);
            };
            self.damaged += reader.missing(limit, next.first);
            reader = self.reader_of(next)?;
        }
    }

    /// Counts what was written into the last file behind this number and cannot
    /// be read. Nothing more is appended there: nobody would find it.
    fn leave_torn_end(&mut self, read: u64) {
        if self.last > read {
            self.damaged += missing(read, self.last.saturating_add(1)).unwrap_or(1);
            self.passed = self.last;
            self.retire();
        }
    }

    /// Forgets a file that cannot be read; the disk keeps it if it can.
    fn pass_over(&mut self, first: u64, after: u64) {
        let Some(place) = self.files.iter().position(|file| file.first == first) else { return };
        let end = self.files.get(place + 1).map_or(self.last.saturating_add(1), |next| next.first);
        self.damaged +=
            missing(after.max(first.saturating_sub(1)), end).map_or(1, |gap| gap.max(1));
        self.passed = end.saturating_sub(1);
        if place + 1 == self.files.len() {
            self.tail = None;
        }
        let bytes = self.files.remove(place).map_or(0, |file| file.bytes);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Records found damaged since the last call.
    pub(crate) fn take_damaged(&mut self) -> u64 {
        std::mem::take(&mut self.damaged)
    }

    fn has(&self, reader: &Reader) -> bool {
        self.files.iter().any(|file| file.first == reader.file_first())
    }

    fn reader_at(&self, after: u64) -> Result<Option<Reader>, (u64, SpoolError)> {
        let before = self.files.iter().rev().find(|file| file.first <= after.saturating_add(1));
        let file = before.or_else(|| self.files.front());
        file.map(|file| self.reader_of(*file)).transpose()
    }

    fn reader_of(&self, file: Segment) -> Result<Reader, (u64, SpoolError)> {
        let opened = self.folder.open(file.first).map_err(|error| (file.first, error))?;
        Ok(Reader::new(opened, file.first))
    }
}

/// How many numbers lie between two records. None for a gap too great to be one:
/// that is a restart, of which nobody knows what it cost.
pub(crate) fn missing(last: u64, next: u64) -> Option<u64> {
    let gap = next.saturating_sub(last).saturating_sub(1);
    (gap < NUMBERS_SKIPPED / 2).then_some(gap)
}
