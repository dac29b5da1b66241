//! The thread of a client that speaks v2.
//! `Queue` -> `Store` -> a session; acknowledgements -> what is settled.
//! Invariant: it never waits for the network, so that the spool goes on filling.
//! Leaves out: how a server is found (`dial`), how records are kept (`store`).
//!
//! ```text
//! reach    when to dial, which server, how a link begins and ends
//! talk     what is said while there is one
//! ```

mod reach;
mod talk;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use self::reach::{Better, Link};
use super::Terms;
use super::adopt::Adoption;
use super::store::Store;
use super::tally::Tally;
use crate::bell::Bell;
use crate::limits::{GATHER, IO_SLICE, REPORT_EVERY, SPOOL_SYNC_EVERY};
use crate::pause::Pause;
use crate::queue::{Bounds, Queue, Urgency};
use crate::send;
use crate::socket::Slot;
use crate::spool::Spool;
use crate::stats::Stats;

/// Starts the thread.
pub(crate) fn start(
    terms: Arc<Terms>,
    bounds: Bounds,
    queue: Arc<Queue>,
    slot: Arc<Slot>,
) -> io::Result<()> {
    let bell = queue.bell()?;
    queue.set_adopting(terms.spool.is_some());
    send::spawn(move || {
        let _ending = send::Ending(Arc::clone(&queue));
        let place = terms.spool.clone().map(|place| (place, terms.app.clone()));
        match Store::open(place, terms.window_bytes, &queue) {
            Ok(store) => {
                let book = Arc::clone(&queue);
                let mut engine = Engine::new(terms, queue, book, bell, slot, store);
                engine.adoption = engine.terms.spool.is_some().then(Adoption::default);
                engine.bounds = Some(bounds);
                let book = Arc::clone(&engine.book);
                if let Some(Err(error)) = engine.run().take_spool().map(Spool::close) {
                    book.say(error.to_string());
                }
                book.set_adopting(false);
            }
            Err(error) => queue.sender_failed(error.to_string()),
        }
    })
}

pub(super) struct Engine {
    terms: Arc<Terms>,
    queue: Arc<Queue>,
    /// Where counters and failures go: the client's queue.
    book: Arc<Queue>,
    bell: Bell,
    slot: Arc<Slot>,
    store: Store,
    link: Link,
    /// A better server that is being looked for, or has been found.
    better: Option<Better>,
    pause: Pause,
    paused_since: Instant,
    /// Until then nobody is dialed, whoever is in a hurry.
    held_until: Option<Instant>,
    nudges: u64,
    /// The route that was used last, and the one to begin with next time.
    last_route: Option<usize>,
    first_route: usize,
    connections: u64,
    /// The greatest number ever sent.
    sent: u64,
    /// The first numbers of refusals since the last acknowledgement: the next
    /// session hears of these again.
    refused: Vec<u64>,
    tally: Tally,
    reported: Option<Instant>,
    synced: Instant,
    taken: Option<Instant>,
    adoption: Option<Adoption>,
    bounds: Option<Bounds>,
}

impl Engine {
    pub(super) fn new(
        terms: Arc<Terms>,
        queue: Arc<Queue>,
        book: Arc<Queue>,
        bell: Bell,
        slot: Arc<Slot>,
        store: Store,
    ) -> Engine {
        let now = Instant::now();
        let tally = Tally::new(store.unreported());
        Engine {
            terms,
            queue,
            book,
            bell,
            slot,
            store,
            link: Link::None,
            better: None,
            pause: Pause::default(),
            paused_since: now,
            held_until: None,
            nudges: 0,
            last_route: None,
            first_route: 0,
            connections: 0,
            sent: 0,
            refused: Vec::new(),
            tally,
            reported: None,
            synced: now,
            taken: None,
            adoption: None,
            bounds: None,
        }
    }

    /// Works until it is told to end, or there is nothing more to come.
    /// Returns what is left.
    pub(super) fn run(mut self) -> Store {
        loop {
            let urgency = self.urgency();
            let is_idle = !self.has_work(&urgency);
            if urgency.is_over || (urgency.is_closed && is_idle) {
                return self.end();
            }
            self.keep(&urgency);
            self.store.load(&self.book);
            self.step(&urgency);
            self.look_after(is_idle);
            self.wait();
        }
    }

    /// Who waits for us. The queue of a spool left behind is closed from the
    /// start, and in a hurry is only who waits for the client.
    fn urgency(&self) -> Urgency {
        let urgency = self.queue.urgency();
        if self.is_own() {
            return urgency;
        }
        let Urgency { is_hurried, nudges, .. } = self.book.urgency();
        Urgency { is_hurried, nudges, ..urgency }
    }

    /// Takes what waits, after a moment in which it could gather.
    fn keep(&mut self, urgency: &Urgency) {
        let is_gathering = self.gathering().is_some_and(|left| !left.is_zero());
        if is_gathering && !urgency.is_hurried && !urgency.is_half_full {
            return;
        }
        if urgency.has_waiting || !self.store.is_settled() {
            let is_connected = self.is_connected();
            if self.store.keep(&self.queue, is_connected) {
                self.taken = Some(Instant::now());
            }
        }
    }

    /// What is left of the moment; none when there was none.
    fn gathering(&self) -> Option<Duration> {
        self.taken.map(|at| GATHER.saturating_sub(at.elapsed()))
    }

