//! Bytes -> records, through `wire`.
//! A `Frame` -> its `Record`, or nothing for an empty frame.
//! Invariant: a bad frame costs that frame only.
//! Leaves out: where frames begin (the stream's reader knows), who may send them.

use wire::frame::{Frame, FrameError};
use wire::inflate::{InflateError, Inflater};
use wire::v1::{self, Record, RecordError};

use crate::stats::Counter;

/// Why a frame has no record. The peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame itself is wrong.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Its payload does not inflate.
    #[error(transparent)]
    Inflate(#[from] InflateError),
    /// It inflates to nothing.
    #[error("the compressed payload is empty")]
    Empty,
    /// Its payload is no v1 record.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl DecodeError {
    /// The counter of this reason.
    pub fn counter(&self) -> Counter {
        match self {
            DecodeError::Frame(FrameError::TooLong { .. }) => Counter::FrameTooLong,
            DecodeError::Frame(FrameError::Truncated { .. }) => Counter::FrameTruncated,
            DecodeError::Inflate(InflateError::Invalid) => Counter::ZlibInvalid,
            DecodeError::Inflate(InflateError::TooLong { .. }) => Counter::ZlibTooLong,
            DecodeError::Empty => Counter::MessageEmpty,
            DecodeError::Record(error) => match error {
                RecordError::NotUtf8 { .. } => Counter::NotUtf8,
                RecordError::NotJson { .. } => Counter::NotJson,
                RecordError::TooDeep => Counter::JsonTooDeep,
                RecordError::NotAnObject => Counter::NotAnObject,
                RecordError::Missing(_) => Counter::FieldMissing,
                RecordError::WrongType(_) => Counter::FieldWrongType,
                RecordError::OutOfRange(_) => Counter::NumberOutOfRange,
                RecordError::Version(_) => Counter::VersionUnknown,
            },
        }
    }
}

/// Reads frames, one after another, without allocating for each.
#[derive(Debug, Default)]
pub struct Decoder {
    inflater: Inflater,
    inflated: Vec<u8>,
    scratch: v1::Scratch,
}

impl Decoder {
    /// Reads one frame; `payload_bytes_max` bounds what it inflates to.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn record<'a>(
        &'a mut self,
        frame: &Frame<'a>,
        payload_bytes_max: usize,
    ) -> Result<Option<Record<'a>>, DecodeError> {
        if frame.payload.is_empty() {
            return Ok(None);
        }
        let payload = if frame.flags.is_zlib() {
            self.inflater.inflate(frame.payload, payload_bytes_max, &mut self.inflated)?;
            if self.inflated.is_empty() {
                return Err(DecodeError::Empty);
            }
            &self.inflated
        } else {
            frame.payload
        };
        Ok(Some(v1::decode(payload, &mut self.scratch)?))
    }

    /// Bytes that the last compressed payload inflated to, or was about to.
    pub fn inflated_bytes(&self) -> usize {
        self.inflated.len()
    }
}
