//! Seals segments: compresses them, and publishes what has been read back.
//! A plain `Segment` -> the same, sealed; what a stop has left -> as if there had been none.
//! Invariant: at every moment the lines are in the plain file, or in a sealed one that is safe and was compared.
//! Leaves out: shipping and deletion.
//!
//! ```text
//! X                        plain
//! X.xz.part                written, synced, read back, compared by length and checksum
//! X.xz                     renamed; the folder synced; only then X is removed
//! ```
//! Each step may be repeated; [`find`](super::rotate::recover::find) tells from
//! the names how far a segment has come.

mod blocks;
mod bytes;
mod bzip2;
mod compress;
mod crew;
mod decode;
mod gzip;
pub mod limits;
mod members;
mod press;
#[cfg(test)]
mod tests;
mod verify;
mod whole;
mod xz;
mod zstd;

pub use bytes::ReadAt;
pub use compress::{CompressError, Compressor, Plain, Summary};
pub use gzip::Press as MemberPress;
pub use members::{Whole, member, whole_members};
pub use verify::VerifyError;
pub use whole::looks_whole;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use nix::errno::Errno;
use tracing::{debug, error, info, warn};

use self::compress::Sum;
use super::claims::Claims;
use super::cold::{Bell, Call};
use super::persist::live::{Form, Mended, mend};
use super::rotate::name::{Damaged, Segment};
use super::rotate::recover;
use crate::config::checked::Format;
use crate::config::facility::Table;
use crate::disk::{self, Disk, DiskFile, Facts};
use crate::limits::{
    COMPLAINT_WINDOW, PACE_BYTES_A_SECOND, PACE_LOOK_EVERY, PACE_PAUSE, SEAL_RETRY_MAX,
    SEAL_RETRY_MIN, SEAL_SYNC_BYTES, TRIM_PAUSE,
};
use crate::stats::{Counter, Stats};

/// What a sealer needs.
#[derive(Debug)]
pub struct Sealer {
    /// Where the segments are.
    pub disk: Arc<dyn Disk>,
    /// Whose segments are sealed.
    pub table: Arc<ArcSwap<Table>>,
    /// Says what becomes of them, and does it.
    pub compressor: Mutex<Compressor>,
    /// Keeps others from deleting what is being worked on.
    pub claims: Claims,
    /// What is counted.
    pub stats: Arc<Stats>,
}

/// Segments that wait to be sealed, the oldest first.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: BTreeMap<(Box<str>, Segment), Work>,
    /// Folders of which the sealed segments have been looked at.
    inspected: BTreeSet<Box<str>>,
    /// When the own log heard last of trouble with a folder.
    said: BTreeMap<Box<str>, Instant>,
}

#[derive(Debug)]
struct Work {
    twins: Vec<Format>,
    retry: Option<Retry>,
}

#[derive(Debug)]
struct Retry {
    at: Instant,
    pause: Duration,
}

/// How sealing a segment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is sealed.
    Sealed,
    /// It is not there any more.
    Gone,
    /// It could not be read, and was set aside.
    SetAside,
}

/// Why a segment is not sealed yet.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The disk refused something.
    #[error("{name}: {source}; {}", disk::remedy(source))]
    Disk {
        /// The file's name.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// What was read back is not what was written.
    #[error("{name}: what is read back is not what was written; look after the disk")]
    NotTheSame {
        /// The file's name.
        name: String,
    },
    /// Somebody writes to a file that should be closed.
    #[error("it changes while it is being read; see who writes to it")]
    Changing,
    /// The daemon stops.
    #[error("stopped")]
    Stopped,
}

impl Sealer {
    /// Seals what there is to seal, until the bell has ended. Of what is sealed
    /// something may be deleted: `trim` is told.
    pub fn run(&self, bell: &Bell, trim: &Bell) {
        self.compressor().prepare();
        let mut queue = Queue::default();
        let mut released = Released::default();
        let pace = Pace::new(&self.stats);
        let go_on = || pace.keep(bell);
        let mut call = Some(Call { all: true, ..Call::default() });
        while let Some(now) = call {
            self.look(&now, &mut queue);
            let oldest = queue.oldest(Instant::now());
            let until = match &oldest {
                None => queue.next_retry(),
                Some((folder, _)) => {
                    self.seal_next(&mut queue, Instant::now(), &go_on);
                    released.note(folder);
                    Some(Instant::now())
                }
            };
            released.tell(trim, oldest.is_none(), Instant::now());
            call = bell.wait(until);
        }
    }

