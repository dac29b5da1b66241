//! Wakes the cold half, and runs it.
//! What the hot half has done -> calls to `trim` and `seal`, each in a thread of its own.
//! Invariant: a bell says only that there is something to do; what it is stands in the directory.
//! Leaves out: the work itself.
//!
//! The thread that seals runs only when nobody else wants to. Whoever holds a
//! lock and may be kept from running like that would keep everybody waiting
//! who wants the same lock: so the writer and that thread share none. The
//! writer rings for the trimmer, who runs like everybody else, and passes on
//! what he hears.

use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use tracing::error;

use super::seal::Sealer;
use super::ship::Notices;
use super::trim::Trimmer;
use crate::clock::Clock;
use crate::limits::PANIC_PAUSE;

/// Rung by whoever has changed something, heard by one listener.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<Call>,
    /// Rung by a listener who may be kept from running; nobody else waits for
    /// this lock but the one who listens here.
    rung_aside: Mutex<BTreeSet<Box<str>>>,
    is_rung_aside: AtomicBool,
    ended: AtomicBool,
    listener: OnceLock<Thread>,
    /// Hears what is heard here.
    next: Option<Arc<Bell>>,
    /// So do those who ship, and of live files how far they are safe.
    pub notices: Notices,
}

/// What there is to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// Folders that have new segments, or of which something may be deleted.
    pub folders: BTreeSet<Box<str>>,
    /// The file system is short of room.
    pub room: bool,
    /// Everything: the daemon has started, or its configuration has changed.
    pub all: bool,
}

/// The threads of the cold half, from outside.
#[derive(Debug)]
pub struct Cold {
    /// Rung for them.
    pub bell: Arc<Bell>,
    threads: [JoinHandle<()>; 2],
}

