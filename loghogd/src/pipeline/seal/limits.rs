//! The limits of sealing: how much is compressed at once, in how much memory.
//!
//! All memory together, for the largest number of threads:
//!
//! ```text
//! threads * what one needs (XZ_ENCODER_BYTES and its like)
//! + plain text under way, and as much again for what becomes of it
//! + the block that is being read
//! ```

use crate::config::checked::Format;

/// What sealing may take altogether, in bytes, whatever level is configured.
pub const MEMORY_BYTES_MAX: usize = 64 << 20;

/// Plain text of a block, in bytes: about a MiB, so that a reader finds his
/// place in the middle of a segment in some 10 ms.
pub const BLOCK_BYTES: usize = 5 << 18;

/// The same for xz, which has most to lose: each block learns the text anew.
/// Three quarters of a MiB more than one make the result two hundredths
/// smaller, and it is as long as the memory of [`THREADS_MAX`] threads allows.
pub const XZ_BLOCK_BYTES: usize = 7 << 18;

/// Longest block, in bytes. A block begins at the start of a line, so a long
/// line makes a long block; one that is longer than this (none of ours is) is
/// cut.
pub const BLOCK_BYTES_MAX: usize = 5 << 20;

/// Most threads at work. Each needs memory; with more than
/// [`XZ_WIDE_THREADS_MAX`] the xz dictionary is halved.
pub const THREADS_MAX: usize = 4;

/// Plain text that is under way between reader and writer, in bytes: a block
/// for each thread, and two that wait for the oldest to be written. At this
/// limit reading waits.
#[must_use]
pub const fn under_way_bytes_max(format: Format, threads: usize) -> usize {
    let bytes = (threads + 2) * block_bytes_max(format);
    if bytes > BLOCK_BYTES_MAX { bytes } else { BLOCK_BYTES_MAX }
}

/// Most threads whose dictionary is a whole block.
pub const XZ_WHOLE_THREADS_MAX: usize = 2;

/// The dictionary of an xz encoder, in bytes: most of a block, which is as
/// good as all of it.
pub const XZ_DICTIONARY_WHOLE_BYTES: u32 = 3 << 19;

/// Most threads with most of the dictionary.
pub const XZ_WIDE_THREADS_MAX: usize = 3;

/// The same where three threads share the memory; costs a fifth of a percent.
pub const XZ_DICTIONARY_BYTES: u32 = 1 << 20;

/// The same where still more threads share the memory; costs less than one
/// percent.
pub const XZ_DICTIONARY_NARROW_BYTES: u32 = 1 << 19;

/// What an xz encoder takes whatever its dictionary.
const XZ_ENCODER_FIXED_BYTES: usize = 5 << 18;

/// With the binary trees, the window, and the hash table, whose length is a
/// power of two.
const fn xz_encoder_bytes(dictionary_bytes: u32) -> usize {
    let table_bytes = 2 * dictionary_bytes.next_power_of_two() as usize;
    (8 + 2) * dictionary_bytes as usize + table_bytes + XZ_ENCODER_FIXED_BYTES
}

/// A zstd encoder may refer back so far, as a power of two. Longer ones would
/// not fit into the memory at high levels, and blocks are no longer anyway.
pub const ZSTD_WINDOW_LOG: u32 = 20;

/// What a zstd encoder takes at the most, in bytes.
const ZSTD_ENCODER_BYTES: usize = 7 << 20;

/// What a bzip2 encoder takes at the most, in bytes (bzip2(1)).
const BZIP2_ENCODER_BYTES: usize = 15 << 19;

/// What decoding a file that somebody else compressed may take, in bytes.
/// One that needs more is reported as such.
pub const FOREIGN_DECODER_BYTES_MAX: usize = 40 << 20;

/// The window of somebody else's zstd file, as a power of two: see
/// [`FOREIGN_DECODER_BYTES_MAX`].
pub const FOREIGN_ZSTD_WINDOW_LOG_MAX: u32 = 25;

/// Records of an xz index that are kept while it is checked, in bytes; some
/// hundred thousand blocks. A file with more is read by one thread.
pub const XZ_INDEX_BYTES_MAX: usize = 1 << 20;

