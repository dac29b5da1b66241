//! Comes to a server, and away from it.
//! Answers and ends of sessions -> the link at hand; pauses; the next server to try.
//! Invariant: whoever refuses us is left alone for as long as its refusal says.
//! Leaves out: what is said in a session (`talk`), connecting (`dial`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Engine;
use crate::connection::Connection;
use crate::limits::{HANDOVER_LIMIT, PAUSE_HURRIED, SPOOL_RETRY};
use crate::pause::Ended;
use crate::queue::Urgency;
use crate::socket::Slot;
use crate::v2::Terms;
use crate::v2::dial::{Answer, Answered, Call, DialError, Dialing};
use crate::v2::session::{Session, SessionError};

/// What leads to a server.
pub(super) enum Link {
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

/// A server that is preferred to the one at hand.
pub(super) enum Better {
    /// Looked for since then, or to be looked for.
    NotBefore(Instant),
    Dialing(Dialing),
    Found {
        answered: Box<Answered>,
        since: Instant,
    },
}

impl Engine {
    /// Dials when there is something to send and the pause is over.
    pub(super) fn dial(&mut self, urgency: &Urgency) {
        let has_work = self.has_work(urgency);
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

    pub(super) fn pause_left(&self, is_hurried: bool) -> Duration {
        let length = self.pause.length_now();
        let length = if is_hurried { length.min(PAUSE_HURRIED) } else { length };
        let pause = length.saturating_sub(self.paused_since.elapsed());
        let held = |until: Instant| until.saturating_duration_since(Instant::now());
        pause.max(self.held_until.map_or(Duration::ZERO, held))
    }

    pub(super) fn answered(&mut self, answer: Result<Answered, DialError>) {
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

    pub(super) fn begin(&mut self, Answered { route, answer }: Answered) {
        let since = Instant::now();
        if self.last_route.replace(route).is_some_and(|last| last != route) {
            self.book.count(|stats| stats.failovers += 1);
        }
        self.better = (route > 0).then(|| Better::NotBefore(since + self.terms.prefer_again));
        self.queue.connected(self.connections > 0);
        self.connections += 1;
        match answer {
            Answer::V2(session) => {
                if self.is_taken_by_others(session.welcome.taken) {
                    return self.renew(session);
                }
                self.reported = None;
                let brought = self.settle(session.welcome.durable);
                self.link = Link::V2 { session, since, brought };
            }
            Answer::V1(connection) => {
                self.link = Link::V1 { connection, since, sent: 0 };
            }
        }
    }

    /// Whether the server has numbers of our id that nobody can have sent but
    /// somebody else: those behind the next one, and of those that were given
    /// here, the ones that have not been sent.
    fn is_taken_by_others(&self, taken: u64) -> bool {
        taken >= self.store.next_number() || (taken >= self.store.own_first && taken > self.sent)
    }

    /// Leaves an id to whoever has used it: under that one the server would skip
    /// what it has not got.
    fn renew(&mut self, session: Box<Session>) {
        self.book.say(format!(
            "the server has {} messages of our id, more than we have sent; the spool may be an old \
             copy: we go on under a new id",
            session.welcome.taken
        ));
        session.finish(false);
        // A server that says so for ever is not called in a circle.
        self.pause.failed();
        self.pause.settle();
        self.paused_since = Instant::now();
        match self.store.renew() {
            Ok(()) => {
                self.sent = 0;
                self.refused.clear();
            }
            Err(error) => {
                self.held_until = Instant::now().checked_add(SPOOL_RETRY);
                self.book.say(error.to_string());
            }
        }
    }

    /// Ends a session that was in order; the next one begins at once.
    pub(super) fn hang_up(&mut self) {
        if let Link::V2 { session, .. } = std::mem::replace(&mut self.link, Link::None)
            && session.finish(self.store.is_settled())
        {
            self.tally.finished();
        }
    }

    pub(super) fn lost(&mut self, error: &SessionError) {
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

    pub(super) fn ended(&mut self, peer: SocketAddr, ended: Ended, why: &str) {
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

    fn book_failure(&self, failure: String) {
        self.queue.failed(failure.clone(), self.pause.is_outage());
        if !self.is_own() {
            self.book.count(|stats| stats.failures += 1);
            self.book.say(failure);
        }
    }

    /// Looks for a better server from time to time, and changes to it.
    pub(super) fn prefer(&mut self) {
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
}
