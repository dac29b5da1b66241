//! One connection that speaks v2.
//! A handshake (`greet`) -> `Session`; runs of records -> batches; frames of the server -> `Heard`.
//! Invariant: batches of a session go on where the one before ended.
//! Leaves out: what is sent when, and what an acknowledgement settles (`engine`).

mod greet;

use std::time::{Duration, Instant};

use wire::frame::{self, FrameError, Next};
use wire::v2::batch::{BatchWriter, PushError, Record, Value};
use wire::v2::compress::{Compression, Compressor};
use wire::v2::frame::{Head, HeadError, Type};
use wire::v2::handshake::{HandshakeError, Welcome};
use wire::v2::limits::HANDSHAKE_BYTES_MAX;
use wire::v2::report::{Ack, Code, Farewell, Refused, Report, ReportError};
use wire::v2::seal::{Opener, SealError, Sealer};

pub(super) use self::greet::greet;
use super::stream::Stream;
use crate::connection::Lost;
use crate::limits::{COMPRESSED_BYTES_MIN, EVICTED_PAUSE, OUTPUT_BYTES_MAX, REFUSED_PAUSE};
use crate::record;
use crate::spool::Run;

/// Why there is no session, or no longer.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("no answer to our greeting; does the server know protocol 2?")]
    NoAnswer,
    #[error("the server ended the connection at our greeting; does it know protocol 2?")]
    HungUp,
    #[error("the answer to our greeting is none: {0}; is it a LogHog server?")]
    Foreign(String),
    #[error("the server asks for a proof, but we have no secret; give the facility's secret")]
    SecretMissing,
    #[error("we have a secret, but the server asks for none; it may not be the server we mean")]
    SecretUnused,
    #[error("the server says: {text} (code {code})")]
    Farewell { code: u64, text: String },
    #[error("the server sent a {0:?} frame where none may come")]
    Unexpected(Type),
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Head(#[from] HeadError),
    #[error("{0}")]
    Seal(#[from] SealError),
    #[error("{0}")]
    Report(#[from] ReportError),
    #[error("{0}")]
    Lost(#[from] Lost),
    #[error("the server acknowledged {durable}, which is not between {before} and {sent}")]
    Acknowledged { durable: u64, before: u64, sent: u64 },
    #[error("the server wants {next} next, we hold nothing before {first}")]
    Gap { next: u64, first: u64 },
    #[error("no acknowledgement for {0:?}")]
    Stalled(Duration),
}

impl SessionError {
    /// How long the server is left alone at least, whoever is in a hurry.
    pub(super) fn hold(&self) -> Duration {
        match self {
            Self::Farewell { code, .. } => match Code::from_number(*code) {
                // Somebody has our id; taking turns would help nobody.
                Code::Evicted => EVICTED_PAUSE,
                Code::Malformed
                | Code::WrongProof
                | Code::SecretMissing
                | Code::SecretUnused
                | Code::NoFacility
                | Code::NeedsTls => REFUSED_PAUSE,
                _ => Duration::ZERO,
            },
            Self::SecretMissing | Self::SecretUnused | Self::Handshake(_) => REFUSED_PAUSE,
            _ => Duration::ZERO,
        }
    }

    /// Whether a server that knows only v1 behaves like this.
    pub(super) fn may_be_v1(&self) -> bool {
        matches!(self, Self::NoAnswer | Self::HungUp)
    }
}

/// What the server says in a session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Ack { durable: u64 },
    Refused { messages: u64, first: u64, text: String },
}

#[derive(Debug)]
pub(super) struct Session {
    stream: Stream,
    sealer: Sealer,
    opener: Opener,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Bytes of the output that the kernel has.
    written: usize,
    batch: BatchWriter,
    packed: Vec<u8>,
    compressor: Compressor,
    compression: Compression,
    pub(super) welcome: Welcome,
    /// Number of the last record sent; the server's `taken` before the first.
    pub(super) sent: u64,
    /// What we said to be the first number that we hold.
    pub(super) told_first: u64,
    /// The last acknowledgement.
    acknowledged: u64,
    /// When the server was last heard of, or nothing was outstanding.
    pub(super) progress: Instant,
}

fn farewell(payload: &[u8]) -> Result<SessionError, ReportError> {
    let farewell = Farewell::decode(payload)?;
    Ok(SessionError::Farewell { code: farewell.code.number(), text: farewell.text.to_owned() })
}

impl Session {
    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Whether bytes wait for the kernel.
    pub(super) fn has_output(&self) -> bool {
        self.written < self.output.len() || self.stream.has_more()
    }

    /// Whether there is room for another batch.
    pub(super) fn is_ready(&self) -> bool {
        self.output.len() - self.written < OUTPUT_BYTES_MAX
    }

    /// Whether this run may follow in this session.
    pub(super) fn follows(&self, run: &Run) -> bool {
        run.first <= self.sent.saturating_add(1)
    }

    /// Puts a batch of the run's records behind `sent` into the output; returns
    /// how many they were. Records that cannot be sent as they are, are cut.
    pub(super) fn send(&mut self, run: &Run) -> Result<u64, SessionError> {
        let first = run.first.max(self.sent + 1);
        let skipped = usize::try_from(first - run.first).unwrap_or(usize::MAX);
        self.batch.start(first);
        let mut fields = Vec::new();
        for bytes in run.records.iter().skip(skipped) {
            let pushed = match record::decode(bytes, &mut fields) {
                Some((record, _)) => push(&mut self.batch, &Record { fields: &fields, ..record }),
                None => self.batch.push(&Record { body: UNREADABLE, ..Record::default() }),
            };
            match pushed {
                Ok(()) => {}
                Err(PushError::Full) => break,
                Err(_) if !self.batch.is_empty() => break,
                Err(_) => {
                    self.push_cut(bytes);
                    break;
                }
            }
        }
        let records = u64::from(self.batch.records());
        if records == 0 {
            return Ok(0);
        }
        let next = self.batch.next_number();
        let payload = self.batch.payload();
        let is_shorter = payload.len() >= COMPRESSED_BYTES_MIN
            && self.compressor.compress(self.compression, payload, &mut self.packed).is_ok();
        let (compression, payload) = match is_shorter {
            true => (self.compression, self.packed.as_slice()),
            false => (Compression::None, payload),
        };
        self.sealer.write(&mut self.output, Head { kind: Type::Batch, compression }, payload)?;
        self.sent = next.saturating_sub(1);
        Ok(records)
    }

    /// Its number must be sent, its text is more than this server takes.
    fn push_cut(&mut self, bytes: &[u8]) {
        let mut fields = Vec::new();
        let Some((record, _)) = record::decode(bytes, &mut fields) else { return };
        let mut room = record.body.len();
        loop {
            let kept = record::cut(record.body, room);
            let body = format!("{kept} ({} bytes, cut for this server)", record.body.len());
            let cut = Record { body: &body, exception_at: None, thread: "", fields: &[], ..record };
            if self.batch.push(&cut).is_ok() || room == 0 {
                break;
            }
            room /= 2;
        }
        if self.batch.is_empty() {
            let _ = self.batch.push(&Record { body: UNREADABLE, logger: "", ..record });
        }
    }

    pub(super) fn report(&mut self, report: &Report) -> Result<(), SessionError> {
        let head = Head::plain(Type::Report);
        Ok(self.sealer.write(&mut self.output, head, &report.encode())?)
    }

    /// Writes what the kernel takes; returns how many bytes it took.
    pub(super) fn write(&mut self) -> Result<usize, SessionError> {
        if !self.has_output() {
            return Ok(0);
        }
        let written = self.stream.write(self.output.get(self.written..).unwrap_or_default())?;
        self.written += written;
        if self.written == self.output.len() {
            self.written = 0;
            self.output.clear();
            self.output.shrink_to(OUTPUT_BYTES_MAX);
        } else if self.written > OUTPUT_BYTES_MAX {
            self.output.drain(..self.written);
            self.written = 0;
        }
        if written > 0 {
            self.progress = Instant::now();
        }
        Ok(written)
    }

    /// What the server has said since; an error when it has gone. What it said
    /// before it went is in `heard` all the same.
    pub(super) fn read(&mut self, heard: &mut Vec<Heard>) -> Result<(), SessionError> {
        let end = self.stream.read(&mut self.input);
        let limit = self.opener.announced_bytes_max(HANDSHAKE_BYTES_MAX);
        let mut start = 0;
        let mut parsed = Ok(());
        while parsed.is_ok() {
            let rest = self.input.get(start..).unwrap_or_default();
            match frame::next(rest, limit) {
                Ok(Next::Frame(frame)) => {
                    start += frame.bytes;
                    self.progress = Instant::now();
                    let bounds = (self.acknowledged, self.sent);
                    parsed = hear(&mut self.opener, bounds, frame, heard);
                    if let Some(Heard::Ack { durable }) = heard.last() {
                        self.acknowledged = *durable;
                    }
                }
                Ok(Next::More { .. }) => break,
                Err(error) => parsed = Err(error.into()),
            }
        }
        self.input.drain(..start);
        parsed.and(end.map_err(Into::into))
    }

    /// Ends the session; what was sent is read by the server. `is_done`: we
    /// hold nothing any more, and the server may forget us. Returns whether all
    /// is in the kernel's hands.
    pub(super) fn finish(mut self, is_done: bool) -> bool {
        if is_done {
            let payload = Farewell { code: Code::Done, text: "" }.encode();
            let _ = self.sealer.write(&mut self.output, Head::plain(Type::Farewell), &payload);
        }
        let is_written = self.write().is_ok() && !self.has_output();
        // Closing with something unread would make the kernel send a reset,
        // which may overtake our last bytes.
        let _ = self.stream.read(&mut self.input);
        self.stream.finish();
        is_written
    }
}

/// JSON that is none goes as text.
fn push(batch: &mut BatchWriter, record: &Record<'_>) -> Result<(), PushError> {
    match batch.push(record) {
        Err(PushError::NotJson | PushError::JsonTooLong { .. }) => {
            let mut fields = record.fields.to_vec();
            for field in &mut fields {
                if let Value::Json(text) = field.value {
                    field.value = Value::Text(text);
                }
            }
            batch.push(&Record { fields: &fields, ..*record })
        }
        pushed => pushed,
    }
}

const UNREADABLE: &str = "(a message that could not be sent to this server)";

fn hear(
    opener: &mut Opener,
    (before, sent): (u64, u64),
    frame: frame::Frame<'_>,
    heard: &mut Vec<Heard>,
) -> Result<(), SessionError> {
    let (head, payload) = opener.open(frame.flags, frame.payload)?;
    match head.kind {
        Type::Ack => {
            let Ack { durable } = Ack::decode(payload)?;
            if durable > sent || durable < before {
                return Err(SessionError::Acknowledged { durable, before, sent });
            }
            heard.push(Heard::Ack { durable });
        }
        Type::Refused => {
            let Refused { messages, first, text, .. } = Refused::decode(payload)?;
            heard.push(Heard::Refused { messages, first, text: text.to_owned() });
        }
        Type::Farewell => return Err(farewell(payload)?),
        other => return Err(SessionError::Unexpected(other)),
    }
    Ok(())
}
