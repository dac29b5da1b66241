//! Remembers what has arrived where.
//! A target and a stream -> which of its segments are through, and how far the next one is.
//! Invariant: what is remembered was published: after a stop it is there, or it was never said.
//! Leaves out: what targets remember themselves; deletion, which asks here.
//!
//! ```text
//! LOGDIR/.loghogd/ship/
//!   instance/id.1                    16 hex digits: which log folder this is
//!   TARGET:APP/LIVE.REVISION         the state of one stream at one target
//!   TARGET:APP/LIVE.REVISION.part    one that was not finished
//!   TARGET/dead-letter.log           see `dead`
//!
//! loghog-ship 1
//! number 12                  so many files of the stream are through, or were sent again
//! offset 4096                of the next one: bytes, messages, the last unique time
//! records 17
//! last_ns 1795431600000000000
//! head 0123456789abcdef      what that file begins with
//! from_ns 1795431500000000000    the last unique time before that file
//! aside 4096 17 1795431600000000000 0123456789abcdef    a file that has to wait for others
//! done 2026-11-20-00-00-00-000000 1795431500000000000   through; the last time before it
//! again 2026-11-19-00-00-00-000000 1795431400000000000  is sent again
//! ```
//! Only segments that are still there stand among those that are through.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::limits::STATE_BYTES_MAX;
use super::mark::{Mark, Stream};
use crate::config::facility::Facility;
use crate::disk::{Disk, LogDir, UNFINISHED, publish};
use crate::pipeline::rotate::name::{Began, Name};

/// The first line of a state.
const HEAD_LINE: &str = "loghog-ship 1";

/// Where the name of the log folder is kept.
const INSTANCE: &str = "instance";

/// What is known of one stream at one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// How far the next file is.
    pub mark: Mark,
    /// How far a file is that has to wait, because others before it are sent again.
    pub aside: Option<Mark>,
    /// The last unique time before the next file.
    pub from_ns: i64,
    /// Segments that are through and still there, each with the last unique time before
    /// it.
    pub done: BTreeMap<Began, i64>,
    /// Those that are sent again, with the same times as before.
    pub again: BTreeMap<Began, i64>,
}

/// All states. A clone is the same.
#[derive(Clone, Debug)]
pub struct Receipts {
    folder: Arc<Folder>,
    states: Arc<Mutex<HashMap<Key, Kept>>>,
}

