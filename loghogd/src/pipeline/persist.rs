//! Admitted records -> safe lines in files.
//! `Admitted` -> a `Batch` of lines, sorted by file; a `Batch` -> the disk.
//! Invariant: the lines of one sender reach a file in the order in which they came.
//! Leaves out: turning files, compressing and deleting them.
//!
//! ```text
//! entry    a message, in whatever protocol it came
//! line     pure: how it looks
//! json     pure: how it looks with `format = json`
//! path     pure: which file it goes to
//! persist  (here) collects the lines of many messages, without a lock
//! writer   the thread that writes
//! rounds   all files: one write a file for many batches, turns, then one sync
//! log_file one of them
//! live     what stands in a live file; what a kill has left at its end
//! messages where messages end
//! held     files that refuse, whose senders wait
//! clients  whose messages are numbered, and which of them are safe
//! numbers  pure: sets of such numbers
//! journal  keeps these in step with the files
//! hosts    how many hosts have files
//! retire   syncs and closes files that have turned, beside the writer
//! room     what has to stay free on the file system
//! ```

pub mod clients;
pub mod entry;
pub mod held;
mod hosts;
pub mod journal;
pub mod json;
pub mod line;
pub mod live;
pub(in crate::pipeline) mod log_file;
mod messages;
pub mod numbers;
pub mod path;
pub(in crate::pipeline) mod retire;
mod room;
pub(in crate::pipeline) mod rounds;
pub mod writer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use self::clients::{Receipt, Session};
use self::entry::{Entry, Fields};
use self::held::{Held, Hold};
use crate::clock::Stamp;
use crate::config::facility::{Facility, LineFormat};
use crate::limits::{
    BATCH_BYTES_FULL, BATCH_BYTES_MAX, BATCH_FILES_MAX, HOST_BYTES_MAX, QUEUE_BYTES_A_SECTION_MIN,
    QUEUE_BYTES_MAX,
};
use crate::pipeline::gate::{Admitted, same};
use crate::pipeline::tap::Taps;
use crate::stats::Counter;

/// Why a record cannot have a line. The sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PersistError {
    /// No file can be named after this host.
    #[error(transparent)]
    Host(#[from] path::HostRefused),
    /// Not even a line can show this host.
    #[error(
        "the host's name has {bytes} bytes, {HOST_BYTES_MAX} are allowed; shorten the client's host name"
    )]
    HostTooLong {
        /// Its length.
        bytes: usize,
    },
}

impl PersistError {
    /// The counter of this reason.
    pub fn counter(&self) -> Counter {
        match self {
            PersistError::Host(path::HostRefused::Empty) => Counter::HostEmpty,
            PersistError::Host(path::HostRefused::TooLong) | PersistError::HostTooLong { .. } => {
                Counter::HostTooLong
            }
        }
    }
}

/// Lines on their way to the disk: one buffer a file. The buffers come back
/// from the disk, so that a message costs no allocation.
#[derive(Debug)]
pub struct Batch {
    sections: Vec<Section>,
    /// The section that was written to last.
    last: Option<usize>,
    bytes: usize,
    spares: Arc<Spares>,
    held: Arc<Held>,
    taps: Arc<Taps>,
}

/// What became of a message.
#[derive(Debug)]
pub enum Pushed {
    /// Its lines are in the batch.
    Taken,
    /// Its file refuses: nothing was done, and its sender has to wait.
    Held(Hold),
}

/// The lines for one file.
#[derive(Debug)]
pub struct Section {
    /// The rules of the file.
    pub facility: Arc<Facility>,
    /// The file's path below the log folder.
    pub path: String,
    /// Whole lines.
    pub bytes: Vec<u8>,
    /// Messages in `bytes`; a message may have several lines.
    pub messages: u64,
    /// When the first of them was received.
    pub at: Timestamp,
    /// Which messages they are, where they are numbered.
    pub receipt: Option<Receipt>,
    /// The host as it was sent, where each host has a file of its own.
    host: String,
}

impl Batch {
    /// An empty batch, which takes its buffers from `spares`.
    pub fn new(spares: Arc<Spares>, held: Arc<Held>, taps: Arc<Taps>) -> Batch {
        Batch { sections: Vec::new(), last: None, bytes: 0, spares, held, taps }
    }

