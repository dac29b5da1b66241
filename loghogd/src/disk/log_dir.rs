//! The log folder of a real file system.
//! A name below the log folder -> what openat2(2) and its family do with it.
//! Invariant: nothing outside of the log folder is touched, whatever links stand in it.
//! Leaves out: what the names mean.

use std::collections::HashSet;
use std::fs::{File, FileTimes};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{
    self, AtFlags, Flock, FlockArg, OFlag, OpenHow, PosixFadviseAdvice, RenameFlags, ResolveFlag,
};
use nix::sys::stat::{self, FileStat, Mode, SFlag};
use nix::sys::statfs::{BTRFS_SUPER_MAGIC, FsType, fstatfs};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{self, UnlinkatFlags};

use super::{Disk, DiskFile, Facts, Live, Space};

/// Permissions of a log file: its owner writes, its group reads.
const FILE_MODE: Mode = Mode::from_bits_truncate(0o640);
/// Permissions of an application's folder.
const FOLDER_MODE: Mode = Mode::from_bits_truncate(0o750);

/// Of OpenZFS (zfs_vfsops.h); the kernel's headers do not have it.
const ZFS_SUPER_MAGIC: FsType = FsType(0x2fc1_2fc1);

const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY);
/// A pipe must not make us wait, nor a terminal become ours.
const CAREFULLY: OFlag = OFlag::O_NONBLOCK.union(OFlag::O_NOCTTY);

/// The folder that all log files are below. Held by one daemon at a time.
#[derive(Debug)]
pub struct LogDir {
    folder: Flock<OwnedFd>,
    path: PathBuf,
    /// Folders whose own names are known to be safe. Who made them may have
    /// died before he could see to that.
    named: Mutex<HashSet<Box<str>>>,
}

impl LogDir {
    /// Opens the log folder and takes it for this process alone.
    ///
    /// # Errors
    /// `EWOULDBLOCK` when another process holds it; else what the system says.
    pub fn open(path: &Path) -> io::Result<LogDir> {
        let folder = fcntl::open(path, FOLDER | OFlag::O_CLOEXEC, Mode::empty())?;
        let folder = Flock::lock(folder, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| e)?;
        Ok(LogDir { folder, path: path.to_owned(), named: Mutex::default() })
    }

    fn folder(&self, folder: &str) -> nix::Result<OwnedFd> {
        open_beneath(self.folder.as_fd(), folder, FOLDER)
    }

