//! A file system in memory that knows what of it is safe.
//! A change of a file or a folder -> how it is now, and how it might be after the power failed.
//! Invariant: what was synced survives; what changed since survives up to some point, in order.
//! Leaves out: processes, faults and steps.
//!
//! Each folder is a journal of its own, and so is each file: after a power
//! failure a name may be there without the data that was written before, and
//! the other way round. A time that was set is as safe as fdatasync(2) makes
//! it: with the next sync that has data to write.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use jiff::Timestamp;
use nix::errno::Errno;

use super::super::Facts;

/// Longest name, in bytes (NAME_MAX).
const NAME_BYTES_MAX: usize = 255;

/// What a descriptor may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    Read,
    Append,
}

#[derive(Clone)]
pub(super) struct Model {
    pub(super) now: Timestamp,
    pub(super) total_bytes: u64,
    folders: BTreeMap<String, Folder>,
    files: BTreeMap<u64, File>,
    id_next: u64,
}

#[derive(Clone, Default)]
struct Folder {
    names: BTreeMap<String, u64>,
    /// Its own name is safe.
    is_safe: bool,
    /// The names as of the last sync, and what was done since.
    safe_names: BTreeMap<String, u64>,
    renames: Vec<NameChange>,
}

/// What happens to a name.
#[derive(Clone)]
enum NameChange {
    Added(String, u64),
    Renamed(String, String),
    Removed(String),
}

#[derive(Clone)]
struct File {
    is_folder: bool,
    data: Vec<u8>,
    modified: Timestamp,
    descriptors: usize,
    /// The data as of the last sync, and what was done since.
    safe_data: Vec<u8>,
    changes: Vec<DataChange>,
    /// Every time that a power failure might leave it with; the first is safe.
    times: Vec<Timestamp>,
}

/// What happens to data.
#[derive(Clone)]
enum DataChange {
    Appended(Vec<u8>),
    Resized(usize),
}

impl Default for Model {
    fn default() -> Model {
        Model {
            now: Timestamp::constant(1_780_000_000, 0),
            // Sums of it and of what is written must not overflow.
            total_bytes: u64::MAX >> 2,
            folders: BTreeMap::new(),
            files: BTreeMap::new(),
            id_next: 1,
        }
    }
}

/// What is there.
impl Model {
    pub(super) fn folders(&self) -> Vec<String> {
        visible(self.folders.keys())
    }

    pub(super) fn names(&self, folder: &str) -> nix::Result<Vec<String>> {
        single(folder)?;
        Ok(self.folders.get(folder).map_or_else(Vec::new, |folder| visible(folder.names.keys())))
    }

    pub(super) fn has_folder(&self, folder: &str) -> nix::Result<bool> {
        Ok(self.folders.contains_key(single(folder)?))
    }

    pub(super) fn facts_of(&self, folder: &str, name: &str) -> nix::Result<Option<Facts>> {
        let Some(folder) = self.folders.get(single(folder)?) else { return Ok(None) };
        match folder.names.get(single(name)?) {
            None => Ok(None),
            Some(id) if self.files[id].is_folder => Err(Errno::EINVAL),
            Some(id) => Ok(Some(self.facts(*id))),
        }
    }

    pub(super) fn facts(&self, id: u64) -> Facts {
        let file = &self.files[&id];
        let bytes = file.data.len() as u64;
        Facts { id: (1, id), bytes, disk_bytes: bytes, modified: file.modified }
    }

    /// The file to open; none when there is none of this name.
    pub(super) fn look_up(
        &self,
        folder: &str,
        name: &str,
        rights: Rights,
    ) -> nix::Result<Option<u64>> {
        let folder = self.folders.get(single(folder)?).ok_or(Errno::ENOENT)?;
        match folder.names.get(single(name)?) {
            // The system lets a folder be opened, if only for reading; then
            // it is we who find that it is no file.
            Some(id) if self.files[id].is_folder && rights == Rights::Read => Err(Errno::EINVAL),
            Some(id) if self.files[id].is_folder => Err(Errno::EISDIR),
            found => Ok(found.copied()),
        }
    }

    pub(super) fn read(&self, id: u64, buffer: &mut [u8], offset: usize) -> usize {
        let rest = self.files[&id].data.get(offset..).unwrap_or_default();
        let bytes = rest.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&rest[..bytes]);
        bytes
    }

    pub(super) fn free_bytes(&self) -> u64 {
        let linked = self.linked();
        let counts = |(id, file): &(&u64, &File)| file.descriptors > 0 || linked.contains(id);
        let used: u64 = self.files.iter().filter(counts).map(|(_, f)| f.data.len() as u64).sum();
        self.total_bytes.saturating_sub(used)
    }

    /// The files that have a name.
    fn linked(&self) -> HashSet<u64> {
        self.folders.values().flat_map(|folder| folder.names.values().copied()).collect()
    }

    pub(super) fn tree(&self) -> Vec<String> {
        let names = |(path, folder): (&String, &Folder)| {
            folder.names.keys().map(|name| format!("{path}/{name}")).collect::<Vec<_>>()
        };
        self.folders.iter().flat_map(names).collect()
    }

    pub(super) fn content(&self, folder: &str, name: &str) -> Option<Vec<u8>> {
        let id = self.folders.get(folder)?.names.get(name)?;
        Some(&self.files[id]).filter(|file| !file.is_folder).map(|file| file.data.clone())
    }
}

