//! Ships records to Apache Kafka, each exactly once for whoever reads what is committed.
//! Batches of records -> one transaction each: the records, and how far their streams have come.
//! Invariant: a mark is committed with exactly the records up to it, or neither is.
//! Leaves out: when to try again; librdkafka's own retries, which add nothing.
//!
//! Whoever begins takes the transactional id over: what one before had open is aborted,
//! and from then on Kafka refuses him (he is *fenced*). Then the marks are read back.
//! After any error the outcome is not guessed at: the next beginning finds it in Kafka.
//!
//! | room | what |
//! | --- | --- |
//! | `client` | librdkafka's clients, and what they say |
//! | `ready` | connecting; topics |
//! | `progress` | marks in Kafka |
//! | `packing` | how large batches are |
//! | `topic` | names of topics, and keys |
//! | `send` | one transaction |
//! | `error` | what errors mean |

mod client;
mod error;
mod packing;
mod progress;
mod ready;
mod send;
mod topic;

use std::collections::{HashMap, HashSet};
use std::fmt;

use rdkafka::producer::{BaseProducer, Producer as _};
use ring::rand::{SecureRandom as _, SystemRandom};
use tracing::warn;

use self::client::Heard;
use self::error::Place;
use self::packing::{Packer, Packing};
use self::progress::Owner;
use self::send::{Failure, Sender};
use super::limits::{
    KAFKA_ABORT_TIME_MAX, KAFKA_BATCH_BYTES_MAX, KAFKA_BATCH_BYTES_MIN, KAFKA_BATCH_RECORDS_MAX,
    KAFKA_CLUSTER_TIME_MAX, KAFKA_SINGLE_RECORDS_MAX,
};
use super::{Batch, Bury, Limits, Mark, Records, Refused, Stream, Surroundings, Trouble};
use crate::config::ship::kafka::Kafka;

/// A target that is Apache Kafka.
pub struct KafkaTarget {
    options: Kafka,
    surroundings: Surroundings,
    place: Place,
    /// The key of who we are in the progress topic.
    owner_key: String,
    owner: Owner,
    /// There between a beginning and the next trouble.
    producer: Option<BaseProducer<Heard>>,
    /// Topics that were there when the producer was made, or since.
    topics: HashSet<Box<str>>,
    packer: Packer,
    /// Bytes that go in one transaction.
    bytes_max: usize,
    /// Kafka has refused us because somebody has taken over, or because a transaction took
    /// too long.
    is_fenced: bool,
    /// The progress topic was looked at: what is to be said of it was said.
    is_looked_at: bool,
}

impl KafkaTarget {
    /// The target `[ship:NAME]`. Connects to nobody yet.
    ///
    /// # Errors
    /// None today; what librdkafka does not take shows when it connects.
    pub fn new(
        name: &str,
        options: &Kafka,
        surroundings: Surroundings,
    ) -> Result<KafkaTarget, Trouble> {
        let id = format!("loghog-{}-{name}", surroundings.instance);
        let mut chance = [0; 8];
        SystemRandom::new()
            .fill(&mut chance)
            .map_err(|_| Trouble::later("the system gives no random numbers"))?;
        let host = nix::unistd::gethostname().unwrap_or_default();
        Ok(KafkaTarget {
            owner_key: progress::owner_key(&surroundings, name),
            place: Place::new(name, options, &id),
            options: options.clone(),
            surroundings,
            owner: Owner {
                token: format!("{:016x}", u64::from_ne_bytes(chance)).into(),
                times: 0,
                host: host.to_string_lossy().into(),
                pid: std::process::id(),
            },
            producer: None,
            topics: HashSet::new(),
            packer: Packer::default(),
            bytes_max: KAFKA_BATCH_BYTES_MAX,
            is_fenced: false,
            is_looked_at: false,
        })
    }

    /// A producer that is ready to send.
    fn produce(&self, id: Option<&str>) -> Result<BaseProducer<Heard>, Trouble> {
        client::sending(&self.options, id, self.packer.packing())
            .create_with_context(Heard::default())
            .map_err(|error| ready::unusable(&self.place, &error))
    }

    fn sender<'t>(&'t mut self, producer: &'t BaseProducer<Heard>) -> Sender<'t> {
        Sender {
            producer,
            options: &self.options,
            place: &self.place,
            surroundings: &self.surroundings,
            owner_key: &self.owner_key,
            topics: &mut self.topics,
            packing: self.packer.packing(),
        }
    }

    /// Sends a batch without what is known to be refused.
    fn send(&mut self, batch: &Batch, refused: &[Refused], bury: Bury<'_>) -> Result<(), Failure> {
        let Some(producer) = self.producer.take() else {
            return Err(Trouble::later(format!("{} is not connected", self.place.kafka())).into());
        };
        // What was heard while nobody sent says nothing about now.
        producer.context().take();
        let sent = self.sender(&producer).deliver(batch, refused, bury);
        self.producer = Some(producer);
        sent
    }

