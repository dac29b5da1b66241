//! Compresses the payloads of batches, and inflates them again.
//! A payload -> a shorter one, or none; and back, never more than a limit.
//! Invariant: inflating takes no more memory than the limit, and one fixed state.
//! Leaves out: whether it is worth the time.
//!
//! zlib: one stream (RFC 1950). zstd: one frame (RFC 8878) that says how long
//! its content is, and has no dictionary.

use flate2::{Compress, FlushCompress, Status};
use zstd_safe::{CCtx, DCtx};

use crate::inflate::{InflateError, Inflater};

/// How a payload is compressed, by its number in the flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Compression {
    /// Not at all.
    #[default]
    None = 0,
    /// A zlib stream.
    Zlib = 1,
    /// A zstd frame.
    Zstd = 2,
}

impl Compression {
    /// The compression of this number.
    pub fn from_number(number: u8) -> Option<Compression> {
        match number {
            0 => Some(Compression::None),
            1 => Some(Compression::Zlib),
            2 => Some(Compression::Zstd),
            _ => None,
        }
    }
}

/// What a server can inflate. `None` is always among it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compressions(u64);

impl Compressions {
    /// Nothing may be compressed.
    pub const NONE: Compressions = Compressions(0);
    /// All that this program knows.
    pub const ALL: Compressions = Compressions(Self::KNOWN);

    const KNOWN: u64 = 1 << Compression::Zlib as u8 | 1 << Compression::Zstd as u8;

    /// This one as well.
    #[must_use]
    pub fn with(self, compression: Compression) -> Compressions {
        Compressions((self.0 | 1 << compression as u8) & Self::KNOWN)
    }

    /// May this be used?
    pub fn allow(self, compression: Compression) -> bool {
        compression == Compression::None || self.0 & 1 << compression as u8 != 0
    }

    /// As sent: bit 1 zlib, bit 2 zstd.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Those of the bits that this program knows.
    pub fn from_bits(bits: u64) -> Compressions {
        Compressions(bits & Self::KNOWN)
    }
}

/// Why a payload did not become shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompressError {
    /// It is as short as it gets: send it as it is.
    #[error("compressing makes the payload no shorter; send it plain")]
    NoShorter,
    /// The library has no memory.
    #[error("there is no memory to compress")]
    NoMemory,
}

/// Compresses payload after payload with states that are allocated once.
#[derive(Default)]
pub struct Compressor {
    zlib: Option<Compress>,
    zstd: Option<CCtx<'static>>,
}

impl Compressor {
    /// zlib's level: the fastest that is still worth it for text.
    const ZLIB_LEVEL: u32 = 1;
    /// zstd's level.
    const ZSTD_LEVEL: i32 = 1;

    /// A compressor; each state is allocated when it is first needed.
    pub fn new() -> Compressor {
        Compressor::default()
    }

    /// Compresses `payload` into `out`, which is emptied first.
    ///
    /// # Errors
    /// `NoShorter` (always for `Compression::None`) or `NoMemory`: `out` means
    /// nothing then, and the payload may be sent as it is.
    pub fn compress(
        &mut self,
        compression: Compression,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CompressError> {
        out.clear();
        // No more room than is worth it: what does not fit is no shorter.
        let room = payload.len().saturating_sub(1);
        out.reserve_exact(room);
        match compression {
            Compression::None => Err(CompressError::NoShorter),
            Compression::Zlib => self.zlib(payload, out),
            Compression::Zstd => self.zstd(payload, out),
        }?;
        if out.len() > room { Err(CompressError::NoShorter) } else { Ok(()) }
    }

    fn zlib(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
        let level = flate2::Compression::new(Self::ZLIB_LEVEL);
        let state = self.zlib.get_or_insert_with(|| Compress::new(level, true));
        state.reset();
        match state.compress_vec(payload, out, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => Ok(()),
            _ => Err(CompressError::NoShorter),
        }
    }

    fn zstd(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
        let state = match &mut self.zstd {
            Some(state) => state,
            none => none.insert(CCtx::try_create().ok_or(CompressError::NoMemory)?),
        };
        match state.compress(out, payload, Self::ZSTD_LEVEL) {
            Ok(_) => Ok(()),
            Err(_) => Err(CompressError::NoShorter),
        }
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Compressor(..)")
    }
}

/// Inflates payload after payload with states that are allocated once.
#[derive(Default)]
pub struct Expander {
    zlib: Inflater,
    zstd: Option<DCtx<'static>>,
}

impl Expander {
    /// An expander; each state is allocated when it is first needed.
    pub fn new() -> Expander {
        Expander::default()
    }

