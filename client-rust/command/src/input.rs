//! Makes messages of what another program writes.
//! Bytes as they come -> whole messages, as text.
//! Invariant: every byte of input is in one message, but line ends and what is no UTF-8.
//! Leaves out: reading and waiting (`pump`).

use crate::limits::MESSAGE_BYTES_MAX;

/// Bytes that are no message yet.
#[derive(Debug, Default)]
pub(crate) struct Input {
    is_multiline: bool,
    skips_empty: bool,
    /// The line that has no end yet.
    line: Vec<u8>,
    /// The message that may be continued; only with `is_multiline`.
    held: Option<Vec<u8>>,
    /// The line is the rest of one that was cut.
    is_rest: bool,
    cut: u64,
}

impl Input {
    pub(crate) fn new(is_multiline: bool, skips_empty: bool) -> Input {
        Input { is_multiline, skips_empty, ..Input::default() }
    }

    /// Takes the next bytes; appends the messages that are whole now.
    pub(crate) fn push(&mut self, mut bytes: &[u8], messages: &mut Vec<String>) {
        while !bytes.is_empty() {
            let room = MESSAGE_BYTES_MAX.saturating_sub(self.line.len());
            let end = bytes.iter().position(|byte| *byte == b'\n');
            match end {
                Some(end) if end <= room => {
                    self.line.extend_from_slice(bytes.get(..end).unwrap_or_default());
                    bytes = bytes.get(end + 1..).unwrap_or_default();
                    // An end right behind a cut ends no other line.
                    if !(self.is_rest && self.line.is_empty()) {
                        self.end_line(messages);
                    }
                    self.is_rest = false;
                }
                None if bytes.len() <= room => {
                    self.line.extend_from_slice(bytes);
                    return;
                }
                _ => {
                    let (taken, rest) = bytes.split_at(room.min(bytes.len()));
                    self.line.extend_from_slice(taken);
                    bytes = rest;
                    self.cut_line(messages);
                }
            }
        }
    }

    /// The message that was held for lines that go on with it.
    pub(crate) fn release(&mut self, messages: &mut Vec<String>) {
        messages.extend(self.held.take().map(text));
    }

    /// No more comes: a line needs no end then.
    pub(crate) fn finish(&mut self, messages: &mut Vec<String>) {
        if !self.line.is_empty() {
            self.end_line(messages);
        }
        self.release(messages);
    }

    /// Whether a message waits for lines that go on with it.
    pub(crate) fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Cuts that were made.
    pub(crate) fn cut(&self) -> u64 {
        self.cut
    }

    fn end_line(&mut self, messages: &mut Vec<String>) {
        let line = std::mem::take(&mut self.line);
        if self.skips_empty && line.is_empty() {
            return;
        }
        if !self.is_multiline {
            return messages.push(text(line));
        }
        let continues = matches!(line.first(), Some(b' ' | b'\t'));
        match &mut self.held {
            Some(held) if continues && held.len() + 1 + line.len() <= MESSAGE_BYTES_MAX => {
                held.push(b'\n');
                held.extend_from_slice(&line);
            }
            _ => {
                self.cut += u64::from(continues && self.held.is_some());
                self.release(messages);
                self.held = Some(line);
            }
        }
    }

    /// Ends the line that is as long as a message may be, between characters.
    fn cut_line(&mut self, messages: &mut Vec<String>) {
        let rest = self.line.split_off(whole_characters(&self.line));
        self.cut += 1;
        self.end_line(messages);
        self.line = rest;
        self.is_rest = true;
    }
}

/// Up to where there are whole characters. What is no UTF-8 has none to keep.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
        _ => bytes.len(),
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(is_multiline: bool, pieces: &[&[u8]]) -> Vec<String> {
        let (mut input, mut messages) = (Input::new(is_multiline, false), Vec::new());
        pieces.iter().for_each(|piece| input.push(piece, &mut messages));
        input.finish(&mut messages);
        messages
    }

    #[test]
    fn a_line_is_a_message_however_it_comes() {
        assert_eq!(messages(false, &[b"a\n", b"\n", b"b", b"c\nd"]), ["a", "", "bc", "d"]);
        assert!(messages(false, &[]).is_empty());
    }

    #[test]
    fn empty_lines_can_be_passed_over() {
        for (is_multiline, expected) in [(false, vec!["a", " b", "c"]), (true, vec!["a\n b", "c"])]
        {
            let (mut input, mut messages) = (Input::new(is_multiline, true), Vec::new());
            input.push(b"\na\n\n b\n\nc", &mut messages);
            input.finish(&mut messages);
            assert_eq!(messages, expected);
        }
    }

    #[test]
    fn what_is_no_utf_8_is_replaced() {
        assert_eq!(messages(false, &[b"a\xffb\n"]), ["a\u{fffd}b"]);
    }

    #[test]
    fn a_line_as_long_as_allowed_is_not_cut_and_a_longer_one_is() {
        for extra in [0, 1, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX + 1] {
            let line = "x".repeat(MESSAGE_BYTES_MAX + extra);
            let got = messages(false, &[line.as_bytes(), b"\n", b"y\n"]);
            assert_eq!(got.len(), 2 + extra.div_ceil(MESSAGE_BYTES_MAX));
            assert_eq!(got.concat(), line + "y");
        }
    }

    #[test]
    fn a_cut_goes_between_characters() {
        let line = "x".to_owned() + &"ä".repeat(MESSAGE_BYTES_MAX);
        for size in [1, 1000, READ] {
            let pieces: Vec<&[u8]> = line.as_bytes().chunks(size).collect();
            let got = messages(false, &pieces);
            assert!(got.len() == 3 && got.iter().all(|text| text.len() <= MESSAGE_BYTES_MAX));
            assert_eq!(got.concat(), line);
        }
    }
    const READ: usize = crate::limits::READ_BYTES;

    #[test]
    fn lines_that_begin_with_white_space_go_on_with_the_message_before() {
        let got = messages(true, &[b" a\n b\nc\n\td\n", b"e"]);
        assert_eq!(got, [" a\n b", "c\n\td", "e"]);
    }

    #[test]
    fn what_grows_too_long_goes_on_as_another_message() {
        let half = " ".to_owned() + &"x".repeat(MESSAGE_BYTES_MAX / 2);
        let text = format!("{half}\n{half}\n{half}\n");
        assert_eq!(messages(true, &[text.as_bytes()]).len(), 3);
    }

    #[test]
    fn a_message_that_may_go_on_can_be_had_before() {
        let (mut input, mut messages) = (Input::new(true, false), Vec::new());
        input.push(b"a\n", &mut messages);
        assert!(messages.is_empty() && input.is_holding());
        input.release(&mut messages);
        assert!(messages == ["a"] && !input.is_holding());
    }
}
