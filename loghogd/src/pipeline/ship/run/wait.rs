//! Waits: after trouble, to stay below a rate, for a file that cannot be read.
//! A pause -> it is over, or it is time to end.
//! Invariant: nobody waits longer than a moment when it is time to end.
//! Leaves out: how long pauses are (`pace`).

use std::time::{Duration, Instant};

use super::super::limits::END_LOOK;
use super::super::mark::Stream;
use super::super::pace::Pauses;
use super::Run;

/// It is time to end.
pub(super) struct Ended;

/// A stream whose file could not be read.
#[derive(Debug, Default)]
pub(super) struct Rest {
    pauses: Pauses,
    /// None while it is tried again.
    until: Option<Instant>,
}

impl Run {
    /// Lets a stream rest, longer each time.
    pub(super) fn rest(&mut self, stream: &Stream) {
        let rest = self.resting.entry(stream.clone()).or_default();
        rest.until = Some(Instant::now() + rest.pauses.next(chance(), None));
    }

    /// Does it rest now?
    pub(super) fn rests(&self, stream: &Stream) -> bool {
        self.resting.get(stream).is_some_and(|rest| rest.until.is_some())
    }

    /// Puts those in line again who have rested; returns when the next one will have.
    pub(super) fn rouse(&mut self) -> Option<Instant> {
        let (now, mut next) = (Instant::now(), None);
        for (stream, rest) in &mut self.resting {
            match rest.until {
                Some(until) if until <= now => {
                    rest.until = None;
                    self.ready.put(stream);
                }
                Some(until) => next = Some(next.map_or(until, |next: Instant| next.min(until))),
                None => {}
            }
        }
        next
    }

    /// Nobody rests any more.
    pub(super) fn rouse_all(&mut self) {
        std::mem::take(&mut self.resting).keys().for_each(|stream| self.ready.put(stream));
    }

    /// Waits, but not when it is time to end; what is heard is heard later.
    pub(super) fn pause(&self, pause: Duration) -> Result<(), Ended> {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if self.surroundings.has_ended() {
                return Err(Ended);
            }
            let left = until.saturating_duration_since(Instant::now());
            std::thread::sleep(left.min(END_LOOK));
        }
        Ok(())
    }

    /// Waits, but not when it is time to end, or when somebody wants it to go on.
    pub(super) fn wait(&mut self, pause: Duration) -> Result<(), Ended> {
        let begun = Instant::now();
        loop {
            if self.surroundings.has_ended() {
                return Err(Ended);
            }
            self.note_when_due();
            let now = Instant::now();
            let left = pause.saturating_sub(now.saturating_duration_since(begun));
            if left.is_zero() {
                return Ok(());
            }
            let heard = self.listener.wait(Some(now + left.min(END_LOOK)));
            let again = heard.again;
            self.take_note(heard);
            if again {
                return Ok(());
            }
        }
    }
}

/// By chance, from 0 to 1.
pub(super) fn chance() -> f64 {
    let mut bytes = [0; 4];
    let filled = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes);
    match filled {
        Ok(()) => f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}
