//! Deletes closed segments that are surplus and that nobody needs any more.
//! The log folder, the facilities' rules, a time -> fewer files, and when to come again.
//! Invariant: nothing is deleted but regular files that are exactly segments of a facility and unclaimed.
//! Leaves out: when to be called; what becomes of unfinished and damaged files (`recover`).

mod choose;
mod list;

pub use choose::{Choice, Closed, Deletion, File, Holding, Reason, choose};

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::{info, warn};

use crate::config::checked::MinFree;
use crate::config::facility::Table;
use crate::disk::{Disk, Space};
use crate::limits::{ROOM_SHOWS_TIME_MAX, TRIM_LINES_MAX, TRIM_RETRY, TRIM_TROUBLE_WINDOW};
use crate::pipeline::claims::Claims;
use crate::stats::{Counter, Stats};

/// What keeps a segment that should go, or room from being kept free. The
/// surroundings' fault: the rest goes on, and it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum TrimError {
    /// A folder cannot be read.
    #[error(
        "cannot look for surplus segments in {path}: {source}; \
         let the user of loghogd read and search the folder"
    )]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A segment cannot be deleted.
    #[error(
        "cannot delete the surplus segment {path}: {source}; \
         let the user of loghogd write to its folder, or delete the file yourself"
    )]
    Undeletable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A folder cannot be synced after deleting.
    #[error(
        "cannot sync {path}: {source}; \
         deleted segments may be there again after a power failure, and are then deleted once more"
    )]
    Unsynced {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The free room is not known.
    #[error(
        "cannot find out how much room is free in {path}: {source}; \
         [main] min_free is without effect meanwhile"
    )]
    SpaceUnknown {
        /// The log folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No file system of this size can keep so much free.
    #[error(
        "[main] min_free asks for {min_free_bytes} bytes, but the file system of {path} has only \
         {total_bytes} in all; nothing is deleted for it; write a smaller min_free"
    )]
    MinFreeTooLarge {
        /// The log folder.
        path: PathBuf,
        /// What is asked for.
        min_free_bytes: u64,
        /// What there is.
        total_bytes: u64,
    },
    /// Everything that may be deleted is, and it is not enough.
    #[error(
        "only {free_bytes} bytes are free for {path}, [main] min_free asks for {min_free_bytes}, \
         and there is no segment left that may be deleted; make room on the file system"
    )]
    NothingLeft {
        /// The log folder.
        path: PathBuf,
        /// What is free.
        free_bytes: u64,
        /// What is asked for.
        min_free_bytes: u64,
    },
}

/// What a trim has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Segments that are gone.
    pub deleted: u64,
    /// What they took on the disk, in bytes.
    pub deleted_bytes: u64,
    /// When something is due again, in any folder, as long as nothing
    /// changes.
    pub next_due: Option<Timestamp>,
    /// The room on the disk afterwards; none when it could not be found out.
    pub space: Option<Space>,
    /// There is less room than `min_free`.
    pub short_of_room: bool,
}

/// Keeps the log folder within its rules. One belongs to one log folder.
#[derive(Debug)]
pub struct Trimmer {
    min_free: Option<MinFree>,
    zone: TimeZone,
    stats: Arc<Stats>,
    /// What was said of which folder, and when; the log folder is "".
    said: HashMap<(Box<str>, std::mem::Discriminant<TrimError>), Timestamp>,
    /// What was deleted for `min_free` and does not show yet.
    awaited: Option<Awaited>,
    /// When `max_age` asks for something in which folder.
    due: HashMap<Box<str>, Timestamp>,
}

/// Room that a file system has not given back yet. Some do so with their next
/// transaction; to delete more meanwhile would delete everything.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    free_bytes: u64,
    since: Timestamp,
}

impl Trimmer {
    /// `zone` is the one that segments are named in.
    pub fn new(min_free: Option<MinFree>, zone: TimeZone, stats: Arc<Stats>) -> Trimmer {
        Trimmer { min_free, zone, stats, said: HashMap::new(), awaited: None, due: HashMap::new() }
    }