    /// Looks at what stands in the folders, and cleans up after a stop.
    pub fn look(&self, call: &Call, queue: &mut Queue) {
        let table = self.table.load();
        let apps = table.iter().map(|facility| &facility.app);
        let folders = apps.filter(|app| call.all || call.folders.contains(*app)).cloned();
        for folder in folders.collect::<std::collections::BTreeSet<_>>() {
            // Once is enough: later there is nothing but what was made here.
            let thoroughly = queue.inspected.insert(folder.clone());
            if let Err(error) = self.look_into(&folder, &table, thoroughly, queue) {
                error!(
                    "cannot look for segments in {}: {error}; {}",
                    self.shown(&folder, ""),
                    disk::remedy(&error)
                );
            }
        }
    }

    fn look_into(
        &self,
        folder: &str,
        table: &Table,
        thoroughly: bool,
        queue: &mut Queue,
    ) -> io::Result<()> {
        let found = recover::find(&self.disk.names(folder)?);
        // Nobody but this thread makes unfinished seals, and it makes none now.
        let ours = |segment: &Segment| table.owner(folder, segment.stem()).is_some();
        for segment in found.unfinished.iter().filter(|segment| ours(segment)) {
            let shown = self.shown(folder, &segment.unfinished());
            match self.disk.remove(folder, &segment.unfinished()) {
                Ok(()) => info!("removed {shown}, a seal that was not finished"),
                Err(error) => warn!("cannot remove {shown}: {error}; {}", disk::remedy(&error)),
            }
        }
        if thoroughly {
            for segment in found.sealed.iter().filter(|segment| ours(segment)) {
                self.inspect(folder, segment);
            }
        }
        for (segment, twins) in found.plain.into_iter().filter(|(segment, _)| ours(segment)) {
            let name = segment.to_string();
            match self.disk.facts(folder, &name) {
                // What is no file is not ours, whatever it is called.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => continue,
                Ok(None) => continue,
                Ok(Some(_)) | Err(_) => {}
            }
            if thoroughly && let Err(error) = self.mend(folder, &segment) {
                let shown = self.shown(folder, &name);
                warn!("cannot look at {shown}: {error}; {}", disk::remedy(&error));
            }
            queue.put(folder, segment, twins);
        }
        Ok(())
    }

    /// A segment that turned just before the power failed may have lost its
    /// last lines, which were not synced yet, and half of one of them.
    fn mend(&self, folder: &str, segment: &Segment) -> io::Result<()> {
        let name = segment.to_string();
        // Who opens it to write would make it anew when it is deleted meanwhile.
        let _claim = self.claims.claim(folder, segment);
        if self.disk.facts(folder, &name)?.is_none() {
            return Ok(());
        }
        let mut file = self.disk.open_live(folder, &name)?.file;
        if let Mended::Cut(torn_bytes @ 1..) = mend(&mut *file, Form::Plain)? {
            self.stats.add(Counter::TornBytes, torn_bytes);
            let shown = self.shown(folder, &name);
            info!("{shown} ended in a torn line of {torn_bytes} bytes; it was cut off");
        }
        Ok(())
    }

