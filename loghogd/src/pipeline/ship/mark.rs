//! How far a stream of lines has come at a target. Pure.
//! A mark <-> a line of JSON.
//! Invariant: a mark with the stream's own number is about the file that is next.
//! Leaves out: where it is kept (`receipts`, and what targets keep themselves).

use serde::{Deserialize, Serialize};

/// A live file and the segments that it becomes: what is shipped in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stream {
    /// The folder: the application.
    pub app: Box<str>,
    /// The name of the live file, without `.gz`, such as `web.log`.
    pub live: Box<str>,
}

/// A place in the file that is being shipped, behind a whole message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Which file of the stream: files that are through are counted. What a target
    /// remembers is of use only if it is about this file.
    pub number: u64,
    /// How many bytes of it have arrived, as they are when nothing is compressed.
    pub offset: u64,
    /// How many messages these are.
    pub records: u64,
    /// The time that the last message was given, in nanoseconds since 1970; of the file
    /// before, when there is none. See [`RecordTimes`](super::RecordTimes).
    pub last_ns: i64,
    /// What the file begins with, so that no other is taken for it; 0 while nothing of
    /// it has arrived.
    pub head: u64,
}

impl Stream {
    /// `APP/web`: as people know it, without `.log`.
    pub fn shown(&self) -> String {
        format!("{}/{}", self.app, self.live.strip_suffix(".log").unwrap_or(&self.live))
    }
}
