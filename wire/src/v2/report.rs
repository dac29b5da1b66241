//! What both sides tell each other beside the records.
//! Payloads of ACK, REPORT, REFUSED and FAREWELL -> their fields; and back.
//! Invariant: codes that we do not know are kept as they are, never an error.
//! Leaves out: what to do about it (docs/protocol.md).
//!
//! ```text
//! ACK       durable
//! REPORT    number of reasons | each: reason | messages
//! REFUSED   messages | number of the first of them | code | text
//! FAREWELL  code | text
//! ```

use std::fmt;

use crate::v2::codec::{CodecError, Cursor, cut, put_integer, put_string};
use crate::v2::limits::{NUMBER_MAX, REASONS_MAX, TEXT_BYTES_MAX};

/// Why such a payload is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The payload is malformed.
    #[error("malformed: {0}")]
    Codec(#[from] CodecError),
    /// A number that no message has.
    #[error("no message has the number {number}")]
    Number {
        /// The number.
        number: u64,
    },
    /// More reasons than there can be.
    #[error("a report of {reasons} reasons, {REASONS_MAX} are allowed")]
    TooManyReasons {
        /// How many were announced.
        reasons: u64,
    },
    /// Nothing was dropped or refused.
    #[error("a report of no message")]
    Nothing,
}

/// Declares an enum whose numbers are sent, and which keeps unknown ones.
macro_rules! codes {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
            /// One that this program does not know.
            Other(u64),
        }

        impl $name {
            /// The number that is sent.
            pub fn number(self) -> u64 {
                match self {
                    $($name::$variant => $number,)*
                    $name::Other(number) => number,
                }
            }

            /// What a number that was sent means.
            pub fn from_number(number: u64) -> $name {
                match number {
                    $($number => $name::$variant,)*
                    number => $name::Other(number),
                }
            }
        }
    };
}

codes! {
    /// Why a client dropped messages before anybody could take them.
    Dropped {
        /// The memory for messages was full, and there is no spool, or it was too
        /// slow.
        MemoryFull = 1,
        /// The spool was full.
        SpoolFull = 2,
        /// The disk of the spool refused.
        SpoolFailed = 3,
        /// A part of the spool was damaged.
        SpoolDamaged = 4,
        /// The message is longer than a frame.
        TooLong = 5,
        /// The program ended before the messages were taken.
        Ended = 6,
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dropped::MemoryFull => "the memory for messages was full",
            Dropped::SpoolFull => "the spool was full",
            Dropped::SpoolFailed => "the disk of the spool refused",
            Dropped::SpoolDamaged => "a part of the spool was damaged",
            Dropped::TooLong => "they are longer than a frame",
            Dropped::Ended => "the program ended before they were taken",
            Dropped::Other(number) => return write!(f, "reason {number}, which we do not know"),
        })
    }
}

codes! {
    /// Why the server writes messages to no file.
    Refusal {
        /// No facility takes them.
        NoFacility = 1,
        /// Their facility has another secret than the one that was proven.
        OtherSecret = 2,
        /// Their facility demands TLS.
        NeedsTls = 3,
        /// Their host's name cannot be that of a file, or there are too many.
        Host = 4,
    }
}

codes! {
    /// Why a side closes.
    Code {
        /// Nothing is wrong. A client says so only when it holds nothing that is
        /// not acknowledged: the server may forget it.
        Done = 1,
        /// The server stops, and will be back.
        Stopping = 2,
        /// The server has no room for this connection now.
        Busy = 3,
        /// A newer session of the same client has taken over.
        Evicted = 4,
        /// The other side sent what this protocol does not allow.
        Malformed = 5,
        /// A batch does not go on behind the one before.
        Numbers = 6,
        /// The other side's proof is wrong.
        WrongProof = 7,
        /// The client has no secret, but the facility has.
        SecretMissing = 8,
        /// The client has a secret, but the facility has none.
        SecretUnused = 9,
        /// No facility takes this application.
        NoFacility = 10,
        /// The facility demands TLS.
        NeedsTls = 11,
        /// Something on this side failed.
        Internal = 12,
    }
}

/// All messages up to this number are safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The number.
    pub durable: u64,
}

impl Ack {
    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(10);
        put_integer(&mut out, self.durable);
        out
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// The connection has to end.
    pub fn decode(payload: &[u8]) -> Result<Ack, ReportError> {
        let mut cursor = Cursor::new(payload);
        let durable = number(cursor.integer()?)?;
        cursor.end()?;
        Ok(Ack { durable })
    }
}

/// What a client dropped since its last report, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Each reason, and how many messages (never 0).
    pub dropped: Vec<(Dropped, u64)>,
}

impl Report {
    /// The payload. Reasons without a message are left out.
    pub fn encode(&self) -> Vec<u8> {
        let told = || self.dropped.iter().filter(|(_, messages)| *messages > 0).take(REASONS_MAX);
        let mut out = Vec::with_capacity(16);
        put_integer(&mut out, told().count() as u64);
        for (reason, messages) in told() {
            put_integer(&mut out, reason.number());
            put_integer(&mut out, *messages);
        }
        out
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// The connection has to end.
    pub fn decode(payload: &[u8]) -> Result<Report, ReportError> {
        let mut cursor = Cursor::new(payload);
        let reasons = cursor.integer()?;
        if reasons == 0 {
            return Err(ReportError::Nothing);
        }
        if reasons > REASONS_MAX as u64 {
            return Err(ReportError::TooManyReasons { reasons });
        }
        let mut dropped = Vec::new();
        for _ in 0..reasons {
            let reason = Dropped::from_number(cursor.integer()?);
            dropped.push((reason, messages(cursor.integer()?)?));
        }
        cursor.end()?;
        Ok(Report { dropped })
    }
}

/// Messages of this session that reach no file. They count as settled: ACK
/// passes over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// How many, never 0.
    pub messages: u64,
    /// The number of the first of them.
    pub first: u64,
    /// Why.
    pub code: Refusal,
    /// What a person should know, cut at [`TEXT_BYTES_MAX`].
    pub text: &'a str,
}

