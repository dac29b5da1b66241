//! What is said while there is a link to a server.
//! Runs of the `Store` -> batches; what the server says -> what is settled, and counters.
//! Invariant: only what the server has acknowledged is settled, in v1 what the kernel has.
//! Leaves out: how a link begins and ends (`reach`).

use std::time::Instant;

use wire::v1::EncodeScratch;

use super::Engine;
use super::reach::{Better, Link};
use crate::frames::Frames;
use crate::limits::{REPORT_EVERY, STALL_LIMIT};
use crate::pause::Ended;
use crate::record;
use crate::spool::Run;
use crate::v2::Terms;
use crate::v2::session::{Heard, SessionError};

impl Engine {
    pub(super) fn talk_or_lose(&mut self) {
        if let Err(error) = self.talk() {
            self.lost(&error);
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
        self.report_drops(false)?;
        self.send_batches()?;
        self.check_progress()
    }

    /// Tells the server what was dropped, not too often but for the last time.
    pub(super) fn report_drops(&mut self, is_last: bool) -> Result<(), SessionError> {
        let is_due = self.reported.is_none_or(|at| at.elapsed() >= REPORT_EVERY);
        if !is_due && !is_last {
            return Ok(());
        }
        let drops = self.drops();
        let Link::V2 { session, .. } = &mut self.link else { return Ok(()) };
        self.reported = Some(Instant::now());
        match self.tally.news(&drops, session.sent) {
            Some(report) => session.report(&report),
            None => Ok(()),
        }
    }

    /// Makes batches of what is kept, and writes, until the kernel takes no more.
    fn send_batches(&mut self) -> Result<(), SessionError> {
        // A better server takes over as soon as this one has acknowledged.
        let is_leaving = matches!(self.better, Some(Better::Found { .. }));
        let Link::V2 { session, .. } = &mut self.link else { return Ok(()) };
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
                return Ok(());
            }
        }
    }

    /// Ends a session that does not get on, or that cannot go on by its numbers.
    fn check_progress(&mut self) -> Result<(), SessionError> {
        let Link::V2 { session, .. } = &mut self.link else { return Ok(()) };
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
    pub(super) fn settle(&mut self, durable: u64) -> bool {
        let (own, earlier) = self.store.settle(durable);
        self.book.count(|stats| stats.acknowledged += own + earlier);
        self.queue.settled(own);
        own + earlier > 0
    }

    /// Hands all that is kept to a server that knows v1 only. It may wait for that
    /// server: no spool has to be filled meanwhile, since with one nobody falls back.
    pub(super) fn talk_v1(&mut self) {
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
}

/// The records of a run behind `sent` as v1 frames, and the number of each.
/// One that makes no frame is left out: it is longer than v1 allows.
fn v1_frames(terms: &Terms, run: &Run, sent: u64, frames: &mut Frames) -> Vec<u64> {
    let mut numbers = Vec::new();
    let mut scratch = EncodeScratch::default();
    let (mut fields, mut frame) = (Vec::new(), Vec::new());
    let Some(fallback) = &terms.fallback else { return numbers };
    for (number, bytes) in (run.first..).zip(run.records.iter()).filter(|(n, _)| *n > sent) {
        let Some((record, is_bare)) = record::decode(bytes, &mut fields) else { continue };
        let body = record::v1_body(&record, &fields, is_bare);
        let v1 = record::to_v1(&record, &body, &terms.app, &terms.hostname);
        let key = fallback.key.as_ref();
        if wire::v1::encode(&v1, key, fallback.zlib, &mut scratch, &mut frame).is_ok() {
            frames.push(&frame);
            numbers.push(number);
        }
    }
    numbers
}
