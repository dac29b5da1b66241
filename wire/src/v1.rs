//! The v1 record: the original's message format.
//! A frame's payload, inflated -> `Record`; a `Record` -> a frame.
//! Invariant: a `Record` has every required field, each of the right type, in UTF-8.
//! Leaves out: whether anybody may say so (`signature`), and where it goes.
//!
//! The payload is one JSON object:
//!
//! | field | type | meaning |
//! | --- | --- | --- |
//! | version | integer, 1 | |
//! | app_id | string | application |
//! | module | string | logger name, dotted; may be empty |
//! | stamp, nsecs | integers | the sender's time: seconds since 1970, nanoseconds |
//! | hostname | string | the sender's host; not covered by the signature |
//! | body | string | the formatted message |
//! | signature | string, optional | see `signature` |
//!
//! Other fields are passed over. Of a field that stands there twice the last
//! counts, for signing, routing and writing alike.

use std::ops::Range;

use flate2::{Compress, Compression, FlushCompress, Status};

use crate::frame::{self, FRAME_BYTES_MAX, Flags, HEADER_BYTES};
use crate::json::{self, Expected, JsonError, Text, Value};
use crate::signature::{Decimal, Key, Signed};

/// One message. Its strings are borrowed from the payload, or from the
/// [`Scratch`] where they had escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Application; must have a facility.
    pub app_id: &'a str,
    /// Logger name, dotted; may be empty.
    pub module: &'a str,
    /// The sender's host; not covered by the signature.
    pub hostname: &'a str,
    /// The formatted message.
    pub body: &'a str,
    /// The sender's time, in seconds since 1970.
    pub stamp: i64,
    /// The sender's time below the second, in nanoseconds.
    pub nsecs: i64,
    /// 32 hex digits, when the sender signed.
    pub signature: Option<&'a str>,
}

impl<'a> Record<'a> {
    /// The fields that a signature covers.
    pub fn signed(&self) -> Signed<'a> {
        Signed {
            app_id: self.app_id,
            module: self.module,
            stamp: self.stamp,
            nsecs: self.nsecs,
            body: self.body,
        }
    }
}

