//! Lines that go to the server in one request. Pure.
//! Records -> lines, and which of them are whose.
//! Invariant: all lines of a record are in one request.
//! Leaves out: what a line looks like (`line`).

use std::ops::Range;

use super::limits::{BUFFER_BYTES_KEPT, REQUEST_BYTES_MAX};

/// Lines, and the records that they are of.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    text: Vec<u8>,
    spans: Vec<Span>,
    points: usize,
}

/// The lines of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Where they begin.
    begin: usize,
    /// Where they end.
    end: usize,
    /// How many they are.
    points: usize,
    /// Which part of the batch the record is of.
    pub(super) part: usize,
    /// Which message of that it is.
    pub(super) message: usize,
}

impl Sheet {
    /// Takes the lines that `write` appends for a record, of which it says how many
    /// they are.
    pub(super) fn put(
        &mut self,
        part: usize,
        message: usize,
        write: impl FnOnce(&mut Vec<u8>) -> usize,
    ) {
        let begin = self.text.len();
        let points = write(&mut self.text);
        self.points += points;
        self.spans.push(Span { begin, end: self.text.len(), points, part, message });
    }

    /// Is it time to send it, if a record becomes so many points at most?
    pub(super) fn is_full(&self, batch_points: usize, points_a_record_max: usize) -> bool {
        self.points + points_a_record_max > batch_points || self.text.len() >= REQUEST_BYTES_MAX
    }

    /// Nothing is on it.
    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Some of the records.
    pub(super) fn spans(&self, of: Range<usize>) -> &[Span] {
        self.spans.get(of).unwrap_or_default()
    }

    /// Their lines.
    pub(super) fn text(&self, of: Range<usize>) -> &[u8] {
        let spans = self.spans(of);
        let begin = spans.first().map_or(0, |span| span.begin);
        let end = spans.last().map_or(begin, |span| span.end);
        self.text.get(begin..end).unwrap_or_default()
    }

    /// How many lines they have.
    pub(super) fn points(&self, of: Range<usize>) -> usize {
        self.spans(of).iter().map(|span| span.points).sum()
    }

    /// Begins anew.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(BUFFER_BYTES_KEPT);
        self.spans.clear();
        self.points = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_records_have_their_own_lines() {
        let mut sheet = Sheet::default();
        for (message, (text, points)) in [("a\n", 1), ("b\nb\n", 2), ("c\n", 1)].iter().enumerate()
        {
            sheet.put(0, message, |out| {
                out.extend_from_slice(text.as_bytes());
                *points
            });
        }
        assert_eq!((sheet.len(), sheet.text(0..3)), (3, &b"a\nb\nb\nc\n"[..]));
        assert_eq!((sheet.text(1..2), sheet.points(1..2)), (&b"b\nb\n"[..], 2));
        assert_eq!(sheet.spans(2..3)[0].message, 2);
        assert!(sheet.is_full(5, 2) && !sheet.is_full(6, 2));
        sheet.clear();
        assert!(sheet.is_empty() && sheet.text(0..0).is_empty());
    }
}
