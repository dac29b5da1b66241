//! The options of a target that is Apache Kafka.
//! A section as written -> typed options, or every problem.
//! Invariant: what is right here can be tried; a secret never prints itself.
//! Leaves out: connecting.

use std::path::PathBuf;

use rdkafka::ClientConfig;

use super::Options;
use crate::config::facility::Secret;
use crate::config::problem::shown;
use crate::config::value::{self, Refused};
use crate::pipeline::ship::Template;

/// Longest name of a topic, in bytes: Kafka takes no longer one.
pub const TOPIC_BYTES_MAX: usize = 249;

/// What a topic's name is made of.
pub const TOPIC_PLACES: [&str; 3] = ["app", "module", "host"];

/// What a record's key is made of.
pub const KEY_PLACES: [&str; 5] = ["app", "module", "host", "logger", "level"];

/// The options of `type = kafka`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kafka {
    /// `HOST:PORT` of one broker or several, parted by commas.
    pub brokers: Box<str>,
    /// The name of a record's topic.
    pub topic: Template,
    /// A record's key; an empty one is none.
    pub key: Template,
    /// What a record's value is.
    pub value: Value,
    /// How batches of records are compressed, as librdkafka calls it.
    pub compression: &'static str,
    /// Which brokers have to have a batch before it counts as there.
    pub acks: Acks,
    /// Records and progress are committed together.
    pub transactional: bool,
    /// Where the progress is kept.
    pub progress_topic: Box<str>,
    /// Topics that are not there are created by us.
    pub create: Option<Create>,
    /// How connections are protected.
    pub tls: Option<Tls>,
    /// Who we are.
    pub sasl: Option<Sasl>,
    /// Other options of librdkafka. Some are secrets, and nobody knows which.
    pub others: Vec<(Box<str>, Secret)>,
}

/// What the value of a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// An object with all that is known.
    Json,
    /// The line, as it stands in the file.
    Raw,
}

/// Which brokers have to have a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// All that are in sync.
    All,
    /// The leader alone.
    Leader,
}

/// How topics are created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Create {
    /// How many partitions; none as the broker has it.
    pub partitions: Option<i32>,
    /// On how many brokers; none as the broker has it.
    pub replication_factor: Option<i32>,
}

/// How connections are protected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authorities that may vouch for brokers; none: those of the system.
    pub cacert: Option<PathBuf>,
    /// Our own key and certificate.
    pub pemfile: Option<PathBuf>,
}

/// Who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sasl {
    /// How that is proven.
    pub mechanism: &'static str,
    /// The name.
    pub user: Box<str>,
    /// The password.
    pub password: Secret,
}

/// What librdkafka has under another name, or must have as it is: the beginning of its
/// option, and the reason.
const RESERVED: [(&str, &str); 24] = [
    ("bootstrap.servers", "write brokers instead"),
    ("metadata.broker.list", "write brokers instead"),
    ("security.protocol", "write tls = yes and sasl_mechanism instead"),
    ("ssl.ca.", "write cacert instead"),
    ("ssl.certificate.", "write pemfile instead"),
    ("ssl.key.location", "write pemfile instead"),
    ("ssl.key.pem", "write pemfile instead"),
    ("sasl.mechanism", "write sasl_mechanism instead"),
    ("sasl.username", "write sasl_user instead"),
    ("sasl.password", "write sasl_password or sasl_password_file instead"),
    ("compression.codec", "write compression instead"),
    ("compression.type", "write compression instead"),
    ("acks", "write acks instead"),
    ("request.required.acks", "write acks instead"),
    ("transactional.id", "leave it out; it is made of this log folder's id and the target's name"),
    ("enable.idempotence", "leave it out; without it a retry would deliver twice"),
    ("enable.gapless.guarantee", "leave it out; what is refused goes to the dead letters"),
    ("isolation.level", "leave it out; progress must be read as it was committed"),
    ("delivery.report.only.error", "leave it out; what is refused is learned from these reports"),
    ("enable.partition.eof", "leave it out; the end of the progress is learned by it"),
    ("enable.auto.", "leave it out; progress is kept in the progress topic"),
    ("auto.offset.reset", "leave it out; progress is read from its beginning"),
    ("group.id", "leave it out; there is no group"),
    ("log.queue", "leave it out; what librdkafka says goes to loghogd's own log"),
];

