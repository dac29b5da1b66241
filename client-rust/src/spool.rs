//! Numbered records on disk until the server has them: one folder, one client id.
//! Records -> files; after a crash of the program or the machine, files -> the same records.
//! Invariant: a number is never given to two records, whatever the disk lost or kept.
//! Leaves out: what a record is (`record`), and when to sync (`v2`).
//!
//! ```text
//! DIR/APP/ID-IN-HEX/          one client id; APP percent-encoded where it must be
//!   lock                      locked (flock) as long as a program uses the folder
//!   state                     numbers, see `state`; replaced by rename
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
//! there. One that is gone, or cannot be read for long, is passed over. Nothing
//! here asks what time it is.

mod entry;
mod folder;
mod open;
mod reader;
mod reading;
mod state;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::frames::Frames;
use crate::limits::SPOOL_RETIRED_FILES_MAX;

pub(crate) use self::entry::HEADER_BYTES as ENTRY_HEADER_BYTES;
#[cfg(fuzzing)]
pub(crate) use self::entry::put as put_entry;
use self::folder::Folder;
#[cfg(fuzzing)]
pub(crate) use self::reader::Reader as FileReader;
use self::reader::Reader;
pub(crate) use self::reading::missing;
use self::state::State;
pub(crate) use self::state::{REASONS, VERSION};

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
    #[error(
        "the spool {} has layout {version}, we know {VERSION}; it is left to a newer program",
        path.display()
    )]
    Version { path: PathBuf, version: u64 },
    #[error("no random numbers for a client id: the system has none")]
    Random,
}

impl SpoolError {
    /// Whether somebody has removed what we work on.
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Self::Folder { source, .. }
            | Self::Write { source, .. }
            | Self::Read { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Version { .. } | Self::Random => false,
        }
    }
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
    /// Files that are full, but not synced, each with its first number.
    retired: VecDeque<(u64, File)>,
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
    /// The file that could not be read last, and how often in a row.
    unreadable: (u64, u32),
    /// All up to this one are read, or were in files that were passed over.
    passed: u64,
    /// What was dropped and no server knows of.
    unreported: [u64; REASONS],
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

    /// Messages that were dropped, by reason, and no server knows of it.
    pub(crate) fn unreported(&self) -> [u64; REASONS] {
        self.unreported
    }

    /// Keeps them with the next sync.
    pub(crate) fn set_unreported(&mut self, unreported: [u64; REASONS]) {
        self.unreported = unreported;
    }

    /// Whether its folder is still there.
    pub(crate) fn exists(&self) -> bool {
        self.folder.path.exists()
    }

    /// Goes on under another id: another program has used this one.
    pub(crate) fn rename(&mut self, id: [u8; 16]) -> Result<(), SpoolError> {
        self.folder.rename(id)
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
        let has_records = !self.files.is_empty() && self.last > self.acknowledged;
        !has_records && self.unreported == [0; REASONS]
    }

    /// Everything appended and acknowledged so far is on the disk when this
    /// returns. May take as long as the disk pleases.
    pub(crate) fn sync(&mut self) -> Result<(), SpoolError> {
        if self.is_dirty {
            let failed = |source| SpoolError::Write { path: self.folder.path.clone(), source };
            // One that refuses stays, and those behind it: they are tried again.
            while let Some((_, file)) = self.retired.front() {
                file.sync_data().map_err(failed)?;
                self.retired.pop_front();
            }
            if let Some(tail) = &self.tail {
                tail.sync_data().map_err(failed)?;
            }
            self.folder.sync()?;
            self.is_dirty = false;
        }
        if self.has_news() {
            self.publish(self.published.begun)?;
        }
        Ok(())
    }

    /// Whether there is something that only the kernel knows, or only we.
    pub(crate) fn needs_sync(&self) -> bool {
        self.is_dirty || self.has_news()
    }

    fn has_news(&self) -> bool {
        self.published.acknowledged < self.acknowledged
            || self.published.unreported != self.unreported
    }

    /// Writes down from where on numbers are given, and what else is to outlast
    /// us.
    fn publish(&mut self, begun: u64) -> Result<(), SpoolError> {
        let (acknowledged, unreported) = (self.acknowledged, self.unreported);
        let state = State { begun, acknowledged, unreported };
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
        self.folder.remove();
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
        let (first, whole) = (file.first, file.bytes);
        let path = self.folder.file(first);
        if tail.set_len(whole).is_err() || io::Seek::seek(tail, io::SeekFrom::Start(whole)).is_err()
        {
            self.tail = None;
            if whole == 0 {
                // The next try makes it again, under the same name.
                self.folder.delete(first);
                self.files.pop_back();
            }
        }
        Err(SpoolError::Write { path, source })
    }

    fn retire(&mut self) {
        let Some(tail) = self.tail.take() else { return };
        let first = self.files.back().map_or(0, |file| file.first);
        self.retired.push_back((first, tail));
        // An error comes again with the next sync. A disk that never syncs must
        // not take all descriptors of the program: the kernel goes on trying.
        if self.retired.len() > SPOOL_RETIRED_FILES_MAX && self.sync().is_err() {
            self.retired.pop_front();
        }
    }

    fn forget(&mut self, file: Segment) {
        self.folder.delete(file.first);
        self.files.pop_front();
        self.retired.retain(|(first, _)| *first != file.first);
        self.bytes = self.bytes.saturating_sub(file.bytes);
    }

    fn gave(&mut self, next: u64) {
        self.last = next.saturating_sub(1);
        self.next = self.next.max(next);
    }
}

/// Sixteen bytes that nobody else has.
pub(crate) fn new_id() -> Result<[u8; 16], SpoolError> {
    let random = ring::rand::generate(&ring::rand::SystemRandom::new());
    Ok(random.map_err(|_| SpoolError::Random)?.expose())
}
