//! A disk in memory that only knows names and sizes: all that trimming asks
//! for. It can refuse, and give room back late.

use crate::disk::{Disk, DiskFile, Facts, Live, Space};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

#[derive(Debug)]
pub(super) struct Shelf(Mutex<State>);

#[derive(Debug)]
struct State {
    files: BTreeMap<(String, String), Facts>,
    space: Space,
    keeps_room_back: bool,
    refused_names: BTreeSet<String>,
    refused_removals: BTreeSet<(String, String)>,
    synced: Vec<String>,
    listed: usize,
}

impl Shelf {
    pub(super) fn new() -> Shelf {
        Shelf(Mutex::new(State {
            files: BTreeMap::new(),
            space: Space { total_bytes: 1 << 40, free_bytes: 1 << 39, shows_late: true },
            keeps_room_back: false,
            refused_names: BTreeSet::new(),
            refused_removals: BTreeSet::new(),
            synced: Vec::new(),
            listed: 0,
        }))
    }

    pub(super) fn put(&self, folder: &str, name: &str, bytes: u64, modified: Timestamp) {
        let facts = Facts { id: (0, 0), bytes, disk_bytes: bytes, modified };
        self.state().files.insert((folder.to_owned(), name.to_owned()), facts);
    }

    pub(super) fn set_space(&self, total_bytes: u64, free_bytes: u64) {
        self.state().space = Space { total_bytes, free_bytes, shows_late: true };
    }

    /// Deleted files go on taking room.
    pub(super) fn keep_room_back(&self) {
        self.state().keeps_room_back = true;
    }

    pub(super) fn refuse_names(&self, folder: &str) {
        self.state().refused_names.insert(folder.to_owned());
    }

    pub(super) fn refuse_removal(&self, folder: &str, name: &str) {
        self.state().refused_removals.insert((folder.to_owned(), name.to_owned()));
    }

    pub(super) fn has(&self, folder: &str, name: &str) -> bool {
        self.state().files.contains_key(&(folder.to_owned(), name.to_owned()))
    }

    /// Sorted.
    pub(super) fn names_in(&self, folder: &str) -> Vec<String> {
        self.names(folder).unwrap()
    }

    pub(super) fn synced(&self) -> Vec<String> {
        self.state().synced.clone()
    }

    /// How many times a folder was listed.
    pub(super) fn listed(&self) -> usize {
        self.state().listed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Disk for Shelf {
    fn path(&self) -> &Path {
        Path::new("/shelf")
    }

    fn folders(&self) -> io::Result<Vec<String>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.listed += 1;
        if state.refused_names.contains(folder) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let in_folder = state.files.keys().filter(|(other, _)| other == folder);
        Ok(in_folder.map(|(_, name)| name.clone()).collect())
    }

    fn facts(&self, folder: &str, name: &str) -> io::Result<Option<Facts>> {
        Ok(self.state().files.get(&(folder.to_owned(), name.to_owned())).copied())
    }

    fn open_live(&self, _: &str, _: &str) -> io::Result<Live> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn open(&self, _: &str, _: &str) -> io::Result<Box<dyn DiskFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn create(&self, _: &str, _: &str) -> io::Result<Box<dyn DiskFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn rename(&self, _: &str, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, folder: &str, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let file = (folder.to_owned(), name.to_owned());
        if state.refused_removals.contains(&file) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        if let Some(facts) = state.files.remove(&file)
            && !state.keeps_room_back
        {
            state.space.free_bytes += facts.disk_bytes;
        }
        Ok(())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.state().synced.push(folder.to_owned());
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        Ok(self.state().space)
    }
}
