//! Records with numbers, until they are settled.
//! Records -> numbers, memory and spool; a number -> all up to it are settled.
//! Invariant: numbers go up in the order of records; what has one is in memory or in the spool.
//! Leaves out: who gives records, and where they are sent.

mod disk;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Instant;

use wire::v2::limits::BATCH_RECORDS_MAX;

use super::SpoolPlace;
use crate::frames::Frames;
use crate::limits::{PIECE_BYTES, SPOOL_RETRY};
use crate::queue::{Queue, Why};
use crate::spool::{ENTRY_HEADER_BYTES, REASONS, Run, Spool, SpoolError, new_id};

#[derive(Debug)]
pub(super) struct Store {
    pub(super) id: [u8; 16],
    /// Unsettled records in memory, by number.
    window: VecDeque<Run>,
    window_bytes: usize,
    window_bytes_max: usize,
    /// All records up to this one are in the window or settled.
    loaded: u64,
    settled: u64,
    /// The number that the next record gets.
    next: u64,
    /// The first number given here; those before are an earlier program's.
    pub(super) own_first: u64,
    /// Taken out of the queue, without numbers yet.
    rest: Frames,
    /// The last record that is in memory only, though there should be a spool.
    unspooled: u64,
    /// The room that was too small for the next record: of the spool, and of
    /// the window.
    too_small: [Option<usize>; 2],
    spool: Option<Spool>,
    place: Option<(SpoolPlace, String)>,
    /// Until then nothing is written to the disk.
    retry_at: Option<Instant>,
    /// Until then nothing is read from it.
    reread_at: Option<Instant>,
    has_complained: bool,
}

impl Store {
    /// Opens the spool, if there is to be one. Without it messages are kept in
    /// memory.
    pub(super) fn open(
        place: Option<(SpoolPlace, String)>,
        window_bytes_max: usize,
        book: &Queue,
    ) -> Result<Store, SpoolError> {
        let mut store = Store::new(new_id()?, window_bytes_max);
        if let Some((place, app)) = &place {
            let mut tell = |error: &SpoolError| book.say(error.to_string());
            match Spool::open(&place.dir, app, place.bounds, &mut tell) {
                Ok(spool) => store.begin(spool),
                Err(error) => store.complain(&error, book),
            }
        }
        store.place = place;
        Ok(store)
    }

    /// A store of what is in an abandoned spool.
    pub(super) fn of(spool: Spool, window_bytes_max: usize) -> Store {
        let mut store = Store::new(spool.id(), window_bytes_max);
        store.begin(spool);
        store
    }

    fn new(id: [u8; 16], window_bytes_max: usize) -> Store {
        Store {
            id,
            window: VecDeque::new(),
            window_bytes: 0,
            window_bytes_max,
            loaded: 0,
            settled: 0,
            next: 1,
            own_first: 1,
            rest: Frames::default(),
            unspooled: 0,
            too_small: [None; 2],
            spool: None,
            place: None,
            retry_at: None,
            reread_at: None,
            has_complained: false,
        }
    }

    fn begin(&mut self, spool: Spool) {
        self.id = spool.id();
        self.next = spool.next_number();
        self.own_first = self.next;
        self.settled = spool.acknowledged();
        self.loaded = self.settled;
        self.spool = Some(spool);
    }

    pub(super) fn spool(&self) -> Option<&Spool> {
        self.spool.as_ref()
    }

    /// Takes the spool out, to close or remove it.
    pub(super) fn take_spool(&mut self) -> Option<Spool> {
        self.spool.take()
    }

    pub(super) fn next_number(&self) -> u64 {
        self.next
    }

    /// Number of the first record that is not settled; 0 when all are.
    pub(super) fn first_held(&self) -> u64 {
        match self.window.front() {
            Some(run) => run.first,
            // What lies in the spool begins behind what is settled, somewhere.
            None if self.has_backlog() => self.settled.max(self.loaded) + 1,
            None => 0,
        }
    }

