//! Sends a batch: one transaction.
//! Records and marks -> they are committed together; or why not, and what is known then.
//! Invariant: it is over when Kafka has said so; what Kafka has not said is a failure.
//! Leaves out: what comes after a failure (`kafka`).
//!
//! librdkafka reports only what did not arrive, and only while somebody polls. So nothing
//! here waits without polling, but for the commit itself, which has its own short limits.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, PurgeConfig};

use super::client::{Heard, transaction_time};
use super::error::{Place, code_of, is_fenced, is_refusal};
use super::packing::Packing;
use super::progress::{Owner, PARTITION, mark_key};
use super::{ready, topic};
use crate::config::ship::kafka::{Kafka, Value};
use crate::pipeline::ship::json::Writer;
use crate::pipeline::ship::limits::{KAFKA_CONNECT_TIME_MAX, KAFKA_LOOK_TIME, KAFKA_SILENCE_MAX};
use crate::pipeline::ship::{Batch, Bury, Part, Refused, Surroundings, Trouble};

/// What librdkafka is asked for while something is on its way, and how soon it is noticed
/// that it has arrived.
const POLL_TIME: Duration = Duration::from_millis(1);

/// So many records are handed over between two looks at what was heard.
const RECORDS_A_LOOK: usize = 1_024;

/// The number of what is no record of the batch.
const NO_RECORD: usize = usize::MAX;

/// What a batch is sent with.
pub(super) struct Sender<'t> {
    pub(super) producer: &'t BaseProducer<Heard>,
    pub(super) options: &'t Kafka,
    pub(super) place: &'t Place,
    pub(super) surroundings: &'t Surroundings,
    pub(super) owner_key: &'t str,
    /// Topics that are there.
    pub(super) topics: &'t mut HashSet<Box<str>>,
    pub(super) packing: Packing,
}

/// Why a batch is perhaps not there.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) trouble: Trouble,
    /// Kafka does not take anything more under our name.
    pub(super) is_fenced: bool,
    /// Some record is one that Kafka never takes, and it is not known which.
    pub(super) is_refusal: bool,
    /// It went on, but too slowly.
    pub(super) took_too_long: bool,
    /// Without these records it would perhaps be there.
    pub(super) found: Vec<Refused>,
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        Failure {
            trouble,
            is_fenced: false,
            is_refusal: false,
            took_too_long: false,
            found: Vec::new(),
        }
    }
}

/// Records that did not arrive: their numbers, and why.
type Failed = Vec<(usize, RDKafkaErrorCode)>;

