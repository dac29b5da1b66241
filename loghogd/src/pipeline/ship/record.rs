//! Reads a message of a log file back. Pure.
//! The bytes of one message, its facility -> a record: time, host, level, body, fields.
//! Invariant: every message gives a record, whatever is in it; the same file gives the same times.
//! Leaves out: finding messages (`split`); how a target wants to have it.
//!
//! Both forms are read whatever the facility says now: a file may be older than its
//! configuration. What is neither, such as a line from elsewhere, is all body.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::config::facility::Facility;
use crate::pipeline::rotate::name::{Began, JSON_HEAD};

/// Up to here a clock that was set back is waited for, in nanoseconds: until it has
/// caught up, messages get times one after another. One that goes back further was wrong
/// before, and times begin anew.
const SET_BACK_NS_MAX: i64 = 86_400_000_000_000;

/// A local time that came twice, in autumn, is the second one if the first would lie so
/// far behind the message before, in nanoseconds.
const TURNED_BACK_NS: i64 = 600_000_000_000;

/// Length of the stamp up to its minutes, in bytes: `2026-11-20 12:00`.
const MINUTE_BYTES: usize = 16;

/// One message, as it was sent and received. What nobody said is none.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// When it was received, and the same made unique.
    pub times: Times,
    /// The application.
    pub app: &'a str,
    /// The name of the facility's module; `root` for the root facility.
    pub module: &'a str,
    /// The host that it came from; empty when it has no name.
    pub host: Cow<'a, str>,
    /// The name of the logger: only lines of JSON have it.
    pub logger: Option<Cow<'a, str>>,
    /// In Python's numbers: 10 debug, 20 info, 30 warning, 40 error, 50 critical. From
    /// a line of text when its body begins with the name of one.
    pub level: Option<u8>,
    /// The sender's time (RFC 3339), from lines of JSON.
    pub sent: Option<Cow<'a, str>>,
    /// The thread.
    pub thread: Option<Cow<'a, str>>,
    /// The process.
    pub process: Option<u64>,
    /// The message; the lines of a longer one are parted by line feeds.
    pub body: Cow<'a, str>,
    /// The exception's text, from lines of JSON.
    pub exception: Option<Cow<'a, str>>,
    /// The free fields: an object in JSON.
    pub fields: Option<&'a RawValue>,
    /// All of it as it stands in the file, without the last line feed.
    pub line: &'a [u8],
}

/// When a message was received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// In nanoseconds since 1970, to the microsecond.
    pub received_ns: i64,
    /// The same, later than that of the message before in its stream, so that no two
    /// are equal. Reading the file again gives the same.
    pub unique_ns: i64,
}

/// Tells the time of one message after another.
#[derive(Clone, Debug)]
pub struct Reader {
    zone: TimeZone,
    /// The unique time of the message before.
    last_ns: i64,
    /// A minute as lines show it, and when it began.
    minute: ([u8; MINUTE_BYTES], i64),
}

impl Reader {
    /// Behind a message with the unique time `last_ns`
    /// ([`Mark::last_ns`](super::Mark::last_ns)). Lines of text are stamped in `zone`.
    pub fn new(zone: TimeZone, last_ns: i64) -> Reader {
        Reader { zone, last_ns, minute: ([0; MINUTE_BYTES], 0) }
    }

    /// The unique time of the last message.
    pub fn last_ns(&self) -> i64 {
        self.last_ns
    }

    /// When the next message was received.
    pub fn times(&mut self, message: &[u8]) -> Times {
        let received_ns = match message.strip_prefix(JSON_HEAD) {
            Some(stamp) => instant_ns(stamp),
            None => self.local_ns(message),
        };
        // A line from elsewhere has no time of its own.
        let received_ns = received_ns.unwrap_or(self.last_ns);
        let follows = received_ns > self.last_ns.saturating_sub(SET_BACK_NS_MAX);
        let unique_ns =
            if follows { received_ns.max(self.last_ns.saturating_add(1)) } else { received_ns };
        self.last_ns = unique_ns;
        Times { received_ns, unique_ns }
    }

