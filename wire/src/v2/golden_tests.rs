//! The golden vectors of the second protocol: written again and read.
//! `tests/programs/wire_v2.py` makes the same ones without any of our code.

use serde_json::Value as Json;

use crate::frame::{FRAME_BYTES_MAX, Flags, Frame, Next, next};
use crate::v2::batch::{BatchReader, BatchWriter, Field, Record, Value};
use crate::v2::compress::{Compression, Expander};
use crate::v2::frame::{Head, Protocol, Type, protocol};
use crate::v2::handshake::{Challenge, ClientId, Hello, Welcome};
use crate::v2::limits::BATCH_RECORDS_MAX;
use crate::v2::report::{Ack, Code, Dropped, Farewell, Refusal, Refused, Report};
use crate::v2::seal::{self, MAC_BYTES, Opener, SealError, Sealer};
use crate::v2::secret::{Secret, Transcript};

const BYTES_MAX: usize = FRAME_BYTES_MAX as usize;

fn cases() -> Vec<Json> {
    serde_json::from_str(include_str!("../../../tests/golden/wire_v2.json")).unwrap()
}

/// The cases of this kind; at least one.
fn cases_of(kind: &str) -> Vec<Json> {
    let found: Vec<_> = cases().into_iter().filter(|case| case["kind"] == kind).collect();
    assert!(!found.is_empty());
    found
}

fn text<'a>(of: &'a Json, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_else(|| panic!("no {name} in {of}"))
}

fn number<N: TryFrom<u64, Error: std::fmt::Debug>>(of: &Json, name: &str) -> N {
    of[name].as_u64().unwrap_or_else(|| panic!("no {name} in {of}")).try_into().unwrap()
}

fn bytes(of: &Json, name: &str) -> Vec<u8> {
    let digits = text(of, name).as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn kind(of: &Json) -> Type {
    (1..=9)
        .filter_map(Type::from_number)
        .find(|kind| format!("{kind:?}").to_uppercase() == text(of, "type"))
        .unwrap()
}

fn compression(of: &Json) -> Compression {
    match of["compression"].as_str() {
        None | Some("none") => Compression::None,
        Some("zlib") => Compression::Zlib,
        Some("zstd") => Compression::Zstd,
        other => panic!("compression {other:?}"),
    }
}

struct Session {
    secret: Option<Secret>,
    transcript: Transcript,
}

impl Session {
    /// The session that a case belongs to.
    fn of(case: &Json) -> Session {
        let session = cases_of("session").into_iter().find(|s| s["name"] == case["session"]);
        let session = session.unwrap();
        let secret = text(&session, "secret");
        Session {
            secret: (!secret.is_empty()).then(|| Secret::new(secret.as_bytes())),
            transcript: Transcript::new(
                &bytes(&session, "hello_hex"),
                &bytes(&session, "challenge_hex"),
            ),
        }
    }

    fn proven(&self) -> Option<(&Secret, &Transcript)> {
        self.secret.as_ref().map(|secret| (secret, &self.transcript))
    }

    /// Both ends of a direction behind `counter` frames.
    fn direction(&self, direction: &str, counter: u64) -> (Sealer, Opener) {
        let (secret, transcript) = (self.secret.as_ref(), &self.transcript);
        let (client, server) = (seal::client(secret, transcript), seal::server(secret, transcript));
        let (mut sealer, mut opener) = match direction {
            "to server" => (client.0, server.1),
            "to client" => (server.0, client.1),
            other => panic!("direction {other}"),
        };
        for _ in 0..counter {
            let mut passed = Vec::new();
            sealer.write(&mut passed, Head::plain(Type::Ack), b"").unwrap();
            let frame = cut(&passed);
            opener.open(frame.flags, frame.payload).unwrap();
        }
        (sealer, opener)
    }
}

fn cut(bytes: &[u8]) -> Frame<'_> {
    match next(bytes, FRAME_BYTES_MAX + MAC_BYTES) {
        Ok(Next::Frame(frame)) if frame.bytes == bytes.len() => frame,
        other => panic!("{other:?} is not one frame"),
    }
}

