//! Waits: after trouble, and to stay below a rate.
//! A pause -> it is over, or it is time to end.
//! Invariant: nobody waits longer than a moment when it is time to end.
//! Leaves out: how long pauses are (`pace`).

use std::time::{Duration, Instant};

use super::super::limits::{END_LOOK, RETRY_MAX};
use super::Run;

/// It is time to end.
pub(super) struct Ended;

impl Run {
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
        let until = Instant::now() + pause.min(RETRY_MAX);
        loop {
            if self.surroundings.has_ended() {
                return Err(Ended);
            }
            let now = Instant::now();
            if now >= until {
                return Ok(());
            }
            let heard = self.listener.wait(Some(until.min(now + END_LOOK)));
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