/// A bzip2 stream that is decoded as one piece, in bytes of its text. It does
/// not say how long it is; a file with a longer one is read by one thread.
pub const BZIP2_PIECE_BYTES_MAX: usize = 3 << 19;

/// What is handed to an encoder at once, in bytes: between two such pieces it
/// looks whether it has to stop.
pub const SLICE_BYTES: usize = 64 << 10;

/// Starts of members that are remembered while the last whole one is looked
/// for. If so many are damaged, all are read from the beginning.
pub const MEMBERS_REMEMBERED: usize = 4096;

/// Members or frames that are hopped over to see whether a sealed file is
/// whole; of one with more only the beginning is looked at.
pub const HOPS_MAX: usize = 16 << 10;

/// How many threads compress into a format on a machine with so many cores.
#[must_use]
pub const fn threads(cores: usize) -> usize {
    if cores < 1 {
        1
    } else if cores > THREADS_MAX {
        THREADS_MAX
    } else {
        cores
    }
}

/// The dictionary of each of so many xz encoders.
#[must_use]
pub const fn xz_dictionary_bytes(threads: usize) -> u32 {
    if threads <= XZ_WHOLE_THREADS_MAX {
        XZ_DICTIONARY_WHOLE_BYTES
    } else if threads <= XZ_WIDE_THREADS_MAX {
        XZ_DICTIONARY_BYTES
    } else {
        XZ_DICTIONARY_NARROW_BYTES
    }
}

/// Plain text of a block in a format, in bytes, at the most.
#[must_use]
pub const fn block_bytes_max(format: Format) -> usize {
    match format {
        Format::Xz => XZ_BLOCK_BYTES,
        Format::Gzip | Format::Bzip2 | Format::Zstd => BLOCK_BYTES,
    }
}

/// What sealing takes at the most, in bytes.
#[must_use]
pub const fn memory_bytes(format: Format, threads: usize) -> usize {
    let encoder_bytes = match format {
        Format::Xz => xz_encoder_bytes(xz_dictionary_bytes(threads)),
        Format::Gzip => 1 << 20,
        Format::Bzip2 => BZIP2_ENCODER_BYTES,
        Format::Zstd => ZSTD_ENCODER_BYTES,
    };
    // At worst everything under way is in work, and does not become smaller;
    // and what is read is one long line, with the beginning of what comes
    // behind it.
    threads * encoder_bytes
        + 2 * under_way_bytes_max(format, threads)
        + BLOCK_BYTES_MAX
        + block_bytes_max(format)
}

const _: () = assert!(memory_bytes(Format::Xz, XZ_WHOLE_THREADS_MAX) <= MEMORY_BYTES_MAX);
const _: () = assert!(memory_bytes(Format::Xz, XZ_WIDE_THREADS_MAX) <= MEMORY_BYTES_MAX);
const _: () = assert!(memory_bytes(Format::Xz, THREADS_MAX) <= MEMORY_BYTES_MAX);
const _: () = assert!(memory_bytes(Format::Gzip, THREADS_MAX) <= MEMORY_BYTES_MAX);
const _: () = assert!(memory_bytes(Format::Bzip2, THREADS_MAX) <= MEMORY_BYTES_MAX);
const _: () = assert!(memory_bytes(Format::Zstd, THREADS_MAX) <= MEMORY_BYTES_MAX);
// Every line of ours begins a block at its start.
const _: () = assert!(crate::limits::LINE_BYTES_MAX <= BLOCK_BYTES_MAX);
const _: () = assert!(BLOCK_BYTES < BLOCK_BYTES_MAX);
const _: () = assert!(XZ_BLOCK_BYTES < BLOCK_BYTES_MAX);
const _: () = assert!(XZ_DICTIONARY_WHOLE_BYTES as usize <= XZ_BLOCK_BYTES);
const _: () = assert!(FOREIGN_DECODER_BYTES_MAX < MEMORY_BYTES_MAX);
const _: () = assert!(1 << FOREIGN_ZSTD_WINDOW_LOG_MAX < FOREIGN_DECODER_BYTES_MAX);
const _: () = assert!(BZIP2_PIECE_BYTES_MAX > BLOCK_BYTES);
