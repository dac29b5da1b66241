//! Remembers what has arrived where.
//! A target and a stream -> which of its segments are through, and how far the next one is.
//! Invariant: what is remembered was published: after a stop it is there, or it was never said.
//! Leaves out: what targets remember themselves; deletion, which asks here.
//!
//! ```text
//! LOGDIR/.loghogd/ship/
//!   instance/id.1                    16 hex digits: which log folder this is
//!   TARGET:APP/LIVE.REVISION         the state of one stream at one target (`state`)
//!   TARGET:APP/LIVE.REVISION.part    one that was not finished
//!   TARGET/dead-letter.log           see `dead`
//!   TARGET/destination.REVISION      see `destination`
//! ```
//! Only the newest revision counts. One that cannot be read is not guessed: of its stream
//! nothing is known then, so all of it is owed and nothing of it is shipped, until somebody
//! has looked at it. Of others it tells nothing.

mod state;
#[cfg(test)]
mod tests;

pub use state::{Aside, State};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::limits::STATE_BYTES_MAX;
use super::mark::Stream;
use crate::config::facility::Facility;
use crate::disk::{Disk, LogDir, UNFINISHED, publish};
use crate::pipeline::rotate::name::Began;

/// Where the name of the log folder is kept.
const INSTANCE: &str = "instance";

/// All states. A clone is the same.
#[derive(Clone, Debug)]
pub struct Receipts {
    folder: Arc<Folder>,
    known: Arc<Mutex<Known>>,
}

/// The state folder, which is made when something is to be kept.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    disk: OnceLock<Arc<dyn Disk>>,
}

#[derive(Debug, Default)]
struct Known {
    states: HashMap<Key, Kept>,
    /// Folders that cannot be listed, and why: nothing is known of their streams.
    unread: HashMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    target: Box<str>,
    stream: Stream,
}

#[derive(Debug, Default)]
struct Kept {
    state: State,
    /// Why nothing is known, though there is something.
    unknown: Option<String>,
    /// The revision with this state; 0 for none.
    revision: u64,
    /// The newest that was tried. Whatever has become of it, its name is not used again.
    tried: u64,
    /// Names of others, which may still be there.
    leftover: BTreeSet<String>,
}

impl Receipts {
    /// Reads what is there in the state folder at `path`. Where nothing was ever shipped
    /// there is none, and none is made before something is.
    ///
    /// # Errors
    /// As [`open`](Receipts::open).
    pub fn open_at(path: PathBuf) -> io::Result<Receipts> {
        if path.try_exists()? {
            return Receipts::open(Arc::new(LogDir::open(&path)?));
        }
        let folder = Arc::new(Folder { path, disk: OnceLock::new() });
        Ok(Receipts { folder, known: Arc::default() })
    }

    /// Reads what is there in the state folder `disk`.
    ///
    /// # Errors
    /// What the system says of that folder. A state that cannot be read is none: see
    /// [`Receipts::state`].
    pub fn open(disk: Arc<dyn Disk>) -> io::Result<Receipts> {
        let (path, folders) = (disk.path().to_owned(), disk.folders()?);
        let folder = Arc::new(Folder { path, disk: OnceLock::from(disk) });
        let receipts = Receipts { folder, known: Arc::default() };
        for folder in folders {
            if let Some((target, app)) = folder.split_once(':') {
                receipts.read_folder(target, app);
            }
        }
        Ok(receipts)
    }

    /// Nothing is remembered, for tests that ship nothing.
    #[cfg(test)]
    pub(crate) fn none() -> Receipts {
        Receipts::open(Arc::new(crate::disk::simulated::Simulated::new())).unwrap()
    }

