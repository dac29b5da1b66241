//! Members of a gzip file that say how long they are.
//! Lines -> a whole member; a file -> its members.
//! Invariant: each member stands alone, and can be hopped over without inflating it.
//! Leaves out: files, and other people's members.
//!
//! A member (RFC 1952), all numbers little-endian:
//!
//! ```text
//!  0  10  1f 8b 8, flags 4 (extra field), time 0, 0, system 255 (unknown)
//! 10   2  length of the extra field: 8
//! 12   4  'L' 'H', length 4
//! 16   4  length of the whole member
//! 20   n  deflate
//!      4  CRC32 of the plain bytes
//!      4  their number
//! ```

use std::io;

use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};

use super::bytes::Bytes;
use super::decode::Step;
use super::limits::{BLOCK_BYTES_MAX, SLICE_BYTES};
use super::press::{Unpressed, feed};
use super::verify::{Next, Piece};

const HEAD: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 8, 0, b'L', b'H', 4, 0];
/// Before the deflated bytes.
pub(super) const HEAD_BYTES: usize = 20;
const TAIL_BYTES: usize = 8;

/// Makes members, with one state for all of them.
#[derive(Debug)]
pub struct Press {
    deflate: Compress,
}

impl Press {
    /// With a level from 0, fast, to 9, small.
    #[must_use]
    pub fn new(level: u32) -> Press {
        Press { deflate: Compress::new(Compression::new(level.min(9)), false) }
    }

    /// Appends one whole member.
    pub(super) fn member(
        &mut self,
        lines: &[u8],
        go_on: &dyn Fn() -> bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Unpressed> {
        let start = out.len();
        out.extend(HEAD);
        out.extend([0; 4]);
        self.deflate.reset();
        let mut crc = Crc::new();
        feed(lines, out, go_on, |slice, out, is_all| {
            let before = self.deflate.total_in();
            let flush = if is_all { FlushCompress::Finish } else { FlushCompress::None };
            let status = self
                .deflate
                .compress_vec(slice, out, flush)
                .map_err(|_| Unpressed::Failed("deflate refuses to compress"))?;
            let step = Step::new(before, self.deflate.total_in(), status == Status::StreamEnd);
            crc.update(slice.get(..step.taken).unwrap_or_default());
            Ok(step)
        })?;
        out.extend(crc.sum().to_le_bytes());
        // The number of bytes modulo 2^32, says the RFC.
        out.extend((lines.len() as u64).to_le_bytes().iter().take(4));
        let bytes = u32::try_from(out.len() - start)
            .map_err(|_| Unpressed::Failed("a gzip member of more than 4 GiB"))?;
        let place = out.get_mut(start + HEAD.len()..).and_then(|rest| rest.first_chunk_mut());
        if let Some(place) = place {
            *place = bytes.to_le_bytes();
        }
        Ok(())
    }
}

/// How long the member is that begins so, as far as it is one of ours.
pub(super) fn member_bytes(head: &[u8; HEAD_BYTES]) -> Option<u64> {
    let bytes = u64::from(u32::from_le_bytes(*head.strip_prefix(&HEAD)?.first_chunk()?));
    (bytes >= (HEAD_BYTES + TAIL_BYTES) as u64).then_some(bytes)
}

/// The member at that place, as far as it is one of ours.
pub(super) fn next(file: Bytes<'_>, at: u64) -> io::Result<Next> {
    if at == file.end && at > 0 {
        return Ok(Next::End);
    }
    let Some(bytes) = file.array(at)?.as_ref().and_then(member_bytes) else {
        return Ok(Next::Odd);
    };
    let plain_bytes = match file.has(at, bytes) {
        true => file.array(at + bytes - 4)?.map(u32::from_le_bytes),
        false => None,
    };
    let fits = |bytes: &usize| *bytes <= BLOCK_BYTES_MAX + BLOCK_BYTES_MAX / 64;
    let sealed_bytes = usize::try_from(bytes).ok().filter(fits);
    let plain_bytes = plain_bytes.and_then(|bytes| usize::try_from(bytes).ok()).filter(fits);
    Ok(match (sealed_bytes, plain_bytes) {
        (Some(sealed_bytes), Some(plain_bytes)) => {
            Next::Piece(Piece { at, sealed_bytes, plain_bytes })
        }
        _ => Next::Odd,
    })
}

/// Inflates members of ours to see whether they are whole.
#[derive(Debug)]
pub(super) struct Check {
    inflate: Decompress,
    plain: Vec<u8>,
}

impl Check {
    pub(super) fn new() -> Check {
        Check { inflate: Decompress::new(false), plain: Vec::with_capacity(SLICE_BYTES) }
    }

    /// Is the member of so many bytes at that place whole?
    pub(super) fn is_whole(&mut self, file: Bytes<'_>, at: u64, bytes: u64) -> io::Result<bool> {
        self.inflate.reset(false);
        let mut crc = Crc::new();
        let mut buffer = [0; 16 << 10];
        let (mut from, end) = (at + HEAD_BYTES as u64, at + bytes - TAIL_BYTES as u64);
        loop {
            let left = usize::try_from(end - from).unwrap_or(usize::MAX).min(buffer.len());
            let sealed = file.some(from, buffer.get_mut(..left).unwrap_or_default())?;
            self.plain.clear();
            let before = self.inflate.total_in();
            let Ok(status) =
                self.inflate.decompress_vec(sealed, &mut self.plain, FlushDecompress::None)
            else {
                return Ok(false);
            };
            let taken = self.inflate.total_in() - before;
            from += taken;
            crc.update(&self.plain);
            if status == Status::StreamEnd {
                break;
            }
            if taken == 0 && self.plain.is_empty() {
                return Ok(false);
            }
        }
        let Some(tail) = file.array::<TAIL_BYTES>(end)? else { return Ok(false) };
        let said = tail.first_chunk().map(|crc| u32::from_le_bytes(*crc));
        let plain_bytes = self.inflate.total_out().to_le_bytes();
        Ok(from == end && said == Some(crc.sum()) && tail.get(4..) == plain_bytes.get(..4))
    }
}

/// Hops over members of ours, to the end of the file or as often as may be;
/// of others only the head is looked at.
pub(super) fn looks_whole(file: Bytes<'_>, hops_max: usize) -> io::Result<bool> {
    let mut at = 0;
    for _ in 0..hops_max {
        let Some(head) = file.array::<18>(at)? else { return Ok(false) };
        if !head.starts_with(&[0x1f, 0x8b, 8]) {
            return Ok(false);
        }
        let Some(bytes) = file.array(at)?.as_ref().and_then(member_bytes) else {
            return Ok(!head.starts_with(&HEAD));
        };
        if !file.has(at, bytes) {
            return Ok(false);
        }
        at += bytes;
        if at == file.end {
            return Ok(true);
        }
    }
    Ok(true)
}