impl Sender<'_> {
    /// Takes the name over, and says so where everybody will read it.
    pub(super) fn begin(&mut self, owner: &Owner) -> Result<(), Failure> {
        let started = Instant::now();
        loop {
            match self.producer.init_transactions(KAFKA_LOOK_TIME) {
                Ok(()) => break,
                Err(error) => self.look_at(&error)?,
            }
            self.producer.poll(Duration::ZERO);
            self.look()?;
            if started.elapsed() > KAFKA_CONNECT_TIME_MAX * 2 {
                let kafka = self.place.kafka();
                let id = &self.place.id;
                let what = format!(
                    "{kafka}: nobody answers for the transactional id {id}, or what was open \
                     under it has not ended yet"
                );
                return Err(Trouble::later(what).into());
            }
        }
        let value = serde_json::to_vec(owner).unwrap_or_default();
        self.producer.begin_transaction().map_err(|error| self.failure(&error))?;
        self.hand_over_progress(self.owner_key, &value)?;
        let failed = self.arrive()?;
        match failed.first() {
            None => self.commit(),
            Some((_, code)) if is_cause(*code) => {
                let topic = &self.options.progress_topic;
                Err(self.with_code(self.place.explain_topic(topic, None, *code), *code))
            }
            Some(_) => Err(self.why_purged()),
        }
    }

    /// Delivers a batch, but for those records of which it is known that Kafka refuses them,
    /// and that were buried. Buries what else is refused, before that is committed.
    pub(super) fn deliver(
        &mut self,
        batch: &Batch,
        known: &[Refused],
        bury: Bury<'_>,
    ) -> Result<(), Failure> {
        if self.options.transactional {
            self.producer.begin_transaction().map_err(|error| self.failure(&error))?;
        }
        let mut refused = self.hand_over(batch, known)?;
        let failed = self.arrive()?;
        if !failed.is_empty() {
            let found = self.refused(batch, &failed)?;
            if self.options.transactional {
                // The others go with the next transaction.
                let trouble = Trouble::later(format!("{} refuses records", self.place.kafka()));
                return Err(Failure { found, ..trouble.into() });
            }
            refused.extend(found);
        }
        if !refused.is_empty() {
            bury(&refused)?;
        }
        if self.options.transactional { self.commit() } else { Ok(()) }
    }

    /// Of records that failed, those that will never be taken; a failure if there are others,
    /// or if it is not known which they are.
    fn refused(&self, batch: &Batch, failed: &Failed) -> Result<Vec<Refused>, Failure> {
        let cause = failed.iter().find(|(_, code)| is_cause(*code) && !is_refusal(*code));
        let cause = cause.or_else(|| failed.iter().find(|(_, code)| is_cause(*code)));
        let Some(&(number, code)) = cause else { return Err(self.why_purged()) };
        if !is_refusal(code) {
            return Err(self.explain_record(batch, number, code));
        }
        if self.packing != Packing::Single {
            let kafka = self.place.kafka();
            let trouble = Trouble::Later {
                what: format!("{kafka} refuses a batch ({code}); it is sent again in smaller ones"),
                pause: Some(Duration::ZERO),
            };
            return Err(Failure { is_refusal: true, ..trouble.into() });
        }
        let refusals = failed.iter().filter(|(_, code)| is_refusal(*code));
        let found = refusals.filter_map(|(number, code)| {
            let (part, message) = place_of(batch, *number)?;
            Some(Refused { part, message, reason: format!("Kafka refuses it: {code}") })
        });
        Ok(found.collect())
    }

    /// librdkafka has thrown records away, because the transaction has failed.
    fn why_purged(&self) -> Failure {
        if let Some((code, words)) = self.producer.client().fatal_error() {
            return self.with_code(self.place.explain(code, &words), code);
        }
        if self.options.transactional {
            // It does not commit what has failed: it says why.
            if let Err(error) = self.producer.commit_transaction(Duration::ZERO) {
                return self.failure(&error);
            }
        }
        Trouble::later(format!("{}: records were thrown away", self.place.kafka())).into()
    }

    fn explain_record(&self, batch: &Batch, number: usize, code: RDKafkaErrorCode) -> Failure {
        let part = place_of(batch, number).and_then(|(part, _)| batch.parts.get(part));
        let Some(part) = part else {
            let topic = &self.options.progress_topic;
            return self.with_code(self.place.explain_topic(topic, None, code), code);
        };
        let mut name = String::new();
        if let Some(record) = part.records().next() {
            // Perhaps another host's; the template tells the same.
            let _ = topic::topic(&self.options.topic, &record, &mut name);
        }
        self.with_code(self.place.explain_topic(&name, Some(&part.stream), code), code)
    }

    /// Hands all records over, but those that were refused, and the marks. Returns those
    /// that can never go.
    fn hand_over(&mut self, batch: &Batch, known: &[Refused]) -> Result<Vec<Refused>, Failure> {
        let left_out: HashSet<(usize, usize)> =
            known.iter().map(|refused| (refused.part, refused.message)).collect();
        let (mut number, mut refused) = (0, Vec::new());
        for (index, part) in batch.parts.iter().enumerate() {
            self.hand_over_part(index, part, number, &left_out, &mut refused)?;
            number += part.messages.len();
        }
        if !self.options.transactional {
            return Ok(refused);
        }
        for part in &batch.parts {
            let value = serde_json::to_vec(&part.end).unwrap_or_default();
            self.hand_over_progress(&mark_key(self.owner_key, &part.stream), &value)?;
        }
        Ok(refused)
    }

    fn hand_over_part(
        &mut self,
        index: usize,
        part: &Part,
        first: usize,
        left_out: &HashSet<(usize, usize)>,
        refused: &mut Vec<Refused>,
    ) -> Result<(), Failure> {
        let facility = format!("{}:{}", part.facility.app, part.facility.module);
        let headers = OwnedHeaders::new_with_capacity(2)
            .insert(Header { key: "facility", value: Some(&facility) })
            .insert(Header { key: "segment", value: Some(&*part.file) });
        let mut writer = Writer::new();
        let (mut topic, mut key, mut value) = (String::new(), String::new(), Vec::new());
        let mut is_topic_fixed = false;
        for (message, record) in part.records().enumerate() {
            if message % RECORDS_A_LOOK == RECORDS_A_LOOK - 1 {
                self.producer.poll(Duration::ZERO);
                self.look()?;
            }
            if left_out.contains(&(index, message)) {
                continue;
            }
            if !is_topic_fixed {
                topic.clear();
                if let Err(reason) = topic::topic(&self.options.topic, &record, &mut topic) {
                    refused.push(Refused { part: index, message, reason });
                    continue;
                }
                self.see_to(&topic, part)?;
                is_topic_fixed = !self.options.topic.has("host");
            }
            key.clear();
            topic::key(&self.options.key, &record, &mut key);
            let value: &[u8] = match self.options.value {
                Value::Raw => record.line,
                Value::Json => {
                    value.clear();
                    writer.write(&record, &mut value);
                    &value
                }
            };
            let mut new = BaseRecord::with_opaque_to(&topic, first + message)
                .payload(value)
                .timestamp(record.times.received_ns / 1_000_000)
                .headers(headers.clone());
            if !key.is_empty() {
                new = new.key(key.as_bytes());
            }
            if let ControlFlow::Break(reason) = self.enqueue(new)? {
                refused.push(Refused { part: index, message, reason });
            }
        }
        Ok(())
    }

    fn hand_over_progress(&self, key: &str, value: &[u8]) -> Result<(), Failure> {
        let new = BaseRecord::with_opaque_to(&self.options.progress_topic, NO_RECORD)
            .partition(PARTITION)
            .key(key.as_bytes())
            .payload(value);
        match self.enqueue(new)? {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(reason) => {
                Err(Trouble::later(format!("{}: {reason}", self.place.kafka())).into())
            }
        }
    }

    /// Hands one record over; waits for room. Breaks with a reason when it can never go.
    fn enqueue(
        &self,
        mut new: BaseRecord<'_, [u8], [u8], usize>,
    ) -> Result<ControlFlow<String>, Failure> {
        let mut patience = Patience::new(self.producer);
        loop {
            let Err((error, back)) = self.producer.send(new) else {
                return Ok(ControlFlow::Continue(()));
            };
            new = back;
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) => {
                    self.producer.poll(POLL_TIME);
                    self.look()?;
                    patience.check(self)?;
                }
                Some(code @ RDKafkaErrorCode::MessageSizeTooLarge) => {
                    let bytes = new.payload.map_or(0, <[u8]>::len);
                    return Ok(ControlFlow::Break(format!(
                        "it has {bytes} bytes as a record of Kafka, more than message.max.bytes \
                         allows ({code})"
                    )));
                }
                _ => return Err(self.failure(&error)),
            }
        }
    }

    /// Sees to it that a topic is there before records go to it: librdkafka would keep them
    /// for long and then say that they are late.
    fn see_to(&mut self, topic: &str, part: &Part) -> Result<(), Failure> {
        if self.topics.contains(topic) {
            return Ok(());
        }
        let Sender { producer, options, place, surroundings, .. } = *self;
        ready::topic(producer, options, place, surroundings, topic, &part.stream)?;
        self.topics.insert(topic.into());
        Ok(())
    }

    /// Waits until everything has arrived, or something has failed.
    fn arrive(&self) -> Result<Failed, Failure> {
        let mut patience = Patience::new(self.producer);
        loop {
            let is_empty = match self.producer.flush(Duration::ZERO) {
                Ok(()) => true,
                Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) => false,
                Err(error) => return Err(self.failure(&error)),
            };
            self.producer.poll(if is_empty { Duration::ZERO } else { POLL_TIME });
            // In a transaction one failure is the failure of all.
            let is_over = is_empty
                || self.options.transactional
                    && self.producer.context().look(|said| !said.failed.is_empty());
            if is_over {
                return Ok(self.producer.context().take().failed);
            }
            self.look()?;
            patience.check(self)?;
        }
    }

    /// Commits. What librdkafka says after that is the end of it.
    fn commit(&self) -> Result<(), Failure> {
        let mut patience = Patience::new(self.producer);
        loop {
            match self.producer.commit_transaction(KAFKA_LOOK_TIME) {
                Ok(()) => return Ok(()),
                Err(error) => self.look_at(&error)?,
            }
            self.producer.poll(Duration::ZERO);
            self.look()?;
            patience.check(self)?;
        }
    }

    /// Has something been heard that makes waiting vain?
    fn look(&self) -> Result<(), Failure> {
        if self.surroundings.has_ended() {
            return Err(Trouble::Ended.into());
        }
        let heard = self.producer.context().look(|said| {
            let is_stop = |code| {
                matches!(
                    code,
                    RDKafkaErrorCode::Authentication
                        | RDKafkaErrorCode::SaslAuthenticationFailed
                        | RDKafkaErrorCode::SSL
                )
            };
            let error = said.error.as_ref();
            error.filter(|(code, _)| said.all_down || is_stop(*code) || is_fenced(*code)).cloned()
        });
        match heard {
            None => Ok(()),
            Some((code, words)) => Err(self.with_code(self.place.explain(code, &words), code)),
        }
    }

    /// An error of a call: to be called again, or a failure.
    fn look_at(&self, error: &KafkaError) -> Result<(), Failure> {
        let again = match error {
            KafkaError::Transaction(error) => error.is_retriable() && !error.is_fatal(),
            KafkaError::Flush(code) => *code == RDKafkaErrorCode::OperationTimedOut,
            _ => false,
        };
        if again { Ok(()) } else { Err(self.failure(error)) }
    }

    fn failure(&self, error: &KafkaError) -> Failure {
        // The first record that failed says more than that the transaction has.
        self.producer.poll(Duration::ZERO);
        let (code, words) = code_of(error);
        self.with_code(self.place.explain(code, &words), code)
    }

    fn with_code(&self, trouble: Trouble, code: RDKafkaErrorCode) -> Failure {
        Failure { is_fenced: is_fenced(code), ..trouble.into() }
    }
}

