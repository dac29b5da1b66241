//! A log folder in memory, for tests: it fails, stops and loses power on demand.
//! Calls of a `Disk` -> what a POSIX file system would answer, or what a test wants to happen.
//! Invariant: without faults it answers as `LogDir` does (a property test compares the two).
//! Leaves out: links, permissions, and several names for one file.
//!
//! Each call that changes something, and each sync, is a step. A test counts
//! the steps of a run, runs again with [`Simulated::stop_at`] each of them,
//! and looks at what a [`Simulated::restart`] finds.

mod fault;
mod model;
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use nix::errno::Errno;

pub(crate) use self::fault::{Fault, Operation};
use self::model::{Model, Rights};
use super::{Disk, DiskFile, Facts, Live, Space};

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct Simulated {
    state: Arc<Mutex<State>>,
}

/// How much of the step at which the process dies is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Nothing of it.
    Before,
    /// Of a write, so many bytes (modulo its length); of anything else, nothing.
    Amid(usize),
    /// All of it, but nobody learns of it.
    After,
}

/// What ends a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    /// kill -9: everything that was done is there.
    Killed,
    /// The power failed. What was synced is there; of what each file and each
    /// folder changed since, some beginning, chosen by the seed. 0: nothing.
    PowerLost(u64),
}

/// The error of every call of a process that has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the simulated process has stopped")]
pub(crate) struct Stopped;

#[derive(Default)]
struct State {
    model: Model,
    steps: Vec<String>,
    faults: Vec<Fault>,
    /// Folders whose own names this process knows to be safe.
    named: BTreeSet<String>,
    stop_at: Option<(usize, Cut)>,
    stopped: bool,
}

impl Simulated {
    /// An empty log folder on a disk that never becomes full.
    pub(crate) fn new() -> Simulated {
        Simulated { state: Arc::default() }
    }

    /// Sets the clock that files take the time of their last change from.
    pub(crate) fn set_now(&self, now: Timestamp) {
        self.lock().model.now = now;
    }

    /// Gives the file system so many bytes in all. A write that does not fit
    /// is cut short, and the next one fails with `ENOSPC`.
    pub(crate) fn set_total_bytes(&self, total_bytes: u64) {
        self.lock().model.total_bytes = total_bytes;
    }

    /// Lets the process die at a step; the first one is 0.
    pub(crate) fn stop_at(&self, step: usize, cut: Cut) {
        self.lock().stop_at = Some((step, cut));
    }

    /// Has the process died?
    pub(crate) fn has_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// How many steps were done, or begun.
    pub(crate) fn steps(&self) -> usize {
        self.lock().steps.len()
    }

    /// Makes calls fail from now on.
    pub(crate) fn fail(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// Lifts all faults.
    pub(crate) fn heal(&self) {
        self.lock().faults.clear();
    }

    /// The disk as the next process finds it, with no file open, no fault and
    /// no stop. The one before is dead from now on.
    pub(crate) fn restart(&self, how: Restart) -> Simulated {
        let mut state = self.lock();
        state.stopped = true;
        let mut model = state.model.clone();
        model.close_all();
        if let Restart::PowerLost(seed) = how {
            model.lose_power(seed);
        }
        Simulated { state: Arc::new(Mutex::new(State { model, ..State::default() })) }
    }

    /// Puts a file there, safely, in no step, as somebody else would.
    pub(crate) fn put(&self, folder: &str, name: &str, content: &[u8], modified: Timestamp) {
        self.lock().model.put(folder, name, content, modified);
    }

    /// Puts a folder where one of our files should be, in no step.
    pub(crate) fn put_obstacle(&self, folder: &str, name: &str) {
        self.lock().model.put_obstacle(folder, name);
    }

    /// Removes a file, or a whole folder when no name is given, safely, in no
    /// step, as somebody else would.
    pub(crate) fn take_away(&self, folder: &str, name: Option<&str>) {
        self.lock().model.take_away(folder, name);
    }

    /// All files as `FOLDER/NAME`, sorted, hidden ones too.
    pub(crate) fn tree(&self) -> Vec<String> {
        self.lock().model.tree()
    }

    /// What a file holds, whatever has happened to the process.
    pub(crate) fn content(&self, folder: &str, name: &str) -> Option<Vec<u8>> {
        self.lock().model.content(folder, name)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that fails while it holds the lock still shows the disk.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, place: (&str, &str), id: u64, rights: Rights) -> SimulatedFile {
        let (folder, name) = place;
        self.lock().model.open_one(id);
        let (folder, name) = (folder.to_owned(), name.to_owned());
        SimulatedFile { disk: self.clone(), folder, name, id, rights, position: 0 }
    }
}

impl State {
    /// A call that changes nothing.
    fn look(&mut self, operation: Operation, folder: &str, name: &str) -> io::Result<()> {
        if self.stopped {
            return Err(io::Error::other(Stopped));
        }
        let mut faults = self.faults.iter_mut();
        match faults.find_map(|fault| fault.strike(operation, folder, name)) {
            None => Ok(()),
            Some(errno) => Err(errno.into()),
        }
    }

