//! What goes to a target at once: messages of one or more streams.
//! Bytes of files, split into messages -> records, one after another.
//! Invariant: the marks of all parts hold together, or none of them.
//! Leaves out: reading files; delivering.

use std::sync::Arc;

use super::mark::{Mark, Stream};
use super::record::{self, Record};
use super::split::Message;
use crate::config::facility::Facility;

/// Parts of several streams that arrive together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// No two of them are of the same stream.
    pub parts: Vec<Part>,
}

/// Messages of one stream that follow on each other.
#[derive(Clone, Debug)]
pub struct Part {
    /// Whose they are.
    pub stream: Arc<Stream>,
    /// Its facility.
    pub facility: Arc<Facility>,
    /// The name of the segment that they are in; while it is being written, that of
    /// the live file.
    pub file: Arc<str>,
    /// How far the stream had come before.
    pub begin: Mark,
    /// How far it has come with them.
    pub end: Mark,
    /// The bytes of the messages, without gaps.
    pub bytes: Vec<u8>,
    /// The messages among them, in order, and the time of each in nanoseconds.
    pub messages: Vec<(Message, record::Times)>,
}

impl Batch {
    /// How many messages there are.
    pub fn records(&self) -> usize {
        self.parts.iter().map(|part| part.messages.len()).sum()
    }

    /// Bytes of all messages, as they stand in their files.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.bytes.len()).sum()
    }
}

impl Part {
    /// The messages, read.
    pub fn records(&self) -> impl ExactSizeIterator<Item = Record<'_>> {
        self.messages.iter().map(|(message, times)| {
            let bytes = self.bytes.get(message.begin..message.end).unwrap_or_default();
            Record::read(bytes, &self.facility, *times)
        })
    }
}
