//! Writes a record as a line of JSON, as readers of Kafka and of archives get it. Pure.
//! A record -> an object with all that is known of it.
//! Invariant: what was not said is left out; the object has no line feed.
//! Leaves out: what follows on it; other forms (`s3::recode`, `influxdb::line`).
//!
//! ```text
//! {"time":"2026-11-20T11:00:00.123456Z","sent":"2026-11-20T11:00:00.123400000Z",
//!  "host":"web01","app":"my-app","module":"web","logger":"web.login","level":40,
//!  "level_name":"ERROR","thread":"MainThread","process":4711,"body":"boom",
//!  "exception":"Traceback ...","fields":{"user":7}}
//! ```
//!
//! `time` is when loghogd received it, to the microsecond, in UTC; `sent` is the
//! sender's own.

use std::io::Write as _;

use jiff::Timestamp;

use super::record::Record;

/// Writes records; the second that was last written is remembered.
#[derive(Debug)]
pub(super) struct Writer {
    second: i64,
    /// `2026-11-20T11:00:00`
    shown: String,
}

impl Writer {
    pub(super) fn new() -> Writer {
        Writer { second: i64::MIN, shown: String::new() }
    }

    /// Appends a record.
    pub(super) fn write(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        self.time(record.times.received_ns, out);
        text(",\"sent\":", record.sent.as_deref(), out);
        text(",\"host\":", Some(&*record.host).filter(|host| !host.is_empty()), out);
        text(",\"app\":", Some(record.app), out);
        text(",\"module\":", Some(record.module), out);
        text(",\"logger\":", record.logger.as_deref(), out);
        number(",\"level\":", record.level.map(u64::from), out);
        text(",\"level_name\":", record.level_name(), out);
        text(",\"thread\":", record.thread.as_deref(), out);
        number(",\"process\":", record.process, out);
        text(",\"body\":", Some(&*record.body), out);
        text(",\"exception\":", record.exception.as_deref(), out);
        if let Some(fields) = record.fields {
            out.extend_from_slice(b",\"fields\":");
            out.extend_from_slice(fields.get().as_bytes());
        }
        out.push(b'}');
    }

    fn time(&mut self, nanos: i64, out: &mut Vec<u8>) {
        let (second, below) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
        if second != self.second || self.shown.is_empty() {
            let shown = Timestamp::from_second(second).unwrap_or_default().to_string();
            self.shown = shown.trim_end_matches('Z').to_owned();
            self.second = second;
        }
        out.extend_from_slice(b"{\"time\":\"");
        out.extend_from_slice(self.shown.as_bytes());
        let mut rest = below / 1_000;
        let mut digits = *b".000000Z\"";
        for digit in digits.iter_mut().skip(1).take(6).rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
        }
        out.extend_from_slice(&digits);
    }
}

fn text(name: &str, value: Option<&str>, out: &mut Vec<u8>) {
    let Some(value) = value else { return };
    out.extend_from_slice(name.as_bytes());
    // A vector takes everything.
    let _ = serde_json::to_writer(out, value);
}

fn number(name: &str, value: Option<u64>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        let _ = write!(out, "{name}{value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read_facilities;
    use crate::pipeline::ship::{RecordReader, Splitter};
    use jiff::tz::TimeZone;
    use std::path::Path;

    fn written(lines: &[u8]) -> Vec<String> {
        let text = b"[my-app]\nrotate = daily\nbackup_count = 3\n";
        let table = read_facilities(text, Path::new("facilities.conf")).unwrap();
        let facility = table.find("my-app", "").unwrap();
        let mut reader = RecordReader::new(TimeZone::UTC, 0);
        let mut writer = Writer::new();
        Splitter::new(lines, true)
            .map(|message| {
                let bytes = &lines[message.begin..message.end];
                let record = Record::read(bytes, facility, reader.times(bytes));
                let mut out = Vec::new();
                writer.write(&record, &mut out);
                String::from_utf8(out).unwrap()
            })
            .collect()
    }

    #[test]
    fn a_line_of_text_becomes_an_object_of_what_is_known() {
        let lines = b"2026-11-20 12:00:00.000456 - web01 - ERROR - \"boom\"\n\tTraceback\n\
                      2026-11-20 12:00:00.999999 - - - quiet\n\
                      2026-11-20 12:00:01.000000 - - - next\n";
        assert_eq!(
            written(lines),
            [
                r#"{"time":"2026-11-20T12:00:00.000456Z","host":"web01","app":"my-app","module":"root","level":40,"level_name":"ERROR","body":"ERROR - \"boom\"\nTraceback"}"#,
                r#"{"time":"2026-11-20T12:00:00.999999Z","app":"my-app","module":"root","body":"quiet"}"#,
                r#"{"time":"2026-11-20T12:00:01.000000Z","app":"my-app","module":"root","body":"next"}"#,
            ]
        );
    }

    #[test]
    fn a_line_of_json_becomes_an_object_with_all_of_it() {
        let line = br#"{"received":"2026-11-20T12:00:00.123456+01:00","sent":"2026-11-20T11:00:00.123400000Z","host":"web01","app":"my-app","logger":"web.x","level":30,"level_name":"WARNING","thread":"MainThread","process":4711,"message":"a\nb","exception":"Traceback","fields":{"user":7,"x":[1.5]}}"#;
        assert_eq!(
            written(line),
            [
                r#"{"time":"2026-11-20T11:00:00.123456Z","sent":"2026-11-20T11:00:00.123400000Z","host":"web01","app":"my-app","module":"root","logger":"web.x","level":30,"level_name":"WARNING","thread":"MainThread","process":4711,"body":"a\nb","exception":"Traceback","fields":{"user":7,"x":[1.5]}}"#
            ]
        );
    }

    #[test]
    fn whatever_a_line_holds_the_value_is_json_on_one_line() {
        for value in written(b"\xff\x00\n\"}{\n2026-11-20 12:00:00.1 - h\n\n") {
            let read: serde_json::Value = serde_json::from_str(&value).unwrap();
            assert_eq!(read["app"], "my-app");
            assert!(!value.contains('\n'), "{value}");
        }
    }
}
