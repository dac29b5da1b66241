//! Tells whole sealed files from torn ones without decoding them.
//! A sealed file -> whether its head and its end are there.
//! Invariant: a whole file looks whole, whoever made it; a few reads are enough.
//! Leaves out: damage in the middle (`verify`).

use std::io;

use super::bytes::{Bytes, ReadAt, Whole};
use super::limits::HOPS_MAX;
use super::{bzip2, gzip, xz, zstd};
use crate::config::checked::Format;

/// Are the head and, where the format says where it is, the end of a sealed
/// file there? Of a gzip file that somebody else made only the head can be
/// looked at.
///
/// # Errors
/// What the system says.
pub fn looks_whole<F: ReadAt + ?Sized>(sealed: &F, format: Format) -> io::Result<bool> {
    let whole = Whole(sealed);
    let file = Bytes::new(&whole)?;
    match format {
        Format::Xz => xz::looks_whole(file),
        Format::Gzip => gzip::looks_whole(file, HOPS_MAX),
        Format::Bzip2 => bzip2::looks_whole(file),
        Format::Zstd => zstd::looks_whole(file),
    }
}
