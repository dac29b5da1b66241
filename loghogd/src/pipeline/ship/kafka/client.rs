//! Makes librdkafka's clients, and hears what they say.
//! The options of a target -> a producer, a consumer, one that only asks; their errors.
//! Invariant: what exactly once rests on is set last, so that no option undoes it.
//! Leaves out: what is sent and read; what an error means (`error`).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, NoCustomPartitioner, ProducerContext};

use super::packing::Packing;
use crate::config::ship::kafka::{Acks, Kafka, Sasl, Tls};
use crate::pipeline::ship::limits::{KAFKA_QUEUE_KBYTES_MAX, KAFKA_TRANSACTION_TIME_MAX};

/// What all clients of a target are told.
fn common(options: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    // What it says is kept until somebody asks, so it had better say nothing.
    config.set_log_level(if tracing::enabled!(tracing::Level::DEBUG) {
        RDKafkaLogLevel::Info
    } else {
        RDKafkaLogLevel::Emerg
    });
    config
        .set("client.id", "loghogd")
        // A broker that is there again is found again within a second or two.
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.connection.setup.timeout.ms", "10000")
        .set("socket.keepalive.enable", "true");
    for (name, value) in &options.others {
        config.set(&**name, String::from_utf8_lossy(value.bytes()));
    }
    config.set("bootstrap.servers", &*options.brokers);
    let protocol = match (&options.tls, &options.sasl) {
        (None, None) => "plaintext",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), None) => "ssl",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(Tls { cacert, pemfile }) = &options.tls {
        if let Some(cacert) = cacert {
            config.set("ssl.ca.location", cacert.to_string_lossy());
        }
        if let Some(pemfile) = pemfile {
            config.set("ssl.certificate.location", pemfile.to_string_lossy());
            config.set("ssl.key.location", pemfile.to_string_lossy());
        }
    }
    if let Some(Sasl { mechanism, user, password }) = &options.sasl {
        config.set("sasl.mechanism", *mechanism);
        config.set("sasl.username", &**user);
        config.set("sasl.password", String::from_utf8_lossy(password.bytes()));
    }
    config
}

/// A client that asks and creates, and sends nothing. It makes no topic by asking for it.
pub(super) fn asking(options: &Kafka) -> ClientConfig {
    let mut config = common(options);
    config.set("allow.auto.create.topics", "false");
    config
}

/// A client that sends, under this transactional id if there is one.
pub(super) fn sending(options: &Kafka, id: Option<&str>, packing: Packing) -> ClientConfig {
    let mut config = common(options);
    let set_unless_given = |config: &mut ClientConfig, name: &str, value: &str| {
        if config.get(name).is_none() {
            config.set(name, value);
        }
    };
    set_unless_given(&mut config, "linger.ms", "2");
    let kbytes = KAFKA_QUEUE_KBYTES_MAX.to_string();
    set_unless_given(&mut config, "queue.buffering.max.kbytes", &kbytes);
    match packing {
        Packing::Full => {}
        Packing::Small(bytes) => {
            let given = config.get("batch.size").and_then(|given| given.parse().ok());
            config.set("batch.size", given.map_or(bytes, |given| bytes.min(given)).to_string());
        }
        Packing::Single => {
            // What follows one that is refused would be out of order.
            config.set("batch.num.messages", "1").set("max.in.flight", "1");
        }
    }
    config.set("compression.type", options.compression);
    config.set("delivery.report.only.error", "true");
    match options.acks {
        Acks::All => config.set("acks", "all").set("enable.idempotence", "true"),
        Acks::Leader => config.set("acks", "1"),
    };
    if let Some(id) = id {
        let time = KAFKA_TRANSACTION_TIME_MAX.as_millis().to_string();
        set_unless_given(&mut config, "transaction.timeout.ms", &time);
        config.set("transactional.id", id);
    }
    config
}

/// A client that reads what was committed, and ends there.
pub(super) fn reading(options: &Kafka, id: &str) -> ClientConfig {
    let mut config = common(options);
    config
        .set("group.id", id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "50")
        .set("queued.max.messages.kbytes", "4096");
    config
}

/// How long a transaction may take, by the options that a client was made with.
pub(super) fn transaction_time(options: &Kafka) -> Duration {
    let given = options.others.iter().find(|(name, _)| **name == *"transaction.timeout.ms");
    let millis = given.and_then(|(_, value)| std::str::from_utf8(value.bytes()).ok()?.parse().ok());
    millis.map_or(KAFKA_TRANSACTION_TIME_MAX, Duration::from_millis)
}

/// What a client has heard since somebody asked.
#[derive(Debug, Default)]
pub(super) struct Heard {
    said: Mutex<Said>,
}

/// Errors.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The one that tells most about brokers: its kind, and librdkafka's words.
    pub(super) error: Option<(RDKafkaErrorCode, String)>,
    /// Nobody answers at all any more.
    pub(super) all_down: bool,
    /// Records that have not arrived: the number that they were given, and why.
    pub(super) failed: Vec<(usize, RDKafkaErrorCode)>,
}

impl Heard {
    /// What was heard; begins anew.
    pub(super) fn take(&self) -> Said {
        std::mem::take(&mut *self.lock())
    }

    /// Looks at it.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Said) -> T) -> T {
        look(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        // It is whole between any two statements.
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, error: &KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let mut said = self.lock();
        if code == RDKafkaErrorCode::AllBrokersDown {
            said.all_down = true;
        }
        // That all are down says less than why one is.
        if said.error.as_ref().is_none_or(|(before, _)| weight(*before) <= weight(code)) {
            said.error = Some((code, reason.to_owned()));
        }
    }
}

/// How much an error tells.
fn weight(code: RDKafkaErrorCode) -> u8 {
    match code {
        RDKafkaErrorCode::Authentication
        | RDKafkaErrorCode::SaslAuthenticationFailed
        | RDKafkaErrorCode::SSL => 3,
        RDKafkaErrorCode::AllBrokersDown => 1,
        _ => 2,
    }
}

impl ClientContext for Heard {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // The target says itself what is in the way, once and not every second.
        tracing::debug!("librdkafka: {level:?} {facility} {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.note(&error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Heard {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        if let Err((error, _)) = result {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            self.lock().failed.push((number, code));
        }
    }
}

impl ConsumerContext for Heard {}
