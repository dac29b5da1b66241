//! Writes records as points of InfluxDB's line protocol. Pure.
//! A record and where it came from -> one line, and a further one for each further measurement.
//! Invariant: a record gives the same lines each time, and no two records give one point.
//! Leaves out: how many lines go at once (`sheet`); who takes them (`server`).
//!
//! ```text
//! MEASUREMENT,app=A,file=F,host=H,level=L,module=M body="text",logger="text",exception="text",FIELD=1.5 NANOSECONDS
//! ```
//!
//! (`https://docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference/`)
//!
//! A measurement, its tags and a time are one point: what is written again with the
//! same ones replaces it. A time is unique within its stream, and `app`, `module` and
//! `file` say which stream that is, so nothing else is ever replaced. `file` is left
//! out for the one file that bears the module's name.
//!
//! Names and tags have no escape for a backslash, and a line cannot have a line feed
//! outside of a text; control characters, backslashes and `%` become `%` and two hex
//! digits there, so that what is different stays different.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

use memchr::{memchr2, memchr3};
use regex::Regex;
use serde::Deserialize;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::limits::FIELDS_MAX;
use crate::config::ship::influxdb::{InfluxDb, OWN_TAGS, pattern};
use crate::config::value::Refused;
use crate::pipeline::ship::{Record, Template, Values};

/// Errors and worse, in Python's numbers.
const LEVEL_ERROR: u8 = 40;

/// The end of a live file's name.
const LIVE_SUFFIX: &str = ".log";

/// Fields that points get from their messages, beside free ones.
const OWN_FIELDS: [&str; 3] = ["body", "logger", "exception"];

/// What stands before the name of a free field that is taken.
const TAKEN_PREFIX: &[u8] = b"field_";

/// How records become lines.
#[derive(Debug)]
pub(super) struct Shape {
    measurement: Template,
    errors_measurement: Option<Template>,
    matches: Vec<(Box<str>, Regex)>,
    /// In the order of their names, as InfluxDB likes to have them.
    tags: Vec<Tag>,
    /// Names of tags that are configured.
    taken: Vec<Box<str>>,
    multiline: bool,
    /// The measurement at hand.
    name: String,
    /// All of those of the record at hand, escaped.
    names: Vec<Vec<u8>>,
}

/// A tag, in its place.
#[derive(Debug)]
enum Tag {
    App,
    File,
    Host,
    Level,
    Module,
    /// Name and value, escaped.
    Fixed(Vec<u8>),
}

impl Shape {
    /// As configured.
    ///
    /// # Errors
    /// A pattern that is none.
    pub(super) fn new(options: &InfluxDb) -> Result<Shape, Refused> {
        let read = |(name, text): (&str, &str)| Ok((name.into(), pattern(text)?));
        let matches = options.matches.iter().map(|of| (&*of.measurement, &*of.pattern)).map(read);
        let [app, file, host, level, module] = OWN_TAGS;
        let mut tags = vec![
            (app, Tag::App),
            (file, Tag::File),
            (host, Tag::Host),
            (level, Tag::Level),
            (module, Tag::Module),
        ];
        for (name, value) in &options.tags {
            let mut pair = Vec::new();
            pair.push(b',');
            write_key(name, &mut pair);
            pair.push(b'=');
            write_key(value, &mut pair);
            tags.push((name, Tag::Fixed(pair)));
        }
        tags.sort_by_key(|(name, _)| *name);
        Ok(Shape {
            measurement: options.measurement.clone(),
            errors_measurement: options.errors_measurement.clone(),
            matches: matches.collect::<Result<_, _>>()?,
            tags: tags.into_iter().map(|(_, tag)| tag).collect(),
            taken: options.tags.iter().map(|(name, _)| name.clone()).collect(),
            multiline: options.multiline,
            name: String::new(),
            names: Vec::new(),
        })
    }

    /// Most points that one record becomes.
    pub(super) fn points_max(&self) -> usize {
        1 + usize::from(self.errors_measurement.is_some()) + self.matches.len()
    }

    /// Appends the lines of a record of the stream whose live file is `live`, and says
    /// how many they are.
    pub(super) fn write(&mut self, record: &Record<'_>, live: &str, out: &mut Vec<u8>) -> usize {
        self.names.clear();
        let places = Places(record);
        Self::fill(&self.measurement, &places, &mut self.name, &mut self.names);
        if record.level.is_some_and(|level| level >= LEVEL_ERROR)
            && let Some(template) = &self.errors_measurement
        {
            Self::fill(template, &places, &mut self.name, &mut self.names);
        }
        for (name, pattern) in &self.matches {
            if pattern.is_match(&record.body) {
                Self::name(name, &mut self.names);
            }
        }
        let mut names = self.names.iter();
        let Some(first) = names.next() else { return 0 };
        out.extend_from_slice(first);
        let rest = out.len();
        self.rest(record, live, out);
        let end = out.len();
        for name in names {
            out.extend_from_slice(name);
            out.extend_from_within(rest..end);
        }
        self.names.len()
    }

    fn fill(template: &Template, places: &Places<'_>, name: &mut String, names: &mut Vec<Vec<u8>>) {
        name.clear();
        template.fill(places, name);
        Self::name(name, names);
    }

    /// Notes a measurement, unless it is there.
    fn name(name: &str, names: &mut Vec<Vec<u8>>) {
        let mut escaped = Vec::with_capacity(name.len() + 8);
        write_measurement(name, &mut escaped);
        if !names.contains(&escaped) {
            names.push(escaped);
        }
    }

