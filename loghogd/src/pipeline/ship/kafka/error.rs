//! Says what Kafka's errors mean to whoever runs the daemon. Pure.
//! librdkafka's code and words, where it was -> a trouble with a remedy.
//! Invariant: what somebody has to do something about is a stop, all else is tried again.
//! Leaves out: when it is tried again (`run`).

use std::sync::Arc;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::config::ship::kafka::Kafka;
use crate::pipeline::ship::{Scope, Stream, Trouble};

/// Where it was: parts of all messages.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The section, such as `[ship:kafka]`.
    pub(super) section: String,
    /// The brokers, as configured.
    pub(super) brokers: Box<str>,
    /// Who we are.
    pub(super) user: Option<Box<str>>,
    /// Under which name transactions are made.
    pub(super) id: Box<str>,
}

impl Place {
    pub(super) fn new(name: &str, options: &Kafka, id: &str) -> Place {
        Place {
            section: format!("[ship:{name}]"),
            brokers: options.brokers.clone(),
            user: options.sasl.as_ref().map(|sasl| sasl.user.clone()),
            id: id.into(),
        }
    }

    /// `Kafka at kafka1:9092`
    pub(super) fn kafka(&self) -> String {
        format!("Kafka at {}", self.brokers)
    }

    /// Whom the brokers would have to allow something.
    pub(super) fn user(&self) -> String {
        self.user.as_ref().map_or("anybody".to_owned(), |user| format!("the user {user:?}"))
    }

    /// What an error means that is about all of the target.
    pub(super) fn explain(&self, code: RDKafkaErrorCode, words: &str) -> Trouble {
        use RDKafkaErrorCode as Code;
        let Place { section, id, .. } = self;
        let (kafka, user) = (self.kafka(), self.user());
        // librdkafka's own words for its own codes say less than the code's.
        let words = if words.is_empty() { code.to_string() } else { words.to_owned() };
        match code {
            // A connection that broke in the middle of it is no refusal.
            Code::Authentication | Code::SaslAuthenticationFailed if !words.contains("Local: ") => {
                Trouble::stop(
                    format!("{kafka} does not take {user} with this password ({words})"),
                    format!("check sasl_mechanism, sasl_user and sasl_password in {section}"),
                )
            }
            Code::UnsupportedSASLMechanism => Trouble::stop(
                format!("{kafka} does not have this mechanism ({words})"),
                format!("write another sasl_mechanism in {section}"),
            ),
            Code::SSL if words.contains("certificate verify failed") => Trouble::stop(
                format!("the certificate of {kafka} was not issued by whom we trust ({words})"),
                format!("name the certificate of its authority by cacert in {section}"),
            ),
            Code::SSL if words.contains("alert certificate required") => Trouble::stop(
                format!("{kafka} wants a certificate of ours ({words})"),
                format!("name a file with key and certificate by pemfile in {section}"),
            ),
            Code::TransactionalIdAuthorizationFailed => Trouble::stop(
                format!("{kafka} does not let {user} use the transactional id {id}"),
                "allow WRITE and DESCRIBE for transactional ids that begin with loghog- \
                 (kafka-acls), or write transactional = no for at least once",
            ),
            Code::ClusterAuthorizationFailed => Trouble::stop(
                format!("{kafka} does not let {user} write idempotently"),
                "allow IDEMPOTENT_WRITE on the cluster (kafka-acls)",
            ),
            Code::UnsupportedFeature
            | Code::UnsupportedVersion
            | Code::UnsupportedForMessageFormat => Trouble::stop(
                format!("{kafka} has no transactions ({words})"),
                format!("write transactional = no in {section} for at least once"),
            ),
            Code::InvalidTransactionTimeout => Trouble::stop(
                format!("{kafka} allows no transaction that takes so long ({words})"),
                format!(
                    "write kafka.transaction.timeout.ms in {section}, at most the brokers' \
                     transaction.max.timeout.ms"
                ),
            ),
            _ => Trouble::later(format!("{kafka}: {words}")),
        }
    }

    /// What an error means that is about a topic.
    pub(super) fn explain_topic(
        &self,
        topic: &str,
        stream: Option<&Arc<Stream>>,
        code: RDKafkaErrorCode,
    ) -> Trouble {
        use RDKafkaErrorCode as Code;
        let Place { section, .. } = self;
        let (kafka, user) = (self.kafka(), self.user());
        let (what, remedy) = match code {
            Code::UnknownTopicOrPartition | Code::UnknownTopic => (
                format!("{kafka} has no topic {topic}"),
                format!(
                    "create it (kafka-topics --create), or write create_topics = yes in {section}"
                ),
            ),
            Code::TopicAuthorizationFailed => (
                format!("{kafka} does not let {user} write to the topic {topic}"),
                "allow READ, WRITE and DESCRIBE on it (kafka-acls)".to_owned(),
            ),
            Code::InvalidTopic => (
                format!("{kafka} does not take {topic} as the name of a topic"),
                format!("write another topic in {section}"),
            ),
            Code::ClusterAuthorizationFailed => (
                format!("{kafka} has no topic {topic}, and does not let {user} create it"),
                "create it (kafka-topics --create), or allow CREATE (kafka-acls)".to_owned(),
            ),
            Code::PolicyViolation
            | Code::InvalidConfig
            | Code::InvalidPartitions
            | Code::InvalidReplicationFactor => (
                format!("{kafka} does not create the topic {topic} so ({code})"),
                format!(
                    "write other partitions or replication_factor in {section}, or create it \
                     yourself (kafka-topics --create)"
                ),
            ),
            _ => return self.explain(code, &format!("the topic {topic}: {code}")),
        };
        let scope = stream.map_or(Scope::Target, |stream| Scope::Stream(Arc::clone(stream)));
        Trouble::Stop { scope, what, remedy }
    }
}

/// An error as code and words.
pub(super) fn code_of(error: &KafkaError) -> (RDKafkaErrorCode, String) {
    match error {
        KafkaError::Transaction(error) => (error.code(), error.string()),
        other => (other.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail), other.to_string()),
    }
}

/// Will a record never be taken that was refused so?
pub(super) fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::MessageBatchTooLarge
            | Code::InvalidMessageSize
            | Code::InvalidTimestamp
            | Code::InvalidRecord
    )
}

/// Has somebody else taken our name, or Kafka taken it from us?
pub(super) fn is_fenced(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)
}
