//! One log file: what is to be written to it, and how that goes.
//! Parcels of lines -> bytes in the file, synced when asked to; a file that turns -> a segment.
//! Invariant: nobody leaves the file alone in the middle of a message.
//! Leaves out: which files there are, and when to write, to turn and to sync (`rounds`).
//!
//! ```text
//! write   what waits, as much of it as belongs into this segment
//! region  the same where messages are numbered: as a whole or not at all
//! turn    gives it a segment's name, or leaves it to whoever has moved it away
//! ```

mod region;
mod turn;
mod write;

pub(super) use self::region::Plan;

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{error, info, warn};

use self::region::Licence;
use super::clients::Receipt;
use super::journal::{Journal, Place};
use super::live::{self, Form, Mended};
use super::messages::{self, messages_in};
use super::retire::Retirement;
use super::{Section, Spares};
use crate::config::facility::Facility;
use crate::disk::{Disk, DiskFile, Facts};
use crate::limits::{COMPLAINT_WINDOW, WRITE_RETRY_MAX, WRITE_RETRY_MIN};
use crate::pipeline::rotate::name::Began;
use crate::pipeline::rotate::turn::Newest;
use crate::pipeline::seal::MemberPress;
use crate::pipeline::ship::{Notices, Tail};
use crate::stats::{Counter, Stats};

/// Lines on their way to a file, and the room that they take until they are
/// written.
pub(in crate::pipeline) struct Parcel {
    pub(in crate::pipeline) section: Section,
    pub(in crate::pipeline) room: Option<OwnedSemaphorePermit>,
}

/// The facility of a file, as a key: application and module.
pub(super) type Owner = (Box<str>, Box<str>);

pub(super) fn owner_of(facility: &Facility) -> Owner {
    (facility.app.clone(), facility.module.clone())
}

/// What a file needs of its surroundings to be written.
pub(super) struct Desk<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) form: Form,
    pub(super) zone: &'a TimeZone,
    pub(super) stats: &'a Stats,
    pub(super) spares: &'a Spares,
    pub(super) journal: &'a mut Journal,
    pub(super) newest: &'a mut Newest,
    pub(super) press: &'a mut MemberPress,
    pub(super) retirement: &'a Retirement,
    /// Hears how far files are safe.
    pub(super) notices: &'a Notices,
    /// The time of day.
    pub(super) at: Timestamp,
    /// The same, for files that begin now.
    pub(super) beginning: Timestamp,
    /// The time that only goes forward, for pauses.
    pub(super) now: Instant,
}

/// A file that lines go to, open or about to be.
pub(super) struct LogFile {
    /// Its application's folder.
    pub(super) folder: Box<str>,
    /// Its name there: `web.log`, also where what stands on the disk is
    /// `web.log.gz`.
    pub(super) live: Box<str>,
    pub(super) facility: Arc<Facility>,
    pub(super) open: Option<Open>,
    /// Bytes in the live file; none: it is empty or not there.
    pub(super) bytes: u64,
    /// When its first line was written, where that is known.
    began: Option<Began>,
    /// When it turns. Lines that were received before still belong to it.
    pub(super) due: Option<Timestamp>,
    /// It has got its first line, or another beginning; when it is due has to
    /// be asked anew, from this time on.
    pub(super) since: Option<Timestamp>,
    /// What is to be written; of the first, `written` bytes already are.
    pub(super) parcels: VecDeque<Parcel>,
    written: usize,
    /// How many of them have receipts.
    numbered: usize,
    /// What the journal knows of, and may be written.
    licence: Option<Licence>,
    /// For messages that are in it, and not safe yet.
    receipts: Vec<Receipt>,
    /// What stands behind this was given up in the middle, and has to go
    /// before anything else is written.
    cut_to: Option<u64>,
    /// The journal has this region, and it was not written: it has to hear of
    /// that before the file turns, and may become something that cannot be
    /// looked into.
    void: Option<Place>,
    /// The region that was written last.
    last_region: Option<Place>,
    /// A sync failed while there were numbered messages in it: nothing more is
    /// written before these are known to be there.
    is_doubtful: bool,
    pub(super) messages_unsynced: u64,
    pub(super) unsynced_since: Option<Instant>,
    /// It was made or turned since its folder was synced.
    pub(super) name_unsynced: bool,
    /// The round in which it was last touched.
    pub(super) used: u64,
    /// It is counted among the files that the hosts of its facility have.
    pub(super) is_counted: bool,
    pub(super) listed: Listed,
    pub(super) trouble: Option<Trouble>,
    /// It was open in this process, and is closed and synced.
    was_closed: bool,
    /// It could not turn, and is not asked to before.
    turn_again_at: Option<Instant>,
    /// When the own log heard of trouble last.
    said_at: Option<Instant>,
    /// The last sync failed, and that has been said.
    sync_failed: bool,
}

