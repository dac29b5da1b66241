//! The layout of an .xz file: one stream of many blocks.
//! Plain bytes -> a block; blocks -> an ordinary file; a file -> its blocks.
//! Invariant: every block says how long it is, so that a reader can hop over it.
//! Leaves out: LZMA2, which is liblzma's.
//!
//! The .xz file format 1.2.1 (<https://xz.tukaani.org/format/xz-file-format.txt>):
//!
//! ```text
//! stream header   12   magic 6, flags 2 (the check), CRC32 of the flags
//! block            n   header, LZMA2, zeros up to a multiple of 4, CRC64
//!   header         n   its size / 4 - 1, flags 0xc0, compressed size,
//!                      plain size, filter (0x21 1 DICTIONARY), zeros, CRC32
//! index            n   0, number of blocks, for each: size without the zeros,
//!                      plain size; zeros, CRC32
//! stream footer   12   CRC32, index size / 4 - 1, flags 2, magic 2
//! ```
//! Sizes are little-endian groups of 7 bits, the high bit set on all but the
//! last.

use std::io;

use flate2::Crc;
use xz2::stream::{Action, Check, Filters, LzmaOptions, Status, Stream};

use super::bytes::Bytes;
use super::decode::Step;
use super::limits::{BLOCK_BYTES_MAX, XZ_INDEX_BYTES_MAX};
use super::press::{Pressed, Unpressed, feed, room_for};
use super::verify::{Next, Piece};

/// The stream header: the check is CRC64.
pub(super) const HEAD: [u8; 12] = [0xfd, b'7', b'z', b'X', b'Z', 0, 0, 4, 0xe6, 0xd6, 0xb4, 0x46];
const FLAGS: [u8; 2] = [0, 4];
const FOOTER_MAGIC: [u8; 2] = *b"YZ";
const FOOTER_BYTES: usize = 12;
const CHECK_BYTES: u64 = 8;
/// Sizes of block header and data are there; one filter.
const BLOCK_FLAGS: u8 = 0xc0;
/// LZMA2, and the size of what describes it: one byte for the dictionary.
const LZMA2: [u8; 2] = [0x21, 1];
const BLOCK_HEADER_BYTES_MAX: usize = 1024;

/// From this level on liblzma's presets differ in the dictionary alone.
const LEVEL_MAX: u32 = 6;
/// How long a match is good enough at that level, for text that becomes less
/// than so many times smaller. liblzma's own 64 makes log text some percent
/// longer. The more a text repeats itself, the longer it takes to look for the
/// longest match, and the less there is to win: these keep the time below that
/// of `xz -6`, with reading back.
const NICE_LEN: [(usize, u32); 3] = [(11, 128), (13, 96), (usize::MAX, 80)];

/// Compresses one block after the other.
#[derive(Debug)]
pub(super) struct Press {
    level: u32,
    dictionary_bytes: u32,
    /// How many times smaller the block before became.
    ratio: usize,
}

impl Press {
    pub(super) fn new(level: u32, dictionary_bytes: u32) -> Press {
        Press { level, dictionary_bytes, ratio: 0 }
    }

    /// Compresses one block. liblzma makes a stream of it; header and footer
    /// of that go, and its sizes come into the block's header.
    pub(super) fn block(
        &mut self,
        plain: &[u8],
        go_on: &dyn Fn() -> bool,
    ) -> Result<Pressed, Unpressed> {
        let filters = self.filters(plain.len())?;
        let mut stream = Stream::new_stream_encoder(&filters, Check::Crc64).map_err(unpressed)?;
        let mut sealed = room_for(plain);
        feed(plain, &mut sealed, go_on, |slice, sealed, is_all| {
            let before = stream.total_in();
            let action = if is_all { Action::Finish } else { Action::Run };
            let status = stream.process_vec(slice, sealed, action).map_err(unpressed)?;
            Ok(Step::new(before, stream.total_in(), status == Status::StreamEnd))
        })?;
        self.ratio = plain.len() / sealed.len().max(1);
        into_block(sealed, plain.len() as u64)
            .ok_or(Unpressed::Failed("liblzma: no block in a stream"))
    }

    fn filters(&self, plain_bytes: usize) -> Result<Filters, Unpressed> {
        let level = self.level.min(LEVEL_MAX);
        let mut options = LzmaOptions::new_preset(level).map_err(unpressed)?;
        // Log text: no alignment, and the byte before says most of the next.
        options.position_bits(0).literal_position_bits(0).literal_context_bits(4);
        // Whoever reads a small file need not take memory for a large one.
        let useful = u32::try_from(plain_bytes.next_power_of_two()).unwrap_or(u32::MAX);
        options.dict_size(self.dictionary_bytes.min(useful).max(4096));
        if level == LEVEL_MAX {
            let found = NICE_LEN.iter().find(|(ratio_max, _)| self.ratio < *ratio_max);
            options.nice_len(found.map_or(64, |(_, nice_len)| *nice_len));
        }
        let mut filters = Filters::new();
        filters.lzma2(&options);
        Ok(filters)
    }
}

