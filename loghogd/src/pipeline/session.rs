//! A connection that speaks the second protocol.
//! Frames of a client -> numbered lines on their way; what became safe -> acknowledgements.
//! Invariant: a client hears that a message is safe only when its line is synced, and its name is.
//! Leaves out: the bytes of frames (`wire::v2`), what is remembered of clients (`persist::clients`).
//!
//! ```text
//! greet   HELLO to WELCOME: who it is, and whether it knows the secret
//! batch   records -> a batch of lines, as far as there is room for them
//! ```
//! docs/protocol.md is the specification. Like every connection it waits without
//! a buffer, and takes a lane when there is something to read.

mod batch;
mod greet;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, warn};
use wire::frame::{self, Next};
use wire::v2::frame::{Head, Type};
use wire::v2::handshake::Welcome;
use wire::v2::report::{Ack, Code, Farewell, Refusal, Refused, Report};
use wire::v2::seal::{Opener, Sealer};

use self::batch::Stalled;
use super::Road;
use super::accept::Stream;
use super::gate::Way;
use super::lane::Lane;
use super::persist::clients::{self, Session};
use crate::config::Table;
use crate::config::facility::Secret;
use crate::connections::{Peer, Seat};
use crate::ledger::Counts;
use crate::limits::{
    PENDING_BYTES_MOVED_MAX, SESSION_OUT_BYTES_MAX, SESSION_ROOM_BYTES_MAX, SESSION_SPARE_BYTES,
};
use crate::stats::Counter;

/// Speaks with a client until one of both has enough. `first` is what was read
/// of it already: the beginning of its HELLO.
pub(super) async fn serve(
    road: Arc<Road>,
    stream: Stream,
    peer: Peer,
    way: Way,
    seat: Seat,
    first: Vec<u8>,
) {
    let mut line = Line { road, stream, peer, way, seat, inbox: first, out: Vec::new() };
    let greeted = match line.greet().await {
        Ok(greeted) => greeted,
        Err(end) => return line.end(end, None).await,
    };
    let acknowledged = greeted.welcome.durable;
    let gaps = greeted.session.passed_over();
    if gaps > 0 {
        greeted.account(&line, Counts { gaps, ..Counts::default() });
    }
    let mut talk = Talk {
        acknowledged,
        told_refused: 0,
        next_number: None,
        stalled: None,
        reloads: line.road.shared.reloads.clone(),
        greeted,
    };
    // WELCOME has passed over some as an acknowledgement does.
    let end = match talk.say_refused(&mut line, acknowledged) {
        Ok(()) => talk.run(&mut line).await,
        Err(end) => end,
    };
    line.end(end, Some(&mut talk.greeted)).await;
}

/// A connection, and what is on its way over it.
struct Line {
    road: Arc<Road>,
    stream: Stream,
    peer: Peer,
    way: Way,
    seat: Seat,
    /// What was read and is not a whole frame yet.
    inbox: Vec<u8>,
    /// What is to be written.
    out: Vec<u8>,
}

/// What both sides know of each other behind WELCOME.
struct Greeted {
    session: Session,
    /// What the client was told of it.
    welcome: Welcome,
    app: String,
    host: String,
    module: String,
    secret: Option<Secret>,
    /// The facilities that this secret is from.
    table: Arc<Table>,
    sealer: Sealer,
    opener: Opener,
}

impl Greeted {
    /// Counts for the client.
    fn account(&self, line: &Line, more: Counts) {
        let Peer { address, transport } = line.peer;
        line.road.shared.ledger.add(address.ip(), transport, &self.host, &self.app, more);
    }
}

/// A session under way.
struct Talk {
    greeted: Greeted,
    /// What the client was told is safe.
    acknowledged: u64,
    /// Up to here it was told what was refused.
    told_refused: u64,
    /// Where the next batch has to begin; none before the first.
    next_number: Option<u64>,
    /// A batch that waits for a file.
    stalled: Option<Stalled>,
    /// Each new configuration, also when the client is silent.
    reloads: watch::Receiver<()>,
}

/// Why a connection ends.
enum End {
    /// The other side has gone, or said farewell.
    Gone,
    /// We say so, and why.
    Farewell(Code, String),
    /// The same; it is counted as well.
    Refused(Counter, Code, String),
    /// Nothing can be said any more.
    Broken(Counter, String),
}

impl Line {
    async fn end(mut self, end: End, greeted: Option<&mut Greeted>) {
        let who = greeted.as_ref().map_or(("", ""), |greeted| (&greeted.host, &greeted.app));
        let (code, text) = match end {
            End::Gone => return,
            End::Broken(counter, text) => {
                return self.road.refuse_of(who, &self.peer, counter, 1, &text);
            }
            End::Refused(counter, code, text) => {
                self.road.refuse_of(who, &self.peer, counter, 1, &text);
                (code, text)
            }
            End::Farewell(code, text) => {
                debug!("{}: {text}", self.peer);
                (code, text)
            }
        };
        let payload = Farewell { code, text: &text }.encode();
        let head = Head::plain(Type::Farewell);
        let written = match greeted {
            Some(greeted) => greeted.sealer.write(&mut self.out, head, &payload),
            None => wire::v2::seal::write_plain(&mut self.out, head, &payload),
        };
        if written.is_ok() {
            let last = async { while !self.out.is_empty() && self.flush().await.is_ok() {} };
            // Whoever does not read it need not be waited for.
            let _ = tokio::time::timeout(Duration::from_secs(1), last).await;
            self.stream.shut_down().await;
        }
    }