    /// The payload as it was before it was compressed: `sent` itself, or what
    /// was put into `out`, which is emptied first.
    ///
    /// # Errors
    /// `Invalid`, or `TooLong` when there are more than `bytes_max` bytes.
    pub fn expand<'a>(
        &mut self,
        compression: Compression,
        sent: &'a [u8],
        bytes_max: usize,
        out: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], InflateError> {
        match compression {
            Compression::None if sent.len() > bytes_max => {
                return Err(InflateError::TooLong { bytes_max });
            }
            Compression::None => return Ok(sent),
            Compression::Zlib => self.zlib.inflate(sent, bytes_max, out)?,
            Compression::Zstd => self.zstd(sent, bytes_max, out)?,
        }
        Ok(out)
    }

    fn zstd(
        &mut self,
        sent: &[u8],
        bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), InflateError> {
        out.clear();
        // One frame that is not a skippable one, and nothing behind it.
        if !sent.starts_with(&zstd_safe::MAGICNUMBER.to_le_bytes())
            || zstd_safe::find_frame_compressed_size(sent) != Ok(sent.len())
        {
            return Err(InflateError::Invalid);
        }
        let Ok(Some(bytes)) = zstd_safe::get_frame_content_size(sent) else {
            return Err(InflateError::Invalid);
        };
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if bytes > bytes_max {
            return Err(InflateError::TooLong { bytes_max });
        }
        out.reserve_exact(bytes);
        let state = match &mut self.zstd {
            Some(state) => state,
            none => none.insert(DCtx::try_create().ok_or(InflateError::Invalid)?),
        };
        match state.decompress(out, sent) {
            Ok(inflated) if inflated == bytes => Ok(()),
            _ => Err(InflateError::Invalid),
        }
    }
}

impl std::fmt::Debug for Expander {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Expander(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOTH: [Compression; 2] = [Compression::Zlib, Compression::Zstd];

    fn compressed(compression: Compression, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Compressor::new().compress(compression, payload, &mut out).unwrap();
        out
    }

    fn expand(compression: Compression, sent: &[u8], max: usize) -> Result<Vec<u8>, InflateError> {
        let mut out = Vec::new();
        let payload = Expander::new().expand(compression, sent, max, &mut out)?.to_vec();
        assert!(out.capacity() <= max + 1, "took {} bytes", out.capacity());
        Ok(payload)
    }

    #[test]
    fn a_bomb_takes_no_more_memory_than_the_limit() {
        let bytes_max = 1 << 20;
        for compression in BOTH {
            let bomb = compressed(compression, &vec![0; 64 << 20]);
            let mut out = Vec::new();
            let mut expander = Expander::new();
            let refused = expander.expand(compression, &bomb, bytes_max, &mut out);
            assert_eq!(refused, Err(InflateError::TooLong { bytes_max }));
            assert!(out.capacity() <= bytes_max + 1, "took {} bytes", out.capacity());
            let small = compressed(compression, &[7; 1000]);
            let payload = expander.expand(compression, &small, 1000, &mut out);
            assert_eq!(payload, Ok(&[7; 1000][..]), "usable after an error");
        }
        let bytes_max = 3;
        let refused = Err(InflateError::TooLong { bytes_max });
        assert_eq!(expand(Compression::None, b"four", bytes_max), refused);
    }

    #[test]
    fn exactly_the_limit_passes() {
        for compression in BOTH {
            let sent = compressed(compression, &[7; 1000]);
            assert_eq!(expand(compression, &sent, 1000), Ok(vec![7; 1000]));
            let refused = Err(InflateError::TooLong { bytes_max: 999 });
            assert_eq!(expand(compression, &sent, 999), refused);
        }
    }

    #[test]
    fn one_stream_and_nothing_else_is_a_payload() {
        for compression in BOTH {
            let sent = compressed(compression, &[7; 1000]);
            let twice = [&sent[..], &sent].concat();
            let longer = [&sent[..], &[0]].concat();
            for bad in [&twice, &longer, &sent[..sent.len() - 1], &[], b"no stream at all"] {
                assert_eq!(expand(compression, bad, 9999), Err(InflateError::Invalid));
            }
        }
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0];
        assert_eq!(expand(Compression::Zstd, &skippable, 9), Err(InflateError::Invalid));
    }

