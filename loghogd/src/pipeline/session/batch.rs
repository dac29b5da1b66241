//! Carries a batch of records into lines.
//! Records -> lines in a batch, with their numbers; what cannot be a line -> refused.
//! Invariant: a number is taken once, and what was taken is handed over before anything else happens.
//! Leaves out: frames and their MACs.

use std::sync::Arc;

use wire::v2::batch::{BatchReader, Field, Record, Value as Sent};
use wire::v2::compress::Compression;
use wire::v2::report::{Code, Refusal};

use super::{End, Line, Talk, malformed};
use crate::config::facility::Facility;
use crate::ledger::Counts;
use crate::pipeline::gate::GateError;
use crate::pipeline::lane::Works;
use crate::pipeline::persist::clients;
use crate::pipeline::persist::entry::{Entry, Value};
use crate::pipeline::persist::held::Hold;
use crate::pipeline::persist::numbers::Run;
use crate::pipeline::persist::{PersistError, Pushed};
use crate::stats::Counter;
use tokio::sync::OwnedSemaphorePermit;
use wire::v2::limits::BATCH_RECORDS_MAX;

/// A batch of which a record is for a file that refuses: nobody goes on before
/// that is over.
pub(super) struct Stalled {
    pub(super) hold: Hold,
    /// The payload, inflated.
    payload: Vec<u8>,
    /// What is left of it begins here.
    next_number: u64,
    _room: OwnedSemaphorePermit,
}

/// The facility that was found last in this payload.
struct Found {
    /// Where in the payload its logger's name stands, and its length: an index
    /// leads to the same place, so that the names need not be compared.
    logger: (usize, usize),
    facility: Arc<Facility>,
}

/// Why a record has no line: what is counted, what its sender hears.
type Why = (Counter, Refusal, String);

/// Records of a batch that have no line, for one reason.
struct Refusing {
    why: Why,
    runs: Vec<Run>,
}

impl Refusing {
    /// Of each reason the first is kept in words: a batch may have thousands.
    fn note(all: &mut Vec<Refusing>, number: u64, why: Why) {
        let Some(refusing) = all.iter_mut().find(|refusing| refusing.why.0 == why.0) else {
            all.push(Refusing { why, runs: vec![(number, 1)] });
            return;
        };
        match refusing.runs.last_mut() {
            Some((first, count)) if *first + *count == number => *count += 1,
            _ => refusing.runs.push((number, 1)),
        }
    }
}

impl Talk {
    pub(super) async fn carry_batch(
        &mut self,
        line: &mut Line,
        works: &mut Works,
        compression: Compression,
        sent: &[u8],
    ) -> Result<(), End> {
        let max = usize::try_from(line.road.shared.frame_bytes_max).unwrap_or(usize::MAX);
        let mut room = std::mem::take(&mut works.expanded);
        let expanded = match works.expander.expand(compression, sent, max, &mut room) {
            Ok(payload) => payload,
            Err(error) => {
                let counter = Counter::ZlibInvalid;
                return Err(End::Refused(counter, Code::Malformed, error.to_string()));
            }
        };
        let first = BatchReader::new(expanded, BATCH_RECORDS_MAX)
            .map_err(|error| malformed(&error))?
            .next_number();
        let is_next = match self.next_number {
            None => first <= self.greeted.session.taken().saturating_add(1),
            Some(next) => first == next,
        };
        if !is_next {
            let text =
                format!("a batch begins at {first} and does not go on behind the one before");
            return Err(End::Refused(Counter::SessionMalformed, Code::Numbers, text));
        }
        let carried = self.carry_records(line, works, expanded, first).await;
        works.expanded = room;
        carried
    }

    /// Goes on with a batch whose file takes lines again.
    pub(super) async fn resume(&mut self, line: &mut Line) -> Result<(), End> {
        let Some(stalled) = self.stalled.take() else { return Ok(()) };
        let road = Arc::clone(&line.road);
        let mut taken = road.lanes.take().await;
        let works = &mut taken.lane.works;
        self.carry_records(line, works, &stalled.payload, stalled.next_number).await?;
        // What was read behind it.
        let inbox = std::mem::take(&mut line.inbox);
        let consumed = Box::pin(self.carry(line, works, &inbox)).await?;
        line.inbox = inbox.get(consumed..).unwrap_or_default().to_vec();
        Ok(())
    }

