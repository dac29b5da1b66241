//! Takes the payload of a batch apart.
//! Bytes -> one numbered `Record` after another, borrowed from them.
//! Invariant: memory is taken for the strings that are there, never for what is announced.
//! Leaves out: whether the numbers go on where the batch before ended.

use super::{Field, Record, Value, is_json_line, types};
use crate::v2::codec::{CodecError, Cursor};
use crate::v2::limits::{
    BATCH_RECORDS_MAX, FIELDS_MAX, INTERNED_BYTES_MAX, INTERNED_MAX, JSON_BYTES_MAX, NUMBER_MAX,
    REPEATED_BYTES_MAX,
};

/// Why a payload is no batch. The connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The payload is malformed.
    #[error("malformed: {0}")]
    Codec(#[from] CodecError),
    /// A batch without a record.
    #[error("a batch without a record")]
    Empty,
    /// More records than allowed.
    #[error("a batch of {records} records, {records_max} are allowed")]
    TooManyRecords {
        /// Announced.
        records: u64,
        /// Allowed.
        records_max: u32,
    },
    /// Numbers begin at 1 and end at [`NUMBER_MAX`].
    #[error("{records} messages cannot be numbered from {first} on")]
    Numbers {
        /// Number of the first record.
        first: u64,
        /// How many there are.
        records: u64,
    },
    /// A string that this batch did not have yet.
    #[error("string {index} of the batch is used, it has {strings} so far")]
    UnknownString {
        /// Its index.
        index: u64,
        /// How many there are.
        strings: usize,
    },
    /// Its indices stand for too many bytes.
    #[error("the indices of the batch stand for more than {REPEATED_BYTES_MAX} bytes")]
    TooMuchRepeated,
    /// A process id of more than 32 bits.
    #[error("process id {process_id} has more than 32 bits")]
    ProcessId {
        /// The number.
        process_id: u64,
    },
    /// The exception begins outside of the body or inside of a character.
    #[error("the exception cannot begin at byte {at} of the body")]
    ExceptionAt {
        /// The byte.
        at: u64,
    },
    /// Too many fields.
    #[error("a record of {fields} fields, {FIELDS_MAX} are allowed")]
    TooManyFields {
        /// Announced.
        fields: u64,
    },
    /// A value of a type that this side does not know.
    #[error("a value of the unknown type {number}; the sender may be newer than this program")]
    UnknownValue {
        /// The type.
        number: u8,
    },
    /// Not one JSON value in one line.
    #[error("a json value is not one json text without control characters")]
    NotJson,
}

/// The records of a batch, one after another.
#[derive(Debug)]
pub struct BatchReader<'a> {
    cursor: Cursor<'a>,
    next_number: u64,
    records_left: u32,
    last_time_ns: i64,
    strings: Vec<&'a str>,
    repeated_bytes: usize,
    fields: Vec<Field<'a>>,
}

