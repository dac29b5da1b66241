//! Finds the borders of messages among lines.
//! Lines as they stand in a file -> where whole messages end.
//! Invariant: a continuation line, which begins with a tab, is never parted from its message.
//! Leaves out: who writes them.

/// How many of the first `written` bytes are whole messages: up to a line
/// feed behind which no continuation line follows.
pub(super) fn whole_messages(bytes: &[u8], written: usize) -> usize {
    let mut end = written.min(bytes.len());
    loop {
        let front = bytes.get(..end).unwrap_or_default();
        let Some(place) = memchr::memrchr(b'\n', front) else { return 0 };
        if bytes.get(place + 1) != Some(&b'\t') {
            return place + 1;
        }
        end = place;
    }
}

/// Where the message ends that `start` is in, or begins with.
pub(super) fn message_end(bytes: &[u8], start: usize) -> usize {
    let mut from = start;
    while let Some(place) = memchr::memchr(b'\n', bytes.get(from..).unwrap_or_default()) {
        from += place + 1;
        if bytes.get(from) != Some(&b'\t') {
            return from;
        }
    }
    bytes.len()
}

/// How many messages begin in the first `written` bytes and are whole.
pub(super) fn messages_in(bytes: &[u8], written: usize) -> u64 {
    let whole = bytes.get(..whole_messages(bytes, written)).unwrap_or_default();
    let first_lines = whole.split(|&byte| byte == b'\n').filter(|line| !line.starts_with(b"\t"));
    // Behind the last line feed there is an empty piece.
    (first_lines.count() as u64).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_written_in_part_is_told_from_whole_ones() {
        let bytes = b"one\n\tmore\ntwo\nthree\n";
        let ends: Vec<usize> =
            (0..=bytes.len()).map(|written| whole_messages(bytes, written)).collect();
        assert_eq!(ends[..10], [0; 10], "a message ends with its continuation lines");
        assert_eq!(ends[10..14], [10; 4]);
        assert_eq!(ends[14..20], [14; 6]);
        assert_eq!(ends[20], 20);
        assert_eq!([9, 10, 13, 14, 20].map(|written| messages_in(bytes, written)), [0, 1, 1, 2, 3]);
    }

    #[test]
    fn a_message_ends_behind_its_last_line() {
        let bytes = b"one\n\tmore\ntwo\nthree\n";
        assert_eq!(
            [0, 3, 4, 9, 10, 14, 20].map(|start| message_end(bytes, start)),
            [10, 10, 10, 10, 14, 20, 20]
        );
    }
}
