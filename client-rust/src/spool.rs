//! Numbered records on disk until the server has them: one folder, one client id.
//! Records -> files; after a crash of the program or the machine, files -> the same records.
//! Invariant: a number is never given to two records, whatever the disk lost or kept.
//! Leaves out: what a record is (`record`), and when to sync (`v2`).
//!
//! ```text
//! DIR/APP/ID-IN-HEX/          one client id; APP percent-encoded where it must be
//!   lock                      locked (flock) as long as a program uses the folder
//!   state                     numbers, in decimal; replaced by rename
//!   00000000000000000001.log  records from this number on, see `entry`
//!   00000000000000024310.log
//! ```
//!
//! Appended bytes reach the kernel at once and outlast the program. A power
//! failure may take what was not synced, a second's worth, from the end: also
//! numbers that a server has already seen. That is why whoever opens a folder
//! that was used before goes on at a number far behind all those that may have
//! been given ([`NUMBERS_SKIPPED`]).
//!
//! A file is only appended to by the program that made it. One that ends in the
//! middle of an entry, or in one that is not what was written, counts up to
//! there.

mod entry;
mod folder;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::frames::Frames;
use crate::limits::SPOOL_RETIRED_FILES_MAX;

pub(crate) use self::entry::HEADER_BYTES as ENTRY_HEADER_BYTES;
use self::folder::{Folder, State};
use self::reader::Reader;

/// How far behind the last number that is known the next user of a folder goes
/// on: more than anybody logs between two starts (19 hours at a million a
/// second), and 2^27 starts until numbers end.
pub(crate) const NUMBERS_SKIPPED: u64 = 1 << 36;

/// The greatest number given; a folder that has come near it is only emptied.
const NUMBER_MAX: u64 = wire::v2::limits::NUMBER_MAX;

/// Why the spool cannot be used, or not now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    #[error("cannot use the spool {}: {source}; messages wait in memory only", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot write into the spool: {}: {source}; messages wait in memory only", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read from the spool: {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("no random numbers for a client id: the system has none")]
    Random,
}

/// How large a spool may become.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpoolBounds {
    /// All files together; past it nothing is appended.
    pub(crate) bytes: u64,
    /// A file that has come to this is followed by a new one.
    pub(crate) file_bytes: u64,
}

/// Consecutive records.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// Number of the first.
    pub(crate) first: u64,
    pub(crate) records: Frames,
}

impl Run {
    /// Number of the record behind the last.
    pub(crate) fn end(&self) -> u64 {
        self.first.saturating_add(self.records.len() as u64)
    }
}

/// The spool of one client id. Nobody else uses its folder meanwhile.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: Folder,
    bounds: SpoolBounds,
    /// By number, without gaps in time: the last one is appended to.
    files: VecDeque<Segment>,
    /// The open end of the last file; none: the next record makes a new file.
    tail: Option<File>,
    /// Files that are full, but not synced.
    retired: Vec<File>,
    reader: Option<Reader>,
    bytes: u64,
    acknowledged: u64,
    /// What the disk knows.
    published: State,
    /// Number of the last record that the files hold, or have held.
    last: u64,
    /// The number behind all that were given, or may have been.
    next: u64,
    /// Records found damaged, since they were last asked for.
    damaged: u64,
    is_dirty: bool,
}

/// One file.
#[derive(Clone, Copy, Debug)]
struct Segment {
    first: u64,
    /// Up to which there are whole entries, as far as we know.
    bytes: u64,
}

impl Spool {
    /// Opens a folder that a program has left behind, or makes a new one.
    ///
    /// # Errors
    /// `Folder`: nothing can be kept there now.
    pub(crate) fn open(dir: &Path, app: &str, bounds: SpoolBounds) -> Result<Spool, SpoolError> {
        for folder in folder::abandoned(dir, app)? {
            let mut spool = Spool::of(folder, bounds)?;
            if spool.next <= NUMBER_MAX - NUMBERS_SKIPPED {
                // Before a number is given, so that they are never given again.
                spool.publish()?;
                return Ok(spool);
            }
        }
        Spool::create(dir, app, new_id()?, 1, bounds)
    }

    /// Makes the folder of a client id that has none; `next` is the number that
    /// its next record gets.
    pub(crate) fn create(
        dir: &Path,
        app: &str,
        id: [u8; 16],
        next: u64,
        bounds: SpoolBounds,
    ) -> Result<Spool, SpoolError> {
        let folder = Folder::create(dir, app, id, State { begun: next, acknowledged: 0 })?;
        let mut spool = Spool::of(folder, bounds)?;
        spool.next = next;
        Ok(spool)
    }

