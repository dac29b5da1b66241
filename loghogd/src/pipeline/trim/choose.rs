//! Chooses what is deleted. Pure.
//! All files of the facilities, their rules, a time, a shortage -> deletions, and when the next one is due.
//! Invariant: of each file the oldest go first; nothing goes that no rule asks for, and nothing that is claimed.
//! Leaves out: looking at the disk, deleting.
//!
//! The rules in their order, each applied to what the ones before have left:
//!
//! ```text
//! backup_count    a file has more segments than this: its oldest ones. A claimed one
//!                 counts.
//! max_age         a segment ended so long ago.
//! max_total_size  the files of a facility take more than this: its oldest segments.
//! min_free        the disk is short of room: the oldest segments of all facilities; when
//!                 that is not enough, the oldest of those that were not shipped.
//! ```
//! Nobody goes in the place of a claimed one: to max_total_size, which is looked at
//! again when it is released, it does not count. Whether it will go then does not
//! matter: when others have gone that may change, and a second look would ask for more.
//! What some target has not got yet is kept from all rules but the last.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::config::checked::Format;
use crate::config::facility::Facility;
use crate::pipeline::rotate::name::{Began, Segment};

/// A facility and its files.
#[derive(Clone, Debug)]
pub struct Holding {
    /// The rules.
    pub facility: Arc<Facility>,
    /// Its files: one, or one a host.
    pub files: Vec<File>,
}

/// A live file and the segments that it has become.
#[derive(Clone, Debug)]
pub struct File {
    /// The name of the live file, which need not exist.
    pub live: Box<str>,
    /// What it takes, in bytes.
    pub live_bytes: u64,
    /// In the order of their names, which is that of their data.
    pub segments: Vec<Closed>,
}

/// A closed segment in all its forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// When it began.
    pub began: Began,
    /// In which forms it is there: plain, sealed or, in the middle of sealing,
    /// both.
    pub forms: Vec<Option<Format>>,
    /// When it ended: no line of it is younger.
    pub ended: Timestamp,
    /// What the longest of its forms holds, in bytes.
    pub bytes: u64,
    /// What the disk gains when all of them are deleted, in bytes.
    pub disk_bytes: u64,
    /// Somebody works on it, or still needs it.
    pub claimed: bool,
    /// Some target has not got it yet.
    pub unshipped: bool,
}

impl Closed {
    /// The names of its forms; `live` is the name of its live file.
    pub fn names(&self, live: &str) -> impl Iterator<Item = Segment> {
        let name = |&format| Segment { live: live.into(), began: self.began, format };
        self.forms.iter().map(name)
    }
}

/// Which rule asks for a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// There are more segments than `backup_count`.
    BackupCount,
    /// It is older than `max_age`.
    MaxAge,
    /// The facility takes more than `max_total_size`.
    MaxTotalSize,
    /// The disk has less room than `min_free`.
    MinFree,
    /// The same, and there was nothing else left to delete.
    MinFreeUnshipped,
}

impl Reason {
    /// All of them, in the order of their application.
    pub const ALL: [Reason; 5] = [
        Reason::BackupCount,
        Reason::MaxAge,
        Reason::MaxTotalSize,
        Reason::MinFree,
        Reason::MinFreeUnshipped,
    ];
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::BackupCount => "there are more than backup_count",
            Reason::MaxAge => "older than max_age",
            Reason::MaxTotalSize => "its facility takes more than max_total_size",
            Reason::MinFree => "there is less room than [main] min_free",
            Reason::MinFreeUnshipped => {
                "there is less room than [main] min_free, and nothing else to delete; it had NOT \
                 been shipped to every target, see loghogd ship"
            }
        })
    }
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Choice<'a> {
    /// Oldest first.
    pub deletions: Vec<Deletion<'a>>,
    /// When `max_age` asks for the next one in each folder, as long as
    /// nothing changes. Folders without one are not there.
    pub next_due: BTreeMap<&'a str, Timestamp>,
}

/// One segment that is to be deleted.
#[derive(Clone, Copy, Debug)]
pub struct Deletion<'a> {
    /// The rules that it was kept under.
    pub facility: &'a Facility,
    /// Its live file.
    pub file: &'a File,
    /// The segment.
    pub closed: &'a Closed,
    /// Why.
    pub reason: Reason,
}

