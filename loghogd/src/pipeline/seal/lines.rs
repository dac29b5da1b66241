//! Reads the plain bytes of a segment, whatever form it is in.
//! An open file -> its lines, from the beginning on.
//! Invariant: damaged bytes are an error (`InvalidData`), and memory is bounded whatever they say.
//! Leaves out: comparing with what was sealed (`verify`).

use std::io::{self, Read};

use super::decode::{Decoder, Flaw};
use super::limits::SLICE_BYTES;
use crate::config::checked::Format;
use crate::disk::DiskFile;

/// A segment that is being read.
#[derive(Debug)]
pub struct Lines {
    file: Box<dyn DiskFile>,
    /// What was read of the file, and not decoded yet.
    sealed: Vec<u8>,
    taken: usize,
    /// Where to read on, and where the file ends.
    at: u64,
    end: u64,
    decoding: Option<Decoding>,
    /// What was decoded, and not handed out yet.
    plain: Vec<u8>,
    handed_out: usize,
}

struct Decoding {
    format: Format,
    decoder: Decoder,
}

impl std::fmt::Debug for Decoding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.format.fmt(f)
    }
}

impl Lines {
    /// Begins to read a file in this form; none for lines as they are.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(file: Box<dyn DiskFile>, format: Option<Format>) -> io::Result<Lines> {
        let end = file.facts()?.bytes;
        let decoding = match format {
            Some(format) => Some(Decoding { format, decoder: decoder(format)? }),
            None => None,
        };
        Ok(Lines {
            file,
            sealed: Vec::new(),
            taken: 0,
            at: 0,
            end,
            decoding,
            plain: Vec::new(),
            handed_out: 0,
        })
    }

    /// Decodes some more; false at the end.
    fn decode(&mut self) -> io::Result<bool> {
        self.plain.clear();
        self.handed_out = 0;
        self.plain.reserve(4 * SLICE_BYTES);
        loop {
            if self.taken == self.sealed.len() {
                self.taken = 0;
                self.sealed.resize(SLICE_BYTES, 0);
                let read = self.file.read_at(&mut self.sealed, self.at)?;
                self.sealed.truncate(read);
                self.at += read as u64;
            }
            let is_all = self.at >= self.end || self.sealed.is_empty();
            let rest = self.sealed.get(self.taken..).unwrap_or_default();
            let Some(decoding) = &mut self.decoding else { return Ok(false) };
            let step = decoding.decoder.step(rest, &mut self.plain, is_all).map_err(flaw)?;
            let at_end = is_all && step.taken == rest.len();
            self.taken += step.taken;
            if step.ended && !at_end {
                decoding.decoder = decoder(decoding.format)?;
            } else if step.ended {
                self.decoding = None;
            }
            if !self.plain.is_empty() {
                return Ok(true);
            }
            if self.decoding.is_none() {
                return Ok(false);
            }
            if step.taken == 0 && !step.ended {
                return Err(flaw(Flaw::Damaged));
            }
        }
    }
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.decoding.is_none() && self.plain.is_empty() && self.sealed.is_empty() {
            let read = self.file.read_at(buffer, self.at)?;
            self.at += read as u64;
            return Ok(read);
        }
        if self.handed_out == self.plain.len() && !self.decode()? {
            return Ok(0);
        }
        let ready = self.plain.get(self.handed_out..).unwrap_or_default();
        let bytes = ready.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(ready) {
            *to = *from;
        }
        self.handed_out += bytes;
        Ok(bytes)
    }
}

fn decoder(format: Format) -> io::Result<Decoder> {
    Decoder::new(format).map_err(flaw)
}

fn flaw(flaw: Flaw) -> io::Error {
    match flaw {
        Flaw::Damaged => io::Error::new(io::ErrorKind::InvalidData, "it is damaged"),
        Flaw::TooLong => io::Error::new(io::ErrorKind::InvalidData, "it is too long"),
        Flaw::NeedsMemory => io::Error::new(
            io::ErrorKind::InvalidData,
            "it was compressed by somebody else, and takes too much memory to read",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, LogDir};
    use std::process::{Command, Stdio};
    use tempfile::TempDir;

    /// Lines that compress well, and do not fit into one slice.
    fn lines() -> Vec<u8> {
        (0..40_000).flat_map(|number| format!("line {number} of it\n").into_bytes()).collect()
    }

    fn read(bytes: &[u8], format: Option<Format>) -> io::Result<Vec<u8>> {
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("app")).unwrap();
        std::fs::write(folder.path().join("app/file"), bytes).unwrap();
        let disk = LogDir::open(folder.path()).unwrap();
        let mut plain = Vec::new();
        Lines::open(disk.open("app", "file")?, format)?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    fn piped(program: &[&str], bytes: &[u8]) -> Vec<u8> {
        let mut child = Command::new(program[0])
            .args(&program[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let bytes = bytes.to_vec();
        let writer = std::thread::spawn(move || io::Write::write_all(&mut stdin, &bytes));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        output.stdout
    }

    #[test]
    fn every_form_is_read_also_of_several_streams_in_one_file() {
        let lines = lines();
        assert_eq!(read(&lines, None).unwrap(), lines);
        assert_eq!(read(b"", None).unwrap(), b"");
        for (format, program) in
            [(Format::Xz, "xz"), (Format::Gzip, "gzip"), (Format::Bzip2, "bzip2")]
        {
            let sealed = piped(&[program, "-c"], &lines);
            assert_eq!(read(&sealed, Some(format)).unwrap(), lines, "{program}");
            let twice = [&sealed[..], &sealed].concat();
            assert_eq!(read(&twice, Some(format)).unwrap(), lines.repeat(2), "{program}");
        }
        let sealed = zstd(&lines);
        assert_eq!(read(&sealed, Some(Format::Zstd)).unwrap(), lines);
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(zstd_safe::compress_bound(bytes.len()));
        zstd_safe::compress(&mut sealed, bytes, 3).unwrap();
        sealed
    }

    #[test]
    fn what_is_cut_or_altered_is_an_error() {
        let sealed = piped(&["xz", "-c"], &lines());
        let error = read(&sealed[..sealed.len() - 9], Some(Format::Xz)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let mut altered = sealed.clone();
        altered[sealed.len() / 2] ^= 1;
        assert!(read(&altered, Some(Format::Xz)).is_err());
        assert!(read(b"hello", Some(Format::Gzip)).is_err());
    }
}