    /// Deletes what is surplus at `now` in `folders`, or in those of all
    /// facilities; for `min_free`, always in those of all. It lists each
    /// folder, so call it once for many changes. Errors are logged, and
    /// counted as `trim_failures`.
    pub fn trim(
        &mut self,
        disk: &dyn Disk,
        table: &Table,
        claims: &Claims,
        now: Timestamp,
        folders: Option<&[Box<str>]>,
    ) -> Trimmed {
        let room = self.room(disk, now);
        let shortage_bytes = room.map_or(0, Room::shortage_bytes);
        let only: Option<HashSet<&str>> = folders
            .filter(|_| shortage_bytes == 0)
            .map(|folders| folders.iter().map(|folder| &**folder).collect());
        let apps: BTreeSet<&str> = table.iter().map(|facility| &*facility.app).collect();
        let mut failures = 0;
        let mut holdings = Vec::new();
        for folder in apps.iter().filter(|app| only.as_ref().is_none_or(|only| only.contains(*app)))
        {
            self.due.remove(*folder);
            holdings.extend(self.list(disk, table, folder, claims, now, &mut failures));
        }
        let choice = choose(&holdings, now, shortage_bytes);
        let done = self.delete(disk, &choice.deletions, claims, now, &mut failures);
        done.log();
        self.stats.add(Counter::SegmentsTrimmed, done.deleted);
        self.stats.add(Counter::TrimmedBytes, done.deleted_bytes);
        self.stats.add(Counter::TrimFailures, failures);
        self.due.retain(|folder, _| apps.contains(&**folder));
        self.due.extend(choice.next_due.iter().map(|(folder, due)| ((*folder).into(), *due)));
        let retry = now.checked_add(TRIM_RETRY).ok().filter(|_| failures > 0);
        let next_due = self.due.values().copied().chain(retry).min();
        let (space, short_of_room) = self.look_again(disk, room, done.deleted_bytes, now);
        let (deleted, deleted_bytes) = (done.deleted, done.deleted_bytes);
        Trimmed { deleted, deleted_bytes, next_due, space, short_of_room }
    }

    fn list(
        &mut self,
        disk: &dyn Disk,
        table: &Table,
        folder: &str,
        claims: &Claims,
        now: Timestamp,
        failures: &mut u64,
    ) -> Vec<Holding> {
        let mut trouble = None;
        let listed = list::list(disk, table, folder, claims, &self.zone, &mut trouble);
        let (holdings, trouble) = match listed {
            Ok(holdings) => (holdings, trouble),
            Err(error) => (Vec::new(), Some(error)),
        };
        if let Some(source) = trouble {
            *failures += 1;
            self.say(folder, TrimError::Unreadable { path: disk.path().join(folder), source }, now);
        }
        holdings
    }