/// Chooses what is deleted at `now`, and at least `shortage_bytes` on the
/// disk as far as there are segments.
pub fn choose(holdings: &[Holding], now: Timestamp, shortage_bytes: u64) -> Choice<'_> {
    let mut over: Vec<u64> = holdings.iter().map(over_total).collect();
    let mut entries = entries(holdings);
    for entry in entries.iter_mut().filter(|entry| !entry.is_paid) {
        if entry.is_surplus {
            entry.delete(Reason::BackupCount);
            entry.pay(&mut over);
        } else if entry.due.is_some_and(|due| due <= now) {
            entry.delete(Reason::MaxAge);
            entry.pay(&mut over);
        }
    }
    for entry in entries.iter_mut().filter(|entry| !entry.is_paid) {
        if over.get(entry.holding).is_some_and(|bytes| *bytes > 0) {
            entry.delete(Reason::MaxTotalSize);
            entry.pay(&mut over);
        }
    }
    let gained = entries.iter().filter(|entry| entry.reason.is_some());
    let gained = gained.map(|entry| entry.closed.disk_bytes).fold(0, u64::saturating_add);
    let mut missing = shortage_bytes.saturating_sub(gained);
    for (unshipped, reason) in [(false, Reason::MinFree), (true, Reason::MinFreeUnshipped)] {
        for entry in entries.iter_mut().filter(|entry| entry.closed.unshipped == unshipped) {
            if entry.reason.is_none() && missing > 0 {
                entry.delete(reason);
                if entry.reason.is_some() {
                    missing = missing.saturating_sub(entry.closed.disk_bytes);
                }
            }
        }
    }
    // What is claimed and due already is looked at again when it is released.
    let mut next_due = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.reason.is_none()) {
        if let Some(due) = entry.due.filter(|due| *due > now) {
            let earliest = next_due.entry(&*entry.facility.app).or_insert(due);
            *earliest = due.min(*earliest);
        }
    }
    Choice { deletions: entries.iter().filter_map(Entry::deletion).collect(), next_due }
}

/// By how much the files of a facility exceed `max_total_size`, in bytes, without
/// what is claimed.
fn over_total(holding: &Holding) -> u64 {
    let Some(total_bytes_max) = holding.facility.total_bytes_max() else { return 0 };
    let of_file = |file: &File| {
        let closed = file.segments.iter().filter(|closed| !closed.claimed);
        closed.map(|closed| closed.bytes).fold(file.live_bytes, u64::saturating_add)
    };
    let total = holding.files.iter().map(of_file).fold(0, u64::saturating_add);
    total.saturating_sub(total_bytes_max.get())
}

/// A segment among all others.
struct Entry<'a> {
    /// Which facility's.
    holding: usize,
    facility: &'a Facility,
    file: &'a File,
    closed: &'a Closed,
    /// When it ended, or when a later one did if that was earlier: within a
    /// file, the order of names is the order of age, whatever the disk says.
    rank: Timestamp,
    /// There are `backup_count` later ones.
    is_surplus: bool,
    /// When `max_age` asks for its deletion.
    due: Option<Timestamp>,
    reason: Option<Reason>,
    /// What it holds counts as gone, as that of a claimed one does from the start.
    is_paid: bool,
}

/// All segments, the oldest first.
fn entries(holdings: &[Holding]) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    for (number, holding) in holdings.iter().enumerate() {
        let facility = &*holding.facility;
        let backups = usize::try_from(facility.backup_count).unwrap_or(usize::MAX);
        for file in &holding.files {
            let surplus = file.segments.len().saturating_sub(backups);
            let mut rank = Timestamp::MAX;
            for (place, closed) in file.segments.iter().enumerate().rev() {
                rank = rank.min(closed.ended);
                entries.push(Entry {
                    holding: number,
                    facility,
                    file,
                    closed,
                    rank,
                    is_surplus: place < surplus,
                    due: facility.age_max().and_then(|age| rank.checked_add(age).ok()),
                    reason: None,
                    is_paid: closed.claimed,
                });
            }
        }
    }
    // Equals go in the order of their names, and of the facilities.
    entries.sort_by_key(|entry| (entry.rank, entry.closed.began));
    entries
}

impl<'a> Entry<'a> {
    /// Marks it, unless it is claimed, or has to be shipped first.
    fn delete(&mut self, reason: Reason) {
        let waits = self.closed.unshipped && reason != Reason::MinFreeUnshipped;
        self.reason = (!self.closed.claimed && !waits).then_some(reason);
    }

    /// Takes what it frees off what its facility has too much.
    fn pay(&mut self, over: &mut [u64]) {
        self.is_paid = true;
        if let Some(bytes) = over.get_mut(self.holding) {
            *bytes = bytes.saturating_sub(self.closed.bytes);
        }
    }

    fn deletion(&self) -> Option<Deletion<'a>> {
        let reason = self.reason?;
        Some(Deletion { facility: self.facility, file: self.file, closed: self.closed, reason })
    }
}
