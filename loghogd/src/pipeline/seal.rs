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
//! Each step may be repeated; [`find`] tells from
//! the names how far a segment has come.

mod blocks;
mod bytes;
mod bzip2;
mod compress;
mod crew;
mod decode;
mod gzip;
pub mod limits;
mod lines;
mod members;
mod pace;
mod press;
mod publish;
mod queue;
#[cfg(test)]
mod tests;
mod verify;
mod whole;
mod xz;
mod zstd;

pub use bytes::ReadAt;
pub use compress::{CompressError, Compressor, Plain, Summary};
pub use gzip::Press as MemberPress;
pub use lines::Lines;
pub use members::{Whole, member, whole_members};
pub use pace::Pace;
pub use publish::{Outcome, SealError};
pub use queue::Queue;
pub use verify::VerifyError;
pub use whole::looks_whole;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;
use tracing::{error, info, warn};

use super::claims::Claims;
use super::cold::{Bell, Call};
use super::persist::live::{Form, Mended, mend};
use super::rotate::name::{Damaged, Segment};
use super::rotate::recover::find;
use super::tally::kept::Tallies;
use crate::config::facility::Table;
use crate::disk::{self, Disk};
use crate::limits::TRIM_PAUSE;
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
    /// What is in segments is kept there, for those who ship them.
    pub tallies: Tallies,
    /// In which zone lines are stamped.
    pub zone: TimeZone,
    /// What is counted.
    pub stats: Arc<Stats>,
}

impl Sealer {
    /// Seals what there is to seal, until the bell has ended. Of what is sealed
    /// something may be deleted: `trim` is told.
    pub fn run(&self, bell: &Bell, trim: &Bell) {
        self.compressor().prepare();
        let mut queue = Queue::default();
        let mut released = Released::default();
        let go_on = || !bell.has_ended();
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
        for folder in folders.collect::<BTreeSet<_>>() {
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
        let found = find(&self.disk.names(folder)?);
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
        for segment in found.plain.into_iter().filter(ours) {
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
            queue.put(folder, segment);
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
        let ((folder, segment), retry) = queue.take(now)?;
        let outcome = self.seal(&folder, &segment, go_on);
        match &outcome {
            Ok(_) | Err(SealError::Stopped) => {}
            Err(error) => {
                self.stats.add(Counter::SealRetries, 1);
                // What ails one segment mostly ails its whole folder.
                if retry.is_none() && queue.may_say(&folder, now) {
                    error!(
                        "cannot seal {}: {error}; it stays as it is and is tried again, and so are \
                         others of its folder",
                        self.shown(&folder, &segment.to_string())
                    );
                }
                queue.put_back((folder, segment), retry, now);
            }
        }
        Some(outcome)
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
        self.folders.insert(folder.into());
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
