//! The only room that opens log files.
//! A path below the log folder -> an open file that ends at a line's end.
//! Invariant: nothing outside of the log folder is opened, whatever links stand in it.
//! Leaves out: when to write, how much, and when to sync (`pipeline::persist::writer`).

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{self, Flock, FlockArg, OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{self, Mode, SFlag};

use crate::limits::LINE_BYTES_MAX;

/// Permissions of a log file: its owner writes, its group reads.
const FILE_MODE: Mode = Mode::from_bits_truncate(0o640);
/// Permissions of an application's folder.
const FOLDER_MODE: Mode = Mode::from_bits_truncate(0o750);

/// The folder that all log files are below. Held by one daemon at a time.
#[derive(Debug)]
pub struct LogDir {
    folder: Flock<OwnedFd>,
    path: PathBuf,
}

/// A log file, open for appending.
#[derive(Debug)]
pub struct LiveFile {
    /// Readable too, so that its end can be looked at.
    pub file: File,
    /// Its size, in bytes.
    pub bytes: u64,
    /// Bytes of a torn last line that were cut off, as a kill in the middle
    /// of a write leaves one.
    pub torn_bytes: u64,
}

impl LogDir {
    /// Opens the log folder and takes it for this process alone.
    ///
    /// # Errors
    /// `EWOULDBLOCK` when another process holds it; else what the system says.
    pub fn open(path: &Path) -> io::Result<LogDir> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = fcntl::open(path, flags, Mode::empty())?;
        let folder = Flock::lock(folder, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| e)?;
        Ok(LogDir { folder, path: path.to_owned() })
    }

    /// The folder's path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens `APP/FILE` for appending, and creates both where they are not
    /// there. A torn last line is cut off: it was never whole, so nobody was
    /// told that it is safe.
    ///
    /// # Errors
    /// What the system says; `ELOOP` for a link, `EINVAL` for what is no
    /// regular file.
    pub fn open_live(&self, app: &str, file: &str) -> io::Result<LiveFile> {
        let folder = self.open_app(app)?;
        let flags = OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let fd = match open_beneath(folder.as_fd(), file, flags) {
            Err(Errno::ENOENT) => {
                let fd =
                    open_beneath(folder.as_fd(), file, flags | OFlag::O_CREAT | OFlag::O_EXCL)?;
                // A file is only safe when its name is.
                nix::unistd::fsync(&folder)?;
                fd
            }
            other => other?,
        };
        let kind = SFlag::from_bits_truncate(stat::fstat(&fd)?.st_mode) & SFlag::S_IFMT;
        if kind != SFlag::S_IFREG {
            return Err(Errno::EINVAL.into());
        }
        let file = File::from(fd);
        let torn_bytes = cut_torn_line(&file)?;
        let bytes = file.metadata()?.len();
        Ok(LiveFile { file, bytes, torn_bytes })
    }

    /// The names in an application's folder; none when it is not there.
    ///
    /// # Errors
    /// What the system says.
    pub fn names(&self, app: &str) -> io::Result<Vec<String>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let folder = match open_beneath(self.folder.as_fd(), app, flags) {
            Err(Errno::ENOENT) => return Ok(Vec::new()),
            other => other?,
        };
        let mut names = Vec::new();
        for entry in nix::dir::Dir::from_fd(folder)?.iter() {
            names.extend(entry?.file_name().to_str().ok().map(str::to_owned));
        }
        Ok(names)
    }

    fn open_app(&self, app: &str) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        match open_beneath(self.folder.as_fd(), app, flags) {
            Err(Errno::ENOENT) => {
                match stat::mkdirat(&*self.folder, app, FOLDER_MODE) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(error) => return Err(error),
                }
                nix::unistd::fsync(&*self.folder)?;
                open_beneath(self.folder.as_fd(), app, flags)
            }
            other => other,
        }
    }
}