    /// Whether there is nothing that a server should get.
    pub(super) fn is_settled(&self) -> bool {
        self.window.is_empty() && self.rest.is_empty() && !self.has_backlog()
    }

    /// Whether what is not settled outlasts the program.
    pub(super) fn is_safe(&self) -> bool {
        self.spool.is_some() && self.rest.is_empty() && self.unspooled <= self.settled
    }

    /// Whether records can be taken out of the queue now. The room that is left
    /// when one did not fit is none: who waits for the next record would be told
    /// at once, and again and again.
    pub(super) fn has_room(&self, is_connected: bool) -> bool {
        let [spool, window] = self.too_small.map(|room| room.unwrap_or(0));
        if self.writes_spool(Instant::now()) {
            return self.spool_room() > spool;
        }
        self.writes_memory(is_connected) && self.window_room() > window
    }

    /// Numbers and keeps what waits in the queue, as far as there is room;
    /// whether there was any.
    pub(super) fn keep(&mut self, queue: &Queue, is_connected: bool) -> bool {
        let now = Instant::now();
        let next = self.next;
        self.reopen(now, queue);
        loop {
            let to_spool = self.writes_spool(now);
            let (room, overhead) = match to_spool {
                true => (self.spool_room(), ENTRY_HEADER_BYTES),
                false if self.writes_memory(is_connected) => (self.window_room(), 0),
                false => return self.next > next,
            };
            if self.rest.is_empty() {
                let messages_max = BATCH_RECORDS_MAX as usize;
                queue.keep(&mut self.rest, messages_max, room.min(PIECE_BYTES), overhead);
                if self.rest.is_empty() {
                    // One that is longer than a piece goes alone, if it fits.
                    queue.keep(&mut self.rest, 1, room, overhead);
                }
            }
            if self.rest.is_empty() || self.rest.as_slice().len() > room {
                let is_full = queue.urgency().has_waiting || !self.rest.is_empty();
                self.note_room(to_spool, is_full.then_some(room));
                queue.full_because(if is_full { self.why_full() } else { Why::Memory });
                return self.next > next;
            }
            self.note_room(to_spool, None);
            match to_spool {
                true => self.append(queue),
                false => self.remember(),
            }
        }
    }

    fn note_room(&mut self, of_spool: bool, room: Option<usize>) {
        let [spool, window] = &mut self.too_small;
        *(if of_spool { spool } else { window }) = room;
    }

    /// Brings what lies in the spool only into the window, as far as it has
    /// room.
    pub(super) fn load(&mut self, book: &Queue) {
        self.tell_damage(book);
        if self.reread_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.reread_at = None;
        while self.has_backlog() && self.window_bytes <= self.window_bytes_max / 2 {
            let Some(spool) = &mut self.spool else { return };
            let run = spool.read(self.loaded, PIECE_BYTES);
            self.tell_damage(book);
            match run {
                Ok(Some(run)) => self.push(run),
                Ok(None) => self.loaded = self.loaded.max(self.last_spooled()),
                Err(error) => {
                    self.reread_at = Instant::now().checked_add(SPOOL_RETRY);
                    return self.say_once(&error, book);
                }
            }
        }
    }

    /// The run in which the record behind `number` is, or the next one there is.
    pub(super) fn behind(&self, number: u64) -> Option<&Run> {
        let at = self.window.partition_point(|run| run.end() <= number.saturating_add(1));
        self.window.get(at)
    }