    /// A call that changes something; `act` gets told how many bytes of a
    /// write are done before the process dies, if it does.
    fn step<T>(
        &mut self,
        (operation, folder, name): (Operation, &str, &str),
        detail: fmt::Arguments<'_>,
        act: impl FnOnce(&mut Model, Option<usize>) -> nix::Result<T>,
    ) -> io::Result<T> {
        self.look(operation, folder, name)?;
        let number = self.steps.len();
        self.steps.push(format!("{operation:?} {folder}/{name}{detail}"));
        let cut = self.stop_at.filter(|&(at, _)| at == number).map(|(_, cut)| cut);
        let bytes = match cut {
            None => return Ok(act(&mut self.model, None)?),
            Some(Cut::Before) => Some(0),
            Some(Cut::Amid(bytes)) => Some(bytes),
            Some(Cut::After) => None,
        };
        if bytes.is_none() || operation == Operation::Write {
            let _ = act(&mut self.model, bytes);
        }
        self.stopped = true;
        Err(io::Error::other(Stopped))
    }
}

impl Disk for Simulated {
    fn path(&self) -> &Path {
        Path::new("/simulated")
    }

    fn folders(&self) -> io::Result<Vec<String>> {
        let mut state = self.lock();
        state.look(Operation::Folders, "", "")?;
        Ok(state.model.folders())
    }

    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut state = self.lock();
        state.look(Operation::Names, folder, "")?;
        Ok(state.model.names(folder)?)
    }

    fn facts(&self, folder: &str, name: &str) -> io::Result<Option<Facts>> {
        let mut state = self.lock();
        state.look(Operation::Facts, folder, name)?;
        Ok(state.model.facts_of(folder, name)?)
    }

    fn open_live(&self, folder: &str, name: &str) -> io::Result<Live> {
        let mut state = self.lock();
        state.look(Operation::OpenLive, folder, name)?;
        if !state.model.has_folder(folder)? {
            let make = (Operation::MakeFolder, folder, "");
            state.named.remove(folder);
            state.step(make, format_args!(""), |model, _| model.make_folder(folder))?;
        }
        let (id, is_new) = match state.model.look_up(folder, name, Rights::Append)? {
            Some(id) => (id, false),
            None => {
                let create = (Operation::Create, folder, name);
                let made =
                    state.step(create, format_args!(""), |model, _| model.create(folder, name));
                (made?, true)
            }
        };
        drop(state);
        let file = Box::new(self.file((folder, name), id, Rights::Append));
        Ok(Live { file, is_new })
    }

    fn open(&self, folder: &str, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        state.look(Operation::Open, folder, name)?;
        let id = state.model.look_up(folder, name, Rights::Read)?.ok_or(Errno::ENOENT)?;
        drop(state);
        Ok(Box::new(self.file((folder, name), id, Rights::Read)))
    }

    fn create(&self, folder: &str, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        let create = (Operation::Create, folder, name);
        let id = state.step(create, format_args!(""), |model, _| model.create(folder, name))?;
        drop(state);
        Ok(Box::new(self.file((folder, name), id, Rights::Append)))
    }

