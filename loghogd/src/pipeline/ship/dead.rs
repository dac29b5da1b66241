//! Keeps what a target will never take.
//! A record and a reason -> a line of JSON beside the states, safe before anything goes on.
//! Invariant: what a target has passed over is here, and counted; what has to go is counted too.
//! Leaves out: sending it again; people look at it.
//!
//! ```text
//! LOGDIR/.loghogd/ship/TARGET/
//!   dead-letter.log      one object a line:
//!     {"at":"2026-11-20T12:00:00Z","app":"my-app","file":"web.log.2026-…","offset":4096,
//!      "reason":"…","line":"…"}
//!   dead-letter.log.7    earlier ones; the higher the number, the later
//! ```
//! `offset` says where the message begins in its file, so that all of it can be found when
//! the line is cut: a letter takes no more than [`DEAD_LINE_BYTES_MAX`]. Whatever a program
//! logs, letters take no more room than [`DEAD_FILES_MAX`] files and hold nobody up. A letter
//! is written before the target hears that it has come past the message; so after a kill in
//! between it is written once more, but never missing.

use std::collections::BTreeSet;
use std::io::{self, Write as _};

use jiff::Timestamp;
use serde::Serialize;
use tracing::error;

use super::batch::Batch;
use super::limits::{DEAD_FILE_BYTES_MAX, DEAD_FILES_MAX, DEAD_LINE_BYTES_MAX, READ_BYTES};
use super::target::Refused;
use crate::disk::{Disk, DiskFile};

/// The name of the file in the folder of the target.
pub(super) const NAME: &str = "dead-letter.log";

#[derive(Serialize)]
struct Letter<'a> {
    at: &'a str,
    app: &'a str,
    file: &'a str,
    offset: u64,
    reason: &'a str,
    line: &'a str,
}

/// Appends what was refused of a batch. Adds to `dropped` how many older letters had to go.
///
/// # Errors
/// What the system says. Some of them may be there then; all are kept again.
pub(super) fn keep(
    disk: &dyn Disk,
    target: &str,
    batch: &Batch,
    refused: &[Refused],
    at: Timestamp,
    dropped: &mut u64,
) -> io::Result<()> {
    let at = at.to_string();
    let mut file = open(disk, target)?;
    let mut bytes = file.facts()?.bytes;
    // Many of them are never all in memory.
    let mut text = Vec::new();
    for Refused { part, message, reason } in refused {
        let Some(part) = batch.parts.get(*part) else { continue };
        let Some((message, _)) = part.messages.get(*message) else { continue };
        let line = part.bytes.get(message.begin..message.end).unwrap_or_default();
        let letter = Letter {
            at: &at,
            app: &part.stream.app,
            file: &part.file,
            offset: part.begin.offset + message.begin as u64,
            reason,
            line: "",
        };
        write(letter, line, &mut text)?;
        if bytes + text.len() as u64 >= DEAD_FILE_BYTES_MAX {
            file.write_all(&text)?;
            file.sync()?;
            text.clear();
            turn(disk, target, dropped)?;
            (file, bytes) = (open(disk, target)?, 0);
        } else if text.len() >= READ_BYTES {
            file.write_all(&text)?;
            bytes += text.len() as u64;
            text.clear();
        }
    }
    file.write_all(&text)?;
    file.sync()?;
    // Its name may be new, and the names of those that have turned are.
    disk.sync_folder(target)
}

/// Writes a letter, and of the line as much as there is room for.
fn write(letter: Letter<'_>, line: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let begin = out.len();
    let mut room = DEAD_LINE_BYTES_MAX;
    loop {
        let part = String::from_utf8_lossy(line.get(..room).unwrap_or(line));
        let letter = Letter { line: part.trim_end(), ..letter };
        serde_json::to_writer(&mut *out, &letter).map_err(io::Error::other)?;
        out.push(b'\n');
        // In JSON a byte may take six.
        if out.len() - begin <= DEAD_LINE_BYTES_MAX || room == 0 {
            return Ok(());
        }
        out.truncate(begin);
        room = room.min(line.len()) / 2;
    }
}

/// Opens the file that is written to. Half a line at its end is what a stop or a disk that
/// refused has left: it is cut off, and its letter is written again.
fn open(disk: &dyn Disk, target: &str) -> io::Result<Box<dyn DiskFile>> {
    let file = disk.open_live(target, NAME)?.file;
    let bytes = file.facts()?.bytes;
    let mut block = vec![0; READ_BYTES];
    let mut end = bytes;
    while end > 0 {
        let begin = end.saturating_sub(READ_BYTES as u64);
        let length = usize::try_from(end - begin).unwrap_or(READ_BYTES);
        let block = block.get_mut(..length).unwrap_or_default();
        let read = file.read_at(block, begin)?;
        let block = block.get(..read).unwrap_or_default();
        if let Some(feed) = memchr::memrchr(b'\n', block) {
            end = begin + feed as u64 + 1;
            break;
        }
        end = begin;
    }
    if end < bytes {
        file.set_len(end)?;
    }
    Ok(file)
}

/// Gives the full file a number, and removes the oldest where there are too many.
fn turn(disk: &dyn Disk, target: &str, dropped: &mut u64) -> io::Result<()> {
    let mut numbers = numbers(disk, target)?;
    let number = numbers.last().map_or(1, |last| last + 1);
    disk.rename(target, NAME, &turned(number))?;
    numbers.insert(number);
    let surplus = numbers.len().saturating_sub(DEAD_FILES_MAX);
    for oldest in numbers.into_iter().take(surplus) {
        let name = turned(oldest);
        let letters = lines(&*disk.open(target, &name)?)?;
        disk.remove(target, &name)?;
        *dropped += letters;
        let path = disk.path().join(target).join(name);
        error!(
            "there are too many dead letters of {target}: {} was removed with {letters} of them; \
             see why so much is refused",
            path.display()
        );
    }
    Ok(())
}

fn turned(number: u64) -> String {
    format!("{NAME}.{number}")
}

fn numbers(disk: &dyn Disk, target: &str) -> io::Result<BTreeSet<u64>> {
    let names = disk.names(target)?;
    let number = |name: &String| name.strip_prefix(NAME)?.strip_prefix('.')?.parse().ok();
    Ok(names.iter().filter_map(number).collect())
}

fn lines(file: &dyn DiskFile) -> io::Result<u64> {
    let (mut block, mut at, mut lines) = (vec![0; READ_BYTES], 0, 0);
    loop {
        let read = file.read_at(&mut block, at)?;
        if read == 0 {
            return Ok(lines);
        }
        at += read as u64;
        lines += memchr::memchr_iter(b'\n', block.get(..read).unwrap_or_default()).count() as u64;
    }
}

#[cfg(test)]
mod tests;