    /// Everything up to `number` is settled. Returns how many of our own
    /// records that were, and of earlier programs.
    pub(super) fn settle(&mut self, number: u64) -> (u64, u64) {
        if number <= self.settled {
            return (0, 0);
        }
        let given = self.next.saturating_sub(1);
        let own_before = self.settled.max(self.own_first.saturating_sub(1));
        let own = number.min(given).saturating_sub(own_before);
        let mut earlier = 0;
        while let Some(run) = self.window.front_mut().filter(|run| run.first <= number) {
            let size = run.records.as_slice().len();
            while run.first <= number && run.records.pop() {
                earlier += u64::from(run.first < self.own_first);
                run.first += 1;
            }
            let left = run.records.as_slice().len();
            self.window_bytes = self.window_bytes.saturating_sub(size.saturating_sub(left));
            if run.records.is_empty() {
                self.window.pop_front();
            }
        }
        self.settled = number;
        self.loaded = self.loaded.max(number);
        if let Some(spool) = &mut self.spool {
            spool.acknowledge(number);
        }
        (own, earlier)
    }

    /// Somebody else has used our id: goes on under a new one, which no server
    /// knows, so numbers may stay as they are. What was kept goes with it: it may
    /// have arrived under the old id, but nobody can tell, and twice is better
    /// than not at all.
    pub(super) fn renew(&mut self) -> Result<(), SpoolError> {
        let id = new_id()?;
        if let Some(spool) = &mut self.spool {
            spool.rename(id)?;
        }
        self.id = id;
        Ok(())
    }

    /// What was dropped and is still to be told of; it outlasts us in the spool.
    pub(super) fn set_unreported(&mut self, unreported: [u64; REASONS]) {
        if let Some(spool) = &mut self.spool {
            spool.set_unreported(unreported);
        }
    }

    /// The same as an earlier program has left it.
    pub(super) fn unreported(&self) -> [u64; REASONS] {
        self.spool.as_ref().map_or([0; REASONS], Spool::unreported)
    }

    fn has_backlog(&self) -> bool {
        self.last_spooled() > self.loaded
    }

    fn last_spooled(&self) -> u64 {
        self.spool.as_ref().map_or(0, Spool::last)
    }

    fn spool_room(&self) -> usize {
        self.spool.as_ref().map_or(0, Spool::room)
    }

    fn window_room(&self) -> usize {
        match self.window.is_empty() {
            // A record of any size fits alone.
            true => usize::MAX,
            false => self.window_bytes_max.saturating_sub(self.window_bytes),
        }
    }

    fn writes_spool(&self, now: Instant) -> bool {
        self.spool.is_some() && self.retry_at.is_none_or(|at| now >= at)
    }

    /// Memory alone takes records when they can be sent, and when none that
    /// lie in the spool come before them. A spool that is only full is waited
    /// for.
    fn writes_memory(&self, is_connected: bool) -> bool {
        let is_broken = self.spool.is_none() || self.retry_at.is_some();
        is_broken && is_connected && !self.has_backlog()
    }

    fn append(&mut self, book: &Queue) {
        let is_next = !self.has_backlog();
        let Some(spool) = &mut self.spool else { return };
        let (kept, error) = spool.append(self.next, &self.rest);
        let bytes = spool.bytes();
        book.count(|stats| {
            stats.spooled += kept as u64;
            stats.spool_bytes = bytes;
        });
        let mut run = Run { first: self.next, records: Frames::default() };
        self.rest.split_front(&mut run.records, kept, usize::MAX, 0);
        self.next = run.end();
        if is_next && run.records.as_slice().len() <= self.window_room() {
            self.push(run);
        }
        match error {
            Some(error) => self.complain(&error, book),
            None => {
                self.retry_at = None;
                self.has_complained = false;
            }
        }
    }

    fn remember(&mut self) {
        let run = Run { first: self.next, records: std::mem::take(&mut self.rest) };
        self.next = run.end();
        self.unspooled = self.next.saturating_sub(1);
        self.push(run);
    }

    fn push(&mut self, run: Run) {
        if run.records.is_empty() {
            return;
        }
        self.loaded = self.loaded.max(run.end().saturating_sub(1));
        self.window_bytes += run.records.as_slice().len();
        self.window.push_back(run);
    }
}
