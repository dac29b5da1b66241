//! What is known of one stream at one target, as it is written down. Pure.
//! A state <-> lines of text.
//! Invariant: what is written reads equal; what is not wholly understood is refused.
//! Leaves out: where it is kept (`receipts`).
//!
//! ```text
//! loghog-ship 1
//! number 12                  so many files of the stream are through, or were sent again
//! offset 4096                of the next one: bytes, messages, the last unique time
//! records 17
//! last_ns 1795431600000000000
//! head 0123456789abcdef      what that file begins with
//! from_ns 1795431500000000000    the last unique time before that file
//! aside 4096 17 1795431600000000000 0123456789abcdef 1795431500000000000    a file that has
//!                            to wait for others: as above, without a number
//! done 2026-11-20-00-00-00-000000 1795431500000000000   through; the last time before it
//! again 2026-11-19-00-00-00-000000 1795431400000000000  is sent again
//! ```
//! Only segments that are still there stand among those that are through.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::pipeline::rotate::name::{Began, Name};
use crate::pipeline::ship::Mark;
use crate::pipeline::ship::limits::ASIDES_MAX;

/// The first line of a state.
const HEAD_LINE: &str = "loghog-ship 1";

/// What is known of one stream at one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// How far the next file is.
    pub mark: Mark,
    /// How far files are in whose place others came before all of them was shipped: the
    /// oldest first, each file once.
    pub asides: Vec<Aside>,
    /// The last unique time before the next file.
    pub from_ns: i64,
    /// Segments that are through and still there, each with the last unique time before
    /// it.
    pub done: BTreeMap<Began, i64>,
    /// Those that are sent again, with the same times as before.
    pub again: BTreeMap<Began, i64>,
}

/// How far a file is that goes on when it is next again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aside {
    /// In the file; its number is of no use.
    pub mark: Mark,
    /// The last unique time before that file.
    pub from_ns: i64,
}

impl State {
    /// Puts the mark of the next file aside, as another file takes its place.
    pub fn put_aside(&mut self) {
        let Mark { offset, head, .. } = self.mark;
        if offset == 0 {
            return;
        }
        self.forget_aside(head);
        if self.asides.len() >= ASIDES_MAX {
            self.asides.remove(0);
        }
        let mark = Mark { number: 0, ..self.mark };
        self.asides.push(Aside { mark, from_ns: self.from_ns });
    }

    /// So much has arrived of a file, at least, if it was put aside.
    pub fn advance_aside(&mut self, mark: &Mark) {
        let aside = self.asides.iter_mut().find(|aside| aside.mark.head == mark.head);
        if let Some(aside) = aside.filter(|aside| aside.mark.offset < mark.offset) {
            aside.mark = Mark { number: 0, ..*mark };
        }
    }

    /// Nothing of a file that begins so waits.
    pub fn forget_aside(&mut self, head: u64) {
        self.asides.retain(|aside| aside.mark.head != head);
    }

    pub(super) fn text(&self) -> String {
        let Mark { number, offset, records, last_ns, head } = self.mark;
        let mut text = format!(
            "{HEAD_LINE}\nnumber {number}\noffset {offset}\nrecords {records}\n\
             last_ns {last_ns}\nhead {head:016x}\nfrom_ns {}\n",
            self.from_ns
        );
        // A String takes everything.
        for Aside { mark: Mark { offset, records, last_ns, head, .. }, from_ns } in &self.asides {
            let _ = writeln!(text, "aside {offset} {records} {last_ns} {head:016x} {from_ns}");
        }
        for (name, segments) in [("done", &self.done), ("again", &self.again)] {
            for (began, from_ns) in segments {
                let _ = writeln!(text, "{name} {began} {from_ns}");
            }
        }
        text
    }

    pub(super) fn read(text: &str) -> Option<State> {
        let mut lines = text.lines();
        (lines.next()? == HEAD_LINE).then_some(())?;
        let mut state = State::default();
        for line in lines {
            let (name, value) = line.split_once(' ')?;
            match name {
                "number" => state.mark.number = value.parse().ok()?,
                "offset" => state.mark.offset = value.parse().ok()?,
                "records" => state.mark.records = value.parse().ok()?,
                "last_ns" => state.mark.last_ns = value.parse().ok()?,
                "head" => state.mark.head = u64::from_str_radix(value, 16).ok()?,
                "from_ns" => state.from_ns = value.parse().ok()?,
                "aside" => {
                    let parts: Vec<&str> = value.split(' ').collect();
                    let [offset, records, last_ns, head, from_ns] = parts.as_slice() else {
                        return None;
                    };
                    let mark = Mark {
                        number: 0,
                        offset: offset.parse().ok()?,
                        records: records.parse().ok()?,
                        last_ns: last_ns.parse().ok()?,
                        head: u64::from_str_radix(head, 16).ok()?,
                    };
                    state.asides.push(Aside { mark, from_ns: from_ns.parse().ok()? });
                }
                "done" | "again" => {
                    let (stamp, from_ns) = value.split_once(' ')?;
                    let segments = if name == "done" { &mut state.done } else { &mut state.again };
                    segments.insert(began(stamp)?, from_ns.parse().ok()?);
                }
                _ => return None,
            }
        }
        Some(state)
    }
}

pub(super) fn began(stamp: &str) -> Option<Began> {
    match Name::read(&format!("x.log.{stamp}")) {
        Name::Segment(segment) if segment.format.is_none() => Some(segment.began),
        _ => None,
    }
}
