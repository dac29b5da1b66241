//! Makes safe what was written, and closes files that are too many.
//! Files that are due to be synced, folders in which names have changed -> settled receipts.
//! Invariant: a message is settled only when its line is synced, and then the name of its file.
//! Leaves out: what was turned before it was synced (`retire`).

use std::time::Instant;

use tracing::error;

use super::Rounds;
use crate::disk;
use crate::limits::{SYNC_RETRY, SYNCS_A_ROUND_MAX};
use crate::pipeline::persist::clients::Receipt;
use crate::stats::Counter;

impl Rounds {
    /// Syncs what is due, so many files in a round that others are not kept
    /// waiting.
    pub(super) fn sync_due(&mut self, now: Instant) {
        let due = self.unsynced.iter().take_while(|&&(deadline, _)| deadline <= now);
        let due = due.map(|&(_, number)| number).filter(|number| !self.full.contains(number));
        let numbers: Vec<usize> =
            self.full.iter().copied().chain(due).take(SYNCS_A_ROUND_MAX).collect();
        for number in numbers {
            self.sync(number, now);
        }
        self.sync_folders(now);
    }

    pub(super) fn sync(&mut self, number: usize, now: Instant) {
        let receipts = self.with(number, now, |file, desk| file.sync(desk));
        self.note_name(number, now);
        self.note_safe(number, receipts, now);
        self.note_state(number);
        self.forget_if_gone(number);
    }

    pub(super) fn close(&mut self, number: usize, now: Instant) {
        let receipts = self.with(number, now, |file, desk| file.close(desk));
        self.note_name(number, now);
        self.note_safe(number, receipts, now);
        self.note_state(number);
    }

    /// What was synced is safe as soon as the name of its file is.
    pub(super) fn note_safe(
        &mut self,
        number: usize,
        receipts: Option<Vec<Receipt>>,
        now: Instant,
    ) {
        let Some(receipts) = receipts.filter(|receipts| !receipts.is_empty()) else { return };
        let Some(file) = self.files.get(number) else { return };
        if let Some(deadline) = self.folders_unsynced.get_mut(&file.folder) {
            *deadline = now.min(*deadline);
        }
        self.settling.entry(file.folder.clone()).or_default().extend(receipts);
    }

    /// A line is only safe when the name of its file is. Many files share a
    /// folder, which is synced once for all of them.
    pub(super) fn note_name(&mut self, number: usize, deadline: Instant) {
        let Some(file) = self.files.get_mut(number) else { return };
        if std::mem::take(&mut file.name_unsynced) {
            self.folders_unsynced.insert(file.folder.clone(), deadline);
        }
    }

    pub(super) fn sync_folders(&mut self, now: Instant) {
        let due = self.folders_unsynced.iter().filter(|&(_, &deadline)| deadline <= now);
        for folder in due.map(|(folder, _)| folder.clone()).collect::<Vec<_>>() {
            self.sync_folder(&folder, now);
        }
        let unsynced = &self.folders_unsynced;
        for (_, receipts) in self.settling.extract_if(|folder, _| !unsynced.contains_key(folder)) {
            receipts.into_iter().for_each(Receipt::settle);
        }
    }

    pub(super) fn sync_folder(&mut self, folder: &str, now: Instant) {
        match self.around.disk.sync_folder(folder) {
            Ok(()) => {
                self.folders_unsynced.remove(folder);
                self.folders_failing.remove(folder);
            }
            Err(error) => {
                self.folders_unsynced.insert(folder.into(), now + SYNC_RETRY);
                self.around.stats.add(Counter::SyncFailures, 1);
                if !self.folders_failing.insert(folder.into()) {
                    return;
                }
                error!(
                    "cannot sync {}: {error}; names that were given in the last moments may be \
                     lost with the power; {}",
                    self.around.disk.path().join(folder).display(),
                    disk::remedy(&error)
                );
            }
        }
    }

    pub(super) fn close_surplus(&mut self, now: Instant) {
        while self.open.len() > self.settings.open_files_max {
            self.close_oldest(now);
        }
    }

    pub(super) fn close_oldest(&mut self, now: Instant) {
        if let Some(&(_, number)) = self.open.first() {
            self.close(number, now);
        }
    }
}
