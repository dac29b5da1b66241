//! The thread of a client that speaks v2.
//! `Queue` -> `Store` -> a session; acknowledgements -> what is settled.
//! Invariant: it never waits for the network, so that the spool goes on filling.
//! Leaves out: how a server is found (`dial`), how records are kept (`store`).

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::adopt::Adoption;
use super::dial::{Answer, Answered, Call, DialError, Dialing};
use super::session::{Heard, Session, SessionError};
use super::store::Store;
use super::tally::Tally;
use super::{Terms, v1_frames};
use crate::bell::Bell;
use crate::connection::Connection;
use crate::frames::Frames;
use crate::limits::{
    GATHER, HANDOVER_LIMIT, IO_SLICE, PAUSE_HURRIED, REPORT_EVERY, SPOOL_SYNC_EVERY, STALL_LIMIT,
};
use crate::pause::{Ended, Pause};
use crate::queue::{Bounds, Queue, Urgency};
use crate::send;
use crate::socket::Slot;
use crate::spool::Spool;

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

enum Link {
    None,
    Dialing(Dialing),
    V2 {
        session: Box<Session>,
        since: Instant,
        /// Something has been settled by this session.
        brought: bool,
    },
    V1 {
        connection: Connection,
        since: Instant,
        sent: u64,
    },
}

enum Better {
    /// Looked for since then, or to be looked for.
    NotBefore(Instant),
    Dialing(Dialing),
    Found {
        answered: Box<Answered>,
        since: Instant,
    },
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
            tally: Tally::default(),
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
            let urgency = self.queue.urgency();
            let is_idle = self.store.is_settled() && !urgency.has_waiting;
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

    fn talk_or_lose(&mut self) {
        if let Err(error) = self.talk() {
            self.lost(&error);
        }
    }

    /// Dials when there is something to send and the pause is over.
    fn dial(&mut self, urgency: &Urgency) {
        let has_work = urgency.has_waiting || !self.store.is_settled();
        let is_nudged = std::mem::replace(&mut self.nudges, urgency.nudges) != urgency.nudges;
        let is_held = self.held_until.is_some_and(|until| Instant::now() < until);
        if has_work && !is_held && (is_nudged || self.pause_left(urgency.is_hurried).is_zero()) {
            let count = self.terms.routes.len().max(1);
            let order = (0..count).map(|place| (place + self.first_route) % count).collect();
            self.link = Link::Dialing(self.call(order, Arc::clone(&self.slot)));
        }
    }

    fn call(&self, routes: Vec<usize>, slot: Arc<Slot>) -> Dialing {
        let call = Call {
            terms: Arc::clone(&self.terms),
            id: self.store.id,
            first_held: self.store.first_held(),
            next_number: self.store.next_number(),
            routes,
            slot,
        };
        Dialing::begin(call, Arc::clone(&self.queue), self.bell.clone())
    }

    fn pause_left(&self, is_hurried: bool) -> Duration {
        let length = self.pause.length_now();
        let length = if is_hurried { length.min(PAUSE_HURRIED) } else { length };
        let pause = length.saturating_sub(self.paused_since.elapsed());
        let held = |until: Instant| until.saturating_duration_since(Instant::now());
        pause.max(self.held_until.map_or(Duration::ZERO, held))
    }

    fn answered(&mut self, answer: Result<Answered, DialError>) {
        match answer {
            Ok(answered) => self.begin(answered),
            Err(DialError::Stopped) => {}
            Err(error) => {
                self.pause.failed();
                self.pause.settle();
                self.paused_since = Instant::now();
                self.first_route = 0;
                if let DialError::Session { source, .. } = &error {
                    self.held_until = Instant::now().checked_add(source.hold());
                }
                self.book_failure(error.to_string());
            }
        }
    }

    fn begin(&mut self, Answered { route, answer }: Answered) {
        let since = Instant::now();
        if self.last_route.replace(route).is_some_and(|last| last != route) {
            self.book.count(|stats| stats.failovers += 1);
        }
        self.better = (route > 0).then(|| Better::NotBefore(since + self.terms.prefer_again));
        self.queue.connected(self.connections > 0);
        self.connections += 1;
        match answer {
            Answer::V2(session) => {
                let welcome = session.welcome;
                if welcome.taken >= self.store.next_number() {
                    self.book.say(format!(
                        "the server has {} messages of our id, more than we have sent; the spool \
                         may be an old copy: we go on under a new id",
                        welcome.taken
                    ));
                    // What is left of the old numbers the server would skip.
                    if self.store.renew(&self.book) {
                        self.sent = 0;
                        self.refused.clear();
                        return session.finish(false);
                    }
                    self.store.skip_to(welcome.taken.saturating_add(1));
                }
                self.reported = None;
                let brought = self.settle(welcome.durable);
                self.link = Link::V2 { session, since, brought };
            }
            Answer::V1(connection) => {
                self.link = Link::V1 { connection, since, sent: 0 };
            }
        }
    }

