//! The folder of one client id: its lock, its names, its small state.
//! A directory -> folders that nobody uses; numbers -> files.
//! Invariant: at most one program has a folder; only exactly named files are touched.
//! Leaves out: what is in the files (`entry`).
//!
//! Who may write into the folder above ours could put a link in place of a file,
//! and have us cut or overwrite what it leads to. So no link is followed there,
//! nothing is read but regular files, and no folder is used that belongs to
//! somebody else.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::geteuid;

use super::state::{BYTES_MAX, Read, State};
use super::{NUMBER_MAX, Segment, SpoolError};

const LOCK: &str = "lock";
const STATE: &str = "state";
const STATE_NEW: &str = "state.new";
/// Before the names of folders that are being made or removed.
const UNFINISHED: &str = "unfinished-";
const SUFFIX: &str = ".log";
/// Digits of the greatest number.
const DIGITS: usize = 20;

/// A folder is tried to be made so often: somebody who clears up what others
/// have left unfinished may take it for such.
const CREATE_TRIES: usize = 5;

/// Between two tries: without, all of them are over before whoever clears up and
/// had to wait for a processor has let go of the folder.
const CREATE_PAUSE: Duration = Duration::from_millis(2);

/// A folder that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) id: [u8; 16],
    _lock: Flock<File>,
}

/// The folders of an application that nobody uses, one after the other; each is
/// locked when it is handed out. One that cannot be opened is passed over.
pub(super) fn abandoned(
    dir: &Path,
    app: &str,
) -> Result<impl Iterator<Item = Folder> + use<>, SpoolError> {
    let (parent, names) = names(dir, app)?;
    let mut ids: Vec<_> = names.iter().filter_map(|name| from_hex(name)).collect();
    ids.sort_unstable();
    Ok(ids
        .into_iter()
        .filter_map(move |id| Folder::lock(parent.join(to_hex(id)), id, false).ok()?))
}

/// Removes what is left of folders that were being made or removed when their
/// program died. There is no message in them.
pub(super) fn clear_up(dir: &Path, app: &str) -> Result<(), SpoolError> {
    let (parent, names) = names(dir, app)?;
    for (name, id) in names.iter().filter_map(|name| {
        let id = name.strip_prefix(UNFINISHED).and_then(from_hex)?;
        Some((name, id))
    }) {
        let path = parent.join(name);
        match Folder::lock(path.clone(), id, false) {
            Ok(Some(folder)) => folder.empty(),
            Ok(None) => {}
            // Without a lock there is nothing else either, or it is no folder.
            Err(_) => drop(fs::remove_dir(path)),
        }
    }
    Ok(())
}

fn names(dir: &Path, app: &str) -> Result<(PathBuf, Vec<String>), SpoolError> {
    let parent = dir.join(encoded(app));
    let failed = |source| SpoolError::Folder { path: parent.clone(), source };
    let names = match check_folder(&parent).and_then(|()| fs::read_dir(&parent)) {
        Ok(entries) => {
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(failed(source)),
    };
    Ok((parent, names))
}

/// Whether this is a folder of ours, and no link to one.
pub(super) fn check_folder(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder"));
    }
    if metadata.uid() != geteuid().as_raw() {
        let text = "it belongs to another user; give each user a folder of its own";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(())
}

/// Options that follow no link, and do not wait for what is no file.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()).mode(0o600);
    options
}