/// The file as it is open.
pub(super) struct Open {
    file: Box<dyn DiskFile>,
    /// Which file it is, whatever its name.
    id: (u64, u64),
    /// When its name was last seen to be its own.
    looked_at: Instant,
}

/// Under which times the file stands in the lists of `rounds`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Listed {
    pub(super) retry: Option<Instant>,
    pub(super) deadline: Option<Instant>,
}

/// A file that refused: when to ask it again.
pub(super) struct Trouble {
    pub(super) retry_at: Instant,
    pause: Duration,
    /// The own log has heard of it.
    said: bool,
    /// What the disk says.
    pub(super) why: String,
}

impl LogFile {
    pub(super) fn new(folder: &str, live: &str, facility: Arc<Facility>) -> LogFile {
        LogFile {
            folder: folder.into(),
            live: live.into(),
            facility,
            open: None,
            bytes: 0,
            began: None,
            due: None,
            since: None,
            parcels: VecDeque::new(),
            written: 0,
            numbered: 0,
            licence: None,
            receipts: Vec::new(),
            cut_to: None,
            void: None,
            last_region: None,
            is_doubtful: false,
            messages_unsynced: 0,
            unsynced_since: None,
            name_unsynced: false,
            used: 0,
            is_counted: false,
            listed: Listed::default(),
            trouble: None,
            was_closed: false,
            turn_again_at: None,
            said_at: None,
            sync_failed: false,
        }
    }

    /// Nothing is to be done for it, and nothing of it is on the disk.
    pub(super) fn is_gone(&self) -> bool {
        self.open.is_none() && self.parcels.is_empty() && self.bytes == 0
    }

    /// Takes a parcel to be written.
    pub(super) fn enqueue(&mut self, parcel: Parcel) {
        self.numbered += usize::from(parcel.section.receipt.is_some());
        self.parcels.push_back(parcel);
    }

    /// Opens the file, unless it is open. What a kill has torn is cut off.
    fn open(&mut self, desk: &mut Desk<'_>) -> io::Result<()> {
        if self.open.is_some() {
            return Ok(());
        }
        let mut live = desk.disk.open_live(&self.folder, &desk.form.name(&self.live))?;
        self.name_unsynced |= live.is_new;
        if let Some(cut_to) = self.cut_to {
            if live.file.facts()?.bytes > cut_to {
                live.file.set_len(cut_to)?;
            }
            self.cut_to = None;
        }
        let mended = match live.is_new {
            true => Mended::Cut(0),
            false => live::mend(&mut *live.file, desk.form)?,
        };
        if mended == Mended::Foreign {
            let began = live::began(&*live.file, desk.form, desk.zone)?;
            let segment = self.rename(began, desk)?;
            warn!(
                "{} ends in a gzip member that was not finished: it is {segment} now, zcat reads it \
                 to its torn end",
                self.path(desk)
            );
            live = desk.disk.open_live(&self.folder, &desk.form.name(&self.live))?;
        }
        if let Mended::Cut(torn_bytes @ 1..) = mended {
            desk.stats.add(Counter::TornBytes, torn_bytes);
            info!(
                "{} ended in a torn line of {torn_bytes} bytes, as a kill in the middle of a write \
                 leaves it; it was cut off",
                self.path(desk)
            );
        }
        let facts = live.file.facts()?;
        if facts.bytes != self.bytes {
            self.found(facts, desk.at);
        }
        if !self.facility.ship.is_empty() {
            let tail = Tail { id: facts.id, safe_bytes: facts.bytes };
            desk.notices.opened(&self.folder, &self.live, tail);
        }
        self.open = Some(Open { file: live.file, id: facts.id, looked_at: desk.now });
        Ok(())
    }

    /// Takes note of a live file that is there, with what it holds.
    pub(super) fn found(&mut self, facts: Facts, at: Timestamp) {
        self.bytes = facts.bytes;
        self.began = None;
        self.due = None;
        // A time in the future is one of a clock that was wrong.
        self.since = (facts.bytes > 0).then(|| facts.modified.min(at));
    }

    /// Some file systems take shorter names than others: what can never be
    /// written is refused like any host's name that is too long.
    pub(super) fn give_up(&mut self, desk: &Desk<'_>) {
        self.revoke();
        let mut messages = 0;
        for Parcel { section, .. } in self.parcels.drain(..) {
            messages += section.messages;
            // They are refused: nothing more will become of them.
            section.receipt.into_iter().for_each(|receipt| {
                receipt.set_out();
                receipt.settle();
            });
        }
        (self.written, self.numbered, self.trouble) = (0, 0, None);
        desk.stats.add(Counter::HostTooLong, messages);
        warn!(
            "{}: the file system takes no name that long; {messages} messages were refused",
            self.path(desk)
        );
    }

