//! Wakes the writer when a file is due.
//! A time of day -> a call, also when the clock is set or the machine slept.
//! Invariant: nothing runs until then.
//! Leaves out: what is due (`due`).
//!
//! Waiting for so many seconds would miss the time when the clock is set or
//! the machine suspended; timerfd_create(2) waits for the time itself, and
//! tells when the clock has been set.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// An alarm clock. Dropping it does not end its thread: [`Alarm::end`] does.
#[derive(Clone, Debug)]
pub struct Alarm {
    timer: Arc<TimerFd>,
    ended: Arc<AtomicBool>,
}

impl Alarm {
    /// Starts the alarm's thread. `ring` is called when a time has come or the
    /// clock was set, from then on until it says that nobody listens.
    ///
    /// # Errors
    /// When the system has no thread or no timer to give.
    pub fn start(ring: impl Fn() -> bool + Send + 'static) -> io::Result<Alarm> {
        let timer = TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_CLOEXEC)?;
        let alarm = Alarm { timer: Arc::new(timer), ended: Arc::new(AtomicBool::new(false)) };
        let theirs = alarm.clone();
        std::thread::Builder::new().name("alarm".into()).spawn(move || {
            while theirs.timer.wait().is_ok() && !theirs.ended.load(Ordering::SeqCst) {
                if !ring() {
                    return;
                }
            }
        })?;
        Ok(alarm)
    }

    /// Rings at this time, and no more at the one set before; none: never.
    pub fn set(&self, at: Option<Timestamp>) {
        self.arm(at);
        // Who ends it may have come between: then its thread has to hear of it.
        if self.ended.load(Ordering::SeqCst) {
            self.arm(Some(Timestamp::UNIX_EPOCH));
        }
    }

    fn arm(&self, at: Option<Timestamp>) {
        let at = at.unwrap_or(Timestamp::MAX).max(Timestamp::UNIX_EPOCH);
        let at = Duration::try_from(at.duration_since(Timestamp::UNIX_EPOCH)).unwrap_or_default();
        // A time of zero would switch the timer off.
        let at = TimeSpec::from_duration(at.max(Duration::from_nanos(1)));
        let flags =
            TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        // It fails only for arguments that are wrong, and these are not.
        let _ = self.timer.set(Expiration::OneShot(at), flags);
    }

    /// Ends the thread, and lets go of what it would call.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.arm(Some(Timestamp::UNIX_EPOCH));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn it_rings_at_its_time_and_not_before() {
        let (rang, ringing) = mpsc::channel();
        let alarm = Alarm::start(move || rang.send(Timestamp::now()).is_ok()).unwrap();
        alarm.set(Some(Timestamp::now() + Duration::from_secs(3600)));
        let at = Timestamp::now() + Duration::from_millis(20);
        alarm.set(Some(at));
        assert!(ringing.recv().unwrap() >= at);
        // A time that is over rings at once.
        alarm.set(Some(Timestamp::UNIX_EPOCH));
        ringing.recv().unwrap();
        alarm.set(None);
        alarm.end();
        alarm.set(None);
        assert!(ringing.recv().is_err(), "the thread has ended");
    }
}
