use super::*;
use crate::config::{Overrides, read_config, ship};
use std::path::Path;

/// The target of a section with these options, or all messages.
fn read(options: &str) -> Result<Kafka, Vec<String>> {
    let text = format!("[ship:k]\ntype = kafka\n{options}");
    let path = Path::new("/etc/loghogd/loghogd.conf");
    match read_config(text.as_bytes(), path, &Overrides::default()) {
        Ok((config, _)) => match &config.ship[0].kind {
            ship::Kind::Kafka(kafka) => Ok(kafka.clone()),
            other => panic!("{other:?}"),
        },
        Err(problems) => Err(problems
            .iter()
            .map(|problem| {
                let line = problem.line.unwrap_or_default();
                format!("{line}: {}; {}", problem.message, problem.remedy)
            })
            .collect()),
    }
}

fn refused(options: &str) -> String {
    read(options).expect_err(options).join("\n")
}

#[test]
fn brokers_are_enough() {
    let kafka = read("brokers = kafka1:9092, [::1]:9093 ,kafka3\n").unwrap();
    assert_eq!(&*kafka.brokers, "kafka1:9092,[::1]:9093,kafka3");
    assert_eq!(
        (kafka.topic.to_string(), kafka.key.to_string()),
        ("logs.{app}".into(), "{host}".into())
    );
    assert_eq!((kafka.value, kafka.compression, kafka.acks), (Value::Json, "lz4", Acks::All));
    assert_eq!((kafka.transactional, &*kafka.progress_topic), (true, "loghog-progress"));
    assert_eq!((&kafka.create, &kafka.tls, &kafka.sasl), (&None, &None, &None));
    assert_eq!(
        refused(""),
        "1: [ship:k] has no brokers; add for example: brokers = kafka1:9092, kafka2:9092"
    );
}

#[test]
fn everything_can_be_said() {
    let kafka = read(
        "brokers = b\ntopic = {app}.{module}.{host}\nkey = {level}\nvalue = raw\n\
         compression = zstd\nprogress_topic = p\ncreate_topics = yes\npartitions = 12\n\
         replication_factor = 3\ntls = yes\ncacert = ca.pem\npemfile = /me.pem\n\
         sasl_mechanism = scram-sha-512\nsasl_user = me\nsasl_password = big-secret\n\
         kafka.linger.ms = 50\nkafka.ssl.key.password = other-secret\n",
    )
    .unwrap();
    let create = Create { partitions: Some(12), replication_factor: Some(3) };
    assert_eq!(kafka.create, Some(create));
    let tls = kafka.tls.clone().unwrap();
    assert_eq!(tls.cacert.as_deref(), Some(Path::new("/etc/loghogd/ca.pem")));
    assert_eq!(tls.pemfile.as_deref(), Some(Path::new("/me.pem")));
    assert_eq!(kafka.sasl.as_ref().unwrap().mechanism, "SCRAM-SHA-512");
    assert_eq!(&*kafka.others[0].0, "linger.ms");
    let shown = format!("{kafka:?}");
    assert!(!shown.contains("secret\""), "{shown}");
    assert!(!shown.contains("other-secret") && !shown.contains("big-secret"), "{shown}");
}

#[test]
fn what_would_undo_exactly_once_is_refused_with_the_reason() {
    for (option, reason) in [
        ("kafka.enable.idempotence = false", "without it a retry would deliver twice"),
        ("kafka.transactional.id = x", "it is made of this log folder's id"),
        ("kafka.acks = 1", "write acks instead"),
        ("kafka.isolation.level = read_uncommitted", "progress must be read as it was committed"),
        ("kafka.sasl.password = big-secret", "write sasl_password"),
        ("kafka.sasl.mechanisms = PLAIN", "write sasl_mechanism"),
        ("kafka.ssl.ca.location = x", "write cacert"),
        ("acks = 1", "write transactional = no for at least once"),
        ("acks = 0", "with 0 nobody would tell what has arrived"),
    ] {
        let message = refused(&format!("brokers = b\n{option}\n"));
        assert!(message.starts_with("4: ") && message.contains(reason), "{option}: {message}");
        assert!(!message.contains("big-secret"), "{message}");
    }
    assert_eq!(read("brokers = b\nacks = 1\ntransactional = no\n").unwrap().acks, Acks::Leader);
}

#[test]
fn what_cannot_be_is_refused_with_what_would_be_right() {
    for (option, message) in [
        ("brokers = a b", "4: brokers: \"a b\" is no broker; write HOST:PORT"),
        ("topic = logs/{app}", "4: topic: Kafka takes no '/' in the name of a topic"),
        ("topic = {ap}", "4: topic: there is no place {ap}; the places are {app} {module} {host}"),
        ("progress_topic = p.{app}", "4: progress_topic: it has no places"),
        ("value = xml", "4: value: \"xml\" is no form of a value; write json, or raw"),
        ("compression = rar", "4: compression: \"rar\" is no compression; write none, lz4"),
        ("partitions = 3", "4: partitions: it is for topics that loghogd creates"),
        ("cacert = x", "4: cacert: without TLS nobody looks at it; add tls = yes"),
        ("sasl_user = me", "sasl_mechanism: to prove who we are, all of"),
        ("sasl_mechanism = GSSAPI", "4: sasl_mechanism: \"GSSAPI\" is no mechanism that"),
        ("kafka.linger = 5", "4: kafka.linger: librdkafka takes no such option or value"),
        ("kafka.linger.ms = soon", "4: kafka.linger.ms: librdkafka takes no such option or value"),
        ("broker = b", "4: a target of the type kafka has no option \"broker\""),
    ] {
        let brokers = if option.starts_with("brokers") { "when = live" } else { "brokers = b" };
        let found = refused(&format!("{brokers}\n{option}\n"));
        assert!(found.contains(message), "{option}: {found}");
    }
}
