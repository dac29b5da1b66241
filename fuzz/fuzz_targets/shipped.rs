//! Reads arbitrary bytes as a log file that is shipped.
//! Bytes, cut at any place -> messages, and a record of each.
//! Invariant: nothing is lost between messages, whatever the cut; times grow, but for a
//! clock that was wrong by more than a day; reading again gives the same.
//! Leaves out: files and targets.

#![no_main]

use std::path::Path;
use std::sync::{Arc, OnceLock};

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use loghogd::config::{Facility, read_facilities};
use loghogd::pipeline::ship::{Record, RecordReader, Splitter};

/// How far times may go back, in nanoseconds.
const DAY_NS: i64 = 86_400_000_000_000;

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, bytes)) = bytes.split_first() else { return };
    let cut = usize::from(cut) * bytes.len() / 256;
    let whole = read(bytes, RecordReader::new(zone(), 0), true).0;
    let (mut parts, taken, reader) = read(&bytes[..cut], RecordReader::new(zone(), 0), false);
    let (rest, ..) = read(&bytes[taken..], RecordReader::new(zone(), reader.last_ns()), true);
    parts.extend(rest);
    assert_eq!(
        parts.iter().map(|(_, line, _)| line.as_slice()).collect::<Vec<_>>().concat(),
        bytes
    );
    assert_eq!(parts.len(), whole.len());
    for pair in whole.windows(2) {
        let ((before, ..), (after, ..)) = (&pair[0], &pair[1]);
        assert!(
            after > before || before.saturating_sub(*after) >= DAY_NS,
            "{before} and then {after}"
        );
    }
});

type Read = (i64, Vec<u8>, String);

fn read(bytes: &[u8], mut reader: RecordReader, ended: bool) -> (Vec<Read>, usize, RecordReader) {
    let mut splitter = Splitter::new(bytes, ended);
    let mut all = Vec::new();
    for message in splitter.by_ref() {
        let message = &bytes[message.begin..message.end];
        let times = reader.times(message);
        let record = Record::read(message, facility(), times);
        all.push((times.unique_ns, message.to_vec(), record.body.into_owned()));
    }
    let taken = splitter.taken();
    (all, taken, reader)
}

fn zone() -> TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    ZONE.get_or_init(|| TimeZone::get("Europe/Paris").expect("a zone that there is")).clone()
}

fn facility() -> &'static Facility {
    static FACILITY: OnceLock<Arc<Facility>> = OnceLock::new();
    FACILITY.get_or_init(|| {
        let text = b"[app]\nrotate = daily\nbackup_count = 1\n";
        let table = read_facilities(text, Path::new("facilities.conf")).expect("right");
        Arc::clone(table.find("app", "").expect("it is there"))
    })
}