/// Reads them.
pub(super) fn read(options: &mut Options<'_>) -> Kafka {
    let brokers = options.required("brokers", "brokers = kafka1:9092, kafka2:9092");
    let brokers = brokers.and_then(|text| match brokers_of(&text) {
        Ok(brokers) => Some(brokers),
        Err(refused) => {
            options.refuse("brokers", refused);
            None
        }
    });
    let topic = options.template("topic", "logs.{app}", &TOPIC_PLACES);
    check_topic(options, "topic", &topic.to_string());
    let progress_topic = options.text("progress_topic");
    let progress_topic = progress_topic.unwrap_or_else(|| "loghog-progress".to_owned());
    check_topic(options, "progress_topic", &progress_topic);
    if progress_topic.contains(['{', '}']) {
        let message = "it has no places: one topic keeps the progress of all";
        options.refuse("progress_topic", Refused::new(message, "write a name without braces"));
    }
    let transactional = options.yes_or_no("transactional", true);
    let acks = options.value("acks", Acks::All, acks);
    if transactional && acks == Acks::Leader {
        let message = "a transaction is safe only when all brokers in sync have it";
        let remedy = "leave acks out, or write transactional = no for at least once";
        options.refuse("acks", Refused::new(message, remedy));
    }
    Kafka {
        brokers: brokers.unwrap_or_default().into(),
        topic,
        key: options.template("key", "{host}", &KEY_PLACES),
        value: options.value("value", Value::Json, value_of),
        compression: options.value("compression", "lz4", compression),
        acks,
        transactional,
        progress_topic: progress_topic.into(),
        create: create(options),
        tls: tls(options),
        sasl: sasl(options),
        others: others(options),
    }
}

/// `a:9092, b` becomes `a:9092,b`.
fn brokers_of(text: &str) -> Result<String, Refused> {
    let brokers: Vec<&str> = text.split(',').map(str::trim).collect();
    let is_right = |broker: &&str| {
        let (host, port) = match broker.rsplit_once(':') {
            Some((host, port)) if host.ends_with(']') || !host.contains(':') => (host, port),
            Some(_) => return false,
            None => (*broker, "9092"),
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:%".contains(&byte);
        !host.is_empty() && host.bytes().all(is_plain) && port.parse::<u16>().is_ok_and(|p| p > 0)
    };
    match brokers.iter().find(|broker| !is_right(broker)) {
        None => Ok(brokers.join(",")),
        Some(wrong) => Err(Refused::new(
            format!("{} is no broker", shown(wrong)),
            "write HOST:PORT, several parted by commas: kafka1:9092, kafka2:9092",
        )),
    }
}

/// The text of a template has to be what Kafka takes.
fn check_topic(options: &mut Options<'_>, option: &str, name: &str) {
    let allowed =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '{' | '}' | ':');
    let message = if let Some(wrong) = name.chars().find(|&c| !allowed(c)) {
        format!("Kafka takes no {wrong:?} in the name of a topic")
    } else if matches!(name, "." | "..") || name.len() > TOPIC_BYTES_MAX {
        format!("{} cannot be the name of a topic", shown(name))
    } else {
        return;
    };
    let remedy = "use letters, digits, dots, dashes and underscores";
    options.refuse(option, Refused::new(message, remedy));
}

fn acks(text: &str) -> Result<Acks, Refused> {
    match text.trim() {
        "all" | "-1" => Ok(Acks::All),
        "1" => Ok(Acks::Leader),
        "0" => Err(Refused::new(
            "with 0 nobody would tell what has arrived",
            "write all, or 1 for the leader alone",
        )),
        other => Err(Refused::new(
            format!("{} is no number of brokers", shown(other)),
            "write all, or 1 for the leader alone",
        )),
    }
}

fn value_of(text: &str) -> Result<Value, Refused> {
    match text.trim() {
        "json" => Ok(Value::Json),
        "raw" => Ok(Value::Raw),
        other => Err(Refused::new(
            format!("{} is no form of a value", shown(other)),
            "write json, or raw for the lines as they stand in the file",
        )),
    }
}