/// The state folder, which is made when something is to be kept.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    disk: OnceLock<Arc<dyn Disk>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    target: Box<str>,
    stream: Stream,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    state: State,
    revision: u64,
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
        Ok(Receipts { folder, states: Arc::default() })
    }

    /// Reads what is there in the state folder `disk`.
    ///
    /// # Errors
    /// What the system says, and a state that is damaged, with its path.
    pub fn open(disk: Arc<dyn Disk>) -> io::Result<Receipts> {
        let mut states: HashMap<Key, Kept> = HashMap::new();
        for folder in disk.folders()? {
            let Some((target, app)) = folder.split_once(':') else { continue };
            for name in disk.names(&folder)? {
                let Some((live, revision)) = revision_of(&name) else {
                    if name.ends_with(UNFINISHED) {
                        disk.remove(&folder, &name)?;
                    }
                    continue;
                };
                let stream = Stream { app: app.into(), live: live.into() };
                let kept = states.entry(Key { target: target.into(), stream }).or_default();
                if revision > kept.revision {
                    *kept = Kept { state: load(&*disk, &folder, &name)?, revision };
                }
            }
        }
        let path = disk.path().to_owned();
        let folder = Arc::new(Folder { path, disk: OnceLock::from(disk) });
        Ok(Receipts { folder, states: Arc::new(Mutex::new(states)) })
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
            let text = read(disk, INSTANCE, NAME)?;
            let id = text.trim();
            return match id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                true => Ok(id.to_owned()),
                false => Err(damaged(disk, INSTANCE, NAME, "it is not 16 hex digits")),
            };
        }
        let id = format!("{:016x}", choose());
        publish(disk, INSTANCE, NAME, id.as_bytes())?;
        Ok(id)
    }

    /// What is known of a stream.
    pub fn state(&self, target: &str, stream: &Stream) -> State {
        let key = Key { target: target.into(), stream: stream.clone() };
        self.states().get(&key).map(|kept| kept.state.clone()).unwrap_or_default()
    }

    /// The streams that something is known of.
    pub fn streams(&self, target: &str) -> Vec<Stream> {
        let states = self.states();
        let keys = states.keys().filter(|key| *key.target == *target);
        keys.map(|key| key.stream.clone()).collect()
    }

    /// Publishes a state; when this returns, it is safe.
    ///
    /// # Errors
    /// What the system says; what was known before holds on.
    pub fn put(&self, target: &str, stream: &Stream, state: State) -> io::Result<()> {
        let key = Key { target: target.into(), stream: stream.clone() };
        let before = self.states().get(&key).map_or(0, |kept| kept.revision);
        let revision = before + 1;
        let (disk, folder) = (&**self.disk()?, format!("{target}:{}", stream.app));
        let name = format!("{}.{revision}", stream.live);
        publish(disk, &folder, &name, state.text().as_bytes())?;
        self.states().insert(key, Kept { state, revision });
        if before > 0 {
            // What stays is older, and never read again.
            let _ = disk.remove(&folder, &format!("{}.{before}", stream.live));
        }
        Ok(())
    }

    /// Is there a target that has not got this segment yet?
    pub fn owes(&self, facility: &Facility, live: &str, began: Began) -> bool {
        facility.keep_until_shipped && !self.is_everywhere(facility, live, began)
    }

    /// Has every target of its facility got this segment?
    pub fn is_everywhere(&self, facility: &Facility, live: &str, began: Began) -> bool {
        let states = self.states();
        let stream = Stream { app: facility.app.clone(), live: live.into() };
        let has = |target: &str| {
            let key = Key { target: target.into(), stream: stream.clone() };
            states.get(&key).is_some_and(|kept| kept.state.done.contains_key(&began))
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

    fn states(&self) -> MutexGuard<'_, HashMap<Key, Kept>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn text(&self) -> String {
        let Mark { number, offset, records, last_ns, head } = self.mark;
        let mut text = format!(
            "{HEAD_LINE}\nnumber {number}\noffset {offset}\nrecords {records}\n\
             last_ns {last_ns}\nhead {head:016x}\nfrom_ns {}\n",
            self.from_ns
        );
        // A String takes everything.
        if let Some(Mark { offset, records, last_ns, head, .. }) = self.aside {
            let _ = writeln!(text, "aside {offset} {records} {last_ns} {head:016x}");
        }
        for (name, segments) in [("done", &self.done), ("again", &self.again)] {
            for (began, from_ns) in segments {
                let _ = writeln!(text, "{name} {began} {from_ns}");
            }
        }
        text
    }

    fn read(text: &str) -> Option<State> {
        let mut lines = text.lines();
        (lines.next()? == HEAD_LINE).then_some(())?;
        let mut state = State::default();
        for line in lines {
            let (name, value) = line.split_once(' ')?;
            match name {
                "number" => state.mark.number = value.parse().ok()?,
                "offset" => state.mark.offset = value.parse().ok()?,
                "records" => state.mark.records = value.parse().ok()?,
                "last_ns" => state.mark.last_ns = value.parse().ok()?,
                "head" => state.mark.head = u64::from_str_radix(value, 16).ok()?,
                "from_ns" => state.from_ns = value.parse().ok()?,
                "aside" => {
                    let parts: Vec<&str> = value.split(' ').collect();
                    let [offset, records, last_ns, head] = parts.as_slice() else { return None };
                    state.aside = Some(Mark {
                        number: 0,
                        offset: offset.parse().ok()?,
                        records: records.parse().ok()?,
                        last_ns: last_ns.parse().ok()?,
                        head: u64::from_str_radix(head, 16).ok()?,
                    });
                }
                "done" | "again" => {
                    let (stamp, from_ns) = value.split_once(' ')?;
                    let segments = if name == "done" { &mut state.done } else { &mut state.again };
                    segments.insert(began(stamp)?, from_ns.parse().ok()?);
                }
                _ => return None,
            }
        }
        Some(state)
    }
}