    /// The name of this log folder among all in the world; chosen when it is first
    /// asked for.
    ///
    /// # Errors
    /// What the system says.
    pub fn instance(&self, choose: impl FnOnce() -> u64) -> io::Result<String> {
        const NAME: &str = "id.1";
        let disk = &**self.disk()?;
        if disk.facts(INSTANCE, NAME)?.is_some() {
            let id = read(disk, INSTANCE, NAME)
                .map(|text| text.trim().to_owned())
                .ok()
                .filter(|id| id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let Some(id) = id else {
                let path = self.path().join(INSTANCE).join(NAME);
                let what = format!(
                    "{} is not 16 hex digits; write there what it was, or move it away: then \
                     targets take this log folder for another one",
                    path.display()
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            };
            // Who published it may have died before its name was safe.
            disk.sync_folder(INSTANCE)?;
            return Ok(id);
        }
        let id = format!("{:016x}", choose());
        publish(disk, INSTANCE, NAME, id.as_bytes())?;
        Ok(id)
    }

    /// What is known of a stream. What could not be read is tried once more.
    ///
    /// # Errors
    /// Why nothing is known, and what to do.
    pub fn state(&self, target: &str, stream: &Stream) -> Result<State, String> {
        let key = Key { target: target.into(), stream: stream.clone() };
        let is_unknown = self.known().why_unknown(&key).is_some();
        if is_unknown {
            self.read_folder(target, &stream.app);
        }
        let known = self.known();
        match known.why_unknown(&key) {
            Some(why) => Err(why.to_owned()),
            None => Ok(known.states.get(&key).map(|kept| kept.state.clone()).unwrap_or_default()),
        }
    }

    /// Publishes a state; when this returns, it is safe.
    ///
    /// # Errors
    /// What the system says; what was known before holds on. `FileTooLarge` when there is
    /// too much to remember, `InvalidData` when it is not known what there was before.
    pub fn put(&self, target: &str, stream: &Stream, state: State) -> io::Result<()> {
        let text = state.text();
        if text.len() as u64 > STATE_BYTES_MAX {
            let what = format!(
                "what is remembered of its {} segments would take more than {STATE_BYTES_MAX} bytes",
                state.done.len() + state.again.len()
            );
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
        }
        let disk = &**self.disk()?;
        let key = Key { target: target.into(), stream: stream.clone() };
        let folder = folder_of(target, &stream.app);
        let (revision, failed) = {
            let mut known = self.known();
            if let Some(why) = known.why_unknown(&key) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, why.to_owned()));
            }
            let kept = known.states.entry(key.clone()).or_default();
            // Before anything is tried: a name that may be taken is never tried again.
            kept.tried += 1;
            (kept.tried, kept.leftover.clone())
        };
        // What was not finished would pile up where the disk fails again and again.
        self.clear(disk, &folder, &key, failed);
        let name = format!("{}.{revision}", stream.live);
        let published = publish(disk, &folder, &name, text.as_bytes());
        let leftover = {
            let mut known = self.known();
            let kept = known.states.entry(key.clone()).or_default();
            if let Err(error) = published {
                kept.leftover.extend([format!("{name}{UNFINISHED}"), name]);
                return Err(error);
            }
            kept.state = state;
            let before = std::mem::replace(&mut kept.revision, revision);
            if before > 0 {
                kept.leftover.insert(format!("{}.{before}", stream.live));
            }
            kept.leftover.clone()
        };
        self.clear(disk, &folder, &key, leftover);
        Ok(())
    }

    /// Is there a target that has not got this segment yet?
    pub fn owes(&self, facility: &Facility, live: &str, began: Began) -> bool {
        facility.keep_until_shipped && !self.is_everywhere(facility, live, began)
    }

    /// Has every target of its facility got this segment?
    pub fn is_everywhere(&self, facility: &Facility, live: &str, began: Began) -> bool {
        let known = self.known();
        let stream = Stream { app: facility.app.clone(), live: live.into() };
        let has = |target: &str| {
            let key = Key { target: target.into(), stream: stream.clone() };
            known.states.get(&key).is_some_and(|kept| kept.state.done.contains_key(&began))
        };
        facility.ship.iter().all(|target| has(target))
    }

    /// Where it is kept; made if it is not there.
    ///
    /// # Errors
    /// What the system says.
    pub fn disk(&self) -> io::Result<&Arc<dyn Disk>> {
        let Folder { path, disk } = &*self.folder;
        if let Some(disk) = disk.get() {
            return Ok(disk);
        }
        std::fs::create_dir_all(path)?;
        // What is kept in it is to be found there after a power failure.
        for above in path.ancestors().skip(1).take(2) {
            File::open(above)?.sync_all()?;
        }
        let opened: Arc<dyn Disk> = Arc::new(LogDir::open(path)?);
        Ok(disk.get_or_init(|| opened))
    }

    /// Its path, whether it is there or not.
    pub fn path(&self) -> &Path {
        &self.folder.path
    }

    /// Reads the states of a folder, but for those that are known.
    fn read_folder(&self, target: &str, app: &str) {
        // What is not there was never written.
        let Some(disk) = self.folder.disk.get() else { return };
        let folder = folder_of(target, app);
        let found = found_in(&**disk, &folder);
        let mut known = self.known();
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let path = self.path().join(&folder);
                let why = format!(
                    "what was shipped is not known: {} cannot be read: {error}; see to it that it \
                     can, then reload loghogd (SIGHUP)",
                    path.display()
                );
                known.unread.insert(folder, why);
                return;
            }
        };
        known.unread.remove(&folder);
        known.states.retain(|key, kept| {
            kept.unknown.is_none() || *key.target != *target || *key.stream.app != *app
        });
        for (live, revisions) in found {
            let stream = Stream { app: app.into(), live: live.clone() };
            let key = Key { target: target.into(), stream };
            let read = || newest(&**disk, &folder, &live, &revisions);
            known.states.entry(key).or_insert_with(read);
        }
    }

    /// Removes names of which nothing is needed. What stays is older, and never read.
    fn clear(&self, disk: &dyn Disk, folder: &str, key: &Key, names: BTreeSet<String>) {
        if names.is_empty() {
            return;
        }
        let gone: Vec<String> =
            names.into_iter().filter(|name| disk.remove(folder, name).is_ok()).collect();
        if let Some(kept) = self.known().states.get_mut(key) {
            gone.iter().for_each(|name| _ = kept.leftover.remove(name));
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn why_unknown(&self, key: &Key) -> Option<&str> {
        let unread = self.unread.get(&folder_of(&key.target, &key.stream.app));
        let kept = self.states.get(key);
        unread.or_else(|| kept.and_then(|kept| kept.unknown.as_ref())).map(String::as_str)
    }
}

fn folder_of(target: &str, app: &str) -> String {
    format!("{target}:{app}")
}

/// The revisions that are there, by live file. What was not finished is removed.
fn found_in(disk: &dyn Disk, folder: &str) -> io::Result<BTreeMap<Box<str>, BTreeSet<u64>>> {
    let mut found: BTreeMap<Box<str>, BTreeSet<u64>> = BTreeMap::new();
    for name in disk.names(folder)? {
        match revision_of(&name) {
            Some((live, revision)) => _ = found.entry(live.into()).or_default().insert(revision),
            // What stays has a name that is not used again.
            None if name.ends_with(UNFINISHED) => _ = disk.remove(folder, &name),
            None => {}
        }
    }
    // Who renamed the newest one may have died before that was safe; and what it says is
    // acted upon from now on.
    if !found.is_empty() {
        disk.sync_folder(folder)?;
    }
    Ok(found)
}

/// What the newest revision says. Older ones go, unless they may be needed.
fn newest(disk: &dyn Disk, folder: &str, live: &str, revisions: &BTreeSet<u64>) -> Kept {
    let Some(&revision) = revisions.last() else { return Kept::default() };
    let name = format!("{live}.{revision}");
    let read = read(disk, folder, &name).map_err(|error| error.to_string());
    let read = read.and_then(|text| {
        State::read(&text).ok_or_else(|| "it is no state that loghogd has written".to_owned())
    });
    let mut kept = Kept { revision, tried: revision, ..Kept::default() };
    match read {
        Ok(state) => {
            kept.state = state;
            let older = revisions.iter().filter(|&&older| older < revision);
            let older = older.map(|older| format!("{live}.{older}"));
            kept.leftover = older.filter(|name| disk.remove(folder, name).is_err()).collect();
        }
        Err(why) => {
            let path = disk.path().join(folder).join(name);
            kept.unknown = Some(format!(
                "what was shipped is not known: {} cannot be read: {why}; put it right or move it \
                 away, then reload loghogd (SIGHUP); without it, all files of this stream that are \
                 still there are shipped again",
                path.display()
            ));
        }
    }
    kept
}

/// `web.log.17` -> `web.log`, 17.
fn revision_of(name: &str) -> Option<(&str, u64)> {
    let (live, revision) = name.rsplit_once('.')?;
    let number = revision.parse().ok().filter(|&number: &u64| number > 0)?;
    (number.to_string() == revision && live.ends_with(".log")).then_some((live, number))
}

fn read(disk: &dyn Disk, folder: &str, name: &str) -> io::Result<String> {
    let mut text = String::new();
    disk.open(folder, name)?.take(STATE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > STATE_BYTES_MAX {
        let what = format!("it has more than {STATE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(text)
}
