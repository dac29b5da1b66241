//! All log files, and what is to be done for them, round after round.
//! Parcels of lines and the time -> files written, turned and synced.
//! Invariant: what cannot be written waits, in order, and keeps its room.
//! Leaves out: waiting for parcels (`writer`), and what happens inside a file (`log_file`).
//!
//! ```text
//! adopt   what is on the disk at a start, and after a reload
//! lists   which files there are, and what each of them waits for
//! plan    what numbered messages are written next: one sync of the journal for all
//! sync    files, then folders, then receipts
//! ```

mod adopt;
mod lists;
mod plan;
mod sync;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::errno::Errno;
use tracing::{error, warn};

use super::Spares;
use super::clients::Receipt;
use super::held::Held;
use super::hosts::Hosts;
use super::journal::Journal;
use super::live::Form;
use super::log_file::{Desk, LogFile, Owner, Parcel, owner_of};
use super::retire::Retirement;
use super::room::Room;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::limits::{TURN_RETRY, TURNS_A_FILE_MAX, TURNS_A_ROUND_MAX};
use crate::pipeline::cold::Bell;
use crate::pipeline::rotate::due::DueTimes;
use crate::pipeline::rotate::turn::Newest;
use crate::pipeline::seal::MemberPress;
use crate::pipeline::ship::Notices;
use crate::stats::{Counter, Stats};

/// What the writer needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Files that may be open at once; beyond it the one not used for the
    /// longest time is closed.
    pub open_files_max: usize,
    /// Hosts that a facility may have files for. Messages of one more are
    /// dropped: `hosts_too_many`.
    pub hosts_max: usize,
    /// The longest time that a written line stays unsynced.
    pub unsynced_time_max: Duration,
    /// How lines stand in live files.
    pub form: Form,
    /// Room on the file system that is not ours to use.
    pub min_free: Option<crate::config::checked::MinFree>,
}

/// What goes back from the disk to those who write, buffers and word of files
/// that refuse; and where files go that have turned.
#[derive(Debug)]
pub(in crate::pipeline) struct Shelf {
    pub(in crate::pipeline) retirement: Retirement,
    pub(in crate::pipeline) spares: Arc<Spares>,
    pub(in crate::pipeline) held: Arc<Held>,
    pub(in crate::pipeline) journal: Journal,
}

/// The files of a log folder.
pub(in crate::pipeline) struct Rounds {
    settings: Settings,
    around: Surroundings,
    held: Arc<Held>,
    /// For messages that are safe once the folder of their file is synced.
    settling: HashMap<Box<str>, Vec<Receipt>>,
    bell: Arc<Bell>,
    room: Room,
    files: Vec<LogFile>,
    /// Numbers of `files` that may be given to others.
    free: Vec<usize>,
    numbers: HashMap<Box<str>, usize>,
    /// Those with something to write that may be tried now.
    ready: BTreeSet<usize>,
    /// Those that refuse, and when they are tried again.
    retries: BTreeSet<(Instant, usize)>,
    /// Those with something to sync, and until when that has time.
    unsynced: BTreeSet<(Instant, usize)>,
    /// Those with so much to sync that it has to be done before more is
    /// written.
    full: BTreeSet<usize>,
    /// What waits for those that refuse, in bytes; and all of that together.
    refusing: HashMap<usize, usize>,
    refusing_bytes: usize,
    is_stopping: bool,
    /// Those that are open, the one not used for the longest time first.
    open: BTreeSet<(u64, usize)>,
    due: DueTimes,
    /// Folders in which names have changed, and until when they may stay
    /// unsynced.
    folders_unsynced: HashMap<Box<str>, Instant>,
    /// Those of which the own log knows that they cannot be synced.
    folders_failing: BTreeSet<Box<str>>,
    hosts: Hosts,
    /// By facility with a `max_total_size`: what its live files have grown by
    /// since the trimmer heard of it.
    grown: HashMap<Owner, u64>,
    round: u64,
}

/// What all files need.
struct Surroundings {
    disk: Arc<dyn Disk>,
    clock: Clock,
    stats: Arc<Stats>,
    spares: Arc<Spares>,
    journal: Journal,
    newest: Newest,
    press: MemberPress,
    retirement: Retirement,
    notices: Notices,
}