fn began(stamp: &str) -> Option<Began> {
    match Name::read(&format!("x.log.{stamp}")) {
        Name::Segment(segment) if segment.format.is_none() => Some(segment.began),
        _ => None,
    }
}

/// `web.log.17` -> `web.log`, 17.
fn revision_of(name: &str) -> Option<(&str, u64)> {
    let (live, revision) = name.rsplit_once('.')?;
    let number = revision.parse().ok().filter(|&number: &u64| number > 0)?;
    (number.to_string() == revision && live.ends_with(".log")).then_some((live, number))
}

fn load(disk: &dyn Disk, folder: &str, name: &str) -> io::Result<State> {
    let text = read(disk, folder, name)?;
    State::read(&text).ok_or_else(|| damaged(disk, folder, name, "it is no state of ours"))
}

fn read(disk: &dyn Disk, folder: &str, name: &str) -> io::Result<String> {
    let mut text = String::new();
    disk.open(folder, name)?.take(STATE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn damaged(disk: &dyn Disk, folder: &str, name: &str, why: &str) -> io::Error {
    let path = disk.path().join(folder).join(name);
    let what = format!(
        "{} cannot be read: {why}; move it away, and what it is about is shipped again",
        path.display()
    );
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn opened(folder: &TempDir) -> Receipts {
        Receipts::open(Arc::new(LogDir::open(folder.path()).unwrap())).unwrap()
    }

    fn state() -> State {
        State {
            mark: Mark { number: 12, offset: 4096, records: 17, last_ns: -5, head: 0x1234 },
            aside: Some(Mark { number: 0, offset: 3, records: 2, last_ns: -9, head: 7 }),
            from_ns: -6,
            done: [(began("2026-11-20-00-00-00-000000").unwrap(), 5)].into(),
            again: [(began("2026-11-19-00-00-00-000000").unwrap(), -7)].into(),
        }
    }

    #[test]
    fn a_state_that_was_put_is_there_after_a_restart() {
        let folder = TempDir::new().unwrap();
        let stream = Stream { app: "my-app".into(), live: "web.log".into() };
        let receipts = opened(&folder);
        for number in 1..=12 {
            let mut state = state();
            state.mark.number = number;
            receipts.put("kafka", &stream, state).unwrap();
        }
        let id = receipts.instance(|| 0xabc).unwrap();
        assert_eq!(id, "0000000000000abc");
        drop(receipts);
        std::fs::write(folder.path().join("kafka:my-app/web.log.13.part"), "x").unwrap();
        let receipts = opened(&folder);
        assert_eq!(receipts.state("kafka", &stream), state());
        assert_eq!(receipts.state("s3", &stream), State::default());
        assert_eq!(receipts.streams("kafka"), std::slice::from_ref(&stream));
        assert_eq!(receipts.instance(|| 7).unwrap(), id);
        let names: Vec<_> = std::fs::read_dir(folder.path().join("kafka:my-app"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["web.log.12"]);
    }

    #[test]
    fn no_folder_is_made_before_something_is_to_be_kept() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(".loghogd/ship");
        let receipts = Receipts::open_at(path.clone()).unwrap();
        let stream = Stream { app: "my-app".into(), live: "web.log".into() };
        assert_eq!(receipts.state("kafka", &stream), State::default());
        assert!(!folder.path().join(".loghogd").exists());
        receipts.clone().put("kafka", &stream, state()).unwrap();
        let id = receipts.instance(|| 7).unwrap();
        // Nobody else may have it meanwhile.
        drop(receipts);
        let receipts = Receipts::open_at(path).unwrap();
        assert_eq!(receipts.state("kafka", &stream), state());
        assert_eq!(receipts.instance(|| 8).unwrap(), id);
    }

    #[test]
    fn a_damaged_state_is_refused_with_its_path() {
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("kafka:my-app")).unwrap();
        std::fs::write(folder.path().join("kafka:my-app/web.log.1"), "hello").unwrap();
        let disk = Arc::new(LogDir::open(folder.path()).unwrap());
        let error = Receipts::open(disk).unwrap_err().to_string();
        assert!(error.contains("kafka:my-app/web.log.1 cannot be read"), "{error}");
    }
}