    /// The time at the head of a line of text.
    fn local_ns(&mut self, line: &[u8]) -> Option<i64> {
        let (minute, rest) = line.split_first_chunk::<MINUTE_BYTES>()?;
        let below_minute = |rest: &[u8]| match rest {
            [b':', a, b, b'.', micros @ ..] => {
                let seconds = two(*a, *b)?;
                let micros = micros.first_chunk::<6>()?;
                let micros = micros.iter().try_fold(0, |sum, byte| {
                    byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'))
                })?;
                Some(seconds * 1_000_000_000 + micros * 1_000)
            }
            _ => None,
        };
        if *minute == self.minute.0
            && let Some(below) = below_minute(rest)
        {
            return Some(self.minute.1 + below);
        }
        let local = Began::from_stamp(line)?.to_datetime();
        let at = self.instant(local)?;
        let nanos = i64::try_from(at.as_nanosecond()).ok()?;
        if let Some(below) = below_minute(rest) {
            self.minute = (*minute, nanos - below);
        }
        Some(nanos)
    }

    fn instant(&self, local: DateTime) -> Option<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(local);
        let earlier = ambiguous.earlier().ok()?;
        let turned_back = i128::from(self.last_ns.saturating_sub(TURNED_BACK_NS));
        if ambiguous.is_ambiguous() && earlier.as_nanosecond() < turned_back {
            return ambiguous.later().ok();
        }
        Some(earlier)
    }
}

fn two(tens: u8, ones: u8) -> Option<i64> {
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

/// `2026-11-20T12:00:00.123456+01:00` before a quotation mark.
fn instant_ns(stamp: &[u8]) -> Option<i64> {
    let end = stamp.iter().position(|&byte| byte == b'"')?;
    let text = std::str::from_utf8(stamp.get(..end)?).ok()?;
    i64::try_from(text.parse::<Timestamp>().ok()?.as_nanosecond()).ok()
}

/// A line of JSON, as `persist::json` writes it.
#[derive(Deserialize)]
struct Json<'a> {
    #[serde(borrow)]
    host: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    logger: Option<Cow<'a, str>>,
    level: Option<u8>,
    #[serde(borrow)]
    sent: Option<Cow<'a, str>>,
    #[serde(borrow)]
    thread: Option<Cow<'a, str>>,
    process: Option<u64>,
    #[serde(borrow)]
    exception: Option<Cow<'a, str>>,
    #[serde(borrow)]
    fields: Option<&'a RawValue>,
}

impl<'a> Record<'a> {
    /// Reads one message, its last line feed included or not.
    pub fn read(message: &'a [u8], facility: &'a Facility, times: Times) -> Record<'a> {
        let line = message.strip_suffix(b"\n").unwrap_or(message);
        let mut record = Record {
            times,
            app: &facility.app,
            module: &facility.module,
            host: Cow::Borrowed(""),
            logger: None,
            level: None,
            sent: None,
            thread: None,
            process: None,
            body: Cow::Borrowed(""),
            exception: None,
            fields: None,
            line,
        };
        match line.starts_with(JSON_HEAD).then(|| serde_json::from_slice::<Json<'a>>(line)) {
            Some(Ok(json)) => record.take(json),
            _ => record.take_text(line),
        }
        record
    }

    /// The name of its level: one of Python's, or the one that Rust has below them.
    pub fn level_name(&self) -> Option<&'static str> {
        Some(match self.level? {
            5 => "TRACE",
            10 => "DEBUG",
            20 => "INFO",
            30 => "WARNING",
            40 => "ERROR",
            50 => "CRITICAL",
            _ => return None,
        })
    }

    fn take(&mut self, json: Json<'a>) {
        self.host = json.host;
        self.body = json.message;
        self.logger = json.logger.filter(|logger| !logger.is_empty());
        self.level = json.level;
        self.sent = json.sent;
        self.thread = json.thread;
        self.process = json.process;
        self.exception = json.exception;
        self.fields = json.fields;
    }

    fn take_text(&mut self, line: &'a [u8]) {
        let (host, body) = host_and_body(line).unwrap_or((b"-", line));
        if host != b"-" {
            self.host = String::from_utf8_lossy(host);
        }
        self.body = match String::from_utf8_lossy(body) {
            Cow::Borrowed(body) if !body.contains("\n\t") => Cow::Borrowed(body),
            body => Cow::Owned(body.replace("\n\t", "\n")),
        };
        self.level = level_of(&self.body);
    }
}

