//! Counts the hosts that facilities have files for.
//! A facility and one more host -> whether it may have a file.
//! Invariant: a facility never has more than `max_hosts`, but for those that were there before.
//! Leaves out: which file is whose.

use std::collections::{HashMap, HashSet};

use tracing::warn;

use super::log_file::Owner;

/// How many hosts have a file, by facility.
#[derive(Debug)]
pub(super) struct Hosts {
    hosts_max: usize,
    counts: HashMap<Owner, usize>,
    /// Of whom it was said that there is no room for more.
    said: HashSet<Owner>,
}

impl Hosts {
    pub(super) fn new(hosts_max: usize) -> Hosts {
        Hosts { hosts_max, counts: HashMap::new(), said: HashSet::new() }
    }

    /// Is there room for one more? Says so once if there is not.
    pub(super) fn has_room(&mut self, owner: &Owner) -> bool {
        let hosts = self.counts.get(owner).copied().unwrap_or(0);
        let has_room = hosts < self.hosts_max;
        if !has_room && self.said.insert(owner.clone()) {
            let (app, module) = owner;
            warn!(
                "facility {app}:{module} has files for {hosts} hosts already; messages of more are \
                 dropped; raise [main] max_hosts, or switch file_per_host off"
            );
        }
        has_room
    }

    /// One more has a file.
    pub(super) fn add(&mut self, owner: &Owner) {
        *self.counts.entry(owner.clone()).or_default() += 1;
    }

    /// One has none any more.
    pub(super) fn remove(&mut self, owner: &Owner) {
        if let Some(count) = self.counts.get_mut(owner) {
            *count = count.saturating_sub(1);
        }
    }

    /// What was said may be said again.
    pub(super) fn forget_said(&mut self) {
        self.said.clear();
    }
}
