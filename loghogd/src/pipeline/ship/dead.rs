//! Keeps what a target will never take.
//! A record and a reason -> a line of JSON beside the states, safe before anything goes on.
//! Invariant: what a target has passed over is here, and counted.
//! Leaves out: sending it again; people look at it.
//!
//! `LOGDIR/.loghogd/ship/TARGET/dead-letter.log`, one object a line:
//! `{"at":"2026-11-20T12:00:00Z","app":"my-app","file":"web.log.2026-…","reason":"…","line":"…"}`.
//! The line is cut where it is longer than [`DEAD_LINE_BYTES_MAX`]. A letter is written
//! before the target hears that it has come past the message; so after a kill in between
//! it is written once more, but never missing.

use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;

use super::batch::Batch;
use super::limits::{DEAD_BYTES_MAX, DEAD_LINE_BYTES_MAX};
use super::target::Refused;
use crate::disk::Disk;

/// The name of the file in the folder of the target.
pub(super) const NAME: &str = "dead-letter.log";

#[derive(Serialize)]
struct Letter<'a> {
    at: String,
    app: &'a str,
    file: &'a str,
    reason: &'a str,
    line: &'a str,
}

/// Appends what was refused of a batch.
///
/// # Errors
/// What the system says; `StorageFull` when there are too many already.
pub(super) fn keep(
    disk: &dyn Disk,
    target: &str,
    batch: &Batch,
    refused: &[Refused],
    at: Timestamp,
) -> io::Result<()> {
    let mut text = Vec::new();
    for Refused { part, message, reason } in refused {
        let Some(part) = batch.parts.get(*part) else { continue };
        let Some((message, _)) = part.messages.get(*message) else { continue };
        let line = part.bytes.get(message.begin..message.end).unwrap_or_default();
        let line = line.get(..DEAD_LINE_BYTES_MAX).unwrap_or(line);
        let (line, at) = (String::from_utf8_lossy(line), at.to_string());
        let letter =
            Letter { at, app: &part.stream.app, file: &part.file, reason, line: line.trim_end() };
        serde_json::to_writer(&mut text, &letter).map_err(io::Error::other)?;
        text.push(b'\n');
    }
    let live = disk.open_live(target, NAME)?;
    let mut file = live.file;
    if file.facts()?.bytes >= DEAD_BYTES_MAX {
        let path = disk.path().join(target).join(NAME);
        let what = format!("{} is full: look at it and move it away", path.display());
        return Err(io::Error::new(io::ErrorKind::StorageFull, what));
    }
    file.write_all(&text)?;
    file.sync()?;
    if live.is_new { disk.sync_folder(target) } else { Ok(()) }
}
