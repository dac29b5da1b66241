//! Reads files of a bounded size and publishes new ones whole.
//! Path -> bytes; path and bytes -> a file.
//! Invariant: under the final name there is the old file or the new one,
//! never a part of one, and a secret is never readable for others.
//! Leaves out: what is in the files.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use tempfile::Builder;

use crate::owner;

/// Why a file could not be read or published.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there.
    #[error("{path}: no such file")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It is there, and would have been lost.
    #[error("{path} exists already; move it away, or replace it with --force")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It is a folder, a pipe or a device.
    #[error("{path} is not a regular file")]
    Irregular {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be what it should be.
    #[error("{path} is longer than {bytes_max} bytes, too long for what it should hold")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit that it is over.
        bytes_max: u64,
    },
    /// We may not.
    #[error("{path}: permission denied; run this with sudo, or as the owner of the file")]
    Denied {
        /// The file.
        path: PathBuf,
    },
    /// Anything else the system says.
    #[error("{path}: {source}")]
    System {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

/// Who may read a published file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Its owner only: 0600. Where the file that it replaces was for its owner
    /// and group (0640), it stays so, and a daemon in that group still starts.
    Owner,
    /// Everybody: 0644.
    Everybody,
}

/// What to do with a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Refuse with [`FileError::Exists`].
    Keep,
    /// Take its place, owner and group.
    Replace,
}

/// Reads a whole file of at most `bytes_max` bytes.
///
/// # Errors
/// [`FileError`] when it is absent, too long, or not ours to read.
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, FileError> {
    // Asked before opening: opening a pipe would wait for a writer.
    let metadata = fs::metadata(path).map_err(|source| fault(path, source))?;
    if !metadata.is_file() {
        return Err(FileError::Irregular { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
        .map_err(|source| fault(path, source))?;
    if bytes.len() as u64 > bytes_max {
        return Err(FileError::TooLong { path: path.to_owned(), bytes_max });
    }
    Ok(bytes)
}

/// As [`read`], with `None` for a file that is not there.
///
/// # Errors
/// As [`read`], but for an absent file.
pub fn read_if_there(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, FileError> {
    match read(path, bytes_max) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(FileError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether there is anything of that name, be it a dangling link.
///
/// # Errors
/// [`FileError`] when the folder may not be looked into.
pub fn is_there(path: &Path) -> Result<bool, FileError> {
    Ok(old(path)?.is_some())
}

/// Writes `bytes` to a temporary name, syncs it, gives it its final name and
/// syncs the folder.
///
/// # Errors
/// [`FileError`]; nothing has changed then.
pub fn publish(
    path: &Path,
    bytes: &[u8],
    audience: Audience,
    existing: Existing,
) -> Result<(), FileError> {
    let old = old(path)?;
    if old.is_some() && existing == Existing::Keep {
        return Err(FileError::Exists { path: path.to_owned() });
    }
    place(path, bytes, audience, existing, old.as_ref()).map_err(|source| {
        // Somebody was quicker, between our look and our rename.
        match source.kind() {
            io::ErrorKind::AlreadyExists => FileError::Exists { path: path.to_owned() },
            _ => fault(path, source),
        }
    })
}

fn place(
    path: &Path,
    bytes: &[u8],
    audience: Audience,
    existing: Existing,
    old: Option<&Metadata>,
) -> io::Result<()> {
    let folder = folder_of(path);
    // Made with mode 0600; it is opened up, if at all, only when it is complete.
    let mut file = Builder::new().prefix(".loghog-cert-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    give_away(file.as_file(), old)?;
    file.as_file().set_permissions(Permissions::from_mode(mode(audience, old)))?;
    file.as_file().sync_all()?;
    match existing {
        Existing::Keep => file.persist_noclobber(path)?,
        Existing::Replace => file.persist(path)?,
    };
    File::open(folder)?.sync_all()
}

fn give_away(file: &File, old: Option<&Metadata>) -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    match (old, owner::caller()) {
        (Some(old), _) => fchown(file, Some(old.uid()), Some(old.gid())),
        (None, Some(caller)) => fchown(file, Some(caller.uid), Some(caller.gid)),
        (None, None) => Ok(()),
    }
}

fn mode(audience: Audience, old: Option<&Metadata>) -> u32 {
    match audience {
        Audience::Owner if old.is_some_and(|old| old.mode() & 0o077 == 0o040) => 0o640,
        Audience::Owner => 0o600,
        Audience::Everybody => 0o644,
    }
}

fn old(path: &Path) -> Result<Option<Metadata>, FileError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(fault(path, source)),
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn fault(path: &Path, source: io::Error) -> FileError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => FileError::Missing { path },
        io::ErrorKind::PermissionDenied => FileError::Denied { path },
        _ => FileError::System { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_secret_is_for_its_owner_and_a_public_file_for_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        publish(&path, b"s", Audience::Owner, Existing::Keep).unwrap();
        assert_eq!(mode_of(&path), 0o600);
        publish(&path, b"p", Audience::Everybody, Existing::Replace).unwrap();
        assert_eq!(mode_of(&path), 0o644);
        assert_eq!(fs::read(&path).unwrap(), b"p");
    }

    #[test]
    fn a_group_that_was_let_in_alone_stays_and_the_world_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for (before, after) in [(0o640, 0o640), (0o600, 0o600), (0o644, 0o600), (0o666, 0o600)] {
            fs::write(&path, b"old").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(before)).unwrap();
            publish(&path, b"new", Audience::Owner, Existing::Replace).unwrap();
            assert_eq!(mode_of(&path), after, "from {before:o}");
        }
    }

    #[test]
    fn an_existing_file_stays_unless_replacing_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, b"old").unwrap();
        let refused = publish(&path, b"new", Audience::Owner, Existing::Keep).unwrap_err();
        assert!(matches!(refused, FileError::Exists { .. }), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn too_long_files_and_folders_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, [0; 11]).unwrap();
        assert!(read(&path, 11).is_ok());
        assert!(matches!(read(&path, 10), Err(FileError::TooLong { .. })));
        assert!(matches!(read(folder.path(), 10), Err(FileError::Irregular { .. })));
        assert!(read_if_there(&folder.path().join("y"), 10).unwrap().is_none());
    }
}