/// The same file, if it is a regular one.
fn regular(file: File) -> io::Result<File> {
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    }
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
        let path = parent.join(to_hex(id));
        let failed = |source| SpoolError::Folder { path: path.clone(), source };
        let mut folder = (1..=CREATE_TRIES)
            .find_map(|tried| match Folder::begin(&parent, id) {
                Err(error) if tried < CREATE_TRIES && is_disturbed(&error) => {
                    std::thread::sleep(CREATE_PAUSE);
                    None
                }
                begun => Some(begun),
            })
            .unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
            .map_err(failed)?;
        folder.publish(state)?;
        fs::rename(&folder.path, &path).map_err(failed)?;
        folder.path.clone_from(&path);
        for above in [parent.as_path(), dir] {
            if let Err(source) = File::open(above).and_then(|folder| folder.sync_all()) {
                // Under our id nobody else may find it.
                folder.remove();
                return Err(failed(source));
            }
        }
        Ok(folder)
    }

    fn begin(parent: &Path, id: [u8; 16]) -> io::Result<Folder> {
        let unfinished = parent.join(format!("{UNFINISHED}{}", to_hex(id)));
        DirBuilder::new().recursive(true).mode(0o700).create(&unfinished)?;
        check_folder(parent)?;
        let in_use = || io::Error::new(io::ErrorKind::WouldBlock, "another program uses it");
        Folder::lock(unfinished, id, true)?.ok_or_else(in_use)
    }

    /// None when somebody has it, or has just removed it.
    fn lock(path: PathBuf, id: [u8; 16], is_new: bool) -> io::Result<Option<Folder>> {
        check_folder(&path)?;
        let file = options()
            .read(true)
            .write(true)
            // Only in a new folder: one without a lock is being removed.
            .create(is_new)
            .truncate(false)
            .open(path.join(LOCK))?;
        match Flock::lock(regular(file)?, FlockArg::LockExclusiveNonblock) {
            // Without a name it is the lock of a folder that was removed.
            Ok(lock) if lock.metadata()?.nlink() == 0 => Ok(None),
            // It was renamed meanwhile, to be removed.
            Ok(_) if !path.join(LOCK).exists() => Ok(None),
            Ok(lock) => Ok(Some(Folder { path, id, _lock: lock })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        }
    }

    /// Gives it another id. The old name is gone then, or still there, whatever
    /// happens meanwhile.
    pub(super) fn rename(&mut self, id: [u8; 16]) -> Result<(), SpoolError> {
        let failed = |path: &Path, source| SpoolError::Write { path: path.to_owned(), source };
        let Some(parent) = self.path.parent().map(Path::to_owned) else { return Ok(()) };
        let path = parent.join(to_hex(id));
        fs::rename(&self.path, &path).map_err(|source| failed(&self.path, source))?;
        (self.path, self.id) = (path, id);
        // If that fails, a power failure may bring the old name back: it leads
        // to the same question to the server, and to another id.
        let _ = File::open(parent).and_then(|parent| parent.sync_all());
        Ok(())
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
            // Of the entry itself, not of what a link leads to.
            let metadata = entry.metadata().map_err(failed)?;
            if metadata.is_file() {
                files.push(Segment { first, bytes: metadata.len() });
            }
        }
        files.sort_unstable_by_key(|file| file.first);
        Ok(files)
    }

    /// Makes the file for records from this number on.
    pub(super) fn make(&self, first: u64) -> Result<File, SpoolError> {
        let path = self.file(first);
        options()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|source| SpoolError::Write { path, source })
    }

    pub(super) fn open(&self, first: u64) -> Result<File, SpoolError> {
        let path = self.file(first);
        let opened = options().read(true).open(&path).and_then(regular);
        opened.map_err(|source| SpoolError::Read { path, source })
    }

    /// Cuts a file behind so many bytes.
    pub(super) fn cut(&self, first: u64, bytes: u64) -> io::Result<()> {
        regular(options().write(true).open(self.file(first))?)?.set_len(bytes)
    }

    pub(super) fn delete(&self, first: u64) {
        // One that cannot be deleted is skipped by its numbers at the next start.
        let _ = fs::remove_file(self.file(first));
    }

    /// What was published last; zeros when nobody knows.
    ///
    /// # Errors
    /// `Version`: a newer program has made the folder; hands off.
    pub(super) fn state(&self) -> Result<State, SpoolError> {
        let mut text = String::new();
        let read = options()
            .read(true)
            .open(self.path.join(STATE))
            .and_then(regular)
            .and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text));
        match read.map_or(Read::Nothing, |_| State::from_text(&text)) {
            Read::State(state) => Ok(state),
            Read::Nothing => Ok(State::default()),
            Read::Newer { version } => {
                Err(SpoolError::Version { path: self.path.clone(), version })
            }
        }
    }

    pub(super) fn publish(&self, state: State) -> Result<(), SpoolError> {
        let path = self.path.join(STATE_NEW);
        let publish = || {
            // One that was left is no more use, whatever it is.
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = options().write(true).create_new(true).open(&path)?;
            file.write_all(state.to_text().as_bytes())?;
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
    pub(super) fn remove(mut self) {
        let Some(parent) = self.path.parent() else { return };
        let unfinished = parent.join(format!("{UNFINISHED}{}", to_hex(self.id)));
        if fs::rename(&self.path, &unfinished).is_ok() {
            self.path = unfinished;
            self.empty();
        }
    }

    /// Removes all files that are ours, and the folder. With a file of somebody
    /// else's in it, it stays.
    fn empty(self) {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
            if number_of(&name).is_some() {
                let _ = fs::remove_file(self.path.join(name));
            }
        }
        for name in [STATE_NEW, STATE, LOCK] {
            let _ = fs::remove_file(self.path.join(name));
        }
        let _ = fs::remove_dir(&self.path);
    }
}

/// Whether somebody who clears up may have come in between.
fn is_disturbed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotFound)
}

/// Exactly the names that `Folder::file` gives.
fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let is_ours = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_ours.then(|| digits.parse().ok()).flatten();
    number.filter(|number| (1..=NUMBER_MAX).contains(number))
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
        let [zero, huge] = ["00000000000000000000.log", "18446744073709551615.log"];
        for other in [
            zero,
            huge,
            "42.log",
            "+0000000000000000042.log",
            "00000000000000000042.log.xz",
            "lock",
        ] {
            assert_eq!(number_of(other), None, "{other}");
        }
        assert_eq!(from_hex(&to_hex([7; 16])), Some([7; 16]));
        assert_eq!(from_hex("+7070707070707070707070707070707"), None);
    }
}