    /// Writes some of what is to be written; waits when the other side does
    /// not read.
    async fn flush(&mut self) -> io::Result<()> {
        match self.stream.try_write(&self.out) {
            Ok(bytes) => {
                self.out.drain(..bytes);
                if self.out.is_empty() && self.out.capacity() > SESSION_SPARE_BYTES {
                    self.out = Vec::new();
                }
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.writable().await,
            Err(error) => Err(error),
        }
    }
}

/// What there is to do next.
enum Event {
    Readable,
    Durable(u64),
    Flushed,
    Free,
    Reloaded,
    End(End),
}

impl Talk {
    async fn run(&mut self, line: &mut Line) -> End {
        loop {
            let event = self.next_event(line).await;
            let done = match event {
                Event::End(end) => return end,
                Event::Flushed => Ok(()),
                Event::Durable(number) => self.acknowledge(line, number),
                Event::Free => self.resume(line).await,
                Event::Reloaded => self.follow(line),
                Event::Readable => self.read(line).await,
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    async fn next_event(&mut self, line: &mut Line) -> Event {
        let mut stop = line.road.shared.stop.clone();
        let (session, acknowledged) = (&self.greeted.session, self.acknowledged);
        let may_read = self.stalled.is_none() && line.out.len() <= SESSION_OUT_BYTES_MAX;
        let over = async {
            match &self.stalled {
                Some(stalled) => stalled.hold.over().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = line.seat.evicted() => Event::End(End::Farewell(Code::Busy, "there are too many connections".into())),
            _ = stop.wait_for(Option::is_some) => Event::End(End::Farewell(Code::Stopping, "the server stops".into())),
            durable = session.more_durable_than(acknowledged) => match durable {
                Ok(number) => Event::Durable(number),
                Err(evicted) => Event::End(End::Farewell(Code::Evicted, evicted.to_string())),
            },
            // Its other end lives as long as there is something to reload.
            Ok(()) = self.reloads.changed() => Event::Reloaded,
            () = over => Event::Free,
            ready = line.stream.writable(), if !line.out.is_empty() => match ready {
                Ok(()) => match line.stream.try_write(&line.out) {
                    Ok(bytes) => {
                        line.out.drain(..bytes);
                        Event::Flushed
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Event::Flushed,
                    Err(_) => Event::End(End::Gone),
                },
                Err(_) => Event::End(End::Gone),
            },
            ready = line.stream.readable(), if may_read => match ready {
                Ok(()) => Event::Readable,
                Err(_) => Event::End(End::Gone),
            },
        }
    }

    fn acknowledge(&mut self, line: &mut Line, durable: u64) -> Result<(), End> {
        self.say_refused(line, durable)?;
        self.acknowledged = durable;
        self.say(line, Type::Ack, &Ack { durable }.encode())
    }

    /// Says what of the messages up to this number has no line.
    fn say_refused(&mut self, line: &mut Line, durable: u64) -> Result<(), End> {
        for refusal in self.greeted.session.refusals(self.told_refused, durable) {
            let clients::Refusal { messages, first, last, code, text } = refusal;
            self.told_refused = self.told_refused.max(last);
            let code = Refusal::from_number(code);
            let payload = Refused { messages, first, code, text: &text }.encode();
            self.say(line, Type::Refused, &payload)?;
        }
        Ok(())
    }

    fn say(&mut self, line: &mut Line, kind: Type, payload: &[u8]) -> Result<(), End> {
        let written = self.greeted.sealer.write(&mut line.out, Head::plain(kind), payload);
        written.map_err(|error| End::Broken(Counter::SessionBroken, error.to_string()))
    }

    /// Reads a chunk, and carries the whole frames of it.
    async fn read(&mut self, line: &mut Line) -> Result<(), End> {
        let road = Arc::clone(&line.road);
        let mut taken = tokio::select! {
            biased;
            () = line.seat.evicted() => return Ok(()),
            taken = road.lanes.take() => taken,
        };
        let lane = &mut *taken.lane;
        let bytes = match line.stream.try_read(&mut lane.buffer) {
            Ok(0) => return Err(End::Gone),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(End::Broken(Counter::TlsProtocol, error.to_string()));
            }
            Err(_) => return Err(End::Gone),
        };
        let Lane { buffer, works, spare } = lane;
        let fresh = buffer.get(..bytes).unwrap_or_default();
        let mut inbox = std::mem::take(&mut line.inbox);
        let consumed = if inbox.is_empty() {
            let consumed = self.carry(line, works, fresh).await?;
            let rest = fresh.get(consumed..).unwrap_or_default();
            // Most of a large frame has come: its room is one of a lane's.
            if rest.len() > spare.capacity() / 2 {
                inbox = std::mem::take(spare);
            }
            inbox.extend_from_slice(rest);
            consumed
        } else {
            inbox.extend_from_slice(fresh);
            let consumed = self.carry(line, works, &inbox).await?;
            inbox.drain(..consumed);
            consumed
        };
        // Who waits with little or nothing keeps no room for more.
        if inbox.len() <= PENDING_BYTES_MOVED_MAX {
            let room = std::mem::take(&mut inbox);
            inbox = room.to_vec();
            let fits = room.capacity() <= SESSION_ROOM_BYTES_MAX;
            if fits && room.capacity() > spare.capacity() {
                *spare = room;
                spare.clear();
            }
        }
        line.inbox = inbox;
        line.seat.heard(consumed > 0);
        if !line.seat.set_pending(line.inbox.capacity()) {
            return Err(End::Farewell(Code::Busy, "there is no room for unfinished frames".into()));
        }
        Ok(())
    }

    /// Carries whole frames; returns how many bytes they were.
    async fn carry(
        &mut self,
        line: &mut Line,
        works: &mut super::lane::Works,
        bytes: &[u8],
    ) -> Result<usize, End> {
        let max = self.greeted.opener.announced_bytes_max(line.road.shared.frame_bytes_max);
        let mut consumed = 0;
        while self.stalled.is_none() {
            let rest = bytes.get(consumed..).unwrap_or_default();
            let frame = match frame::next(rest, max) {
                Ok(Next::Frame(frame)) => frame,
                Ok(Next::More { .. }) => break,
                Err(error) => {
                    let (counter, code) = (Counter::FrameTooLong, Code::Malformed);
                    return Err(End::Refused(counter, code, error.to_string()));
                }
            };
            consumed += frame.bytes;
            line.road.shared.stats.add(Counter::Frames, 1);
            let (head, payload) = match self.greeted.opener.open(frame.flags, frame.payload) {
                Ok(opened) => opened,
                Err(wire::v2::seal::SealError::Forged) => {
                    let text = "a frame was altered, repeated or reordered on its way";
                    return Err(End::Broken(Counter::SessionForged, text.into()));
                }
                Err(error) => return Err(malformed(&error)),
            };
            match head.kind {
                Type::Batch => self.carry_batch(line, works, head.compression, payload).await?,
                Type::Report => self.note_dropped(line, payload)?,
                Type::Farewell => {
                    let done = Farewell::decode(payload).map_err(|error| malformed(&error))?;
                    debug!("{}: says farewell: {}", line.peer, done.text);
                    if done.code == Code::Done {
                        line.road.shared.clients.forget(&self.greeted.session);
                    }
                    return Err(End::Gone);
                }
                kind => return Err(malformed(&format!("a {kind:?} frame in an open session"))),
            }
        }
        Ok(consumed)
    }

    /// The client has dropped messages: somebody should know.
    fn note_dropped(&self, line: &Line, payload: &[u8]) -> Result<(), End> {
        let report = Report::decode(payload).map_err(|error| malformed(&error))?;
        for (reason, messages) in report.dropped {
            line.road.shared.stats.add(Counter::ClientDropped, messages);
            self.greeted.account(line, Counts { dropped: messages, ..Counts::default() });
            warn!(
                "client {} on {} ({}) has dropped {messages} messages: {reason}",
                self.greeted.session.key(),
                crate::own_log::quote(&self.greeted.host),
                line.peer
            );
        }
        Ok(())
    }

    /// Follows a new configuration. A secret that has changed has to be proven
    /// anew before another message is looked at, and TLS that is demanded now be
    /// spoken: the message would be refused, and so be settled.
    fn follow(&mut self, line: &Line) -> Result<(), End> {
        let table = line.road.shared.table.load();
        if Arc::ptr_eq(&table, &self.greeted.table) {
            return Ok(());
        }
        self.greeted.table = Arc::clone(&table);
        let facility = table.find(&self.greeted.app, &self.greeted.module);
        match facility {
            Some(facility)
                if facility.secret == self.greeted.secret
                    && (line.way.tls || !facility.require.tls) =>
            {
                Ok(())
            }
            _ => Err(End::Farewell(Code::Stopping, "the configuration has changed".into())),
        }
    }
}

fn malformed(error: &dyn std::fmt::Display) -> End {
    End::Refused(Counter::SessionMalformed, Code::Malformed, error.to_string())
}

/// Random bytes that nobody can guess.
fn random<const BYTES: usize>() -> Result<[u8; BYTES], End> {
    let mut bytes = [0; BYTES];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => {
            let text = "the system has no random numbers";
            Err(End::Refused(Counter::SessionBroken, Code::Internal, text.into()))
        }
    }
}

/// Until when a client has to have said something.
fn deadline(limit: Duration) -> Instant {
    Instant::now() + limit
}
