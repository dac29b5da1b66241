//! Where messages wait between the threads that log and the one that sends.
//! Frames from any thread -> whole batches for the sender; waits for `flush` and `close`.
//! Invariant: the lock is held for a copy at most, never during input, output or sleep.
//! Leaves out: encoding (`client`), connecting and writing (`send`).

mod flush;
mod kept;
mod sending;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::bell::Bell;
use crate::frames::Frames;
use crate::limits::FAILURES_KEPT;
use crate::stats::Stats;

pub use self::flush::Flush;
pub(crate) use self::kept::{Urgency, Why};

/// How much may wait. Past a bound the oldest messages are dropped, counted as
/// `queue_full`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) bytes: usize,
    pub(crate) messages: usize,
    /// Instead of `messages`, when smaller, while the server is unreachable.
    pub(crate) outage_messages: usize,
    /// The longest single frame; a longer one is counted as `too_large`.
    pub(crate) frame_bytes: usize,
}

/// What the thread that sends is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    /// Not started yet, or ended.
    Absent,
    /// Waiting for the next message: whoever brings it wakes it.
    Asleep,
    /// Letting messages gather: only a queue half full wakes it.
    Gathering,
    /// Connecting, pausing or writing: it looks at the queue afterwards.
    Busy,
}

/// What to do next, for the thread that sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Write,
    Stop,
}

/// What a write came to, besides the frames it left in the batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    /// Frames that the kernel refused for their size.
    pub(crate) too_large: usize,
}

pub(crate) struct Queue {
    bounds: Bounds,
    state: Mutex<State>,
    /// Wakes the sender: work, hurry, or the end.
    work: Condvar,
    /// Wakes `flush` and `close`: messages have left, the server became
    /// unreachable, or the sender ended.
    progress: Condvar,
    /// Wakes a sender that waits for its connection as well.
    bell: OnceLock<Bell>,
}

struct State {
    waiting: Frames,
    /// Messages in the batch that the sender holds; older than all in `waiting`.
    in_flight: usize,
    /// The number of the first of them.
    in_flight_first: u64,
    /// Messages that a v2 sender has taken and that are not settled: the number
    /// of the first, and how many, in order. What was dropped lies between.
    kept: VecDeque<(u64, u64)>,
    /// Whether what is kept outlasts the program.
    is_safe: bool,
    /// Whether spools that others left are looked for, or emptied.
    is_adopting: bool,
    /// What it is counted as when a message gives way to a newer one.
    why_full: Why,
    /// Messages that ever came into `waiting`: the number of the next one.
    accepted: u64,
    sender: Sender,
    outage: bool,
    /// Callers that wait in `flush` or `close`.
    hurried: usize,
    /// Grows when a pause must end at once.
    nudges: u64,
    closed: bool,
    stop_at: Option<Instant>,
    stats: Stats,
    failures: VecDeque<String>,
    last_failure: Option<String>,
}

// Without the state: it holds all messages, and formatting takes as long as
// whoever reads it pleases, which is no time to hold the lock.
impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

impl State {
    fn is_over(&self) -> bool {
        self.stop_at.is_some_and(|at| Instant::now() >= at)
    }

    /// The number of the oldest message that has not left.
    fn oldest(&self) -> u64 {
        if self.in_flight > 0 {
            self.in_flight_first
        } else if let Some((first, _)) = self.kept.front() {
            *first
        } else {
            self.accepted - self.waiting.len() as u64
        }
    }

    /// Drops the oldest until `messages` more of together `bytes` have room.
    fn make_room(&mut self, bounds: &Bounds, messages: usize, bytes: usize) {
        let messages_max =
            if self.outage { bounds.messages.min(bounds.outage_messages) } else { bounds.messages };
        while (self.waiting.len() + messages > messages_max
            || self.waiting.as_slice().len() + bytes > bounds.bytes)
            && self.waiting.pop()
        {
            *self.why_full.counter(&mut self.stats.dropped) += 1;
        }
    }

    fn is_half_full(&self, bounds: &Bounds) -> bool {
        self.waiting.len() > bounds.messages / 2 || self.waiting.as_slice().len() > bounds.bytes / 2
    }

    fn drop_waiting(&mut self) {
        self.stats.dropped.closed += self.waiting.len() as u64;
        self.waiting.clear();
    }

    fn note(&mut self, failure: String) {
        if self.failures.len() == FAILURES_KEPT {
            self.failures.pop_front();
        }
        self.last_failure = Some(failure.clone());
        self.failures.push_back(failure);
    }
}

