//! A message as it is about to be written, in whatever protocol it came.
//! What was sent -> the parts that a line may show.
//! Invariant: everything is borrowed, so that making one costs nothing.
//! Leaves out: how it looks (`line`, `json`), and which file it goes to (`path`).

use std::iter::Empty;

use wire::v1;

/// One message. What a v1 client cannot say is unsaid.
#[derive(Clone, Debug)]
pub struct Entry<'a, F = NoFields<'a>> {
    /// The sender's host.
    pub host: &'a str,
    /// The application.
    pub app: &'a str,
    /// The logger as it was sent, dotted; the root logger is empty.
    pub logger: &'a str,
    /// The message, an exception's text included.
    pub body: &'a str,
    /// The sender's time, in nanoseconds since 1970.
    pub sent_ns: i128,
    /// How important it is, in Python's numbers: 10 (DEBUG) to 50 (CRITICAL).
    pub level: Option<u8>,
    /// The name of the sender's thread.
    pub thread: Option<&'a str>,
    /// The id of the sender's process.
    pub process: Option<u64>,
    /// Where in `body` the text of an exception begins, in bytes.
    pub exception_at: Option<usize>,
    /// What else the sender said.
    pub fields: F,
}

/// Fields in the order in which they were sent; asked for again and again.
pub trait Fields<'a>: Iterator<Item = (&'a str, Value<'a>)> + Clone {}

impl<'a, F: Iterator<Item = (&'a str, Value<'a>)> + Clone> Fields<'a> for F {}

/// The fields of a message that can have none.
pub type NoFields<'a> = Empty<(&'a str, Value<'a>)>;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number, or none.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// JSON text, or what the sender takes for it.
    Json(&'a str),
}

impl<'a, F> Entry<'a, F> {
    /// The body without the exception at its end, and the exception. A place
    /// that is not in the body, or within a character, is none.
    pub fn message_and_exception(&self) -> (&'a str, Option<&'a str>) {
        match self.exception_at.and_then(|at| self.body.split_at_checked(at)) {
            Some((message, exception)) => {
                (message.strip_suffix('\n').unwrap_or(message), Some(exception))
            }
            None => (self.body, None),
        }
    }
}

impl<'a> From<&v1::Record<'a>> for Entry<'a> {
    fn from(record: &v1::Record<'a>) -> Entry<'a> {
        Entry {
            host: record.hostname,
            app: record.app_id,
            logger: record.module,
            body: record.body,
            sent_ns: i128::from(record.stamp) * 1_000_000_000 + i128::from(record.nsecs),
            level: None,
            thread: None,
            process: None,
            exception_at: None,
            fields: std::iter::empty(),
        }
    }
}
