//! Says how each target is doing.
//! What a target's thread has seen -> numbers for people and programs.
//! Invariant: asking never waits for a target.
//! Leaves out: counters of the whole daemon (`stats`).

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::pace::Rate;

/// How a target is doing, as `loghogd ship --json` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// What facilities call it.
    pub name: String,
    /// kafka, s3, influxdb.
    pub kind: String,
    /// What it does.
    pub state: Doing,
    /// Closed segments that it has not got.
    pub backlog_segments: u64,
    /// Bytes of these, as they are on the disk, and of live files that it follows.
    pub backlog_bytes: u64,
    /// The file that has waited longest.
    pub oldest: Option<String>,
    /// What has arrived since the daemon started: messages, where they are counted.
    pub records: u64,
    /// The same in bytes of log files.
    pub bytes: u64,
    /// Segments that arrived as a whole since then.
    pub segments: u64,
    /// Records that it will never take, in the file with dead letters.
    pub dead: u64,
    /// Of these, and of those before the daemon started, what had to make room for others.
    #[serde(default)]
    pub dead_dropped: u64,
    /// Attempts that were repeated.
    pub retries: u64,
    /// Messages a second, of late.
    pub records_a_second: f64,
    /// Bytes a second, of late.
    pub bytes_a_second: f64,
    /// The last trouble, with its time; also when it has passed.
    pub last_error: Option<Error>,
    /// Streams that stand still until somebody has done something, and why.
    pub stopped: Vec<Stopped>,
}

/// What a target does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// It connects.
    Connecting,
    /// Everything has arrived.
    Idle,
    /// It delivers.
    Shipping,
    /// It has met trouble, and tries again.
    Retrying,
    /// Somebody has to do something.
    Stopped,
}

/// A trouble.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// When (RFC 3339).
    pub at: String,
    /// What.
    pub what: String,
}

/// A stream that stands still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// `APP/web`.
    pub stream: String,
    /// Why.
    pub what: String,
}

impl Status {
    /// Nothing has happened yet.
    pub(crate) fn new(name: &str, kind: &str) -> Status {
        Status {
            name: name.to_owned(),
            kind: kind.to_owned(),
            state: Doing::Connecting,
            backlog_segments: 0,
            backlog_bytes: 0,
            oldest: None,
            records: 0,
            bytes: 0,
            segments: 0,
            dead: 0,
            dead_dropped: 0,
            retries: 0,
            records_a_second: 0.0,
            bytes_a_second: 0.0,
            last_error: None,
            stopped: Vec::new(),
        }
    }
}

/// On one line, for the own log.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} state={} backlog_segments={} backlog_bytes={} records={} bytes={} segments={} \
             dead={} retries={}",
            self.name,
            self.state,
            self.backlog_segments,
            self.backlog_bytes,
            self.records,
            self.bytes,
            self.segments,
            self.dead,
            self.retries
        )
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Doing::Connecting => "connecting",
            Doing::Idle => "idle",
            Doing::Shipping => "shipping",
            Doing::Retrying => "retrying",
            Doing::Stopped => "stopped",
        })
    }
}

/// A status that a target's thread keeps up to date.
#[derive(Clone, Debug)]
pub(super) struct Board {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    status: Status,
    records: Rate,
    bytes: Rate,
}

impl Board {
    /// Nothing has happened yet.
    pub(super) fn new(name: &str, kind: &str) -> Board {
        let status = Status::new(name, kind);
        let rate = Rate::new(Instant::now());
        Board { inner: Arc::new(Mutex::new(Inner { status, records: rate, bytes: rate })) }
    }

    /// How it is doing now.
    pub(super) fn status(&self) -> Status {
        self.with(|inner| {
            let now = Instant::now();
            Status {
                records_a_second: inner.records.now(now),
                bytes_a_second: inner.bytes.now(now),
                ..inner.status.clone()
            }
        })
    }

    /// Notes something.
    pub(super) fn note(&self, note: impl FnOnce(&mut Status)) {
        self.with(|inner| note(&mut inner.status));
    }

    /// Notes a trouble, which has come now.
    pub(super) fn note_error(&self, what: &str, state: Doing) {
        let at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let error = Error { at, what: what.to_owned() };
        self.note(|status| {
            status.last_error = Some(error);
            status.state = state;
        });
    }

    /// So much has arrived.
    pub(super) fn arrived(&self, records: u64, bytes: u64, segments: u64) {
        self.with(|inner| {
            let now = Instant::now();
            inner.status.records += records;
            inner.status.bytes += bytes;
            inner.status.segments += segments;
            inner.records.add(records, now);
            inner.bytes.add(bytes, now);
        });
    }

    fn with<T>(&self, what: impl FnOnce(&mut Inner) -> T) -> T {
        what(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