impl Surroundings {
    /// For a file in this form that begins at this time.
    fn desk(&mut self, form: Form, beginning: Timestamp, now: Instant) -> Desk<'_> {
        Desk {
            disk: &*self.disk,
            form,
            zone: self.clock.zone(),
            stats: &self.stats,
            spares: &self.spares,
            journal: &mut self.journal,
            newest: &mut self.newest,
            press: &mut self.press,
            retirement: &self.retirement,
            notices: &self.notices,
            at: self.clock.now(),
            beginning,
            now,
        }
    }
}

impl Rounds {
    pub(in crate::pipeline) fn new(
        disk: Arc<dyn Disk>,
        settings: Settings,
        clock: Clock,
        stats: Arc<Stats>,
        shelf: Shelf,
        bell: Arc<Bell>,
    ) -> Rounds {
        let level = match settings.form {
            Form::Gzip { level } => level,
            Form::Plain => 0,
        };
        Rounds {
            due: DueTimes::new(clock.zone().clone()),
            room: Room::new(settings.min_free),
            hosts: Hosts::new(settings.hosts_max),
            settings,
            around: Surroundings {
                disk,
                clock,
                stats,
                spares: shelf.spares,
                journal: shelf.journal,
                newest: Newest::default(),
                press: MemberPress::new(level),
                retirement: shelf.retirement,
                notices: bell.notices.clone(),
            },
            held: shelf.held,
            settling: HashMap::new(),
            bell,
            files: Vec::new(),
            free: Vec::new(),
            numbers: HashMap::new(),
            ready: BTreeSet::new(),
            retries: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            full: BTreeSet::new(),
            refusing: HashMap::new(),
            refusing_bytes: 0,
            is_stopping: false,
            open: BTreeSet::new(),
            folders_unsynced: HashMap::new(),
            folders_failing: BTreeSet::new(),
            grown: HashMap::new(),
            round: 0,
        }
    }

    /// Takes up a parcel; drops it when its host is one too many.
    pub(in crate::pipeline) fn enqueue(&mut self, parcel: Parcel) {
        let Parcel { section, .. } = &parcel;
        let number = match self.numbers.get(section.path.as_str()) {
            Some(&number) => number,
            None => {
                let Some((folder, live)) = section.path.split_once('/') else { return };
                self.number(folder, live, &section.facility)
            }
        };
        if !self.admit_host(number, section) {
            self.around.stats.add(Counter::HostsTooMany, section.messages);
            // Nothing more will become of them.
            if let Some(receipt) = &section.receipt {
                receipt.set_out();
                receipt.clone().settle();
            }
            self.forget_if_gone(number);
            return;
        }
        let at = self.around.clock.now();
        let Some(file) = self.files.get_mut(number) else { return };
        let before = std::mem::replace(&mut file.facility, Arc::clone(&section.facility));
        let turns_otherwise = !Arc::ptr_eq(&before, &file.facility)
            && before.rotate != file.facility.rotate
            && file.bytes > 0;
        file.enqueue(parcel);
        if turns_otherwise {
            file.since = Some(at);
        }
        self.note_state(number);
    }

    /// Does all that is due. In a stop only what waits is written: there is no
    /// time to wait for the disk between two batches.
    pub(in crate::pipeline) fn round(&mut self, now: Instant, stopping: bool) {
        self.round += 1;
        if stopping && !self.is_stopping {
            self.is_stopping = true;
            self.held.release_all();
        }
        let at = self.around.clock.now();
        if self.due.clock_was_wrong(at) {
            self.restart_due_times(at);
        }
        self.write_all(now, stopping);
        if !stopping {
            self.turn_due(at, now);
            self.sync_due(now);
            self.around.journal.renew(at);
        }
        self.around.stats.set_open_files(self.open.len());
    }

    /// There is more to do at once.
    pub(in crate::pipeline) fn has_more(&self, now: Instant, stopping: bool) -> bool {
        let at = self.around.clock.now();
        let is_due = self.due.first().is_some_and(|due| due <= at);
        !self.ready.is_empty()
            || self.retries.first().is_some_and(|&(retry_at, _)| retry_at <= now)
            || (!stopping && (is_due || !self.full.is_empty()))
    }