    /// What stands behind the measurement.
    fn rest(&self, record: &Record<'_>, live: &str, out: &mut Vec<u8>) {
        for tag in &self.tags {
            match tag {
                Tag::App => write_tag(b",app=", record.app, out),
                Tag::Module => write_tag(b",module=", record.module, out),
                Tag::Host => write_tag(b",host=", &record.host, out),
                Tag::Level => match (record.level_name(), record.level) {
                    (Some(name), _) => write_tag(b",level=", name, out),
                    (None, Some(level)) => write_number(b",level=", level, out),
                    (None, None) => {}
                },
                Tag::File => {
                    let stem = live.strip_suffix(LIVE_SUFFIX).unwrap_or(live);
                    if stem != record.module {
                        write_tag(b",file=", stem, out);
                    }
                }
                Tag::Fixed(pair) => out.extend_from_slice(pair),
            }
        }
        self.write_text(b" body=\"", &record.body, out);
        if let Some(logger) = &record.logger {
            self.write_text(b",logger=\"", logger, out);
        }
        if let Some(exception) = &record.exception {
            self.write_text(b",exception=\"", exception, out);
        }
        if let Some(fields) = record.fields {
            let numbers = Numbers { shape: self, names: Vec::new(), out: &mut *out };
            // It was JSON when it was written; what is not has no fields.
            let _ = serde_json::Deserializer::from_str(fields.get()).deserialize_map(numbers);
        }
        write_number(b" ", record.times.unique_ns, out);
        out.push(b'\n');
    }

    fn write_text(&self, before: &[u8], text: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(before);
        let mut rest = text.as_bytes();
        let next = |rest: &[u8]| match self.multiline {
            true => memchr2(b'"', b'\\', rest),
            false => memchr3(b'"', b'\\', b'\n', rest),
        };
        while let Some(at) = next(rest) {
            let (plain, special) = rest.split_at(at);
            out.extend_from_slice(plain);
            match special.split_first() {
                Some((b'\n', behind)) => {
                    out.extend_from_slice(b"\\\\n");
                    rest = behind;
                }
                Some((&byte, behind)) => {
                    out.extend_from_slice(&[b'\\', byte]);
                    rest = behind;
                }
                None => rest = special,
            }
        }
        out.extend_from_slice(rest);
        out.push(b'"');
    }

    /// A name that a tag or another field has.
    fn is_taken(&self, name: &str) -> bool {
        OWN_FIELDS.contains(&name)
            || OWN_TAGS.contains(&name)
            || name == "time"
            || name.starts_with('_')
            || self.taken.iter().any(|taken| **taken == *name)
    }
}

/// What measurements are made of.
struct Places<'r>(&'r Record<'r>);

impl Values for Places<'_> {
    fn put(&self, name: &str, out: &mut String) -> bool {
        out.push_str(match name {
            "app" => self.0.app,
            "module" => self.0.module,
            // As lines of text show one that has no name.
            "host" if self.0.host.is_empty() => "-",
            "host" => &self.0.host,
            _ => return false,
        });
        true
    }
}

/// Reads free fields, and writes those that are numbers.
struct Numbers<'s, 'o> {
    shape: &'s Shape,
    /// Those that were written.
    names: Vec<Vec<u8>>,
    out: &'o mut Vec<u8>,
}

/// The name of a free field; most have no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for Numbers<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &RawValue>()? {
            let Some(number) = number(value.get()) else { continue };
            if name.is_empty() || self.names.len() >= FIELDS_MAX {
                continue;
            }
            let mut escaped = Vec::with_capacity(name.len() + 8);
            if self.shape.is_taken(&name) {
                escaped.extend_from_slice(TAKEN_PREFIX);
            }
            write_key(&name, &mut escaped);
            // Twice in one point would be refused by some, and mean either to others.
            if self.names.contains(&escaped) {
                continue;
            }
            self.out.push(b',');
            self.out.extend_from_slice(&escaped);
            // The shortest digits that are read as the same number. All are floats:
            // a field that was 7 once and 7.5 later would be refused otherwise.
            let _ = write!(self.out, "={number:?}");
            self.names.push(escaped);
        }
        Ok(())
    }
}

/// A value in JSON, if it is a number, or one in effect.
fn number(json: &str) -> Option<f64> {
    match json.as_bytes().first()? {
        b'-' | b'0'..=b'9' => json.parse().ok().filter(|number: &f64| number.is_finite()),
        b't' => Some(1.0),
        b'f' => Some(0.0),
        _ => None,
    }
}

fn write_number(before: &[u8], number: impl fmt::Display, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    // A Vec takes everything.
    let _ = write!(out, "{number}");
}

/// No tag may be empty.
fn write_tag(before: &[u8], value: &str, out: &mut Vec<u8>) {
    if !value.is_empty() {
        out.extend_from_slice(before);
        write_key(value, out);
    }
}

/// The name or the value of a tag, or the name of a field.
fn write_key(text: &str, out: &mut Vec<u8>) {
    for &byte in text.as_bytes() {
        match byte {
            b',' | b' ' | b'=' => out.extend_from_slice(&[b'\\', byte]),
            _ => write_plain(byte, out),
        }
    }
}

fn write_measurement(text: &str, out: &mut Vec<u8>) {
    if text.is_empty() {
        // A template of the user's own making; a line has to have one.
        out.push(b'-');
    }
    for (place, &byte) in text.as_bytes().iter().enumerate() {
        match byte {
            b',' | b' ' => out.extend_from_slice(&[b'\\', byte]),
            // A line that begins with it is a comment.
            b'#' if place == 0 => out.extend_from_slice(b"%23"),
            _ => write_plain(byte, out),
        }
    }
}

fn write_plain(byte: u8, out: &mut Vec<u8>) {
    if byte.is_ascii_control() || matches!(byte, b'\\' | b'%') {
        let _ = write!(out, "%{byte:02X}");
    } else {
        out.push(byte);
    }
}

#[cfg(test)]
mod tests;
