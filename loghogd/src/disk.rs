//! The only room that touches log files: what the road asks of a disk.
//! A name below the log folder -> an open file, a new name, or nothing any more.
//! Invariant: a path is a folder and a name, both single components; nothing else is ever touched.
//! Leaves out: what the names mean (`pipeline::rotate::name`), and when to do what.
//!
//! ```text
//! log_dir    the log folder of a real file system
//! publish    a small file that is there whole, or not at all
//! simulated  one in memory, for tests: it fails, stops and loses power on demand
//! ```
//! Each method that changes something is one step: after any of them the
//! process may be killed, or the power fail, and the next start finds what
//! the steps before have left.

mod log_dir;
mod publish;
#[cfg(test)]
pub(crate) mod simulated;

pub use log_dir::LogDir;
pub use publish::{UNFINISHED, publish};

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::path::Path;

use jiff::Timestamp;
use nix::errno::Errno;

/// The folder that all log files are below.
pub trait Disk: Debug + Send + Sync {
    /// Its path, for messages.
    fn path(&self) -> &Path;

    /// The names of the folders in it, in no order.
    ///
    /// # Errors
    /// What the system says.
    fn folders(&self) -> io::Result<Vec<String>>;

    /// The names in a folder, in no order, hidden ones not; none when there
    /// is no such folder.
    ///
    /// # Errors
    /// What the system says.
    fn names(&self, folder: &str) -> io::Result<Vec<String>>;

    /// What is known of a file without opening it; none when there is no
    /// such file.
    ///
    /// # Errors
    /// What the system says; `EINVAL` for what is no regular file.
    fn facts(&self, folder: &str, name: &str) -> io::Result<Option<Facts>>;

    /// Opens a file for reading and appending, and makes it and its folder
    /// where they are not there.
    ///
    /// # Errors
    /// What the system says; `ELOOP` for a link, `EINVAL` for what is no
    /// regular file.
    fn open_live(&self, folder: &str, name: &str) -> io::Result<Live>;

    /// Opens a file for reading, from its beginning.
    ///
    /// # Errors
    /// As [`Disk::open_live`]; `ENOENT` when it is not there.
    fn open(&self, folder: &str, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Makes a new file, open for reading and appending.
    ///
    /// # Errors
    /// What the system says; `EEXIST` when there is one of that name.
    fn create(&self, folder: &str, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name in its folder, and never replaces one.
    ///
    /// # Errors
    /// What the system says; `EEXIST` when there is a file of the new name.
    fn rename(&self, folder: &str, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; does nothing when it is not there.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, folder: &str, name: &str) -> io::Result<()>;

    /// Makes safe what was made, renamed and removed in a folder until now, and
    /// the folder's own name.
    ///
    /// # Errors
    /// What the system says.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;

    /// The room on the file system.
    ///
    /// # Errors
    /// What the system says.
    fn space(&self) -> io::Result<Space>;
}

/// An open file. Reading goes on from where it ended, writing at the end.
pub trait DiskFile: Debug + Send + Read + Write {
    /// What is known of it.
    ///
    /// # Errors
    /// What the system says.
    fn facts(&self) -> io::Result<Facts>;

    /// Fills `buffer` with what stands from `offset` on, as far as there is
    /// something; returns how many bytes that were.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Cuts the file to so many bytes.
    ///
    /// # Errors
    /// What the system says.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Sets the time of the last change.
    ///
    /// # Errors
    /// What the system says.
    fn set_modified(&self, modified: Timestamp) -> io::Result<()>;

    /// Makes its content safe.
    ///
    /// # Errors
    /// What the system says.
    fn sync(&self) -> io::Result<()>;

    /// Tells the system that what has been synced will not be read again
    /// soon, so that it need not take the place of what others read.
    fn forget(&self);
}

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Which file it is, whatever its name: device and inode.
    pub id: (u64, u64),
    /// Its length.
    pub bytes: u64,
    /// What it takes on the disk, in bytes.
    pub disk_bytes: u64,
    /// When it was changed last.
    pub modified: Timestamp,
}

/// A live file, open for reading and appending.
#[derive(Debug)]
pub struct Live {
    /// The file.
    pub file: Box<dyn DiskFile>,
    /// It was made just now: its name is safe only when its folder is synced.
    pub is_new: bool,
}

/// The room on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All there is, in bytes.
    pub total_bytes: u64,
    /// What we may still use, in bytes.
    pub free_bytes: u64,
    /// What is deleted becomes free some time later.
    pub shows_late: bool,
}

/// What an operator can do about an error.
pub fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on its file system",
        io::ErrorKind::PermissionDenied => "give the daemon's user permission to write there",
        io::ErrorKind::ReadOnlyFilesystem => "mount its file system for writing",
        io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::InvalidInput => "move away what stands in its place",
        io::ErrorKind::NotFound => "see what has removed it",
        _ => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ELOOP) => "links are not followed: move this one away",
            Some(Errno::EMFILE | Errno::ENFILE) => {
                "raise the limit of open files (LimitNOFILE, ulimit -n), or lower [main] max_open_files"
            }
            Some(Errno::EIO) => "look after the disk: the system's log tells more",
            _ => "see the system's log for the cause",
        },
    }
}
