//! The queue for a sender that hands messages to the kernel and forgets them.
//! Waiting messages -> whole batches; what a write came to -> counters.
//! Invariant: what a write left waits again, in front of all that came since.
//! Leaves out: senders that keep messages (`kept`), encoding, connecting, writing.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::{Order, Queue, Sender, State, Tally};
use crate::frames::Frames;
use crate::limits::{GATHER, PAUSE_HURRIED};

impl Queue {
    /// Sleeps until there is something to write, or no more to come.
    pub(crate) fn next_order(&self) -> Order {
        let mut state = self.lock();
        loop {
            if state.is_over() {
                return Order::Stop;
            }
            if !state.waiting.is_empty() {
                state.sender = Sender::Busy;
                return Order::Write;
            }
            if state.closed {
                return Order::Stop;
            }
            state.sender = Sender::Asleep;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Moves all that waits into `batch`, which is empty.
    pub(crate) fn take(&self, batch: &mut Frames) {
        let mut state = self.lock();
        std::mem::swap(&mut state.waiting, batch);
        state.in_flight = batch.len();
        state.in_flight_first = state.accepted - batch.len() as u64;
    }

    /// Counts what a write came to. What it left in `batch` waits again, in
    /// front of all that came since.
    pub(crate) fn settle(&self, batch: &mut Frames, tally: Tally) {
        let mut state = self.lock();
        state.stats.written += tally.messages as u64;
        state.stats.written_bytes += tally.bytes as u64;
        if tally.too_large > 0 {
            state.stats.dropped.too_large += tally.too_large as u64;
            state.note("a message is too long for a datagram on this network; it is lost".into());
        }
        state.in_flight = 0;
        if !batch.is_empty() {
            batch.append(&mut state.waiting);
            std::mem::swap(&mut state.waiting, batch);
            state.make_room(&self.bounds, 0, 0);
        }
        self.tell(&state);
    }

    /// Lets messages gather for a moment, unless somebody waits for them.
    pub(crate) fn gather(&self) {
        let mut state = self.lock();
        if state.hurried > 0 || state.closed || state.is_half_full(&self.bounds) {
            return;
        }
        state.sender = Sender::Gathering;
        let waiting = |state: &mut State| state.sender == Sender::Gathering;
        let (mut state, _) = self
            .work
            .wait_timeout_while(state, GATHER, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        state.sender = Sender::Busy;
    }

    /// A connection stands; `again` when it is not the first.
    pub(crate) fn connected(&self, again: bool) {
        let mut state = self.lock();
        state.outage = false;
        state.stats.reconnects += u64::from(again);
    }

    /// A connection could not be made, or broke.
    pub(crate) fn failed(&self, failure: String, is_outage: bool) {
        let mut state = self.lock();
        state.stats.failures += 1;
        state.note(failure);
        state.outage = is_outage;
        state.make_room(&self.bounds, 0, 0);
        self.tell(&state);
    }

    /// Pauses before the next attempt: shorter while somebody waits, and over
    /// at once when somebody begins to.
    pub(crate) fn pause(&self, length: Duration) {
        let started = Instant::now();
        let mut state = self.lock();
        let nudges = state.nudges;
        while state.nudges == nudges && !state.is_over() {
            let hurried = state.hurried > 0 || state.closed;
            let limit = if hurried { length.min(PAUSE_HURRIED) } else { length };
            let left = limit.saturating_sub(started.elapsed());
            if left.is_zero() {
                return;
            }
            let woken = self.work.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether a blocked read or write must be given up.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().is_over()
    }

    /// The sender ends. With messages left over it was told to, or it panicked.
    pub(crate) fn ended(&self) {
        let mut state = self.lock();
        state.sender = Sender::Absent;
        state.stats.dropped.closed += state.in_flight as u64;
        state.in_flight = 0;
        if !state.is_safe {
            let kept: u64 = state.kept.drain(..).map(|(_, messages)| messages).sum();
            state.stats.dropped.closed += kept;
        }
        if state.closed {
            // What found no room in the spool is not safe there.
            state.is_safe &= state.waiting.is_empty();
            state.drop_waiting();
        }
        self.progress.notify_all();
    }
}