impl Queue {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let state = State {
            waiting: Frames::default(),
            in_flight: 0,
            in_flight_first: 0,
            kept: VecDeque::new(),
            is_safe: false,
            is_adopting: false,
            why_full: Why::Memory,
            accepted: 0,
            sender: Sender::Absent,
            outage: false,
            hurried: 0,
            nudges: 0,
            closed: false,
            stop_at: None,
            stats: Stats::default(),
            failures: VecDeque::new(),
            last_failure: None,
        };
        Queue {
            bounds,
            state: Mutex::new(state),
            work: Condvar::new(),
            progress: Condvar::new(),
            bell: OnceLock::new(),
        }
    }

    /// Takes one frame. True when there is no sender and the caller must start
    /// one; only one caller is told so.
    #[must_use]
    pub(crate) fn push(&self, frame: &[u8]) -> bool {
        let mut state = self.lock();
        state.stats.enqueued += 1;
        if state.closed {
            state.stats.dropped.closed += 1;
            return false;
        }
        if frame.len() > self.bounds.frame_bytes.min(self.bounds.bytes) {
            state.stats.dropped.too_large += 1;
            state.note(format!(
                "a message of {} bytes is longer than the {} that fit; it is lost",
                frame.len(),
                self.bounds.frame_bytes
            ));
            // The server is to hear of it.
            self.wake(state);
            return false;
        }
        state.make_room(&self.bounds, 1, frame.len());
        state.waiting.push(frame);
        state.accepted += 1;
        match state.sender {
            Sender::Asleep => self.wake(state),
            Sender::Gathering if state.is_half_full(&self.bounds) => self.wake(state),
            Sender::Absent => {
                state.sender = Sender::Busy;
                return true;
            }
            _ => {}
        }
        false
    }

    /// Counts a message that could not be made into a frame.
    pub(crate) fn refuse(&self, failure: String) {
        let mut state = self.lock();
        state.stats.enqueued += 1;
        state.stats.dropped.too_large += 1;
        state.note(failure);
        self.wake(state);
    }

    /// True when messages wait and there is no sender: the caller must start
    /// one. Only one caller is told so.
    #[must_use]
    pub(crate) fn claim_sender(&self) -> bool {
        let mut state = self.lock();
        let needed = state.sender == Sender::Absent && !state.waiting.is_empty();
        if needed {
            state.sender = Sender::Busy;
        }
        needed
    }

    /// Notes that no sender could be started after all.
    pub(crate) fn sender_failed(&self, failure: String) {
        let mut state = self.lock();
        state.stats.failures += 1;
        state.note(failure);
        state.sender = Sender::Absent;
        self.progress.notify_all();
    }

    /// Takes no more messages. The sender goes on with what waits until `limit`
    /// has passed, then drops the rest and ends.
    pub(crate) fn close(&self, limit: Duration) {
        self.end(limit, false);
    }

    /// The same without any time, for a sender with a spool: it brings what
    /// waits there before it ends.
    pub(crate) fn close_into_spool(&self) {
        self.end(Duration::ZERO, true);
    }

    fn end(&self, limit: Duration, keeps: bool) {
        let mut state = self.lock();
        // A time too far away to be told is never.
        let stop_at = Instant::now().checked_add(limit);
        state.closed = true;
        state.stop_at = [state.stop_at, stop_at].into_iter().flatten().min();
        state.nudges += 1;
        if (state.is_over() && !keeps) || state.sender == Sender::Absent {
            state.drop_waiting();
        }
        self.wake(state);
    }

    /// Waits until the sender has ended; false when it has not within `limit`.
    pub(crate) fn wait_for_end(&self, limit: Duration) -> bool {
        let state = self.lock();
        let (state, _) = self
            .progress
            .wait_timeout_while(state, limit, |state| state.sender != Sender::Absent)
            .unwrap_or_else(PoisonError::into_inner);
        state.sender == Sender::Absent
    }

    pub(crate) fn stats(&self) -> Stats {
        let state = self.lock();
        let kept: u64 = state.kept.iter().map(|(_, messages)| messages).sum();
        let queued = (state.waiting.len() + state.in_flight) as u64 + kept;
        Stats { queued, ..state.stats }
    }

    /// The newest failures as text, oldest first; each is returned once.
    pub(crate) fn take_failures(&self) -> Vec<String> {
        self.lock().failures.drain(..).collect()
    }

    /// The newest failure, as often as it is asked for.
    pub(crate) fn last_failure(&self) -> Option<String> {
        self.lock().last_failure.clone()
    }

    fn tell(&self, state: &MutexGuard<'_, State>) {
        if state.hurried > 0 {
            self.progress.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock; were it otherwise, the counters may be
        // off by one and logging goes on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        if matches!(state.sender, Sender::Asleep | Sender::Gathering) {
            state.sender = Sender::Busy;
        }
        drop(state);
        self.work.notify_all();
        if let Some(bell) = self.bell.get() {
            bell.ring();
        }
    }
}

#[cfg(test)]
mod tests;
