//! Says what a frame is for, and which protocol a connection speaks.
//! Flags -> `Head`: the frame's type and its payload's compression; and back.
//! Invariant: flags of which any bit means nothing to us are refused.
//! Leaves out: cutting frames out of a stream (`crate::frame`) and their MAC (`seal`).
//!
//! ```text
//! 0        4        8
//! | size   | flags  | payload | MAC |    both u32, big-endian; size counts the MAC
//!            31..24  protocol: 2
//!            23..16  type
//!            15..8   0
//!             7..0   compression of the payload
//! ```

use crate::frame::{Flags, HEADER_BYTES};
use crate::v2::compress::Compression;

/// The first bytes of a HELLO's payload: what no JSON object begins with.
pub const MAGIC: [u8; 8] = *b"LogHog2\n";

/// The number of this protocol in a frame's flags.
pub const PROTOCOL: u8 = 2;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Type {
    /// Client to server: who it is.
    Hello = 1,
    /// Server to client: its nonce and its limits.
    Challenge = 2,
    /// Client to server: it knows the secret.
    Proof = 3,
    /// Server to client: how far it has come, and that it knows the secret.
    Welcome = 4,
    /// Client to server: records.
    Batch = 5,
    /// Server to client: what is safe.
    Ack = 6,
    /// Client to server: what it dropped.
    Report = 7,
    /// Both ways: why the sender closes.
    Farewell = 8,
    /// Server to client: messages that reach no file.
    Refused = 9,
}

impl Type {
    /// The type of this number.
    pub fn from_number(number: u8) -> Option<Type> {
        Some(match number {
            1 => Type::Hello,
            2 => Type::Challenge,
            3 => Type::Proof,
            4 => Type::Welcome,
            5 => Type::Batch,
            6 => Type::Ack,
            7 => Type::Report,
            8 => Type::Farewell,
            9 => Type::Refused,
            _ => return None,
        })
    }
}

/// What the flags of a frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the frame is for.
    pub kind: Type,
    /// How its payload is compressed; `None` of it for all but BATCH.
    pub compression: Compression,
}

impl Head {
    /// The head of a frame that is not compressed.
    pub const fn plain(kind: Type) -> Head {
        Head { kind, compression: Compression::None }
    }

    /// Reads a frame's flags.
    ///
    /// # Errors
    /// A `HeadError`: the connection has to end, after FAREWELL if possible.
    pub fn from_flags(flags: Flags) -> Result<Head, HeadError> {
        let [protocol, number, spare, compression] = flags.0.to_be_bytes();
        if protocol != PROTOCOL {
            return Err(HeadError::Protocol { number: protocol });
        }
        let kind = Type::from_number(number).ok_or(HeadError::UnknownType { number })?;
        if spare != 0 {
            return Err(HeadError::UnknownFlags { flags: flags.0 });
        }
        let compression = Compression::from_number(compression)
            .ok_or(HeadError::UnknownCompression { number: compression })?;
        if kind != Type::Batch && compression != Compression::None {
            return Err(HeadError::NeverCompressed { kind });
        }
        Ok(Head { kind, compression })
    }

    /// The flags that say this.
    pub fn flags(self) -> Flags {
        Flags(u32::from_be_bytes([PROTOCOL, self.kind as u8, 0, self.compression as u8]))
    }
}

/// Why flags are none of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Another protocol than the connection began with.
    #[error("a frame of protocol {number} on a connection of protocol 2")]
    Protocol {
        /// The number in the flags.
        number: u8,
    },
    /// A type that this side does not know.
    #[error("frames of type {number} are unknown; the sender may be newer than this program")]
    UnknownType {
        /// The number in the flags.
        number: u8,
    },
    /// Flags that have to be 0.
    #[error("flags {flags:#010x} are unknown; the sender may be newer than this program")]
    UnknownFlags {
        /// All flags.
        flags: u32,
    },
    /// A compression that this side does not know.
    #[error("compression {number} is unknown; none, zlib and zstd are known")]
    UnknownCompression {
        /// The number in the flags.
        number: u8,
    },
    /// Only batches may be compressed.
    #[error("a {kind:?} frame may not be compressed")]
    NeverCompressed {
        /// The type of the frame.
        kind: Type,
    },
}

/// What a connection speaks, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// JSON objects, no answers.
    V1,
    /// This one.
    V2,
}

/// Which protocol begins like this? `None`: more bytes are needed to tell.
/// Sixteen suffice.
pub fn protocol(first_bytes: &[u8]) -> Option<Protocol> {
    let (header, payload) = first_bytes.split_first_chunk::<HEADER_BYTES>()?;
    let [s0, s1, s2, s3, protocol, ..] = *header;
    let size = u32::from_be_bytes([s0, s1, s2, s3]) as usize;
    if protocol != PROTOCOL || size < MAGIC.len() {
        return Some(Protocol::V1);
    }
    let known = payload.len().min(MAGIC.len());
    match payload.get(..known) == MAGIC.get(..known) {
        false => Some(Protocol::V1),
        true if known == MAGIC.len() => Some(Protocol::V2),
        true => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::header;
    use proptest::prelude::*;

    #[test]
    fn flags_that_mean_nothing_are_refused_by_name() {
        let read = |flags| Head::from_flags(Flags(flags));
        assert_eq!(
            read(0x0205_0002),
            Ok(Head { kind: Type::Batch, compression: Compression::Zstd })
        );
        assert_eq!(read(0x0000_0001), Err(HeadError::Protocol { number: 0 }));
        assert_eq!(read(0x0300_0000), Err(HeadError::Protocol { number: 3 }));
        assert_eq!(read(0x0200_0000), Err(HeadError::UnknownType { number: 0 }));
        assert_eq!(read(0x020a_0000), Err(HeadError::UnknownType { number: 10 }));
        assert_eq!(read(0x0205_0100), Err(HeadError::UnknownFlags { flags: 0x0205_0100 }));
        assert_eq!(read(0x0205_0003), Err(HeadError::UnknownCompression { number: 3 }));
        assert_eq!(read(0x0206_0001), Err(HeadError::NeverCompressed { kind: Type::Ack }));
    }

    #[test]
    fn sixteen_bytes_tell_the_protocol_and_fewer_only_when_they_can() {
        let hello = [&header(100, Head::plain(Type::Hello).flags())[..], &MAGIC].concat();
        for known in 0..hello.len() {
            assert_eq!(protocol(&hello[..known]), None, "{known} bytes");
        }
        assert_eq!(protocol(&hello), Some(Protocol::V2));
        let mut json = hello.clone();
        json[HEADER_BYTES] = b'{';
        assert_eq!(protocol(&json[..HEADER_BYTES + 1]), Some(Protocol::V1));
        assert_eq!(protocol(&header(100, Flags(1))), Some(Protocol::V1));
        // v1 ignores flags that it does not know, and skips empty frames.
        assert_eq!(protocol(&header(7, Flags(0x0201_0000))), Some(Protocol::V1));
    }

    proptest! {
        #[test]
        fn flags_that_are_read_are_how_they_would_be_written(flags in any::<u32>(), kind in 0_u32..11, compression in 0_u32..4) {
            for flags in [flags, 0x0200_0000 | kind << 16 | compression] {
                if let Ok(head) = Head::from_flags(Flags(flags)) {
                    prop_assert_eq!(head.flags(), Flags(flags));
                }
            }
        }
    }
}
