//! Compresses a segment on all cores.
//! Plain text -> a sealed file, and what is known of both.
//! Invariant: what was told of the plain text holds for what was written, or there is an error.
//! Leaves out: names and the disk.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::thread;

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use thiserror::Error;

use super::blocks::Blocks;
use super::crew::{Crew, Stop, Threads};
use super::limits;
use super::pace::Pace;
use super::press::{self, Press, Pressed, Recipe, Unpressed};
use super::xz;
use crate::config::checked::{self, Format};

/// Compresses one segment after the other, and reads back what came of it. It
/// has threads only while it does, and with all of them never takes more than
/// [`limits::MEMORY_BYTES_MAX`].
#[derive(Debug)]
pub struct Compressor {
    format: Format,
    level: u32,
    pub(super) threads: Threads,
}

/// What a text is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256.
    pub checksum: [u8; SHA256_OUTPUT_LEN],
}

/// What is known of a segment that was compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its text.
    pub plain: Plain,
    /// The length of the sealed file.
    pub sealed_bytes: u64,
    /// How many blocks that has.
    pub blocks: u64,
}

/// Why a segment was not compressed. Whatever has been written is of no use.
#[derive(Debug, Error)]
pub enum CompressError {
    /// The plain segment.
    #[error("reading the segment: {0}")]
    Read(#[source] io::Error),
    /// The sealed one.
    #[error("writing what it was compressed to: {0}")]
    Write(#[source] io::Error),
    /// The daemon stops; the next start begins again.
    #[error("stopped before the segment was compressed")]
    Stopped,
    /// A fault of ours, or no memory.
    #[error("{0}; the segment stays as it is and is tried again")]
    Failed(&'static str),
}

impl Compressor {
    /// As configured, on all cores that there is memory for. Each of its
    /// threads first calls `prepare`, which lowers its priority, and keeps
    /// `pace`; whoever calls [`Compressor::compress`] does the first for his own.
    #[must_use]
    pub fn new(config: &checked::Compressor, prepare: fn(), pace: Pace) -> Compressor {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let count = limits::threads(cores);
        let threads = Threads { count, prepare, pace: Some(Arc::new(pace)) };
        Compressor { format: config.format, level: config.level, threads }
    }

    /// On so many threads, without pauses.
    #[must_use]
    pub fn with_threads(format: Format, level: u32, threads: usize, prepare: fn()) -> Compressor {
        let count = limits::threads(threads);
        Compressor { format, level, threads: Threads { count, prepare, pace: None } }
    }

    /// Lowers the priority of the thread that calls it, as for its own threads.
    pub fn prepare(&self) {
        (self.threads.prepare)();
    }

    /// What it compresses to.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Reads a text to its end and writes it compressed. Ends soon when
    /// `go_on` says no; it is asked some fifty times a second.
    ///
    /// # Errors
    /// See [`CompressError`].
    pub fn compress(
        &mut self,
        plain: &mut dyn Read,
        out: &mut dyn Write,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Summary, CompressError> {
        self.compress_blocks(press::block_bytes(self.format, self.level), plain, out, go_on)
    }

    pub(super) fn compress_blocks(
        &mut self,
        block_bytes: usize,
        plain: &mut dyn Read,
        out: &mut dyn Write,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Summary, CompressError> {
        let threads = self.threads.clone();
        let go_on = &|| threads.go_on(go_on);
        let recipe = Recipe { format: self.format, level: self.level, threads: threads.count };
        let mut blocks = Blocks::new(plain, block_bytes);
        let mut sum = Sum::new();
        let mut sealed = SealedFile::begin(out, self.format)?;
        thread::scope(|scope| {
            let bytes_max = limits::under_way_bytes_max(self.format, threads.count);
            let mut crew = Crew::<Press>::new(scope, threads.clone(), bytes_max, recipe);
            while let Some(block) = blocks.next().map_err(CompressError::Read)? {
                sum.add(&block);
                while !crew.has_room_for(block.len()) {
                    sealed.take_oldest(&mut crew, go_on)?;
                }
                crew.hand_out(block.len(), block);
                if !go_on() {
                    return Err(CompressError::Stopped);
                }
            }
            while sealed.take_oldest(&mut crew, go_on)? {}
            Ok(())
        })?;
        if sealed.blocks == 0 && !matches!(self.format, Format::Xz) {
            // A file needs one, even with nothing in it.
            sealed.empty_block(recipe)?;
        }
        sealed.end(self.format)?;
        Ok(Summary { plain: sum.plain(), sealed_bytes: sealed.bytes, blocks: sealed.blocks })
    }
}

/// The file that is being written.
struct SealedFile<'a> {
    out: &'a mut dyn Write,
    bytes: u64,
    blocks: u64,
    index: xz::Index,
}

impl<'a> SealedFile<'a> {
    fn begin(out: &'a mut dyn Write, format: Format) -> Result<SealedFile<'a>, CompressError> {
        let mut file = SealedFile { out, bytes: 0, blocks: 0, index: xz::Index::default() };
        file.write(press::head(format))?;
        Ok(file)
    }

    /// Writes what became of the oldest block under way; no when there is none.
    fn take_oldest(
        &mut self,
        crew: &mut Crew<'_, '_, Press>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<bool, CompressError> {
        match crew.oldest(go_on) {
            Ok(None) => Ok(false),
            Ok(Some(pressed)) => self.block(pressed.map_err(failed)?).map(|()| true),
            Err(Stop::Told) => Err(CompressError::Stopped),
            Err(Stop::Lost) => Err(CompressError::Failed("a thread that compresses is lost")),
        }
    }

    fn empty_block(&mut self, recipe: Recipe) -> Result<(), CompressError> {
        self.block(press::one(recipe, Vec::new()).map_err(failed)?)
    }

    fn block(&mut self, pressed: Pressed) -> Result<(), CompressError> {
        self.write(&pressed.sealed)?;
        self.blocks += 1;
        if let Some(record) = pressed.record {
            self.index.add(record);
        }
        Ok(())
    }

    fn end(&mut self, format: Format) -> Result<(), CompressError> {
        if matches!(format, Format::Xz) {
            let tail = self.index.tail();
            self.write(&tail)?;
        }
        self.out.flush().map_err(CompressError::Write)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), CompressError> {
        self.out.write_all(bytes).map_err(CompressError::Write)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// Length and checksum, growing with the text.
pub(super) struct Sum {
    bytes: u64,
    context: Context,
}

impl Sum {
    pub(super) fn new() -> Sum {
        Sum { bytes: 0, context: Context::new(&SHA256) }
    }

    pub(super) fn add(&mut self, plain: &[u8]) {
        self.bytes += plain.len() as u64;
        self.context.update(plain);
    }

    pub(super) fn plain(self) -> Plain {
        let digest = self.context.finish();
        let checksum = digest.as_ref().try_into().unwrap_or([0; SHA256_OUTPUT_LEN]);
        Plain { bytes: self.bytes, checksum }
    }
}

fn failed(unpressed: Unpressed) -> CompressError {
    match unpressed {
        Unpressed::Stopped => CompressError::Stopped,
        Unpressed::Failed(why) => CompressError::Failed(why),
    }
}
