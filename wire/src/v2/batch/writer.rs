//! Appends records to the payload of a batch.
//! A `Record` -> its bytes behind the others, or `PushError`.
//! Invariant: a record that was not taken leaves no trace; the payload never passes its limit.
//! Leaves out: when a batch is full enough to be sent.

use super::interner::{Found, Interner};
use super::{Field, Record, Value, is_json_line, types};
use crate::v2::codec::{
    INTEGER_BYTES_MAX, integer_bytes, put_integer, put_signed, put_string, zigzag,
};
use crate::v2::limits::{
    BATCH_RECORDS_MAX, FIELDS_MAX, INTERNED_BYTES_MAX, JSON_BYTES_MAX, NUMBER_MAX,
    REPEATED_BYTES_MAX,
};

/// Room in front of the records: first number, count and base time are known
/// last and are written right before the first record.
const HEADER_BYTES_MAX: usize = 3 * INTEGER_BYTES_MAX;

/// Why a record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// It does not fit behind the others; it may into the next batch.
    #[error("the batch is full; send it and push the record into the next one")]
    Full,
    /// It does not fit into any batch.
    #[error("the record takes more than the {bytes_max} bytes of a batch; shorten its body")]
    NeverFits {
        /// Longest payload.
        bytes_max: usize,
    },
    /// Too many fields.
    #[error("{fields} fields, {FIELDS_MAX} are allowed in a record")]
    TooManyFields {
        /// How many it has.
        fields: usize,
    },
    /// A JSON value is too long.
    #[error("a json value has {bytes} bytes, {JSON_BYTES_MAX} are allowed")]
    JsonTooLong {
        /// Its size.
        bytes: usize,
    },
    /// Not one JSON value in one line.
    #[error("a json value is not one json text without control characters")]
    NotJson,
    /// The exception begins outside of the body or inside of a character.
    #[error("the exception cannot begin at byte {at} of the body")]
    ExceptionAt {
        /// The byte.
        at: usize,
    },
    /// Numbers begin at 1 and end at [`NUMBER_MAX`].
    #[error("no message has the number {number}")]
    Number {
        /// The number that the record would have.
        number: u64,
    },
}

/// A batch that is being filled, and filled again: its buffers stay.
#[derive(Debug)]
pub struct BatchWriter {
    /// `HEADER_BYTES_MAX` of room, then the records.
    buffer: Vec<u8>,
    interner: Interner,
    payload_bytes_max: usize,
    records_max: u32,
    first_number: u64,
    so_far: SoFar,
}

/// What a record that is not taken must not change.
#[derive(Clone, Copy, Debug, Default)]
struct SoFar {
    records: u32,
    base_time_ns: i64,
    last_time_ns: i64,
    repeated_bytes: usize,
}

impl BatchWriter {
    /// A writer of payloads of at most `payload_bytes_max` bytes and
    /// `records_max` records, as the server's CHALLENGE says; never more than
    /// [`BATCH_RECORDS_MAX`].
    pub fn new(payload_bytes_max: u32, records_max: u32) -> BatchWriter {
        BatchWriter {
            buffer: vec![0; HEADER_BYTES_MAX],
            interner: Interner::new(),
            payload_bytes_max: usize::try_from(payload_bytes_max).unwrap_or(usize::MAX),
            records_max: records_max.clamp(1, BATCH_RECORDS_MAX),
            first_number: 1,
            so_far: SoFar::default(),
        }
    }

    /// Begins an empty batch whose first record gets `first_number`.
    pub fn start(&mut self, first_number: u64) {
        self.buffer.truncate(HEADER_BYTES_MAX);
        self.interner.truncate(0);
        self.first_number = first_number;
        self.so_far = SoFar::default();
    }

    /// Appends `record`, which gets the next number.
    ///
    /// # Errors
    /// The batch is as it was before.
    pub fn push(&mut self, record: &Record<'_>) -> Result<(), PushError> {
        let number = self.next_number();
        if number == 0 || number > NUMBER_MAX {
            return Err(PushError::Number { number });
        }
        let bytes_least = check(record)?;
        if bytes_least > self.payload_bytes_max {
            return Err(PushError::NeverFits { bytes_max: self.payload_bytes_max });
        }
        // No memory is taken for what cannot fit.
        let full = self.so_far.records >= self.records_max
            || self.buffer.len() + bytes_least > self.payload_bytes_max + HEADER_BYTES_MAX;
        if full && !self.is_empty() {
            return Err(PushError::Full);
        }
        let (bytes, strings, before) = (self.buffer.len(), self.interner.len(), self.so_far);
        self.append(record);
        if self.payload_bytes() <= self.payload_bytes_max
            && self.so_far.repeated_bytes <= REPEATED_BYTES_MAX
        {
            return Ok(());
        }
        self.buffer.truncate(bytes);
        self.interner.truncate(strings);
        self.so_far = before;
        if self.is_empty() {
            return Err(PushError::NeverFits { bytes_max: self.payload_bytes_max });
        }
        Err(PushError::Full)
    }

