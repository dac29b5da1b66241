//! Sockets in the file system.
//! A path and who may connect -> a listening socket.
//! Invariant: what a daemon before has left is replaced, and nothing else that stands there.
//! Leaves out: what is said there (`control`, `status::http`).

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Listens, without blocking. Whether a daemon before still runs its pidfile tells.
///
/// # Errors
/// What the system says.
pub fn bind(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