/// The host of a message, found without reading all of it: the beginning of its first
/// line is enough. None where [`Record::host`] would be empty.
pub fn host_of(line: &[u8]) -> Option<Cow<'_, str>> {
    if line.starts_with(JSON_HEAD) {
        return host_in_json(line).filter(|host| !host.is_empty());
    }
    let (host, _) = host_and_body(line)?;
    (!host.is_empty() && host != b"-").then(|| String::from_utf8_lossy(host))
}

/// In the order in which `persist::json` writes: `received`, `sent`, `host`.
fn host_in_json(line: &[u8]) -> Option<Cow<'_, str>> {
    let behind_string = |text: &'_ [u8]| memchr::memchr(b'"', text).map(|end| end + 1);
    let rest = line.strip_prefix(JSON_HEAD)?;
    let rest = rest.get(behind_string(rest)?..)?.strip_prefix(b",\"sent\":")?;
    let rest = match rest.strip_prefix(b"\"") {
        Some(sent) => sent.get(behind_string(sent)?..)?,
        None => rest.strip_prefix(b"null")?,
    };
    let host = rest.strip_prefix(b",\"host\":")?;
    let text = host.strip_prefix(b"\"")?;
    let (plain, behind) = text.split_at_checked(memchr::memchr2(b'"', b'\\', text)?)?;
    if behind.starts_with(b"\"") {
        return std::str::from_utf8(plain).ok().map(Cow::Borrowed);
    }
    let mut values = serde_json::Deserializer::from_slice(host).into_iter::<String>();
    values.next()?.ok().map(Cow::Owned)
}

/// What stands behind the stamp of a line of text: `STAMP - HOST - BODY`.
fn host_and_body(line: &[u8]) -> Option<(&[u8], &[u8])> {
    Began::from_stamp(line)?;
    // The stamp has no " - "; the original's is shorter when the fraction is zero.
    let (_, rest) = cut(line)?;
    cut(rest)
}

/// What stands before and behind the first " - ".
fn cut(text: &[u8]) -> Option<(&[u8], &[u8])> {
    // Blanks are few before it: a searcher would take longer to make than to use.
    let is_here = |at: &usize| text.get(*at..).is_some_and(|rest| rest.starts_with(b" - "));
    let at = memchr::memchr_iter(b' ', text).find(is_here)?;
    Some((text.get(..at)?, text.get(at + 3..)?))
}

