//! The first words of both sides.
//! Payloads of HELLO, CHALLENGE, PROOF and WELCOME -> their fields; and back.
//! Invariant: the numbers of a WELCOME are not seen before the server's proof was checked.
//! Leaves out: who may come in; what the numbers do (docs/protocol.md).
//!
//! ```text
//! HELLO      magic 8 | client id 16 | nonce 32 | app | host | module
//!            | first held | next number | session flags: 0
//! CHALLENGE  nonce 32 | needs proof: 0 or 1 | frame_bytes_max | records_max
//!            | compressions (bit 1 zlib, bit 2 zstd)
//! PROOF      proof 32
//! WELCOME    durable | taken | proof 32, if one was asked for
//! ```

use crate::v2::codec::{CodecError, Cursor, put_integer, put_string};
use crate::v2::compress::Compressions;
use crate::v2::frame::MAGIC;
use crate::v2::limits::{BATCH_RECORDS_MAX, FRAME_BYTES_MAX_LEAST, NAME_BYTES_MAX, NUMBER_MAX};
use crate::v2::secret::{Secret, TAG_BYTES, Transcript};

/// Size of a nonce, in bytes: random, and never used twice.
pub const NONCE_BYTES: usize = 32;

/// What a client is known by, over restarts: random, kept with its spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub [u8; 16]);

/// Why a payload of the handshake is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The payload is malformed.
    #[error("malformed: {0}")]
    Codec(#[from] CodecError),
    /// HELLO does not begin with [`MAGIC`].
    #[error("hello does not begin with the magic bytes of this protocol")]
    NoMagic,
    /// No application is named.
    #[error("no application is named")]
    NoApp,
    /// A name is too long to be sent.
    #[error("{name} has {bytes} bytes, {NAME_BYTES_MAX} are allowed; shorten it")]
    NameTooLong {
        /// Which one.
        name: &'static str,
        /// Its size.
        bytes: usize,
    },
    /// The numbers are not in the order that they must have.
    #[error("the numbers {first} and {second} cannot stand beside each other")]
    Numbers {
        /// First held, or durable.
        first: u64,
        /// Next, or taken.
        second: u64,
    },
    /// Session flags that this side does not know.
    #[error("session flags {flags:#x} are unknown; the client may be newer than this program")]
    UnknownSessionFlags {
        /// All of them.
        flags: u64,
    },
    /// A limit that no session can work with.
    #[error("the server's limit for {name} is {value}, which is out of range")]
    Limit {
        /// Which one.
        name: &'static str,
        /// Its value.
        value: u64,
    },
    /// Neither 0 nor 1.
    #[error("whether a proof is needed must be 0 or 1")]
    NotBoolean,
    /// A proof is not the one that whoever knows the secret would send.
    #[error("the proof is wrong: both sides need the same secret")]
    Proof,
}

/// What a client says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// What the client is known by.
    pub client_id: ClientId,
    /// Random bytes of the client.
    pub nonce: [u8; NONCE_BYTES],
    /// The application; never empty.
    pub app: &'a str,
    /// The sender's host.
    pub host: &'a str,
    /// Names the facility whose secret is proven; empty: the root facility.
    pub module: &'a str,
    /// Number of the first message that the client still holds; 0: none.
    pub first_held: u64,
    /// The number that the client will give to its next message, from 1 on.
    pub next_number: u64,
}

impl<'a> Hello<'a> {
    /// The payload.
    ///
    /// # Errors
    /// Whatever [`Hello::decode`] would refuse.
    pub fn encode(&self) -> Result<Vec<u8>, HandshakeError> {
        self.check()?;
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.client_id.0);
        out.extend_from_slice(&self.nonce);
        for (name, text) in self.names() {
            if text.len() > NAME_BYTES_MAX {
                return Err(HandshakeError::NameTooLong { name, bytes: text.len() });
            }
            put_string(&mut out, text);
        }
        put_integer(&mut out, self.first_held);
        put_integer(&mut out, self.next_number);
        put_integer(&mut out, 0);
        Ok(out)
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// The connection has to end, after FAREWELL if possible.
    pub fn decode(payload: &'a [u8]) -> Result<Hello<'a>, HandshakeError> {
        let mut cursor = Cursor::new(payload);
        if cursor.array().ok() != Some(MAGIC) {
            return Err(HandshakeError::NoMagic);
        }
        let hello = Hello {
            client_id: ClientId(cursor.array()?),
            nonce: cursor.array()?,
            app: cursor.string(NAME_BYTES_MAX)?,
            host: cursor.string(NAME_BYTES_MAX)?,
            module: cursor.string(NAME_BYTES_MAX)?,
            first_held: cursor.integer()?,
            next_number: cursor.integer()?,
        };
        let flags = cursor.integer()?;
        if flags != 0 {
            return Err(HandshakeError::UnknownSessionFlags { flags });
        }
        cursor.end()?;
        hello.check()?;
        Ok(hello)
    }

    /// All numbers up to this one are settled, whatever the server remembers:
    /// the client holds none of them any more.
    pub fn settled(&self) -> u64 {
        let first = if self.first_held == 0 { self.next_number } else { self.first_held };
        first.saturating_sub(1)
    }

    fn names(&self) -> [(&'static str, &'a str); 3] {
        [("the application", self.app), ("the host", self.host), ("the module", self.module)]
    }

    fn check(&self) -> Result<(), HandshakeError> {
        if self.app.is_empty() {
            return Err(HandshakeError::NoApp);
        }
        // Behind NUMBER_MAX there is no next one, but all may have been used.
        let in_range = (1..=NUMBER_MAX + 1).contains(&self.next_number);
        if !in_range || self.first_held >= self.next_number {
            let (first, second) = (self.first_held, self.next_number);
            return Err(HandshakeError::Numbers { first, second });
        }
        Ok(())
    }
}

/// What the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Random bytes of the server.
    pub nonce: [u8; NONCE_BYTES],
    /// Has the facility a secret?
    pub needs_proof: bool,
    /// Longest payload of a frame without its MAC, before and after inflating.
    pub frame_bytes_max: u32,
    /// Most records in a batch.
    pub records_max: u32,
    /// What the server can inflate.
    pub compressions: Compressions,
}