    /// Opens a folder that was left behind and still holds something. Those
    /// that hold nothing are removed on the way.
    pub(crate) fn adopt(
        dir: &Path,
        app: &str,
        bounds: SpoolBounds,
    ) -> Result<Option<Spool>, SpoolError> {
        for folder in folder::abandoned(dir, app)? {
            let mut spool = Spool::of(folder, bounds)?;
            match spool.read(0, 1) {
                Ok(None) => spool.remove(),
                _ => return Ok(Some(spool)),
            }
        }
        Ok(None)
    }

    fn of(folder: Folder, bounds: SpoolBounds) -> Result<Spool, SpoolError> {
        let state = folder.state();
        let files = folder.files()?;
        let mut spool = Spool {
            bytes: files.iter().map(|file| file.bytes).sum(),
            files: files.into(),
            folder,
            bounds,
            tail: None,
            retired: Vec::new(),
            reader: None,
            acknowledged: state.acknowledged,
            published: state,
            last: 0,
            next: 1,
            damaged: 0,
            is_dirty: false,
        };
        spool.cut_the_end()?;
        let first = spool.files.back().map_or(0, |file| file.first);
        let given = spool.last.max(first).max(state.begun).max(state.acknowledged);
        spool.next = given.saturating_add(NUMBERS_SKIPPED);
        Ok(spool)
    }

    /// What the client is known by.
    pub(crate) fn id(&self) -> [u8; 16] {
        self.folder.id
    }

    /// The number that the next record must have at least.
    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    /// All up to this one need not be sent any more.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Number of the last record that it holds, or has held.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many bytes of records fit, each with what stands around it.
    pub(crate) fn room(&self) -> usize {
        usize::try_from(self.bounds.bytes.saturating_sub(self.bytes)).unwrap_or(usize::MAX)
    }

    /// Appends consecutive records; the first has the number `first`, which is
    /// greater than all before. Returns how many are in the kernel's hands, and
    /// why not all. Room is not looked at: that is for who calls.
    pub(crate) fn append(&mut self, first: u64, records: &Frames) -> (usize, Option<SpoolError>) {
        let (mut number, mut kept) = (first, 0);
        let mut bytes = Vec::new();
        let mut pending = 0;
        for record in records.iter() {
            entry::put(&mut bytes, number, record);
            pending += 1;
            number += 1;
            if bytes.len() as u64 + self.tail_bytes() >= self.bounds.file_bytes {
                if let Err(error) = self.write(first + kept as u64, &bytes) {
                    return (kept, Some(error));
                }
                kept += pending;
                pending = 0;
                self.gave(number);
                bytes.clear();
                self.retire();
            }
        }
        if pending > 0 {
            if let Err(error) = self.write(first + kept as u64, &bytes) {
                return (kept, Some(error));
            }
            kept += pending;
            self.gave(number);
        }
        (kept, None)
    }

