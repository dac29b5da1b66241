//! Decodes the four formats, whoever wrote them.
//! Compressed bytes -> plain bytes.
//! Invariant: damaged bytes are an error, and memory is bounded whatever they say.
//! Leaves out: where the bytes come from, and finding pieces to decode at once.

use std::io;

use bzip2::Decompress as Bunzip;
use flate2::{Decompress as Gunzip, FlushDecompress};
use xz2::stream::{Action, CONCATENATED, Stream as Unxz};
use zstd_safe::{DCtx as Unzstd, DParameter, InBuffer, OutBuffer};

use super::bytes::Bytes;
use super::limits::{
    BLOCK_BYTES_MAX, FOREIGN_DECODER_BYTES_MAX, FOREIGN_ZSTD_WINDOW_LOG_MAX, SLICE_BYTES,
};
use crate::config::checked::Format;

/// Why bytes cannot be decoded.
#[derive(Debug)]
pub(super) enum Flaw {
    /// They are not what they should be.
    Damaged,
    /// They need more memory than there may be.
    NeedsMemory,
    /// They become more than the caller wants to hold.
    TooLong,
}

/// A decoder for one stream, member or frame; for xz, for all in the file.
pub(super) enum Decoder {
    Xz(Unxz),
    Gzip(Gunzip),
    Bzip2(Bunzip),
    Zstd(Unzstd<'static>),
}

/// What a step of an encoder or a decoder has done.
pub(super) struct Step {
    /// Bytes that were taken.
    pub(super) taken: usize,
    /// What was made or read has come to its end.
    pub(super) ended: bool,
}

impl Step {
    /// From what the library says that it has taken in all, before and after.
    pub(super) fn new(before: u64, after: u64, ended: bool) -> Step {
        let taken = usize::try_from(after.saturating_sub(before)).unwrap_or(usize::MAX);
        Step { taken, ended }
    }
}

impl Decoder {
    pub(super) fn new(format: Format) -> Result<Decoder, Flaw> {
        Ok(match format {
            Format::Xz => Decoder::Xz(
                Unxz::new_stream_decoder(FOREIGN_DECODER_BYTES_MAX as u64, CONCATENATED)
                    .map_err(xz_flaw)?,
            ),
            Format::Gzip => Decoder::Gzip(Gunzip::new_gzip(15)),
            Format::Bzip2 => Decoder::Bzip2(Bunzip::new(false)),
            Format::Zstd => {
                let mut unzstd = Unzstd::try_create().ok_or(Flaw::NeedsMemory)?;
                let window = DParameter::WindowLogMax(FOREIGN_ZSTD_WINDOW_LOG_MAX);
                unzstd.set_parameter(window).map_err(zstd_flaw)?;
                Decoder::Zstd(unzstd)
            }
        })
    }