    /// Listens, makes batches, writes.
    fn talk(&mut self) -> Result<(), SessionError> {
        let Link::V2 { session, .. } = &mut self.link else { return Ok(()) };
        let mut heard = Vec::new();
        let mut end = session.read(&mut heard);
        let mut has_brought = false;
        for heard in heard {
            match heard {
                Heard::Ack { durable } => {
                    self.refused.clear();
                    self.tally.acknowledged(durable);
                    has_brought |= self.settle(durable);
                }
                Heard::Refused { first, .. } if self.refused.contains(&first) => {}
                Heard::Refused { messages, first, text } => {
                    self.refused.push(first);
                    self.book.count(|stats| stats.refused += messages);
                    self.book.say(format!(
                        "the server refused {messages} messages, the first is {first}: {text}"
                    ));
                }
            }
        }
        if let Link::V2 { brought, .. } = &mut self.link {
            *brought |= has_brought;
        }
        if end.is_ok() {
            end = self.fill_and_write();
        }
        end
    }

    fn fill_and_write(&mut self) -> Result<(), SessionError> {
        // A better server takes over as soon as this one has acknowledged.
        let is_leaving = matches!(self.better, Some(Better::Found { .. }));
        let is_due = self.reported.is_none_or(|at| at.elapsed() >= REPORT_EVERY);
        let reports = is_due && self.is_own();
        let Link::V2 { session, .. } = &mut self.link else { return Ok(()) };
        if reports {
            self.reported = Some(Instant::now());
            if let Some(report) = self.tally.news(&self.book.stats(), session.sent) {
                session.report(&report)?;
            }
        }
        loop {
            while session.is_ready() && !is_leaving {
                let Some(run) = self.store.behind(session.sent) else { break };
                if !session.follows(run) {
                    // Numbers go on elsewhere: that takes a new session, once
                    // this one has acknowledged all.
                    break;
                }
                let before = session.sent;
                let records = session.send(run)?;
                if records == 0 {
                    break;
                }
                if self.store.first_held() > before {
                    // Nothing was outstanding: the wait begins now.
                    session.progress = Instant::now();
                }
                let again = self.sent.min(session.sent).saturating_sub(session.sent - records);
                self.sent = self.sent.max(session.sent);
                self.book.count(|stats| {
                    stats.resent += again;
                    stats.sent += records - again;
                });
            }
            let written = session.write()?;
            self.book.count(|stats| stats.written_bytes += written as u64);
            if written == 0 || session.has_output() {
                break;
            }
        }
        let first_held = self.store.first_held();
        let is_outstanding = first_held > 0 && first_held <= session.sent;
        if is_outstanding && session.progress.elapsed() > STALL_LIMIT {
            return Err(SessionError::Stalled(STALL_LIMIT));
        }
        let behind = self.store.behind(session.sent).filter(|run| !session.follows(run));
        if let (false, Some(run)) = (is_outstanding, behind) {
            // Our next HELLO tells where numbers go on.
            if session.sent == session.welcome.taken && first_held == session.told_first {
                return Err(SessionError::Gap { next: session.sent + 1, first: run.first });
            }
            self.hang_up();
        }
        Ok(())
    }

    /// Everything up to `durable` is safe; whether that was news.
    fn settle(&mut self, durable: u64) -> bool {
        let (own, earlier) = self.store.settle(durable);
        self.book.count(|stats| stats.acknowledged += own + earlier);
        self.queue.settled(own);
        own + earlier > 0
    }

    /// Ends a session that was in order; the next one begins at once.
    fn hang_up(&mut self) {
        if let Link::V2 { session, .. } = std::mem::replace(&mut self.link, Link::None) {
            session.finish(self.store.is_settled());
        }
    }

    fn lost(&mut self, error: &SessionError) {
        let (peer, ended) = match std::mem::replace(&mut self.link, Link::None) {
            Link::V2 { session, since, brought } => {
                (session.stream().peer(), Ended { lasted: since.elapsed(), brought })
            }
            other => return self.link = other,
        };
        self.tally.lost();
        self.held_until = Instant::now().checked_add(error.hold());
        self.ended(peer, ended, &error.to_string());
    }

