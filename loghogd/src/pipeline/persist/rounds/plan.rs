//! Decides what numbered messages a round writes.
//! Files with numbered messages -> regions that the journal knows of: one sync for all of them.
//! Invariant: a file gets no region before the one before it is safe, its name included.
//! Leaves out: what a region is (`log_file::region`), and writing it.

use std::collections::HashMap;
use std::io;
use std::time::Instant;

use super::Rounds;
use crate::limits::TURNS_A_FILE_MAX;
use crate::pipeline::persist::journal::Intent;
use crate::pipeline::persist::log_file::{LogFile, Plan};

impl Rounds {
    /// Decides what numbered messages are written in this round, and lets the
    /// journal know: one sync for all files. Returns those that cannot be
    /// written now.
    pub(super) fn plan(&mut self, numbers: &[usize], now: Instant) -> HashMap<usize, io::Error> {
        self.make_safe(numbers, now);
        let (mut intents, mut failed) = (Vec::new(), HashMap::new());
        for &number in numbers {
            let needs_plan = self.files.get(number).is_some_and(LogFile::needs_plan);
            // One that is planned should not have to be closed for another.
            if !needs_plan || intents.len() >= self.settings.open_files_max {
                continue;
            }
            match self.plan_file(number, now) {
                Ok(Some(intent)) => intents.push((number, intent)),
                Ok(None) => {}
                Err(error) => _ = failed.insert(number, error),
            }
            self.note_state(number);
            self.close_surplus(now);
        }
        if intents.is_empty() {
            return failed;
        }
        let intended = intents.iter().map(|(_, intent)| intent);
        if let Err(error) = self.around.journal.intend(intended, self.around.clock.now()) {
            for (number, _) in intents {
                self.with(number, now, |file, _| file.revoke());
                let error = match error.raw_os_error() {
                    Some(code) => io::Error::from_raw_os_error(code),
                    None => io::Error::other(error.to_string()),
                };
                failed.insert(number, error);
            }
        }
        failed
    }

    /// Of a file only its last region may be in doubt after a stop: the one
    /// before has to be safe. Mostly it is: only in a stop rounds do not sync.
    pub(super) fn make_safe(&mut self, numbers: &[usize], now: Instant) {
        let is_unsafe = |number: &&usize| {
            self.files.get(**number).is_some_and(|file| file.needs_plan() && file.has_receipts())
        };
        for number in numbers.iter().filter(is_unsafe).copied().collect::<Vec<_>>() {
            self.sync(number, now);
        }
        if !self.settling.is_empty() {
            self.sync_folders(now);
        }
    }

    /// None when the file has to turn more often than a round allows.
    pub(super) fn plan_file(&mut self, number: usize, now: Instant) -> io::Result<Option<Intent>> {
        let folder = self.files.get(number).map(|file| &file.folder);
        if folder.is_some_and(|folder| self.settling.contains_key(folder)) {
            return Err(io::Error::other("the name of a file in its folder could not be synced"));
        }
        for _ in 0..TURNS_A_FILE_MAX {
            match self.with(number, now, LogFile::plan).transpose()? {
                Some(Plan::Intend(intent)) => return Ok(Some(intent)),
                None => return Ok(None),
                Some(Plan::Turn) => {}
            }
            if let Err(error) = self.turn(number, now) {
                self.postpone_turn(number, &error, now);
            }
        }
        Ok(None)
    }
}
