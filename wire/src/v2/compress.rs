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
