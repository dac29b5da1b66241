//! One record in a file of the spool.
//! Number and record -> bytes; bytes -> the same, or that they are torn.
//! Invariant: what was not wholly written, or was altered, never comes out.
//! Leaves out: files and folders.
//!
//! ```text
//! 0        4        8                 16
//! | length | crc32  | number          | record: `length` bytes, never 0 |
//! ```
//!
//! Little-endian; the checksum is over all that stands behind it.

use flate2::Crc;

use crate::limits::RECORD_BYTES_MAX;

/// Bytes around a record.
pub(crate) const HEADER_BYTES: usize = 16;

/// What bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    Entry {
        number: u64,
        record: &'a [u8],
    },
    /// A part of an entry; it has so many bytes in all.
    More {
        bytes: usize,
    },
    Torn,
}

pub(crate) fn put(out: &mut Vec<u8>, number: u64, record: &[u8]) {
    // A record is at most `RECORD_BYTES_MAX` long.
    let length = u32::try_from(record.len()).unwrap_or(0);
    out.reserve(HEADER_BYTES + record.len());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum(number, record).to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(record);
}

pub(super) fn next(bytes: &[u8]) -> Next<'_> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Next::More { bytes: HEADER_BYTES };
    };
    let [l0, l1, l2, l3, c0, c1, c2, c3, n0, n1, n2, n3, n4, n5, n6, n7] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length == 0 || length > RECORD_BYTES_MAX {
        return Next::Torn;
    }
    let Some(record) = rest.get(..length) else {
        return Next::More { bytes: HEADER_BYTES + length };
    };
    let number = u64::from_le_bytes([n0, n1, n2, n3, n4, n5, n6, n7]);
    let is_number = (1..=super::NUMBER_MAX).contains(&number);
    if !is_number || checksum(number, record) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Next::Torn;
    }
    Next::Entry { number, record }
}

fn checksum(number: u64, record: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(&number.to_le_bytes());
    crc.update(record);
    crc.sum()
}