    fn folder_made(&self, folder: &str) -> nix::Result<OwnedFd> {
        match self.folder(folder) {
            Err(Errno::ENOENT) => {
                self.named().remove(folder);
                match stat::mkdirat(&*self.folder, folder, FOLDER_MODE) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(error) => return Err(error),
                }
                self.folder(folder)
            }
            other => other,
        }
    }

    fn named(&self) -> MutexGuard<'_, HashSet<Box<str>>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for LogDir {
    fn path(&self) -> &Path {
        &self.path
    }

    fn folders(&self) -> io::Result<Vec<String>> {
        let here = fcntl::openat(&*self.folder, ".", FOLDER | OFlag::O_CLOEXEC, Mode::empty())?;
        let is_folder = |name: &String| {
            let found = stat::fstatat(&*self.folder, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
            found.is_ok_and(|found| kind(&found) == SFlag::S_IFDIR)
        };
        Ok(list(here)?.into_iter().filter(is_folder).collect())
    }

    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        match self.folder(folder) {
            Err(Errno::ENOENT) => Ok(Vec::new()),
            other => list(other?),
        }
    }

    fn facts(&self, folder: &str, name: &str) -> io::Result<Option<Facts>> {
        let folder = match self.folder(folder) {
            Err(Errno::ENOENT) => return Ok(None),
            other => other?,
        };
        match stat::fstatat(&folder, single(name)?, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => Ok(None),
            other => facts(&other?).map(Some),
        }
    }

    fn open_live(&self, folder: &str, name: &str) -> io::Result<Live> {
        let folder = self.folder_made(folder)?;
        let flags = OFlag::O_RDWR | OFlag::O_APPEND | CAREFULLY;
        let (fd, is_new) = match open_beneath(folder.as_fd(), name, flags) {
            Err(Errno::ENOENT) => {
                let flags = flags | OFlag::O_CREAT | OFlag::O_EXCL;
                (open_beneath(folder.as_fd(), name, flags)?, true)
            }
            other => (other?, false),
        };
        Ok(Live { file: regular(fd)?, is_new })
    }

    fn open(&self, folder: &str, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let folder = self.folder(folder)?;
        let fd = open_beneath(folder.as_fd(), name, OFlag::O_RDONLY | CAREFULLY)?;
        Ok(regular(fd)?)
    }

    fn create(&self, folder: &str, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let folder = self.folder(folder)?;
        let flags = OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_EXCL;
        Ok(regular(open_beneath(folder.as_fd(), name, flags)?)?)
    }

    fn rename(&self, folder: &str, from: &str, to: &str) -> io::Result<()> {
        let folder = self.folder(folder)?;
        let (from, to) = (single(from)?, single(to)?);
        let flags = RenameFlags::RENAME_NOREPLACE;
        match fcntl::renameat2(&folder, from, &folder, to, flags) {
            // Some file systems cannot promise it in one step. Nobody else
            // makes files of our names, so two steps are as good.
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                match stat::fstatat(&folder, to, AtFlags::AT_SYMLINK_NOFOLLOW) {
                    Err(Errno::ENOENT) => fcntl::renameat(&folder, from, &folder, to)?,
                    Err(error) => return Err(error.into()),
                    Ok(_) => return Err(Errno::EEXIST.into()),
                }
            }
            other => other?,
        }
        Ok(())
    }

    fn remove(&self, folder: &str, name: &str) -> io::Result<()> {
        let folder = match self.folder(folder) {
            Err(Errno::ENOENT) => return Ok(()),
            other => other?,
        };
        match unistd::unlinkat(&folder, single(name)?, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        unistd::fsync(self.folder(folder)?)?;
        if !self.named().contains(folder) {
            unistd::fsync(&*self.folder)?;
            self.named().insert(folder.into());
        }
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        let space = fstatvfs(&*self.folder)?;
        let bytes = |blocks: u64| blocks.saturating_mul(space.fragment_size());
        let kind = fstatfs(&*self.folder)?.filesystem_type();
        Ok(Space {
            total_bytes: bytes(space.blocks()),
            free_bytes: bytes(space.blocks_available()),
            shows_late: kind == BTRFS_SUPER_MAGIC || kind == ZFS_SUPER_MAGIC,
        })
    }
}

