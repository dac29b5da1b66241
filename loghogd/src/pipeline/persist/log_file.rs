//! One log file: what is to be written to it, and how that goes.
//! Parcels of lines -> bytes in the file, synced when asked to.
//! Invariant: nobody leaves the file alone in the middle of a message.
//! Leaves out: which files there are, and when to write and to sync (`writer`).

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{error, info, warn};

use super::{Section, Spares, mend};
use crate::config::facility::Facility;
use crate::disk::{Disk, DiskFile, LogDir};
use crate::limits::{COMPLAINT_WINDOW, WRITE_RETRY_MAX, WRITE_RETRY_MIN};
use crate::stats::{Counter, Stats};

/// Lines on their way to a file, and the room that they take until they are
/// written.
pub(super) struct Parcel {
    pub(super) section: Section,
    pub(super) _room: Arc<OwnedSemaphorePermit>,
}

/// A file that lines go to, open or about to be.
pub(super) struct LogFile {
    pub(super) facility: Arc<Facility>,
    pub(super) file: Option<Box<dyn DiskFile>>,
    /// What is to be written; of the first, `written` bytes already are.
    pub(super) parcels: VecDeque<Parcel>,
    pub(super) written: usize,
    pub(super) messages_unsynced: u64,
    pub(super) unsynced_since: Option<Instant>,
    /// The round in which it was last written to.
    pub(super) used: u64,
    pub(super) trouble: Option<Trouble>,
    /// When the own log heard of trouble last.
    said_at: Option<Instant>,
    /// The last sync failed, and that has been said.
    sync_failed: bool,
}

/// A file that refused: when to ask it again.
pub(super) struct Trouble {
    pub(super) retry_at: Instant,
    pause: Duration,
    /// The own log has heard of it.
    said: bool,
}

impl LogFile {
    pub(super) fn new(facility: Arc<Facility>) -> LogFile {
        LogFile {
            facility,
            file: None,
            parcels: VecDeque::new(),
            written: 0,
            messages_unsynced: 0,
            unsynced_since: None,
            used: 0,
            trouble: None,
            said_at: None,
            sync_failed: false,
        }
    }

    pub(super) fn may_try(&self, now: Instant) -> bool {
        self.trouble.as_ref().is_none_or(|trouble| now >= trouble.retry_at)
    }

