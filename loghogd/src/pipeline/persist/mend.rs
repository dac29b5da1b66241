//! Mends the end of a live file, as a kill in the middle of a write leaves it.
//! An open file -> the same, ending with a whole line.
//! Invariant: whole lines stay; what is cut off was never whole, so nobody was told that it is safe.
//! Leaves out: opening the file.

use std::io;

use crate::disk::DiskFile;
use crate::limits::LINE_BYTES_MAX;

/// Cuts the file behind its last line feed; returns how many bytes that were.
/// A file whose last line is longer than any of ours is not ours to cut: it
/// gets the line feed that it lacks.
///
/// # Errors
/// What the system says.
pub(super) fn cut_torn_line(file: &mut dyn DiskFile) -> io::Result<u64> {
    const BLOCK_BYTES: u64 = 64 << 10;
    let facts = file.facts()?;
    let end = facts.bytes;
    let cut = |file: &dyn DiskFile, keep: u64| {
        if keep < end {
            file.set_len(keep)?;
            // When lines were written last tells when the file is due.
            file.set_modified(facts.modified)?;
            file.sync()?;
        }
        Ok(end - keep)
    };
    let mut block = Vec::new();
    let mut start = end;
    while start > 0 && end - start <= LINE_BYTES_MAX as u64 {
        let stop = start;
        start = start.saturating_sub(BLOCK_BYTES);
        block.resize(usize::try_from(stop - start).unwrap_or(0), 0);
        if file.read_at(&mut block, start)? < block.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(place) = block.iter().rposition(|&byte| byte == b'\n') {
            return cut(file, start + place as u64 + 1);
        }
    }
    if start == 0 {
        return cut(file, 0);
    }
    file.write_all(b"\n")?;
    Ok(0)
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
        let torn_bytes = cut_torn_line(&mut *live.file).unwrap();
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
    fn a_last_line_longer_than_ours_can_be_is_kept() {
        let foreign = vec![b'x'; LINE_BYTES_MAX + (128 << 10)];
        let (torn_bytes, after) = mended(&foreign);
        assert_eq!((torn_bytes, after.len()), (0, foreign.len() + 1));
    }
}