    /// Is everything that was written to a file safe, its name included?
    #[cfg(test)]
    pub(in crate::pipeline) fn is_synced(&self, path: &str) -> bool {
        let file = self.numbers.get(path).and_then(|&number| self.files.get(number));
        file.is_none_or(|file| {
            file.unsynced_since.is_none()
                && !file.name_unsynced
                && file.parcels.is_empty()
                && !self.folders_unsynced.contains_key(&file.folder)
        })
    }

    /// When something is due next that no time of day decides.
    pub(in crate::pipeline) fn next_due(&self, stopping: bool) -> Option<Instant> {
        let sync = self.unsynced.first().map(|&(deadline, _)| deadline);
        let retry = self.retries.first().map(|&(retry_at, _)| retry_at);
        let folder = self.folders_unsynced.values().min().copied();
        sync.into_iter().chain(folder).filter(|_| !stopping).chain(retry).min()
    }

    /// When the next file turns.
    pub(in crate::pipeline) fn next_turn(&self) -> Option<Timestamp> {
        self.due.first()
    }

    /// Writes all that waits and may be tried.
    pub(super) fn write_all(&mut self, now: Instant, stopping: bool) {
        let tried_again = self.retries.iter().take_while(|&&(retry_at, _)| retry_at <= now);
        let mut numbers: Vec<usize> = tried_again.map(|&(_, number)| number).collect();
        // What has to be synced first is, before the next round.
        let ready = self.ready.iter().filter(|number| stopping || !self.full.contains(number));
        numbers.extend(ready);
        if numbers.is_empty() {
            return;
        }
        // What is left at a stop would be lost for want of room that is there.
        let refused = self.room.look(&*self.around.disk).err().filter(|_| !stopping);
        if refused.is_some() {
            self.bell.ring_for_room();
            self.let_go_of_deleted(now);
        }
        let mut failed = match refused.is_none() {
            true => self.plan(&numbers, now),
            false => HashMap::new(),
        };
        for number in numbers {
            let outcome = match (&refused, failed.remove(&number)) {
                (None, None) => self.write(number, now),
                (None, Some(error)) => Err(error),
                (Some(refused), _) => Err(refused.error()),
            };
            self.settle(number, outcome, now);
            self.note_state(number);
            self.close_surplus(now);
        }
    }

    /// Somebody may have deleted live files to make room: as long as they are
    /// open they take it.
    fn let_go_of_deleted(&mut self, now: Instant) {
        for number in self.open.iter().map(|&(_, number)| number).collect::<Vec<_>>() {
            self.with(number, now, |file, desk| file.look(desk));
            self.note_state(number);
        }
    }

    /// Writes what waits for a file, and turns it where it has to.
    fn write(&mut self, number: usize, now: Instant) -> io::Result<()> {
        for _ in 0..TURNS_A_FILE_MAX {
            let before = self.files.get(number).map_or(0, |file| file.bytes);
            let written = self.with(number, now, LogFile::write).unwrap_or(Ok(true));
            self.note_growth(number, before);
            if written? {
                break;
            }
            if let Err(error) = self.turn(number, now) {
                self.postpone_turn(number, &error, now);
            }
        }
        Ok(())
    }

    /// A file cannot turn: its lines go on into the same file until it can.
    fn postpone_turn(&mut self, number: usize, error: &io::Error, now: Instant) {
        self.with(number, now, |file, desk| file.cannot_turn(desk, error));
        if let Some(due) = self.due.of(number) {
            let again =
                self.around.clock.now().saturating_add(TURN_RETRY).unwrap_or(Timestamp::MAX);
            self.due.set(number, Some(due.max(again)));
        }
    }

    /// Where a facility may only take so much in all, live files that grow
    /// drive out the oldest segments.
    fn note_growth(&mut self, number: usize, before: u64) {
        /// Into so many steps the size is divided; the trimmer hears of each.
        const STEPS: u64 = 64;
        let Some(file) = self.files.get(number) else { return };
        let Some(total_bytes_max) = file.facility.total_bytes_max() else { return };
        let grown = self.grown.entry(owner_of(&file.facility)).or_default();
        *grown += file.bytes.saturating_sub(before);
        if *grown > total_bytes_max.get() / STEPS {
            *grown = 0;
            self.bell.ring_for(&file.folder);
        }
    }

