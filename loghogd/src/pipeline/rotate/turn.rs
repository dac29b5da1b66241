//! Turns a file: gives the live file the name of a closed segment.
//! A live file's name and the beginning of what is in it -> a `Segment`.
//! Invariant: the new segment's name comes behind those of all segments of that file.
//! Leaves out: whether it is due, syncing, and the next live file.
//!
//! It is one step, a rename: before it the lines are in the live file, after
//! it they are in the segment, and no file is ever replaced.

use std::collections::HashMap;
use std::io;

use super::name::{Began, Name, Segment};
use crate::config::checked::Format;
use crate::disk::Disk;

/// Names that are tried before giving up: somebody else would have to make
/// segments of this file in the same microseconds.
const ATTEMPTS_MAX: usize = 1000;

/// The newest segment of every file that has any: a new one is named later,
/// so that the order of names is that of the lines, whatever the clock does.
#[derive(Debug, Default)]
pub struct Newest {
    by_folder: HashMap<Box<str>, HashMap<Box<str>, Began>>,
}

impl Newest {
    /// Takes note of a name in a folder.
    pub fn note(&mut self, folder: &str, name: &Name) {
        match name {
            Name::Segment(segment) | Name::Unfinished(segment) => {
                self.note_segment(folder, segment)
            }
            Name::Damaged(damaged) => self.note_segment(folder, &damaged.segment),
            Name::Live { .. } | Name::Foreign => {}
        }
    }

    fn note_segment(&mut self, folder: &str, segment: &Segment) {
        if !self.by_folder.contains_key(folder) {
            self.by_folder.insert(folder.into(), HashMap::new());
        }
        let Some(files) = self.by_folder.get_mut(folder) else { return };
        match files.get_mut(&*segment.live) {
            Some(newest) => *newest = segment.began.max(*newest),
            None => {
                files.insert(segment.live.clone(), segment.began);
            }
        }
    }

    fn of(&self, folder: &str, live: &str) -> Option<Began> {
        self.by_folder.get(folder)?.get(live).copied()
    }
}

/// Turns the live file `name` of `live` (`web.log`, and `web.log.gz` where it
/// is compressed already). `began` is when its first line was written. Before
/// each attempt `announce` hears the name.
///
/// # Errors
/// What the system says; the live file is as before.
pub fn turn(
    disk: &dyn Disk,
    folder: &str,
    live: &str,
    format: Option<Format>,
    began: Began,
    newest: &mut Newest,
    announce: &mut dyn FnMut(&Segment) -> io::Result<()>,
) -> io::Result<Segment> {
    let behind = newest.of(folder, live).and_then(Began::next);
    let mut segment =
        Segment { live: live.into(), began: behind.map_or(began, |b| b.max(began)), format };
    let name = match format {
        Some(format) => format!("{live}.{}", format.extension()),
        None => live.to_owned(),
    };
    for _ in 0..ATTEMPTS_MAX {
        announce(&segment)?;
        match disk.rename(folder, &name, &segment.to_string()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                segment.began = segment.began.next().ok_or(error)?;
            }
            Err(error) => return Err(error),
            Ok(()) => {
                newest.note_segment(folder, &segment);
                return Ok(segment);
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
