//! Reads a closed file as it was before it was sealed.
//! A file in any form, and which -> its plain bytes, as `Read` and `BufRead`.
//! Invariant: damage is an error, never an end; memory is bounded whatever the file says.
//! Leaves out: finding messages (`split`); comparing (`seal::verify`).

use std::io::{self, BufRead, Read};

use crate::config::checked::Format;
use crate::pipeline::seal::limits::SLICE_BYTES;
use crate::pipeline::seal::{Decoder, Flaw};

/// The plain bytes of a file that is read from its beginning.
pub struct Plain<R> {
    file: R,
    /// As they stand in the file: read, and how many of them were taken.
    read: Vec<u8>,
    taken: usize,
    /// The file has come to its end.
    is_all: bool,
    /// None where nothing is sealed.
    sealed: Option<Sealed>,
}

struct Sealed {
    format: Format,
    /// None behind the last stream, member or frame.
    decoder: Option<Decoder>,
    plain: Vec<u8>,
    given: usize,
}

impl<R: Read> Plain<R> {
    /// Reads `file`, which is sealed in `format`, or not at all.
    ///
    /// # Errors
    /// There is no memory for a decoder.
    pub fn open(file: R, format: Option<Format>) -> io::Result<Plain<R>> {
        let sealed = match format {
            None => None,
            Some(format) => Some(Sealed {
                format,
                decoder: Some(Decoder::new(format).map_err(shown)?),
                plain: Vec::with_capacity(4 * SLICE_BYTES),
                given: 0,
            }),
        };
        Ok(Plain { file, read: Vec::new(), taken: 0, is_all: false, sealed })
    }

    /// What stands next in the file; empty at its end.
    fn ahead(&mut self) -> io::Result<()> {
        if self.taken < self.read.len() || self.is_all {
            return Ok(());
        }
        self.taken = 0;
        self.read.resize(SLICE_BYTES, 0);
        let filled = loop {
            match self.file.read(&mut self.read) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.read.truncate(*filled.as_ref().unwrap_or(&0));
        self.is_all = filled? == 0;
        Ok(())
    }

    /// Decodes until there is something to give, or nothing comes any more.
    fn decode(&mut self) -> io::Result<()> {
        loop {
            self.ahead()?;
            let Some(sealed) = &mut self.sealed else { return Ok(()) };
            let rest = self.read.get(self.taken..).unwrap_or_default();
            let decoder = match &mut sealed.decoder {
                Some(decoder) => decoder,
                // Another stream, member or frame begins, or that was the last.
                None if self.is_all => return Ok(()),
                None => sealed.decoder.insert(Decoder::new(sealed.format).map_err(shown)?),
            };
            sealed.plain.clear();
            sealed.given = 0;
            let step = decoder.step(rest, &mut sealed.plain, self.is_all).map_err(shown)?;
            self.taken += step.taken;
            if step.ended {
                sealed.decoder = None;
            } else if step.taken == 0 && sealed.plain.is_empty() {
                return Err(shown(Flaw::Damaged));
            }
            if !sealed.plain.is_empty() {
                return Ok(());
            }
        }
    }
}

impl<R: Read> BufRead for Plain<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match &self.sealed {
            None => self.ahead()?,
            Some(sealed) if sealed.given < sealed.plain.len() => {}
            Some(_) => self.decode()?,
        }
        Ok(match &self.sealed {
            None => self.read.get(self.taken..).unwrap_or_default(),
            Some(sealed) => sealed.plain.get(sealed.given..).unwrap_or_default(),
        })
    }

    fn consume(&mut self, bytes: usize) {
        match &mut self.sealed {
            None => self.taken = (self.taken + bytes).min(self.read.len()),
            Some(sealed) => sealed.given = (sealed.given + bytes).min(sealed.plain.len()),
        }
    }
}

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R> std::fmt::Debug for Plain<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let format = self.sealed.as_ref().map(|sealed| sealed.format);
        f.debug_struct("Plain").field("format", &format).finish_non_exhaustive()
    }
}

fn shown(flaw: Flaw) -> io::Error {
    match flaw {
        Flaw::NeedsMemory => io::Error::new(
            io::ErrorKind::OutOfMemory,
            "it needs more memory to decode than is given to a decoder",
        ),
        Flaw::Damaged | Flaw::TooLong => {
            io::Error::new(io::ErrorKind::InvalidData, "its compressed data is damaged or cut off")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    /// Gives what it has in pieces of so many bytes.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let bytes = self.1.min(buffer.len()).min(self.0.len());
            buffer[..bytes].copy_from_slice(&self.0[..bytes]);
            self.0 = &self.0[bytes..];
            Ok(bytes)
        }
    }

    fn sealed(format: Format, plain: &[u8]) -> Vec<u8> {
        match format {
            Format::Xz => {
                let mut writer = xz2::write::XzEncoder::new(Vec::new(), 1);
                writer.write_all(plain).unwrap();
                writer.finish().unwrap()
            }
            Format::Gzip => {
                let mut writer =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                writer.write_all(plain).unwrap();
                writer.finish().unwrap()
            }
            Format::Bzip2 => {
                let mut writer =
                    bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                writer.write_all(plain).unwrap();
                writer.finish().unwrap()
            }
            Format::Zstd => {
                let mut out = Vec::with_capacity(zstd_safe::compress_bound(plain.len()));
                zstd_safe::compress(&mut out, plain, 1).unwrap();
                out
            }
        }
    }

    fn read(file: &[u8], format: Option<Format>, piece: usize) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        Plain::open(Pieces(file, piece), format)?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn all_formats_give_what_was_in_them_also_in_several_parts() {
        let text = "2026-11-20 12:00:00.123456 - host - a line\n".repeat(20_000).into_bytes();
        assert_eq!(read(&text, None, 1_000_000).unwrap(), text);
        assert_eq!(read(b"", None, 1).unwrap(), b"");
        for format in Format::ALL {
            let mut file = sealed(format, &text);
            assert_eq!(read(&file, Some(format), 1_000_000).unwrap(), text, "{format:?}");
            file.extend(sealed(format, b""));
            file.extend(sealed(format, b"more\n"));
            let all = [&text[..], b"more\n"].concat();
            for piece in [1, 777, 1_000_000] {
                assert_eq!(read(&file, Some(format), piece).unwrap(), all, "{format:?} {piece}");
            }
        }
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_an_error_and_no_end() {
        let text = "a line of text\n".repeat(5_000).into_bytes();
        for format in Format::ALL {
            let file = sealed(format, &text);
            for bytes in [0, 1, 5, file.len() / 2, file.len() - 1] {
                let refused = read(&file[..bytes], Some(format), 64).unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{format:?} {bytes}");
            }
            let behind = [&file[..], b"x"].concat();
            assert!(read(&behind, Some(format), 64).is_err(), "{format:?}");
        }
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_never_panic_and_always_end(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            place in 0..4usize,
        ) {
            let _ = read(&bytes, Some(Format::ALL[place]), 7);
        }
    }
}