    fn turn(&mut self, number: usize, now: Instant) -> io::Result<()> {
        let turned = self.with(number, now, LogFile::turn).unwrap_or(Ok(None));
        if let Some(file) = self.files.get(number) {
            if file.name_unsynced {
                let deadline = now + self.settings.unsynced_time_max;
                self.folders_unsynced.entry(file.folder.clone()).or_insert(deadline);
            }
            if matches!(turned, Ok(Some(_))) {
                self.bell.ring_for(&file.folder);
            }
        }
        self.note_state(number);
        turned.map(|_| ())
    }

    /// Turns the files whose time has come, so many in a round that others
    /// are not kept waiting.
    fn turn_due(&mut self, at: Timestamp, now: Instant) {
        for _ in 0..TURNS_A_ROUND_MAX {
            let Some(number) = self.due.first_due(at) else { return };
            match self.turn(number, now) {
                Err(error) => self.postpone_turn(number, &error, now),
                Ok(()) => {
                    self.due.set(number, None);
                    self.forget_if_gone(number);
                }
            }
            self.close_surplus(now);
        }
    }

    /// Says how an attempt went. When descriptors have run out, one that is
    /// not needed now is given back.
    fn settle(&mut self, number: usize, outcome: io::Result<()>, now: Instant) {
        let code = outcome.as_ref().err().and_then(io::Error::raw_os_error).map(Errno::from_raw);
        if code == Some(Errno::ENAMETOOLONG) {
            self.with(number, now, |file, desk| file.give_up(desk));
            return;
        }
        if matches!(code, Some(Errno::EMFILE | Errno::ENFILE)) {
            self.close_oldest(now);
        }
        self.with(number, now, |file, desk| file.settle(desk, outcome.as_ref().copied()));
    }

    /// Writes what is left as long as a stop may take, says what is lost, and
    /// syncs the rest. Returns how many messages are lost, and tells when all
    /// that could be is written.
    pub(in crate::pipeline) fn end(mut self, deadline: Instant, written: impl FnOnce(bool)) -> u64 {
        loop {
            let now = Instant::now();
            self.write_all(now, true);
            if now >= deadline {
                break;
            }
            if self.has_more(now, true) {
                continue;
            }
            let Some(retry) = self.next_due(true) else { break };
            std::thread::sleep(retry.min(deadline).saturating_duration_since(now));
        }
        let refusing = self.retries.iter().map(|&(_, number)| number);
        let waiting: BTreeSet<usize> = self.ready.iter().copied().chain(refusing).collect();
        let mut messages_lost = 0;
        for number in waiting {
            let Some(file) = self.files.get(number) else { continue };
            // Of a parcel that was cut short, the front is in the file.
            let ahead = file.messages_ahead();
            self.around.stats.add(Counter::Lines, ahead);
            // Who numbers his messages has them still.
            let unnumbered = file.parcels.iter().filter(|parcel| parcel.section.receipt.is_none());
            let lost = unnumbered.map(|parcel| parcel.section.messages).sum::<u64>();
            let lost = lost.saturating_sub(ahead);
            if lost > 0 {
                error!(
                    "{lost} messages for {}/{} are lost: the file could not be written until the end",
                    file.folder, file.live
                );
            }
            messages_lost += lost;
        }
        self.around.stats.add(Counter::LinesLost, messages_lost);
        written(messages_lost == 0);
        let now = Instant::now();
        for number in self.numbers.values().copied().collect::<Vec<_>>() {
            self.close(number, now);
        }
        self.sync_folders(now + self.settings.unsynced_time_max);
        self.around.retirement.end();
        self.around.journal.snapshot_if_any(self.around.clock.now());
        messages_lost
    }

    /// All files need a new time to turn: the clock was wrong before.
    fn restart_due_times(&mut self, at: Timestamp) {
        warn!(
            "the clock went back by more than three hours: files turn by the new time from now on"
        );
        for number in self.numbers.values().copied().collect::<Vec<_>>() {
            if let Some(file) = self.files.get_mut(number).filter(|file| file.bytes > 0) {
                file.since = Some(at);
                self.follow_due(number);
            }
        }
    }

    /// Does something with a file and its surroundings.
    fn with<T>(
        &mut self,
        number: usize,
        now: Instant,
        what: impl FnOnce(&mut LogFile, &mut Desk<'_>) -> T,
    ) -> Option<T> {
        let file = self.files.get_mut(number)?;
        let beginning = self.due.beginning(self.around.clock.now());
        Some(what(file, &mut self.around.desk(self.settings.form, beginning, now)))
    }
}
