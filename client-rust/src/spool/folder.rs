//! The folder of one client id: its lock, its names, its small state.
//! A directory -> folders that nobody uses; numbers -> files.
//! Invariant: at most one program has a folder; only exactly named files are touched.
//! Leaves out: what is in the files (`entry`).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::{Segment, SpoolError};

const LOCK: &str = "lock";
const STATE: &str = "state";
const STATE_NEW: &str = "state.new";
/// Before the names of folders that are being made or removed.
const UNFINISHED: &str = "unfinished-";
const SUFFIX: &str = ".log";
/// Digits of the greatest number.
const DIGITS: usize = 20;

/// A folder that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) id: [u8; 16],
    _lock: Flock<File>,
}

/// What is known of the numbers of a folder, beside what its files say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The first number that its last user may have given.
    pub(super) begun: u64,
    /// All up to this one are safe elsewhere.
    pub(super) acknowledged: u64,
}

/// The folders of an application that nobody uses, one after the other; each is
/// locked when it is handed out. One that cannot be opened is passed over.
pub(super) fn abandoned(
    dir: &Path,
    app: &str,
) -> Result<impl Iterator<Item = Folder> + use<>, SpoolError> {
    let parent = dir.join(encoded(app));
    let names = match fs::read_dir(&parent) {
        Ok(entries) => entries.flatten().map(|entry| entry.file_name()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(SpoolError::Folder { path: parent, source }),
    };
    let mut ids: Vec<_> = names.iter().filter_map(|name| from_hex(name.to_str()?)).collect();
    ids.sort_unstable();
    Ok(ids
        .into_iter()
        .filter_map(move |id| Folder::lock(parent.join(to_hex(id)), id, false).ok()?))
}

impl Folder {
    /// Makes a folder. It gets its name when it is locked and has a state, so
    /// nobody finds it before.
    pub(super) fn create(
        dir: &Path,
        app: &str,
        id: [u8; 16],
        state: State,
    ) -> Result<Folder, SpoolError> {
        let parent = dir.join(encoded(app));
        let unfinished = parent.join(format!("{UNFINISHED}{}", to_hex(id)));
        let path = parent.join(to_hex(id));
        let failed = |source| SpoolError::Folder { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&unfinished).map_err(failed)?;
        let in_use = || io::Error::new(io::ErrorKind::WouldBlock, "another program uses it");
        let mut folder = Folder::lock(unfinished.clone(), id, true)
            .and_then(|folder| folder.ok_or_else(in_use))
            .map_err(failed)?;
        folder.publish(state)?;
        fs::rename(&unfinished, &path).map_err(failed)?;
        folder.path.clone_from(&path);
        for folder in [parent.as_path(), dir] {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        }
        Ok(folder)
    }

    /// None when somebody has it, or has just removed it.
    fn lock(path: PathBuf, id: [u8; 16], is_new: bool) -> io::Result<Option<Folder>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            // Only in a new folder: one without a lock is being removed.
            .create(is_new)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            // Without a name it is the lock of a folder that was removed.
            Ok(lock) if lock.metadata()?.nlink() == 0 => Ok(None),
            // It was renamed meanwhile, to be removed.
            Ok(_) if !path.join(LOCK).exists() => Ok(None),
            Ok(lock) => Ok(Some(Folder { path, id, _lock: lock })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        }
    }

    pub(super) fn file(&self, first: u64) -> PathBuf {
        self.path.join(format!("{first:0DIGITS$}{SUFFIX}"))
    }

    /// All files, by number.
    pub(super) fn files(&self) -> Result<Vec<Segment>, SpoolError> {
        let failed = |source| SpoolError::Folder { path: self.path.clone(), source };
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some(first) = name.to_str().and_then(number_of) else { continue };
            files.push(Segment { first, bytes: entry.metadata().map_err(failed)?.len() });
        }
        files.sort_unstable_by_key(|file| file.first);
        Ok(files)
    }

    /// Makes the file for records from this number on.
    pub(super) fn make(&self, first: u64) -> Result<File, SpoolError> {
        let path = self.file(first);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| SpoolError::Write { path, source })
    }

    pub(super) fn delete(&self, first: u64) {
        // One that cannot be deleted is skipped by its numbers at the next start.
        let _ = fs::remove_file(self.file(first));
    }

    /// What was published last; zeros when nobody knows.
    pub(super) fn state(&self) -> State {
        let text = fs::read_to_string(self.path.join(STATE)).unwrap_or_default();
        let value = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0)
        };
        State { begun: value("begun "), acknowledged: value("acknowledged ") }
    }

    pub(super) fn publish(&self, state: State) -> Result<(), SpoolError> {
        let path = self.path.join(STATE_NEW);
        let text = format!("begun {}\nacknowledged {}\n", state.begun, state.acknowledged);
        let publish = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&path, self.path.join(STATE))
        };
        publish().map_err(|source| SpoolError::Write { path: path.clone(), source })?;
        self.sync()
    }

    pub(super) fn sync(&self) -> Result<(), SpoolError> {
        File::open(&self.path)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| SpoolError::Write { path: self.path.clone(), source })
    }

    /// It loses its name first: half a folder would give numbers anew.
    pub(super) fn remove(mut self, firsts: &[u64]) {
        let Some(parent) = self.path.parent() else { return };
        let unfinished = parent.join(format!("{UNFINISHED}{}", to_hex(self.id)));
        if fs::rename(&self.path, &unfinished).is_err() {
            return;
        }
        self.path = unfinished;
        for first in firsts {
            self.delete(*first);
        }
        for name in [STATE_NEW, STATE, LOCK] {
            let _ = fs::remove_file(self.path.join(name));
        }
        // With a file of somebody else's in it, it stays.
        let _ = fs::remove_dir(&self.path);
    }
}

/// Exactly the names that `Folder::file` gives.
fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let is_ours = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_ours.then(|| digits.parse().ok()).flatten()
}

/// The application as the name of a folder: two never share one.
fn encoded(app: &str) -> String {
    let mut name = String::new();
    for (at, byte) in app.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            b'.' if at > 0 => name.push('.'),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name
}

fn to_hex(id: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(id))
}

fn from_hex(name: &str) -> Option<[u8; 16]> {
    let id = u128::from_str_radix(name, 16).ok()?.to_be_bytes();
    (to_hex(id) == name).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_applications_never_leave_the_folder_or_meet() {
        assert_eq!(encoded("web.shop-1_x"), "web.shop-1_x");
        assert_eq!(encoded(".."), "%2e.");
        assert_eq!(encoded("a/b"), "a%2fb");
        assert_eq!(encoded("a%2fb"), "a%252fb");
    }

    #[test]
    fn only_names_that_we_give_are_ours() {
        assert_eq!(number_of("00000000000000000042.log"), Some(42));
        for other in ["42.log", "+0000000000000000042.log", "00000000000000000042.log.xz", "lock"] {
            assert_eq!(number_of(other), None, "{other}");
        }
        assert_eq!(from_hex(&to_hex([7; 16])), Some([7; 16]));
        assert_eq!(from_hex("+7070707070707070707070707070707"), None);
    }
}
