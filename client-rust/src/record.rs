//! A message with all that is known of it, as it waits for a v2 session.
//! A `Record` -> compact bytes in the thread that logs; the bytes -> the same.
//! Invariant: bytes that `encode` has written decode to what was encoded.
//! Leaves out: numbers, batches (`wire::v2::batch`), checksums (`spool`).
//!
//! ```text
//! level 1 | is bare 1 | time i64 | process u32 | exception u32: 0, or 1 + at
//! | sizes of logger, thread, body: u32 each | fields u16
//! | logger | thread | body | each field: size of key u32 | key | type 1 | value
//! ```
//!
//! Little-endian. Values: integers and floats have 8 bytes, text and JSON a
//! size u32 before them.

use wire::v1;
use wire::v2::batch::{Field, Record, Value};
use wire::v2::limits::{FIELDS_MAX, JSON_BYTES_MAX};

use crate::limits::RECORD_BYTES_MAX;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const FLOAT: u8 = 4;
const TEXT: u8 = 5;
const JSON: u8 = 6;

/// Writes a record into `out`, which is emptied first; false when it is longer
/// than a record may be. `is_bare`: its body is the message alone, so v1 text
/// has to show level and fields as well.
///
/// What v2 cannot carry is changed rather than lost: fields behind the most
/// that a record may have are left out, JSON that is too long or none is text,
/// an exception that begins nowhere has no place.
#[must_use]
pub(crate) fn encode(record: &Record<'_>, is_bare: bool, out: &mut Vec<u8>) -> bool {
    out.clear();
    if record.body.len() > RECORD_BYTES_MAX {
        return false;
    }
    let fields = record.fields.get(..FIELDS_MAX).unwrap_or(record.fields);
    let exception_at = record.exception_at.filter(|at| record.body.is_char_boundary(*at));
    out.push(record.level);
    out.push(u8::from(is_bare));
    out.extend_from_slice(&record.time_ns.to_le_bytes());
    out.extend_from_slice(&record.process_id.to_le_bytes());
    put_size(out, exception_at.map_or(0, |at| at + 1));
    for text in [record.logger, record.thread, record.body] {
        put_size(out, text.len());
    }
    out.extend_from_slice(&u16::try_from(fields.len()).unwrap_or(0).to_le_bytes());
    for text in [record.logger, record.thread, record.body] {
        out.extend_from_slice(text.as_bytes());
    }
    for field in fields {
        put_text(out, field.key);
        put_value(out, field.value);
        if out.len() > RECORD_BYTES_MAX {
            return false;
        }
    }
    out.len() <= RECORD_BYTES_MAX
}

fn put_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Null => out.push(NULL),
        Value::Bool(value) => out.push(if value { TRUE } else { FALSE }),
        Value::Int(value) => {
            out.push(INT);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Value::Float(value) => {
            out.push(FLOAT);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Value::Text(text) => {
            out.push(TEXT);
            put_text(out, text);
        }
        Value::Json(text) => {
            out.push(if text.len() > JSON_BYTES_MAX { TEXT } else { JSON });
            put_text(out, text);
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_size(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_size(out: &mut Vec<u8>, size: usize) {
    // Longer texts than 4 GiB make a record that is refused.
    out.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes());
}

/// Reads a record; its fields are put into `fields`. `None` for bytes that
/// `encode` has not written. Returns whether the body is the bare message.
pub(crate) fn decode<'a>(
    bytes: &'a [u8],
    fields: &mut Vec<Field<'a>>,
) -> Option<(Record<'a>, bool)> {
    fields.clear();
    let mut rest = Rest(bytes);
    let [level, bare] = rest.array()?;
    let time_ns = i64::from_le_bytes(rest.array()?);
    let process_id = u32::from_le_bytes(rest.array()?);
    let exception_at = rest.size()?.checked_sub(1);
    let sizes = [rest.size()?, rest.size()?, rest.size()?];
    let count = u16::from_le_bytes(rest.array()?);
    let [logger, thread, body] = sizes.map(|size| rest.text_of(size));
    for _ in 0..count {
        let key = rest.text()?;
        let [kind] = rest.array()?;
        let value = match kind {
            NULL => Value::Null,
            FALSE => Value::Bool(false),
            TRUE => Value::Bool(true),
            INT => Value::Int(i64::from_le_bytes(rest.array()?)),
            FLOAT => Value::Float(f64::from_le_bytes(rest.array()?)),
            TEXT => Value::Text(rest.text()?),
            JSON => Value::Json(rest.text()?),
            _ => return None,
        };
        fields.push(Field { key, value });
    }
    let (logger, thread, body) = (logger?, thread?, body?);
    let record =
        Record { time_ns, level, logger, thread, process_id, body, exception_at, fields: &[] };
    rest.0.is_empty().then_some((record, bare != 0))
}

/// The same as v1 text: level, message and fields, as the v1 client writes
/// them.
pub(crate) fn v1_body(record: &Record<'_>, fields: &[Field<'_>], is_bare: bool) -> String {
    if !is_bare {
        return record.body.to_owned();
    }
    let (message, exception) = record
        .exception_at
        .and_then(|at| record.body.split_at_checked(at))
        .unwrap_or((record.body, ""));
    let mut out = String::with_capacity(record.body.len() + 16);
    if record.level > 0 {
        out.push_str(level_name(record.level));
        out.push_str(" - ");
    }
    // The line break before an exception stays in front of it.
    let text = message.trim_end_matches('\n');
    out.push_str(text);
    for field in fields {
        out.push_str(&format!(" {}={}", field.key, Shown(field.value)));
    }
    out.push_str(message.get(text.len()..).unwrap_or_default());
    out.push_str(exception);
    out
}

/// The longest beginning of `text` that has at most `bytes_max` bytes.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    let shortened = || (0..bytes_max).rev().find_map(|end| text.get(..end));
    text.get(..bytes_max.min(text.len())).or_else(shortened).unwrap_or_default()
}

