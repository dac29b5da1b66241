//! Tells the service manager how far we are.
//! A step of the daemon's life -> a message to systemd (sd_notify(3)), where there is one.
//! Invariant: without a manager nothing happens; one that does not hear us ends nothing.
//! Leaves out: what the steps are.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::debug;

/// It serves.
pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// It reads its configuration anew; [`ready`] follows.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// It stops.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!("cannot tell the service manager: {error}");
    }
}

/// Shows the manager that we are alive, as often as it wants (`WatchdogSec`).
#[derive(Debug)]
pub(super) struct Watchdog(Option<Interval>);

impl Watchdog {
    /// As the manager wants it.
    pub(super) fn new() -> Watchdog {
        // Half of the time, as sd_watchdog_enabled(3) advises.
        Watchdog(sd_notify::watchdog_enabled().map(|time| every(time / 2)))
    }

    /// Waits until it is time, and says so; for ever when nobody wants it.
    pub(super) async fn alive(&mut self) {
        match &mut self.0 {
            Some(times) => {
                times.tick().await;
                notify(&[NotifyState::Watchdog]);
            }
            None => std::future::pending().await,
        }
    }
}

fn every(time: Duration) -> Interval {
    let mut times = interval(time.max(Duration::from_millis(1)));
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    times
}
