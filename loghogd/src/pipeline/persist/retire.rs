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

use super::clients::Receipt;
use crate::disk::{self, Disk, DiskFile};
use crate::limits::RETIRED_FILES_MAX;
use crate::stats::{Counter, Stats};

/// Where files go that have turned.
#[derive(Debug)]
pub(in crate::pipeline) enum Retirement {
    /// They are synced and closed at once: for tests, where each step has its
    /// place.
    #[cfg(test)]
    Here(Arc<Stats>, Arc<dyn Disk>),
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
    folder: Box<str>,
    receipts: Vec<Receipt>,
}

impl Retirement {
    /// Starts a thread.
    ///
    /// # Errors
    /// When the system has none to give.
    pub(super) fn beside(stats: Arc<Stats>, disk: Arc<dyn Disk>) -> io::Result<Retirement> {
        let (files, inbox) = mpsc::sync_channel::<Retired>(RETIRED_FILES_MAX);
        let thread = thread::Builder::new()
            .name("retire".into())
            .spawn(move || inbox.iter().for_each(|retired| retired.end(&stats, &*disk)))?;
        Ok(Retirement::Beside { files, thread })
    }

    pub(super) fn take(&self, retired: Retired) {
        match self {
            #[cfg(test)]
            Retirement::Here(stats, disk) => retired.end(stats, &**disk),
            // The thread is there as long as this is.
            Retirement::Beside { files, .. } => drop(files.send(retired)),
        }
    }

    /// Waits until all files are safe.
    pub(super) fn end(self) {
        match self {
            #[cfg(test)]
            Retirement::Here(..) => {}
            Retirement::Beside { files, thread } => {
                drop(files);
                // It does nothing that could panic.
                let _ = thread.join();
            }
        }
    }
}

impl Retired {
    /// The receipts are for messages in it.
    pub(super) fn new(
        file: Box<dyn DiskFile>,
        path: String,
        folder: &str,
        receipts: Vec<Receipt>,
    ) -> Retired {
        Retired { file, path, folder: folder.into(), receipts }
    }

    fn end(self, stats: &Stats, disk: &dyn Disk) {
        // A line is only safe when the name of its file is.
        let named = || match self.receipts.is_empty() {
            true => Ok(()),
            false => disk.sync_folder(&self.folder),
        };
        match self.file.sync().and_then(|()| named()) {
            Ok(()) => {
                stats.add(Counter::Syncs, 1);
                self.receipts.into_iter().for_each(Receipt::settle);
            }
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