    /// Deletes one after another, then makes that safe.
    fn delete<'a>(
        &mut self,
        disk: &dyn Disk,
        deletions: &[Deletion<'a>],
        claims: &Claims,
        now: Timestamp,
        failures: &mut u64,
    ) -> Done<'a> {
        let mut done = Done::default();
        let mut folders = BTreeSet::new();
        for deletion in deletions {
            let (folder, live) = (&*deletion.facility.app, &*deletion.file.live);
            // It took a while to come here.
            if claims.holds(folder, live, deletion.closed.began) {
                continue;
            }
            folders.insert(folder);
            let trouble = deletion.closed.names(live).find_map(|segment| {
                let name = segment.to_string();
                let source = disk.remove(folder, &name).err()?;
                Some(TrimError::Undeletable { path: disk.path().join(folder).join(name), source })
            });
            match trouble {
                None => done.add(*deletion),
                Some(error) => {
                    *failures += 1;
                    self.say(folder, error, now);
                }
            }
        }
        for folder in folders {
            if let Err(source) = disk.sync_folder(folder) {
                *failures += 1;
                self.say(
                    folder,
                    TrimError::Unsynced { path: disk.path().join(folder), source },
                    now,
                );
            }
        }
        done
    }

    /// The room there is, and what is asked for.
    fn room(&mut self, disk: &dyn Disk, now: Timestamp) -> Option<Room> {
        let min_free = self.min_free?;
        let path = || disk.path().to_owned();
        let space = match disk.space() {
            Ok(space) => space,
            Err(source) => {
                self.stats.add(Counter::TrimFailures, 1);
                self.say("", TrimError::SpaceUnknown { path: path(), source }, now);
                return None;
            }
        };
        let (min_free_bytes, total_bytes) =
            (min_free.bytes_of(space.total_bytes), space.total_bytes);
        if min_free_bytes >= total_bytes {
            self.say(
                "",
                TrimError::MinFreeTooLarge { path: path(), min_free_bytes, total_bytes },
                now,
            );
            return None;
        }
        let is_awaited = |awaited: &Awaited| {
            let waited = now.duration_since(awaited.since).unsigned_abs();
            waited < ROOM_SHOWS_TIME_MAX && space.free_bytes < awaited.free_bytes
        };
        self.awaited = self.awaited.filter(is_awaited);
        let awaited_bytes = self.awaited.map_or(0, |awaited| awaited.free_bytes);
        Some(Room { free_bytes: space.free_bytes.max(awaited_bytes), min_free_bytes })
    }

    /// The room after deleting, and whether it is less than asked for.
    fn look_again(
        &mut self,
        disk: &dyn Disk,
        before: Option<Room>,
        deleted_bytes: u64,
        now: Timestamp,
    ) -> (Option<Space>, bool) {
        let space = disk.space().ok();
        let (Some(before), Some(after)) = (before, space) else { return (space, false) };
        let expected = before.free_bytes.saturating_add(deleted_bytes);
        // Others write meanwhile, so half of it is enough to believe the rest.
        let shows = after.free_bytes >= expected - deleted_bytes / 2;
        if before.shortage_bytes() > 0 && deleted_bytes > 0 && !shows {
            self.awaited = Some(Awaited { free_bytes: expected, since: now });
        }
        let free_bytes = match self.awaited {
            Some(awaited) => after.free_bytes.max(awaited.free_bytes),
            None => after.free_bytes,
        };
        let min_free_bytes = before.min_free_bytes;
        let short_of_room = free_bytes < min_free_bytes;
        if short_of_room && expected < min_free_bytes {
            let path = disk.path().to_owned();
            self.say("", TrimError::NothingLeft { path, free_bytes, min_free_bytes }, now);
        }
        (space, short_of_room)
    }

    /// Logs an error, unless it was logged of this folder lately.
    fn say(&mut self, folder: &str, error: TrimError, now: Timestamp) {
        self.said.retain(|_, at| now.duration_since(*at).unsigned_abs() < TRIM_TROUBLE_WINDOW);
        let about = (folder.into(), std::mem::discriminant(&error));
        if self.said.insert(about, now).is_none() {
            warn!("{error}");
        }
    }
}

/// The room on the disk, as far as it is to be kept.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// With what is on its way to become free.
    free_bytes: u64,
    min_free_bytes: u64,
}

impl Room {
    fn shortage_bytes(self) -> u64 {
        self.min_free_bytes.saturating_sub(self.free_bytes)
    }
}

/// What was deleted.
#[derive(Default)]
struct Done<'a> {
    deleted: u64,
    deleted_bytes: u64,
    /// The first ones, to be named.
    first: Vec<Deletion<'a>>,
    /// How many, and how many bytes, by reason.
    by_reason: HashMap<Reason, (u64, u64)>,
}

impl<'a> Done<'a> {
    fn add(&mut self, deletion: Deletion<'a>) {
        let bytes = deletion.closed.disk_bytes;
        self.deleted += 1;
        self.deleted_bytes = self.deleted_bytes.saturating_add(bytes);
        let (number, sum) = self.by_reason.entry(deletion.reason).or_default();
        *number += 1;
        *sum = sum.saturating_add(bytes);
        if self.first.len() <= TRIM_LINES_MAX {
            self.first.push(deletion);
        }
    }

    /// A line for each segment, or one for each reason when there are many.
    fn lines(&self) -> Vec<(Reason, String)> {
        if self.first.len() <= TRIM_LINES_MAX {
            let line = |deletion: &Deletion<'_>| {
                let (app, live) = (&deletion.facility.app, &deletion.file.live);
                let names = deletion.closed.names(live).map(|segment| segment.to_string());
                let names = names.collect::<Vec<_>>().join(" and ");
                (deletion.reason, format!("deleted {app}/{names}"))
            };
            return self.first.iter().map(line).collect();
        }
        let line = |reason| {
            let (number, bytes) = self.by_reason.get(&reason)?;
            Some((reason, format!("deleted {number} segments, {bytes} bytes")))
        };
        Reason::ALL.into_iter().filter_map(line).collect()
    }

    fn log(&self) {
        for (reason, line) in self.lines() {
            match reason {
                // It would have been kept: somebody should know.
                Reason::MinFree => warn!("{line}: {reason}"),
                _ => info!("{line}: {reason}"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
