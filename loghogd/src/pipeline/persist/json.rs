//! How a message looks as a line of JSON (RFC 8259). Pure.
//! A stamp and an `Entry` -> one line, which is one object.
//! Invariant: a line is JSON whatever was sent, free of control characters, and no longer than `LINE_BYTES_MAX`.
//! Leaves out: which file, and when.
//!
//! ```text
//! {"received":"2026-11-20T12:00:00.123456+01:00","sent":"2026-11-20T11:00:00.123400000Z",
//!  "host":"web01","app":"my-app","logger":"web","level":40,"level_name":"ERROR",
//!  "thread":"MainThread","process":4711,"message":"boom","exception":"Traceback ...",
//!  "fields":{"user":7},"cut":true}
//! ```
//!
//! (on one line). `received` is always first: files are named by it. `sent` is
//! null when it is no time of the years 0 to 9999. What was not said is left
//! out, from `level` on. Where a line would exceed [`LINE_BYTES_MAX`], which
//! takes a message made to do so, strings end early, fields are left out, and
//! it is `cut`.

mod check;

use std::io::Write as _;

use jiff::Timestamp;
use jiff::tz::Offset;

use self::check::is_json;
use super::entry::{Entry, Fields, Value};
use crate::clock::Stamp;
use crate::limits::LINE_BYTES_MAX;
use crate::pipeline::rotate::name::JSON_HEAD;

/// What a line takes beside strings and fields, in bytes: names, numbers and
/// times.
const FRAME_BYTES: usize = 1024;

/// What a field takes beside its strings, in bytes: the longest is a number
/// such as -2.2250738585072014e-308.
const FIELD_BYTES: usize = 32;

/// A control character of one byte becomes six: `\u001b`.
const ESCAPE_FACTOR: usize = 6;

/// A string longer than this is measured before it is written, in bytes.
const LONG_BYTES: usize = 64 << 10;

const _: () = assert!(FRAME_BYTES < LINE_BYTES_MAX);

/// Appends one message to `out`. Its line ends with a line feed.
pub fn write_json<'a, F: Fields<'a>>(received: &Stamp, entry: &Entry<'a, F>, out: &mut Vec<u8>) {
    let mut line = Line::begin(out);
    line.received(received);
    line.sent(entry.sent_ns);
    line.member(b",\"host\":", entry.host);
    line.member(b",\"app\":", entry.app);
    line.member(b",\"logger\":", entry.logger);
    if let Some(level) = entry.level {
        line.raw(b",\"level\":");
        line.number(level);
        if let Some(name) = level_name(level) {
            line.member(b",\"level_name\":", name);
        }
    }
    if let Some(thread) = entry.thread {
        line.member(b",\"thread\":", thread);
    }
    if let Some(process) = entry.process {
        line.raw(b",\"process\":");
        line.number(process);
    }
    let (message, exception) = entry.message_and_exception();
    line.member(b",\"message\":", message);
    if let Some(exception) = exception {
        line.member(b",\"exception\":", exception);
    }
    line.fields(entry.fields.clone());
    line.end();
}

/// The names of the levels that Python has names for.
fn level_name(level: u8) -> Option<&'static str> {
    match level {
        10 => Some("DEBUG"),
        20 => Some("INFO"),
        30 => Some("WARNING"),
        40 => Some("ERROR"),
        50 => Some("CRITICAL"),
        _ => None,
    }
}

/// A line that is being written.
struct Line<'o> {
    out: &'o mut Vec<u8>,
    /// Where strings and fields have to end.
    end: usize,
    cut: bool,
}