/// How long it is waited for what moves, and for what does not.
struct Patience {
    began: Instant,
    moved: Instant,
    waiting: i32,
}

impl Patience {
    fn new(producer: &BaseProducer<Heard>) -> Patience {
        let now = Instant::now();
        Patience { began: now, moved: now, waiting: producer.in_flight_count() }
    }

    fn check(&mut self, sender: &Sender<'_>) -> Result<(), Failure> {
        let waiting = sender.producer.in_flight_count();
        if waiting != self.waiting {
            (self.waiting, self.moved) = (waiting, Instant::now());
        }
        let kafka = sender.place.kafka();
        if self.moved.elapsed() > KAFKA_SILENCE_MAX {
            let seconds = KAFKA_SILENCE_MAX.as_secs();
            let heard = sender.producer.context().take().error;
            let words = heard.map_or(String::new(), |(_, words)| format!(" ({words})"));
            let what = format!("{kafka} has taken nothing for {seconds} seconds{words}");
            return Err(Trouble::later(what).into());
        }
        // A sixth is left for the commit.
        if sender.options.transactional
            && self.began.elapsed() > transaction_time(sender.options) / 6 * 5
        {
            let what = format!("{kafka} is too slow for so large a transaction");
            return Err(Failure { took_too_long: true, ..Trouble::later(what).into() });
        }
        Ok(())
    }
}

/// Aborts what is open, if that is done in time.
pub(super) fn abort(producer: &BaseProducer<Heard>, time: Duration) {
    let began = Instant::now();
    producer.purge(PurgeConfig::default().queue());
    // What has failed has to be fetched, or it counts as being on its way.
    while producer.flush(Duration::ZERO).is_err() && began.elapsed() < time {
        producer.poll(POLL_TIME);
    }
    let _ = producer.abort_transaction(time.saturating_sub(began.elapsed()));
}

/// What was purged failed because something else did.
fn is_cause(code: RDKafkaErrorCode) -> bool {
    !matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)
}

/// Which part and which message of it a number is.
fn place_of(batch: &Batch, number: usize) -> Option<(usize, usize)> {
    let mut message = number;
    for (index, part) in batch.parts.iter().enumerate() {
        if message < part.messages.len() {
            return Some((index, message));
        }
        message -= part.messages.len();
    }
    None
}
