//! Keeps what is remembered of clients in step with their lines.
//! Regions of files that are about to be written -> the same, known after a stop.
//! Invariant: a region is in the journal, synced, before its first byte is in its file.
//! Leaves out: writing the lines; what clients are told (`clients`).
//!
//! ```text
//! .loghogd/clients.N   what was safe when N began, of every client
//! .loghogd/journal.N   regions written since: which file, where, how long, a
//!                      checksum, and whose messages they are
//! ```
//! A region is the bytes that one round writes to one file, when there are
//! numbered messages among them. Before a file gets its next region the one
//! before is complete and synced; so after a stop only the last region of each
//! file is in doubt, and what the file holds tells (`recover`): a region that
//! is whole is kept, and its numbers are settled; one that is not is cut off,
//! and its messages are sent again.

mod record;
mod recover;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::sync::Arc;

use jiff::Timestamp;
use tracing::warn;

use self::record::{Entry, Ours};
use super::clients::{Clients, Receipt};
use crate::disk::{self, Disk, DiskFile};
use crate::limits::{CLIENT_UNSEEN_MAX, JOURNAL_BYTES, JOURNAL_BYTES_MAX};
use crate::pipeline::rotate::name::Segment;

use self::recover::{Recovered, recover};

pub(in crate::pipeline) use self::record::Place;

/// Where both kinds of files are, below the log folder.
pub const FOLDER: &str = ".loghogd";

/// What is about to be written to a file.
#[derive(Debug)]
pub(in crate::pipeline) struct Intent {
    /// Where.
    pub(in crate::pipeline) place: Place,
    /// Whose messages are in it.
    pub(in crate::pipeline) receipts: Vec<Receipt>,
}

/// The journal as it is being written.
#[derive(Debug)]
pub struct Journal {
    disk: Arc<dyn Disk>,
    clients: Arc<Clients>,
    /// The number of the files.
    number: u64,
    /// What was found at the start has to be written down first.
    is_stale: bool,
    file: Option<Box<dyn DiskFile>>,
    bytes: u64,
    buffer: Vec<u8>,
    /// The last snapshot could not be written, and that has been said.
    said: bool,
}