    /// Carries the records from `from` on.
    async fn carry_records(
        &mut self,
        line: &mut Line,
        works: &mut Works,
        payload: &[u8],
        from: u64,
    ) -> Result<(), End> {
        self.follow(line)?;
        works.follow(&self.greeted.table);
        let stamp = line.road.shared.clock.stamp();
        // Asked once: there is no lock for a message.
        let (taken, settled) = (self.greeted.session.taken(), self.greeted.session.settled());
        let mut found: Option<Found> = None;
        let mut reader =
            BatchReader::new(payload, BATCH_RECORDS_MAX).map_err(|error| malformed(&error))?;
        let mut refusing = Vec::new();
        // Of a batch that is malformed in its middle nothing is taken twice:
        // what comes before it is.
        let mut outcome = Ok(());
        let (mut last, mut records) = (from.saturating_sub(1), 0);
        loop {
            let (number, record) = match reader.next_record() {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(error) => {
                    outcome = Err(malformed(&error));
                    break;
                }
            };
            if number < from || number <= taken || settled.contains(number) {
                last = last.max(number);
                continue;
            }
            match self.push(works, &stamp, line, &record, &mut found) {
                Ok(Pushed::Taken) => {
                    works.batch.number_last(&self.greeted.session, number);
                    records += 1;
                }
                Ok(Pushed::Held(hold)) => {
                    let Some(room) = hold.keep(payload.len()) else {
                        let text = "too many wait for files that cannot be written";
                        outcome = Err(End::Farewell(Code::Busy, text.into()));
                        break;
                    };
                    let (payload, next_number) = (payload.to_vec(), number);
                    self.stalled = Some(Stalled { hold, payload, next_number, _room: room });
                    break;
                }
                Err(why) => Refusing::note(&mut refusing, number, why),
            }
            last = number;
            if works.batch.is_full() {
                self.hand_over(line, works, last).await?;
            }
        }
        let next = reader.next_number();
        line.road.shared.stats.add(Counter::Records, records);
        if records > 0 {
            self.greeted.account(line, Counts::received(records));
        }
        self.hand_over(line, works, last).await?;
        refusing.into_iter().for_each(|refusing| self.refuse(line, refusing));
        if records > 0 {
            line.seat.prove();
        }
        self.next_number = Some(match &self.stalled {
            // The payload knows the rest.
            Some(_) => self.batch_end(payload),
            None => next,
        });
        outcome
    }

    /// Where the batch behind this one begins.
    fn batch_end(&self, payload: &[u8]) -> u64 {
        BatchReader::new(payload, BATCH_RECORDS_MAX)
            .map_or(0, |reader| reader.next_number() + u64::from(reader.records_left()))
    }

    /// From here on it is the writer's.
    async fn hand_over(&self, line: &Line, works: &mut Works, last: u64) -> Result<(), End> {
        let (session, handover) = (&self.greeted.session, &line.road.shared.handover);
        let handed_over = handover.hand_over_taken(session, last, &mut works.batch).await;
        handed_over.map_err(|evicted| End::Farewell(Code::Evicted, evicted.to_string()))
    }

    fn push(
        &self,
        works: &mut Works,
        stamp: &crate::clock::Stamp,
        line: &Line,
        record: &Record<'_>,
        found: &mut Option<Found>,
    ) -> Result<Pushed, Why> {
        let Works { gate, batch, .. } = works;
        let logger = (record.logger.as_ptr().addr(), record.logger.len());
        let Found { facility, .. } = match found {
            Some(found) if found.logger == logger => found,
            _ => {
                let secret = self.greeted.secret.as_ref();
                let facility = gate
                    .admit_in_session(&self.greeted.app, record.logger, secret, line.way)
                    .map_err(|error| (error.counter(), refusal(&error), error.to_string()))?;
                found.insert(Found { logger, facility: Arc::clone(facility) })
            }
        };
        let entry = Entry {
            host: &self.greeted.host,
            app: &self.greeted.app,
            logger: record.logger,
            body: record.body,
            sent_ns: i128::from(record.time_ns),
            level: Some(record.level).filter(|level| *level > 0),
            thread: Some(record.thread).filter(|thread| !thread.is_empty()),
            process: Some(u64::from(record.process_id)).filter(|process| *process > 0),
            exception_at: record.exception_at,
            fields: record.fields.iter().map(field),
        };
        batch
            .push_entry(stamp, facility, &entry)
            .map_err(|error: PersistError| (error.counter(), Refusal::Host, error.to_string()))
    }

    /// Notes what has no line; the client hears of it before the
    /// acknowledgement that passes over it.
    fn refuse(&self, line: &Line, refusing: Refusing) {
        let Refusing { why: (counter, code, text), runs } = refusing;
        let first = runs.first().map_or(0, |(first, _)| *first);
        let messages = runs.iter().map(|(_, count)| count).sum();
        let who = (&*self.greeted.host, &*self.greeted.app);
        line.road.refuse_of(who, &line.peer, counter, messages, &text);
        let last = runs.last().map_or(0, |(first, count)| first + count - 1);
        let refusal = clients::Refusal { messages, first, last, code: code.number(), text };
        self.greeted.session.refuse(&runs, refusal);
    }
}

fn refusal(error: &GateError) -> Refusal {
    match error {
        GateError::SecretOther(_) | GateError::SignatureMissing(_) | GateError::SignatureBad(_) => {
            Refusal::OtherSecret
        }
        GateError::TlsMissing(_) => Refusal::NeedsTls,
        GateError::AppUnknown(_) | GateError::ProtocolTooOld(_) => Refusal::NoFacility,
    }
}

fn field<'a>(field: &Field<'a>) -> (&'a str, Value<'a>) {
    let value = match field.value {
        Sent::Null => Value::Null,
        Sent::Bool(value) => Value::Bool(value),
        Sent::Int(value) => Value::Int(value),
        Sent::Float(value) => Value::Float(value),
        Sent::Text(value) => Value::Text(value),
        Sent::Json(value) => Value::Json(value),
    };
    (field.key, value)
}