    fn ended(&mut self, peer: std::net::SocketAddr, ended: Ended, why: &str) {
        self.pause.ended(ended);
        self.pause.settle();
        self.paused_since = Instant::now();
        // One that takes us and drops us at once is no better than none.
        let is_short = self.pause.failures() > 0;
        self.first_route = match (is_short, self.last_route) {
            (true, Some(route)) => (route + 1) % self.terms.routes.len().max(1),
            _ => 0,
        };
        self.book_failure(format!("lost the connection to {peer}: {why}"));
    }

    /// Whether these are our own messages, not those of a spool left behind.
    fn is_own(&self) -> bool {
        Arc::ptr_eq(&self.book, &self.queue)
    }

    fn book_failure(&self, failure: String) {
        self.queue.failed(failure.clone(), self.pause.is_outage());
        if !self.is_own() {
            self.book.count(|stats| stats.failures += 1);
            self.book.say(failure);
        }
    }

    /// Looks for a better server from time to time, and changes to it.
    fn prefer(&mut self) {
        let Some(better) = self.better.take() else { return };
        let Link::V2 { session, .. } = &self.link else { return };
        let again = |now: Instant, terms: &Terms| Better::NotBefore(now + terms.prefer_again);
        let now = Instant::now();
        self.better = Some(match better {
            Better::NotBefore(at) if now >= at => {
                let routes = (0..self.last_route.unwrap_or(0)).collect();
                Better::Dialing(self.call(routes, Arc::default()))
            }
            Better::Dialing(dialing) => match dialing.answer() {
                None => Better::Dialing(dialing),
                Some(Ok(answered)) if matches!(answered.answer, Answer::V2(_)) => {
                    Better::Found { answered: Box::new(answered), since: now }
                }
                Some(_) => again(now, &self.terms),
            },
            Better::Found { answered, since } => {
                let first_held = self.store.first_held();
                let is_outstanding = first_held > 0 && first_held <= session.sent;
                if is_outstanding && since.elapsed() < HANDOVER_LIMIT {
                    self.better = Some(Better::Found { answered, since });
                } else {
                    self.hang_up();
                    self.begin(*answered);
                }
                return;
            }
            waiting => waiting,
        });
    }

    /// Hands all that is kept to a server that knows v1 only.
    fn talk_v1(&mut self) {
        let Link::V1 { connection, since, sent } = &mut self.link else { return };
        let (peer, since) = (connection.peer(), *since);
        let mut end = connection.check();
        while end.is_ok() {
            let Some(run) = self.store.behind(*sent) else { return };
            let last = run.end().saturating_sub(1);
            let mut frames = Frames::default();
            let numbers = v1_frames(&self.terms, run, *sent, &mut frames);
            let queue = &self.queue;
            let (tally, result) = connection.write(&mut frames, &|| queue.is_over());
            end = result;
            let handed = match end {
                Ok(()) => last,
                Err(_) => numbers.get(tally.messages.wrapping_sub(1)).copied().unwrap_or(*sent),
            };
            *sent = (*sent).max(handed);
            let (own, _) = self.store.settle(handed);
            self.queue.settled(own);
            self.book.count(|stats| stats.written_bytes += tally.bytes as u64);
        }
        if let Err(lost) = end {
            self.link = Link::None;
            // Nobody says over v1 that anything has arrived.
            let ended = Ended { lasted: since.elapsed(), brought: false };
            self.ended(peer, ended, &lost.to_string());
        }
    }

    /// What is due from time to time.
    fn look_after(&mut self, is_idle: bool) {
        if self.synced.elapsed() >= SPOOL_SYNC_EVERY {
            self.store.sync(&self.book);
            self.synced = Instant::now();
        }
        if let (true, Some(adoption), Some(bounds)) = (is_idle, &mut self.adoption, self.bounds) {
            adoption.look(&self.terms, bounds, &self.book);
        }
    }

    /// Waits for a message, for the server, or for the next thing that is due.
    fn wait(&mut self) {
        let urgency = self.queue.urgency();
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
        let has_work = !self.store.is_settled() || urgency.has_waiting;
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

    /// Puts what is left where it outlasts the program, and says farewell.
    fn end(mut self) -> Store {
        if let Some(adoption) = &self.adoption {
            adoption.stop();
        }
        let _ = self.store.keep(&self.queue, false);
        self.store.sync(&self.book);
        if let Link::V2 { session, .. } = std::mem::replace(&mut self.link, Link::None) {
            session.finish(self.store.is_settled());
        } else if let Link::V1 { connection, .. } = self.link {
            connection.finish();
            self.link = Link::None;
        }
        self.queue.set_safe(self.store.is_safe());
        self.store
    }
}