    /// Notes how an attempt went, says so when that is news, and plans the next.
    pub(super) fn settle(&mut self, desk: &Desk<'_>, outcome: Result<(), &io::Error>) {
        let before = self.trouble.take();
        let Err(error) = outcome else {
            if before.is_some_and(|trouble| trouble.said) {
                info!(
                    "{} can be written again; nothing sent over TCP or TLS was lost",
                    self.path(desk)
                );
            }
            return;
        };
        desk.stats.add(Counter::WriteRetries, 1);
        // A disk that is full, then not, then full again is one complaint.
        let lately = self.said_at.is_some_and(|said_at| desk.now < said_at + COMPLAINT_WINDOW);
        let said = before.as_ref().map_or(!lately, |trouble| trouble.said);
        if before.is_none() && said {
            self.said_at = Some(desk.now);
            error!(
                "cannot write {}: {error}; {}; stream senders wait meanwhile, and it is tried again",
                self.path(desk),
                crate::disk::remedy(error)
            );
        }
        let pause = before.map_or(WRITE_RETRY_MIN, |t| (t.pause * 2).min(WRITE_RETRY_MAX));
        let why = error.to_string();
        self.trouble = Some(Trouble { retry_at: desk.now + pause, pause, said, why });
    }

    /// Makes safe what was written. The folder, where names have changed, is
    /// for the caller: many files share it. Returns the receipts for what is
    /// safe once that is synced, too.
    #[must_use]
    pub(super) fn sync(&mut self, desk: &Desk<'_>) -> Vec<Receipt> {
        self.messages_unsynced = 0;
        if self.unsynced_since.take().is_none() {
            return Vec::new();
        }
        let begun = Instant::now();
        let synced = match self.is_doubtful {
            true => self.look_again(desk),
            false => self.open.as_ref().map_or(Ok(()), |open| open.file.sync()),
        };
        desk.stats.sync_times.note(begun.elapsed());
        let Err(error) = synced else {
            desk.stats.add(Counter::Syncs, 1);
            self.sync_failed = false;
            self.is_doubtful = false;
            self.note_safe(desk);
            return std::mem::take(&mut self.receipts);
        };
        if self.has_receipts() {
            self.is_doubtful = true;
            self.unsynced_since = Some(desk.now);
        }
        desk.stats.add(Counter::SyncFailures, 1);
        if !std::mem::replace(&mut self.sync_failed, true) {
            error!(
                "cannot sync {}: {error}; what was written to it in the last moments may be lost \
                 with the power; {}",
                self.path(desk),
                crate::disk::remedy(&error)
            );
        }
        // The kernel reports a failure once, and may have dropped the data: a
        // fresh descriptor reports the next one.
        self.cut_back(desk);
        self.open = None;
        Vec::new()
    }

    /// What was synced may be shipped, as far as it is whole messages.
    fn note_safe(&self, desk: &Desk<'_>) {
        let (Some(open), false) = (&self.open, self.facility.ship.is_empty()) else { return };
        let torn = self.parcels.front().map_or(0, |first| {
            self.written - messages::whole_messages(&first.section.bytes, self.written)
        });
        let whole = self.bytes.saturating_sub(torn as u64);
        let tail = Tail { id: open.id, safe_bytes: self.cut_to.map_or(whole, |to| whole.min(to)) };
        desk.notices.synced(&self.facility.ship, &self.folder, &self.live, tail);
    }

    #[must_use]
    pub(super) fn close(&mut self, desk: &Desk<'_>) -> Vec<Receipt> {
        self.revoke();
        self.cut_back(desk);
        let receipts = self.sync(desk);
        self.was_closed |= self.open.take().is_some();
        receipts
    }

    /// Are there numbered messages in it that are not safe yet?
    pub(super) fn has_receipts(&self) -> bool {
        !self.receipts.is_empty()
    }

    /// Has it to be synced before anything else is written to it?
    pub(super) fn has_to_be_synced(&self) -> bool {
        let is_full = self.messages_unsynced >= u64::from(self.facility.flush_every);
        is_full || (self.has_receipts() && !self.is_doubtful)
    }

    /// The room that what waits takes, in bytes.
    pub(super) fn waiting_bytes(&self) -> usize {
        let room =
            |parcel: &Parcel| parcel.room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        self.parcels.iter().map(room).sum()
    }

    /// Of what waits, so many messages are in the file already: those at the
    /// front of a parcel that was cut short.
    pub(super) fn messages_ahead(&self) -> u64 {
        self.parcels.front().map_or(0, |first| messages_in(&first.section.bytes, self.written))
    }

    /// The size at which it turns.
    fn bytes_max(&self) -> u64 {
        self.facility.turns_at_bytes().map_or(u64::MAX, NonZeroU64::get)
    }

    fn path(&self, desk: &Desk<'_>) -> String {
        let path = desk.disk.path().join(&*self.folder).join(desk.form.name(&self.live));
        path.display().to_string()
    }
}
