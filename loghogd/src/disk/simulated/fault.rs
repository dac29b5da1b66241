//! What goes wrong on a simulated disk.
//! A call -> an error, when a fault is meant for it.
//! Invariant: a call that fails has done nothing.
//! Leaves out: a full disk, which the model knows by itself.

use std::fmt;

use nix::errno::Errno;

/// What is asked of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// List the folders.
    Folders,
    /// List the names in a folder.
    Names,
    /// Ask for what is known of a file, by its name or an open one.
    Facts,
    /// Open a live file, whether it is there or not.
    OpenLive,
    /// Open a file for reading.
    Open,
    /// Make a file, also a live one.
    Create,
    /// Make the folder of a live file.
    MakeFolder,
    /// Give another name.
    Rename,
    /// Remove a name.
    Remove,
    /// Make the names of a folder safe; of the log folder, whose name is "".
    SyncFolder,
    /// Ask for the room.
    Space,
    /// Read from an open file.
    Read,
    /// Write to one.
    Write,
    /// Cut one.
    SetLen,
    /// Set its time.
    SetModified,
    /// Make its content safe.
    Sync,
}

/// Decides by folder and name. Of an open file it is the name under which it
/// was opened, of a rename the old one.
type Predicate = Box<dyn Fn(&str, &str) -> bool + Send>;

/// An error that awaits calls. Unless told otherwise: all calls, for ever.
pub(crate) struct Fault {
    errno: Errno,
    operations: Vec<Operation>,
    is_meant: Predicate,
    spared: usize,
    times: usize,
}

impl Fault {
    /// Everything fails with `errno`.
    pub(crate) fn new(errno: Errno) -> Fault {
        let is_meant = Box::new(|_: &str, _: &str| true);
        Fault { errno, operations: Vec::new(), is_meant, spared: 0, times: usize::MAX }
    }

    /// Only these operations fail.
    #[must_use]
    pub(crate) fn on(mut self, operations: &[Operation]) -> Fault {
        operations.clone_into(&mut self.operations);
        self
    }

    /// Only where this is true of folder and name.
    #[must_use]
    pub(crate) fn at(mut self, is_meant: impl Fn(&str, &str) -> bool + Send + 'static) -> Fault {
        self.is_meant = Box::new(is_meant);
        self
    }

    /// Only after so many calls that are meant and spared.
    #[must_use]
    pub(crate) fn after(mut self, calls: usize) -> Fault {
        self.spared = calls;
        self
    }

    /// Only so many times.
    #[must_use]
    pub(crate) fn times(mut self, times: usize) -> Fault {
        self.times = times;
        self
    }

    /// The error of this call, if it is meant.
    pub(super) fn strike(
        &mut self,
        operation: Operation,
        folder: &str,
        name: &str,
    ) -> Option<Errno> {
        let on = self.operations.is_empty() || self.operations.contains(&operation);
        if self.times == 0 || !on || !(self.is_meant)(folder, name) {
            return None;
        }
        if self.spared > 0 {
            self.spared -= 1;
            return None;
        }
        self.times -= 1;
        Some(self.errno)
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {:?}, {} times", self.errno, self.operations, self.times)
    }
}