/// Why a payload is no record. It costs that frame only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Bytes that are not UTF-8.
    #[error("the payload is not UTF-8 from byte {at}")]
    NotUtf8 {
        /// Offset of the first bad byte in the payload.
        at: usize,
    },
    /// Text that is not JSON.
    #[error("the payload is not JSON from byte {at}")]
    NotJson {
        /// Offset of the first bad byte in the payload.
        at: usize,
    },
    /// JSON nested deeper than [`crate::limits::JSON_DEPTH_MAX`].
    #[error("the payload nests too deep")]
    TooDeep,
    /// JSON, but not an object.
    #[error("the payload is not a JSON object")]
    NotAnObject,
    /// A required field is not there.
    #[error("the field {0} is missing")]
    Missing(&'static str),
    /// A field has another type than it should have.
    #[error("the field {0} has the wrong type")]
    WrongType(&'static str),
    /// An integer that does not fit into 64 bits.
    #[error("the field {0} is out of range")]
    OutOfRange(&'static str),
    /// A version that is not 1.
    #[error("version {0} is not known")]
    Version(i64),
}

/// Room for the strings of one record that had escapes. Used again for every
/// record of a connection, so that reading allocates nothing.
#[derive(Debug, Default)]
pub struct Scratch {
    text: String,
}

/// Reads a payload.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn decode<'a>(payload: &'a [u8], scratch: &'a mut Scratch) -> Result<Record<'a>, RecordError> {
    let text = std::str::from_utf8(payload)
        .map_err(|error| RecordError::NotUtf8 { at: error.valid_up_to() })?;
    scratch.text.clear();
    let fields = match Fields::in_usual_order(text) {
        Some(fields) => fields,
        None => Fields::in_any_order(text, &mut scratch.text)?,
    };
    match fields.version.integer("version")? {
        1 => {}
        other => return Err(RecordError::Version(other)),
    }
    let app_id = fields.app_id.text("app_id")?;
    let module = fields.module.text("module")?;
    let stamp = fields.stamp.integer("stamp")?;
    let nsecs = fields.nsecs.integer("nsecs")?;
    let hostname = fields.hostname.text("hostname")?;
    let body = fields.body.text("body")?;
    let signature = fields.signature.0.map(|_| fields.signature.text("signature")).transpose()?;

    // Escapes are decoded last, and only of the values that count.
    let scratch_text = &mut scratch.text;
    scratch_text.clear();
    let mut place = |text: Text<'a>| Place::of(text, scratch_text);
    let (app_id, module) = (place(app_id), place(module));
    let (hostname, body) = (place(hostname), place(body));
    let signature = signature.map(place);
    let decoded: &'a str = &scratch.text;
    Ok(Record {
        app_id: app_id.text(decoded),
        module: module.text(decoded),
        hostname: hostname.text(decoded),
        body: body.text(decoded),
        stamp,
        nsecs,
        signature: signature.map(|place| place.text(decoded)),
    })
}

/// Where a decoded string stands.
enum Place<'a> {
    Payload(&'a str),
    Scratch(Range<usize>),
}

impl<'a> Place<'a> {
    fn of(text: Text<'a>, scratch: &mut String) -> Place<'a> {
        match text {
            Text::Plain(text) => Place::Payload(text),
            Text::Escaped(text) => {
                let start = scratch.len();
                json::unescape(text, scratch);
                Place::Scratch(start..scratch.len())
            }
        }
    }

    fn text(self, scratch: &'a str) -> &'a str {
        match self {
            Place::Payload(text) => text,
            Place::Scratch(range) => scratch.get(range).unwrap_or(""),
        }
    }
}

/// The last value seen of each field.
#[derive(Debug, Default, PartialEq)]
struct Fields<'a> {
    version: Field<'a>,
    app_id: Field<'a>,
    module: Field<'a>,
    stamp: Field<'a>,
    nsecs: Field<'a>,
    hostname: Field<'a>,
    body: Field<'a>,
    signature: Field<'a>,
}

impl<'a> Fields<'a> {
    /// The layout that our own clients write, and the original's under Python
    /// 3: the fields in one order, with one blank behind each colon and
    /// comma. It is known in advance, so it is compared instead of read.
    fn in_usual_order(text: &'a str) -> Option<Fields<'a>> {
        let mut expected = Expected::new(text);
        let mut fields = Fields { version: Field(Some(Value::Integer(1))), ..Fields::default() };
        expected.literal("{\"version\": 1, \"app_id\": ")?;
        fields.app_id = Field(Some(expected.text()?));
        expected.literal(", \"module\": ")?;
        fields.module = Field(Some(expected.text()?));
        expected.literal(", \"stamp\": ")?;
        fields.stamp = Field(Some(expected.number()?));
        expected.literal(", \"nsecs\": ")?;
        fields.nsecs = Field(Some(expected.number()?));
        expected.literal(", \"hostname\": ")?;
        fields.hostname = Field(Some(expected.text()?));
        expected.literal(", \"body\": ")?;
        fields.body = Field(Some(expected.text()?));
        if expected.literal(", \"signature\": ").is_some() {
            fields.signature = Field(Some(expected.text()?));
        }
        expected.literal("}")?;
        expected.end()?;
        Some(fields)
    }

    fn in_any_order(text: &'a str, scratch: &mut String) -> Result<Fields<'a>, RecordError> {
        let mut fields = Fields::default();
        let read = json::object(text, |name, value| fields.set(name, value, scratch));
        read.map(|()| fields).map_err(|error| match error {
            JsonError::Syntax { at } => RecordError::NotJson { at },
            JsonError::NotAnObject => RecordError::NotAnObject,
            JsonError::TooDeep => RecordError::TooDeep,
        })
    }

    fn set(&mut self, name: Text<'a>, value: Value<'a>, scratch: &mut String) {
        let name = match name {
            Text::Plain(name) => name.as_bytes(),
            Text::Escaped(name) => {
                scratch.clear();
                json::unescape(name, scratch);
                scratch.as_bytes()
            }
        };
        let field = match name {
            b"version" => &mut self.version,
            b"app_id" => &mut self.app_id,
            b"module" => &mut self.module,
            b"stamp" => &mut self.stamp,
            b"nsecs" => &mut self.nsecs,
            b"hostname" => &mut self.hostname,
            b"body" => &mut self.body,
            b"signature" => &mut self.signature,
            _ => return,
        };
        field.0 = Some(value);
    }
}

#[derive(Debug, Default, PartialEq)]
struct Field<'a>(Option<Value<'a>>);

impl<'a> Field<'a> {
    fn text(&self, name: &'static str) -> Result<Text<'a>, RecordError> {
        match self.0 {
            Some(Value::Text(text)) => Ok(text),
            Some(_) => Err(RecordError::WrongType(name)),
            None => Err(RecordError::Missing(name)),
        }
    }

    fn integer(&self, name: &'static str) -> Result<i64, RecordError> {
        match self.0 {
            Some(Value::Integer(integer)) => Ok(integer),
            Some(Value::HugeInteger) => Err(RecordError::OutOfRange(name)),
            Some(_) => Err(RecordError::WrongType(name)),
            None => Err(RecordError::Missing(name)),
        }
    }
}

/// Why a record cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// No server would take it: shorten the message.
    #[error("the message takes {bytes} bytes, {FRAME_BYTES_MAX} are allowed")]
    TooLong {
        /// Size of the payload before compression.
        bytes: usize,
    },
}

/// Room for encoding, used again for every record.
#[derive(Debug, Default)]
pub struct EncodeScratch {
    json: Vec<u8>,
    compress: Option<Compress>,
}

/// Appends `record` to `out` as one whole frame: signed when there is a `key`
/// (`record.signature` is passed over), compressed when `zlib` says so.
///
/// # Errors
/// `TooLong` when the payload exceeds [`FRAME_BYTES_MAX`]; `out` is then as
/// it was before.
pub fn encode(
    record: &Record<'_>,
    key: Option<&Key>,
    zlib: bool,
    scratch: &mut EncodeScratch,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let json = &mut scratch.json;
    json.clear();
    write_json(record, key, json);
    let too_long = EncodeError::TooLong { bytes: json.len() };
    if json.len() > FRAME_BYTES_MAX as usize {
        return Err(too_long);
    }
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    if zlib {
        let compress =
            scratch.compress.get_or_insert_with(|| Compress::new(Compression::new(6), true));
        deflate(compress, json, out);
    } else {
        out.extend_from_slice(json);
    }
    let payload_bytes = out.len() - start - HEADER_BYTES;
    let size = match u32::try_from(payload_bytes) {
        Ok(size) if size <= FRAME_BYTES_MAX => size,
        _ => {
            out.truncate(start);
            return Err(too_long);
        }
    };
    let flags = if zlib { Flags::ZLIB } else { Flags(0) };
    if let Some(header) = out.get_mut(start..start + HEADER_BYTES) {
        header.copy_from_slice(&frame::header(size, flags));
    }
    Ok(())
}

fn write_json(record: &Record<'_>, key: Option<&Key>, json: &mut Vec<u8>) {
    json.extend_from_slice(b"{\"version\": 1, \"app_id\": ");
    write_string(record.app_id, json);
    json.extend_from_slice(b", \"module\": ");
    write_string(record.module, json);
    json.extend_from_slice(b", \"stamp\": ");
    json.extend_from_slice(Decimal::new(record.stamp).digits());
    json.extend_from_slice(b", \"nsecs\": ");
    json.extend_from_slice(Decimal::new(record.nsecs).digits());
    json.extend_from_slice(b", \"hostname\": ");
    write_string(record.hostname, json);
    json.extend_from_slice(b", \"body\": ");
    write_string(record.body, json);
    if let Some(key) = key {
        json.extend_from_slice(b", \"signature\": \"");
        json.extend_from_slice(&key.sign(&record.signed()));
        json.push(b'"');
    }
    json.push(b'}');
}

/// Writes a JSON string; only what RFC 8259 wants escaped is.
fn write_string(text: &str, json: &mut Vec<u8>) {
    json.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(length) =
        rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\')
    {
        let (plain, special) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        json.extend_from_slice(plain);
        let Some((&byte, behind)) = special.split_first() else { break };
        write_escape(byte, json);
        rest = behind;
    }
    json.extend_from_slice(rest);
    json.push(b'"');
}

fn write_escape(byte: u8, json: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
            json.extend_from_slice(b"\\u00");
            json.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            return;
        }
    };
    json.extend_from_slice(&[b'\\', short]);
}

fn deflate(compress: &mut Compress, bytes: &[u8], out: &mut Vec<u8>) {
    compress.reset();
    let mut rest = bytes;
    loop {
        // zlib adds a few bytes to what it cannot compress.
        out.reserve(rest.len() / 2 + 128);
        let before = compress.total_in();
        let status = compress.compress_vec(rest, out, FlushCompress::Finish);
        let consumed = usize::try_from(compress.total_in() - before).unwrap_or(usize::MAX);
        rest = rest.get(consumed..).unwrap_or(&[]);
        if !matches!(status, Ok(Status::Ok | Status::BufError)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Next;
    use crate::inflate::Inflater;
    use proptest::prelude::*;

    const HELLO: Record<'static> = Record {
        app_id: "plain",
        module: "web",
        hostname: "web01",
        body: "INFO - hello",
        stamp: 1_358_363_502,
        nsecs: 120_430_000,
        signature: None,
    };

    #[test]
    fn a_record_is_written_as_the_original_client_wrote_it() {
        let mut out = Vec::new();
        encode(&HELLO, None, false, &mut EncodeScratch::default(), &mut out).unwrap();
        let expected = br#"{"version": 1, "app_id": "plain", "module": "web", "stamp": 1358363502, "nsecs": 120430000, "hostname": "web01", "body": "INFO - hello"}"#;
        assert_eq!(&out[8..], expected);
        assert_eq!(out[..8], [0, 0, 0, 0x88, 0, 0, 0, 0]);
    }

    #[test]
    fn the_last_of_two_equal_names_counts_however_it_is_spelt() {
        let payload = br#"{"version": 1, "app_id": "a", "module": "", "stamp": 1, "nsecs": 2,
            "hostname": "h", "body": "good", "b\u006fdy": "evil"}"#;
        let mut scratch = Scratch::default();
        assert_eq!(decode(payload, &mut scratch).unwrap().body, "evil");
    }

    #[test]
    fn a_message_too_long_is_refused_and_leaves_no_trace() {
        let body = "x".repeat(FRAME_BYTES_MAX as usize);
        let mut out = b"before".to_vec();
        for zlib in [false, true] {
            let record = Record { body: &body, ..HELLO };
            let refused = encode(&record, None, zlib, &mut EncodeScratch::default(), &mut out);
            assert!(matches!(refused, Err(EncodeError::TooLong { .. })));
            assert_eq!(out, b"before");
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_decodes_equal(
            app_id in ".*", module in ".*", hostname in ".*", body in "(?s).*",
            stamp in any::<i64>(), nsecs in any::<i64>(), secret in proptest::option::of(".*"), zlib in any::<bool>(),
        ) {
            let key = secret.map(|secret| Key::new(secret.as_bytes()));
            let record = Record { app_id: &app_id, module: &module, hostname: &hostname, body: &body, stamp, nsecs, signature: None };
            let mut out = Vec::new();
            encode(&record, key.as_ref(), zlib, &mut EncodeScratch::default(), &mut out).unwrap();
            let Ok(Next::Frame(frame)) = frame::next(&out, FRAME_BYTES_MAX) else { panic!("no frame") };
            prop_assert_eq!(frame.bytes, out.len());
            let mut payload = frame.payload.to_vec();
            if frame.flags.is_zlib() {
                Inflater::new().inflate(frame.payload, FRAME_BYTES_MAX as usize, &mut payload).unwrap();
            }
            let mut scratch = Scratch::default();
            let decoded = decode(&payload, &mut scratch).unwrap();
            prop_assert_eq!(Record { signature: None, ..decoded }, record);
            prop_assert_eq!(decoded.signature.is_some(), key.is_some());
            if let (Some(key), Some(signature)) = (key, decoded.signature) {
                prop_assert!(key.verify(&decoded.signed(), signature));
            }
        }

        #[test]
        fn the_usual_order_is_read_as_any_other(
            body in "(?s).{0,40}", module in "[a-z\"\\\\]{0,8}", stamp in any::<i64>(), signed in any::<bool>(),
            change in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let record = Record { module: &module, body: &body, stamp, ..HELLO };
            let key = signed.then(|| Key::new(b"s"));
            let mut json = Vec::new();
            write_json(&record, key.as_ref(), &mut json);
            if let Some((place, byte)) = change {
                let place = place.index(json.len());
                json[place] = byte;
            }
            if let Ok(text) = std::str::from_utf8(&json) {
                let usual = Fields::in_usual_order(text);
                let any = Fields::in_any_order(text, &mut String::new());
                prop_assert!(usual.is_some() || change.is_some());
                if let Some(usual) = usual {
                    prop_assert_eq!(Ok(usual), any);
                }
            }
        }

        #[test]
        fn arbitrary_bytes_end_in_a_value(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes, &mut Scratch::default());
        }
    }
}