    /// Sets a sealed segment aside that is visibly not whole. What is in it
    /// is not decoded: that would take long for what is rarely wrong.
    fn inspect(&self, folder: &str, segment: &Segment) {
        let Some(format) = segment.format else { return };
        let name = segment.to_string();
        let looked = self.disk.open(folder, &name).and_then(|file| looks_whole(&*file, format));
        match looked {
            Ok(true) => self.stats.add(Counter::SegmentsFound, 1),
            Ok(false) => self.set_aside(folder, segment, "it is not whole"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => warn!("cannot look at {}: {error}", self.shown(folder, &name)),
        }
    }

    /// Seals the oldest segment that may be tried now. None when there is none.
    pub fn seal_next(
        &self,
        queue: &mut Queue,
        now: Instant,
        go_on: &dyn Fn() -> bool,
    ) -> Option<Result<Outcome, SealError>> {
        let ((folder, segment), mut work) = queue.take(now)?;
        // The attempt before may have come as far as giving it its name.
        let twins = match work.retry {
            None => Ok(std::mem::take(&mut work.twins)),
            Some(_) => self.twins(&folder, &segment),
        };
        let outcome = twins.and_then(|twins| self.seal(&folder, &segment, &twins, go_on));
        match &outcome {
            Ok(_) | Err(SealError::Stopped) => {}
            Err(error) => {
                self.stats.add(Counter::SealRetries, 1);
                // What ails one segment mostly ails its whole folder.
                if work.retry.is_none() && queue.may_say(&folder, now) {
                    error!(
                        "cannot seal {}: {error}; it stays as it is and is tried again, and so are \
                         others of its folder",
                        self.shown(&folder, &segment.to_string())
                    );
                }
                let pause = work.retry.map_or(SEAL_RETRY_MIN, |retry| retry.pause * 2);
                let pause = pause.min(SEAL_RETRY_MAX);
                work.retry = Some(Retry { at: now + pause, pause });
                queue.waiting.insert((folder, segment), work);
            }
        }
        Some(outcome)
    }

    /// The formats in which there seems to be a sealed file of it.
    fn twins(&self, folder: &str, segment: &Segment) -> Result<Vec<Format>, SealError> {
        let mut twins = Vec::new();
        for format in Format::ALL {
            let name = segment.sealed(format).to_string();
            match self.disk.facts(folder, &name) {
                Ok(found) => twins.extend(found.map(|_| format)),
                Err(source) => return Err(failed(&name, source)),
            }
        }
        Ok(twins)
    }

    /// Seals a segment. `twins` are the formats in which there seems to be a
    /// sealed file of it already.
    ///
    /// # Errors
    /// When the disk refuses; the plain file is still there then.
    pub fn seal(
        &self,
        folder: &str,
        segment: &Segment,
        twins: &[Format],
        go_on: &dyn Fn() -> bool,
    ) -> Result<Outcome, SealError> {
        let _claim = self.claims.claim(folder, segment);
        let name = segment.to_string();
        let mut plain = match self.disk.open(folder, &name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Outcome::Gone),
            other => other.map_err(|source| failed(&name, source))?,
        };
        for &format in twins {
            if self.is_twin(folder, &mut *plain, segment, format, go_on)? {
                self.disk.sync_folder(folder).map_err(|source| failed(&name, source))?;
                self.remove_plain(folder, &name)?;
                return Ok(Outcome::Sealed);
            }
            self.set_aside(
                folder,
                &segment.sealed(format),
                "it differs from the plain one beside it",
            );
            plain = self.disk.open(folder, &name).map_err(|source| failed(&name, source))?;
        }
        let sealed = segment.sealed(self.compressor().format());
        let part = sealed.unfinished();
        match self.write(folder, &mut *plain, &name, &part, go_on) {
            Ok(()) => {}
            Err(Fault::Unreadable(error)) => {
                self.discard(folder, &part);
                self.set_aside(folder, segment, &format!("it cannot be read: {error}"));
                return Ok(Outcome::SetAside);
            }
            Err(Fault::Other(error)) => {
                self.discard(folder, &part);
                return Err(error);
            }
        }
        let publish = || {
            self.disk.rename(folder, &part, &sealed.to_string())?;
            self.disk.sync_folder(folder)
        };
        publish().map_err(|source| {
            self.discard(folder, &part);
            failed(&part, source)
        })?;
        self.remove_plain(folder, &name)?;
        self.stats.add(Counter::SegmentsSealed, 1);
        debug!("sealed {}", self.shown(folder, &sealed.to_string()));
        Ok(Outcome::Sealed)
    }

    /// Writes the sealed file under its temporary name, and reads it back.
    fn write(
        &self,
        folder: &str,
        plain: &mut dyn DiskFile,
        name: &str,
        part: &str,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), Fault> {
        let other = |name: &str| {
            let name = name.to_owned();
            move |source| Fault::Other(SealError::Disk { name, source })
        };
        let facts = plain.facts().map_err(other(name))?;
        // Or a power failure could take from the plain file what the sealed
        // one has, and they would seem to differ.
        plain.sync().map_err(other(name))?;
        self.disk.remove(folder, part).map_err(other(part))?;
        let mut out = self.disk.create(folder, part).map_err(other(part))?;
        let mut compressor = self.compressor();
        let mut steadily = Steadily { file: &mut *out, unsynced_bytes: 0 };
        let written = match compressor.compress(plain, &mut steadily, go_on) {
            Ok(written) => written,
            Err(CompressError::Stopped) => return Err(Fault::Other(SealError::Stopped)),
            Err(CompressError::Read(error)) => return Err(Fault::of_reading(name, error)),
            Err(CompressError::Write(error)) => return Err(other(part)(error)),
            Err(CompressError::Failed(why)) => return Err(other(part)(io::Error::other(why))),
        };
        // What it takes on the disk may change by itself.
        let known = |facts: Facts| (facts.id, facts.bytes, facts.modified);
        let after = plain.facts().map_err(other(name))?;
        if written.plain.bytes != facts.bytes || known(after) != known(facts) {
            return Err(Fault::Other(SealError::Changing));
        }
        out.set_modified(facts.modified).map_err(other(part))?;
        out.sync().map_err(other(part))?;
        // What is read back is to come from the disk, not from memory.
        out.forget();
        drop(out);
        let back = self.disk.open(folder, part).map_err(other(part))?;
        let format = compressor.format();
        match compressor.verify(&*back, format, go_on) {
            Ok(read) if read == written.plain => {}
            Err(VerifyError::Stopped) => return Err(Fault::Other(SealError::Stopped)),
            Err(VerifyError::Read(error)) => return Err(other(part)(error)),
            _ => return Err(Fault::Other(SealError::NotTheSame { name: part.to_owned() })),
        }
        back.forget();
        plain.forget();
        self.stats.add(Counter::SealedPlainBytes, written.plain.bytes);
        self.stats.add(Counter::SealedBytes, written.sealed_bytes);
        Ok(())
    }