impl<'a> Refused<'a> {
    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        put_integer(&mut out, self.messages);
        put_integer(&mut out, self.first);
        put_integer(&mut out, self.code.number());
        put_string(&mut out, cut(self.text, TEXT_BYTES_MAX));
        out
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// The connection has to end.
    pub fn decode(payload: &'a [u8]) -> Result<Refused<'a>, ReportError> {
        let mut cursor = Cursor::new(payload);
        let refused = Refused {
            messages: messages(cursor.integer()?)?,
            first: number(cursor.integer()?)?,
            code: Refusal::from_number(cursor.integer()?),
            text: cursor.string(TEXT_BYTES_MAX)?,
        };
        cursor.end()?;
        Ok(refused)
    }
}

/// Why the sender closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Farewell<'a> {
    /// What a program should know.
    pub code: Code,
    /// What a person should know, cut at [`TEXT_BYTES_MAX`].
    pub text: &'a str,
}

impl<'a> Farewell<'a> {
    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        put_integer(&mut out, self.code.number());
        put_string(&mut out, cut(self.text, TEXT_BYTES_MAX));
        out
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// The connection has to end, as it does anyway.
    pub fn decode(payload: &'a [u8]) -> Result<Farewell<'a>, ReportError> {
        let mut cursor = Cursor::new(payload);
        let code = Code::from_number(cursor.integer()?);
        let text = cursor.string(TEXT_BYTES_MAX)?;
        cursor.end()?;
        Ok(Farewell { code, text })
    }
}

fn number(number: u64) -> Result<u64, ReportError> {
    if number > NUMBER_MAX { Err(ReportError::Number { number }) } else { Ok(number) }
}

fn messages(messages: u64) -> Result<u64, ReportError> {
    if messages == 0 { Err(ReportError::Nothing) } else { number(messages) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_that_no_message_has_are_refused() {
        let payload = Ack { durable: NUMBER_MAX + 1 }.encode();
        assert_eq!(Ack::decode(&payload), Err(ReportError::Number { number: NUMBER_MAX + 1 }));
        assert_eq!(Report::decode(&[0]), Err(ReportError::Nothing));
        assert_eq!(Report::decode(&[1, 1, 0]), Err(ReportError::Nothing));
        assert_eq!(Report::decode(&[65]), Err(ReportError::TooManyReasons { reasons: 65 }));
        assert_eq!(Refused::decode(&[0, 1, 1, 0]), Err(ReportError::Nothing));
        assert_eq!(Ack::decode(&[1, 1]), Err(CodecError::Trailing { bytes: 1 }.into()));
    }

    #[test]
    fn a_long_text_is_cut_by_who_writes_and_refused_by_who_reads() {
        let text = "ä".repeat(TEXT_BYTES_MAX);
        let payload = Farewell { code: Code::Busy, text: &text }.encode();
        assert_eq!(Farewell::decode(&payload).unwrap().text.len(), TEXT_BYTES_MAX);
        let mut longer = vec![1];
        put_string(&mut longer, &text);
        assert!(matches!(Farewell::decode(&longer), Err(ReportError::Codec(_))));
    }

    #[test]
    fn codes_of_a_newer_program_are_kept() {
        let payload = Farewell { code: Code::Other(99), text: "" }.encode();
        assert_eq!(Farewell::decode(&payload), Ok(Farewell { code: Code::Other(99), text: "" }));
    }

    proptest! {
        #[test]
        fn what_was_said_comes_back(
            (number, messages) in (0..=NUMBER_MAX, 1..=NUMBER_MAX),
            code in any::<u64>(), text in ".{0,100}", reasons in 1_u64..64,
        ) {
            let ack = Ack { durable: number };
            prop_assert_eq!(Ack::decode(&ack.encode()), Ok(ack));
            let code = Refusal::from_number(code % 9);
            let refused = Refused { messages, first: number, code, text: &text };
            let payload = refused.encode();
            prop_assert_eq!(Refused::decode(&payload), Ok(refused));
            let farewell = Farewell { code: Code::from_number(number % 20), text: &text };
            let payload = farewell.encode();
            prop_assert_eq!(Farewell::decode(&payload), Ok(farewell));
            let dropped = (0..reasons).map(|n| (Dropped::from_number(n), messages)).collect();
            let report = Report { dropped };
            prop_assert_eq!(Report::decode(&report.encode()), Ok(report));
        }

        #[test]
        fn arbitrary_bytes_end_in_a_value(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(read) = Ack::decode(&bytes) {
                prop_assert_eq!(read.encode(), &bytes[..]);
            }
            if let Ok(read) = Report::decode(&bytes) {
                prop_assert_eq!(read.encode(), &bytes[..]);
            }
            if let Ok(read) = Refused::decode(&bytes) {
                prop_assert_eq!(read.encode(), &bytes[..]);
            }
            if let Ok(read) = Farewell::decode(&bytes) {
                prop_assert_eq!(read.encode(), &bytes[..]);
            }
        }
    }
}
