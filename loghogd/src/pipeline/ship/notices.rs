//! Wakes the targets, and says how far live files are safe.
//! What the writer, the sealer and people have done -> what a target has to look at.
//! Invariant: a notice says only that there is something to do; the directory says what.
//! Leaves out: doing it.
//!
//! A live file may be shipped as far as it was synced: what stands behind that may be cut
//! off again after a stop. The writer says so after each sync, and only for facilities
//! that ship live.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;

use super::mark::Stream;

/// How far a live file is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Which file it is, whatever its name: device and inode.
    pub id: (u64, u64),
    /// So many bytes of it, as they stand on the disk, are whole messages that stay.
    pub safe_bytes: u64,
}

/// Live files and whoever follows them. A clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Notices {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    tails: HashMap<Stream, Tail>,
    listeners: Vec<(Box<str>, Arc<Listener>)>,
}

/// What one target hears.
#[derive(Debug, Default)]
pub struct Listener {
    heard: Mutex<Heard>,
    wake: Condvar,
}

/// What there is to look at.
#[derive(Debug, Default)]
pub struct Heard {
    /// Folders in which segments have been sealed, or files have turned.
    pub folders: BTreeSet<Box<str>>,
    /// Live files that have got longer.
    pub grown: HashSet<Stream>,
    /// Everything: facilities have changed.
    pub all: bool,
    /// What stands still is to be tried again.
    pub again: bool,
    /// What somebody wants to be sent again.
    pub replays: Vec<Replay>,
}

/// Segments are to be sent again.
#[derive(Debug)]
pub struct Replay {
    /// Those with lines from this time on.
    pub from: Timestamp,
    /// And before this one.
    pub to: Timestamp,
    /// Hears how many these are, once that is safe.
    pub answer: SyncSender<io::Result<u64>>,
}

impl Heard {
    /// Nothing was heard.
    pub fn is_empty(&self) -> bool {
        let Heard { folders, grown, all, again, replays } = self;
        folders.is_empty() && grown.is_empty() && !all && !again && replays.is_empty()
    }
}

impl Notices {
    /// Whoever listens under this name from now on; it replaces one of the same name.
    pub fn listen(&self, target: &str) -> Arc<Listener> {
        let listener = Arc::new(Listener::default());
        let mut inner = self.inner();
        inner.listeners.retain(|(name, _)| **name != *target);
        inner.listeners.push((target.into(), Arc::clone(&listener)));
        listener
    }

    /// Nobody listens under this name any more.
    pub fn forget(&self, target: &str) {
        self.inner().listeners.retain(|(name, _)| **name != *target);
    }

    /// Wakes one target, for the end.
    pub fn wake(&self, target: &str) {
        for (_, listener) in self.inner().listeners.iter().filter(|(name, _)| **name == *target) {
            listener.hear(|heard| heard.all = true);
        }
    }

    /// A live file was opened to be written: what is in it stays, as far as it is not
    /// known better.
    pub fn opened(&self, app: &str, live: &str, tail: Tail) {
        let stream = Stream { app: app.into(), live: live.into() };
        let mut inner = self.inner();
        let known = inner.tails.get(&stream).filter(|known| known.id == tail.id);
        let safe_bytes =
            known.map_or(tail.safe_bytes, |known| known.safe_bytes.min(tail.safe_bytes));
        inner.tails.insert(stream, Tail { safe_bytes, ..tail });
    }

    /// A live file was synced, up to so many bytes of whole messages.
    pub fn synced(&self, targets: &[Box<str>], app: &str, live: &str, tail: Tail) {
        let mut inner = self.inner();
        let stream = Stream { app: app.into(), live: live.into() };
        if inner.tails.insert(stream.clone(), tail) == Some(tail) {
            return;
        }
        for (name, listener) in &inner.listeners {
            if targets.contains(name) {
                listener.hear(|heard| _ = heard.grown.insert(stream.clone()));
            }
        }
    }

    /// A live file has turned, or somebody has moved it away.
    pub fn left(&self, app: &str, live: &str) {
        let stream = Stream { app: app.into(), live: live.into() };
        self.inner().tails.remove(&stream);
    }

    /// How far a live file is safe. Of one that the writer has not opened yet, what is
    /// in it is safe as soon as whoever asks has synced it: `look` says what is there,
    /// and meanwhile the writer waits.
    pub fn tail(&self, stream: &Stream, look: impl FnOnce() -> Option<Tail>) -> Option<Tail> {
        let mut inner = self.inner();
        if let Some(tail) = inner.tails.get(stream) {
            return Some(*tail);
        }
        let tail = look()?;
        inner.tails.insert(stream.clone(), tail);
        Some(tail)
    }

    /// Segments have been sealed or have turned in these folders; everything, if `all`.
    pub fn changed(&self, folders: &BTreeSet<Box<str>>, all: bool) {
        for (_, listener) in &self.inner().listeners {
            listener.hear(|heard| {
                heard.folders.extend(folders.iter().cloned());
                heard.all |= all;
            });
        }
    }

    /// The configuration was read again: what stands still is tried again.
    pub fn reloaded(&self) {
        for (_, listener) in &self.inner().listeners {
            listener.hear(|heard| (heard.all, heard.again) = (true, true));
        }
    }

    /// Something is to be sent again by one target. False when there is none of that name.
    pub fn replay(&self, target: &str, replay: Replay) -> bool {
        let inner = self.inner();
        let found = inner.listeners.iter().find(|(name, _)| **name == *target);
        let Some((_, listener)) = found else { return false };
        listener.hear(|heard| heard.replays.push(replay));
        true
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

impl Listener {
    /// Waits until there is something to look at, or the time has come.
    pub fn wait(&self, until: Option<Instant>) -> Heard {
        let mut heard = lock(&self.heard);
        while heard.is_empty() {
            heard = match until {
                None => self.wake.wait(heard).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let Some(left) = until.checked_duration_since(Instant::now()) else { break };
                    let waited = self.wake.wait_timeout(heard, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        std::mem::take(&mut heard)
    }

    fn hear(&self, note: impl FnOnce(&mut Heard)) {
        note(&mut lock(&self.heard));
        self.wake.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_follows_a_file_hears_that_it_has_grown() {
        let notices = Notices::default();
        let (one, other) = (notices.listen("one"), notices.listen("other"));
        let tail = Tail { id: (1, 2), safe_bytes: 7 };
        let stream = Stream { app: "a".into(), live: "web.log".into() };
        notices.synced(&["one".into()], "a", "web.log", tail);
        assert_eq!(one.wait(None).grown, HashSet::from([stream.clone()]));
        assert!(other.wait(Some(Instant::now())).is_empty());
        assert_eq!(notices.tail(&stream, || None), Some(tail));
        notices.synced(&["one".into()], "a", "web.log", tail);
        assert!(one.wait(Some(Instant::now())).is_empty());
        notices.left("a", "web.log");
        assert_eq!(notices.tail(&stream, || None), None);
        notices.changed(&BTreeSet::from(["a".into()]), false);
        assert_eq!(other.wait(None).folders.len(), 1);
        let (answer, _) = std::sync::mpsc::sync_channel(1);
        let replay = || Replay { from: Timestamp::MIN, to: Timestamp::MAX, answer: answer.clone() };
        assert!(notices.replay("other", replay()) && other.wait(None).replays.len() == 1);
        assert!(!notices.replay("nobody", replay()));
    }
}