#[test]
fn golden_sessions_have_these_keys() {
    for case in cases_of("session") {
        let transcript =
            Transcript::new(&bytes(&case, "hello_hex"), &bytes(&case, "challenge_hex"));
        assert_eq!(transcript.bytes()[..], bytes(&case, "transcript_hex"));
        if !text(&case, "secret").is_empty() {
            let secret = Secret::new(text(&case, "secret").as_bytes());
            let expected = [bytes(&case, "key_to_server_hex"), bytes(&case, "key_to_client_hex")];
            assert_eq!(secret.raw_keys(&transcript).map(Vec::from), expected);
        }
    }
}

#[test]
fn golden_frames_are_written_as_they_were() {
    for case in cases_of("frame") {
        let session = Session::of(&case);
        let head = Head { kind: kind(&case), compression: compression(&case) };
        let sent = bytes(&case, "payload_hex");
        let plain = written(&case, &session);
        // How well a library compresses is its own affair.
        let mut out = Vec::new();
        let expanded = Expander::new().expand(head.compression, &sent, BYTES_MAX, &mut out);
        assert_eq!(expanded, Ok(&plain[..]), "{}", case["name"]);
        let mut frame = Vec::new();
        match case["counter"].as_u64() {
            None => seal::write_plain(&mut frame, head, &sent).unwrap(),
            Some(counter) => {
                let (mut sealer, _) = session.direction(text(&case, "direction"), counter);
                sealer.write(&mut frame, head, &sent).unwrap();
            }
        }
        assert_eq!(frame, bytes(&case, "frame_hex"), "{}", case["name"]);
    }
}

#[test]
fn golden_frames_are_read_as_what_they_say() {
    for case in cases_of("frame") {
        let session = Session::of(&case);
        let frame = bytes(&case, "frame_hex");
        let cut = cut(&frame);
        let (head, sent) = match case["counter"].as_u64() {
            None => (Head::from_flags(cut.flags).unwrap(), cut.payload),
            Some(counter) => {
                let (_, mut opener) = session.direction(text(&case, "direction"), counter);
                opener.open(cut.flags, cut.payload).unwrap()
            }
        };
        assert_eq!((head.kind, head.compression), (kind(&case), compression(&case)));
        let mut out = Vec::new();
        let plain = Expander::new().expand(head.compression, sent, BYTES_MAX, &mut out).unwrap();
        read(head.kind, plain, &session)
            .unwrap_or_else(|error| panic!("{}: {error}", case["name"]));
        let opens_v2 = protocol(&frame) == Some(Protocol::V2);
        assert_eq!(opens_v2, head.kind == Type::Hello, "{}", case["name"]);
    }
}

#[test]
fn golden_payloads_that_are_bad_are_refused() {
    for case in cases_of("bad") {
        let sent = bytes(&case, "payload_hex");
        let session = Session::of(&serde_json::json!({ "session": match kind(&case) {
            Type::Proof => "with a secret",
            _ => "without a secret",
        }}));
        let mut out = Vec::new();
        if let Ok(plain) = Expander::new().expand(compression(&case), &sent, BYTES_MAX, &mut out) {
            assert!(read(kind(&case), plain, &session).is_err(), "{}", case["name"]);
        }
    }
    for case in cases_of("bad flags") {
        let flags = Flags(number(&case, "flags"));
        assert!(Head::from_flags(flags).is_err(), "{}", case["name"]);
    }
}

#[test]
fn golden_forgeries_are_refused() {
    for case in cases_of("forged") {
        let (_, mut opener) =
            Session::of(&case).direction(text(&case, "direction"), number(&case, "counter"));
        let frame = bytes(&case, "frame_hex");
        let frame = cut(&frame);
        let refused = opener.open(frame.flags, frame.payload);
        assert_eq!(refused, Err(SealError::Forged), "{}", case["name"]);
    }
}

