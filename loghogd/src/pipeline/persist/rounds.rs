//! All log files, and what is to be done for them, round after round.
//! Parcels of lines and the time -> files written, turned and synced.
//! Invariant: what cannot be written waits, in order, and keeps its room.
//! Leaves out: waiting for parcels (`writer`), and what happens inside a file (`log_file`).

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::errno::Errno;
use tracing::{error, warn};

use super::clients::Receipt;
use super::held::Held;
use super::hosts::Hosts;
use super::journal::{Intent, Journal};
use super::live::Form;
use super::log_file::{Desk, Listed, LogFile, Owner, Parcel, Plan, owner_of};
use super::retire::Retirement;
use super::room::Room;
use super::{Section, Spares};
use crate::clock::Clock;
use crate::config::facility::{Facility, Table};
use crate::disk::{self, Disk};
use crate::limits::{
    REFUSED_BYTES_MAX, REFUSED_FILE_BYTES_MAX, SYNC_RETRY, SYNCS_A_ROUND_MAX, TURN_RETRY,
    TURNS_A_FILE_MAX, TURNS_A_ROUND_MAX,
};
use crate::pipeline::cold::Bell;
use crate::pipeline::rotate::due::DueTimes;
use crate::pipeline::rotate::name::Name;
use crate::pipeline::rotate::turn::Newest;
use crate::pipeline::seal::MemberPress;
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

    /// Takes over what is on the disk: live files, which may have become due
    /// meanwhile, and the names that are taken.
    pub(in crate::pipeline) fn adopt(&mut self, table: &Table, now: Instant) {
        let apps: BTreeSet<&str> = table.iter().map(|facility| &*facility.app).collect();
        for app in apps {
            if let Err(error) = self.adopt_folder(app, table, now) {
                error!(
                    "cannot list {}: {error}; {}; what is due there turns when it is written to",
                    self.around.disk.path().join(app).display(),
                    disk::remedy(&error)
                );
            }
        }
    }

    fn adopt_folder(&mut self, app: &str, table: &Table, now: Instant) -> io::Result<()> {
        for name in self.around.disk.names(app)? {
            let read = Name::read(&name);
            self.around.newest.note(app, &read);
            let Name::Live { stem, gzip } = read else { continue };
            let Some(owner) = table.owner(app, &stem) else { continue };
            let Ok(Some(facts)) = self.around.disk.facts(app, &name) else { continue };
            let form = if gzip { Form::Gzip { level: 0 } } else { Form::Plain };
            if form.format() != self.settings.form.format() {
                self.adopt_other_form(app, &stem, form, Arc::clone(owner), now);
                continue;
            }
            let live = format!("{stem}{}", super::path::LIVE_SUFFIX);
            if self.numbers.contains_key(format!("{app}/{live}").as_str()) {
                continue;
            }
            let number = self.number(app, &live, owner);
            let at = self.around.clock.now();
            if let Some(file) = self.files.get_mut(number) {
                file.found(facts, at);
            }
            self.count_host(number, true);
            self.follow_due(number);
        }
        Ok(())
    }

    /// A live file from before `compress_on_write` was changed becomes a
    /// segment at once: its lines come before all that will be written.
    fn adopt_other_form(
        &mut self,
        app: &str,
        stem: &str,
        form: Form,
        owner: Arc<Facility>,
        now: Instant,
    ) {
        let live = format!("{stem}{}", super::path::LIVE_SUFFIX);
        let mut file = LogFile::new(app, &live, owner);
        let at = self.around.clock.now();
        let mut desk = self.around.desk(form, at, now);
        match file.turn(&mut desk) {
            Ok(_) => {
                // It has none of ours: it is not one of `files`.
                drop(file.close(&desk));
                self.bell.ring_for(app);
            }
            Err(error) => warn!(
                "cannot turn {}/{app}/{}: {error}; {}",
                self.around.disk.path().display(),
                form.name(&live),
                disk::remedy(&error)
            ),
        }
    }

    /// Follows these facilities from now on, and closes all files, so that
    /// they may have been moved away.
    pub(in crate::pipeline) fn reload(&mut self, table: &Table, now: Instant) {
        self.hosts.forget_said();
        let at = self.around.clock.now();
        for number in self.numbers.values().copied().collect::<Vec<_>>() {
            self.close(number, now);
            let Some(file) = self.files.get_mut(number) else { continue };
            let stem = file.live.strip_suffix(super::path::LIVE_SUFFIX).unwrap_or(&file.live);
            if let Some(owner) = table.owner(&file.folder, stem) {
                let before = std::mem::replace(&mut file.facility, Arc::clone(owner));
                if before.rotate != file.facility.rotate && file.bytes > 0 {
                    file.since = Some(at);
                    self.follow_due(number);
                }
            }
        }
        self.sync_folders(now + self.settings.unsynced_time_max);
        // There may be facilities that were none before.
        self.adopt(table, now);
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

    /// Decides what numbered messages are written in this round, and lets the
    /// journal know: one sync for all files. Returns those that cannot be
    /// written now.
    fn plan(&mut self, numbers: &[usize], now: Instant) -> HashMap<usize, io::Error> {
        self.make_safe(numbers, now);
        let (mut intents, mut failed) = (Vec::new(), HashMap::new());
        for &number in numbers {
            let needs_plan = self.files.get(number).is_some_and(LogFile::needs_plan);
            // One that is planned should not have to be closed for another.
            if !needs_plan || intents.len() >= self.settings.open_files_max {
                continue;
            }
            match self.plan_file(number, now) {
                Ok(Some(intent)) => intents.push((number, intent)),
                Ok(None) => {}
                Err(error) => _ = failed.insert(number, error),
            }
            self.note_state(number);
            self.close_surplus(now);
        }
        if intents.is_empty() {
            return failed;
        }
        let intended = intents.iter().map(|(_, intent)| intent);
        if let Err(error) = self.around.journal.intend(intended, self.around.clock.now()) {
            for (number, _) in intents {
                self.with(number, now, |file, _| file.revoke());
                let error = match error.raw_os_error() {
                    Some(code) => io::Error::from_raw_os_error(code),
                    None => io::Error::other(error.to_string()),
                };
                failed.insert(number, error);
            }
        }
        failed
    }

    /// Of a file only its last region may be in doubt after a stop: the one
    /// before has to be safe. Mostly it is: only in a stop rounds do not sync.
    fn make_safe(&mut self, numbers: &[usize], now: Instant) {
        let is_unsafe = |number: &&usize| {
            self.files.get(**number).is_some_and(|file| file.needs_plan() && file.has_receipts())
        };
        for number in numbers.iter().filter(is_unsafe).copied().collect::<Vec<_>>() {
            self.sync(number, now);
        }
        if !self.settling.is_empty() {
            self.sync_folders(now);
        }
    }

    /// None when the file has to turn more often than a round allows.
    fn plan_file(&mut self, number: usize, now: Instant) -> io::Result<Option<Intent>> {
        let folder = self.files.get(number).map(|file| &file.folder);
        if folder.is_some_and(|folder| self.settling.contains_key(folder)) {
            return Err(io::Error::other("the name of a file in its folder could not be synced"));
        }
        for _ in 0..TURNS_A_FILE_MAX {
            match self.with(number, now, LogFile::plan).transpose()? {
                Some(Plan::Intend(intent)) => return Ok(Some(intent)),
                None => return Ok(None),
                Some(Plan::Turn) => {}
            }
            if let Err(error) = self.turn(number, now) {
                self.postpone_turn(number, &error, now);
            }
        }
        Ok(None)
    }

    /// Lets those wait who send to a file that refuses and has much waiting
    /// already, so that there is room for the lines of others; and lets them
    /// go on when it takes lines again.
    fn hold_back(&mut self, number: usize) {
        let Some(file) = self.files.get(number) else { return };
        let refuses = file.trouble.is_some() && !file.parcels.is_empty() && !self.is_stopping;
        let bytes = if refuses { file.waiting_bytes() } else { 0 };
        let before = match refuses {
            true => self.refusing.insert(number, bytes),
            false => self.refusing.remove(&number),
        };
        if !refuses && before.is_none() {
            return;
        }
        self.refusing_bytes = self.refusing_bytes + bytes - before.unwrap_or(0);
        let path = || format!("{}/{}", file.folder, file.live);
        if !refuses {
            self.held.release(&path());
        } else if bytes > REFUSED_FILE_BYTES_MAX || self.refusing_bytes > REFUSED_BYTES_MAX {
            self.held.hold(&path());
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

    /// Syncs what is due, so many files in a round that others are not kept
    /// waiting.
    fn sync_due(&mut self, now: Instant) {
        let due = self.unsynced.iter().take_while(|&&(deadline, _)| deadline <= now);
        let due = due.map(|&(_, number)| number).filter(|number| !self.full.contains(number));
        let numbers: Vec<usize> =
            self.full.iter().copied().chain(due).take(SYNCS_A_ROUND_MAX).collect();
        for number in numbers {
            self.sync(number, now);
        }
        self.sync_folders(now);
    }

    fn sync(&mut self, number: usize, now: Instant) {
        let receipts = self.with(number, now, |file, desk| file.sync(desk));
        self.note_name(number, now);
        self.note_safe(number, receipts, now);
        self.note_state(number);
        self.forget_if_gone(number);
    }

    fn close(&mut self, number: usize, now: Instant) {
        let receipts = self.with(number, now, |file, desk| file.close(desk));
        self.note_name(number, now);
        self.note_safe(number, receipts, now);
        self.note_state(number);
    }

    /// What was synced is safe as soon as the name of its file is.
    fn note_safe(&mut self, number: usize, receipts: Option<Vec<Receipt>>, now: Instant) {
        let Some(receipts) = receipts.filter(|receipts| !receipts.is_empty()) else { return };
        let Some(file) = self.files.get(number) else { return };
        if let Some(deadline) = self.folders_unsynced.get_mut(&file.folder) {
            *deadline = now.min(*deadline);
        }
        self.settling.entry(file.folder.clone()).or_default().extend(receipts);
    }

    /// A line is only safe when the name of its file is. Many files share a
    /// folder, which is synced once for all of them.
    fn note_name(&mut self, number: usize, deadline: Instant) {
        let Some(file) = self.files.get_mut(number) else { return };
        if std::mem::take(&mut file.name_unsynced) {
            self.folders_unsynced.insert(file.folder.clone(), deadline);
        }
    }

    fn sync_folders(&mut self, now: Instant) {
        let due = self.folders_unsynced.iter().filter(|&(_, &deadline)| deadline <= now);
        for folder in due.map(|(folder, _)| folder.clone()).collect::<Vec<_>>() {
            self.sync_folder(&folder, now);
        }
        let unsynced = &self.folders_unsynced;
        for (_, receipts) in self.settling.extract_if(|folder, _| !unsynced.contains_key(folder)) {
            receipts.into_iter().for_each(Receipt::settle);
        }
    }

    fn sync_folder(&mut self, folder: &str, now: Instant) {
        match self.around.disk.sync_folder(folder) {
            Ok(()) => {
                self.folders_unsynced.remove(folder);
                self.folders_failing.remove(folder);
            }
            Err(error) => {
                self.folders_unsynced.insert(folder.into(), now + SYNC_RETRY);
                self.around.stats.add(Counter::SyncFailures, 1);
                if !self.folders_failing.insert(folder.into()) {
                    return;
                }
                error!(
                    "cannot sync {}: {error}; names that were given in the last moments may be \
                     lost with the power; {}",
                    self.around.disk.path().join(folder).display(),
                    disk::remedy(&error)
                );
            }
        }
    }

    fn close_surplus(&mut self, now: Instant) {
        while self.open.len() > self.settings.open_files_max {
            self.close_oldest(now);
        }
    }

    fn close_oldest(&mut self, now: Instant) {
        if let Some(&(_, number)) = self.open.first() {
            self.close(number, now);
        }
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

    /// Brings the lists up to date with what has happened to a file.
    fn note_state(&mut self, number: usize) {
        let Some(file) = self.files.get_mut(number) else { return };
        let put = |list: &mut BTreeSet<usize>, belongs: bool| match belongs {
            true => list.insert(number),
            false => list.remove(&number),
        };
        let waits = !file.parcels.is_empty();
        let retry = file.trouble.as_ref().map(|trouble| trouble.retry_at).filter(|_| waits);
        let deadline = file.unsynced_since.map(|since| since + self.settings.unsynced_time_max);
        put(&mut self.ready, waits && retry.is_none());
        put(&mut self.full, file.has_to_be_synced());
        let before = std::mem::replace(&mut file.listed, Listed { retry, deadline });
        for (list, before, after) in [
            (&mut self.retries, before.retry, retry),
            (&mut self.unsynced, before.deadline, deadline),
        ] {
            before.map(|before| list.remove(&(before, number)));
            list.extend(after.map(|after| (after, number)));
        }
        let used = std::mem::replace(&mut file.used, self.round);
        self.open.remove(&(used, number));
        if file.open.is_some() {
            self.open.insert((self.round, number));
        }
        let has_file = file.bytes > 0 || waits;
        self.count_host(number, has_file);
        self.follow_due(number);
        self.hold_back(number);
    }

    /// May this host have a file? Those that have one may, also when they
    /// had it before the daemon started.
    fn admit_host(&mut self, number: usize, section: &Section) -> bool {
        let Some(file) = self.files.get(number) else { return false };
        if file.is_counted || !file.facility.file_per_host {
            return true;
        }
        let has_room = self.hosts.has_room(&owner_of(&section.facility));
        if has_room {
            self.count_host(number, true);
        }
        has_room
    }

    /// Counts a host once as long as it has a file.
    fn count_host(&mut self, number: usize, has_file: bool) {
        let Some(file) = self.files.get_mut(number) else { return };
        if !file.facility.file_per_host || file.is_counted == has_file {
            return;
        }
        file.is_counted = has_file;
        let owner = owner_of(&file.facility);
        match has_file {
            true => self.hosts.add(&owner),
            false => self.hosts.remove(&owner),
        }
    }

    /// Asks when a file is due that has got a new beginning.
    fn follow_due(&mut self, number: usize) {
        let Some(file) = self.files.get_mut(number) else { return };
        if let Some(since) = file.since.take() {
            file.due = self.due.next_after(&file.facility.rotate, since);
            self.due.set(number, file.due);
        } else if file.bytes == 0 {
            self.due.set(number, None);
        }
    }

    /// The number of a file; a new one when it has none.
    fn number(&mut self, folder: &str, live: &str, owner: &Arc<Facility>) -> usize {
        let path = format!("{folder}/{live}").into_boxed_str();
        if let Some(&number) = self.numbers.get(&path) {
            return number;
        }
        let file = LogFile::new(folder, live, Arc::clone(owner));
        let number = match self.free.pop() {
            Some(number) => {
                if let Some(place) = self.files.get_mut(number) {
                    *place = file;
                }
                number
            }
            None => {
                self.files.push(file);
                self.files.len() - 1
            }
        };
        self.numbers.insert(path, number);
        number
    }

    /// A file that is not there any more needs no number.
    fn forget_if_gone(&mut self, number: usize) {
        let Some(file) = self.files.get(number).filter(|file| file.is_gone()) else { return };
        if file.unsynced_since.is_none() {
            self.numbers.remove(format!("{}/{}", file.folder, file.live).as_str());
            self.due.set(number, None);
            self.free.push(number);
        }
    }
}
