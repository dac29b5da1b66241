//! Deletes closed segments that are surplus and that nobody needs any more.
//! The log folder, the facilities' rules, a time -> fewer files, and when to come again.
//! Invariant: nothing is deleted but regular files that are exactly segments of a facility and unclaimed.
//! Leaves out: what becomes of unfinished and damaged files (`rotate::recover`).

mod choose;
mod error;
mod list;
mod room;

pub use choose::{Choice, Closed, Deletion, File, Holding, Reason, choose};
pub use error::TrimError;

use std::collections::{BTreeSet, HashMap};
use std::mem::{self, Discriminant};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::{error, info, warn};

use self::room::Room;
use super::claims::Claims;
use super::cold::{Bell, Call};
use super::ship::Receipts;
use super::tally::kept::Tallies;
use crate::clock::Clock;
use crate::config::checked::MinFree;
use crate::config::facility::Table;
use crate::disk::{Disk, Space};
use crate::limits::{
    TRIM_LINES_MAX, TRIM_PAUSE, TRIM_RETRY, TRIM_ROOM_PAUSE, TRIM_TROUBLE_WINDOW, TRIM_WAIT_MAX,
};
use crate::stats::{Counter, Stats};

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
    room: Option<Room>,
    zone: TimeZone,
    stats: Arc<Stats>,
    /// Says which segments some target has not got yet.
    receipts: Receipts,
    /// What is kept of a segment goes with it.
    tallies: Tallies,
    /// What was said of which folder, and when; the log folder is "".
    said: HashMap<(Box<str>, Discriminant<TrimError>), Timestamp>,
    /// When `max_age` asks for something in which folder.
    due: HashMap<Box<str>, Timestamp>,
}

impl Trimmer {
    /// `zone` is the one that segments are named in.
    pub fn new(
        min_free: Option<MinFree>,
        zone: TimeZone,
        stats: Arc<Stats>,
        receipts: Receipts,
        tallies: Tallies,
    ) -> Trimmer {
        let room = min_free.map(Room::new);
        let (said, due) = (HashMap::new(), HashMap::new());
        Trimmer { room, zone, stats, receipts, tallies, said, due }
    }

    /// Trims whatever changes and whenever it is due, until the bell has ended.
    pub fn run(
        &mut self,
        disk: &dyn Disk,
        table: &ArcSwap<Table>,
        claims: &Claims,
        clock: &Clock,
        bell: &Bell,
    ) {
        let mut call = Some(Call { all: true, ..Call::default() });
        // While there is no room and nothing left to delete, writers ring on
        // and on; listing everything each time would help nobody.
        let mut deaf_until = Instant::now();
        while let Some(Call { mut folders, room, all }) = call {
            let now = clock.now();
            folders.extend(self.due(now));
            if all || !folders.is_empty() || (room && Instant::now() >= deaf_until) {
                let folders = (!all).then_some(&folders);
                let trimmed = self.trim(disk, &table.load(), claims, now, folders);
                if trimmed.short_of_room && trimmed.deleted == 0 {
                    deaf_until = Instant::now() + TRIM_ROOM_PAUSE;
                }
            }
            call = bell.wait(self.wake_at(clock.now()));
        }
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
        folders: Option<&BTreeSet<Box<str>>>,
    ) -> Trimmed {
        let apps: BTreeSet<&str> = table.iter().map(|facility| &*facility.app).collect();
        self.due.retain(|folder, _| apps.contains(&**folder));
        let mut pass = Pass { trimmer: self, disk, claims, now, failures: 0, again: Vec::new() };
        let shortage_bytes = pass.shortage_bytes();
        let only = folders.filter(|_| shortage_bytes == 0);
        let wanted = |app: &&str| only.is_none_or(|only| only.contains(*app));
        let holdings: Vec<Holding> =
            apps.into_iter().filter(wanted).flat_map(|folder| pass.list(table, folder)).collect();
        let choice = choose(&holdings, now, shortage_bytes);
        let done = pass.delete(&choice.deletions);
        done.log();
        let (deleted, deleted_bytes) = (done.deleted, done.deleted_bytes);
        let (space, short_of_room) = pass.look_again(shortage_bytes, deleted_bytes);
        let (failures, again) = (pass.failures, pass.again);
        self.stats.add(Counter::TrimFailures, failures);
        let retry = now.saturating_add(TRIM_RETRY).unwrap_or(Timestamp::MAX);
        let retries = again.into_iter().map(|folder| (folder, retry));
        let due = choice.next_due.iter().map(|(folder, due)| ((*folder).into(), *due));
        for (folder, due) in due.chain(retries) {
            let earliest = self.due.entry(folder).or_insert(due);
            *earliest = due.min(*earliest);
        }
        let next_due = self.due.values().copied().min();
        Trimmed { deleted, deleted_bytes, next_due, space, short_of_room }
    }

    /// The folders in which something is due.
    fn due(&self, now: Timestamp) -> impl Iterator<Item = Box<str>> {
        self.due.iter().filter(move |(_, due)| **due <= now).map(|(folder, _)| folder.clone())
    }

