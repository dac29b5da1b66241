//! Syncs and closes files that nobody writes to any more.
//! A file that has turned -> safe on the disk, and closed.
//! Invariant: the writer does not wait for it, as long as there are few.
//! Leaves out: names; whether what was in it is counted as written.
//!
//! Syncing takes as long as the disk wants, and closing the last descriptor of
//! a deleted file frees all that it held. Both would be a pause for everybody
//! who writes to the next file.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, JoinHandle};

use tracing::error;

use crate::disk::{self, DiskFile};
use crate::limits::RETIRED_FILES_MAX;
use crate::stats::{Counter, Stats};

/// Where files go that have turned.
#[derive(Debug)]
pub(in crate::pipeline) enum Retirement {
    /// They are synced and closed at once: for tests, where each step has its
    /// place.
    #[cfg(test)]
    Here(Arc<Stats>),
    /// By a thread of its own. The writer waits when it is far behind.
    Beside {
        /// Ends the thread when it is gone.
        files: SyncSender<Retired>,
        /// The thread.
        thread: JoinHandle<()>,
    },
}

/// A file that has turned, or was left.
#[derive(Debug)]
pub(in crate::pipeline) struct Retired {
    file: Box<dyn DiskFile>,
    path: String,
}

impl Retirement {
    /// Starts a thread.
    ///
    /// # Errors
    /// When the system has none to give.
    pub(super) fn beside(stats: Arc<Stats>) -> io::Result<Retirement> {
        let (files, inbox) = mpsc::sync_channel::<Retired>(RETIRED_FILES_MAX);
        let thread = thread::Builder::new()
            .name("retire".into())
            .spawn(move || inbox.iter().for_each(|retired| retired.end(&stats)))?;
        Ok(Retirement::Beside { files, thread })
    }

    pub(super) fn take(&self, file: Box<dyn DiskFile>, path: String) {
        let retired = Retired { file, path };
        match self {
            #[cfg(test)]
            Retirement::Here(stats) => retired.end(stats),
            // The thread is there as long as this is.
            Retirement::Beside { files, .. } => drop(files.send(retired)),
        }
    }

    /// Waits until all files are safe.
    pub(super) fn end(self) {
        match self {
            #[cfg(test)]
            Retirement::Here(_) => {}
            Retirement::Beside { files, thread } => {
                drop(files);
                // It does nothing that could panic.
                let _ = thread.join();
            }
        }
    }
}

impl Retired {
    fn end(self, stats: &Stats) {
        match self.file.sync() {
            Ok(()) => stats.add(Counter::Syncs, 1),
            Err(error) => {
                stats.add(Counter::SyncFailures, 1);
                error!(
                    "cannot sync {} before it turns: {error}; what was written to it in the last \
                     moments may be lost with the power; {}",
                    self.path,
                    disk::remedy(&error)
                );
            }
        }
    }
}
