//! Reads a sealed file back.
//! A sealed file -> length and checksum of its text.
//! Invariant: a damaged, torn or prolonged file is an error; memory is bounded whatever it says.
//! Leaves out: comparing the answer with anything.
//!
//! Files of ours are made of pieces that say where they end, so they are
//! decoded on all cores. Whatever looks different anywhere, because somebody
//! else made it or because it is damaged, is read again from its beginning by
//! the libraries' own decoders, on one thread: they judge.

use std::io;
use std::thread;

use thiserror::Error;

use super::bytes::{Bytes, ReadAt, Whole};
use super::compress::{Compressor, Plain, Sum};
use super::crew::{Crew, Stop, Worker};
use super::decode::{self, Flaw, Trouble};
use super::limits;
use super::{bzip2, gzip, xz, zstd};
use crate::config::checked::Format;

/// Why a sealed file has no text that could be trusted.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The file cannot be decoded to its end.
    #[error("the file is damaged or torn")]
    Damaged,
    /// It may be in order; we do not try.
    #[error("decoding the file needs more memory than we take; see xz --list or zstd --list")]
    NeedsMemory,
    /// The disk.
    #[error("reading the file: {0}")]
    Read(#[source] io::Error),
    /// The daemon stops.
    #[error("stopped before the file was read back")]
    Stopped,
    /// A fault of ours.
    #[error("a thread that reads the file back is lost")]
    Lost,
}

impl Compressor {
    /// Decodes a whole file, whoever made it. Ends soon when `go_on` says no.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub fn verify<F: ReadAt + ?Sized>(
        &mut self,
        sealed: &F,
        format: Format,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Plain, VerifyError> {
        let whole = Whole(sealed);
        let file = Bytes::new(&whole).map_err(VerifyError::Read)?;
        let go_on = &|| self.threads.go_on(go_on);
        match self.in_pieces(file, format, go_on)? {
            Some(plain) => Ok(plain),
            None => in_one(file, format, go_on),
        }
    }

    /// None when the file is not made of pieces such as ours.
    fn in_pieces(
        &self,
        file: Bytes<'_>,
        format: Format,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Plain>, VerifyError> {
        let mut sum = Sum::new();
        let mut pieces = Pieces { file, format, at: 0, index: xz::Index::default() };
        let is_ours = thread::scope(|scope| {
            let bytes_max = limits::under_way_bytes_max(format, self.threads.count);
            let mut crew = Crew::<Decode>::new(scope, self.threads.clone(), bytes_max, format);
            loop {
                if !go_on() {
                    return Err(VerifyError::Stopped);
                }
                let piece = match pieces.next().map_err(VerifyError::Read)? {
                    Next::Piece(piece) => piece,
                    Next::End => break,
                    Next::Odd => return Ok(false),
                };
                let bytes = piece.sealed_bytes.saturating_add(piece.plain_bytes);
                while !crew.has_room_for(bytes) {
                    if take_oldest(&mut crew, &mut sum, go_on)? == Some(false) {
                        return Ok(false);
                    }
                }
                let sealed = file.vec(piece.at, piece.sealed_bytes).map_err(VerifyError::Read)?;
                crew.hand_out(bytes, (piece, sealed));
            }
            while let Some(is_ours) = take_oldest(&mut crew, &mut sum, go_on)? {
                if !is_ours {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        Ok(is_ours.then(|| sum.plain()))
    }
}

/// Whether the oldest piece was one of ours; none when there is no piece.
fn take_oldest(
    crew: &mut Crew<'_, '_, Decode>,
    sum: &mut Sum,
    go_on: &dyn Fn() -> bool,
) -> Result<Option<bool>, VerifyError> {
    match crew.oldest(go_on) {
        Ok(None) => Ok(None),
        Ok(Some(Ok(plain))) => {
            sum.add(&plain);
            Ok(Some(true))
        }
        Ok(Some(Err(_))) => Ok(Some(false)),
        Err(Stop::Told) => Err(VerifyError::Stopped),
        Err(Stop::Lost) => Err(VerifyError::Lost),
    }
}

fn in_one(file: Bytes<'_>, format: Format, go_on: &dyn Fn() -> bool) -> Result<Plain, VerifyError> {
    let mut sum = Sum::new();
    match decode::file(format, file, go_on, &mut |plain| sum.add(plain)) {
        Ok(()) => Ok(sum.plain()),
        Err(Trouble::Read(error)) => Err(VerifyError::Read(error)),
        Err(Trouble::Stopped) => Err(VerifyError::Stopped),
        Err(Trouble::Flaw(Flaw::NeedsMemory)) => Err(VerifyError::NeedsMemory),
        Err(Trouble::Flaw(Flaw::Damaged | Flaw::TooLong)) => Err(VerifyError::Damaged),
    }
}

/// Part of a sealed file that can be decoded alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) at: u64,
    pub(super) sealed_bytes: usize,
    /// How long its text is, or how long it may be.
    pub(super) plain_bytes: usize,
}

/// What stands at a place in a file.
pub(super) enum Next {
    Piece(Piece),
    /// The end, as it should be.
    End,
    /// Nothing of ours.
    Odd,
}

struct Pieces<'a> {
    file: Bytes<'a>,
    format: Format,
    at: u64,
    index: xz::Index,
}

impl Pieces<'_> {
    fn next(&mut self) -> io::Result<Next> {
        let next = match self.format {
            Format::Xz => xz::next(self.file, self.at, &mut self.index)?,
            Format::Gzip => gzip::next(self.file, self.at)?,
            Format::Bzip2 => bzip2::next(self.file, self.at)?,
            Format::Zstd => zstd::next(self.file, self.at)?,
        };
        if let Next::Piece(piece) = &next {
            self.at = piece.at + piece.sealed_bytes as u64;
        }
        Ok(next)
    }
}

/// Decodes pieces.
struct Decode {
    format: Format,
}

impl Worker for Decode {
    type Recipe = Format;
    type Job = (Piece, Vec<u8>);
    type Done = Result<Vec<u8>, Flaw>;

    fn new(format: Format) -> Decode {
        Decode { format }
    }

    fn work(&mut self, (piece, sealed): Self::Job, _: &dyn Fn() -> bool) -> Self::Done {
        match self.format {
            Format::Xz => {
                let tail = xz::tail_of_one(piece.at, &sealed);
                decode::whole(self.format, &[&xz::HEAD, &sealed, &tail], piece.plain_bytes)
            }
            _ => decode::whole(self.format, &[&sealed], piece.plain_bytes),
        }
    }
}