/// The level that a body begins with, as `logging`'s formats and Rust's loggers write it:
/// `ERROR - ...`, `[warning] ...`, `INFO: ...`, `DEBUG name ...`.
fn level_of(body: &str) -> Option<u8> {
    let text = body.trim_start().trim_start_matches(['[', '<']);
    let end = text.find(|shown: char| !shown.is_ascii_alphabetic()).unwrap_or(text.len());
    let (word, behind) = text.split_at_checked(end)?;
    // `Error in line 7` is a sentence.
    let marked = behind.starts_with([']', '>', ':', '|']) || behind.trim_start().starts_with('-');
    let upper = word.bytes().all(|byte| byte.is_ascii_uppercase());
    let one_case = upper || (marked && word.bytes().all(|byte| byte.is_ascii_lowercase()));
    if !one_case || !(marked || behind.is_empty() || behind.starts_with([' ', '\t'])) {
        return None;
    }
    Some(match word.to_ascii_uppercase().as_str() {
        "TRACE" => 5,
        "DEBUG" => 10,
        "INFO" | "NOTICE" => 20,
        "WARNING" | "WARN" => 30,
        "ERROR" | "ERR" => 40,
        "CRITICAL" | "FATAL" | "CRIT" | "ALERT" | "EMERG" => 50,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;
    use crate::config::read_facilities;
    use crate::pipeline::persist::entry::Entry;
    use crate::pipeline::persist::line::write_line;
    use proptest::prelude::*;
    use std::path::Path;
    use std::sync::Arc;

    fn facility() -> Arc<Facility> {
        let text = b"[my-app]\nrotate = daily\nbackup_count = 3\n[my-app:web]\nrotate = daily\nbackup_count = 3\n";
        let table = read_facilities(text, Path::new("facilities.conf")).unwrap();
        Arc::clone(table.find("my-app", "web").unwrap())
    }

    fn paris() -> TimeZone {
        TimeZone::get("Europe/Paris").unwrap()
    }

    fn ns(text: &str) -> i64 {
        i64::try_from(text.parse::<Timestamp>().unwrap().as_nanosecond()).unwrap()
    }

    #[test]
    fn a_line_of_text_is_read_back() {
        let line = b"2026-11-20 12:00:00.123456 - web01 - ERROR - boom\n\tTraceback:\n\t  x\n";
        let times = Reader::new(paris(), 0).times(line);
        assert_eq!(times.received_ns, ns("2026-11-20T12:00:00.123456+01"));
        let facility = facility();
        let record = Record::read(line, &facility, times);
        assert_eq!((record.app, record.module, &*record.host), ("my-app", "web", "web01"));
        assert_eq!(record.body, "ERROR - boom\nTraceback:\n  x");
        assert_eq!(record.level, Some(40));
        assert_eq!(record.line, &line[..line.len() - 1]);
    }

    #[test]
    fn a_line_of_json_is_read_back() {
        let line = br#"{"received":"2026-11-20T12:00:00.123456+01:00","sent":"2026-11-20T11:00:00.123400000Z","host":"web01","app":"my-app","logger":"web.x","level":30,"level_name":"WARNING","thread":"MainThread","process":4711,"message":"a\nb","exception":"Traceback","fields":{"user":7}}"#;
        let times = Reader::new(TimeZone::UTC, 0).times(line);
        assert_eq!(times.received_ns, ns("2026-11-20T12:00:00.123456+01"));
        let facility = facility();
        let record = Record::read(line, &facility, times);
        assert_eq!((&*record.host, &*record.body), ("web01", "a\nb"));
        assert_eq!(record.logger.as_deref(), Some("web.x"));
        assert_eq!((record.level, record.process), (Some(30), Some(4711)));
        assert_eq!(record.thread.as_deref(), Some("MainThread"));
        assert_eq!(record.exception.as_deref(), Some("Traceback"));
        assert_eq!(record.fields.map(RawValue::get), Some(r#"{"user":7}"#));
    }

    #[test]
    fn a_thousand_messages_of_one_instant_get_a_thousand_times() {
        let line = b"2026-11-20 12:00:00.123456 - h - x\n";
        let mut reader = Reader::new(TimeZone::UTC, 0);
        let mut resumed = Reader::new(TimeZone::UTC, 0);
        for place in 0..1_500 {
            let times = reader.times(line);
            assert_eq!(times.received_ns, ns("2026-11-20T12:00:00.123456Z"));
            assert_eq!(times.unique_ns, times.received_ns + place);
            assert_eq!(resumed.times(line), times);
            resumed = Reader::new(TimeZone::UTC, resumed.last_ns());
        }
        let next = reader.times(b"2026-11-20 12:00:00.123457 - h - x\n");
        assert_eq!(next.unique_ns, next.received_ns + 500);
    }

    #[test]
    fn the_hour_that_comes_twice_is_told_by_what_came_before() {
        let mut reader = Reader::new(paris(), 0);
        let mut at = |line: &str| reader.times(line.as_bytes()).received_ns;
        assert_eq!(at("2026-10-25 02:30:00.000000 - h - x"), ns("2026-10-25T02:30:00+02"));
        assert_eq!(at("2026-10-25 02:59:59.000000 - h - x"), ns("2026-10-25T02:59:59+02"));
        assert_eq!(at("2026-10-25 02:00:00.000000 - h - x"), ns("2026-10-25T02:00:00+01"));
        assert_eq!(at("2026-10-25 02:30:00.000000 - h - x"), ns("2026-10-25T02:30:00+01"));
        assert_eq!(at("2026-10-25 03:00:00.000000 - h - x"), ns("2026-10-25T03:00:00+01"));
    }

    #[test]
    fn a_clock_that_was_years_ahead_does_not_hold_times_up() {
        let mut reader = Reader::new(TimeZone::UTC, 0);
        reader.times(b"2036-11-20 12:00:00.000000 - h - x\n");
        let times = reader.times(b"2026-11-20 12:00:00.000000 - h - x\n");
        assert_eq!(times.unique_ns, times.received_ns);
        let back = reader.times(b"2026-11-20 11:00:00.000000 - h - x\n");
        assert_eq!(back.unique_ns, times.unique_ns + 1);
    }

    #[test]
    fn levels_are_known_where_formats_put_them() {
        for (body, level) in [
            ("INFO - started", Some(20)),
            ("[ERROR] x", Some(40)),
            ("WARNING: x", Some(30)),
            ("DEBUG my.module x", Some(10)),
            ("[warn] x", Some(30)),
            ("CRITICAL", Some(50)),
            ("Error in line 7", None),
            ("error in line 7", None),
            ("INFORMATION", None),
            ("", None),
        ] {
            assert_eq!(level_of(body), level, "{body}");
        }
    }

    #[test]
    fn what_is_not_ours_is_all_body() {
        let facility = facility();
        let mut reader = Reader::new(TimeZone::UTC, 7);
        for line in [&b"hello\n"[..], b"{\"received\":\"x", b"\xff\xfe - - \n", b""] {
            let times = reader.times(line);
            let record = Record::read(line, &facility, times);
            assert_eq!(record.host, "");
            assert_eq!(
                record.body,
                String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line))
            );
        }
        assert_eq!(reader.last_ns(), 11);
    }

    proptest! {
        #[test]
        fn whatever_is_written_as_text_is_read_back(host in "[a-z.0-9]{1,20}", body in "(?s)[^\\\\\u{80}-\u{9f}\\p{Cc}]{0,40}(\n[^\\p{Cc}\\\\]{1,20})?") {
            let stamp = Stamp::new("2026-11-20T12:00:00.123456Z".parse().unwrap(), &TimeZone::UTC);
            let record = wire::v1::Record { app_id: "my-app", module: "web", hostname: &host, body: &body, stamp: 0, nsecs: 0, signature: None };
            let mut line = Vec::new();
            write_line(&stamp, &Entry::from(&record), &mut line);
            let facility = facility();
            let times = Reader::new(TimeZone::UTC, 0).times(&line);
            let read = Record::read(&line, &facility, times);
            prop_assert_eq!(read.host, host);
            prop_assert_eq!(&*read.body, body.trim_end_matches(['\n', '\r']));
        }

        #[test]
        fn any_bytes_give_a_record(bytes: Vec<u8>, json: bool) {
            let mut line = if json { JSON_HEAD.to_vec() } else { b"2026-11-20 12:00:0".to_vec() };
            line.extend(bytes);
            let facility = facility();
            let times = Reader::new(TimeZone::UTC, 0).times(&line);
            Record::read(&line, &facility, times);
        }
    }
}
