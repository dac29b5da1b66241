//! Says which closed segments somebody works on, or still needs.
//! A folder and a segment -> a claim; as long as it is held, nobody deletes the segment.
//! Invariant: a segment counts as one, whether it is plain or sealed.
//! Leaves out: remembering over a restart; each room finds out again what it needs.
//!
//! Who claims a segment looks only afterwards whether it is still there: it
//! may have been deleted just before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::rotate::name::{Began, Segment};

/// All that is claimed. A clone is the same set.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    held: Arc<Mutex<HashMap<Key, usize>>>,
}

/// A segment, whatever form it is in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    folder: Box<str>,
    live: Box<str>,
    began: Began,
}

impl Claims {
    /// Nothing is claimed.
    pub fn new() -> Claims {
        Claims::default()
    }

    /// Claims a segment until the claim is dropped. Several may hold a claim
    /// to one segment; it is free when all are dropped.
    pub fn claim(&self, folder: &str, segment: &Segment) -> Claim {
        let key = Key::of(folder, &segment.live, segment.began);
        *self.held().entry(key.clone()).or_default() += 1;
        Claim { claims: self.clone(), key }
    }

    /// Does anybody hold a claim to it?
    pub fn is_claimed(&self, folder: &str, segment: &Segment) -> bool {
        self.holds(folder, &segment.live, segment.began)
    }

    /// The same, for a segment that may be there in several forms.
    pub(crate) fn holds(&self, folder: &str, live: &str, began: Began) -> bool {
        let held = self.held();
        !held.is_empty() && held.contains_key(&Key::of(folder, live, began))
    }

    /// Does something to a segment that nobody holds, and that nobody can claim
    /// before it is done. None when somebody does.
    pub(crate) fn unless_held<T>(
        &self,
        folder: &str,
        live: &str,
        began: Began,
        what: impl FnOnce() -> T,
    ) -> Option<T> {
        let held = self.held();
        let free = !held.contains_key(&Key::of(folder, live, began));
        free.then(what)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Key, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Key {
    fn of(folder: &str, live: &str, began: Began) -> Key {
        Key { folder: folder.into(), live: live.into(), began }
    }
}

/// Holds a segment until it is dropped.
#[derive(Debug)]
#[must_use = "a claim that is dropped protects nothing"]
pub struct Claim {
    claims: Claims,
    key: Key,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut held = self.claims.held();
        if let Some(holders) = held.get_mut(&self.key) {
            *holders -= 1;
            if *holders == 0 {
                held.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::checked::Format;
    use crate::pipeline::rotate::name::Name;

    fn segment(name: &str) -> Segment {
        let Name::Segment(segment) = Name::read(name) else { panic!("{name}") };
        segment
    }

    #[test]
    fn a_claim_holds_all_forms_of_a_segment_until_the_last_one_is_dropped() {
        let claims = Claims::new();
        let plain = segment("web.log.2026-11-20-00-00-00-000000");
        let sealed = plain.sealed(Format::Xz);
        let first = claims.claim("app", &plain);
        let second = claims.claim("app", &sealed);
        for held in [&plain, &sealed] {
            assert!(claims.is_claimed("app", held));
            assert!(!claims.is_claimed("other", held));
        }
        assert!(!claims.is_claimed("app", &segment("web.log.2026-11-20-00-00-00-000001")));
        assert!(!claims.is_claimed("app", &segment("db.log.2026-11-20-00-00-00-000000")));
        drop(first);
        assert!(claims.is_claimed("app", &plain));
        assert_eq!(claims.unless_held("app", "web.log", plain.began, || ()), None);
        drop(second);
        assert_eq!(claims.unless_held("app", "web.log", plain.began, || ()), Some(()));
        assert!(!claims.is_claimed("app", &plain));
        assert!(claims.held().is_empty());
    }
}