    /// Decodes into the room that `plain` has. `is_all` when nothing comes
    /// behind `sealed`.
    pub(super) fn step(
        &mut self,
        sealed: &[u8],
        plain: &mut Vec<u8>,
        is_all: bool,
    ) -> Result<Step, Flaw> {
        match self {
            Decoder::Xz(unxz) => {
                let before = unxz.total_in();
                let action = if is_all { Action::Finish } else { Action::Run };
                let status = unxz.process_vec(sealed, plain, action).map_err(xz_flaw)?;
                let ended = status == xz2::stream::Status::StreamEnd;
                Ok(Step::new(before, unxz.total_in(), ended))
            }
            Decoder::Gzip(gunzip) => {
                let before = gunzip.total_in();
                let status = gunzip.decompress_vec(sealed, plain, FlushDecompress::None);
                let ended = status.map_err(|_| Flaw::Damaged)? == flate2::Status::StreamEnd;
                Ok(Step::new(before, gunzip.total_in(), ended))
            }
            Decoder::Bzip2(bunzip) => {
                let before = bunzip.total_in();
                let status = bunzip.decompress_vec(sealed, plain).map_err(|_| Flaw::Damaged)?;
                if status == bzip2::Status::MemNeeded {
                    return Err(Flaw::NeedsMemory);
                }
                let ended = status == bzip2::Status::StreamEnd;
                Ok(Step::new(before, bunzip.total_in(), ended))
            }
            Decoder::Zstd(unzstd) => {
                let mut input = InBuffer::around(sealed);
                let place = plain.len();
                let mut output = OutBuffer::around_pos(plain, place);
                let left = unzstd.decompress_stream(&mut output, &mut input).map_err(zstd_flaw)?;
                Ok(Step { taken: input.pos(), ended: left == 0 })
            }
        }
    }
}

/// Decodes pieces that together are one stream, member or frame and nothing
/// else.
pub(super) fn whole(
    format: Format,
    pieces: &[&[u8]],
    plain_bytes_max: usize,
) -> Result<Vec<u8>, Flaw> {
    let mut decoder = Decoder::new(format)?;
    let mut plain = Vec::new();
    // One byte more, so that there is always room to come to the end in.
    plain.reserve_exact(plain_bytes_max.min(BLOCK_BYTES_MAX) + 1);
    let mut pieces = pieces.iter();
    let mut sealed: &[u8] = &[];
    loop {
        while sealed.is_empty() {
            match pieces.next() {
                Some(piece) => sealed = piece,
                None => break,
            }
        }
        let before = plain.len();
        let is_all = pieces.as_slice().is_empty();
        let step = decoder.step(sealed, &mut plain, is_all)?;
        sealed = sealed.get(step.taken..).unwrap_or_default();
        if plain.len() > plain_bytes_max {
            return Err(Flaw::TooLong);
        }
        if step.ended {
            let is_all = sealed.is_empty() && pieces.all(|piece| piece.is_empty());
            return if is_all { Ok(plain) } else { Err(Flaw::Damaged) };
        }
        if step.taken == 0 && plain.len() == before {
            return Err(Flaw::Damaged);
        }
    }
}

/// Why a file cannot be decoded to its end.
pub(super) enum Trouble {
    Read(io::Error),
    Flaw(Flaw),
    Stopped,
}

/// Decodes a whole file of any number of streams, members or frames with
/// nothing behind them, and hands out its plain bytes piece by piece.
pub(super) fn file(
    format: Format,
    file: Bytes<'_>,
    go_on: &dyn Fn() -> bool,
    take: &mut dyn FnMut(&[u8]),
) -> Result<(), Trouble> {
    let mut reader = Reader::new(file, 0);
    let mut plain = Vec::with_capacity(4 * SLICE_BYTES);
    let mut decoder = Decoder::new(format).map_err(Trouble::Flaw)?;
    loop {
        if !go_on() {
            return Err(Trouble::Stopped);
        }
        let (sealed, is_all) = reader.rest().map_err(Trouble::Read)?;
        let step = decoder.step(sealed, &mut plain, is_all).map_err(Trouble::Flaw)?;
        let stands_still = step.taken == 0 && plain.is_empty();
        reader.take(step.taken);
        take(&plain);
        plain.clear();
        match step.ended {
            true if reader.is_at_end() => return Ok(()),
            true => decoder = Decoder::new(format).map_err(Trouble::Flaw)?,
            false if stands_still => return Err(Trouble::Flaw(Flaw::Damaged)),
            false => {}
        }
    }
}

/// Reads a file from some place to its end.
pub(super) struct Reader<'a> {
    file: Bytes<'a>,
    /// Where `buffer` begins.
    at: u64,
    buffer: Vec<u8>,
    filled: usize,
    taken: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: Bytes<'a>, at: u64) -> Reader<'a> {
        Reader { file, at, buffer: Vec::new(), filled: 0, taken: 0 }
    }

    /// What comes next, as far as it has been read, and whether that is all.
    pub(super) fn rest(&mut self) -> io::Result<(&[u8], bool)> {
        if self.taken == self.filled {
            self.at += self.filled as u64;
            self.buffer.resize(SLICE_BYTES, 0);
            self.taken = 0;
            self.filled = self.file.some(self.at, &mut self.buffer)?.len();
        }
        let is_all = self.at + self.filled as u64 >= self.file.end;
        Ok((self.buffer.get(self.taken..self.filled).unwrap_or_default(), is_all))
    }

    pub(super) fn take(&mut self, bytes: usize) {
        self.taken = (self.taken + bytes).min(self.filled);
    }

    /// Where what comes next stands in the file.
    pub(super) fn place(&self) -> u64 {
        self.at + self.taken as u64
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.place() >= self.file.end
    }
}

fn xz_flaw(error: xz2::stream::Error) -> Flaw {
    match error {
        xz2::stream::Error::MemLimit | xz2::stream::Error::Mem => Flaw::NeedsMemory,
        _ => Flaw::Damaged,
    }
}

/// Error codes are small negative numbers (zstd_errors.h, which keeps them).
fn zstd_flaw(code: zstd_safe::ErrorCode) -> Flaw {
    const WINDOW_TOO_LARGE: usize = 16;
    const NO_MEMORY: usize = 64;
    match code.wrapping_neg() {
        WINDOW_TOO_LARGE | NO_MEMORY => Flaw::NeedsMemory,
        _ => Flaw::Damaged,
    }
}
