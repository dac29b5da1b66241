//! Streams of a bzip2 file.
//! Plain bytes -> a whole stream; a file -> its streams.
//! Invariant: each stream begins at a byte, with a magic number that no stream has in its middle.
//! Leaves out: files.
//!
//! A stream: "BZh", level as a digit, blocks, end. A block begins with the
//! first digits of pi, in hexadecimal; the end are those of its square root,
//! a CRC32, and up to 7 bits to fill the last byte.

use std::io;

use bzip2::{Action, Compress, Compression, Status};
use memchr::memmem;

use super::bytes::Bytes;
use super::decode::Step;
use super::limits::{BLOCK_BYTES, BZIP2_PIECE_BYTES_MAX, SLICE_BYTES};
use super::press::{Unpressed, feed, room_for};
use super::verify::{Next, Piece};

const MAGIC: &[u8; 3] = b"BZh";
const BLOCK_MAGIC: [u8; 6] = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
const END_MAGIC: u64 = 0x1772_4538_5090;
const HEAD_BYTES: usize = 10;
/// The library's unit, in bytes for each level.
const UNIT_BYTES: usize = 100_000;
/// What a unit has less room for: the library keeps some back, and runs of
/// equal bytes are written out with their length first.
const UNIT_MARGIN: usize = 1000;

/// Whole units of the level, about as long together as other blocks.
pub(super) fn block_bytes(level: u32) -> usize {
    let unit = UNIT_BYTES * usize::try_from(level.clamp(1, 9)).unwrap_or(1);
    let units = (BLOCK_BYTES + unit / 2) / unit;
    units.max(1) * (unit - UNIT_MARGIN)
}

/// Compresses one block.
pub(super) fn press(
    level: u32,
    plain: &[u8],
    go_on: &dyn Fn() -> bool,
) -> Result<Vec<u8>, Unpressed> {
    let mut compress = Compress::new(Compression::new(level.clamp(1, 9)), 0);
    let mut sealed = room_for(plain);
    feed(plain, &mut sealed, go_on, |slice, sealed, is_all| {
        let before = compress.total_in();
        let action = if is_all { Action::Finish } else { Action::Run };
        let status = compress
            .compress_vec(slice, sealed, action)
            .map_err(|_| Unpressed::Failed("bzip2 refuses to compress"))?;
        Ok(Step::new(before, compress.total_in(), status == Status::StreamEnd))
    })?;
    Ok(sealed)
}

/// The stream at that place: up to where the next one begins.
pub(super) fn next(file: Bytes<'_>, at: u64) -> io::Result<Next> {
    if at == file.end && at > 0 {
        return Ok(Next::End);
    }
    let mut buffer = vec![0; SLICE_BYTES];
    // Behind the first byte of this stream's own magic.
    let mut from = at + 1;
    let sealed_bytes = loop {
        if from - at > BZIP2_PIECE_BYTES_MAX as u64 {
            return Ok(Next::Odd);
        }
        let here = file.some(from, &mut buffer)?;
        if let Some(place) = find(here) {
            break from + place as u64 - at;
        }
        if from + here.len() as u64 >= file.end {
            break file.end.saturating_sub(at);
        }
        from += (here.len() - (HEAD_BYTES - 1)) as u64;
    };
    let sealed_bytes = usize::try_from(sealed_bytes).unwrap_or(usize::MAX);
    if sealed_bytes > BZIP2_PIECE_BYTES_MAX {
        return Ok(Next::Odd);
    }
    Ok(Next::Piece(Piece { at, sealed_bytes, plain_bytes: BZIP2_PIECE_BYTES_MAX }))
}

/// Where a stream with a block begins.
fn find(bytes: &[u8]) -> Option<usize> {
    memmem::find_iter(bytes, MAGIC).find(|&place| {
        bytes.get(place..place + HEAD_BYTES).is_some_and(|head| {
            matches!(head.get(3), Some(b'1'..=b'9')) && head.get(4..) == Some(&BLOCK_MAGIC)
        })
    })
}

/// Does it begin as a stream, and end as one?
pub(super) fn looks_whole(file: Bytes<'_>) -> io::Result<bool> {
    let Some(head) = file.array::<HEAD_BYTES>(0)? else { return Ok(false) };
    let is_head = head.starts_with(MAGIC) && matches!(head.get(3), Some(b'1'..=b'9'));
    let behind = head.get(4..).unwrap_or_default();
    let is_empty = behind == END_MAGIC.to_be_bytes().get(2..).unwrap_or_default();
    if !is_head || !(behind == BLOCK_MAGIC || is_empty) {
        return Ok(false);
    }
    // Magic, CRC32, and the bits that fill the last byte.
    let Some(tail) = file.end.checked_sub(11).map(|at| file.array::<11>(at)).transpose()? else {
        return Ok(false);
    };
    let bits =
        tail.unwrap_or_default().iter().fold(0_u128, |bits, &byte| bits << 8 | u128::from(byte));
    Ok((0..8).any(|fill| bits >> (fill + 32) & 0xffff_ffff_ffff == u128::from(END_MAGIC)))
}