    /// The first records with numbers greater than `after` that go on without a
    /// gap, of `bytes_max` bytes or so; `None` when there are none. What is
    /// damaged is passed over and counted.
    pub(crate) fn read(&mut self, after: u64, bytes_max: usize) -> Result<Option<Run>, SpoolError> {
        let after = after.max(self.acknowledged);
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
            let run = reader.read(after, limit, bytes_max).map_err(|source| SpoolError::Read {
                path: self.folder.file(reader.file_first()),
                source,
            })?;
            if let Some(run) = run {
                self.reader = Some(reader);
                return Ok(Some(run));
            }
            let Some(next) = self.files.get(place + 1).copied() else {
                self.reader = Some(reader);
                return Ok(None);
            };
            if reader.is_torn(limit) {
                self.damaged += reader.missing(next.first);
            }
            reader = self.reader_of(next, reader.last())?;
        }
    }

    /// Records found damaged since the last call.
    pub(crate) fn take_damaged(&mut self) -> u64 {
        std::mem::take(&mut self.damaged)
    }

    /// Everything up to `number` is safe elsewhere: files that hold no other
    /// are deleted.
    pub(crate) fn acknowledge(&mut self, number: u64) {
        self.acknowledged = self.acknowledged.max(number);
        // The last file is kept while it is appended to: one that is made and
        // deleted with every batch would cost more than its bytes.
        while let Some(file) = self.files.front().copied() {
            let last = match self.files.get(1) {
                Some(next) => next.first.saturating_sub(1),
                None if self.tail.is_none() => self.last,
                None => return,
            };
            if last > self.acknowledged {
                return;
            }
            self.forget(file);
        }
    }

    /// Whether there is nothing in it that the server does not have.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty() || self.last <= self.acknowledged
    }

    /// Everything appended and acknowledged so far is on the disk when this
    /// returns. May take as long as the disk pleases.
    pub(crate) fn sync(&mut self) -> Result<(), SpoolError> {
        if self.is_dirty {
            let failed = |source| SpoolError::Write { path: self.folder.path.clone(), source };
            for file in self.retired.drain(..) {
                file.sync_data().map_err(failed)?;
            }
            if let Some(tail) = &self.tail {
                tail.sync_data().map_err(failed)?;
            }
            self.folder.sync()?;
            self.is_dirty = false;
        }
        if self.published.acknowledged < self.acknowledged {
            let begun = self.published.begun;
            let state = State { begun, acknowledged: self.acknowledged };
            self.folder.publish(state)?;
            self.published = state;
        }
        Ok(())
    }

    /// Whether there is something that only the kernel knows.
    pub(crate) fn needs_sync(&self) -> bool {
        self.is_dirty || self.published.acknowledged < self.acknowledged
    }

    /// Writes down from where on numbers are given.
    fn publish(&mut self) -> Result<(), SpoolError> {
        let state = State { begun: self.next, acknowledged: self.acknowledged };
        self.folder.publish(state)?;
        self.published = state;
        Ok(())
    }

    /// Syncs, and deletes what is not needed any more.
    pub(crate) fn close(mut self) -> Result<(), SpoolError> {
        self.sync()?;
        self.tail = None;
        self.acknowledge(0);
        Ok(())
    }

    /// Removes the folder with all that is in it.
    pub(crate) fn remove(self) {
        let firsts: Vec<_> = self.files.iter().map(|file| file.first).collect();
        self.folder.remove(&firsts);
    }

    fn tail_bytes(&self) -> u64 {
        match (&self.tail, self.files.back()) {
            (Some(_), Some(file)) => file.bytes,
            _ => 0,
        }
    }

    /// Writes whole entries, the first of which has this number. After an error
    /// the file ends as it did before, or is not appended to any more.
    fn write(&mut self, first: u64, bytes: &[u8]) -> Result<(), SpoolError> {
        if self.tail.is_none() {
            let made = self.folder.make(first)?;
            self.tail = Some(made);
            self.files.push_back(Segment { first, bytes: 0 });
        }
        let (Some(tail), Some(file)) = (&mut self.tail, self.files.back_mut()) else {
            return Ok(());
        };
        self.is_dirty = true;
        let Err(source) = tail.write_all(bytes) else {
            file.bytes += bytes.len() as u64;
            self.bytes += bytes.len() as u64;
            return Ok(());
        };
        let path = self.folder.file(file.first);
        let whole = file.bytes;
        if tail.set_len(whole).is_err() || io::Seek::seek(tail, io::SeekFrom::Start(whole)).is_err()
        {
            self.tail = None;
        }
        Err(SpoolError::Write { path, source })
    }

    fn retire(&mut self) {
        let Some(tail) = self.tail.take() else { return };
        self.retired.push(tail);
        if self.retired.len() > SPOOL_RETIRED_FILES_MAX {
            // An error comes again with the next sync.
            let _ = self.sync();
        }
    }

    fn forget(&mut self, file: Segment) {
        self.folder.delete(file.first);
        self.files.pop_front();
        self.bytes = self.bytes.saturating_sub(file.bytes);
    }

    fn gave(&mut self, next: u64) {
        self.last = next.saturating_sub(1);
        self.next = self.next.max(next);
    }

    fn has(&self, reader: &Reader) -> bool {
        self.files.iter().any(|file| file.first == reader.file_first())
    }

    /// Cuts the last file behind its last whole entry.
    fn cut_the_end(&mut self) -> Result<(), SpoolError> {
        let Some(file) = self.files.back_mut() else { return Ok(()) };
        let path = self.folder.file(file.first);
        let failed = |source| SpoolError::Read { path: path.clone(), source };
        let mut reader = Reader::open(&path, file.first, 0).map_err(failed)?;
        reader.skip_all(file.bytes).map_err(failed)?;
        let whole = reader.offset();
        self.last = reader.last().max(file.first.saturating_sub(1));
        if whole < file.bytes {
            // On a disk that takes no writes it stays, and is not read.
            let _ = File::options().write(true).open(&path).and_then(|file| file.set_len(whole));
            self.bytes = self.bytes.saturating_sub(file.bytes - whole);
            file.bytes = whole;
            self.damaged += 1;
        }
        Ok(())
    }

    fn reader_at(&self, after: u64) -> Result<Option<Reader>, SpoolError> {
        let before = self.files.iter().rev().find(|file| file.first <= after.saturating_add(1));
        let file = before.or_else(|| self.files.front());
        file.map(|file| self.reader_of(*file, after.min(file.first.saturating_sub(1)))).transpose()
    }

    fn reader_of(&self, file: Segment, last: u64) -> Result<Reader, SpoolError> {
        let path = self.folder.file(file.first);
        Reader::open(&path, file.first, last).map_err(|source| SpoolError::Read { path, source })
    }
}

/// Sixteen bytes that nobody else has.
pub(crate) fn new_id() -> Result<[u8; 16], SpoolError> {
    let random = ring::rand::generate(&ring::rand::SystemRandom::new());
    Ok(random.map_err(|_| SpoolError::Random)?.expose())
}