impl Journal {
    /// Takes over what a process before has left, before anybody else touches
    /// files that may have to be cut. Returns the clients that are remembered.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(
        disk: Arc<dyn Disk>,
        clients_max: usize,
        now: Timestamp,
    ) -> io::Result<(Journal, Arc<Clients>)> {
        let Recovered { remembered, number, is_stale } = recover(&*disk, now)?;
        let clients = Arc::new(Clients::new(clients_max, remembered));
        let mut journal = Journal {
            disk,
            clients: Arc::clone(&clients),
            number,
            is_stale,
            file: None,
            bytes: 0,
            buffer: Vec::new(),
            said: false,
        };
        if is_stale {
            journal.snapshot(now);
        }
        Ok((journal, clients))
    }

    /// Makes safe what is about to be written. Afterwards it may be.
    ///
    /// # Errors
    /// What the system says; nothing of it may be written then.
    pub(in crate::pipeline) fn intend<'a>(
        &mut self,
        intents: impl Iterator<Item = &'a Intent>,
        now: Timestamp,
    ) -> io::Result<()> {
        if self.is_stale {
            self.write_snapshot(now)?;
        }
        self.buffer.clear();
        for intent in intents {
            let ours = intent
                .receipts
                .iter()
                .map(|receipt| Ours { key: receipt.key().clone(), runs: receipt.runs().to_vec() });
            let entry = Entry::Region { place: intent.place.clone(), ours: ours.collect() };
            entry.write(&mut self.buffer)?;
        }
        self.append()
    }

    /// Appends what is in the buffer, and syncs it; all of it or nothing.
    fn append(&mut self) -> io::Result<()> {
        if self.bytes > JOURNAL_BYTES_MAX {
            return Err(io::Error::other(
                "the journal of what clients were told is full: files that could not be synced \
                 keep it from being renewed; look after the disk and restart",
            ));
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.begin()?,
        };
        let written = file.write_all(&self.buffer).and_then(|()| file.sync());
        match written {
            Ok(()) => self.bytes += self.buffer.len() as u64,
            // Half an entry would hide those behind it. If it cannot be cut off
            // now, it is before anything else is written.
            Err(_) if file.set_len(self.bytes).is_ok() => {}
            Err(_) => return written,
        }
        self.file = Some(file);
        written
    }

    /// Opens the journal, whose name is safe then.
    fn begin(&self) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk.open_live(FOLDER, &record::journal_name(self.number))?.file;
        if file.facts()?.bytes > self.bytes {
            file.set_len(self.bytes)?;
        }
        self.disk.sync_folder(FOLDER)?;
        Ok(file)
    }

    /// A region is not, and will not be, in its file.
    ///
    /// # Errors
    /// What the system says; it has to be said again then.
    pub(in crate::pipeline) fn void(&mut self, place: &Place) -> io::Result<()> {
        self.buffer.clear();
        Entry::Void(place.clone()).write(&mut self.buffer)?;
        self.append()
    }

    /// The file that a region is in gets another name. As long as it is not
    /// sealed it is found without; afterwards nobody can look into it.
    ///
    /// # Errors
    /// What the system says; it may not be sealed then.
    pub(in crate::pipeline) fn turned(
        &mut self,
        place: &Place,
        segment: &Segment,
    ) -> io::Result<()> {
        self.buffer.clear();
        let entry = Entry::Turned { place: place.clone(), name: segment.to_string() };
        entry.write(&mut self.buffer)?;
        self.append()
    }

    /// Begins a new journal when this one has become long, as long as nothing
    /// is on its way.
    pub(in crate::pipeline) fn renew(&mut self, now: Timestamp) {
        if self.bytes > JOURNAL_BYTES && self.clients.under_way() == 0 {
            self.snapshot(now);
        }
    }

    /// The same at the end, however long it is.
    pub(in crate::pipeline) fn snapshot_if_any(&mut self, now: Timestamp) {
        if self.bytes > 0 {
            self.snapshot(now);
        }
    }

    /// Writes down what is safe, so that the journal is not needed any more.
    /// Called when nothing is on its way.
    pub(in crate::pipeline) fn snapshot(&mut self, now: Timestamp) {
        if self.clients.under_way() > 0 {
            return;
        }
        let written = self.write_snapshot(now);
        match &written {
            Ok(()) => self.said = false,
            Err(error) if !std::mem::replace(&mut self.said, true) => warn!(
                "cannot write {}/{FOLDER}/{}: {error}; {}; the journal grows meanwhile",
                self.disk.path().display(),
                record::snapshot_name(self.number + 1),
                disk::remedy(error)
            ),
            Err(_) => {}
        }
    }

    fn write_snapshot(&mut self, now: Timestamp) -> io::Result<()> {
        let oldest = now.checked_sub(CLIENT_UNSEEN_MAX).unwrap_or(Timestamp::MIN);
        let next = self.number + 1;
        let (part, name) = (record::PART, record::snapshot_name(next));
        self.disk.remove(FOLDER, part)?;
        self.buffer.clear();
        let remembered = self.clients.remembered(oldest, now);
        let count = remembered.len() as u64;
        for client in remembered {
            Entry::Client(client).write(&mut self.buffer)?;
        }
        Entry::End { count }.write(&mut self.buffer)?;
        // Made as a live file is: with its folder, where that is not there.
        let mut file = self.disk.open_live(FOLDER, part)?.file;
        file.write_all(&self.buffer)?;
        file.sync()?;
        self.disk.rename(FOLDER, part, &name)?;
        self.disk.sync_folder(FOLDER)?;
        self.buffer = Vec::new();
        (self.file, self.bytes) = (None, 0);
        (self.number, self.is_stale) = (next, false);
        // What stands there still is older, and not asked any more.
        for name in self.disk.names(FOLDER)? {
            let number = record::number_of(&name, "clients");
            let number = number.or_else(|| record::number_of(&name, "journal"));
            if number.is_some_and(|number| number < next) {
                self.disk.remove(FOLDER, &name)?;
            }
        }
        Ok(())
    }
}

/// How a live file is found again, also when it has become a segment.
pub(in crate::pipeline) fn place(
    folder: &str,
    segment: &Segment,
    id: (u64, u64),
    offset: u64,
    region: &[&[u8]],
) -> Place {
    let mut crc = flate2::Crc::new();
    region.iter().for_each(|bytes| crc.update(bytes));
    Place {
        folder: folder.to_owned(),
        segment: segment.to_string(),
        id,
        offset,
        bytes: region.iter().map(|bytes| bytes.len() as u64).sum(),
        crc: crc.sum(),
    }
}

/// Is in a file what the journal says? Reads it from the disk, where the system
/// takes that advice.
pub(in crate::pipeline) fn holds(file: &dyn DiskFile, place: &Place) -> io::Result<bool> {
    file.forget();
    let is_long_enough = file.facts()?.bytes >= place.offset.saturating_add(place.bytes);
    Ok(is_long_enough && recover::crc32(file, place)? == place.crc)
}

const _: () = assert!(JOURNAL_BYTES < JOURNAL_BYTES_MAX);