/// What can be done to it.
impl Model {
    pub(super) fn make_folder(&mut self, folder: &str) -> nix::Result<()> {
        self.folders.entry(single(folder)?.to_owned()).or_default();
        Ok(())
    }

    pub(super) fn sync_root(&mut self) {
        self.folders.values_mut().for_each(|folder| folder.is_safe = true);
    }

    pub(super) fn create(&mut self, folder: &str, name: &str) -> nix::Result<u64> {
        let (id, now) = (self.id_next, self.now);
        let folder = self.folder_mut(folder)?;
        if folder.names.contains_key(single(name)?) {
            return Err(Errno::EEXIST);
        }
        folder.change(NameChange::Added(name.to_owned(), id));
        self.files.insert(id, File::new(now));
        self.id_next += 1;
        Ok(id)
    }

    pub(super) fn rename(&mut self, folder: &str, from: &str, to: &str) -> nix::Result<()> {
        let folder = self.folder_mut(folder)?;
        let (from, to) = (single(from)?, single(to)?);
        if !folder.names.contains_key(from) {
            return Err(Errno::ENOENT);
        }
        if folder.names.contains_key(to) {
            return Err(Errno::EEXIST);
        }
        folder.change(NameChange::Renamed(from.to_owned(), to.to_owned()));
        Ok(())
    }

    pub(super) fn remove(&mut self, folder: &str, name: &str) -> nix::Result<()> {
        if !self.has_folder(folder)? {
            return Ok(());
        }
        let found = self.folder_mut(folder)?.names.get(single(name)?).copied();
        match found {
            None => Ok(()),
            Some(id) if self.files[&id].is_folder => Err(Errno::EISDIR),
            Some(_) => {
                self.folder_mut(folder)?.change(NameChange::Removed(name.to_owned()));
                Ok(())
            }
        }
    }

    pub(super) fn sync_folder(&mut self, folder: &str) -> nix::Result<()> {
        self.folder_mut(folder)?.make_safe();
        Ok(())
    }

    /// Returns how much was written, and where the file ends then.
    pub(super) fn append(
        &mut self,
        id: u64,
        rights: Rights,
        bytes: &[u8],
    ) -> nix::Result<(usize, usize)> {
        if rights == Rights::Read {
            return Err(Errno::EBADF);
        }
        let free = usize::try_from(self.free_bytes()).unwrap_or(usize::MAX);
        if free == 0 && !bytes.is_empty() {
            return Err(Errno::ENOSPC);
        }
        let bytes = &bytes[..bytes.len().min(free)];
        let now = self.now;
        let file = self.file_mut(id);
        if !bytes.is_empty() {
            file.change(DataChange::Appended(bytes.to_owned()), now);
        }
        Ok((bytes.len(), file.data.len()))
    }

    pub(super) fn set_len(&mut self, id: u64, rights: Rights, length: usize) -> nix::Result<()> {
        if rights == Rights::Read {
            return Err(Errno::EINVAL);
        }
        let now = self.now;
        self.file_mut(id).change(DataChange::Resized(length), now);
        Ok(())
    }

    pub(super) fn set_modified(&mut self, id: u64, modified: Timestamp) {
        let file = self.file_mut(id);
        file.modified = modified;
        file.times.push(modified);
    }

    pub(super) fn sync(&mut self, id: u64) {
        self.file_mut(id).make_safe();
    }

    pub(super) fn open_one(&mut self, id: u64) {
        self.file_mut(id).descriptors += 1;
    }

    pub(super) fn close_one(&mut self, id: u64) {
        self.file_mut(id).descriptors -= 1;
    }

    pub(super) fn close_all(&mut self) {
        self.files.values_mut().for_each(|file| file.descriptors = 0);
    }

    fn folder_mut(&mut self, folder: &str) -> nix::Result<&mut Folder> {
        self.folders.get_mut(single(folder)?).ok_or(Errno::ENOENT)
    }

    fn file_mut(&mut self, id: u64) -> &mut File {
        self.files.get_mut(&id).expect("files stay as long as the disk is the same")
    }
}

/// What others do to it: whole and safe at once.
impl Model {
    pub(super) fn put(&mut self, folder: &str, name: &str, content: &[u8], modified: Timestamp) {
        self.put_file(folder, name, File { data: content.to_owned(), ..File::new(modified) });
    }

    pub(super) fn put_obstacle(&mut self, folder: &str, name: &str) {
        self.put_file(folder, name, File { is_folder: true, ..File::new(self.now) });
    }