    /// Hands every parcel to the kernel, as many as fit with one call.
    pub(super) fn write(
        &mut self,
        path: &str,
        dir: &LogDir,
        stats: &Stats,
        spares: &Spares,
    ) -> io::Result<()> {
        /// Linux takes no more than 1024 (IOV_MAX).
        const SLICES_MAX: usize = 64;
        if self.file.is_none() {
            self.file = Some(open(path, dir)?);
        }
        while let Some(file) = self.file.as_mut().filter(|_| !self.parcels.is_empty()) {
            let mut skip = self.written;
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            for (slice, parcel) in slices.iter_mut().zip(&self.parcels) {
                let rest = parcel.section.bytes.get(std::mem::take(&mut skip)..);
                *slice = IoSlice::new(rest.unwrap_or(&[]));
            }
            let used = self.parcels.len().min(SLICES_MAX);
            match file.write_vectored(slices.get(..used).unwrap_or(&slices)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    stats.add(Counter::Bytes, bytes as u64);
                    self.written += bytes;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            self.release_written(stats, spares);
        }
        Ok(())
    }

    /// Lets go of the parcels that are written, and of their room.
    fn release_written(&mut self, stats: &Stats, spares: &Spares) {
        while let Some(first) = self.parcels.front() {
            if self.written < first.section.bytes.len() {
                break;
            }
            self.written -= first.section.bytes.len();
            let Some(Parcel { section, _room }) = self.parcels.pop_front() else { break };
            stats.add(Counter::Lines, section.messages);
            self.messages_unsynced += section.messages;
            self.unsynced_since.get_or_insert_with(Instant::now);
            spares.put_back(section.bytes);
        }
    }

    /// Some file systems take shorter names than others: what can never be
    /// written is refused like any host's name that is too long.
    pub(super) fn give_up(&mut self, path: &str, stats: &Stats) {
        let messages = self.parcels.drain(..).map(|parcel| parcel.section.messages).sum();
        stats.add(Counter::HostTooLong, messages);
        warn!("{path}: the file system takes no name that long; {messages} messages were refused");
    }

    /// Notes how an attempt went, says so when that is news, and plans the next.
    pub(super) fn settle(
        &mut self,
        path: &str,
        dir: &LogDir,
        outcome: io::Result<()>,
        stats: &Stats,
    ) {
        let full = dir.path().join(path);
        let before = self.trouble.take();
        let Err(error) = outcome else {
            if before.is_some_and(|trouble| trouble.said) {
                info!(
                    "{} can be written again; nothing sent over TCP or TLS was lost",
                    full.display()
                );
            }
            return;
        };
        stats.add(Counter::WriteRetries, 1);
        let now = Instant::now();
        // A disk that is full, then not, then full again is one complaint.
        let lately = self.said_at.is_some_and(|said_at| now < said_at + COMPLAINT_WINDOW);
        let said = before.as_ref().map_or(!lately, |trouble| trouble.said);
        if before.is_none() && said {
            self.said_at = Some(now);
            error!(
                "cannot write {}: {error}; {}; stream senders wait meanwhile, and it is tried again",
                full.display(),
                remedy(&error)
            );
        }
        let pause = before.map_or(WRITE_RETRY_MIN, |t| (t.pause * 2).min(WRITE_RETRY_MAX));
        self.trouble = Some(Trouble { retry_at: now + pause, pause, said });
    }

    pub(super) fn sync(&mut self, path: &str, stats: &Stats) {
        self.messages_unsynced = 0;
        if self.unsynced_since.take().is_none() {
            return;
        }
        let Some(file) = &self.file else { return };
        match file.sync() {
            Ok(()) => {
                stats.add(Counter::Syncs, 1);
                self.sync_failed = false;
            }
            Err(error) => {
                stats.add(Counter::SyncFailures, 1);
                if !std::mem::replace(&mut self.sync_failed, true) {
                    error!(
                        "cannot sync {path}: {error}; what was written to it in the last moments may \
                         be lost with the power; {}",
                        remedy(&error)
                    );
                }
                // The kernel reports a failure once, and may have dropped the
                // data: a fresh descriptor reports the next one.
                self.drop_file(path);
            }
        }
    }

    pub(super) fn close(&mut self, path: &str, stats: &Stats) {
        self.cut_back(path);
        self.sync(path, stats);
        self.drop_file(path);
    }

    fn drop_file(&mut self, path: &str) {
        self.cut_back(path);
        self.file = None;
    }

    /// Takes a message that was written in part out of the file again, so
    /// that the file can be left alone. It stays to be written.
    fn cut_back(&mut self, path: &str) {
        let (Some(file), Some(first)) = (&self.file, self.parcels.front()) else { return };
        let keep = whole_messages(&first.section.bytes, self.written);
        if keep == self.written {
            return;
        }
        let torn = (self.written - keep) as u64;
        let cut = file.facts().and_then(|data| file.set_len(data.bytes.saturating_sub(torn)));
        match cut {
            Ok(()) => self.written = keep,
            // What is in the file stays; the rest of the message follows it.
            Err(error) => warn!("cannot cut a torn message of {torn} bytes off {path}: {error}"),
        }
    }
}

/// How many of the first `written` bytes are whole messages: up to a line
/// feed behind which no continuation line follows.
fn whole_messages(bytes: &[u8], written: usize) -> usize {
    let written = written.min(bytes.len());
    let is_end = |place: &usize| {
        bytes.get(place.wrapping_sub(1)) == Some(&b'\n') && bytes.get(*place) != Some(&b'\t')
    };
    (1..=written).rev().find(is_end).unwrap_or(0)
}

/// How many messages begin in the first `written` bytes.
pub(super) fn messages_in(bytes: &[u8], written: usize) -> u64 {
    let whole = bytes.get(..whole_messages(bytes, written)).unwrap_or_default();
    let first_lines = whole.split(|&byte| byte == b'\n').filter(|line| !line.starts_with(b"\t"));
    // Behind the last line feed there is an empty piece.
    (first_lines.count() as u64).saturating_sub(1)
}

fn open(path: &str, dir: &LogDir) -> io::Result<Box<dyn DiskFile>> {
    let (app, name) = path.split_once('/').ok_or(io::ErrorKind::InvalidInput)?;
    let mut live = dir.open_live(app, name)?;
    if live.is_new {
        dir.sync_folder(app)?;
        return Ok(live.file);
    }
    let torn_bytes = mend::cut_torn_line(&mut *live.file)?;
    if torn_bytes > 0 {
        info!(
            "{path} ended in a torn line of {torn_bytes} bytes, as a kill in the middle of a write \
             leaves it; it was cut off"
        );
    }
    Ok(live.file)
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on its file system",
        io::ErrorKind::PermissionDenied => "give the daemon's user permission to write there",
        io::ErrorKind::ReadOnlyFilesystem => "mount its file system for writing",
        io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::InvalidInput => "move away what stands in its place",
        _ if error.raw_os_error() == Some(Errno::ELOOP as i32) => {
            "links are not followed: move this one away"
        }
        _ => "see the system's log for the cause",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_written_in_part_is_told_from_whole_ones() {
        let bytes = b"one\n\tmore\ntwo\nthree\n";
        let ends: Vec<usize> =
            (0..=bytes.len()).map(|written| whole_messages(bytes, written)).collect();
        assert_eq!(ends[..10], [0; 10], "a message ends with its continuation lines");
        assert_eq!(ends[10..14], [10; 4]);
        assert_eq!(ends[14..20], [14; 6]);
        assert_eq!(ends[20], 20);
        assert_eq!([9, 10, 13, 14, 20].map(|written| messages_in(bytes, written)), [0, 1, 1, 2, 3]);
    }
}
