//! What the fuzz targets reach of the spool; only there with `--cfg fuzzing`.
//! Bytes of a file -> the entries that are read from it; entries -> the same bytes.
//! Invariant: nothing is decided here.
//! Leaves out: folders, and which file comes next.

#![allow(missing_docs, clippy::expect_used, reason = "no part of the library")]

use std::fs::File;
use std::io::Write as _;

use nix::sys::memfd::{MFdFlags, memfd_create};
use wire::v2::batch::{Field, Record};

use crate::spool::{FileReader, put_entry};

/// Entries as they are read, each with its number, and how many bytes of the
/// file are whole.
pub fn read_file(bytes: &[u8], file_first: u64, run_bytes: usize) -> (Vec<(u64, Vec<u8>)>, u64) {
    let mut file = File::from(memfd_create("spool", MFdFlags::empty()).expect("memory"));
    file.write_all(bytes).expect("memory takes it");
    let mut reader = FileReader::new(file, file_first);
    let (mut entries, mut after) = (Vec::new(), 0);
    let limit = bytes.len() as u64;
    while let Some(run) = reader.read(after, limit, run_bytes).expect("memory can be read") {
        for (number, record) in (run.first..).zip(run.records.iter()) {
            entries.push((number, record.to_vec()));
        }
        after = run.end().saturating_sub(1);
    }
    (entries, reader.offset())
}

/// An entry as it is written.
pub fn put(out: &mut Vec<u8>, number: u64, record: &[u8]) {
    put_entry(out, number, record);
}

/// What a record says; none: it is not one.
pub fn decode<'a>(bytes: &'a [u8], fields: &mut Vec<Field<'a>>) -> Option<(Record<'a>, bool)> {
    crate::record::decode(bytes, fields)
}

/// The record again.
pub fn encode(record: &Record<'_>, is_bare: bool, out: &mut Vec<u8>) -> bool {
    crate::record::encode(record, is_bare, out)
}
