//! The file of the own log.
//! Lines -> a file that turns on time, and a bounded number of turned ones.
//! Invariant: no line is lost by turning, and nothing is deleted but what is exactly named as a turned file.
//! Leaves out: what the lines say. Nothing in here may log: who logs holds this file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use nix::errno::Errno;
use nix::fcntl::{self, AT_FDCWD, RenameFlags};

use super::turn;
use crate::config::checked::When;
use crate::disk;

/// When turning is tried again after it failed, at the earliest.
const RETRY: SignedDuration = SignedDuration::from_mins(1);

/// Why the own log did not turn, or old ones are left. The surroundings'
/// fault; lines go on being written.
#[derive(Debug, thiserror::Error)]
pub(super) enum TurnError {
    /// It cannot be given its new name, or there cannot be a new file.
    #[error("cannot turn the own log {path}, it grows on: {source}; {}", disk::remedy(source))]
    Turn {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A turned file that is too many cannot be deleted.
    #[error("cannot delete {path}, an old own log: {source}; {}", disk::remedy(source))]
    Delete {
        /// The file, or the folder that cannot be read.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// An open own log. It turns when a line is to be written, never idly.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    when: When,
    /// How many turned files are kept; 0 keeps all.
    backup_count: u32,
    zone: TimeZone,
    /// None for what is no regular file: a pipe or a terminal never turns.
    due: Option<Timestamp>,
}

impl LogFile {
    /// Opens the file for appending. A turn that it missed comes with the
    /// first line.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn open(
        path: &Path,
        when: When,
        backup_count: u32,
        zone: TimeZone,
        now: Timestamp,
    ) -> io::Result<LogFile> {
        let path = path.to_owned();
        let mut log = LogFile { file: open(&path)?, path, when, backup_count, zone, due: None };
        log.due = log.due_of_file(now);
        Ok(log)
    }

    /// Opens the file anew: it may have been moved away.
    ///
    /// # Errors
    /// What the system says; the old file stays in use.
    pub(super) fn reopen(&mut self, now: Timestamp) -> io::Result<()> {
        let fresh = open(&self.path)?;
        let moved = identity(&fresh.metadata()?) != identity(&self.file.metadata()?);
        self.file = fresh;
        if moved {
            self.due = self.due_of_file(now);
        }
        Ok(())
    }

    /// Appends a line.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.file.write_all(line)
    }

    /// Turns the file if it is due. To be called before a line is written.
    ///
    /// # Errors
    /// When it does not turn, or old ones are left; writing goes on.
    pub(super) fn turn_if_due(&mut self, now: Timestamp) -> Result<(), TurnError> {
        let Some(due) = self.due else { return Ok(()) };
        if turn::is_too_far(self.when, due, now) {
            self.due = turn::due_after(self.when, now, &self.zone);
        }
        if now < due {
            return Ok(());
        }
        self.due = turn::due_after(self.when, now, &self.zone);
        match self.turn(due) {
            Ok(true) => self.delete_surplus().inspect_err(|_| self.postpone(now)),
            Ok(false) => Ok(()),
            Err(source) => {
                self.postpone(now);
                Err(TurnError::Turn { path: self.path.clone(), source })
            }
        }
    }

    /// Does the file turn?
    fn turn(&mut self, due: Timestamp) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        let theirs = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => Some(other?),
        };
        if theirs.is_none_or(|theirs| identity(&theirs) != identity(&ours)) {
            // Somebody has moved it away: that was its turn.
            self.file = open(&self.path)?;
            return Ok(false);
        }
        let Some(suffix) = turn::suffix(self.when, due, &self.zone).filter(|_| ours.len() > 0)
        else {
            return Ok(false);
        };
        let mut turned = self.path.clone().into_os_string();
        turned.push(format!(".{suffix}"));
        match rename(&self.path, Path::new(&turned)) {
            // The clock shows this time once more. Where Python overwrites
            // the file of the first time, the lines wait for the next turn.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            other => other?,
        }
        match open(&self.path) {
            Ok(file) => self.file = file,
            Err(error) => {
                // The lines go where they went, under the name that they had.
                let _ = rename(Path::new(&turned), &self.path);
                return Err(error);
            }
        }
        Ok(true)
    }

    /// Deletes the oldest turned files, down to `backup_count`.
    fn delete_surplus(&self) -> Result<(), TurnError> {
        let backups = usize::try_from(self.backup_count).unwrap_or(usize::MAX);
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let refused = |path: &Path, source| TurnError::Delete { path: path.to_owned(), source };
        if backups == 0 {
            return Ok(());
        }
        let mut turned = self.turned(folder).map_err(|error| refused(folder, error))?;
        turned.sort_unstable();
        let surplus = turned.len().saturating_sub(backups);
        let mut outcome = Ok(());
        for name in turned.iter().take(surplus) {
            let path = folder.join(name);
            outcome = outcome.and(fs::remove_file(&path).map_err(|error| refused(&path, error)));
        }
        outcome
    }

    /// The names of the turned files.
    fn turned(&self, folder: &Path) -> io::Result<Vec<String>> {
        let Some(own) = self.path.file_name().and_then(|name| name.to_str()) else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let suffix = name.strip_prefix(own).and_then(|rest| rest.strip_prefix('.'));
            let is_ours = suffix.is_some_and(|suffix| turn::is_suffix(self.when, suffix));
            if is_ours && entry.file_type()?.is_file() {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// When the open file is due.
    fn due_of_file(&self, now: Timestamp) -> Option<Timestamp> {
        let facts = self.file.metadata().ok().filter(fs::Metadata::is_file)?;
        let modified = facts.modified().ok().and_then(|at| Timestamp::try_from(at).ok());
        let begun = modified.filter(|_| facts.len() > 0).unwrap_or(now);
        turn::due_after(self.when, begun, &self.zone)
    }

    fn postpone(&mut self, now: Timestamp) {
        let retry = now.checked_add(RETRY).ok();
        self.due = self.due.max(retry);
    }
}

/// Which file it is, whatever its name.
fn identity(facts: &fs::Metadata) -> (u64, u64) {
    (facts.dev(), facts.ino())
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Gives a file another name, and never replaces one.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fcntl::renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        // Some file systems cannot promise it in one step. Nobody else makes
        // files of our names, so two steps are as good.
        Err(Errno::EINVAL | Errno::ENOSYS) => match to.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
            Err(error) => Err(error),
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        },
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests;
