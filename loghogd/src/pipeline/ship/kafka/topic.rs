//! Names of topics, and keys. Pure.
//! A template, a record -> the topic that it goes to, its key.
//! Invariant: a name is one that Kafka takes; two values never become the same.
//! Leaves out: whether the topic is there (`ready`).
//!
//! A byte that Kafka takes in no name becomes `_xHH`; an underscore that could be taken
//! for the beginning of one becomes `_x5f`.

use std::fmt::Write as _;

use crate::config::ship::kafka::TOPIC_BYTES_MAX;
use crate::pipeline::ship::{Record, Template, Values};

/// A record's topic, into `out`, which is empty. What it says otherwise is why it has none.
pub(super) fn topic(
    template: &Template,
    record: &Record<'_>,
    out: &mut String,
) -> Result<(), String> {
    template.fill(&Topic(record), out);
    if matches!(out.as_str(), "" | "." | "..") || out.len() > TOPIC_BYTES_MAX {
        let length = out.len();
        return Err(format!(
            "its topic {out:.80?} is {length} bytes long; Kafka takes 1 to {TOPIC_BYTES_MAX}, \
             and neither \".\" nor \"..\""
        ));
    }
    Ok(())
}

/// A record's key, into `out`, which is empty.
pub(super) fn key(template: &Template, record: &Record<'_>, out: &mut String) {
    template.fill(&Key(record), out);
}

struct Topic<'r>(&'r Record<'r>);

struct Key<'r>(&'r Record<'r>);

impl Values for Topic<'_> {
    fn put(&self, name: &str, out: &mut String) -> bool {
        let Topic(record) = self;
        match name {
            "app" => encode(record.app, out),
            "module" => encode(record.module, out),
            "host" => encode(&record.host, out),
            _ => return false,
        }
        true
    }
}

impl Values for Key<'_> {
    fn put(&self, name: &str, out: &mut String) -> bool {
        let Key(record) = self;
        match name {
            "app" => out.push_str(record.app),
            "module" => out.push_str(record.module),
            "host" => out.push_str(&record.host),
            "logger" => out.push_str(record.logger.as_deref().unwrap_or_default()),
            "level" => out.push_str(record.level_name().unwrap_or_default()),
            _ => return false,
        }
        true
    }
}

fn encode(value: &str, out: &mut String) {
    if value.is_empty() {
        // No host has this name: it stands in files for those without one.
        out.push('-');
    }
    let mut rest = value.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let is_taken = byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if is_taken && !(byte == b'_' && is_escape(behind)) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "_x{byte:02x}");
        }
        rest = behind;
    }
}

/// Does it go on as `_xHH` does?
fn is_escape(behind: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    matches!(behind, [b'x', high, low, ..] if is_digit(high) && is_digit(low))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(value: &str) -> String {
        let mut out = String::new();
        encode(value, &mut out);
        out
    }

    #[test]
    fn names_that_kafka_takes_stay_as_they_are() {
        for name in ["my-app", "my_app.web", "_x", "a_xyz", "A1"] {
            assert_eq!(encoded(name), name);
        }
        assert_eq!(encoded("a b"), "a_x20b");
        assert_eq!(encoded("ä"), "_xc3_xa4");
        assert_eq!(encoded("a_x20b"), "a_x5fx20b");
        assert_eq!(encoded(""), "-");
    }

    proptest! {
        #[test]
        fn two_values_never_become_the_same(
            one in "[a_x2 0]{1,8}",
            other in "[a_x2 0]{1,8}",
        ) {
            prop_assert_eq!(one == other, encoded(&one) == encoded(&other));
            let is_taken = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            prop_assert!(encoded(&one).chars().all(is_taken));
        }
    }
}
