//! Decodes arbitrary payloads as v1 records, with `serde_json` as the judge.
//! Payload -> record or error -> frame -> the same record.
//! Invariant: both readers see the same fields, and writing loses nothing.
//! Leaves out: frames (`frame`).

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use wire::frame::{self, FRAME_BYTES_MAX, Next};
use wire::inflate::Inflater;
use wire::signature::Key;
use wire::v1::{self, EncodeScratch, Record, RecordError, Scratch};

fuzz_target!(|payload: &[u8]| {
    let mut scratch = Scratch::default();
    let decoded = v1::decode(payload, &mut scratch);
    judge(payload, &decoded);
    if let Ok(record) = decoded {
        for zlib in [false, true] {
            comes_back(&record, zlib);
        }
    }
});

/// Compares with what `serde_json` makes of the payload.
fn judge(payload: &[u8], decoded: &Result<Record<'_>, RecordError>) {
    let theirs = match serde_json::from_slice::<Value>(payload) {
        Ok(value) => value,
        // It alone refuses lone surrogates and numbers beyond f64, and counts
        // its nesting and its UTF-8 errors in another place.
        Err(error) if refused_by_it_alone(&error.to_string()) => return,
        Err(error) => {
            assert!(decoded.is_err(), "not JSON, but accepted: {error}");
            return;
        }
    };
    let field = |name: &str| theirs.get(name);
    match decoded {
        Ok(record) => {
            let texts = [
                ("app_id", record.app_id),
                ("module", record.module),
                ("hostname", record.hostname),
                ("body", record.body),
            ];
            for (name, text) in texts {
                assert_eq!(field(name).and_then(Value::as_str), Some(text), "{name}");
            }
            let integers = [("stamp", record.stamp), ("nsecs", record.nsecs), ("version", 1)];
            for (name, integer) in integers {
                assert!(is_integer(field(name), integer), "{name} is not {integer}");
            }
            assert_eq!(field("signature").and_then(Value::as_str), record.signature);
        }
        Err(RecordError::NotAnObject) => assert!(!theirs.is_object()),
        Err(RecordError::Missing(name)) => assert!(field(name).is_none(), "{name} is there"),
        Err(RecordError::WrongType(name) | RecordError::OutOfRange(name)) => {
            let value = field(name).unwrap_or_else(|| panic!("{name} is not there"));
            let fits = match *name {
                "version" | "stamp" | "nsecs" => value.is_i64(),
                _ => value.is_string(),
            };
            assert!(!fits, "{name} is fine: {value}");
        }
        Err(RecordError::Version(version)) => {
            assert!(is_integer(field("version"), *version));
        }
        Err(error @ (RecordError::NotUtf8 { .. } | RecordError::NotJson { .. })) => {
            panic!("JSON, but refused: {error}")
        }
        Err(RecordError::TooDeep) => {}
    }
}

fn is_integer(value: Option<&Value>, integer: i64) -> bool {
    let Some(Value::Number(number)) = value else { return false };
    // `-0` is a float to serde_json.
    number.as_i64() == Some(integer) || (integer == 0 && number.as_f64() == Some(-0.0))
}

fn refused_by_it_alone(error: &str) -> bool {
    ["surrogate", "hex escape", "out of range", "recursion limit"]
        .iter()
        .any(|reason| error.contains(reason))
}

/// Writes the record, reads it again, and checks its signature on the way.
fn comes_back(record: &Record<'_>, zlib: bool) {
    let key = Key::new(b"my-big-secret");
    let mut bytes = Vec::new();
    // A payload of mere control characters may grow past the limit.
    if v1::encode(record, Some(&key), zlib, &mut EncodeScratch::default(), &mut bytes).is_err() {
        return;
    }
    let Ok(Next::Frame(frame)) = frame::next(&bytes, FRAME_BYTES_MAX) else {
        panic!("no whole frame");
    };
    assert_eq!(frame.bytes, bytes.len());
    let mut payload = frame.payload.to_vec();
    if frame.flags.is_zlib() {
        Inflater::new()
            .inflate(frame.payload, FRAME_BYTES_MAX as usize, &mut payload)
            .expect("what we deflated inflates");
    }
    let mut scratch = Scratch::default();
    let again = v1::decode(&payload, &mut scratch).expect("what we wrote reads");
    assert_eq!(Record { signature: None, ..again }, Record { signature: None, ..*record });
    let signature = again.signature.expect("it was signed");
    assert!(key.verify(&again.signed(), signature));
}
