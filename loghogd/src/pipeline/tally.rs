//! Counts what is in a segment, for the index of an archive.
//! Its plain bytes, piece by piece -> messages, bytes, from when to when, hosts.
//! Invariant: cut anywhere, the same bytes give the same; memory does not grow with lines.
//! Leaves out: what else a message says (`ship::record`).
//!
//! Whoever seals a segment sees all its bytes, and can count at next to no cost; the
//! result is [`kept`] beside the segment until it has arrived everywhere. Where that is
//! missing, the segment is decoded once more.

pub mod kept;

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use memchr::memchr;
use serde::{Deserialize, Serialize};

use super::ship::{RecordReader, host_of};
use crate::limits::{TALLY_HEAD_BYTES, TALLY_HOSTS_MAX};

/// What is in a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Messages.
    pub lines: u64,
    /// When nothing is compressed.
    pub bytes: u64,
    /// The earliest and the latest message, in nanoseconds since 1970; none without any.
    pub span_ns: Option<(i64, i64)>,
    /// Where messages came from.
    pub hosts: BTreeSet<String>,
    /// There are others.
    pub hosts_more: bool,
}

impl Tally {
    /// From when to when; what has no messages lasts no time.
    pub fn span(&self, otherwise: Timestamp) -> (Timestamp, Timestamp) {
        let instant = |nanos: i64| Timestamp::from_nanosecond(nanos.into()).unwrap_or(otherwise);
        self.span_ns.map_or((otherwise, otherwise), |(begin, end)| (instant(begin), instant(end)))
    }
}

/// Counts as bytes come.
#[derive(Debug)]
pub struct Counting {
    tally: Tally,
    times: RecordReader,
    place: Place,
    /// The beginning of a message of which not enough has come.
    head: Vec<u8>,
    last_host: String,
}

/// Where in a line the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Begin,
    Head,
    Rest,
}

impl Counting {
    /// From the beginning of a segment; lines of text are stamped in `zone`.
    pub fn new(zone: TimeZone) -> Counting {
        Counting {
            tally: Tally::default(),
            times: RecordReader::new(zone, 0),
            place: Place::Begin,
            head: Vec::new(),
            last_host: String::new(),
        }
    }

    /// What comes next.
    pub fn add(&mut self, mut bytes: &[u8]) {
        self.tally.bytes += bytes.len() as u64;
        while let Some(&first) = bytes.first() {
            let feed = memchr(b'\n', bytes);
            let (line, rest) = bytes.split_at(feed.map_or(bytes.len(), |feed| feed + 1));
            let ends = feed.is_some();
            match self.place {
                // Lines behind a tab belong to the message before (`ship::split`).
                Place::Begin if first == b'\t' && self.tally.lines > 0 => {}
                Place::Begin if ends || line.len() >= TALLY_HEAD_BYTES => self.message(line),
                Place::Begin | Place::Head => {
                    let room = TALLY_HEAD_BYTES - self.head.len().min(TALLY_HEAD_BYTES);
                    self.head.extend_from_slice(line.get(..room).unwrap_or(line));
                    if ends || self.head.len() >= TALLY_HEAD_BYTES {
                        self.take_head();
                    } else {
                        self.place = Place::Head;
                        return;
                    }
                }
                Place::Rest => {}
            }
            self.place = if ends { Place::Begin } else { Place::Rest };
            bytes = rest;
        }
    }

    /// Nothing comes any more.
    pub fn finish(mut self) -> Tally {
        if self.place == Place::Head {
            self.take_head();
        }
        self.tally
    }

    fn take_head(&mut self) {
        let mut head = std::mem::take(&mut self.head);
        self.message(&head);
        head.clear();
        self.head = head;
    }

    /// A message begins like this.
    fn message(&mut self, line: &[u8]) {
        let head = line.get(..TALLY_HEAD_BYTES).unwrap_or(line);
        let head = head.strip_suffix(b"\n").unwrap_or(head);
        self.tally.lines += 1;
        let at = self.times.times(head).received_ns;
        let (begin, end) = self.tally.span_ns.unwrap_or((at, at));
        self.tally.span_ns = Some((begin.min(at), end.max(at)));
        let Some(host) = host_of(head).filter(|host| **host != *self.last_host) else { return };
        let hosts = &mut self.tally.hosts;
        if !hosts.contains(&*host) {
            if hosts.len() >= TALLY_HOSTS_MAX {
                self.tally.hosts_more = true;
                return;
            }
            hosts.insert(host.to_string());
        }
        self.last_host.clear();
        self.last_host.push_str(&host);
    }
}

#[cfg(test)]
mod tests;
