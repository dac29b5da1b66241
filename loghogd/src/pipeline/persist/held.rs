//! Knows the files whose senders have to wait, and what the disk says of files that refuse.
//! Files that refuse -> those who would write to them wait, without a lane; others go on.
//! Invariant: while no file is held, asking costs one atomic load.
//! Leaves out: which files refuse, and for how long (`rounds`).

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::HELD_BYTES_MAX;

/// All files that are held.
#[derive(Debug)]
pub struct Held {
    /// How many there are.
    count: AtomicUsize,
    files: Mutex<HashMap<Box<str>, Hold>>,
    /// Those that refuse, whether anybody waits for them yet or not, and why.
    refusing: Mutex<BTreeMap<Box<str>, Box<str>>>,
    /// Room for what was read and cannot be carried on meanwhile.
    room: Arc<Semaphore>,
}

/// Ends when the file takes lines again.
#[derive(Clone, Debug)]
pub struct Hold {
    /// Closed when it is over; there is never a permit.
    over: Arc<Semaphore>,
    room: Arc<Semaphore>,
}

impl Default for Held {
    fn default() -> Held {
        Held {
            count: AtomicUsize::new(0),
            files: Mutex::default(),
            refusing: Mutex::default(),
            room: Arc::new(Semaphore::new(HELD_BYTES_MAX)),
        }
    }
}

impl Held {
    /// Is any file held?
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// The hold of a file, if it has one.
    pub fn find(&self, path: &str) -> Option<Hold> {
        if !self.any() {
            return None;
        }
        self.files().get(path).cloned()
    }

    /// A file refuses, and why; or it takes lines again.
    pub(super) fn note(&self, path: &str, refuses: Option<&str>) {
        let mut refusing = self.refusing.lock().unwrap_or_else(PoisonError::into_inner);
        match refuses {
            Some(why) => drop(refusing.insert(path.into(), why.into())),
            None => drop(refusing.remove(path)),
        }
    }

    /// The files that refuse, `shown_max` of them with what the disk says; and how many
    /// there are.
    pub fn refusing(&self, shown_max: usize) -> (Vec<(String, String)>, usize) {
        let refusing = self.refusing.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = refusing.iter().take(shown_max);
        let shown = shown.map(|(path, why)| (path.to_string(), why.to_string()));
        (shown.collect(), refusing.len())
    }

    /// From now on those who would write to this file wait.
    pub(super) fn hold(&self, path: &str) {
        let mut files = self.files();
        if !files.contains_key(path) {
            let (over, room) = (Arc::new(Semaphore::new(0)), Arc::clone(&self.room));
            files.insert(path.into(), Hold { over, room });
        }
        self.count.store(files.len(), Ordering::Release);
    }

    /// They go on.
    pub(super) fn release(&self, path: &str) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut files = self.files();
        if let Some(hold) = files.remove(path) {
            hold.over.close();
        }
        self.count.store(files.len(), Ordering::Release);
    }

    /// All go on: it is time to stop, and what was read is to be carried on.
    pub(super) fn release_all(&self) {
        let mut files = self.files();
        files.drain().for_each(|(_, hold)| hold.over.close());
        self.count.store(0, Ordering::Release);
    }

    fn files(&self) -> MutexGuard<'_, HashMap<Box<str>, Hold>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Room for so many bytes that were read, and have to be kept meanwhile;
    /// none when others keep too much already.
    pub fn keep(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).ok()?;
        Arc::clone(&self.room).try_acquire_many_owned(bytes).ok()
    }

    /// Waits until the file takes lines again.
    pub async fn over(&self) {
        // There is never a permit: this ends when the semaphore is closed.
        let _ = self.over.acquire().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_for_a_file_goes_on_when_it_is_released_and_others_never_wait() {
        let held = Held::default();
        held.hold("one/root.log");
        held.hold("one/root.log");
        assert!(held.find("two/root.log").is_none());
        let hold = held.find("one/root.log").unwrap();
        let kept = hold.keep(HELD_BYTES_MAX - 1).unwrap();
        assert!(hold.keep(2).is_none(), "what is kept is bounded");
        drop(kept);
        let waits = tokio::spawn({
            let hold = hold.clone();
            async move { hold.over().await }
        });
        held.release("one/root.log");
        waits.await.unwrap();
        hold.over().await;
        assert!(held.find("one/root.log").is_none());
        held.note("one/root.log", Some("it is full"));
        held.note("two/root.log", Some("it is full"));
        let shown = vec![("one/root.log".to_owned(), "it is full".to_owned())];
        assert_eq!(held.refusing(1), (shown, 2));
        held.note("one/root.log", None);
        assert_eq!(held.refusing(1).1, 1);
        held.hold("two/root.log");
        let hold = held.find("two/root.log").unwrap();
        held.release_all();
        hold.over().await;
    }
}
