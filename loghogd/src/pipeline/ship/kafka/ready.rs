//! Looks whether brokers answer, and whether topics are there; makes what may be made.
//! A client -> the same, proven to be connected; topics with a leader.
//! Invariant: no topic is made but the progress topic, and where `create_topics` says so.
//! Leaves out: sending and reading.

use std::sync::Arc;
use std::time::Instant;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};

use super::client::{self, Heard};
use super::error::{Place, code_of};
use super::progress;
use crate::config::ship::kafka::Kafka;
use crate::pipeline::ship::limits::{
    KAFKA_CONNECT_TIME_MAX, KAFKA_LOOK_TIME, KAFKA_TOPIC_TIME_MAX,
};
use crate::pipeline::ship::{Stream, Surroundings, Trouble};

/// On how many brokers the progress is kept where there are so many and nothing else was
/// said; Kafka keeps what it remembers itself on as many.
const PROGRESS_COPIES: usize = 3;

/// What a topic is, as brokers tell.
struct Seen {
    error: Option<RDKafkaErrorCode>,
    has_leaders: bool,
    brokers: usize,
}

/// Connects, proves who we are, and sees to the progress topic.
pub(super) fn connect(
    options: &Kafka,
    place: &Place,
    surroundings: &Surroundings,
) -> Result<(), Trouble> {
    let asking: BaseProducer<Heard> = client::asking(options)
        .create_with_context(Heard::default())
        .map_err(|error| unusable(place, &error))?;
    let topic = &options.progress_topic;
    let seen = answer(&asking, place, surroundings, topic)?;
    match seen.error {
        _ if !options.transactional => return Ok(()),
        None if seen.has_leaders => return Ok(()),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition) => {}
        None | Some(RDKafkaErrorCode::LeaderNotAvailable) => {}
        Some(code) => return Err(place.explain_topic(topic, None, code)),
    }
    if seen.error == Some(RDKafkaErrorCode::UnknownTopicOrPartition) {
        let given = options.create.and_then(|create| create.replication_factor);
        let copies = i32::try_from(seen.brokers.clamp(1, PROGRESS_COPIES)).unwrap_or(1);
        let copies = TopicReplication::Fixed(given.unwrap_or(copies));
        let new = progress::SETTINGS
            .into_iter()
            .fold(NewTopic::new(topic, 1, copies), |new, (name, value)| new.set(name, value));
        create(options, place, surroundings, &new)
            .map_err(|code| place.explain_topic(topic, None, code))?;
    }
    let started = Instant::now();
    loop {
        let seen = answer(&asking, place, surroundings, topic)?;
        if seen.error.is_none() && seen.has_leaders {
            return Ok(());
        }
        if started.elapsed() > KAFKA_TOPIC_TIME_MAX {
            let code = seen.error.unwrap_or(RDKafkaErrorCode::LeaderNotAvailable);
            return Err(place.explain_topic(topic, None, code));
        }
        asking.poll(KAFKA_LOOK_TIME / 4);
    }
}

/// What to do about a progress topic that forgets what it was told, if it is one. Whoever
/// may not ask is not told.
pub(super) fn progress_is_lost(
    options: &Kafka,
    place: &Place,
    surroundings: &Surroundings,
) -> Option<String> {
    let topic = &*options.progress_topic;
    let admin: AdminClient<Heard> =
        client::asking(options).create_with_context(Heard::default()).ok()?;
    let times = AdminOptions::new().request_timeout(Some(KAFKA_TOPIC_TIME_MAX));
    let asked = [ResourceSpecifier::Topic(topic)];
    let described = surroundings.runtime.block_on(admin.describe_configs(&asked, &times));
    let described = described.ok()?.pop()?.ok()?;
    let policy = described.get("cleanup.policy")?.value.clone()?;
    (policy != "compact").then(|| {
        format!(
            "{}: the topic {topic} has cleanup.policy={policy}, so that it forgets in time how far \
             files have come, and what lies between may come twice; set it (kafka-configs --alter \
             --entity-type topics --entity-name {topic} --add-config cleanup.policy=compact)",
            place.kafka()
        )
    })
}

