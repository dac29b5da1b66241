//! One log file: what is to be written to it, and how that goes.
//! Parcels of lines -> bytes in the file, synced when asked to; a file that turns -> a segment.
//! Invariant: nobody leaves the file alone in the middle of a message.
//! Leaves out: which files there are, and when to write, to turn and to sync (`rounds`).

mod region;

pub(super) use self::region::Plan;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, error, info, warn};

use self::region::Licence;
use super::clients::Receipt;
use super::journal::{Journal, Place};
use super::live::{self, Form, Mended};
use super::messages::{message_end, messages_in, whole_messages};
use super::retire::{Retired, Retirement};
use super::{Section, Spares};
use crate::config::facility::Facility;
use crate::disk::{Disk, DiskFile, Facts};
use crate::limits::{
    COMPLAINT_WINDOW, GZIP_MEMBER_BYTES_MAX, LOOK_EVERY, TURN_RETRY, WRITE_RETRY_MAX,
    WRITE_RETRY_MIN,
};
use crate::pipeline::rotate::name::{Began, Segment};
use crate::pipeline::rotate::turn::{self, Newest};
use crate::pipeline::seal::{MemberPress, member as member_of};
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

    /// Writes what waits, up to what belongs into the next segment. False
    /// when something does: the file has to turn first.
    ///
    /// # Errors
    /// What the system says; what was not written still waits.
    pub(super) fn write(&mut self, desk: &mut Desk<'_>) -> io::Result<bool> {
        self.refuse_if_doubtful()?;
        if let Some(licence) = self.licence.take() {
            return self.write_licensed(licence, desk).map(|()| true);
        }
        if self.numbered > 0 {
            return Ok(true);
        }
        self.look(desk);
        self.open(desk)?;
        while !self.parcels.is_empty() {
            let bytes = self.fitting(desk);
            if bytes == 0 {
                return Ok(false);
            }
            self.begin(desk);
            match desk.form {
                Form::Plain => self.write_plain(bytes, desk)?,
                Form::Gzip { .. } => {
                    if !self.write_gzip(bytes, desk)? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Before the first line of an empty file.
    fn begin(&mut self, desk: &Desk<'_>) {
        if self.bytes == 0 {
            let first =
                self.parcels.front().and_then(|first| first.section.bytes.get(self.written..));
            self.began = first.and_then(Began::from_stamp);
            self.since = Some(desk.beginning);
        }
    }

    /// Takes a parcel to be written.
    pub(super) fn enqueue(&mut self, parcel: Parcel) {
        self.numbered += usize::from(parcel.section.receipt.is_some());
        self.parcels.push_back(parcel);
    }

    /// How many bytes of what waits belong into the live file: whole messages,
    /// received before it was due, up to its largest size. A message longer
    /// than that has a segment of its own.
    fn fitting(&self, desk: &Desk<'_>) -> usize {
        if self.turn_again_at.is_some_and(|again_at| desk.now < again_at) {
            // It cannot turn: better too much in one file than nothing written.
            return self.parcels.iter().map(|p| p.section.bytes.len()).sum::<usize>()
                - self.written;
        }
        let due = self.due.filter(|&due| due <= desk.at && self.bytes > 0);
        let room = self.bytes_max().saturating_sub(self.bytes);
        let mut room = match desk.form {
            // How long lines are when they are compressed shows only then.
            Form::Gzip { .. } if room > 0 => usize::MAX,
            _ => usize::try_from(room).unwrap_or(usize::MAX),
        };
        let mut fitting = 0;
        for (place, parcel) in self.parcels.iter().enumerate() {
            let bytes = &parcel.section.bytes;
            let skip = if place == 0 { self.written } else { 0 };
            // A message of which a part is written is completed, whatever its length.
            let begun =
                if whole_messages(bytes, skip) == skip { skip } else { message_end(bytes, skip) };
            if due.is_some_and(|due| parcel.section.at >= due) {
                return fitting + begun - skip;
            }
            if bytes.len() - skip <= room {
                fitting += bytes.len() - skip;
                room -= bytes.len() - skip;
                continue;
            }
            let mut end = whole_messages(bytes, skip.saturating_add(room)).max(begun);
            if fitting + end == skip && self.bytes == 0 {
                end = message_end(bytes, skip);
            }
            return fitting + end - skip;
        }
        fitting
    }

    /// Hands so many bytes to the kernel, as many as fit with one call.
    fn write_plain(&mut self, bytes: usize, desk: &Desk<'_>) -> io::Result<()> {
        /// Linux takes no more than 1024 (IOV_MAX).
        const SLICES_MAX: usize = 64;
        let Some(open) = &mut self.open else { return Err(io::ErrorKind::NotFound.into()) };
        let (mut skip, mut rest, mut used) = (self.written, bytes, 0);
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        for (slice, parcel) in slices.iter_mut().zip(&self.parcels) {
            let bytes = parcel.section.bytes.get(std::mem::take(&mut skip)..).unwrap_or_default();
            let bytes = bytes.get(..rest).unwrap_or(bytes);
            *slice = IoSlice::new(bytes);
            rest -= bytes.len();
            used += 1;
            if rest == 0 {
                break;
            }
        }
        match open.file.write_vectored(slices.get(..used).unwrap_or(&slices)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(bytes) => {
                desk.stats.add(Counter::Bytes, bytes as u64);
                self.written += bytes;
                self.bytes += bytes as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        self.release_written(desk);
        Ok(())
    }

    /// Makes one member of a gzip file of at most so many bytes of what waits,
    /// and says of how many. None when it does not fit: the file has to turn
    /// first.
    fn member(&self, bytes: usize, desk: &mut Desk<'_>) -> io::Result<Option<(usize, Vec<u8>)>> {
        /// What a member adds to lines that become no smaller, and more.
        const OVERHEAD_BYTES: u64 = 1 << 10;
        let room = self.bytes_max().saturating_sub(self.bytes).saturating_sub(OVERHEAD_BYTES);
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(GZIP_MEMBER_BYTES_MAX);
        let mut lines = desk.spares.take();
        let mut skip = self.written;
        for parcel in &self.parcels {
            let bytes_max = bytes.min(room).saturating_sub(lines.len());
            let rest = parcel.section.bytes.get(std::mem::take(&mut skip)..).unwrap_or_default();
            match rest.get(..bytes_max) {
                None => lines.extend_from_slice(rest),
                Some(_) => {
                    let mut end = whole_messages(rest, bytes_max);
                    if end + lines.len() == 0 {
                        end = message_end(rest, 0);
                    }
                    lines.extend_from_slice(rest.get(..end).unwrap_or_default());
                    break;
                }
            }
        }
        let mut member = desk.spares.take();
        member_of(desk.press, &lines, &mut member)?;
        let taken = lines.len();
        desk.spares.put_back(lines);
        let may_turn = self.turn_again_at.is_none_or(|again_at| desk.now >= again_at);
        let too_much = self.bytes.saturating_add(member.len() as u64) > self.bytes_max();
        if self.bytes > 0 && too_much && may_turn {
            desk.spares.put_back(member);
            return Ok(None);
        }
        Ok(Some((taken, member)))
    }

    /// Writes so many bytes as one member of a gzip file, or none of it.
    /// False when it does not fit: the file has to turn first.
    fn write_gzip(&mut self, bytes: usize, desk: &mut Desk<'_>) -> io::Result<bool> {
        let Some((bytes, member)) = self.member(bytes, desk)? else { return Ok(false) };
        let licence = Licence { bytes, member: Some(member), place: None };
        self.write_licensed(licence, desk).map(|()| true)
    }

    /// Lets go of the parcels that are written, and of their room.
    fn release_written(&mut self, desk: &Desk<'_>) {
        self.unsynced_since.get_or_insert(desk.now);
        while let Some(first) = self.parcels.front() {
            if self.written < first.section.bytes.len() {
                break;
            }
            self.written -= first.section.bytes.len();
            let Some(Parcel { section, room: _ }) = self.parcels.pop_front() else { break };
            desk.stats.add(Counter::Lines, section.messages);
            self.messages_unsynced += section.messages;
            self.numbered -= usize::from(section.receipt.is_some());
            self.receipts.extend(section.receipt);
            desk.spares.put_back(section.bytes);
        }
        // A region may end within a parcel; the rest belongs into the next segment.
        if self.written > 0
            && let Some(Parcel { section, .. }) = self.parcels.front_mut()
            && let Some(receipt) = &mut section.receipt
        {
            let left = messages_in(&section.bytes, section.bytes.len())
                - messages_in(&section.bytes, self.written);
            let done = receipt.messages().saturating_sub(left);
            if done > 0 {
                self.receipts.push(receipt.take_front(done));
            }
        }
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
        self.open = Some(Open { file: live.file, id: facts.id, looked_at: desk.now });
        Ok(())
    }

    /// Takes note that it could not turn, and says so once. Its lines go on
    /// into the same file until it can.
    pub(super) fn cannot_turn(&mut self, desk: &Desk<'_>, error: &io::Error) {
        desk.stats.add(Counter::TurnRetries, 1);
        if self.turn_again_at.is_none() {
            error!(
                "cannot turn {}: {error}; {}; its lines go on into the same file, and it is tried \
                 again",
                self.path(desk),
                crate::disk::remedy(error)
            );
        }
        self.turn_again_at = Some(desk.now + TURN_RETRY);
    }

    /// Takes note of a live file that is there, with what it holds.
    pub(super) fn found(&mut self, facts: Facts, at: Timestamp) {
        self.bytes = facts.bytes;
        self.began = None;
        self.due = None;
        // A time in the future is one of a clock that was wrong.
        self.since = (facts.bytes > 0).then(|| facts.modified.min(at));
    }

    /// Notices when somebody has moved the file away, deleted or cut it.
    pub(super) fn look(&mut self, desk: &Desk<'_>) {
        let Some(open) = &mut self.open else { return };
        if desk.now < open.looked_at + LOOK_EVERY {
            return;
        }
        open.looked_at = desk.now;
        // Who cannot see it writes to what is open.
        let Ok(found) = desk.disk.facts(&self.folder, &desk.form.name(&self.live)) else { return };
        match found.filter(|found| found.id == open.id) {
            None => self.leave(desk),
            Some(found) if found.bytes < self.bytes => {
                info!("{} was cut to {} bytes by somebody", self.path(desk), found.bytes);
                // What is left may end in the middle of a line, and what was
                // written of a message may be gone: the next line opens the
                // file anew, and mends it.
                self.begin_message_anew();
                self.retire(desk);
                self.found(found, desk.at);
            }
            Some(_) => {}
        }
    }

    /// Leaves a file that has got another name, or none; the next line opens
    /// the right one.
    fn leave(&mut self, desk: &Desk<'_>) {
        info!("{} was moved away or deleted: opening it anew", self.path(desk));
        desk.stats.add(Counter::FilesReopened, 1);
        self.cut_back(desk);
        self.retire(desk);
        self.forget_live();
    }

    /// Gives what is in the live file the name of a segment. None when there
    /// is nothing in it, or it is not there any more.
    ///
    /// # Errors
    /// What the system says; the file is as before.
    pub(super) fn turn(&mut self, desk: &mut Desk<'_>) -> io::Result<Option<Segment>> {
        self.refuse_if_doubtful()?;
        self.report_void(desk)?;
        let opened_for_this = self.open.is_none();
        let name = desk.form.name(&self.live);
        if desk.disk.facts(&self.folder, &name)?.is_none_or(|found| found.bytes == 0) {
            self.forget_live();
            return Ok(None);
        }
        self.open(desk)?;
        let id = self.open.as_ref().filter(|_| self.bytes > 0).map(|open| open.id);
        if id.is_none() {
            return Ok(None);
        }
        if desk.disk.facts(&self.folder, &name)?.map(|found| found.id) != id {
            self.leave(desk);
            return Ok(None);
        }
        self.cut_back(desk);
        if !self.is_between_messages() {
            return Err(io::Error::other("a message is in it in part, and cannot be cut off"));
        }
        if desk.form != Form::Plain || self.has_receipts() {
            // What comes next goes to another file, and may be safe before; then
            // what is lost of this one would be sent again, and stand behind it.
            // Of lines a power failure leaves whole ones; half a member would
            // make a damaged file of the segment.
            let receipts = self.sync(desk);
            self.receipts.extend(receipts);
            self.refuse_if_doubtful()?;
            if self.sync_failed {
                // The next attempt syncs it again.
                self.unsynced_since = Some(desk.now);
                return Err(io::Error::other("it cannot be synced"));
            }
        }
        let began = match (self.began, &self.open) {
            (Some(began), _) => began,
            (None, Some(open)) => live::began(&*open.file, desk.form, desk.zone)?,
            (None, None) => return Ok(None),
        };
        let segment = self.rename(began, desk)?;
        debug!("{} is now {segment}", self.path(desk));
        if self.turn_again_at.take().is_some() {
            info!("{} turns again", self.path(desk));
        }
        if opened_for_this && let Some(open) = self.open.take() {
            // We have synced what we have closed, the process before perhaps not.
            if !self.was_closed && open.file.sync().is_err() {
                desk.stats.add(Counter::SyncFailures, 1);
            }
        }
        self.retire(desk);
        self.forget_live();
        Ok(Some(segment))
    }

    fn rename(&mut self, began: Began, desk: &mut Desk<'_>) -> io::Result<Segment> {
        let format = desk.form.format();
        // When it has been sealed, nobody can look into it for the region.
        let (journal, region) = (&mut *desk.journal, &self.last_region);
        let mut announce = |segment: &Segment| match region {
            Some(region) => journal.turned(region, segment),
            None => Ok(()),
        };
        let (folder, live, newest) = (&self.folder, &self.live, &mut *desk.newest);
        let segment = turn::turn(desk.disk, folder, live, format, began, newest, &mut announce)?;
        self.last_region = None;
        desk.stats.add(Counter::FilesTurned, 1);
        self.name_unsynced = true;
        self.unsynced_since.get_or_insert(desk.now);
        Ok(segment)
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
        self.trouble = Some(Trouble { retry_at: desk.now + pause, pause, said });
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
        let synced = match self.is_doubtful {
            true => self.look_again(desk),
            false => self.open.as_ref().map_or(Ok(()), |open| open.file.sync()),
        };
        let Err(error) = synced else {
            desk.stats.add(Counter::Syncs, 1);
            self.sync_failed = false;
            self.is_doubtful = false;
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

    fn retire(&mut self, desk: &Desk<'_>) {
        if let Some(open) = self.open.take() {
            let mut receipts = std::mem::take(&mut self.receipts);
            if std::mem::take(&mut self.is_doubtful) {
                // Whoever waits for these waits until a restart has looked.
                receipts.clear();
            }
            let retired = Retired::new(open.file, self.path(desk), &self.folder, receipts);
            desk.retirement.take(retired);
        }
    }

    fn forget_live(&mut self) {
        (self.bytes, self.began, self.due, self.since) = (0, None, None, None);
    }

    /// Of a message of which a part was written all is to be written.
    fn begin_message_anew(&mut self) {
        if let Some(first) = self.parcels.front() {
            self.written = whole_messages(&first.section.bytes, self.written);
        }
    }

    fn is_between_messages(&self) -> bool {
        let Some(first) = self.parcels.front() else { return true };
        whole_messages(&first.section.bytes, self.written) == self.written
    }

    /// Takes a message that was written in part out of the file again, so
    /// that the file can be left alone. It stays to be written.
    fn cut_back(&mut self, desk: &Desk<'_>) {
        let (Some(open), Some(first)) = (&self.open, self.parcels.front()) else { return };
        let keep = whole_messages(&first.section.bytes, self.written);
        if keep == self.written {
            return;
        }
        let torn = (self.written - keep) as u64;
        let cut = open.file.facts().and_then(|facts| {
            let bytes = facts.bytes.saturating_sub(torn);
            open.file.set_len(bytes).map(|()| bytes)
        });
        match cut {
            Ok(bytes) => (self.written, self.bytes) = (keep, bytes),
            // What is in the file stays; the rest of the message follows it.
            Err(error) => {
                let path = self.path(desk);
                warn!("cannot cut a torn message of {torn} bytes off {path}: {error}");
            }
        }
    }

    fn path(&self, desk: &Desk<'_>) -> String {
        let path = desk.disk.path().join(&*self.folder).join(desk.form.name(&self.live));
        path.display().to_string()
    }
}