impl<'o> Line<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Line<'o> {
        let end = out.len() + LINE_BYTES_MAX - FRAME_BYTES;
        Line { out, end, cut: false }
    }

    fn end(self) {
        let end: &[u8] = if self.cut { b",\"cut\":true}\n" } else { b"}\n" };
        self.out.extend_from_slice(end);
    }

    fn received(&mut self, stamp: &Stamp) {
        let (date, time) = stamp.as_bytes().split_at(b"2026-11-20".len());
        self.raw(JSON_HEAD);
        self.raw(date);
        self.raw(b"T");
        self.raw(time.get(1..).unwrap_or_default());
        self.raw(stamp.offset_bytes());
        self.raw(b"\"");
    }

    fn sent(&mut self, since_1970_ns: i128) {
        self.raw(b",\"sent\":");
        let sent = Timestamp::from_nanosecond(since_1970_ns).ok();
        let sent = sent.map(|sent| Offset::UTC.to_datetime(sent)).filter(|sent| sent.year() >= 0);
        let Some(sent) = sent else { return self.raw(b"null") };
        self.digits::<4>(b"\"", sent.year().into());
        self.digits::<2>(b"-", sent.month().into());
        self.digits::<2>(b"-", sent.day().into());
        self.digits::<2>(b"T", sent.hour().into());
        self.digits::<2>(b":", sent.minute().into());
        self.digits::<2>(b":", sent.second().into());
        self.digits::<9>(b".", sent.subsec_nanosecond());
        self.raw(b"Z\"");
    }

    /// Appends `value` with so many digits, behind `before`.
    fn digits<const WIDTH: usize>(&mut self, before: &[u8], value: i32) {
        self.raw(before);
        let mut digits = [b'0'; WIDTH];
        let mut rest = value.unsigned_abs();
        for digit in digits.iter_mut().rev() {
            *digit += u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        self.raw(&digits);
    }

    fn fields<'a>(&mut self, fields: impl Fields<'a>) {
        let mut before: &[u8] = b",\"fields\":{";
        for (key, value) in fields {
            if self.room() < ESCAPE_FACTOR * key.len() + FIELD_BYTES {
                self.cut = true;
                continue;
            }
            self.raw(before);
            self.string(key);
            self.raw(b":");
            self.value(value);
            before = b",";
        }
        if before == b"," {
            self.raw(b"}");
        }
    }

    fn value(&mut self, value: Value<'_>) {
        match value {
            Value::Null => self.raw(b"null"),
            Value::Bool(true) => self.raw(b"true"),
            Value::Bool(false) => self.raw(b"false"),
            Value::Int(number) => self.number(number),
            Value::Float(number) => self.float(number),
            Value::Text(text) => self.string(text),
            Value::Json(text) => self.json(text),
        }
    }

    fn number(&mut self, number: impl std::fmt::Display) {
        // A Vec takes everything.
        let _ = write!(self.out, "{number}");
    }

    /// The shortest digits that are read as the same number; `{:?}` has an
    /// exponent where it has to. JSON has no other numbers than finite ones.
    fn float(&mut self, number: f64) {
        if number.is_finite() {
            let _ = write!(self.out, "{number:?}");
        } else if number.is_nan() {
            self.string("NaN");
        } else {
            self.string(if number > 0.0 { "Infinity" } else { "-Infinity" });
        }
    }

    /// JSON text as it is but for white space, which has no meaning between
    /// its tokens and of which strings have none but blanks. What is not JSON
    /// is text.
    fn json(&mut self, text: &str) {
        if ESCAPE_FACTOR * text.len() > self.room() || !is_json(text) {
            return self.string(text);
        }
        let escape = |special, out: &mut Vec<u8>| match special {
            '"' => out.push(b'"'),
            '\\' => out.push(b'\\'),
            '\0'..' ' => {}
            _ => write_escape(special, out),
        };
        write_escaped(text, escape, self.out);
    }

    fn member(&mut self, name: &[u8], text: &str) {
        self.raw(name);
        self.string(text);
    }

    fn string(&mut self, text: &str) {
        let fitting = self.fitting(text);
        self.out.push(b'"');
        if is_plain(fitting) {
            self.out.extend_from_slice(fitting.as_bytes());
        } else {
            if fitting.len() > LONG_BYTES {
                // Grown step by step, a long string would take twice its room.
                self.out.reserve_exact(fitting.chars().map(escaped_bytes).sum::<usize>() + 1);
            }
            write_escaped(fitting, write_escape, self.out);
        }
        self.out.push(b'"');
    }

    /// As much of `text` as there is room for.
    fn fitting<'t>(&mut self, text: &'t str) -> &'t str {
        let mut room = self.room();
        if ESCAPE_FACTOR * text.len() <= room {
            return text;
        }
        let too_long = |shown: char| match room.checked_sub(escaped_bytes(shown)) {
            Some(left) => {
                room = left;
                false
            }
            None => true,
        };
        let Some(end) = text.find(too_long) else { return text };
        self.cut = true;
        text.get(..end).unwrap_or_default()
    }

    /// Room for strings and fields, in bytes.
    fn room(&self) -> usize {
        self.end.saturating_sub(self.out.len())
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
}

/// Appends `text`; what is special in it goes through `escape`.
fn write_escaped(text: &str, escape: impl Fn(char, &mut Vec<u8>), out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(place) = rest.bytes().position(is_special) {
        let (plain, special) = rest.split_at(place);
        out.extend_from_slice(plain.as_bytes());
        let Some(first) = special.chars().next() else { return };
        escape(first, out);
        rest = special.get(first.len_utf8()..).unwrap_or_default();
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Control characters lie below U+00A0 (Unicode's category Cc): two of the
/// four digits do. JSON asks for escapes below U+0020 only; terminals obey the
/// others, too.
fn write_escape(special: char, out: &mut Vec<u8>) {
    let short = match special {
        '"' => b'"',
        '\\' => b'\\',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        control if control.is_control() => {
            let digit =
                |nibble: u32| char::from_digit(nibble, 16).map_or(b'?', |digit| digit as u8);
            let code = u32::from(control);
            out.extend_from_slice(b"\\u00");
            return out.extend_from_slice(&[digit(code >> 4 & 15), digit(code & 15)]);
        }
        letter => return out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// How many bytes a character takes in a string.
fn escaped_bytes(shown: char) -> usize {
    match shown {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        control if control.is_control() => ESCAPE_FACTOR,
        letter => letter.len_utf8(),
    }
}

/// Does the text stand in a string as it is? Without branches, so that the
/// compiler looks at many bytes at a time.
fn is_plain(text: &str) -> bool {
    !text.bytes().fold(false, |special, byte| special | is_special(byte))
}

/// Has it to be escaped, or perhaps so? 0xC2 begins the control characters
/// from U+0080 on, and some letters.
fn is_special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte == 0x7f) | (byte == 0xc2)
}

#[cfg(test)]
mod tests;