    /// When to look at the time again, if nobody rings. The clock may be set
    /// and the machine may sleep: then it is later than it was to be.
    fn wake_at(&self, now: Timestamp) -> Option<Instant> {
        let due = self.due.values().min()?;
        let left = Duration::try_from(due.duration_since(now)).unwrap_or_default();
        Some(Instant::now() + left.clamp(TRIM_PAUSE, TRIM_WAIT_MAX))
    }
}

/// One trim.
struct Pass<'a> {
    trimmer: &'a mut Trimmer,
    disk: &'a dyn Disk,
    claims: &'a Claims,
    now: Timestamp,
    failures: u64,
    /// Folders in which something failed.
    again: Vec<Box<str>>,
}

impl Pass<'_> {
    /// How much room is missing, in bytes.
    fn shortage_bytes(&mut self) -> u64 {
        let Some(room) = &mut self.trimmer.room else { return 0 };
        let path = self.disk.path().to_owned();
        let space = match self.disk.space() {
            Ok(space) => space,
            Err(source) => {
                self.fail("", TrimError::SpaceUnknown { path, source });
                return 0;
            }
        };
        room.shortage_bytes(space, self.now).unwrap_or_else(|min_free_bytes| {
            let total_bytes = space.total_bytes;
            self.say("", TrimError::MinFreeTooLarge { path, min_free_bytes, total_bytes });
            0
        })
    }

    /// What the facilities have in a folder.
    fn list(&mut self, table: &Table, folder: &str) -> Vec<Holding> {
        self.trimmer.due.remove(folder);
        let mut trouble = None;
        let Trimmer { zone, receipts, .. } = &*self.trimmer;
        let needs = list::Needs { claims: self.claims, receipts };
        let listed = list::list(self.disk, table, folder, needs, zone, &mut trouble);
        let holdings = listed.unwrap_or_else(|error| {
            trouble = Some(error);
            Vec::new()
        });
        if let Some(source) = trouble {
            self.fail(folder, TrimError::Unreadable { path: self.path(folder), source });
        }
        holdings
    }

    /// Deletes one after another, then makes that safe.
    fn delete<'d>(&mut self, deletions: &[Deletion<'d>]) -> Done<'d> {
        let mut done = Done::default();
        let mut folders = BTreeSet::new();
        for deletion in deletions {
            let (folder, live) = (&*deletion.facility.app, &*deletion.file.live);
            let remove = || {
                deletion.closed.names(live).find_map(|segment| {
                    let name = segment.to_string();
                    let source = self.disk.remove(folder, &name).err()?;
                    Some(TrimError::Undeletable { path: self.path(folder).join(name), source })
                })
            };
            // It took a while to come here: somebody may have claimed it.
            let began = deletion.closed.began;
            let Some(refused) = self.claims.unless_held(folder, live, began, remove) else {
                continue;
            };
            folders.insert(folder);
            match refused {
                None => {
                    if let Some(segment) = deletion.closed.names(live).next() {
                        self.trimmer.tallies.remove(folder, &segment);
                    }
                    self.trimmer.stats.add(Counter::SegmentsTrimmed, 1);
                    self.trimmer.stats.add(Counter::TrimmedBytes, deletion.closed.disk_bytes);
                    done.add(*deletion);
                }
                Some(error) => self.fail(folder, error),
            }
        }
        for folder in folders {
            if let Err(source) = self.disk.sync_folder(folder) {
                self.fail(folder, TrimError::Unsynced { path: self.path(folder), source });
            }
        }
        done
    }

    /// The room there is now, and whether it is less than asked for.
    fn look_again(&mut self, shortage_bytes: u64, deleted_bytes: u64) -> (Option<Space>, bool) {
        let Ok(space) = self.disk.space() else { return (None, false) };
        let Some(room) = &mut self.trimmer.room else { return (Some(space), false) };
        room.note_deleted(deleted_bytes, space, self.now);
        let short_of_room = room.shortage_bytes(space, self.now).is_ok_and(|bytes| bytes > 0);
        if short_of_room && deleted_bytes < shortage_bytes {
            let (path, min_free) = (self.disk.path().to_owned(), room.min_free());
            let free_bytes = space.free_bytes;
            self.say("", TrimError::NothingLeft { path, free_bytes, min_free });
        }
        (Some(space), short_of_room)
    }

    fn path(&self, folder: &str) -> PathBuf {
        self.disk.path().join(folder)
    }

    /// Counts an error, and logs it. A folder is tried again.
    fn fail(&mut self, folder: &str, error: TrimError) {
        self.failures += 1;
        if !folder.is_empty() && self.again.last().is_none_or(|last| **last != *folder) {
            self.again.push(folder.into());
        }
        self.say(folder, error);
    }

    /// Logs an error, unless it was logged of this folder lately.
    fn say(&mut self, folder: &str, error: TrimError) {
        let (said, now) = (&mut self.trimmer.said, self.now);
        said.retain(|_, at| now.duration_since(*at).unsigned_abs() < TRIM_TROUBLE_WINDOW);
        said.entry((folder.into(), mem::discriminant(&error))).or_insert_with(|| {
            warn!("{error}");
            now
        });
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
                Reason::MinFreeUnshipped => error!("{line}: {reason}"),
                _ => info!("{line}: {reason}"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