impl Cold {
    /// Waits a moment until they have ended, once the bell has. They may not
    /// come to run on a busy machine; what they leave undone, and a seal that
    /// is not finished, is for the next start.
    pub fn wait(&self, until: Instant) {
        while !self.threads.iter().all(JoinHandle::is_finished) && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Starts the threads of the cold half.
///
/// # Errors
/// When the system has no thread to give.
pub fn start(sealer: Sealer, mut trimmer: Trimmer, clock: Clock) -> io::Result<Cold> {
    let for_sealer = Arc::new(Bell::default());
    let bell = Arc::new(Bell { next: Some(Arc::clone(&for_sealer)), ..Bell::default() });
    let (disk, table) = (Arc::clone(&sealer.disk), Arc::clone(&sealer.table));
    let (claims, heard) = (sealer.claims.clone(), Arc::clone(&bell));
    let trim = move || trimmer.run(&*disk, &table, &claims, &clock, &heard);
    let trim = begin("trim", Arc::clone(&bell), trim)?;
    let beside = Arc::clone(&bell);
    let heard = Arc::clone(&for_sealer);
    let seal = begin("seal", for_sealer, move || sealer.run(&heard, &beside))?;
    Ok(Cold { bell, threads: [trim, seal] })
}

/// Runs a room in a thread of its own. A fault of ours is said, and the room
/// begins again: all that it has to know stands in the directory.
fn begin(
    name: &str,
    bell: Arc<Bell>,
    mut room: impl FnMut() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let title = name.to_owned();
    thread::Builder::new().name(name.into()).spawn(move || {
        while catch_unwind(AssertUnwindSafe(&mut room)).is_err() && !bell.has_ended() {
            error!("the thread that does {title} has met a fault of its own and begins again; please report this");
            thread::sleep(PANIC_PAUSE);
        }
    })
}

impl Bell {
    /// There is a new segment in this folder, or of what stands there
    /// something may be deleted.
    pub fn ring_for(&self, folder: &str) {
        let mut rung = self.rung();
        if !rung.folders.contains(folder) {
            rung.folders.insert(folder.into());
        }
        drop(rung);
        self.wake();
    }

    /// The same, rung by a thread of lowest priority.
    pub fn ring_aside_for(&self, folder: &str) {
        lock(&self.rung_aside).insert(folder.into());
        self.is_rung_aside.store(true, Ordering::Release);
        self.wake();
    }

    /// There is less room than there should be.
    pub fn ring_for_room(&self) {
        self.rung().room = true;
        self.wake();
    }

    /// Everything has to be looked at.
    pub fn ring_for_all(&self) {
        self.rung().all = true;
        self.wake();
    }

    /// It is over: nobody waits any more, and what is under way ends soon.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.wake();
        if let Some(next) = &self.next {
            next.end();
        }
    }

    /// Is it over?
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Waits until somebody rings, or the time has come. None when it is
    /// over. Always asked by the same thread.
    pub fn wait(&self, until: Option<Instant>) -> Option<Call> {
        self.listener.get_or_init(thread::current);
        loop {
            if self.has_ended() {
                return None;
            }
            let mut call = std::mem::take(&mut *self.rung());
            self.pass_on(&call);
            if self.is_rung_aside.swap(false, Ordering::AcqRel) {
                call.folders.append(&mut lock(&self.rung_aside));
            }
            if call.all || !call.folders.is_empty() {
                self.notices.changed(&call.folders, call.all);
            }
            let now = Instant::now();
            if call != Call::default() || until.is_some_and(|until| until <= now) {
                return Some(call);
            }
            match until {
                None => thread::park(),
                Some(until) => thread::park_timeout(until - now),
            }
        }
    }

    fn pass_on(&self, call: &Call) {
        let Some(next) = &self.next else { return };
        if call.all || !call.folders.is_empty() {
            let mut rung = next.rung();
            rung.all |= call.all;
            rung.folders.extend(call.folders.iter().cloned());
            drop(rung);
            next.wake();
        }
    }

    fn wake(&self) {
        if let Some(listener) = self.listener.get() {
            listener.unpark();
        }
    }

    fn rung(&self) -> MutexGuard<'_, Call> {
        lock(&self.rung)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_hears_of_everything_once_and_passes_segments_on() {
        let next = Arc::new(Bell::default());
        let bell = Bell { next: Some(Arc::clone(&next)), ..Bell::default() };
        bell.ring_for("a");
        bell.ring_for("b");
        bell.ring_for("a");
        bell.ring_for_room();
        bell.ring_aside_for("c");
        let call = bell.wait(None).unwrap();
        assert_eq!((call.folders.len(), call.room, call.all), (3, true, false));
        let passed_on = next.wait(None).unwrap();
        assert_eq!((passed_on.folders.len(), passed_on.room), (2, false));
        assert_eq!(bell.wait(Some(Instant::now())), Some(Call::default()));
        bell.ring_for_all();
        assert!(bell.wait(None).unwrap().all && next.wait(None).unwrap().all);
        bell.end();
        assert_eq!((bell.wait(None), next.wait(None)), (None, None));
    }

    #[test]
    fn who_waits_is_woken() {
        let bell = Arc::new(Bell::default());
        let listener = thread::spawn({
            let bell = Arc::clone(&bell);
            move || (bell.wait(None), bell.wait(None))
        });
        bell.ring_for("a");
        while bell.rung().folders.contains("a") {
            thread::yield_now();
        }
        bell.end();
        let (heard, over) = listener.join().unwrap();
        assert_eq!((heard.unwrap().folders.len(), over), (1, None));
    }

    #[test]
    fn a_room_that_panics_begins_again() {
        let bell = Arc::new(Bell::default());
        let (runs, counted) = std::sync::mpsc::channel();
        let heard = Arc::clone(&bell);
        begin("test", Arc::clone(&bell), move || {
            runs.send(()).unwrap();
            heard.wait(Some(Instant::now()));
            panic!("a fault of ours, on purpose");
        })
        .unwrap();
        counted.recv().unwrap();
        counted.recv().unwrap();
        bell.end();
    }
}