/// Cuts the block out of a stream of one block, and writes its sizes into its
/// header.
fn into_block(mut stream: Vec<u8>, plain_bytes: u64) -> Option<Pressed> {
    let footer = stream.len().checked_sub(FOOTER_BYTES)?;
    let index_bytes = index_bytes(stream.get(footer..)?)?;
    let index = footer.checked_sub(usize::try_from(index_bytes).ok()?)?;
    let (count, mut records) = read_size(stream.get(index..)?.strip_prefix(&[0])?)?;
    if count != 1 {
        return None;
    }
    let (unpadded_bytes, rest) = read_size(records)?;
    records = rest;
    if read_size(records)?.0 != plain_bytes {
        return None;
    }
    let header = stream.get(HEAD.len()..)?;
    let header_bytes = usize::from(*header.first()?) * 4 + 4;
    let dictionary = *header.get(4)?;
    if header.get(1..4)? != [0, LZMA2[0], LZMA2[1]] {
        return None;
    }
    let packed_bytes = unpadded_bytes.checked_sub(header_bytes as u64 + CHECK_BYTES)?;
    let new_header = block_header(packed_bytes, plain_bytes, dictionary);
    let unpadded_bytes = new_header.len() as u64 + packed_bytes + CHECK_BYTES;
    stream.truncate(index);
    stream.splice(..HEAD.len() + header_bytes, new_header);
    Some(Pressed { sealed: stream, record: Some(Record { unpadded_bytes, plain_bytes }) })
}

fn block_header(packed_bytes: u64, plain_bytes: u64, dictionary: u8) -> Vec<u8> {
    let mut described = vec![BLOCK_FLAGS];
    write_size(packed_bytes, &mut described);
    write_size(plain_bytes, &mut described);
    described.extend(LZMA2);
    described.push(dictionary);
    // With the byte that says how long it is, a multiple of 4.
    described.resize((described.len() + 1).next_multiple_of(4) - 1, 0);
    // At most 24 bytes so far; the CRC that comes is the one word that the
    // first byte does not count.
    let words = u8::try_from((described.len() + 1) / 4).unwrap_or(u8::MAX);
    let mut header = vec![words];
    header.append(&mut described);
    header.extend(crc32(&header).to_le_bytes());
    header
}

/// A line of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    unpadded_bytes: u64,
    plain_bytes: u64,
}

/// The index, growing with the blocks.
#[derive(Debug, Default)]
pub(super) struct Index {
    count: u64,
    records: Vec<u8>,
}

impl Index {
    pub(super) fn add(&mut self, record: Record) {
        self.count += 1;
        write_size(record.unpadded_bytes, &mut self.records);
        write_size(record.plain_bytes, &mut self.records);
    }

    fn is_long(&self) -> bool {
        self.records.len() > XZ_INDEX_BYTES_MAX
    }

    /// What ends the file: index and footer.
    pub(super) fn tail(&self) -> Vec<u8> {
        let mut tail = vec![0];
        write_size(self.count, &mut tail);
        tail.extend(&self.records);
        tail.resize(tail.len().next_multiple_of(4), 0);
        tail.extend(crc32(&tail).to_le_bytes());
        let words = u32::try_from(tail.len() / 4 - 1).unwrap_or(u32::MAX);
        let mut footer = words.to_le_bytes().to_vec();
        footer.extend(FLAGS);
        tail.extend(crc32(&footer).to_le_bytes());
        tail.extend(footer);
        tail.extend(FOOTER_MAGIC);
        tail
    }
}

/// The block at that place, as far as it is one of those that we make; the
/// end, when index and footer are those of the blocks before.
pub(super) fn next(file: Bytes<'_>, at: u64, index: &mut Index) -> io::Result<Next> {
    let at = match at {
        0 if file.array(0)? == Some(HEAD) => HEAD.len() as u64,
        0 => return Ok(Next::Odd),
        _ => at,
    };
    let mut buffer = [0; BLOCK_HEADER_BYTES_MAX];
    let header = file.some(at, &mut buffer)?;
    if header.first() == Some(&0) {
        let tail = index.tail();
        let is_ours = file.end - at == tail.len() as u64 && file.vec(at, tail.len())? == tail;
        return Ok(if is_ours { Next::End } else { Next::Odd });
    }
    let Some((record, piece)) = piece(at, header) else { return Ok(Next::Odd) };
    index.add(record);
    if index.is_long() || !file.has(at, piece.sealed_bytes as u64) {
        return Ok(Next::Odd);
    }
    Ok(Next::Piece(piece))
}

fn piece(at: u64, header: &[u8]) -> Option<(Record, Piece)> {
    let header_bytes = usize::from(*header.first()?) * 4 + 4;
    let header = header.get(..header_bytes)?;
    let (header, crc) = header.split_last_chunk::<4>()?;
    if crc32(header) != u32::from_le_bytes(*crc) || *header.get(1)? != BLOCK_FLAGS {
        return None;
    }
    let (packed_bytes, rest) = read_size(header.get(2..)?)?;
    let (plain_bytes, _) = read_size(rest)?;
    let unpadded_bytes = packed_bytes.checked_add(header_bytes as u64)?.checked_add(CHECK_BYTES)?;
    let sealed_bytes = usize::try_from(unpadded_bytes.checked_next_multiple_of(4)?).ok()?;
    let plain = usize::try_from(plain_bytes).ok()?;
    let fits = plain <= BLOCK_BYTES_MAX && sealed_bytes <= BLOCK_BYTES_MAX + BLOCK_BYTES_MAX / 64;
    let piece = Piece { at, sealed_bytes, plain_bytes: plain };
    fits.then_some((Record { unpadded_bytes, plain_bytes }, piece))
}

