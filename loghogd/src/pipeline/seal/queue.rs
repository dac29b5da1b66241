//! Segments that wait to be sealed.
//! Segments found, segments refused -> the one that is sealed next.
//! Invariant: the oldest comes first; one that was refused waits ever longer.
//! Leaves out: finding and sealing them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::Segment;
use crate::limits::{COMPLAINT_WINDOW, SEAL_RETRY_MAX, SEAL_RETRY_MIN};

/// A folder and a segment there.
type Key = (Box<str>, Segment);

/// Segments that wait to be sealed, the oldest first.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: BTreeMap<Key, Option<Retry>>,
    /// Folders of which the sealed segments have been looked at.
    pub(super) inspected: BTreeSet<Box<str>>,
    /// When the own log heard last of trouble with a folder.
    said: BTreeMap<Box<str>, Instant>,
}

/// One that was refused.
#[derive(Debug)]
pub(super) struct Retry {
    at: Instant,
    pause: Duration,
}

impl Queue {
    /// Adds a segment, unless it waits already.
    pub(super) fn put(&mut self, folder: &str, segment: Segment) {
        self.waiting.entry((folder.into(), segment)).or_default();
    }

    /// Adds one that was refused, behind a pause that is longer each time.
    pub(super) fn put_back(&mut self, key: Key, retry: Option<Retry>, now: Instant) {
        let pause = retry.map_or(SEAL_RETRY_MIN, |retry| retry.pause * 2).min(SEAL_RETRY_MAX);
        self.waiting.insert(key, Some(Retry { at: now + pause, pause }));
    }

    /// May the own log hear of trouble with a folder? Once in a while.
    pub(super) fn may_say(&mut self, folder: &str, now: Instant) -> bool {
        let lately = self.said.get(folder).is_some_and(|&said_at| now < said_at + COMPLAINT_WINDOW);
        if !lately {
            self.said.insert(folder.into(), now);
        }
        !lately
    }

    /// The segment to be sealed next.
    pub(super) fn oldest(&self, now: Instant) -> Option<Key> {
        let ready = |retry: &Option<Retry>| retry.as_ref().is_none_or(|retry| retry.at <= now);
        let oldest = self.waiting.iter().filter(|(_, retry)| ready(retry));
        oldest.min_by_key(|((_, segment), _)| segment.began).map(|(key, _)| key.clone())
    }

    /// The same, which does not wait any more then.
    pub(super) fn take(&mut self, now: Instant) -> Option<(Key, Option<Retry>)> {
        self.waiting.remove_entry(&self.oldest(now)?)
    }

    /// When the next segment may be tried again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.waiting.values().flatten().map(|retry| retry.at).min()
    }

    /// Is there nothing left to seal?
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
