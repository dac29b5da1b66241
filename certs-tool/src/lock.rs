//! Lets one run at a time work on the CA of a folder.
//! Folder -> `Held`, until it is dropped or the process ends.
//! Invariant: two runs never write the index or the revocation list at once.
//! Leaves out: readers; what they read is always whole ([`crate::files`]).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::limits::LOCK_WAIT_MS_MAX;

const PAUSE: Duration = Duration::from_millis(20);

/// Why a folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run has it, for longer than one can take.
    #[error("another run is at work in {folder}; try again when it has ended")]
    Busy {
        /// The folder.
        folder: PathBuf,
    },
    /// The system says no.
    #[error("{folder}: cannot lock this folder: {source}")]
    System {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The folder is ours while this lives.
#[derive(Debug)]
pub struct Held(#[allow(dead_code, reason = "held, not read")] Flock<File>);

/// Waits at most [`LOCK_WAIT_MS_MAX`] for the folder.
///
/// The folder itself is locked, so that no lock file is left behind.
///
/// # Errors
/// [`LockError`] when it is absent or stays busy.
pub fn hold(folder: &Path) -> Result<Held, LockError> {
    let system = |source| LockError::System { folder: folder.to_owned(), source };
    let deadline = Instant::now() + Duration::from_millis(LOCK_WAIT_MS_MAX);
    let mut file = File::open(folder).map_err(system)?;
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(Held(lock)),
            Err((file, Errno::EWOULDBLOCK | Errno::EINTR)) => file,
            Err((_, errno)) => return Err(system(errno.into())),
        };
        if Instant::now() >= deadline {
            return Err(LockError::Busy { folder: folder.to_owned() });
        }
        thread::sleep(PAUSE);
    }
}