/// What stands behind a single block to make it a stream.
pub(super) fn tail_of_one(at: u64, block: &[u8]) -> Vec<u8> {
    let mut index = Index::default();
    let header_bytes = block.first().map_or(0, |&words| usize::from(words) * 4 + 4);
    if let Some((record, _)) = block.get(..header_bytes).and_then(|header| piece(at, header)) {
        index.add(record);
    }
    index.tail()
}

/// Do head, index and footer fit together, as far as they tell without
/// reading the blocks? Of many streams, the last one.
pub(super) fn looks_whole(file: Bytes<'_>) -> io::Result<bool> {
    let mut end = file.end;
    // Zeros may stand behind a stream; more than a few mean that the file is torn.
    while end > 0 && file.end - end <= 64 && end.is_multiple_of(4) {
        match end.checked_sub(4).map(|at| file.array::<4>(at)).transpose()?.flatten() {
            Some([0, 0, 0, 0]) => end -= 4,
            _ => break,
        }
    }
    let Some(footer_at) = end.checked_sub(FOOTER_BYTES as u64) else { return Ok(false) };
    let (Some(head), Some(footer)) = (file.array::<12>(0)?, file.array::<12>(footer_at)?) else {
        return Ok(false);
    };
    if !is_head(&head) || !end.is_multiple_of(4) {
        return Ok(false);
    }
    let Some(index_at) = index_bytes(&footer).and_then(|bytes| footer_at.checked_sub(bytes)) else {
        return Ok(false);
    };
    let index_bytes = usize::try_from(footer_at - index_at).unwrap_or(usize::MAX);
    if index_bytes > XZ_INDEX_BYTES_MAX {
        return Ok(file.array(index_at)? == Some([0]));
    }
    let index = file.vec(index_at, index_bytes)?;
    let Some(stream_at) = blocks_bytes(&index)
        .and_then(|bytes| index_at.checked_sub(bytes))
        .and_then(|at| at.checked_sub(HEAD.len() as u64))
    else {
        return Ok(false);
    };
    let first = file.array::<12>(stream_at)?;
    Ok(first.is_some_and(|first| is_head(&first) && first.get(6..8) == footer.get(8..10)))
}

fn is_head(head: &[u8; 12]) -> bool {
    let magic = head.first_chunk::<6>() == HEAD.first_chunk::<6>();
    let crc = head.last_chunk::<4>().map(|crc| u32::from_le_bytes(*crc));
    magic && head.get(6..8).map(crc32) == crc
}

/// All blocks together, as the index says, if it is one.
fn blocks_bytes(index: &[u8]) -> Option<u64> {
    let (index, crc) = index.split_last_chunk::<4>()?;
    if crc32(index) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (count, mut rest) = read_size(index.strip_prefix(&[0])?)?;
    let mut bytes: u64 = 0;
    for _ in 0..count {
        let (unpadded_bytes, behind) = read_size(rest)?;
        let (_, behind) = read_size(behind)?;
        rest = behind;
        bytes = bytes.checked_add(unpadded_bytes.checked_next_multiple_of(4)?)?;
    }
    (rest.len() < 4 && rest.iter().all(|&byte| byte == 0)).then_some(bytes)
}

/// How long the index is, as a footer says, if it is one.
fn index_bytes(footer: &[u8]) -> Option<u64> {
    let (crc, rest) = footer.split_first_chunk::<4>()?;
    let (described, magic) = rest.split_last_chunk::<2>()?;
    if *magic != FOOTER_MAGIC || crc32(described) != u32::from_le_bytes(*crc) {
        return None;
    }
    Some((u64::from(u32::from_le_bytes(*described.first_chunk()?)) + 1) * 4)
}

fn write_size(mut size: u64, out: &mut Vec<u8>) {
    while size >= 0x80 {
        out.push(size.to_le_bytes().first().copied().unwrap_or(0) | 0x80);
        size >>= 7;
    }
    out.push(size.to_le_bytes().first().copied().unwrap_or(0));
}

/// A size, and what stands behind it; none if it is not the shortest way to
/// say it.
fn read_size(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut size = 0;
    for (place, &byte) in bytes.iter().take(9).enumerate() {
        size |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            let is_shortest = byte != 0 || place == 0;
            return is_shortest.then_some((size, bytes.get(place + 1..)?));
        }
    }
    None
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn unpressed(error: xz2::stream::Error) -> Unpressed {
    match error {
        xz2::stream::Error::Mem => Unpressed::Failed("liblzma: out of memory"),
        _ => Unpressed::Failed("liblzma refuses to compress"),
    }
}