impl DiskFile for File {
    fn facts(&self) -> io::Result<Facts> {
        facts(&stat::fstat(self)?)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match FileExt::read_at(self, rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        File::set_len(self, bytes)
    }

    fn set_modified(&self, modified: Timestamp) -> io::Result<()> {
        self.set_times(FileTimes::new().set_modified(SystemTime::from(modified)))
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn forget(&self) {
        // It is advice: nothing is lost when the system does not take it.
        let _ = fcntl::posix_fadvise(self, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }
}

/// The visible names in a folder. A name that is not UTF-8 is none of ours.
fn list(folder: OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in nix::dir::Dir::from_fd(folder)?.iter() {
        let entry = entry?;
        let name = entry.file_name().to_str().ok().filter(|name| !name.starts_with('.'));
        names.extend(name.map(str::to_owned));
    }
    Ok(names)
}

fn regular(fd: OwnedFd) -> nix::Result<Box<File>> {
    match kind(&stat::fstat(&fd)?) {
        SFlag::S_IFREG => Ok(Box::new(File::from(fd))),
        _ => Err(Errno::EINVAL),
    }
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

fn facts(stat: &FileStat) -> io::Result<Facts> {
    /// What st_blocks counts in, whatever the file system's blocks are (stat(2)).
    const BLOCK_BYTES: u64 = 512;
    if kind(stat) != SFlag::S_IFREG {
        return Err(Errno::EINVAL.into());
    }
    let nanoseconds = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Ok(Facts {
        id: (stat.st_dev, stat.st_ino),
        bytes: u64::try_from(stat.st_size).unwrap_or(0),
        disk_bytes: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK_BYTES),
        modified: Timestamp::new(stat.st_mtime, nanoseconds).unwrap_or(Timestamp::UNIX_EPOCH),
    })
}

/// A single component of a path.
fn single(name: &str) -> nix::Result<&str> {
    match name.is_empty() || name == "." || name == ".." || name.contains('/') {
        true => Err(Errno::EINVAL),
        false => Ok(name),
    }
}

/// Opens one name in `folder`, and follows no link. Kernels before 5.6 have
/// no openat2(2); for a single name O_NOFOLLOW is as strict.
fn open_beneath(folder: BorrowedFd<'_>, name: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    let name = single(name)?;
    let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let mode = if flags.contains(OFlag::O_CREAT) { FILE_MODE } else { Mode::empty() };
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let how = OpenHow::new().flags(flags).mode(mode).resolve(resolve);
    match fcntl::openat2(folder, name, how) {
        // EPERM: a filter of system calls that does not know openat2.
        Err(Errno::ENOSYS | Errno::EPERM) => fcntl::openat(folder, name, flags, mode),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn log_dir() -> (tempfile::TempDir, LogDir) {
        let folder = tempfile::tempdir().unwrap();
        let log_dir = LogDir::open(folder.path()).unwrap();
        (folder, log_dir)
    }

    #[test]
    fn a_file_and_its_folder_are_made_with_narrow_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, log_dir) = log_dir();
        assert!(log_dir.open_live("app", "web.log").unwrap().is_new);
        assert!(!log_dir.open_live("app", "web.log").unwrap().is_new);
        log_dir.create("app", "new").unwrap();
        let mode =
            |path: &str| fs::metadata(folder.path().join(path)).unwrap().permissions().mode();
        assert_eq!(mode("app/web.log") & 0o7137, 0);
        assert_eq!(mode("app/new") & 0o7137, 0);
        assert_eq!(mode("app") & 0o7027, 0);
    }

    #[test]
    fn links_and_special_files_are_refused() {
        let (folder, log_dir) = log_dir();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "").unwrap();
        symlink(outside.path(), folder.path().join("linked")).unwrap();
        assert!(log_dir.open_live("linked", "web.log").is_err());
        assert!(log_dir.remove("linked", "kept").is_err());
        assert!(log_dir.rename("linked", "kept", "moved").is_err());
        fs::create_dir(folder.path().join("app")).unwrap();
        symlink(outside.path().join("target"), folder.path().join("app/web.log")).unwrap();
        assert!(log_dir.open_live("app", "web.log").is_err());
        assert!(log_dir.open("app", "web.log").is_err());
        assert!(log_dir.facts("app", "web.log").is_err());
        unistd::mkfifo(&folder.path().join("app/pipe.log"), FILE_MODE).unwrap();
        assert!(log_dir.open_live("app", "pipe.log").is_err());
        for name in ["..", ".", "", "a/b"] {
            assert!(log_dir.open_live(name, "web.log").is_err());
            assert!(log_dir.open_live("app", name).is_err());
            assert!(log_dir.remove("app", name).is_err());
        }
        assert_eq!(log_dir.folders().unwrap(), ["app"]);
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_new_name_never_replaces_a_file() {
        let (folder, log_dir) = log_dir();
        for name in ["one", "two"] {
            log_dir.open_live("app", name).unwrap().file.write_all(name.as_bytes()).unwrap();
        }
        let refused = log_dir.rename("app", "one", "two").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        log_dir.rename("app", "one", "three").unwrap();
        assert_eq!(fs::read(folder.path().join("app/three")).unwrap(), b"one");
        assert_eq!(fs::read(folder.path().join("app/two")).unwrap(), b"two");
    }

    #[test]
    fn what_is_not_there_has_no_facts_and_needs_no_removing() {
        let (_folder, log_dir) = log_dir();
        assert_eq!(log_dir.names("app").unwrap(), Vec::<String>::new());
        assert_eq!(log_dir.facts("app", "web.log").unwrap(), None);
        log_dir.remove("app", "web.log").unwrap();
        let live = log_dir.open_live("app", "web.log").unwrap();
        assert_eq!(log_dir.facts("app", "web.log").unwrap(), Some(live.file.facts().unwrap()));
    }

    #[test]
    fn a_log_folder_belongs_to_one_daemon() {
        let (folder, _log_dir) = log_dir();
        let second = LogDir::open(folder.path()).unwrap_err();
        assert_eq!(second.raw_os_error(), Some(Errno::EWOULDBLOCK as i32));
    }
}