    fn is_connected(&self) -> bool {
        match &self.link {
            Link::V2 { .. } => !matches!(self.better, Some(Better::Found { .. })),
            Link::V1 { .. } => true,
            _ => false,
        }
    }

    fn step(&mut self, urgency: &Urgency) {
        match &self.link {
            Link::None => self.dial(urgency),
            Link::Dialing(dialing) => {
                if let Some(answer) = dialing.answer() {
                    self.link = Link::None;
                    self.answered(answer);
                    // What waits goes now: nobody rings for it again.
                    self.talk_or_lose();
                }
            }
            Link::V2 { .. } => {
                self.talk_or_lose();
                self.prefer();
            }
            Link::V1 { .. } => self.talk_v1(),
        }
    }

    /// Whether there is something that a server should get, or hear.
    fn has_work(&self, urgency: &Urgency) -> bool {
        // Word of drops alone is kept in the spool, if there is one.
        let has_word = || self.store.spool().is_some() && self.tally.has_news(&self.drops());
        urgency.has_waiting || !self.store.is_settled() || has_word()
    }

    /// Counters of what we have dropped. From a spool left behind only its own
    /// program has.
    fn drops(&self) -> Stats {
        if self.is_own() { self.book.stats() } else { Stats::default() }
    }

    /// Whether these are our own messages, not those of a spool left behind.
    fn is_own(&self) -> bool {
        Arc::ptr_eq(&self.book, &self.queue)
    }

    /// What is due from time to time.
    fn look_after(&mut self, is_idle: bool) {
        if self.synced.elapsed() >= SPOOL_SYNC_EVERY {
            self.sync();
            self.synced = Instant::now();
        }
        if let (true, Some(adoption), Some(bounds)) = (is_idle, &mut self.adoption, self.bounds) {
            adoption.look(&self.terms, bounds, &self.book);
        }
    }

    /// Waits for a message, for the server, or for the next thing that is due.
    fn wait(&mut self) {
        let urgency = self.urgency();
        let is_gathering = self.gathering().filter(|left| !left.is_zero() && !urgency.is_hurried);
        let wants = match &self.link {
            Link::None if self.pause_left(urgency.is_hurried).is_zero() => true,
            _ => self.store.has_room(self.is_connected()),
        };
        let mut limit = self.next_due(&urgency);
        if let (true, Some(left)) = (wants, is_gathering) {
            limit = limit.min(left);
        }
        if !self.queue.doze(wants, is_gathering.is_some()) {
            limit = Duration::ZERO;
        }
        let mut sources = vec![PollFd::new(self.bell.listening(), PollFlags::POLLIN)];
        if let Link::V2 { session, .. } = &self.link {
            let mut events = PollFlags::POLLIN;
            events.set(PollFlags::POLLOUT, session.has_output());
            sources.push(PollFd::new(session.stream().descriptor(), events));
        }
        // Rounded up: a wait of no time would turn the last millisecond into
        // a busy one.
        let millis = limit.as_micros().div_ceil(1000).min(60_000);
        let timeout = PollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX));
        let _ = poll(&mut sources, timeout);
        drop(sources);
        self.bell.quiet();
        self.queue.awake();
    }

    /// How long until something is due.
    fn next_due(&self, urgency: &Urgency) -> Duration {
        let mut due = Duration::from_secs(60);
        let mut at_most = |limit: Duration| due = due.min(limit);
        let has_work = self.has_work(urgency);
        if let Some(at) = self.store.reads_again_at() {
            at_most(at.saturating_duration_since(Instant::now()));
        }
        if urgency.is_closed {
            at_most(IO_SLICE);
        }
        if self.store.spool().is_some_and(Spool::needs_sync) {
            at_most(SPOOL_SYNC_EVERY.saturating_sub(self.synced.elapsed()));
        }
        match &self.link {
            Link::None => {
                let left = self.pause_left(urgency.is_hurried);
                // During a pause new messages do not ring: they are looked for
                // at its end.
                if has_work || !left.is_zero() {
                    at_most(left);
                }
            }
            Link::V2 { .. } => {
                match &self.better {
                    Some(Better::NotBefore(at)) => {
                        at_most(at.saturating_duration_since(Instant::now()));
                    }
                    Some(Better::Found { .. }) => at_most(IO_SLICE),
                    _ => {}
                }
                if has_work {
                    at_most(REPORT_EVERY);
                }
            }
            _ => {}
        }
        if let (Some(adoption), false) = (&self.adoption, has_work) {
            at_most(adoption.due_in());
        }
        due
    }

    fn sync(&mut self) {
        self.sync_with(&self.drops());
    }

    fn sync_with(&mut self, drops: &Stats) {
        self.store.set_unreported(self.tally.unconfirmed(drops));
        self.store.sync(&self.book);
    }

    /// Puts what is left where it outlasts the program, and says farewell.
    fn end(mut self) -> Store {
        if let Some(adoption) = &self.adoption {
            adoption.stop();
        }
        let _ = self.store.keep(&self.queue, false);
        // What cannot be told now stays in the spool.
        let _ = self.report_drops(true);
        self.hang_up();
        if let Link::V1 { connection, .. } = std::mem::replace(&mut self.link, Link::None) {
            connection.finish();
        }
        // What still waits found no room, and is lost with the program.
        let mut drops = self.drops();
        drops.dropped.closed += self.queue.waiting();
        self.sync_with(&drops);
        self.queue.set_safe(self.store.is_safe());
        self.store
    }
}
