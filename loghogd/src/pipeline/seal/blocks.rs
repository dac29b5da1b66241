//! Cuts a plain segment into the blocks that are compressed one by one.
//! A reader -> blocks of about one size.
//! Invariant: the blocks together are what was read; each begins at the start of a line.
//! Leaves out: compressing them.

use std::io::{self, Read};

use memchr::{memchr, memrchr};

use super::limits::BLOCK_BYTES_MAX;

/// The blocks of a segment. Only a line longer than
/// [`BLOCK_BYTES_MAX`], which is none of ours, is cut: its parts begin where
/// the block before is full.
pub(super) struct Blocks<'a> {
    plain: &'a mut dyn Read,
    block_bytes: usize,
    /// The beginning of the next block, left over from the one before.
    rest: Vec<u8>,
    at_end: bool,
}

impl<'a> Blocks<'a> {
    /// Blocks as long as whole lines allow up to `block_bytes`; a longer line
    /// makes a longer block.
    pub(super) fn new(plain: &'a mut dyn Read, block_bytes: usize) -> Blocks<'a> {
        Blocks { plain, block_bytes, rest: Vec::new(), at_end: false }
    }

    /// The next block, which is never empty; none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut block = std::mem::take(&mut self.rest);
        let mut wanted = self.block_bytes;
        loop {
            let searched = block.len();
            let is_first = wanted == self.block_bytes;
            self.fill(&mut block, wanted)?;
            if self.at_end {
                return Ok((!block.is_empty()).then_some(block));
            }
            let line_end = match is_first {
                true => memrchr(b'\n', &block),
                false => {
                    block.get(searched..).and_then(|new| memchr(b'\n', new)).map(|at| searched + at)
                }
            };
            if let Some(line_end) = line_end {
                self.rest = block.split_off(line_end + 1);
                return Ok(Some(block));
            }
            if wanted == BLOCK_BYTES_MAX {
                return Ok(Some(block));
            }
            wanted = (wanted + self.block_bytes).min(BLOCK_BYTES_MAX);
        }
    }

    /// Reads until the block has as many bytes as wanted, or the end is there.
    fn fill(&mut self, block: &mut Vec<u8>, wanted: usize) -> io::Result<()> {
        let missing = wanted.saturating_sub(block.len());
        block.reserve_exact(missing);
        let read = (&mut *self.plain).take(missing as u64).read_to_end(block)?;
        self.at_end = read < missing;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blocks(text: &[u8], block_bytes: usize) -> Vec<Vec<u8>> {
        let mut plain = text;
        let mut blocks = Blocks::new(&mut plain, block_bytes);
        std::iter::from_fn(|| blocks.next().unwrap()).collect()
    }

    proptest! {
        #[test]
        fn blocks_are_the_text_and_begin_at_line_starts(
            lines in prop::collection::vec("[a-z]{0,30}\n?", 0..60), block_bytes in 1_usize..100
        ) {
            let text = lines.concat().into_bytes();
            let blocks = blocks(&text, block_bytes);
            prop_assert_eq!(blocks.concat(), text);
            for (block, next) in blocks.iter().zip(blocks.iter().skip(1)) {
                prop_assert_eq!(block.last(), Some(&b'\n'));
                prop_assert!(!next.is_empty());
                // No longer than it must be.
                let lines = block.iter().filter(|&&byte| byte == b'\n').count();
                prop_assert!(block.len() <= block_bytes || lines == 1);
            }
        }
    }

    #[test]
    fn a_line_without_end_is_cut_where_memory_ends() {
        let text = vec![b'x'; 2 * BLOCK_BYTES_MAX + 1];
        let lengths: Vec<usize> = blocks(&text, 1 << 20).iter().map(Vec::len).collect();
        assert_eq!(lengths, [BLOCK_BYTES_MAX, BLOCK_BYTES_MAX, 1]);
    }
}
