//! Frames of a zstd file.
//! Plain bytes -> a whole frame; a file -> its frames.
//! Invariant: each frame says how long its text is, and has a checksum.
//! Leaves out: files.
//!
//! A frame (RFC 8878, section 3.1.1), all numbers little-endian:
//!
//! ```text
//!  4    magic fd2fb528
//!  1    descriptor: bits 7-6 length of the text's size, 5 single segment,
//!       2 checksum, 1-0 length of the dictionary's id
//!  0-1  window, unless single segment
//!  0-4  the dictionary's id
//!  0-8  the text's size
//!  n    blocks: 3 bytes (bit 0 last, 1-2 type, 3-23 size), and their bytes
//!  0-4  checksum
//! ```

use std::io;

use zstd_safe::zstd_sys::ZSTD_EndDirective::{ZSTD_e_continue, ZSTD_e_end};
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective};

use super::bytes::Bytes;
use super::decode::Step;
use super::limits::{BLOCK_BYTES_MAX, HOPS_MAX, ZSTD_WINDOW_LOG};
use super::press::{Unpressed, feed, room_for};
use super::verify::{Next, Piece};

const MAGIC: u32 = 0xfd2f_b528;
/// Frames that decoders skip have one of sixteen.
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;

/// zstd's own levels for ours, so that 6 stands about where gzip's and xz's
/// stand among theirs: as small as can be had without waiting long.
const LEVELS: [i32; 10] = [1, 2, 3, 5, 7, 9, 12, 15, 17, 19];

/// An encoder for one frame after the other.
pub(super) struct Press {
    context: CCtx<'static>,
}

impl Press {
    /// None when there is no memory.
    pub(super) fn new(level: u32) -> Option<Press> {
        let mut context = CCtx::try_create()?;
        let level = usize::try_from(level).ok().and_then(|level| LEVELS.get(level)).unwrap_or(&19);
        for parameter in [
            CParameter::CompressionLevel(*level),
            CParameter::WindowLog(ZSTD_WINDOW_LOG),
            // The memory of an encoder: 4 bytes for each entry.
            CParameter::HashLog(ZSTD_WINDOW_LOG.min(if *level < 5 { 17 } else { 19 })),
            CParameter::ChainLog(if *level < 5 { 16 } else { 19 }),
            CParameter::ContentSizeFlag(true),
            CParameter::ChecksumFlag(true),
        ] {
            context.set_parameter(parameter).ok()?;
        }
        Some(Press { context })
    }

    /// Compresses one block.
    pub(super) fn frame(
        &mut self,
        plain: &[u8],
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<u8>, Unpressed> {
        self.context.reset(ResetDirective::SessionOnly).map_err(unpressed)?;
        self.context.set_pledged_src_size(Some(plain.len() as u64)).map_err(unpressed)?;
        let mut sealed = room_for(plain);
        feed(plain, &mut sealed, go_on, |slice, sealed, is_all| {
            let directive = if is_all { ZSTD_e_end } else { ZSTD_e_continue };
            let mut input = InBuffer::around(slice);
            let place = sealed.len();
            let mut output = OutBuffer::around_pos(sealed, place);
            let left = self
                .context
                .compress_stream2(&mut output, &mut input, directive)
                .map_err(unpressed)?;
            Ok(Step { taken: input.pos(), ended: is_all && left == 0 })
        })?;
        Ok(sealed)
    }
}

/// The frame at that place, as far as it says how long its text is.
pub(super) fn next(file: Bytes<'_>, at: u64) -> io::Result<Next> {
    if at == file.end && at > 0 {
        return Ok(Next::End);
    }
    let mut hops = HOPS_MAX;
    let Some(frame) = frame(file, at, &mut hops)? else { return Ok(Next::Odd) };
    let fits = |bytes: &usize| *bytes <= BLOCK_BYTES_MAX + BLOCK_BYTES_MAX / 64;
    let sealed_bytes = usize::try_from(frame.end - at).ok().filter(fits);
    let plain_bytes = frame.plain_bytes.and_then(|bytes| usize::try_from(bytes).ok()).filter(fits);
    Ok(match (sealed_bytes, plain_bytes) {
        (Some(sealed_bytes), Some(plain_bytes)) => {
            Next::Piece(Piece { at, sealed_bytes, plain_bytes })
        }
        _ => Next::Odd,
    })
}

/// Hops from frame to frame, and from block to block, to the end of the file.
pub(super) fn looks_whole(file: Bytes<'_>) -> io::Result<bool> {
    let mut hops = HOPS_MAX;
    let mut at = 0;
    while at < file.end || at == 0 {
        match frame(file, at, &mut hops)? {
            Some(frame) => at = frame.end,
            None => return Ok(hops == 0),
        }
    }
    Ok(true)
}

struct Frame {
    end: u64,
    plain_bytes: Option<u64>,
}

/// The frame at that place; none when it is none, or has too many blocks.
fn frame(file: Bytes<'_>, at: u64, hops: &mut usize) -> io::Result<Option<Frame>> {
    let mut buffer = [0; 18];
    let head = file.some(at, &mut buffer)?;
    let Some((&magic, head)) = head.split_first_chunk::<4>() else { return Ok(None) };
    let magic = u32::from_le_bytes(magic);
    if magic & !0xf == SKIPPABLE_MAGIC {
        let bytes = head.first_chunk().map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes));
        let end = at + 8 + u64::from(bytes);
        let next = (end <= file.end && *hops > 0).then_some(Frame { end, plain_bytes: None });
        *hops = hops.saturating_sub(1);
        return Ok(next);
    }
    let Some((header_bytes, plain_bytes, has_checksum)) = header(head) else { return Ok(None) };
    if magic != MAGIC {
        return Ok(None);
    }
    let mut at = at + 4 + header_bytes;
    loop {
        let Some([low, middle, high]) = file.array(at)? else { return Ok(None) };
        if *hops == 0 {
            return Ok(None);
        }
        *hops -= 1;
        let block = u64::from(u32::from_le_bytes([low, middle, high, 0]));
        // A block of type 1 is a single byte, repeated.
        at += 3 + if block >> 1 & 3 == 1 { 1 } else { block >> 3 };
        if block & 1 == 1 {
            break;
        }
    }
    let end = at + if has_checksum { 4 } else { 0 };
    Ok((end <= file.end).then_some(Frame { end, plain_bytes }))
}

/// The length of what stands before the blocks, the text's, and whether there
/// is a checksum behind them.
fn header(head: &[u8]) -> Option<(u64, Option<u64>, bool)> {
    let (&descriptor, _) = head.split_first()?;
    let is_single = descriptor & 0x20 != 0;
    let window = usize::from(!is_single);
    let id = [0, 1, 2, 4].get(usize::from(descriptor & 3)).copied()?;
    let size = match descriptor >> 6 {
        0 => usize::from(is_single),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    let from = 1 + window + id;
    let digits = head.get(from..from + size)?;
    let number = digits.iter().rev().fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
    let plain_bytes = match size {
        0 => None,
        2 => Some(number + 256),
        _ => Some(number),
    };
    Some(((from + size) as u64, plain_bytes, descriptor & 4 != 0))
}

fn unpressed(_: zstd_safe::ErrorCode) -> Unpressed {
    Unpressed::Failed("zstd refuses to compress, or has no memory")
}
