//! The queue for a sender that keeps messages until they are acknowledged.
//! Waiting messages -> runs that the sender keeps -> settled.
//! Invariant: what is taken counts as queued until it is settled.
//! Leaves out: numbers, batches and the spool (`v2`).

use std::io;

use super::{Queue, Sender};
use crate::bell::Bell;
use crate::frames::Frames;
use crate::stats::{Dropped, Stats};

/// What it is counted as when a message gives way to a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Memory,
    SpoolFull,
    SpoolFailed,
}

impl Why {
    pub(super) fn counter(self, dropped: &mut Dropped) -> &mut u64 {
        match self {
            Why::Memory => &mut dropped.queue_full,
            Why::SpoolFull => &mut dropped.spool_full,
            Why::SpoolFailed => &mut dropped.spool_failed,
        }
    }
}

/// What the sender should know of those who wait for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Urgency {
    /// Grows when a pause must end at once.
    pub(crate) nudges: u64,
    /// Somebody waits.
    pub(crate) is_hurried: bool,
    /// No more messages come.
    pub(crate) is_closed: bool,
    /// The time for closing is up.
    pub(crate) is_over: bool,
    /// There are messages to take.
    pub(crate) has_waiting: bool,
    /// More than half of the room is taken.
    pub(crate) is_half_full: bool,
}

impl Queue {
    pub(crate) fn urgency(&self) -> Urgency {
        let state = self.lock();
        Urgency {
            nudges: state.nudges,
            is_hurried: state.hurried > 0 || state.closed,
            is_closed: state.closed,
            is_over: state.is_over(),
            has_waiting: !state.waiting.is_empty(),
            is_half_full: state.is_half_full(&self.bounds),
        }
    }

    /// The sender is about to wait at its bell. Returns false when there is
    /// something to take that it `wants`; then it must not. With `gathering`
    /// only a queue half full wakes it, otherwise the next message.
    pub(crate) fn doze(&self, wants: bool, gathering: bool) -> bool {
        let mut state = self.lock();
        if !wants {
            state.sender = Sender::Busy;
            return true;
        }
        let is_ready =
            if gathering { state.is_half_full(&self.bounds) } else { !state.waiting.is_empty() };
        state.sender = match (is_ready, gathering) {
            (true, _) => Sender::Busy,
            (false, true) => Sender::Gathering,
            (false, false) => Sender::Asleep,
        };
        !is_ready
    }

    /// True when there is no sender: the caller must start one, though there
    /// may be nothing to send yet.
    #[must_use]
    pub(crate) fn claim_idle_sender(&self) -> bool {
        let mut state = self.lock();
        let needed = state.sender == Sender::Absent;
        state.sender = Sender::Busy;
        needed
    }

    /// The bell that wakes the sender from now on.
    pub(crate) fn bell(&self) -> io::Result<Bell> {
        match self.bell.get() {
            Some(bell) => Ok(bell.clone()),
            None => {
                let bell = Bell::new()?;
                Ok(self.bell.get_or_init(|| bell).clone())
            }
        }
    }

    pub(crate) fn has_sender(&self) -> bool {
        self.lock().sender != Sender::Absent
    }

    pub(crate) fn awake(&self) {
        self.lock().sender = Sender::Busy;
    }

    /// Moves the oldest into `into`, which is empty, within these bounds.
    pub(crate) fn keep(
        &self,
        into: &mut Frames,
        messages_max: usize,
        bytes_max: usize,
        overhead_bytes: usize,
    ) {
        let mut state = self.lock();
        let first = state.accepted - state.waiting.len() as u64;
        state.waiting.split_front(into, messages_max, bytes_max, overhead_bytes);
        let taken = into.len() as u64;
        match state.kept.back_mut() {
            // Or an hour without a server would leave an entry for each time
            // that the spool took something.
            Some((kept, messages)) if *kept + *messages == first => *messages += taken,
            _ if taken > 0 => state.kept.push_back((first, taken)),
            _ => {}
        }
    }

    /// The oldest of those that were kept have arrived.
    pub(crate) fn settled(&self, mut messages: u64) {
        let mut state = self.lock();
        while messages > 0 {
            let Some((first, count)) = state.kept.front_mut() else { break };
            let now = messages.min(*count);
            *first += now;
            *count -= now;
            if *count == 0 {
                state.kept.pop_front();
            }
            messages -= now;
            state.stats.written += now;
        }
        self.tell(&state);
    }

    /// Changes counters.
    pub(crate) fn count(&self, change: impl FnOnce(&mut Stats)) {
        change(&mut self.lock().stats);
    }

    /// Keeps a failure as text.
    pub(crate) fn say(&self, failure: String) {
        self.lock().note(failure);
    }

    /// What messages that give way from now on are counted as.
    pub(crate) fn full_because(&self, why: Why) {
        self.lock().why_full = why;
    }

    /// Whether all that is kept outlasts the program.
    pub(crate) fn set_safe(&self, is_safe: bool) {
        self.lock().is_safe = is_safe;
    }

    /// Messages that nobody has taken yet.
    pub(crate) fn waiting(&self) -> u64 {
        self.lock().waiting.len() as u64
    }

    /// Whether spools that others left are looked for, or emptied.
    pub(crate) fn set_adopting(&self, is_adopting: bool) {
        self.lock().is_adopting = is_adopting;
    }

    pub(crate) fn is_adopting(&self) -> bool {
        self.lock().is_adopting
    }

    /// Whether the sender has ended and what it left outlasts the program.
    pub(crate) fn is_safe(&self) -> bool {
        let state = self.lock();
        state.is_safe && state.waiting.is_empty() && state.sender == Sender::Absent
    }
}