    #[test]
    fn a_zstd_frame_has_to_say_how_long_its_content_is_and_not_lie() {
        let mut unsaid = Vec::with_capacity(1000);
        let mut state = CCtx::create();
        state.set_parameter(zstd_safe::CParameter::ContentSizeFlag(false)).unwrap();
        state.compress2(&mut unsaid, &[7; 1000]).unwrap();
        assert_eq!(expand(Compression::Zstd, &unsaid, 9999), Err(InflateError::Invalid));

        let mut said = compressed(Compression::Zstd, &[7; 1000]);
        let size = said.windows(2).position(|two| two == (1000_u16 - 256).to_le_bytes()).unwrap();
        for content in [999_u16, 1001] {
            said[size..size + 2].copy_from_slice(&(content - 256).to_le_bytes());
            assert_eq!(expand(Compression::Zstd, &said, 9999), Err(InflateError::Invalid));
        }
    }

    #[test]
    fn what_gets_no_shorter_is_to_be_sent_plain() {
        let noise: Vec<u8> = (0..=255).collect();
        for compression in [Compression::None, Compression::Zlib, Compression::Zstd] {
            for payload in [&noise[..], b"", b"a"] {
                let refused = Compressor::new().compress(compression, payload, &mut Vec::new());
                assert_eq!(refused, Err(CompressError::NoShorter));
            }
        }
    }

    #[test]
    fn only_known_compressions_are_offered() {
        assert_eq!(Compressions::from_bits(u64::MAX), Compressions::ALL);
        assert_eq!(Compressions::ALL.bits(), 0b110);
        let zstd = Compressions::NONE.with(Compression::Zstd);
        assert!(zstd.allow(Compression::Zstd) && zstd.allow(Compression::None));
        assert!(!zstd.allow(Compression::Zlib));
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(
            piece in prop::collection::vec(any::<u8>(), 1..300), times in 10_usize..30,
        ) {
            let payload = piece.repeat(times);
            let (mut compressor, mut expander) = (Compressor::new(), Expander::new());
            for compression in [Compression::Zlib, Compression::Zstd, Compression::Zlib] {
                let (mut sent, mut out) = (vec![1; 3], vec![2; 3]);
                if compressor.compress(compression, &payload, &mut sent).is_ok() {
                    prop_assert!(sent.len() < payload.len());
                    let read = expander.expand(compression, &sent, payload.len(), &mut out);
                    prop_assert_eq!(read, Ok(&payload[..]));
                }
            }
        }

        #[test]
        fn arbitrary_bytes_end_in_a_value(
            bytes in prop::collection::vec(any::<u8>(), 0..200), zstd in any::<bool>(),
        ) {
            let sent = if zstd { [&[0x28, 0xb5, 0x2f, 0xfd], &bytes[..]].concat() } else { bytes };
            for compression in BOTH {
                if let Ok(payload) = expand(compression, &sent, 1000) {
                    prop_assert!(payload.len() <= 1000);
                }
            }
        }
    }
}