/// Sees to a topic that records are to go to; it is asked for as writers do, so that
/// brokers that make topics by themselves make it.
pub(super) fn topic(
    producer: &BaseProducer<Heard>,
    options: &Kafka,
    place: &Place,
    surroundings: &Surroundings,
    topic: &str,
    stream: &Arc<Stream>,
) -> Result<(), Trouble> {
    let started = Instant::now();
    let mut was_created = false;
    loop {
        let seen = answer(producer, place, surroundings, topic)?;
        let code = match seen.error {
            None if seen.has_leaders => return Ok(()),
            None => RDKafkaErrorCode::LeaderNotAvailable,
            Some(code) => code,
        };
        match (code, options.create) {
            (RDKafkaErrorCode::LeaderNotAvailable, _) => {}
            (RDKafkaErrorCode::UnknownTopicOrPartition, Some(wanted)) if !was_created => {
                // -1: as the broker has it.
                let partitions = wanted.partitions.unwrap_or(-1);
                let copies = TopicReplication::Fixed(wanted.replication_factor.unwrap_or(-1));
                create(options, place, surroundings, &NewTopic::new(topic, partitions, copies))
                    .map_err(|code| place.explain_topic(topic, Some(stream), code))?;
                was_created = true;
            }
            // A broker that makes it needs a moment, and says so long that there is none.
            (RDKafkaErrorCode::UnknownTopicOrPartition, _) => {}
            _ => return Err(place.explain_topic(topic, Some(stream), code)),
        }
        if started.elapsed() > KAFKA_TOPIC_TIME_MAX {
            return Err(match code {
                RDKafkaErrorCode::LeaderNotAvailable => {
                    Trouble::later(format!("{}: the topic {topic} has no leader", place.kafka()))
                }
                code => place.explain_topic(topic, Some(stream), code),
            });
        }
        producer.poll(KAFKA_LOOK_TIME / 4);
    }
}

/// What brokers say about a topic; waits until one answers.
fn answer(
    producer: &BaseProducer<Heard>,
    place: &Place,
    surroundings: &Surroundings,
    topic: &str,
) -> Result<Seen, Trouble> {
    let started = Instant::now();
    loop {
        let answered = seen(producer.client(), topic);
        producer.poll(std::time::Duration::ZERO);
        let error = match answered {
            Ok(seen) => return Ok(seen),
            Err(error) => error,
        };
        if surroundings.has_ended() {
            return Err(Trouble::Ended);
        }
        let (all_down, heard) = producer.context().look(|said| (said.all_down, said.error.clone()));
        let explained = heard.map(|(code, words)| place.explain(code, &words));
        match explained {
            Some(stop @ Trouble::Stop { .. }) => return Err(stop),
            Some(trouble) if all_down => return Err(trouble),
            explained if started.elapsed() > KAFKA_CONNECT_TIME_MAX => {
                let (code, words) = code_of(&error);
                return Err(explained.unwrap_or_else(|| place.explain(code, &words)));
            }
            _ => {}
        }
    }
}

fn seen(client: &Client<Heard>, topic: &str) -> Result<Seen, KafkaError> {
    let metadata = client.fetch_metadata(Some(topic), KAFKA_LOOK_TIME)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    Ok(Seen {
        error: found
            .map_or(Some(RDKafkaErrorCode::UnknownTopicOrPartition), |found| {
                found.error().map(RDKafkaErrorCode::from)
            })
            .filter(|code| *code != RDKafkaErrorCode::NoError),
        has_leaders: found.is_some_and(|found| {
            !found.partitions().is_empty()
                && found.partitions().iter().all(|partition| partition.leader() >= 0)
        }),
        brokers: metadata.brokers().len(),
    })
}

/// Makes a topic; somebody else may have made it meanwhile.
fn create(
    options: &Kafka,
    place: &Place,
    surroundings: &Surroundings,
    topic: &NewTopic<'_>,
) -> Result<(), RDKafkaErrorCode> {
    let code = |error: &KafkaError| code_of(error).0;
    let admin: AdminClient<Heard> = client::asking(options)
        .create_with_context(Heard::default())
        .map_err(|error| code(&error))?;
    let times = AdminOptions::new()
        .request_timeout(Some(KAFKA_TOPIC_TIME_MAX))
        .operation_timeout(Some(KAFKA_TOPIC_TIME_MAX));
    let made = surroundings.runtime.block_on(admin.create_topics([topic], &times));
    match made.map_err(|error| code(&error))?.pop() {
        Some(Ok(_)) => {
            tracing::info!("{}: created the topic {}", place.section, topic.name);
            Ok(())
        }
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
        Some(Err((_, code))) => Err(code),
        None => Err(RDKafkaErrorCode::Fail),
    }
}

/// librdkafka makes no client with these options.
pub(super) fn unusable(place: &Place, error: &KafkaError) -> Trouble {
    Trouble::stop(
        format!("librdkafka does not take the options of {}: {}", place.section, code_of(error).1),
        "correct them (see librdkafka's CONFIGURATION.md)",
    )
}
