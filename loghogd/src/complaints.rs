//! Says what is wrong with a peer, without being a way to fill the own log.
//! A peer, a reason, a number -> one line now, and one with the sum later.
//! Invariant: a pair of peer and reason gets two lines a window at the most.
//! Leaves out: counting; that is exact, and done by `stats`.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tracing::warn;

use crate::limits::{COMPLAINT_WINDOW, COMPLAINTS_MAX};
use crate::stats::Counter;

/// What has been said lately, and of whom.
#[derive(Clone, Debug)]
pub struct Complaints {
    said: Arc<Mutex<HashMap<About, u64>>>,
    runtime: Handle,
}

/// Whom a complaint is about: one peer's address, or, when too many have
/// been told apart already, all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct About {
    peer: Option<IpAddr>,
    reason: Counter,
}

impl Complaints {
    /// Nothing said yet. Sums are logged by tasks on `runtime`.
    pub fn new(runtime: Handle) -> Complaints {
        Complaints { said: Arc::default(), runtime }
    }

    /// Complains `number` times. The first one of a window is logged with
    /// its `detail`; the others are summed up when the window ends.
    pub fn complain(
        &self,
        peer: IpAddr,
        reason: Counter,
        number: u64,
        detail: impl FnOnce() -> String,
    ) {
        let mut about = About { peer: Some(peer), reason };
        let mut said = self.said();
        if !said.contains_key(&about) && said.len() >= COMPLAINTS_MAX {
            about.peer = None;
        }
        if let Some(more) = said.get_mut(&about) {
            *more += number;
            return;
        }
        said.insert(about, number.saturating_sub(1));
        drop(said);
        let detail = detail();
        warn!("{detail}");
        let complaints = self.clone();
        self.runtime.spawn(async move {
            tokio::time::sleep(COMPLAINT_WINDOW).await;
            complaints.sum_up(about);
        });
    }

    /// Ends every window now, so that no sum is missing at the end.
    pub fn sum_up_all(&self) {
        let open: Vec<About> = self.said().keys().copied().collect();
        for about in open {
            self.sum_up(about);
        }
    }

    fn sum_up(&self, about: About) {
        let more = self.said().remove(&about).unwrap_or(0);
        if more > 0 {
            warn!("{about}: {more} more within {} s", COMPLAINT_WINDOW.as_secs());
        }
    }

    fn said(&self) -> MutexGuard<'_, HashMap<About, u64>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            Some(peer) => write!(f, "refused {peer}: {}", self.reason.name()),
            None => write!(f, "refused many other peers: {}", self.reason.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[tokio::test(start_paused = true)]
    async fn a_window_says_a_complaint_once_and_forgets_it_at_its_end() {
        let complaints = Complaints::new(Handle::current());
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut said = 0;
        for _ in 0..100 {
            complaints.complain(peer, Counter::NotJson, 2, || {
                said += 1;
                String::new()
            });
        }
        assert_eq!(said, 1);
        assert_eq!(complaints.said().values().copied().collect::<Vec<_>>(), [199]);
        tokio::time::sleep(COMPLAINT_WINDOW * 2).await;
        assert!(complaints.said().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_peers_takes_bounded_memory() {
        let complaints = Complaints::new(Handle::current());
        for peer in 0..10_000_u32 {
            complaints.complain(Ipv4Addr::from(peer).into(), Counter::NotJson, 1, String::new);
        }
        assert_eq!(complaints.said().len(), COMPLAINTS_MAX + 1);
    }
}
