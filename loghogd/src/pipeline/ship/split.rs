//! Finds the messages in the bytes of a log file. Pure.
//! Bytes from a line's beginning on -> whole messages, and how many bytes are left over.
//! Invariant: what is cut anywhere gives the same messages; memory is that of the bytes.
//! Leaves out: what a message says (`record`).
//!
//! A message is a line and those behind it that begin with a tab (`persist::line`).
//! So its end is known when the next one begins, or when nothing comes any more.

use memchr::memchr_iter;

/// One message in a buffer: from where to where, its last line feed included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its first byte.
    pub begin: usize,
    /// Behind its last byte.
    pub end: usize,
}

/// Goes from message to message.
#[derive(Debug)]
pub struct Splitter<'b> {
    bytes: &'b [u8],
    at: usize,
    ended: bool,
}

impl<'b> Splitter<'b> {
    /// Over `bytes`, which begin with a message. `ended`: nothing comes behind them;
    /// a last line without a line feed is a message as well then.
    pub fn new(bytes: &'b [u8], ended: bool) -> Splitter<'b> {
        Splitter { bytes, at: 0, ended }
    }

    /// How many bytes belong to messages that were handed out.
    pub fn taken(&self) -> usize {
        self.at
    }
}

impl Iterator for Splitter<'_> {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let end = memchr_iter(b'\n', rest).map(|feed| feed + 1).find(|&end| {
            // With nothing behind it, it is not known whether it goes on.
            rest.get(end).is_some_and(|&byte| byte != b'\t')
        });
        let end = end.or_else(|| self.ended.then_some(rest.len()))?;
        let message = Message { begin: self.at, end: self.at + end };
        self.at = message.end;
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(bytes: &[u8], ended: bool) -> (Vec<&[u8]>, usize) {
        let mut splitter = Splitter::new(bytes, ended);
        let messages = splitter.by_ref().map(|m| &bytes[m.begin..m.end]).collect();
        (messages, splitter.taken())
    }

    #[test]
    fn a_message_has_its_continuation_lines() {
        let (messages, taken) = split(b"a\n\tb\n\tc\nd\ne", false);
        assert_eq!(messages, [&b"a\n\tb\n\tc\n"[..], b"d\n"]);
        assert_eq!(taken, 10);
    }

    #[test]
    fn what_may_go_on_is_not_taken_unless_it_is_the_end() {
        assert_eq!(split(b"a\n", false), (vec![], 0));
        assert_eq!(split(b"a\n", true), (vec![&b"a\n"[..]], 2));
        assert_eq!(split(b"a\n\tb", true), (vec![&b"a\n\tb"[..]], 4));
        assert_eq!(split(b"", true), (vec![], 0));
    }

    proptest! {
        #[test]
        fn in_pieces_there_are_the_same_messages(
            bytes in prop::collection::vec(prop::sample::select(b"a\n\t".to_vec()), 0..60),
            cut in 0..60usize,
        ) {
            let (whole, taken) = split(&bytes, true);
            prop_assert_eq!(taken, bytes.len());
            let cut = cut.min(bytes.len());
            let (mut first, taken) = split(&bytes[..cut], false);
            let (second, _) = split(&bytes[taken..], true);
            first.extend(second);
            prop_assert_eq!(whole, first);
        }
    }
}
