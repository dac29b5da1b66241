//! Wakes the cold half, and runs it.
//! What the hot half has done -> calls to `seal` and `trim`, each in a thread of its own.
//! Invariant: the bell says only that there is something to do; what it is stands in the directory.
//! Leaves out: the work itself.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::seal::Sealer;
use super::trim::Trimmer;
use crate::clock::Clock;

/// Rung by whoever has changed something, heard by one listener a room.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<Rung>,
    changed: Condvar,
}

/// The threads of the cold half.
#[derive(Debug)]
pub struct Cold {
    threads: Vec<JoinHandle<()>>,
}

impl Cold {
    /// Starts a thread for each room.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(
        bell: &Arc<Bell>,
        sealer: Sealer,
        trimmer: Trimmer,
        clock: Clock,
    ) -> io::Result<Cold> {
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        let (disk, table) = (Arc::clone(&sealer.disk), Arc::clone(&sealer.table));
        let claims = sealer.claims.clone();
        let heard = Arc::clone(bell);
        let trim =
            thread("trim").spawn(move || trimmer.run(&*disk, &table, &claims, &clock, &heard))?;
        let heard = Arc::clone(bell);
        let seal = thread("seal").spawn(move || sealer.run(&heard))?;
        Ok(Cold { threads: vec![seal, trim] })
    }

    /// Waits until they have ended, once the bell has; but no longer than
    /// until `deadline`: what they leave undone is done after the next start.
    pub fn wait(self, deadline: Instant) {
        for thread in self.threads {
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// Who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// The room that seals.
    Seal,
    /// The room that trims.
    Trim,
}

/// What there is to look at.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// Folders that have new segments.
    pub folders: BTreeSet<Box<str>>,
    /// The file system is short of room.
    pub room: bool,
    /// Everything: the daemon has started, or its configuration has changed.
    pub all: bool,
}

#[derive(Debug, Default)]
struct Rung {
    seal: Call,
    trim: Call,
    ended: bool,
}

impl Rung {
    fn call(&mut self, listener: Listener) -> &mut Call {
        match listener {
            Listener::Seal => &mut self.seal,
            Listener::Trim => &mut self.trim,
        }
    }
}

impl Bell {
    /// There is a new segment in this folder.
    pub fn ring_for_segment(&self, folder: &str) {
        let mut rung = self.rung();
        for listener in [Listener::Seal, Listener::Trim] {
            let call = rung.call(listener);
            if !call.folders.contains(folder) {
                call.folders.insert(folder.into());
            }
        }
        drop(rung);
        self.changed.notify_all();
    }

    /// What stands in this folder has become more, or may be deleted now.
    pub fn ring_for_trim(&self, folder: &str) {
        let mut rung = self.rung();
        if !rung.trim.folders.contains(folder) {
            rung.trim.folders.insert(folder.into());
        }
        drop(rung);
        self.changed.notify_all();
    }

    /// There is less room than there should be.
    pub fn ring_for_room(&self) {
        self.rung().trim.room = true;
        self.changed.notify_all();
    }

    /// Everything has to be looked at.
    pub fn ring_for_all(&self) {
        let mut rung = self.rung();
        (rung.seal.all, rung.trim.all) = (true, true);
        drop(rung);
        self.changed.notify_all();
    }

    /// It is over: nobody waits any more, and what is under way ends soon.
    pub fn end(&self) {
        self.rung().ended = true;
        self.changed.notify_all();
    }

    /// Is it over?
    pub fn has_ended(&self) -> bool {
        self.rung().ended
    }

    /// Waits until somebody rings, or the time has come. None when it is over.
    pub fn wait(&self, listener: Listener, until: Option<Instant>) -> Option<Call> {
        let mut rung = self.rung();
        loop {
            if rung.ended {
                return None;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let call = rung.call(listener);
            if *call != Call::default() || left == Some(Duration::ZERO) {
                return Some(std::mem::take(call));
            }
            rung = match left {
                None => self.changed.wait(rung).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    let waited = self.changed.wait_timeout(rung, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn rung(&self) -> MutexGuard<'_, Rung> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_listener_hears_of_everything_once() {
        let bell = Bell::default();
        bell.ring_for_segment("a");
        bell.ring_for_segment("b");
        bell.ring_for_segment("a");
        bell.ring_for_room();
        let seal = bell.wait(Listener::Seal, None).unwrap();
        assert_eq!((seal.folders.len(), seal.room), (2, false));
        let trim = bell.wait(Listener::Trim, None).unwrap();
        assert_eq!((trim.folders.len(), trim.room), (2, true));
        assert_eq!(bell.wait(Listener::Seal, Some(Instant::now())), Some(Call::default()));
        bell.ring_for_all();
        bell.end();
        assert_eq!(bell.wait(Listener::Trim, None), None);
    }
}