    fn rename(&self, folder: &str, from: &str, to: &str) -> io::Result<()> {
        let rename = (Operation::Rename, folder, from);
        self.lock()
            .step(rename, format_args!(" -> {to}"), |model, _| model.rename(folder, from, to))
    }

    fn remove(&self, folder: &str, name: &str) -> io::Result<()> {
        let remove = (Operation::Remove, folder, name);
        self.lock().step(remove, format_args!(""), |model, _| model.remove(folder, name))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut state = self.lock();
        let sync = (Operation::SyncFolder, folder, "");
        state.step(sync, format_args!(""), |model, _| model.sync_folder(folder))?;
        if !state.named.contains(folder) {
            let sync = (Operation::SyncFolder, "", "");
            state.step(sync, format_args!(""), |model, _| {
                model.sync_root();
                Ok(())
            })?;
            state.named.insert(folder.to_owned());
        }
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        let mut state = self.lock();
        state.look(Operation::Space, "", "")?;
        let total_bytes = state.model.total_bytes;
        Ok(Space { total_bytes, free_bytes: state.model.free_bytes(), shows_late: false })
    }
}

/// Shows what was done and what is there.
impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        writeln!(f, "simulated disk, {} steps:", state.steps.len())?;
        for (number, step) in state.steps.iter().enumerate() {
            writeln!(f, "  {number:3} {step}")?;
        }
        if let Some((step, cut)) = state.stop_at.filter(|_| state.stopped) {
            writeln!(f, "  stopped at {step}: {cut:?}")?;
        }
        write!(f, "{:?}", state.model)
    }
}

/// An open file of a [`Simulated`] disk.
struct SimulatedFile {
    disk: Simulated,
    /// Under which name it was opened.
    folder: String,
    name: String,
    id: u64,
    rights: Rights,
    position: usize,
}

impl SimulatedFile {
    fn step<T>(
        &self,
        operation: Operation,
        detail: fmt::Arguments<'_>,
        act: impl FnOnce(&mut Model, Option<usize>) -> nix::Result<T>,
    ) -> io::Result<T> {
        self.disk.lock().step((operation, &self.folder, &self.name), detail, act)
    }

    fn read_some(&self, buffer: &mut [u8], offset: usize) -> io::Result<usize> {
        let mut state = self.disk.lock();
        state.look(Operation::Read, &self.folder, &self.name)?;
        Ok(state.model.read(self.id, buffer, offset))
    }
}

impl Read for SimulatedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.read_some(buffer, self.position)?;
        self.position += bytes;
        Ok(bytes)
    }
}

impl Write for SimulatedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes = slices.iter().flat_map(|slice| slice.iter().copied()).collect::<Vec<u8>>();
        let detail = format_args!(": {} bytes", bytes.len());
        let (id, rights) = (self.id, self.rights);
        let (written, end) = self.step(Operation::Write, detail, |model, cut| {
            // All of it would be a write that was done.
            let part = cut.map_or(bytes.len(), |cut| cut % bytes.len().max(1));
            model.append(id, rights, bytes.get(..part).unwrap_or_default())
        })?;
        if written > 0 {
            self.position = end;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for SimulatedFile {
    fn facts(&self) -> io::Result<Facts> {
        let mut state = self.disk.lock();
        state.look(Operation::Facts, &self.folder, &self.name)?;
        Ok(state.model.facts(self.id))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_some(buffer, usize::try_from(offset).unwrap_or(usize::MAX))
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let length = usize::try_from(bytes).map_err(io::Error::other)?;
        let (id, rights) = (self.id, self.rights);
        self.step(Operation::SetLen, format_args!(": to {bytes} bytes"), |model, _| {
            model.set_len(id, rights, length)
        })
    }

    fn set_modified(&self, modified: Timestamp) -> io::Result<()> {
        self.step(Operation::SetModified, format_args!(": to {modified}"), |model, _| {
            model.set_modified(self.id, modified);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.step(Operation::Sync, format_args!(""), |model, _| {
            model.sync(self.id);
            Ok(())
        })
    }

    fn forget(&self) {}
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        self.disk.lock().model.close_one(self.id);
    }
}

impl fmt::Debug for SimulatedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, {:?}", self.folder, self.name, self.rights)
    }
}