fn compression(text: &str) -> Result<&'static str, Refused> {
    let known = ["none", "lz4", "zstd", "gzip", "snappy"];
    let text = text.trim();
    known.into_iter().find(|name| *name == text).ok_or_else(|| {
        Refused::new(
            format!("{} is no compression", shown(text)),
            "write none, lz4, zstd, gzip or snappy",
        )
    })
}

fn create(options: &mut Options<'_>) -> Option<Create> {
    let wanted = options.yes_or_no("create_topics", false);
    let count =
        |text: &str, most| value::count(text, 1..=most).map(|count| i32::try_from(count).ok());
    let partitions = options.value("partitions", None, |text| count(text, 10_000));
    let replication_factor = options.value("replication_factor", None, |text| count(text, 100));
    if wanted {
        return Some(Create { partitions, replication_factor });
    }
    for (option, given) in [("partitions", partitions), ("replication_factor", replication_factor)]
    {
        if given.is_some() {
            let message = "it is for topics that loghogd creates, and it creates none";
            let remedy = "add create_topics = yes, or leave it out";
            options.refuse(option, Refused::new(message, remedy));
        }
    }
    None
}

fn tls(options: &mut Options<'_>) -> Option<Tls> {
    let wanted = options.yes_or_no("tls", false);
    let tls = Tls { cacert: options.path("cacert"), pemfile: options.path("pemfile") };
    if wanted {
        return Some(tls);
    }
    for (option, given) in [("cacert", tls.cacert.is_some()), ("pemfile", tls.pemfile.is_some())] {
        if given {
            let message = "without TLS nobody looks at it";
            options.refuse(option, Refused::new(message, "add tls = yes, or leave it out"));
        }
    }
    None
}

fn sasl(options: &mut Options<'_>) -> Option<Sasl> {
    let mechanism = options.value("sasl_mechanism", None, |text| mechanism(text).map(Some));
    let user = options.text("sasl_user");
    let password = options.secret("sasl_password");
    match (mechanism, user, password) {
        (None, None, None) => None,
        (Some(mechanism), Some(user), Some(password)) => {
            if std::str::from_utf8(password.bytes()).is_err() || password.bytes().contains(&0) {
                let message = "the password is no UTF-8 text";
                options.refuse("sasl_password", Refused::new(message, "write it in UTF-8"));
            }
            Some(Sasl { mechanism, user: user.into(), password })
        }
        (mechanism, user, _) => {
            let (missing, example) = match (mechanism, user) {
                (None, _) => ("sasl_mechanism", "sasl_mechanism = SCRAM-SHA-512"),
                (_, None) => ("sasl_user", "sasl_user = loghog"),
                _ => ("sasl_password", "sasl_password_file = kafka-password"),
            };
            let message = "to prove who we are, all of sasl_mechanism, sasl_user and \
                           sasl_password are needed";
            options.refuse(missing, Refused::new(message, format!("add for example: {example}")));
            None
        }
    }
}

fn mechanism(text: &str) -> Result<&'static str, Refused> {
    let known = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
    let upper = text.trim().to_ascii_uppercase();
    known.into_iter().find(|name| *name == upper).ok_or_else(|| {
        Refused::new(
            format!("{} is no mechanism that loghogd has", shown(text.trim())),
            "write PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
        )
    })
}

/// What librdkafka itself is told; it knows at once what it would not take.
fn others(options: &mut Options<'_>) -> Vec<(Box<str>, Secret)> {
    let mut others = Vec::new();
    for (name, value) in options.prefixed("kafka.") {
        let reserved = RESERVED.iter().find(|(begin, _)| match begin.ends_with('.') {
            true => name.starts_with(begin),
            false => name == *begin || name == format!("{begin}s"),
        });
        let refused = match reserved {
            Some((_, reason)) => Some(Refused::new("it is not for librdkafka to be told", *reason)),
            None => ClientConfig::new()
                .set(name.as_str(), value.as_str())
                .create_native_config()
                .err()
                .map(|_| {
                    let message = format!("librdkafka takes no such option or value: {name}");
                    Refused::new(message, "see librdkafka's CONFIGURATION.md for what it takes")
                }),
        };
        match refused {
            Some(refused) => options.refuse(&format!("kafka.{name}"), refused),
            None => others.push((name.into(), Secret::new(value.as_bytes()))),
        }
    }
    others
}

#[cfg(test)]
mod tests;