    /// Appends the lines of one v1 message.
    ///
    /// # Errors
    /// When its host's name is no good. The batch is then as before.
    pub fn push(&mut self, stamp: &Stamp, admitted: &Admitted<'_>) -> Result<Pushed, PersistError> {
        self.push_entry(stamp, admitted.facility, &Entry::from(&admitted.record))
    }

    /// Appends the lines of one message.
    ///
    /// # Errors
    /// When its host's name is no good. The batch is then as before.
    pub fn push_entry<'a, F: Fields<'a>>(
        &mut self,
        stamp: &Stamp,
        facility: &Arc<Facility>,
        entry: &Entry<'a, F>,
    ) -> Result<Pushed, PersistError> {
        let host = entry.host;
        if host.len() > HOST_BYTES_MAX {
            return Err(PersistError::HostTooLong { bytes: host.len() });
        }
        let key = if facility.file_per_host { host } else { "" };
        // Mostly it is the file used last.
        let found = self.sections.iter().rposition(|section| {
            Arc::ptr_eq(&section.facility, facility) && same(&section.host, key)
        });
        self.last = found.or(Some(self.sections.len()));
        match found.and_then(|found| self.sections.get_mut(found)) {
            Some(section) => self.bytes += section.write(stamp, entry),
            None => {
                let mut section = self.begin(facility, key, stamp)?;
                if let Some(hold) = self.held.find(&section.path) {
                    return Ok(Pushed::Held(hold));
                }
                self.bytes += section.write(stamp, entry);
                self.sections.push(section);
            }
        }
        if self.taps.any() {
            self.taps.show(stamp, facility, entry);
        }
        Ok(Pushed::Taken)
    }

    /// Notes that the message pushed last is this one of a session.
    pub fn number_last(&mut self, session: &Session, number: u64) {
        if let Some(section) = self.last.and_then(|last| self.sections.get_mut(last)) {
            section.receipt.get_or_insert_with(|| session.receipt()).add(number);
        }
    }

    /// Is it time to hand it on?
    pub fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES_FULL || self.sections.len() >= BATCH_FILES_MAX
    }

    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// The room that it takes on its way, in bytes.
    pub fn room_bytes(&self) -> usize {
        self.sections.iter().map(Section::room_bytes).sum()
    }

    /// Takes the sections out, to be written.
    pub fn take(&mut self) -> Vec<Section> {
        self.bytes = 0;
        std::mem::take(&mut self.sections)
    }

    fn begin(
        &self,
        facility: &Arc<Facility>,
        host: &str,
        stamp: &Stamp,
    ) -> Result<Section, PersistError> {
        let mut path = String::new();
        path::live_file(facility, host, &mut path)?;
        Ok(Section {
            facility: Arc::clone(facility),
            path,
            bytes: self.spares.take(),
            messages: 0,
            at: stamp.at(),
            receipt: None,
            host: host.to_owned(),
        })
    }
}

impl Section {
    /// The room that it takes on its way, in bytes: its lines, its names and
    /// itself.
    pub fn room_bytes(&self) -> usize {
        QUEUE_BYTES_A_SECTION_MIN + self.bytes.capacity()
    }

    /// Returns how many bytes were added.
    fn write<'a, F: Fields<'a>>(&mut self, stamp: &Stamp, entry: &Entry<'a, F>) -> usize {
        let before = self.bytes.len();
        match self.facility.format {
            LineFormat::Text => line::write_line(stamp, entry, &mut self.bytes),
            LineFormat::Json => json::write_json(stamp, entry, &mut self.bytes),
        }
        self.messages += 1;
        self.bytes.len() - before
    }
}

/// Empty buffers, on their way back from the disk to the batches. Asked once
/// a batch and file, not once a message.
#[derive(Debug, Default)]
pub struct Spares {
    buffers: Mutex<Vec<Vec<u8>>>,
}

impl Spares {
    /// More are not kept than can be on their way, nor larger ones than a batch
    /// mostly needs.
    const BUFFERS_MAX: usize = QUEUE_BYTES_MAX / BATCH_BYTES_MAX;
    const BUFFER_BYTES_MAX: usize = 2 * BATCH_BYTES_MAX;

    fn take(&self) -> Vec<u8> {
        self.buffers().pop().unwrap_or_default()
    }

    fn put_back(&self, mut buffer: Vec<u8>) {
        let mut buffers = self.buffers();
        if buffer.capacity() <= Self::BUFFER_BYTES_MAX && buffers.len() < Self::BUFFERS_MAX {
            buffer.clear();
            buffers.push(buffer);
        }
    }

    fn buffers(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