    /// Takes up again where a batch has failed of which it is known that nothing is there, or
    /// where the next ones are packed in another way.
    fn begin_again(&mut self, batch: &Batch) -> Result<(), Trouble> {
        if !self.options.transactional {
            self.producer = Some(self.produce(None)?);
            return Ok(());
        }
        let marks = self.marks()?.unwrap_or_default();
        let is_moved = batch.parts.iter().any(|part| {
            marks.get(&*part.stream).is_some_and(|mark| {
                (mark.number, mark.offset) != (part.begin.number, part.begin.offset)
                    && mark.number >= part.begin.number
            })
        });
        if is_moved {
            self.producer = None;
            return Err(Trouble::later(format!("{} has gone on meanwhile", self.place.kafka())));
        }
        Ok(())
    }

    /// Before anybody is fenced off: has somebody fenced us off?
    fn look_for_another(&mut self) -> Result<(), Trouble> {
        let Owner { token, .. } = &self.owner;
        let read =
            progress::read(&self.options, &self.place, &self.surroundings, &self.owner_key, None)?;
        // He who tries again after a stop wants to have it.
        self.is_fenced = false;
        match read.owner.filter(|owner| owner.token != *token) {
            None => Ok(()),
            Some(Owner { host, pid, .. }) => Err(Trouble::stop(
                format!(
                    "{}: another loghogd has taken over the transactional id {} (process {pid} on \
                     {host})",
                    self.place.kafka(),
                    self.place.id
                ),
                "stop one of the two: no two may ship one log folder, or a copy of its state",
            )),
        }
    }

    /// After a trouble: makes a half transaction vanish, if that is quickly done. If not,
    /// Kafka does it when the next one begins.
    fn give_up(&mut self, failure: &Failure, batch: &Batch) {
        let Some(producer) = self.producer.take() else { return };
        if self.options.transactional && !failure.is_fenced {
            send::abort(&producer, KAFKA_ABORT_TIME_MAX);
        }
        self.is_fenced = failure.is_fenced;
        if failure.is_refusal {
            self.packer.refused(batch.records());
        }
        if failure.took_too_long {
            self.bytes_max = (self.bytes_max / 4).max(KAFKA_BATCH_BYTES_MIN);
        }
    }

    /// After a success: looks whether it may go faster again.
    fn go_on(&mut self, batch: &Batch) {
        self.bytes_max = (self.bytes_max * 2).min(KAFKA_BATCH_BYTES_MAX);
        if self.packer.arrived(batch.records(), batch.bytes()) {
            // Made anew by the next one that sends.
            self.producer = None;
        }
    }
}

impl Records for KafkaTarget {
    fn connect(&mut self) -> Result<(), Trouble> {
        self.producer = None;
        self.topics.clear();
        ready::connect(&self.options, &self.place, &self.surroundings)?;
        if !self.options.transactional {
            self.producer = Some(self.produce(None)?);
        } else if !self.is_looked_at {
            self.is_looked_at = true;
            if let Some(what) =
                ready::progress_is_lost(&self.options, &self.place, &self.surroundings)
            {
                warn!("{what}");
            }
        }
        Ok(())
    }

    fn marks(&mut self) -> Result<Option<HashMap<Stream, Mark>>, Trouble> {
        if !self.options.transactional {
            return Ok(None);
        }
        if self.is_fenced {
            self.look_for_another()?;
        }
        let producer = self.produce(Some(&self.place.id))?;
        self.owner.times += 1;
        let owner = self.owner.clone();
        if let Err(failure) = self.sender(&producer).begin(&owner) {
            self.is_fenced = failure.is_fenced;
            return Err(failure.trouble);
        }
        self.producer = Some(producer);
        let progress = progress::read(
            &self.options,
            &self.place,
            &self.surroundings,
            &self.owner_key,
            Some(&self.owner),
        )?;
        Ok(Some(progress.marks))
    }

    fn cluster(&mut self) -> Option<String> {
        let client = self.producer.as_ref()?.client();
        client.fetch_cluster_id(KAFKA_CLUSTER_TIME_MAX).filter(|cluster| !cluster.is_empty())
    }

    fn limits(&self) -> Limits {
        let records = match self.packer.packing() {
            Packing::Single => KAFKA_SINGLE_RECORDS_MAX,
            Packing::Small(_) | Packing::Full => KAFKA_BATCH_RECORDS_MAX,
        };
        Limits { records, bytes: self.bytes_max }
    }

    fn deliver(&mut self, batch: &Batch, bury: Bury<'_>) -> Result<(), Trouble> {
        let mut refused = Vec::new();
        if self.producer.is_none() {
            self.begin_again(batch)?;
        }
        loop {
            match self.send(batch, &refused, bury) {
                Ok(()) => {
                    self.go_on(batch);
                    return Ok(());
                }
                Err(failure) => {
                    self.give_up(&failure, batch);
                    if failure.found.is_empty() {
                        return Err(failure.trouble);
                    }
                    bury(&failure.found)?;
                    refused.extend(failure.found);
                    self.begin_again(batch)?;
                }
            }
        }
    }
}

impl fmt::Debug for KafkaTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaTarget")
            .field("place", &self.place)
            .field("packer", &self.packer)
            .field("is_connected", &self.producer.is_some())
            .finish_non_exhaustive()
    }
}
