//! How a message looks in its file. Pure.
//! A stamp and an `Entry` -> one line with its host and body, and continuation lines that begin with a tab.
//! Invariant: nothing in a message can look like the start of another one.
//! Leaves out: which file, and when.
//!
//! ```text
//! 2026-11-20 12:00:00.123456 - HOST - BODY
//! <tab>the second line of BODY
//! ```
//!
//! Control characters, other than tabs in the body and the line breaks that
//! part its lines, appear as `\x1b`. Line breaks at the body's end are dropped.

use super::entry::Entry;
use crate::clock::Stamp;

/// What stands for a host that has no name.
const NO_HOST: &str = "-";

/// A body longer than this is measured before it is written, in bytes.
const LONG_BYTES: usize = 64 << 10;

/// Appends the lines of one message to `out`. They end with a line feed.
pub fn write_line<F>(stamp: &Stamp, entry: &Entry<'_, F>, out: &mut Vec<u8>) {
    out.extend_from_slice(stamp.as_bytes());
    out.extend_from_slice(b" - ");
    let host = if entry.host.is_empty() { NO_HOST } else { entry.host };
    match is_plain(host) && !host.contains('\t') {
        true => out.extend_from_slice(host.as_bytes()),
        false => write_escaped(host, write_escape, out),
    }
    out.extend_from_slice(b" - ");
    write_body(entry.body, out);
    out.push(b'\n');
}

fn write_body(body: &str, out: &mut Vec<u8>) {
    if is_plain(body) {
        out.extend_from_slice(body.as_bytes());
        return;
    }
    if body.len() > LONG_BYTES {
        // Grown step by step, a long body would take twice its room.
        out.reserve_exact(body.len() + 3 * body.bytes().filter(|&byte| is_special(byte)).count());
    }
    let lines = body.trim_end_matches(['\n', '\r']).split('\n');
    for (place, line) in lines.enumerate() {
        if place > 0 {
            out.extend_from_slice(b"\n\t");
        }
        let line = line.strip_suffix('\r').unwrap_or(line);
        let tab_stays = |control, out: &mut Vec<u8>| match control {
            '\t' => out.push(b'\t'),
            _ => write_escape(control, out),
        };
        write_escaped(line, tab_stays, out);
    }
}

/// Appends `text`; its control characters go through `escape`.
fn write_escaped(text: &str, escape: impl Fn(char, &mut Vec<u8>), out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((place, control)) = rest.char_indices().find(|(_, shown)| shown.is_control()) {
        let (plain, special) = rest.split_at(place);
        out.extend_from_slice(plain.as_bytes());
        escape(control, out);
        rest = special.get(control.len_utf8()..).unwrap_or("");
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Control characters lie below U+00A0 (Unicode's category Cc): two digits do.
fn write_escape(control: char, out: &mut Vec<u8>) {
    let digit = |nibble: u32| char::from_digit(nibble, 16).map_or(b'?', |digit| digit as u8);
    let code = u32::from(control);
    out.extend_from_slice(&[b'\\', b'x', digit(code >> 4 & 15), digit(code & 15)]);
}

/// Does the text stand in the file as it is? Without branches, so that the
/// compiler looks at many bytes at a time.
fn is_plain(text: &str) -> bool {
    !text.bytes().fold(false, |special, byte| special | is_special(byte))
}

/// Is it a control character, or perhaps the beginning of one? 0xC2 begins
/// those from U+0080 on, and some letters.
fn is_special(byte: u8) -> bool {
    ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7f) | (byte == 0xc2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::STAMP_BYTES;
    use crate::limits::LINE_BYTES_MAX;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;
    use wire::v1::Record;

    fn stamp() -> Stamp {
        Stamp::new("2026-11-20T12:00:00.123456Z".parse().unwrap(), &TimeZone::UTC)
    }

    fn line(host: &str, body: &str) -> String {
        let mut out = Vec::new();
        let (app_id, module, signature) = ("a", "", None);
        let record = Record { app_id, module, hostname: host, body, stamp: 0, nsecs: 0, signature };
        write_line(&stamp(), &Entry::from(&record), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_shows_stamp_host_and_body() {
        assert_eq!(
            line("web01", "INFO - é\t€"),
            "2026-11-20 12:00:00.123456 - web01 - INFO - é\t€\n"
        );
    }

    #[test]
    fn a_traceback_stays_readable_and_one_message() {
        let shown = line("h", "boom\nTraceback:\r\n  File \"x\"\n\nKeyError\n\n");
        assert!(
            shown.ends_with(" - h - boom\n\tTraceback:\n\t  File \"x\"\n\t\n\tKeyError\n"),
            "{shown:?}"
        );
    }

    #[test]
    fn control_characters_are_shown_in_hex() {
        let shown = line("a\n\tb", "\u{1b}[31m \0 \u{7f} \u{85} \r x");
        assert!(
            shown.contains(" - a\\x0a\\x09b - \\x1b[31m \\x00 \\x7f \\x85 \\x0d x"),
            "{shown:?}"
        );
    }

    #[test]
    fn a_nameless_host_is_a_dash() {
        assert!(line("", "x").ends_with(" - - - x\n"));
    }

    proptest! {
        #[test]
        fn only_the_first_line_of_a_message_can_look_like_one(host in ".*", body in "(?s).*") {
            let shown = line(&host, &body);
            prop_assert!(shown.ends_with('\n'));
            for continuation in shown.trim_end_matches('\n').split('\n').skip(1) {
                prop_assert!(continuation.starts_with('\t'));
            }
            prop_assert!(shown.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
            prop_assert!(shown.len() <= LINE_BYTES_MAX.min(STAMP_BYTES + 7 + 4 * (host.len().max(1) + body.len())));
        }
    }
}
