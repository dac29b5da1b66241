//! Reads all messages of a segment.
//! A sealed segment -> one record after another, and what the index says of them.
//! Invariant: the same segment gives the same; memory is that of the longest message.
//! Leaves out: what is done with a record (`recode`).

use std::collections::BTreeSet;
use std::io::{self, Read};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::limits::{HOSTS_MAX, READ_BYTES};
use crate::disk;
use crate::pipeline::seal::Lines;
use crate::pipeline::ship::{Record, RecordReader, Scope, Splitter, Trouble, Whole};

/// What is in a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) lines: u64,
    /// When nothing is compressed.
    pub(super) bytes: u64,
    /// The earliest and the latest message, in nanoseconds; none without any.
    pub(super) span_ns: Option<(i64, i64)>,
    pub(super) hosts: BTreeSet<String>,
    /// There are others.
    pub(super) hosts_more: bool,
}

/// Hands out every record, until it is time to stop.
pub(super) fn each(
    whole: &Whole<'_>,
    zone: &TimeZone,
    go_on: &dyn Fn() -> bool,
    take: &mut dyn FnMut(&Record<'_>) -> io::Result<()>,
) -> Result<Summary, Trouble> {
    let cannot = |error: io::Error| cannot_read(whole, &error);
    let file = whole.open().map_err(cannot)?;
    let mut lines = Lines::open(file, whole.segment.format).map_err(cannot)?;
    let mut reader = RecordReader::new(zone.clone(), 0);
    let mut summary = Summary::default();
    let mut buffer: Vec<u8> = Vec::with_capacity(2 * READ_BYTES);
    loop {
        if !go_on() {
            return Err(Trouble::Ended);
        }
        let before = buffer.len();
        let read = (&mut lines).take(READ_BYTES as u64).read_to_end(&mut buffer).map_err(cannot)?;
        summary.bytes += read as u64;
        let is_all = buffer.len() == before;
        let mut splitter = Splitter::new(&buffer, is_all);
        for message in splitter.by_ref() {
            let bytes = buffer.get(message.begin..message.end).unwrap_or_default();
            let record = Record::read(bytes, &whole.facility, reader.times(bytes));
            summary.count(&record);
            take(&record).map_err(|error| {
                Trouble::later(format!(
                    "cannot write a temporary file: {error}; {}",
                    disk::remedy(&error)
                ))
            })?;
        }
        let taken = splitter.taken();
        buffer.drain(..taken);
        if is_all {
            return Ok(summary);
        }
    }
}

impl Summary {
    fn count(&mut self, record: &Record<'_>) {
        self.lines += 1;
        let at = record.times.received_ns;
        let (begin, end) = self.span_ns.unwrap_or((at, at));
        self.span_ns = Some((begin.min(at), end.max(at)));
        if record.host.is_empty() || self.hosts.contains(&*record.host) {
            return;
        }
        if self.hosts.len() < HOSTS_MAX {
            self.hosts.insert(record.host.to_string());
        } else {
            self.hosts_more = true;
        }
    }

    /// From when to when; what has no messages lasts no time.
    pub(super) fn span(&self, otherwise: Timestamp) -> (Timestamp, Timestamp) {
        let instant = |nanos: i64| Timestamp::from_nanosecond(nanos.into()).unwrap_or(otherwise);
        self.span_ns.map_or((otherwise, otherwise), |(begin, end)| (instant(begin), instant(end)))
    }
}

/// Why a segment cannot be read.
pub(super) fn cannot_read(whole: &Whole<'_>, error: &io::Error) -> Trouble {
    let path = whole.disk.path().join(&*whole.stream.app).join(whole.segment.to_string());
    let what = format!("{} cannot be read: {error}", path.display());
    if error.kind() == io::ErrorKind::InvalidData {
        return Trouble::Stop {
            scope: Scope::Stream(whole.stream.clone()),
            what,
            remedy: "see what of it can be saved, move it away".to_owned(),
        };
    }
    Trouble::later(format!("{what}; {}", disk::remedy(error)))
}
