//! What can be in the way of trimming.
//! A step that failed -> a message with the path and the remedy.
//! Invariant: none of them stops the rest.
//! Leaves out: how often it is said.

use std::io;
use std::path::PathBuf;

use crate::config::checked::MinFree;
use crate::disk;

/// What keeps a segment that should go, or room from being kept free. The
/// surroundings' fault: the rest goes on, and it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum TrimError {
    /// A folder cannot be read.
    #[error("cannot look for surplus segments in {path}: {source}; {}", disk::remedy(source))]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A segment cannot be deleted.
    #[error("cannot delete the surplus segment {path}: {source}; {}", disk::remedy(source))]
    Undeletable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A folder cannot be synced after deleting.
    #[error(
        "cannot sync {path}, so deleted segments may be there again after a power failure: \
         {source}; {}",
        disk::remedy(source)
    )]
    Unsynced {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The free room is not known.
    #[error(
        "cannot find out how much room is free in {path}, and no segment is deleted \
         for [main] min_free meanwhile: {source}; {}",
        disk::remedy(source)
    )]
    SpaceUnknown {
        /// The log folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No file system of this size can keep so much free.
    #[error(
        "[main] min_free asks for {min_free_bytes} bytes, but the file system of {path} has only \
         {total_bytes} in all; nothing is deleted for it; write a smaller min_free"
    )]
    MinFreeTooLarge {
        /// The log folder.
        path: PathBuf,
        /// What is asked for.
        min_free_bytes: u64,
        /// What there is.
        total_bytes: u64,
    },
    /// Everything that may be deleted is, and it is not enough.
    #[error(
        "only {free_bytes} bytes are free for {path}, [main] min_free asks for {min_free}, \
         and there is no segment left that may be deleted; make room on the file system"
    )]
    NothingLeft {
        /// The log folder.
        path: PathBuf,
        /// What is free.
        free_bytes: u64,
        /// What is asked for.
        min_free: MinFree,
    },
}