/// A v1 record with this body.
pub(crate) fn to_v1<'a>(
    record: &Record<'a>,
    body: &'a str,
    app_id: &'a str,
    hostname: &'a str,
) -> v1::Record<'a> {
    v1::Record {
        app_id,
        module: record.logger,
        hostname,
        body,
        stamp: record.time_ns.div_euclid(1_000_000_000),
        nsecs: record.time_ns.rem_euclid(1_000_000_000),
        signature: None,
    }
}

fn level_name(level: u8) -> &'static str {
    match level {
        ..10 => "TRACE",
        10..20 => "DEBUG",
        20..30 => "INFO",
        30..40 => "WARN",
        40..50 => "ERROR",
        50.. => "CRITICAL",
    }
}

struct Shown<'a>(Value<'a>);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value}"),
            Value::Text(text) | Value::Json(text) => f.write_str(text),
        }
    }
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn size(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.array()?)).ok()
    }

    fn text(&mut self) -> Option<&'a str> {
        let size = self.size()?;
        self.text_of(size)
    }

    fn text_of(&mut self, size: usize) -> Option<&'a str> {
        let (text, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(record: &Record<'_>, is_bare: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        assert!(encode(record, is_bare, &mut bytes));
        bytes
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let fields = [
            Field { key: "null", value: Value::Null },
            Field { key: "yes", value: Value::Bool(true) },
            Field { key: "int", value: Value::Int(-5) },
            Field { key: "float", value: Value::Float(0.5) },
            Field { key: "text", value: Value::Text("ünï") },
            Field { key: "json", value: Value::Json("[1]") },
        ];
        let record = Record {
            time_ns: -1,
            level: 40,
            logger: "a.b",
            thread: "main",
            process_id: 7,
            body: "oh\nTraceback",
            exception_at: Some(3),
            fields: &fields,
        };
        let bytes = encoded(&record, true);
        let mut decoded = Vec::new();
        let (back, is_bare) = decode(&bytes, &mut decoded).unwrap();
        assert!(is_bare);
        assert_eq!(Record { fields: &decoded, ..back }, record);
        assert_eq!(
            v1_body(&back, &decoded, true),
            "ERROR - oh null=null yes=true int=-5 float=0.5 text=ünï json=[1]\nTraceback"
        );
        assert_eq!(v1_body(&back, &decoded, false), record.body);
        let v1 = to_v1(&back, "", "", "");
        assert_eq!((v1.stamp, v1.nsecs), (-1, 999_999_999));
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let body = "x".repeat(RECORD_BYTES_MAX);
        let record = Record { body: &body, ..Record::default() };
        assert!(!encode(&record, false, &mut Vec::new()));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_not_but_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..100)
        ) {
            let _ = decode(&bytes, &mut Vec::new());
        }
    }
}