    /// How many records are in the batch.
    pub fn records(&self) -> u32 {
        self.so_far.records
    }

    /// Is nothing in it?
    pub fn is_empty(&self) -> bool {
        self.so_far.records == 0
    }

    /// Number of the first record.
    pub fn first_number(&self) -> u64 {
        self.first_number
    }

    /// The number that the next record will get.
    pub fn next_number(&self) -> u64 {
        self.first_number.saturating_add(u64::from(self.so_far.records))
    }

    /// How long the payload is so far, in bytes.
    pub fn payload_bytes(&self) -> usize {
        let [first, records, base] = self.header();
        let header = integer_bytes(first) + integer_bytes(records) + integer_bytes(base);
        self.buffer.len() - HEADER_BYTES_MAX + header
    }

    /// The payload, to be compressed and sealed. Means nothing while the batch
    /// is empty.
    pub fn payload(&mut self) -> &[u8] {
        let mut header = Vec::with_capacity(HEADER_BYTES_MAX);
        for value in self.header() {
            put_integer(&mut header, value);
        }
        let start = HEADER_BYTES_MAX.saturating_sub(header.len());
        if let Some(room) = self.buffer.get_mut(start..HEADER_BYTES_MAX) {
            room.copy_from_slice(&header);
        }
        self.buffer.get(start..).unwrap_or(&[])
    }

    fn header(&self) -> [u64; 3] {
        [self.first_number, u64::from(self.so_far.records), zigzag(self.so_far.base_time_ns)]
    }

    fn append(&mut self, record: &Record<'_>) {
        if self.is_empty() {
            self.so_far.base_time_ns = record.time_ns;
            self.so_far.last_time_ns = record.time_ns;
        }
        self.buffer.push(record.level);
        put_signed(&mut self.buffer, record.time_ns.wrapping_sub(self.so_far.last_time_ns));
        self.intern(record.logger);
        self.intern(record.thread);
        put_integer(&mut self.buffer, u64::from(record.process_id));
        put_string(&mut self.buffer, record.body);
        put_integer(&mut self.buffer, record.exception_at.map_or(0, |at| at as u64 + 1));
        put_integer(&mut self.buffer, record.fields.len() as u64);
        for field in record.fields {
            self.append_field(field);
        }
        self.so_far.last_time_ns = record.time_ns;
        self.so_far.records += 1;
    }

    fn append_field(&mut self, field: &Field<'_>) {
        self.intern(field.key);
        let out = &mut self.buffer;
        match field.value {
            Value::Null => out.push(types::NULL),
            Value::Bool(false) => out.push(types::FALSE),
            Value::Bool(true) => out.push(types::TRUE),
            Value::Int(value) => {
                out.push(types::INT);
                put_signed(out, value);
            }
            Value::Float(value) => {
                out.push(types::FLOAT);
                out.extend_from_slice(&value.to_le_bytes());
            }
            Value::Text(text) => {
                out.push(types::TEXT);
                put_string(out, text);
            }
            Value::Json(text) => {
                out.push(types::JSON);
                put_string(out, text);
            }
        }
    }

    fn intern(&mut self, string: &str) {
        match self.interner.find(string, &self.buffer) {
            Found::Index(index) => {
                self.so_far.repeated_bytes += string.len();
                put_integer(&mut self.buffer, u64::from(index));
            }
            Found::New(place) => {
                self.buffer.push(0);
                put_string(&mut self.buffer, string);
                let end = self.buffer.len();
                self.interner.add(end - string.len()..end, place);
            }
        }
    }
}

/// Would the reader take it? Then how many bytes it has at least: those of all
/// strings that have no index.
fn check(record: &Record<'_>) -> Result<usize, PushError> {
    if let Some(at) = record.exception_at
        && !record.body.is_char_boundary(at)
    {
        return Err(PushError::ExceptionAt { at });
    }
    if record.fields.len() > FIELDS_MAX {
        return Err(PushError::TooManyFields { fields: record.fields.len() });
    }
    let mut bytes = record.body.len() + bytes_of_long(record.logger) + bytes_of_long(record.thread);
    for field in record.fields {
        bytes = bytes.saturating_add(bytes_of_long(field.key)).saturating_add(check_value(field)?);
    }
    Ok(bytes)
}

fn bytes_of_long(string: &str) -> usize {
    if string.len() > INTERNED_BYTES_MAX { string.len() } else { 0 }
}

fn check_value(field: &Field<'_>) -> Result<usize, PushError> {
    match field.value {
        Value::Text(text) => Ok(text.len()),
        Value::Json(text) if text.len() > JSON_BYTES_MAX => {
            Err(PushError::JsonTooLong { bytes: text.len() })
        }
        Value::Json(text) if !is_json_line(text) => Err(PushError::NotJson),
        Value::Json(text) => Ok(text.len()),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => Ok(0),
    }
}