    /// Is the sealed file what the plain one is?
    fn is_twin(
        &self,
        folder: &str,
        plain: &mut dyn DiskFile,
        segment: &Segment,
        format: Format,
        go_on: &dyn Fn() -> bool,
    ) -> Result<bool, SealError> {
        let name = segment.sealed(format).to_string();
        let sealed = self.disk.open(folder, &name).map_err(|source| failed(&name, source))?;
        let found = match self.compressor().verify(&*sealed, format, go_on) {
            Ok(found) => found,
            Err(VerifyError::Stopped) => return Err(SealError::Stopped),
            Err(VerifyError::Read(source)) => return Err(failed(&name, source)),
            Err(_) => return Ok(false),
        };
        match digest(plain, go_on) {
            Ok(Some(expected)) if expected == found => {
                // Whoever made it may not have.
                sealed.sync().map(|()| true).map_err(|source| failed(&name, source))
            }
            Ok(Some(_)) => Ok(false),
            Ok(None) => Err(SealError::Stopped),
            // Nothing goes that has not been compared.
            Err(source) => Err(failed(&segment.to_string(), source)),
        }
    }
}

impl Sealer {
    /// The sealed file is safe: the plain one goes.
    fn remove_plain(&self, folder: &str, name: &str) -> Result<(), SealError> {
        let removed = self.disk.remove(folder, name);
        removed.map_err(|source| failed(name, source))
    }

    /// Takes a seal that came to nothing away; what remains goes at the next start.
    fn discard(&self, folder: &str, part: &str) {
        if let Err(error) = self.disk.remove(folder, part) {
            warn!("cannot remove {}: {error}", self.shown(folder, part));
        }
    }

    /// Gives a file that is damaged a name of its own, so that nothing waits
    /// for it and nobody takes it for what it is not.
    fn set_aside(&self, folder: &str, segment: &Segment, reason: &str) {
        let name = segment.to_string();
        let shown = self.shown(folder, &name);
        let mut aside = Some(Damaged::new(segment.clone()));
        while let Some(damaged) = aside {
            match self.disk.rename(folder, &name, &damaged.to_string()) {
                Ok(()) => {
                    self.stats.add(Counter::SegmentsDamaged, 1);
                    error!(
                        "{shown} was set aside as {damaged}: {reason}; see what of it can be saved, \
                         then delete it"
                    );
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    aside = damaged.next()
                }
                Err(error) => {
                    error!(
                        "{shown} is damaged ({reason}) and cannot be set aside: {error}; {}",
                        disk::remedy(&error)
                    );
                    return;
                }
            }
        }
    }

    fn compressor(&self) -> MutexGuard<'_, Compressor> {
        self.compressor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self, folder: &str, name: &str) -> String {
        self.disk.path().join(folder).join(name).display().to_string()
    }
}

impl Queue {
    /// Adds a segment, unless it waits already.
    fn put(&mut self, folder: &str, segment: Segment, twins: Vec<Format>) {
        let key = (folder.into(), segment);
        self.waiting.entry(key).or_insert(Work { twins, retry: None });
    }

    fn may_say(&mut self, folder: &str, now: Instant) -> bool {
        let lately = self.said.get(folder).is_some_and(|&said_at| now < said_at + COMPLAINT_WINDOW);
        if !lately {
            self.said.insert(folder.into(), now);
        }
        !lately
    }

