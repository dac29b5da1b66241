//! Streams that may have something to send, in turn. Pure.
//! Streams that are put -> the same, each once, the one that has waited longest first.
//! Invariant: a stream stands in line once, however often it is put.
//! Leaves out: whether it really has something.

use std::collections::{HashSet, VecDeque};

use super::mark::Stream;

/// The line.
#[derive(Debug, Default)]
pub(super) struct Ready {
    line: VecDeque<Stream>,
    standing: HashSet<Stream>,
}

impl Ready {
    /// Puts a stream at the end, unless it stands in line already.
    pub(super) fn put(&mut self, stream: &Stream) {
        if self.standing.insert(stream.clone()) {
            self.line.push_back(stream.clone());
        }
    }

    /// Puts a stream that was taken back to the beginning.
    pub(super) fn put_back(&mut self, stream: Stream) {
        if self.standing.insert(stream.clone()) {
            self.line.push_front(stream);
        }
    }

    /// Takes the first one.
    pub(super) fn take(&mut self) -> Option<Stream> {
        let stream = self.line.pop_front()?;
        self.standing.remove(&stream);
        Some(stream)
    }

    /// Nobody stands in line.
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.line.clear();
        self.standing.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comes_once_and_in_turn() {
        let stream = |live: &str| Stream { app: "a".into(), live: live.into() };
        let mut ready = Ready::default();
        for live in ["1", "2", "1", "3"] {
            ready.put(&stream(live));
        }
        assert_eq!(ready.take(), Some(stream("1")));
        ready.put(&stream("1"));
        let two = ready.take().unwrap();
        ready.put_back(two.clone());
        ready.put(&two);
        let rest: Vec<_> = std::iter::from_fn(|| ready.take()).map(|stream| stream.live).collect();
        assert_eq!(rest, ["2", "3", "1"].map(Box::from));
        assert!(ready.is_empty());
    }
}
