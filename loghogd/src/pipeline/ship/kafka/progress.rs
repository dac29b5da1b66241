//! How far streams have come, as Kafka keeps it: a compacted topic of one partition.
//! Marks <-> records of the progress topic, committed together with what they are about.
//! Invariant: what is read is all that was committed, up to a record that we have just written.
//! Leaves out: sending them (`kafka`).
//!
//! | key | value |
//! | --- | --- |
//! | `INSTANCE/TARGET/APP/LIVE` | a [`Mark`] as JSON |
//! | `INSTANCE/TARGET` | an [`Owner`] as JSON: who sends under this name |
//!
//! Other daemons keep theirs in the same topic. While one of them has a transaction open,
//! what comes behind it is not yet readable, though it was committed; where the readable
//! part ends says therefore nothing. So whoever begins writes his own name first, and has
//! read everything when he finds it.

use std::collections::HashMap;
use std::time::Instant;

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use super::client::{self, Heard};
use super::error::{Place, code_of};
use crate::config::ship::kafka::Kafka;
use crate::pipeline::ship::limits::{KAFKA_LOOK_TIME, KAFKA_PROGRESS_TIME_MAX, KAFKA_SILENCE_MAX};
use crate::pipeline::ship::{Mark, Stream, Surroundings, Trouble};

/// The partition that is used.
pub(super) const PARTITION: i32 = 0;

/// How the topic is created: what is outdated goes soon, so that little is read at a start.
pub(super) const SETTINGS: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("segment.bytes", "4194304"),
    ("min.cleanable.dirty.ratio", "0.2"),
    ("segment.ms", "86400000"),
];

/// Who sends under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    /// Chosen by chance, once for each target of each process.
    pub(super) token: Box<str>,
    /// How often this one has begun.
    pub(super) times: u64,
    /// On which host.
    pub(super) host: Box<str>,
    /// In which process there.
    pub(super) pid: u32,
}

/// What the topic says about one target of one daemon.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) marks: HashMap<Stream, Mark>,
    pub(super) owner: Option<Owner>,
}

/// The key of a target's owner.
pub(super) fn owner_key(surroundings: &Surroundings, target: &str) -> String {
    format!("{}/{target}", surroundings.instance)
}

/// The key of a stream's mark; `owner` is the key of the target's owner.
pub(super) fn mark_key(owner: &str, stream: &Stream) -> String {
    format!("{owner}/{}/{}", stream.app, stream.live)
}

/// Takes a record of the topic, if it is about `owner`.
fn take(progress: &mut Progress, owner: &str, key: &[u8], value: Option<&[u8]>) {
    let Some(rest) = key.strip_prefix(owner.as_bytes()) else { return };
    if rest.is_empty() {
        progress.owner = value.and_then(|value| serde_json::from_slice(value).ok());
        return;
    }
    let Some(stream) = std::str::from_utf8(rest).ok().and_then(|rest| {
        // Neither holds a slash: they are names of a folder and of a file.
        let (app, live) = rest.strip_prefix('/')?.split_once('/')?;
        Some(Stream { app: app.into(), live: live.into() })
    }) else {
        return;
    };
    match value.and_then(|value| serde_json::from_slice(value).ok()) {
        Some(mark) => progress.marks.insert(stream, mark),
        None => progress.marks.remove(&stream),
    };
}

/// Reads what was committed: up to the record of `until`, or without one up to where it
/// ends now.
pub(super) fn read(
    options: &Kafka,
    place: &Place,
    surroundings: &Surroundings,
    owner: &str,
    until: Option<&Owner>,
) -> Result<Progress, Trouble> {
    let config = client::reading(options, &place.id);
    let explain = |error: &KafkaError| {
        let (code, words) = code_of(error);
        place.explain(code, &words)
    };
    let consumer: BaseConsumer<Heard> =
        config.create_with_context(Heard::default()).map_err(|error| explain(&error))?;
    let mut partitions = TopicPartitionList::new();
    partitions
        .add_partition_offset(&options.progress_topic, PARTITION, Offset::Beginning)
        .and_then(|()| consumer.assign(&partitions))
        .map_err(|error| explain(&error))?;
    let mut progress = Progress::default();
    let (started, mut moved) = (Instant::now(), Instant::now());
    let mut was_at_end = false;
    loop {
        match consumer.poll(KAFKA_LOOK_TIME) {
            Some(Ok(record)) => {
                moved = Instant::now();
                was_at_end = false;
                take(&mut progress, owner, record.key().unwrap_or_default(), record.payload());
                if until.is_some() && progress.owner.as_ref() == until {
                    return Ok(progress);
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) if until.is_none() => return Ok(progress),
            // Somebody else's transaction is open before it.
            Some(Err(KafkaError::PartitionEOF(_))) => was_at_end = true,
            Some(Err(error)) => check(options, place, &error)?,
            None => {}
        }
        if surroundings.has_ended() {
            return Err(Trouble::Ended);
        }
        if !was_at_end && moved.elapsed() > KAFKA_SILENCE_MAX {
            let heard = consumer.context().take().error;
            let (code, words) =
                heard.unwrap_or((RDKafkaErrorCode::OperationTimedOut, "no answer".into()));
            return Err(place.explain(code, &words));
        }
        if started.elapsed() > KAFKA_PROGRESS_TIME_MAX {
            return Err(Trouble::later(format!(
                "{}: in the topic {} a transaction of somebody else has been open for long; what \
                 comes behind it cannot be read before it ends",
                place.kafka(),
                options.progress_topic
            )));
        }
    }
}

/// Is this in the way, or only on it?
fn check(options: &Kafka, place: &Place, error: &KafkaError) -> Result<(), Trouble> {
    use RDKafkaErrorCode as Code;
    let (code, words) = code_of(error);
    match code {
        Code::TopicAuthorizationFailed | Code::UnknownTopicOrPartition | Code::UnknownTopic => {
            Err(place.explain_topic(&options.progress_topic, None, code))
        }
        Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL => {
            Err(place.explain(code, &words))
        }
        Code::AllBrokersDown => Err(place.explain(code, &words)),
        // Nobody needs the group; connections come and go.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_under_the_key_that_it_was_written_with() {
        let stream = Stream { app: "my-app".into(), live: "web.log".into() };
        let mark = Mark { number: 3, offset: 4_096, records: 17, last_ns: 5 };
        let owner = "0123456789abcdef/kafka";
        let value = serde_json::to_vec(&mark).unwrap();
        let mut progress = Progress::default();
        take(&mut progress, owner, mark_key(owner, &stream).as_bytes(), Some(&value));
        assert_eq!(progress.marks.get(&stream), Some(&mark));
        // The same target of another daemon, another target, and what is no mark.
        for other in ["0123456789abcdee/kafka", "0123456789abcdef/kafka2"] {
            take(&mut progress, owner, mark_key(other, &stream).as_bytes(), Some(b"{}"));
            take(&mut progress, owner, other.as_bytes(), Some(b"{}"));
        }
        assert_eq!((progress.marks.len(), &progress.owner), (1, &None));
        take(&mut progress, owner, mark_key(owner, &stream).as_bytes(), None);
        assert!(progress.marks.is_empty());
    }
}
