//! Empties the spools that other programs of the application have left behind.
//! A folder nobody uses -> its messages, under its own id, to the server.
//! Invariant: one folder at a time; it goes when its last message is acknowledged.
//! Leaves out: our own spool, which `engine` opens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Terms;
use super::engine::Engine;
use super::store::Store;
use crate::bell::Bell;
use crate::limits::ADOPT_EVERY;
use crate::queue::{Bounds, Queue};
use crate::send;
use crate::socket::Slot;
use crate::spool::Spool;

/// Looks for such spools from time to time.
#[derive(Debug, Default)]
pub(super) struct Adoption {
    looked: Option<Instant>,
    /// The queue of the engine that is at work: without messages, and closed.
    at_work: Option<Arc<Queue>>,
}

impl Adoption {
    /// How long until the next look.
    pub(super) fn due_in(&self) -> Duration {
        self.looked.map_or(Duration::ZERO, |at| ADOPT_EVERY.saturating_sub(at.elapsed()))
    }

    /// Whether it is time to look, and nobody is at work. Somebody may be for
    /// long, while no server is there: then it is not time at once again.
    fn is_due(&mut self) -> bool {
        if !self.due_in().is_zero() {
            return false;
        }
        self.looked = Some(Instant::now());
        !self.at_work.as_ref().is_some_and(|queue| queue.has_sender())
    }

    /// Starts a thread that adopts one spool after the other until there is
    /// none, if it is time to look.
    pub(super) fn look(&mut self, terms: &Arc<Terms>, bounds: Bounds, book: &Arc<Queue>) {
        if !self.is_due() {
            return;
        }
        let working = Working::begin(book);
        let queue = Arc::new(Queue::new(bounds));
        let Ok(bell) = queue.bell() else { return };
        if !queue.claim_idle_sender() {
            return;
        }
        queue.close(Duration::MAX);
        self.at_work = Some(Arc::clone(&queue));
        let (terms, at_work) = (Arc::clone(terms), Arc::clone(&queue));
        let started = send::spawn(move || adopt_all(&terms, &at_work, &working.0, &bell));
        if let Err(error) = started {
            // It is tried at the next look.
            queue.sender_failed(error.to_string());
        }
    }

    /// Gives up what has not been sent; it stays where it is.
    pub(super) fn stop(&self) {
        if let Some(queue) = &self.at_work {
            queue.close(Duration::ZERO);
        }
    }
}

/// The client's queue knows of the work for as long as this is there.
struct Working(Arc<Queue>);

impl Working {
    fn begin(book: &Arc<Queue>) -> Working {
        book.set_adopting(true);
        Working(Arc::clone(book))
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.set_adopting(false);
    }
}

fn adopt_all(terms: &Arc<Terms>, queue: &Arc<Queue>, book: &Arc<Queue>, bell: &Bell) {
    let _ending = send::Ending(Arc::clone(queue));
    let Some(place) = &terms.spool else { return };
    let mut passed = Vec::new();
    while !queue.is_over() {
        match Spool::adopt(&place.dir, &terms.app, place.bounds, &passed) {
            Ok(Some(spool)) => {
                passed.push(spool.id());
                let store = Store::of(spool, terms.window_bytes);
                let slot = Arc::<Slot>::default();
                let (terms, book) = (Arc::clone(terms), Arc::clone(book));
                let engine = Engine::new(terms, Arc::clone(queue), book, bell.clone(), slot, store);
                // What is not empty now stays; it is tried at another time.
                if let Some(spool) = engine.run().take_spool().filter(Spool::is_empty) {
                    spool.remove();
                }
            }
            // A folder that refuses is told of by the engine, for our own spool.
            Ok(None) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_one_spool_is_emptied_for_long_the_next_look_is_not_due_at_once() {
        let bounds = Bounds { bytes: 100, messages: 1, outage_messages: 1, frame_bytes: 100 };
        let queue = Arc::new(Queue::new(bounds));
        assert!(queue.claim_idle_sender());
        let looked = Instant::now().checked_sub(2 * ADOPT_EVERY);
        let mut adoption = Adoption { looked, at_work: Some(queue) };
        assert!(!adoption.is_due());
        assert!(!adoption.due_in().is_zero());
    }
}