impl Challenge {
    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        out.extend_from_slice(&self.nonce);
        put_integer(&mut out, u64::from(self.needs_proof));
        put_integer(&mut out, u64::from(self.frame_bytes_max));
        put_integer(&mut out, u64::from(self.records_max));
        put_integer(&mut out, self.compressions.bits());
        out
    }

    /// Reads a payload. Compressions that we do not know are passed over.
    ///
    /// # Errors
    /// The connection has to end.
    pub fn decode(payload: &[u8]) -> Result<Challenge, HandshakeError> {
        let mut cursor = Cursor::new(payload);
        let nonce = cursor.array()?;
        let needs_proof = match cursor.integer()? {
            0 => false,
            1 => true,
            _ => return Err(HandshakeError::NotBoolean),
        };
        let frame_bytes_max =
            limit("frame_bytes_max", cursor.integer()?, FRAME_BYTES_MAX_LEAST, u32::MAX)?;
        let records_max = limit("records_max", cursor.integer()?, 1, BATCH_RECORDS_MAX)?;
        let compressions = Compressions::from_bits(cursor.integer()?);
        cursor.end()?;
        Ok(Challenge { nonce, needs_proof, frame_bytes_max, records_max, compressions })
    }
}

/// How far the server has come with this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// All messages up to this number are safe.
    pub durable: u64,
    /// All up to this one are on their way; never less than `durable`.
    pub taken: u64,
}

impl Welcome {
    /// Has somebody else used this client's id, or is its spool an old copy?
    /// Then the server would skip new messages as duplicates: the client has to
    /// take a new id.
    pub fn knows_more(&self, next_number: u64) -> bool {
        self.taken >= next_number
    }

    /// The payload, with the server's proof if there is a secret.
    pub fn encode(&self, proven: Option<(&Secret, &Transcript)>) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        put_integer(&mut out, self.durable);
        put_integer(&mut out, self.taken);
        if let Some((secret, transcript)) = proven {
            let proof = secret.welcome(transcript, &out);
            out.extend_from_slice(&proof);
        }
        out
    }

    /// Reads a payload, and checks the server's proof first if there is a
    /// secret.
    ///
    /// # Errors
    /// `Proof` when the server does not know the secret. The connection has
    /// to end.
    pub fn decode(
        payload: &[u8],
        proven: Option<(&Secret, &Transcript)>,
    ) -> Result<Welcome, HandshakeError> {
        let numbers = match proven {
            None => payload,
            Some((secret, transcript)) => {
                let (numbers, proof) =
                    payload.split_last_chunk::<TAG_BYTES>().ok_or(HandshakeError::Proof)?;
                if !secret.verify_welcome(transcript, numbers, proof) {
                    return Err(HandshakeError::Proof);
                }
                numbers
            }
        };
        let mut cursor = Cursor::new(numbers);
        let welcome = Welcome { durable: cursor.integer()?, taken: cursor.integer()? };
        cursor.end()?;
        if welcome.taken > NUMBER_MAX || welcome.durable > welcome.taken {
            let (first, second) = (welcome.durable, welcome.taken);
            return Err(HandshakeError::Numbers { first, second });
        }
        Ok(welcome)
    }
}

fn limit(name: &'static str, value: u64, least: u32, most: u32) -> Result<u32, HandshakeError> {
    match u32::try_from(value) {
        Ok(limit) if (least..=most).contains(&limit) => Ok(limit),
        _ => Err(HandshakeError::Limit { name, value }),
    }
}

#[cfg(test)]
mod tests;
