//! Cuts a stream of bytes into frames.
//! Bytes -> `Next`: a whole frame, or how many bytes are missing.
//! Invariant: a payload's size is checked before anybody waits for its bytes.
//! Leaves out: what is inside the payload.
//!
//! ```text
//! 0        4        8
//! | size   | flags  | payload: `size` bytes |      both u32, big-endian
//! ```

pub use crate::limits::{DATAGRAM_BYTES_MAX, FRAME_BYTES_MAX};

/// Size of a frame's header, in bytes.
pub const HEADER_BYTES: usize = 8;

/// The flags of a frame. Bits that v1 does not know are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// Bit 0: the payload is a zlib stream (RFC 1950).
    pub const ZLIB: Flags = Flags(1);

    /// Is the payload a zlib stream?
    pub fn is_zlib(self) -> bool {
        self.0 & Self::ZLIB.0 != 0
    }
}

/// One frame, borrowed from the bytes that it was cut from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the header says about the payload.
    pub flags: Flags,
    /// The payload as it was sent, perhaps compressed, perhaps empty.
    pub payload: &'a [u8],
    /// Bytes from the start of this frame to the start of the next.
    pub bytes: usize,
}

/// What the bytes at hand begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A whole frame.
    Frame(Frame<'a>),
    /// A part of one: it takes at least `bytes_missing` more to go on.
    More {
        /// Bytes still missing of the header, or of the payload once the
        /// header is known.
        bytes_missing: usize,
    },
}

/// Why bytes cannot be a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header announces more than is allowed. On a stream the place of
    /// the next frame is lost with it, so the connection has to end.
    #[error("a frame of {bytes} bytes was announced, {bytes_max} are allowed")]
    TooLong {
        /// Announced payload size.
        bytes: u32,
        /// Allowed payload size.
        bytes_max: u32,
    },
    /// A datagram ends before its frame does.
    #[error("a datagram ended {bytes_missing} bytes before its frame did")]
    Truncated {
        /// Bytes that did not come.
        bytes_missing: usize,
    },
}

/// Cuts the first frame off `bytes`, the unread part of a stream.
///
/// # Errors
/// `TooLong` when the header announces more than `payload_bytes_max`.
pub fn next(bytes: &[u8], payload_bytes_max: u32) -> Result<Next<'_>, FrameError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(Next::More { bytes_missing: HEADER_BYTES - bytes.len() });
    };
    let [s0, s1, s2, s3, f0, f1, f2, f3] = *header;
    let size = u32::from_be_bytes([s0, s1, s2, s3]);
    if size > payload_bytes_max {
        return Err(FrameError::TooLong { bytes: size, bytes_max: payload_bytes_max });
    }
    let payload_bytes = size as usize;
    let Some(payload) = rest.get(..payload_bytes) else {
        return Ok(Next::More { bytes_missing: payload_bytes - rest.len() });
    };
    Ok(Next::Frame(Frame {
        flags: Flags(u32::from_be_bytes([f0, f1, f2, f3])),
        payload,
        bytes: HEADER_BYTES + payload_bytes,
    }))
}

/// Takes the one frame of a datagram. Bytes behind it are ignored, as the
/// original daemon did.
///
/// # Errors
/// `TooLong` as for a stream, `Truncated` when the datagram is shorter than
/// its header announces: no more bytes can come.
pub fn datagram(bytes: &[u8], payload_bytes_max: u32) -> Result<Frame<'_>, FrameError> {
    match next(bytes, payload_bytes_max)? {
        Next::Frame(frame) => Ok(frame),
        Next::More { bytes_missing } => Err(FrameError::Truncated { bytes_missing }),
    }
}

/// Writes a header for a payload of `payload_bytes`.
pub fn header(payload_bytes: u32, flags: Flags) -> [u8; HEADER_BYTES] {
    let [s0, s1, s2, s3] = payload_bytes.to_be_bytes();
    let [f0, f1, f2, f3] = flags.0.to_be_bytes();
    [s0, s1, s2, s3, f0, f1, f2, f3]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_huge_size_is_refused_from_the_header_alone() {
        let header = header(u32::MAX, Flags(0));
        assert_eq!(
            next(&header, FRAME_BYTES_MAX),
            Err(FrameError::TooLong { bytes: u32::MAX, bytes_max: FRAME_BYTES_MAX })
        );
    }

    #[test]
    fn an_empty_frame_is_a_frame() {
        let bytes = [header(0, Flags(0)), header(0, Flags(0))].concat();
        let Ok(Next::Frame(frame)) = next(&bytes, 10) else { panic!("no frame") };
        assert_eq!((frame.payload, frame.bytes), (&[][..], HEADER_BYTES));
    }

    #[test]
    fn a_datagram_shorter_than_announced_is_truncated() {
        let mut bytes = header(5, Flags(0)).to_vec();
        bytes.extend_from_slice(b"abc");
        assert_eq!(datagram(&bytes, 10), Err(FrameError::Truncated { bytes_missing: 2 }));
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_wherever_the_stream_is_cut(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut stream = Vec::new();
            for payload in &payloads {
                stream.extend_from_slice(&header(u32::try_from(payload.len()).unwrap(), Flags::ZLIB));
                stream.extend_from_slice(payload);
            }
            let cut = if stream.is_empty() { 0 } else { cut.index(stream.len()) };
            let (mut start, mut seen) = (0, Vec::new());
            for end in [cut, stream.len()] {
                while let Next::Frame(frame) = next(&stream[start..end], FRAME_BYTES_MAX).unwrap() {
                    seen.push(frame.payload.to_vec());
                    start += frame.bytes;
                }
            }
            prop_assert_eq!(seen, payloads);
            prop_assert_eq!(start, stream.len());
        }

        #[test]
        fn missing_bytes_are_never_overstated(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(Next::More { bytes_missing }) = next(&bytes, 64) {
                prop_assert!(bytes_missing > 0);
                let mut longer = bytes.clone();
                longer.resize(bytes.len() + bytes_missing - 1, 0);
                let still_missing = matches!(next(&longer, 64), Ok(Next::More { .. }) | Err(_));
                prop_assert!(still_missing);
            }
        }
    }
}
