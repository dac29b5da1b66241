//! Reads a sealed segment to its end.
//! A segment -> what is in it, and its records one after another where they are wanted.
//! Invariant: the same segment gives the same; memory is that of the longest message.
//! Leaves out: what is done with a record (`recode`); counting (`tally`).

use std::io::{self, Read};

use jiff::tz::TimeZone;

use super::limits::READ_BYTES;
use crate::disk;
use crate::pipeline::seal::Lines;
use crate::pipeline::ship::{Record, RecordReader, Scope, Splitter, Trouble, Whole};
use crate::pipeline::tally::{Counting, Tally};

/// Counts what is in it, until it is time to stop.
pub(super) fn count(
    whole: &Whole<'_>,
    zone: &TimeZone,
    go_on: &dyn Fn() -> bool,
) -> Result<Tally, Trouble> {
    let cannot = |error: io::Error| cannot_read(whole, &error);
    let file = whole.open().map_err(cannot)?;
    let mut lines = Lines::open(file, whole.segment.format).map_err(cannot)?;
    let mut counting = Counting::new(zone.clone());
    let mut slice = vec![0; READ_BYTES];
    while go_on() {
        match lines.read(&mut slice) {
            Ok(0) => return Ok(counting.finish()),
            Ok(read) => counting.add(slice.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(cannot(error)),
        }
    }
    Err(Trouble::Ended)
}

/// Hands out every record, until it is time to stop.
pub(super) fn each(
    whole: &Whole<'_>,
    zone: &TimeZone,
    go_on: &dyn Fn() -> bool,
    take: &mut dyn FnMut(&Record<'_>) -> io::Result<()>,
) -> Result<Tally, Trouble> {
    let cannot = |error: io::Error| cannot_read(whole, &error);
    let file = whole.open().map_err(cannot)?;
    let mut lines = Lines::open(file, whole.segment.format).map_err(cannot)?;
    let mut reader = RecordReader::new(zone.clone(), 0);
    let mut counting = Counting::new(zone.clone());
    let mut buffer: Vec<u8> = Vec::with_capacity(2 * READ_BYTES);
    loop {
        if !go_on() {
            return Err(Trouble::Ended);
        }
        let before = buffer.len();
        let read = (&mut lines).take(READ_BYTES as u64).read_to_end(&mut buffer).map_err(cannot)?;
        counting.add(buffer.get(before..).unwrap_or_default());
        let is_all = read == 0;
        let mut splitter = Splitter::new(&buffer, is_all);
        for message in splitter.by_ref() {
            let bytes = buffer.get(message.begin..message.end).unwrap_or_default();
            let record = Record::read(bytes, &whole.facility, reader.times(bytes));
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
            return Ok(counting.finish());
        }
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