/// The payload that a case describes.
fn written(case: &Json, session: &Session) -> Vec<u8> {
    let of = &case["fields"];
    match kind(case) {
        Type::Hello => Hello {
            client_id: ClientId(bytes(of, "client_id").try_into().unwrap()),
            nonce: bytes(of, "nonce").try_into().unwrap(),
            app: text(of, "app"),
            host: text(of, "host"),
            module: text(of, "module"),
            first_held: number(of, "first_held"),
            next_number: number(of, "next_number"),
        }
        .encode()
        .unwrap(),
        Type::Challenge => Challenge {
            nonce: bytes(of, "nonce").try_into().unwrap(),
            needs_proof: of["needs_proof"] == 1,
            frame_bytes_max: number(of, "frame_bytes_max"),
            records_max: number(of, "records_max"),
            compressions: crate::v2::compress::Compressions::from_bits(number(of, "compressions")),
        }
        .encode(),
        Type::Proof => session.secret.as_ref().unwrap().prove(&session.transcript).to_vec(),
        Type::Welcome => Welcome { durable: number(of, "durable"), taken: number(of, "taken") }
            .encode(session.proven()),
        Type::Batch => batch(of),
        Type::Ack => Ack { durable: number(of, "durable") }.encode(),
        Type::Report => {
            let dropped = of["dropped"].as_array().unwrap().iter().map(|pair| {
                (Dropped::from_number(pair[0].as_u64().unwrap()), pair[1].as_u64().unwrap())
            });
            Report { dropped: dropped.collect() }.encode()
        }
        Type::Refused => Refused {
            messages: number(of, "messages"),
            first: number(of, "first"),
            code: Refusal::from_number(number(of, "code")),
            text: text(of, "text"),
        }
        .encode(),
        Type::Farewell => {
            Farewell { code: Code::from_number(number(of, "code")), text: text(of, "text") }
                .encode()
        }
    }
}

fn batch(of: &Json) -> Vec<u8> {
    let mut writer = BatchWriter::new(FRAME_BYTES_MAX, BATCH_RECORDS_MAX);
    writer.start(number(of, "first_number"));
    for record in of["records"].as_array().unwrap() {
        let fields: Vec<_> = record["fields"].as_array().unwrap().iter().map(field).collect();
        let at = record["exception_at"].as_u64();
        writer
            .push(&Record {
                time_ns: record["time_ns"].as_i64().unwrap(),
                level: number(record, "level"),
                logger: text(record, "logger"),
                thread: text(record, "thread"),
                process_id: number(record, "process_id"),
                body: text(record, "body"),
                exception_at: at.map(|at| usize::try_from(at).unwrap()),
                fields: &fields,
            })
            .unwrap();
    }
    writer.payload().to_vec()
}

fn field(of: &Json) -> Field<'_> {
    let value = &of[2];
    let value = match of[1].as_str().unwrap() {
        "null" => Value::Null,
        "bool" => Value::Bool(value.as_bool().unwrap()),
        "int" => Value::Int(value.as_i64().unwrap()),
        "float" => Value::Float(value.as_f64().unwrap()),
        "text" => Value::Text(value.as_str().unwrap()),
        "json" => Value::Json(value.as_str().unwrap()),
        other => panic!("a value of type {other}"),
    };
    Field { key: of[0].as_str().unwrap(), value }
}

/// Reads a payload and looks whether writing it again gives the same bytes.
fn read(kind: Type, payload: &[u8], session: &Session) -> Result<(), Box<dyn std::error::Error>> {
    let again = match kind {
        Type::Hello => Hello::decode(payload)?.encode()?,
        Type::Challenge => Challenge::decode(payload)?.encode(),
        Type::Proof => {
            let secret = session.secret.as_ref().unwrap();
            if !secret.verify_proof(&session.transcript, payload) {
                return Err("the proof is wrong".into());
            }
            payload.to_vec()
        }
        Type::Welcome => Welcome::decode(payload, session.proven())?.encode(session.proven()),
        Type::Batch => read_batch(payload)?,
        Type::Ack => Ack::decode(payload)?.encode(),
        Type::Report => Report::decode(payload)?.encode(),
        Type::Refused => Refused::decode(payload)?.encode(),
        Type::Farewell => Farewell::decode(payload)?.encode(),
    };
    assert_eq!(again, payload);
    Ok(())
}

fn read_batch(payload: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut reader = BatchReader::new(payload, BATCH_RECORDS_MAX)?;
    let mut writer = BatchWriter::new(FRAME_BYTES_MAX, BATCH_RECORDS_MAX);
    writer.start(reader.next_number());
    while let Some((number, record)) = reader.next_record()? {
        assert_eq!(number, writer.next_number());
        writer.push(&record)?;
    }
    Ok(writer.payload().to_vec())
}
