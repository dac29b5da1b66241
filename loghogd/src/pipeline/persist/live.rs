//! What a live file looks like: plain lines, or gzip members of them.
//! A form and an open file -> its name, its end mended, its beginning.
//! Invariant: what is cut off was never whole, so nobody was told that it is safe.
//! Leaves out: when it is written and turned (`log_file`).
//!
//! ```text
//! web.log      lines
//! web.log.gz   with compress_on_write: gzip members, one for each write;
//!              any of them, and all together, are read by zcat
//! ```

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use jiff::tz::TimeZone;

use crate::config::checked::Format;
use crate::disk::DiskFile;
use crate::limits::LINE_BYTES_MAX;
use crate::pipeline::rotate::name::{Began, HEAD_BYTES_MAX};
use crate::pipeline::seal::whole_members;

/// How lines stand in live files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Plain,
    /// In gzip members.
    Gzip {
        /// From 0 to 9.
        level: u32,
    },
}

impl Form {
    /// What a live file is called on the disk.
    pub(super) fn name(self, live: &str) -> String {
        match self.format() {
            None => live.to_owned(),
            Some(format) => format!("{live}.{}", format.extension()),
        }
    }

    /// What its segments are already.
    pub(super) fn format(self) -> Option<Format> {
        match self {
            Form::Plain => None,
            Form::Gzip { .. } => Some(Format::Gzip),
        }
    }
}

/// What was found at the end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Mended {
    /// So many bytes of what a kill in the middle of a write leaves; they are
    /// cut off.
    Cut(u64),
    /// A member that somebody else did not finish: zcat reads what is in it,
    /// but nothing that would stand behind it. It is as it was.
    Foreign,
}

/// Cuts off what a kill in the middle of a write has left at a file's end.
///
/// # Errors
/// What the system says.
pub(in crate::pipeline) fn mend(file: &mut dyn DiskFile, form: Form) -> io::Result<Mended> {
    match form {
        Form::Plain => cut_torn_line(file).map(Mended::Cut),
        Form::Gzip { .. } => {
            let whole = whole_members(&*file)?;
            match whole.torn_is_foreign {
                true => Ok(Mended::Foreign),
                false => cut(file, whole.bytes).map(Mended::Cut),
            }
        }
    }
}

/// When the first line of a file was written: what it says itself, else when
/// the file was changed last.
///
/// # Errors
/// What the system says.
pub(super) fn began(file: &dyn DiskFile, form: Form, zone: &TimeZone) -> io::Result<Began> {
    match stamp(file, form)? {
        Some(began) => Ok(began),
        None => Ok(Began::from_datetime(zone.to_datetime(file.facts()?.modified))),
    }
}

/// What a file's first line says, where it does.
///
/// # Errors
/// What the system says.
pub(super) fn stamp(file: &dyn DiskFile, form: Form) -> io::Result<Option<Began>> {
    /// Of a gzip file, enough to inflate the first stamp.
    const BEGINNING_BYTES: usize = 4 << 10;
    let mut beginning = vec![0; BEGINNING_BYTES];
    let bytes = file.read_at(&mut beginning, 0)?;
    beginning.truncate(bytes);
    let mut head = Vec::new();
    let (head_bytes_max, beginning) = (HEAD_BYTES_MAX as u64, beginning.as_slice());
    // What is behind the head need not even be readable.
    let _ = match form {
        Form::Plain => beginning.take(head_bytes_max).read_to_end(&mut head),
        Form::Gzip { .. } => {
            MultiGzDecoder::new(beginning).take(head_bytes_max).read_to_end(&mut head)
        }
    };
    Ok(Began::from_stamp(&head))
}

