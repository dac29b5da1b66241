//! The handshake: everything up to WELCOME.
//! A `Stream`, a HELLO and a secret -> a `Session`, or why there is none.
//! Invariant: no number of the server counts before its proof was checked.
//! Leaves out: whom to greet (`dial`), what is said then (`session`).

use std::time::{Duration, Instant};

use wire::frame::{self, Next};
use wire::v2::batch::BatchWriter;
use wire::v2::compress::{Compression, Compressor};
use wire::v2::frame::{Head, Type};
use wire::v2::handshake::{Challenge, Hello, Welcome};
use wire::v2::limits::HANDSHAKE_BYTES_MAX;
use wire::v2::seal::{self, write_plain};
use wire::v2::secret::{Secret, Transcript};

use super::{Session, SessionError, farewell};
use crate::connection::Lost;
use crate::limits::{ANSWER_LIMIT, HANDSHAKE_LIMIT};
use crate::v2::stream::Stream;

/// Says hello, and everything up to WELCOME.
pub(in crate::v2) fn greet(
    mut stream: Stream,
    hello: &Hello<'_>,
    secret: Option<&Secret>,
    compression: Compression,
    is_over: &dyn Fn() -> bool,
) -> Result<Session, SessionError> {
    let mut input = Vec::new();
    let said = hello.encode()?;
    tell(&mut stream, Type::Hello, &said, is_over)?;
    let answered =
        ask(&mut stream, &mut input, ANSWER_LIMIT, is_over).map_err(|error| match error {
            SessionError::Lost(Lost::Stopped) => SessionError::Lost(Lost::Stopped),
            SessionError::Lost(_) => SessionError::HungUp,
            SessionError::Frame(error) => SessionError::Foreign(error.to_string()),
            SessionError::Head(error) => SessionError::Foreign(error.to_string()),
            other => other,
        })?;
    let challenge_payload = expect(Type::Challenge, answered)?;
    let challenge = Challenge::decode(&challenge_payload)?;
    let transcript = Transcript::new(&said, &challenge_payload);
    match (secret, challenge.needs_proof) {
        (Some(secret), true) => {
            tell(&mut stream, Type::Proof, &secret.prove(&transcript), is_over)?;
        }
        (None, false) => {}
        (None, true) => return Err(SessionError::SecretMissing),
        (Some(_), false) => return Err(SessionError::SecretUnused),
    }
    let answered = ask(&mut stream, &mut input, HANDSHAKE_LIMIT, is_over)?;
    let welcome = expect(Type::Welcome, answered)?;
    let welcome = Welcome::decode(&welcome, secret.map(|secret| (secret, &transcript)))?;
    let (sealer, opener) = seal::client(secret, &transcript);
    stream.never_wait()?;
    let usable = challenge.compressions.allow(compression);
    Ok(Session {
        stream,
        sealer,
        opener,
        input,
        output: Vec::new(),
        written: 0,
        batch: BatchWriter::new(
            challenge.frame_bytes_max.min(frame::FRAME_BYTES_MAX),
            challenge.records_max,
        ),
        packed: Vec::new(),
        compressor: Compressor::new(),
        compression: if usable { compression } else { Compression::None },
        welcome,
        sent: welcome.taken,
        told_first: hello.first_held,
        acknowledged: welcome.durable,
        progress: Instant::now(),
    })
}

fn tell(
    stream: &mut Stream,
    kind: Type,
    payload: &[u8],
    is_over: &dyn Fn() -> bool,
) -> Result<(), SessionError> {
    let mut bytes = Vec::new();
    write_plain(&mut bytes, Head::plain(kind), payload)?;
    let mut written = 0;
    let started = Instant::now();
    while written < bytes.len() || stream.has_more() {
        written += stream.write(bytes.get(written..).unwrap_or_default())?;
        if is_over() {
            return Err(Lost::Stopped.into());
        }
        if started.elapsed() > ANSWER_LIMIT {
            return Err(SessionError::NoAnswer);
        }
    }
    Ok(())
}

/// Waits for a frame of the handshake.
fn ask(
    stream: &mut Stream,
    input: &mut Vec<u8>,
    limit: Duration,
    is_over: &dyn Fn() -> bool,
) -> Result<(Type, Vec<u8>), SessionError> {
    let started = Instant::now();
    loop {
        if let Next::Frame(frame) = frame::next(input, HANDSHAKE_BYTES_MAX)? {
            let head = Head::from_flags(frame.flags)?;
            let answer = (head.kind, frame.payload.to_vec());
            input.drain(..frame.bytes);
            return Ok(answer);
        }
        if is_over() {
            return Err(Lost::Stopped.into());
        }
        if started.elapsed() > limit {
            return Err(SessionError::NoAnswer);
        }
        stream.read(input)?;
    }
}

fn expect(kind: Type, (came, payload): (Type, Vec<u8>)) -> Result<Vec<u8>, SessionError> {
    match came {
        Type::Farewell => Err(farewell(&payload)?),
        came if came == kind => Ok(payload),
        came => Err(SessionError::Unexpected(came)),
    }
}
