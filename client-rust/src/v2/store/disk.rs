//! What becomes of the store while its spool's disk refuses.
//! Errors of the spool -> a pause, a word, another spool.
//! Invariant: the program that logs never waits for the disk, and each trouble is told once.
//! Leaves out: reading and writing (`spool`), what is kept in memory (`store`).

use std::time::Instant;

use super::Store;
use crate::limits::SPOOL_RETRY;
use crate::queue::{Queue, Why};
use crate::spool::{Spool, SpoolError, missing};

impl Store {
    /// Syncs the spool.
    pub(in crate::v2) fn sync(&mut self, book: &Queue) {
        let Some(spool) = &mut self.spool else { return };
        let synced = spool.sync();
        let bytes = spool.bytes();
        book.count(|stats| stats.spool_bytes = bytes);
        if let Err(error) = synced {
            self.complain(&error, book);
        }
    }

    /// When a disk that has refused to be read is asked again.
    pub(in crate::v2) fn reads_again_at(&self) -> Option<Instant> {
        self.reread_at
    }

    pub(super) fn tell_damage(&mut self, book: &Queue) {
        let damaged = self.spool.as_mut().map_or(0, Spool::take_damaged);
        if damaged > 0 {
            book.count(|stats| stats.damaged += damaged);
            book.say(format!("{damaged} messages of the spool are damaged; they are lost"));
        }
    }

    pub(super) fn why_full(&self) -> Why {
        match (&self.place, &self.spool, self.retry_at) {
            (None, None, _) => Why::Memory,
            (_, Some(_), None) => Why::SpoolFull,
            _ => Why::SpoolFailed,
        }
    }

    /// Makes the spool that could not be made before, under the id that we have
    /// by now.
    pub(super) fn reopen(&mut self, now: Instant, book: &Queue) {
        let (None, Some((place, app))) = (&self.spool, &self.place) else { return };
        if self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        match Spool::create(&place.dir, app, self.id, self.next, place.bounds) {
            Ok(spool) => {
                self.spool = Some(spool);
                self.retry_at = None;
                self.has_complained = false;
            }
            Err(error) => self.complain(&error, book),
        }
    }

    /// Writes nothing to the disk for a while; says so once until it works again.
    pub(super) fn complain(&mut self, error: &SpoolError, book: &Queue) {
        self.retry_at = Instant::now().checked_add(SPOOL_RETRY);
        self.say_once(error, book);
        book.full_because(Why::SpoolFailed);
        if error.is_gone() {
            self.give_up_spool(book);
        }
    }

    pub(super) fn say_once(&mut self, error: &SpoolError, book: &Queue) {
        if !std::mem::replace(&mut self.has_complained, true) {
            book.say(error.to_string());
        }
    }

    /// Somebody has removed it. Another one is made in its place, for what comes;
    /// of what was in it memory holds a part.
    fn give_up_spool(&mut self, book: &Queue) {
        if self.place.is_none() || self.spool.as_ref().is_none_or(Spool::exists) {
            return;
        }
        let gap = missing(self.loaded.max(self.settled), self.last_spooled().saturating_add(1));
        let lost = gap.unwrap_or(1);
        if lost > 0 {
            book.count(|stats| stats.damaged += lost);
            book.say(format!("{lost} messages of the spool are gone with its folder"));
        }
        self.loaded = self.loaded.max(self.last_spooled());
        self.unspooled = self.next.saturating_sub(1);
        self.spool = None;
    }
}