/// Cuts a file behind its last line feed. A file whose last line is longer
/// than any of ours is not ours to cut: it gets the line feed that it lacks.
fn cut_torn_line(file: &mut dyn DiskFile) -> io::Result<u64> {
    const BLOCK_BYTES: u64 = 64 << 10;
    let end = file.facts()?.bytes;
    let mut block = Vec::new();
    let mut start = end;
    while start > 0 && end - start <= LINE_BYTES_MAX as u64 {
        let stop = start;
        start = start.saturating_sub(BLOCK_BYTES);
        block.resize(usize::try_from(stop - start).unwrap_or(0), 0);
        if file.read_at(&mut block, start)? < block.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(place) = memchr::memrchr(b'\n', &block) {
            return cut(file, start + place as u64 + 1);
        }
    }
    if start == 0 {
        return cut(file, 0);
    }
    file.write_all(b"\n")?;
    Ok(0)
}

/// Keeps so many bytes; returns how many that were not.
fn cut(file: &dyn DiskFile, keep: u64) -> io::Result<u64> {
    let facts = file.facts()?;
    if keep < facts.bytes {
        file.set_len(keep)?;
        // When lines were written last tells when the file is due.
        file.set_modified(facts.modified)?;
        file.sync()?;
    }
    // Somebody else may have cut off more meanwhile.
    Ok(facts.bytes.saturating_sub(keep))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, LogDir};
    use std::fs;

    fn mended(before: &[u8]) -> (u64, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let log_dir = LogDir::open(folder.path()).unwrap();
        fs::create_dir(folder.path().join("app")).unwrap();
        let path = folder.path().join("app/web.log");
        fs::write(&path, before).unwrap();
        let modified = log_dir.facts("app", "web.log").unwrap().unwrap().modified;
        let mut live = log_dir.open_live("app", "web.log").unwrap();
        let Mended::Cut(torn_bytes) = mend(&mut *live.file, Form::Plain).unwrap() else { panic!() };
        if torn_bytes > 0 {
            assert_eq!(live.file.facts().unwrap().modified, modified);
        }
        (torn_bytes, fs::read(&path).unwrap())
    }

    #[test]
    fn a_torn_last_line_is_cut_and_whole_lines_stay() {
        for (before, after) in [
            (&b"one\ntwo\nthr"[..], &b"one\ntwo\n"[..]),
            (b"one\n", b"one\n"),
            (b"torn from the start", b""),
            (b"", b""),
        ] {
            let torn_bytes = (before.len() - after.len()) as u64;
            assert_eq!(mended(before), (torn_bytes, after.to_owned()));
        }
        let long = [b"one\n".to_vec(), vec![b'x'; 200_000]].concat();
        assert_eq!(mended(&long), (200_000, b"one\n".to_vec()));
    }

    #[test]
    fn a_file_says_itself_when_it_began_in_text_and_in_json() {
        let folder = tempfile::tempdir().unwrap();
        let log_dir = LogDir::open(folder.path()).unwrap();
        fs::create_dir(folder.path().join("app")).unwrap();
        let text = "2020-01-02 03:04:05.678901 - - - x\n";
        let json = "{\"received\":\"2020-01-02T03:04:05.678901+01:00\",\"sent\":null}\n";
        for line in [text, json] {
            for (form, name) in [(Form::Plain, "web.log"), (Form::Gzip { level: 6 }, "web.log.gz")]
            {
                let path = folder.path().join("app").join(name);
                let mut bytes = line.as_bytes().to_vec();
                if form != Form::Plain {
                    let level = flate2::Compression::new(6);
                    bytes = Vec::new();
                    flate2::read::GzEncoder::new(line.as_bytes(), level)
                        .read_to_end(&mut bytes)
                        .unwrap();
                }
                fs::write(&path, bytes).unwrap();
                let live = log_dir.open_live("app", name).unwrap();
                let began = began(&*live.file, form, &TimeZone::UTC).unwrap();
                assert_eq!(began.to_string(), "2020-01-02-03-04-05-678901", "{name}: {line}");
            }
        }
    }

    #[test]
    fn a_last_line_longer_than_ours_can_be_is_kept() {
        let foreign = vec![b'x'; LINE_BYTES_MAX + (128 << 10)];
        let (torn_bytes, after) = mended(&foreign);
        assert_eq!((torn_bytes, after.len()), (0, foreign.len() + 1));
    }
}
