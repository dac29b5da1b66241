//! Compresses a block, on a thread of its own.
//! Plain bytes -> a piece of a sealed file that can be decoded alone.
//! Invariant: the pieces in order, between head and tail, are the file.
//! Leaves out: where blocks come from, and where pieces go.

use std::sync::atomic::AtomicBool;

use super::crew::Worker;
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

    fn work(&mut self, plain: Vec<u8>, stop: &AtomicBool) -> Result<Pressed, Unpressed> {
        let sealed = match self {
            Press::Xz(press) => return press.block(&plain, stop),
            Press::Gzip(press) => {
                let mut sealed = Vec::with_capacity(plain.len() / 4 + 1024);
                press.member(&plain, Some(stop), &mut sealed)?;
                sealed
            }
            Press::Bzip2 { level } => bzip2::press(*level, &plain, stop)?,
            Press::Zstd(press) => {
                let press = press.as_mut().ok_or(Unpressed::Failed("zstd: out of memory"))?;
                press.frame(&plain, stop)?
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
    Press::new(recipe).work(plain, &AtomicBool::new(false))
}
