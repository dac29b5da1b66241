//! Which files there are, and on which lists they stand.
//! What has happened to a file -> its places among those that are ready, refuse, are unsynced, open or due.
//! Invariant: each list says of a file what its state says; a path has one number.
//! Leaves out: doing what the lists say.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Rounds;
use crate::config::facility::Facility;
use crate::limits::{REFUSED_BYTES_MAX, REFUSED_FILE_BYTES_MAX};
use crate::pipeline::persist::Section;
use crate::pipeline::persist::log_file::{Listed, LogFile, owner_of};

impl Rounds {
    /// Brings the lists up to date with what has happened to a file.
    pub(super) fn note_state(&mut self, number: usize) {
        let Some(file) = self.files.get_mut(number) else { return };
        let put = |list: &mut BTreeSet<usize>, belongs: bool| match belongs {
            true => list.insert(number),
            false => list.remove(&number),
        };
        let waits = !file.parcels.is_empty();
        let retry = file.trouble.as_ref().map(|trouble| trouble.retry_at).filter(|_| waits);
        let deadline = file.unsynced_since.map(|since| since + self.settings.unsynced_time_max);
        put(&mut self.ready, waits && retry.is_none());
        put(&mut self.full, file.has_to_be_synced());
        let before = std::mem::replace(&mut file.listed, Listed { retry, deadline });
        for (list, before, after) in [
            (&mut self.retries, before.retry, retry),
            (&mut self.unsynced, before.deadline, deadline),
        ] {
            before.map(|before| list.remove(&(before, number)));
            list.extend(after.map(|after| (after, number)));
        }
        let used = std::mem::replace(&mut file.used, self.round);
        self.open.remove(&(used, number));
        if file.open.is_some() {
            self.open.insert((self.round, number));
        }
        let has_file = file.bytes > 0 || waits;
        self.count_host(number, has_file);
        self.follow_due(number);
        self.hold_back(number);
    }

    /// Lets those wait who send to a file that refuses and has much waiting
    /// already, so that there is room for the lines of others; and lets them
    /// go on when it takes lines again.
    pub(super) fn hold_back(&mut self, number: usize) {
        let Some(file) = self.files.get(number) else { return };
        let refuses = file.trouble.is_some() && !file.parcels.is_empty() && !self.is_stopping;
        let bytes = if refuses { file.waiting_bytes() } else { 0 };
        let before = match refuses {
            true => self.refusing.insert(number, bytes),
            false => self.refusing.remove(&number),
        };
        if !refuses && before.is_none() {
            return;
        }
        let why = file.trouble.as_ref().map(|trouble| trouble.why.as_str()).filter(|_| refuses);
        if refuses != before.is_some() {
            self.held.note(&format!("{}/{}", file.folder, file.live), why);
        }
        self.refusing_bytes = self.refusing_bytes + bytes - before.unwrap_or(0);
        let path = || format!("{}/{}", file.folder, file.live);
        if !refuses {
            self.held.release(&path());
        } else if bytes > REFUSED_FILE_BYTES_MAX || self.refusing_bytes > REFUSED_BYTES_MAX {
            self.held.hold(&path());
        }
    }

    /// The number of a file; a new one when it has none.
    pub(super) fn number(&mut self, folder: &str, live: &str, owner: &Arc<Facility>) -> usize {
        let path = format!("{folder}/{live}").into_boxed_str();
        if let Some(&number) = self.numbers.get(&path) {
            return number;
        }
        let file = LogFile::new(folder, live, Arc::clone(owner));
        let number = match self.free.pop() {
            Some(number) => {
                if let Some(place) = self.files.get_mut(number) {
                    *place = file;
                }
                number
            }
            None => {
                self.files.push(file);
                self.files.len() - 1
            }
        };
        self.numbers.insert(path, number);
        number
    }

    /// A file that is not there any more needs no number.
    pub(super) fn forget_if_gone(&mut self, number: usize) {
        let Some(file) = self.files.get(number).filter(|file| file.is_gone()) else { return };
        if file.unsynced_since.is_none() {
            self.numbers.remove(format!("{}/{}", file.folder, file.live).as_str());
            self.due.set(number, None);
            self.free.push(number);
        }
    }

    /// May this host have a file? Those that have one may, also when they
    /// had it before the daemon started.
    pub(super) fn admit_host(&mut self, number: usize, section: &Section) -> bool {
        let Some(file) = self.files.get(number) else { return false };
        if file.is_counted || !file.facility.file_per_host {
            return true;
        }
        let has_room = self.hosts.has_room(&owner_of(&section.facility));
        if has_room {
            self.count_host(number, true);
        }
        has_room
    }

    /// Counts a host once as long as it has a file.
    pub(super) fn count_host(&mut self, number: usize, has_file: bool) {
        let Some(file) = self.files.get_mut(number) else { return };
        if !file.facility.file_per_host || file.is_counted == has_file {
            return;
        }
        file.is_counted = has_file;
        let owner = owner_of(&file.facility);
        match has_file {
            true => self.hosts.add(&owner),
            false => self.hosts.remove(&owner),
        }
    }

    /// Asks when a file is due that has got a new beginning.
    pub(super) fn follow_due(&mut self, number: usize) {
        let Some(file) = self.files.get_mut(number) else { return };
        if let Some(since) = file.since.take() {
            file.due = self.due.next_after(&file.facility.rotate, since);
            self.due.set(number, file.due);
        } else if file.bytes == 0 {
            self.due.set(number, None);
        }
    }
}
