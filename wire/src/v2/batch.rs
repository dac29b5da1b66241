//! Records, many in one payload.
//! `Record`s -> the payload of a BATCH; and back, one borrowed record after another.
//! Invariant: what [`BatchWriter`] takes, [`BatchReader`] gives back, number by number.
//! Leaves out: compression (`compress`), the frame around it (`seal`).
//!
//! ```text
//! first number | records | base time | each record:
//!   level 1 | time - the previous one's | logger | thread | process id | body
//!   | exception at | fields | each field: key | type 1 | value
//! ```
//!
//! Logger, thread and keys are interned: `0 | string` is a new string of this
//! batch, `k` its k-th new one. Long ones and those beyond the first
//! `INTERNED_MAX` have no index.

mod interner;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::{BatchError, BatchReader};
pub use writer::{BatchWriter, PushError};

/// One log message with all that is known of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Record<'a> {
    /// When it was made: nanoseconds since 1970.
    pub time_ns: i64,
    /// How bad it is, as Python counts: 10 debug, 20 info, 30 warning, 40
    /// error, 50 critical; 0: unsaid.
    pub level: u8,
    /// The logger's name, dotted; may be empty.
    pub logger: &'a str,
    /// The thread's name; empty: unsaid.
    pub thread: &'a str,
    /// The process; 0: unsaid.
    pub process_id: u32,
    /// The formatted message, with the exception's text in it.
    pub body: &'a str,
    /// The byte of `body` with which the exception's text begins.
    pub exception_at: Option<usize>,
    /// Whatever else is known.
    pub fields: &'a [Field<'a>],
}

/// One thing that is known of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Field<'a> {
    /// Its name.
    pub key: &'a str,
    /// What it is.
    pub value: Value<'a>,
}

/// The value of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Value<'a> {
    /// Nothing.
    #[default]
    Null,
    /// Yes or no.
    Bool(bool),
    /// An integer. What does not fit is sent as `Json`.
    Int(i64),
    /// A floating point number, NaN and infinities among them.
    Float(f64),
    /// A string.
    Text(&'a str),
    /// One JSON value (RFC 8259), usually an array or an object, without
    /// control characters, so that it fits into a line.
    Json(&'a str),
}

/// The numbers that say what type a value has.
mod types {
    pub(super) const NULL: u8 = 0;
    pub(super) const FALSE: u8 = 1;
    pub(super) const TRUE: u8 = 2;
    pub(super) const INT: u8 = 3;
    pub(super) const FLOAT: u8 = 4;
    pub(super) const TEXT: u8 = 5;
    pub(super) const JSON: u8 = 6;
}

/// Is `text` one JSON value that fits into a line?
fn is_json_line(text: &str) -> bool {
    text.bytes().all(|byte| byte >= b' ') && crate::json::is_value(text)
}
