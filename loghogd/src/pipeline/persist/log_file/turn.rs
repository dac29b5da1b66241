//! Parts a file from its name: it turns, or somebody has moved it away.
//! An open live file -> a segment, whose file is synced and closed elsewhere (`retire`).
//! Invariant: no message is in two segments; none is left in part in a file that is left.
//! Leaves out: when a file turns (`rotate::due`), and how segments are named (`rotate::turn`).

use std::io;

use tracing::{debug, error, info, warn};

use super::{Desk, LogFile};
use crate::limits::{LOOK_EVERY, TURN_RETRY};
use crate::pipeline::persist::live::{self, Form};
use crate::pipeline::persist::messages::whole_messages;
use crate::pipeline::persist::retire::Retired;
use crate::pipeline::rotate::name::{Began, Segment};
use crate::pipeline::rotate::turn;
use crate::stats::Counter;

impl LogFile {
    /// Notices when somebody has moved the file away, deleted or cut it.
    pub(in crate::pipeline::persist) fn look(&mut self, desk: &Desk<'_>) {
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
                self.forget_live(desk);
                self.found(found, desk.at);
            }
            Some(_) => {}
        }
    }

    /// Leaves a file that has got another name, or none; the next line opens
    /// the right one.
    pub(super) fn leave(&mut self, desk: &Desk<'_>) {
        info!("{} was moved away or deleted: opening it anew", self.path(desk));
        desk.stats.add(Counter::FilesReopened, 1);
        self.cut_back(desk);
        self.retire(desk);
        self.forget_live(desk);
    }

    /// Gives what is in the live file the name of a segment. None when there
    /// is nothing in it, or it is not there any more.
    ///
    /// # Errors
    /// What the system says; the file is as before.
    pub(in crate::pipeline::persist) fn turn(
        &mut self,
        desk: &mut Desk<'_>,
    ) -> io::Result<Option<Segment>> {
        self.refuse_if_doubtful()?;
        self.report_void(desk)?;
        let opened_for_this = self.open.is_none();
        let name = desk.form.name(&self.live);
        if desk.disk.facts(&self.folder, &name)?.is_none_or(|found| found.bytes == 0) {
            self.forget_live(desk);
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
        self.forget_live(desk);
        Ok(Some(segment))
    }

    pub(super) fn rename(&mut self, began: Began, desk: &mut Desk<'_>) -> io::Result<Segment> {
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

    /// Takes note that it could not turn, and says so once. Its lines go on
    /// into the same file until it can.
    pub(in crate::pipeline::persist) fn cannot_turn(&mut self, desk: &Desk<'_>, error: &io::Error) {
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

    pub(super) fn retire(&mut self, desk: &Desk<'_>) {
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

    pub(super) fn forget_live(&mut self, desk: &Desk<'_>) {
        if !self.facility.ship.is_empty() {
            desk.notices.left(&self.folder, &self.live);
        }
        (self.bytes, self.began, self.due, self.since) = (0, None, None, None);
    }

    /// Of a message of which a part was written all is to be written.
    pub(super) fn begin_message_anew(&mut self) {
        if let Some(first) = self.parcels.front() {
            self.written = whole_messages(&first.section.bytes, self.written);
        }
    }

    pub(super) fn is_between_messages(&self) -> bool {
        let Some(first) = self.parcels.front() else { return true };
        whole_messages(&first.section.bytes, self.written) == self.written
    }

    /// Takes a message that was written in part out of the file again, so
    /// that the file can be left alone. It stays to be written.
    pub(super) fn cut_back(&mut self, desk: &Desk<'_>) {
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
}