impl<'a> BatchReader<'a> {
    /// Reads what stands before the records. `payload` is inflated already.
    ///
    /// # Errors
    /// `Codec`, `Empty`, `TooManyRecords`, `Numbers`.
    pub fn new(payload: &'a [u8], records_max: u32) -> Result<BatchReader<'a>, BatchError> {
        let mut cursor = Cursor::new(payload);
        let (first, records) = (cursor.integer()?, cursor.integer()?);
        let base_time_ns = cursor.signed()?;
        let records_max = records_max.min(BATCH_RECORDS_MAX);
        let records_left = match u32::try_from(records) {
            Ok(0) => return Err(BatchError::Empty),
            Ok(count) if count <= records_max => count,
            _ => return Err(BatchError::TooManyRecords { records, records_max }),
        };
        if first == 0 || first > NUMBER_MAX || records - 1 > NUMBER_MAX - first {
            return Err(BatchError::Numbers { first, records });
        }
        Ok(BatchReader {
            cursor,
            next_number: first,
            records_left,
            last_time_ns: base_time_ns,
            strings: Vec::new(),
            repeated_bytes: 0,
            fields: Vec::new(),
        })
    }

    /// The number of the record that comes next; behind the last record, the
    /// one that the next batch has to begin with.
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// How many records are still to come.
    pub fn records_left(&self) -> u32 {
        self.records_left
    }

    /// The next record and its number; `None` behind the last one.
    ///
    /// # Errors
    /// The batch is no good from here on.
    pub fn next_record(&mut self) -> Result<Option<(u64, Record<'_>)>, BatchError> {
        if self.records_left == 0 {
            self.cursor.end()?;
            return Ok(None);
        }
        let level = self.cursor.byte()?;
        let time_ns = self.last_time_ns.wrapping_add(self.cursor.signed()?);
        let logger = self.interned()?;
        let thread = self.interned()?;
        let process_id = self.cursor.integer()?;
        let process_id =
            u32::try_from(process_id).map_err(|_| BatchError::ProcessId { process_id })?;
        let body = self.cursor.string(usize::MAX)?;
        let exception_at = exception_at(self.cursor.integer()?, body)?;
        self.read_fields()?;
        let number = self.next_number;
        self.next_number += 1;
        self.records_left -= 1;
        self.last_time_ns = time_ns;
        let fields = &self.fields;
        let record =
            Record { time_ns, level, logger, thread, process_id, body, exception_at, fields };
        Ok(Some((number, record)))
    }

    fn read_fields(&mut self) -> Result<(), BatchError> {
        self.fields.clear();
        let fields = self.cursor.integer()?;
        if fields > FIELDS_MAX as u64 {
            return Err(BatchError::TooManyFields { fields });
        }
        for _ in 0..fields {
            let field = Field { key: self.interned()?, value: self.value()? };
            self.fields.push(field);
        }
        Ok(())
    }

    #[inline]
    fn interned(&mut self) -> Result<&'a str, BatchError> {
        let index = self.cursor.integer()?;
        if index == 0 {
            return self.new_string();
        }
        let strings = self.strings.len();
        let string = usize::try_from(index - 1)
            .ok()
            .and_then(|place| self.strings.get(place))
            .ok_or(BatchError::UnknownString { index, strings })?;
        self.repeated_bytes += string.len();
        if self.repeated_bytes > REPEATED_BYTES_MAX {
            return Err(BatchError::TooMuchRepeated);
        }
        Ok(string)
    }

    fn new_string(&mut self) -> Result<&'a str, BatchError> {
        let string = self.cursor.string(usize::MAX)?;
        if string.len() <= INTERNED_BYTES_MAX && self.strings.len() < INTERNED_MAX {
            self.strings.push(string);
        }
        Ok(string)
    }

    fn value(&mut self) -> Result<Value<'a>, BatchError> {
        Ok(match self.cursor.byte()? {
            types::NULL => Value::Null,
            types::FALSE => Value::Bool(false),
            types::TRUE => Value::Bool(true),
            types::INT => Value::Int(self.cursor.signed()?),
            types::FLOAT => Value::Float(f64::from_le_bytes(self.cursor.array()?)),
            types::TEXT => Value::Text(self.cursor.string(usize::MAX)?),
            types::JSON => {
                let text = self.cursor.string(JSON_BYTES_MAX)?;
                if !is_json_line(text) {
                    return Err(BatchError::NotJson);
                }
                Value::Json(text)
            }
            number => return Err(BatchError::UnknownValue { number }),
        })
    }
}

fn exception_at(sent: u64, body: &str) -> Result<Option<usize>, BatchError> {
    let Some(at) = sent.checked_sub(1) else { return Ok(None) };
    match usize::try_from(at) {
        Ok(byte) if body.is_char_boundary(byte) => Ok(Some(byte)),
        _ => Err(BatchError::ExceptionAt { at }),
    }
}
