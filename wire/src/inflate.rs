//! Inflates the zlib payloads of frames.
//! Compressed bytes -> the payload, never more than a limit.
//! Invariant: memory grows with what has really been inflated, up to the limit.
//! Leaves out: compressing (see `v1::encode`).

use flate2::{Decompress, FlushDecompress, Status};

/// Why a compressed payload is no good. The stream's frames stay intact: one
/// bad payload costs that frame only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// Not a zlib stream, cut short, or its checksum does not match.
    #[error("the payload is not a valid zlib stream")]
    Invalid,
    /// Inflates to more than is allowed.
    #[error("the payload inflates to more than {bytes_max} bytes")]
    TooLong {
        /// Allowed size after inflating.
        bytes_max: usize,
    },
}

/// A zlib reader that is used again and again, so that its window is
/// allocated once.
#[derive(Debug)]
pub struct Inflater {
    state: Option<Decompress>,
}

impl Inflater {
    /// A reader; its window is allocated at the first compressed payload.
    pub fn new() -> Self {
        Inflater { state: None }
    }

    /// Inflates `compressed` into `out`, which is emptied first.
    ///
    /// # Errors
    /// `Invalid`, or `TooLong` when more than `bytes_max` bytes come out.
    /// `out` then holds a part of the payload that means nothing.
    pub fn inflate(
        &mut self,
        compressed: &[u8],
        bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), InflateError> {
        out.clear();
        let state = self.state.get_or_insert_with(|| Decompress::new(true));
        state.reset(true);
        let mut rest = compressed;
        loop {
            if out.len() == out.capacity() {
                let room = grow_by(out.len(), compressed.len(), bytes_max);
                if room == 0 {
                    return Err(InflateError::TooLong { bytes_max });
                }
                out.reserve_exact(room);
            }
            let (in_before, out_before) = (state.total_in(), out.len());
            let status = state
                .decompress_vec(rest, out, FlushDecompress::None)
                .map_err(|_| InflateError::Invalid)?;
            let consumed = usize::try_from(state.total_in() - in_before).unwrap_or(usize::MAX);
            rest = rest.get(consumed..).ok_or(InflateError::Invalid)?;
            if out.len() > bytes_max {
                return Err(InflateError::TooLong { bytes_max });
            }
            match status {
                Status::StreamEnd if rest.is_empty() => return Ok(()),
                Status::StreamEnd => return Err(InflateError::Invalid),
                Status::Ok | Status::BufError => {
                    let stuck = consumed == 0 && out.len() == out_before;
                    if stuck && out.len() < out.capacity() {
                        return Err(InflateError::Invalid);
                    }
                }
            }
        }
    }
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

/// How many more bytes of room to take: doubles, starts from a guess at text's
/// usual ratio, and ends one byte past the limit, so that passing it shows.
fn grow_by(len: usize, compressed_len: usize, bytes_max: usize) -> usize {
    let target =
        if len == 0 { compressed_len.saturating_mul(4).max(512) } else { len.saturating_mul(2) };
    target.min(bytes_max.saturating_add(1)).saturating_sub(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_bomb_stops_at_the_limit_and_takes_no_more_memory() {
        let bomb = deflate(&vec![0; 64 << 20]);
        let mut out = Vec::new();
        assert_eq!(
            Inflater::new().inflate(&bomb, 1 << 20, &mut out),
            Err(InflateError::TooLong { bytes_max: 1 << 20 })
        );
        assert!(out.capacity() <= (1 << 20) + 1, "took {} bytes", out.capacity());
    }

    #[test]
    fn exactly_the_limit_passes_and_one_more_does_not() {
        let mut out = Vec::new();
        let mut inflater = Inflater::new();
        assert_eq!(inflater.inflate(&deflate(&[7; 1000]), 1000, &mut out), Ok(()));
        assert_eq!(
            inflater.inflate(&deflate(&[7; 1001]), 1000, &mut out),
            Err(InflateError::TooLong { bytes_max: 1000 })
        );
        assert_eq!(
            inflater.inflate(&deflate(&[8; 3]), 1000, &mut out),
            Ok(()),
            "usable after an error"
        );
        assert_eq!(out, [8; 3]);
    }

    #[test]
    fn trailing_bytes_and_a_cut_stream_are_invalid() {
        let mut stream = deflate(b"hello");
        let mut out = Vec::new();
        let cut = &stream[..stream.len() - 1];
        assert_eq!(Inflater::new().inflate(cut, 100, &mut out), Err(InflateError::Invalid));
        stream.push(0);
        assert_eq!(Inflater::new().inflate(&stream, 100, &mut out), Err(InflateError::Invalid));
    }

    proptest! {
        #[test]
        fn what_was_deflated_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let mut out = Vec::new();
            Inflater::new().inflate(&deflate(&bytes), 5000, &mut out).unwrap();
            prop_assert_eq!(out, bytes);
        }

        #[test]
        fn arbitrary_bytes_end_in_a_value(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            let _ = Inflater::new().inflate(&bytes, 1000, &mut out);
            prop_assert!(out.len() <= 1001);
        }
    }
}