    fn put_file(&mut self, folder: &str, name: &str, mut file: File) {
        file.safe_data.clone_from(&file.data);
        let folder = self.folders.entry(folder.to_owned()).or_default();
        folder.is_safe = true;
        folder.change(NameChange::Added(name.to_owned(), self.id_next));
        folder.make_safe();
        self.files.insert(self.id_next, file);
        self.id_next += 1;
    }

    pub(super) fn take_away(&mut self, folder: &str, name: Option<&str>) {
        let Some(name) = name else {
            self.folders.remove(folder);
            return;
        };
        if let Some(folder) = self.folders.get_mut(folder) {
            folder.change(NameChange::Removed(name.to_owned()));
            folder.make_safe();
        }
    }
}

/// What the power leaves.
impl Model {
    pub(super) fn lose_power(&mut self, seed: u64) {
        let mut dice = Dice(seed);
        self.folders.retain(|_, folder| folder.is_safe || dice.up_to(1) == 1);
        self.folders.values_mut().for_each(|folder| folder.lose_power(&mut dice));
        self.files.values_mut().for_each(|file| file.lose_power(&mut dice));
        let linked = self.linked();
        self.files.retain(|id, _| linked.contains(id));
    }
}

impl Folder {
    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.renames.push(change);
    }

    fn make_safe(&mut self) {
        self.renames.drain(..).for_each(|change| change.apply(&mut self.safe_names));
    }

    fn lose_power(&mut self, dice: &mut Dice) {
        self.renames.truncate(dice.up_to(self.renames.len()));
        self.is_safe = true;
        self.make_safe();
        self.names.clone_from(&self.safe_names);
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Added(name, id) => drop(names.insert(name.clone(), *id)),
            NameChange::Renamed(from, to) => {
                if let Some(id) = names.remove(from) {
                    names.insert(to.clone(), id);
                }
            }
            NameChange::Removed(name) => drop(names.remove(name)),
        }
    }
}

impl File {
    fn new(now: Timestamp) -> File {
        File {
            is_folder: false,
            data: Vec::new(),
            modified: now,
            descriptors: 0,
            safe_data: Vec::new(),
            changes: Vec::new(),
            times: vec![now],
        }
    }

    fn change(&mut self, change: DataChange, now: Timestamp) {
        change.apply(&mut self.data);
        self.changes.push(change);
        self.modified = now;
        self.times.push(now);
    }

    fn make_safe(&mut self) {
        if !self.changes.is_empty() {
            self.times = vec![self.modified];
        }
        self.changes.drain(..).for_each(|change| change.apply(&mut self.safe_data));
    }

    fn lose_power(&mut self, dice: &mut Dice) {
        let kept = dice.up_to(self.changes.len());
        let mut changes = self.changes.drain(..);
        changes.by_ref().take(kept).for_each(|change| change.apply(&mut self.safe_data));
        if let Some(DataChange::Appended(bytes)) = changes.next() {
            self.safe_data.extend_from_slice(&bytes[..dice.up_to(bytes.len())]);
        }
        drop(changes);
        self.modified = self.times[dice.up_to(self.times.len() - 1)];
        self.times = vec![self.modified];
        self.data.clone_from(&self.safe_data);
    }
}

impl DataChange {
    fn apply(&self, data: &mut Vec<u8>) {
        match self {
            DataChange::Appended(bytes) => data.extend_from_slice(bytes),
            DataChange::Resized(length) => data.resize(*length, 0),
        }
    }
}

/// Numbers from a seed; from 0 only zeros.
struct Dice(u64);

impl Dice {
    /// A number from 0 to `most`; both of them often.
    fn up_to(&mut self, most: usize) -> usize {
        if self.0 == 0 {
            return 0;
        }
        // xorshift64: never 0 again.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let roll = usize::try_from(self.0 >> 32).unwrap_or(0);
        match roll % 4 {
            0 => 0,
            1 => most,
            _ => (roll / 4) % (most + 1),
        }
    }
}

/// One line a file, with what is not safe yet.
impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (free, total) = (self.free_bytes(), self.total_bytes);
        writeln!(f, "{free} of {total} bytes free, it is {}", self.now)?;
        for (path, folder) in &self.folders {
            writeln!(f, "  {path}/, {} changes of names not synced", folder.renames.len())?;
            for (name, id) in &folder.names {
                let file = &self.files[id];
                let (bytes, changes) = (file.data.len(), file.changes.len());
                let modified = file.modified;
                writeln!(
                    f,
                    "    {name}: {bytes} bytes of {modified}, {changes} changes not synced"
                )?;
            }
        }
        Ok(())
    }
}

fn visible<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    names.filter(|name| !name.starts_with('.')).cloned().collect()
}

/// A single component of a path, as `LogDir` and the system want it.
fn single(name: &str) -> nix::Result<&str> {
    match name {
        "" | "." | ".." => Err(Errno::EINVAL),
        _ if name.contains('/') => Err(Errno::EINVAL),
        _ if name.len() > NAME_BYTES_MAX => Err(Errno::ENAMETOOLONG),
        _ => Ok(name),
    }
}
