//! Compresses a block, on a thread of its own.
//! Plain bytes -> a piece of a sealed file that can be decoded alone.
//! Invariant: the pieces in order, between head and tail, are the file.
//! Leaves out: where blocks come from, and where pieces go.

use super::crew::Worker;
use super::decode::Step;
use super::limits::SLICE_BYTES;
use super::{bzip2, gzip, limits, xz, zstd};
use crate::config::checked::Format;

/// What an encoder has to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipe {
    pub(super) format: Format,
    pub(super) level: u32,
    pub(super) threads: usize,
}

/// A block, compressed.
pub(super) struct Pressed {
    pub(super) sealed: Vec<u8>,
    /// What the index of an .xz file says of it.
    pub(super) record: Option<xz::Record>,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum Unpressed {
    /// Told to stop.
    Stopped,
    /// The library says no, which is our fault, or there is no memory.
    Failed(&'static str),
}

/// An encoder for one block after the other.
pub(super) enum Press {
    Xz(xz::Press),
    Gzip(gzip::Press),
    Bzip2 { level: u32 },
    Zstd(Option<zstd::Press>),
}

impl Worker for Press {
    type Recipe = Recipe;
    type Job = Vec<u8>;
    type Done = Result<Pressed, Unpressed>;

    fn new(recipe: Recipe) -> Press {
        match recipe.format {
            Format::Xz => {
                let dictionary_bytes = limits::xz_dictionary_bytes(recipe.threads);
                Press::Xz(xz::Press::new(recipe.level, dictionary_bytes))
            }
            Format::Gzip => Press::Gzip(gzip::Press::new(recipe.level)),
            Format::Bzip2 => Press::Bzip2 { level: recipe.level },
            Format::Zstd => Press::Zstd(zstd::Press::new(recipe.level)),
        }
    }

    fn work(&mut self, plain: Vec<u8>, go_on: &dyn Fn() -> bool) -> Result<Pressed, Unpressed> {
        let sealed = match self {
            Press::Xz(press) => return press.block(&plain, go_on),
            Press::Gzip(press) => {
                let mut sealed = room_for(&plain);
                press.member(&plain, go_on, &mut sealed)?;
                sealed
            }
            Press::Bzip2 { level } => bzip2::press(*level, &plain, go_on)?,
            Press::Zstd(press) => {
                let press = press.as_mut().ok_or(Unpressed::Failed("zstd: out of memory"))?;
                press.frame(&plain, go_on)?
            }
        };
        Ok(Pressed { sealed, record: None })
    }
}

/// What begins a sealed file.
pub(super) fn head(format: Format) -> &'static [u8] {
    match format {
        Format::Xz => &xz::HEAD,
        Format::Gzip | Format::Bzip2 | Format::Zstd => &[],
    }
}

/// The text of a block; bzip2 has units of its own, so blocks are as many of
/// them as come near.
pub(super) fn block_bytes(format: Format, level: u32) -> usize {
    match format {
        Format::Xz | Format::Gzip | Format::Zstd => limits::block_bytes_max(format),
        Format::Bzip2 => bzip2::block_bytes(level),
    }
}

/// Compresses a block here and now.
pub(super) fn one(recipe: Recipe, plain: Vec<u8>) -> Result<Pressed, Unpressed> {
    Press::new(recipe).work(plain, &|| true)
}

/// Room for what a block becomes, as far as log text goes.
pub(super) fn room_for(plain: &[u8]) -> Vec<u8> {
    Vec::with_capacity(plain.len() / 4 + 1024)
}

/// Feeds a block to an encoder, slice by slice, and lets it end. `step` takes
/// the front of a slice and writes into the room that the buffer has; it says
/// that it has ended once it was told that nothing more comes.
pub(super) fn feed(
    plain: &[u8],
    sealed: &mut Vec<u8>,
    go_on: &dyn Fn() -> bool,
    mut step: impl FnMut(&[u8], &mut Vec<u8>, bool) -> Result<Step, Unpressed>,
) -> Result<(), Unpressed> {
    /// An encoder that has less than this may write nothing.
    const ROOM_BYTES_MIN: usize = 64;
    let mut step = |slice: &[u8], is_all| {
        if sealed.spare_capacity_mut().len() < ROOM_BYTES_MIN {
            sealed.reserve(SLICE_BYTES);
        }
        step(slice, sealed, is_all)
    };
    for mut slice in plain.chunks(SLICE_BYTES) {
        if !go_on() {
            return Err(Unpressed::Stopped);
        }
        while !slice.is_empty() {
            let taken = step(slice, false)?.taken;
            slice = slice.get(taken..).unwrap_or_default();
        }
    }
    while !step(&[], true)?.ended {}
    Ok(())
}