    /// The segment to be sealed next.
    fn oldest(&self, now: Instant) -> Option<(Box<str>, Segment)> {
        let ready = |work: &Work| work.retry.as_ref().is_none_or(|retry| retry.at <= now);
        let oldest = self.waiting.iter().filter(|(_, work)| ready(work));
        oldest.min_by_key(|((_, segment), _)| segment.began).map(|(key, _)| key.clone())
    }

    fn take(&mut self, now: Instant) -> Option<((Box<str>, Segment), Work)> {
        self.waiting.remove_entry(&self.oldest(now)?)
    }

    /// When the next segment may be tried again.
    fn next_retry(&self) -> Option<Instant> {
        self.waiting.values().filter_map(|work| work.retry.as_ref().map(|retry| retry.at)).min()
    }

    /// Is there nothing left to seal?
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Gives way while much is being written. Even threads that run only when
/// nobody else wants to take something from those who do: processors share
/// their caches, and often more.
struct Pace<'a> {
    stats: &'a Stats,
    last: Mutex<Look>,
}

/// What was written until when.
struct Look {
    at: Instant,
    bytes: u64,
}

impl Pace<'_> {
    fn new(stats: &Stats) -> Pace<'_> {
        let last = Look { at: Instant::now(), bytes: stats.get(Counter::Bytes) };
        Pace { stats, last: Mutex::new(last) }
    }

    /// Asked some fifty times a second by whoever hands out work. While there
    /// is much to write it pauses; what has been handed out is finished
    /// meanwhile. False when the bell has ended.
    fn keep(&self, bell: &Bell) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + PACE_PAUSE;
        if Instant::now() >= last.at + PACE_LOOK_EVERY {
            while self.is_much(&mut last) && Instant::now() < until && !bell.has_ended() {
                std::thread::sleep(PACE_LOOK_EVERY);
            }
        }
        !bell.has_ended()
    }

    /// Is more being written than sealing should take from?
    fn is_much(&self, last: &mut Look) -> bool {
        let look = Look { at: Instant::now(), bytes: self.stats.get(Counter::Bytes) };
        let written = u128::from(look.bytes.saturating_sub(last.bytes));
        let passed = look.at.saturating_duration_since(last.at);
        *last = look;
        written * 1000 > u128::from(PACE_BYTES_A_SECOND) * passed.as_millis()
    }
}

/// Folders in which something has been sealed: what could not be deleted
/// meanwhile may be now. The trimmer lists all of a folder, so it hears of it
/// once a second only.
#[derive(Debug, Default)]
struct Released {
    folders: BTreeSet<Box<str>>,
    told_at: Option<Instant>,
}

impl Released {
    fn note(&mut self, folder: &str) {
        if !self.folders.contains(folder) {
            self.folders.insert(folder.into());
        }
    }

    fn tell(&mut self, bell: &Bell, at_end: bool, now: Instant) {
        let lately = self.told_at.is_some_and(|told_at| now < told_at + TRIM_PAUSE);
        if self.folders.is_empty() || (lately && !at_end) {
            return;
        }
        self.told_at = Some(now);
        std::mem::take(&mut self.folders).iter().for_each(|folder| bell.ring_aside_for(folder));
    }
}

/// What went wrong in writing a sealed file, by blame.
enum Fault {
    /// The plain one is damaged.
    Unreadable(io::Error),
    Other(SealError),
}

impl Fault {
    /// Of a disk that fails we know that trying again does not help.
    fn of_reading(name: &str, error: io::Error) -> Fault {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EIO | Errno::EUCLEAN | Errno::EBADMSG) => Fault::Unreadable(error),
            _ => Fault::Other(failed(name, error)),
        }
    }
}

/// Syncs a file while it is being written: one sync of all of it at the end
/// could take long, and nobody can interrupt it.
struct Steadily<'a> {
    file: &'a mut dyn DiskFile,
    unsynced_bytes: usize,
}

impl Write for Steadily<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.unsynced_bytes += written;
        if self.unsynced_bytes >= SEAL_SYNC_BYTES {
            self.file.sync()?;
            self.unsynced_bytes = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What a plain file is known by; none when it is time to stop.
fn digest(plain: &mut dyn DiskFile, go_on: &dyn Fn() -> bool) -> io::Result<Option<Plain>> {
    let mut sum = Sum::new();
    let mut slice = vec![0; limits::SLICE_BYTES];
    while go_on() {
        match plain.read(&mut slice) {
            Ok(0) => return Ok(Some(sum.plain())),
            Ok(bytes) => sum.add(slice.get(..bytes).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn failed(name: &str, source: io::Error) -> SealError {
    SealError::Disk { name: name.to_owned(), source }
}