/// Opens one name in `folder`, and follows no link. Kernels before 5.6 have
/// no openat2(2); for a single name O_NOFOLLOW is as strict.
fn open_beneath(
    folder: std::os::fd::BorrowedFd<'_>,
    name: &str,
    flags: OFlag,
) -> nix::Result<OwnedFd> {
    if name.is_empty() || name == "." || name == ".." || name.contains('/') {
        return Err(Errno::EINVAL);
    }
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

/// Cuts the file behind its last line feed; returns how many bytes that were.
/// A file whose last line is longer than any of ours is not ours to cut: it
/// gets the line feed that it lacks.
fn cut_torn_line(file: &File) -> io::Result<u64> {
    const BLOCK_BYTES: u64 = 64 << 10;
    let end = file.metadata()?.len();
    let mut block = Vec::new();
    let mut start = end;
    while start > 0 && end - start <= LINE_BYTES_MAX as u64 {
        let stop = start;
        start = start.saturating_sub(BLOCK_BYTES);
        block.resize(usize::try_from(stop - start).unwrap_or(0), 0);
        file.read_exact_at(&mut block, start)?;
        if let Some(place) = block.iter().rposition(|&byte| byte == b'\n') {
            let keep = start + place as u64 + 1;
            if keep < end {
                file.set_len(keep)?;
                file.sync_data()?;
            }
            return Ok(end - keep);
        }
    }
    if start == 0 {
        if end > 0 {
            file.set_len(0)?;
            file.sync_data()?;
        }
        return Ok(end);
    }
    // The file is open for appending: this goes to its end.
    let mut end_of_file = file;
    end_of_file.write_all(b"\n")?;
    Ok(0)
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
        log_dir.open_live("app", "web.log").unwrap();
        let mode =
            |path: &str| fs::metadata(folder.path().join(path)).unwrap().permissions().mode();
        assert_eq!(mode("app/web.log") & 0o7137, 0);
        assert_eq!(mode("app") & 0o7027, 0);
    }

    #[test]
    fn links_and_special_files_are_refused() {
        let (folder, log_dir) = log_dir();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), folder.path().join("linked")).unwrap();
        assert!(log_dir.open_live("linked", "web.log").is_err());
        fs::create_dir(folder.path().join("app")).unwrap();
        symlink(outside.path().join("target"), folder.path().join("app/web.log")).unwrap();
        assert!(log_dir.open_live("app", "web.log").is_err());
        nix::unistd::mkfifo(&folder.path().join("app/pipe.log"), FILE_MODE).unwrap();
        assert!(log_dir.open_live("app", "pipe.log").is_err());
        for name in ["..", ".", "", "a/b"] {
            assert!(log_dir.open_live(name, "web.log").is_err());
            assert!(log_dir.open_live("app", name).is_err());
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_torn_last_line_is_cut_and_whole_lines_stay() {
        let (folder, log_dir) = log_dir();
        fs::create_dir(folder.path().join("app")).unwrap();
        let path = folder.path().join("app/web.log");
        for (before, after) in [
            (&b"one\ntwo\nthr"[..], &b"one\ntwo\n"[..]),
            (b"one\n", b"one\n"),
            (b"torn from the start", b""),
            (b"", b""),
        ] {
            fs::write(&path, before).unwrap();
            let live = log_dir.open_live("app", "web.log").unwrap();
            assert_eq!(live.torn_bytes, (before.len() - after.len()) as u64);
            assert_eq!(live.bytes, after.len() as u64);
            assert_eq!(fs::read(&path).unwrap(), after);
        }
        let long = [b"one\n".to_vec(), vec![b'x'; 200_000]].concat();
        fs::write(&path, &long).unwrap();
        assert_eq!(log_dir.open_live("app", "web.log").unwrap().bytes, 4);
    }

    #[test]
    fn a_last_line_longer_than_ours_can_be_is_kept() {
        let (folder, log_dir) = log_dir();
        fs::create_dir(folder.path().join("app")).unwrap();
        let path = folder.path().join("app/web.log");
        let foreign = vec![b'x'; LINE_BYTES_MAX + (128 << 10)];
        fs::write(&path, &foreign).unwrap();
        let live = log_dir.open_live("app", "web.log").unwrap();
        assert_eq!((live.torn_bytes, live.bytes), (0, foreign.len() as u64 + 1));
    }

    #[test]
    fn a_log_folder_belongs_to_one_daemon() {
        let (folder, _log_dir) = log_dir();
        let second = LogDir::open(folder.path()).unwrap_err();
        assert_eq!(second.raw_os_error(), Some(Errno::EWOULDBLOCK as i32));
    }
}
