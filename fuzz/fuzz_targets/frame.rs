//! Cuts arbitrary bytes into frames and inflates what says it is compressed.
//! Bytes of a stream -> frames, or the one error that ends the connection.
//! Invariant: wherever a stream is cut, the same frames come out of it.
//! Leaves out: what is inside the payloads (`v1_record`).

#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::frame::{self, DATAGRAM_BYTES_MAX, FRAME_BYTES_MAX, FrameError, Next};
use wire::inflate::{InflateError, Inflater};

/// How a stream ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// So many bytes of a last frame are left over.
    Rest(usize),
    TooLong,
}

fuzz_target!(|stream: &[u8]| {
    let (whole, end) = frames_of(stream);
    inflate_each(&whole);
    datagram_agrees(stream);
    // The last byte says where the stream is cut; every place gets its turn.
    if let Some(&last) = stream.last() {
        let cut = usize::from(last) % stream.len();
        assert_eq!((whole, end), frames_of_two_reads(stream, cut), "cut at {cut}");
    }
});

type Whole<'a> = Vec<(u32, &'a [u8])>;

/// Takes frames until bytes are missing or the stream is no good.
fn frames_of(stream: &[u8]) -> (Whole<'_>, End) {
    let mut whole = Vec::new();
    let mut rest = stream;
    loop {
        match frame::next(rest, FRAME_BYTES_MAX) {
            Ok(Next::Frame(frame)) => {
                assert!(frame.payload.len() <= FRAME_BYTES_MAX as usize);
                assert_eq!(frame.bytes, frame::HEADER_BYTES + frame.payload.len());
                whole.push((frame.flags.0, frame.payload));
                rest = &rest[frame.bytes..];
            }
            Ok(Next::More { bytes_missing }) => {
                assert!(bytes_missing > 0);
                return (whole, End::Rest(rest.len()));
            }
            Err(FrameError::TooLong { bytes, bytes_max }) => {
                assert!(bytes > bytes_max);
                return (whole, End::TooLong);
            }
            Err(FrameError::Truncated { .. }) => panic!("a stream is never truncated"),
        }
    }
}

/// The same as a connection sees it: first the bytes before `cut`, then all.
fn frames_of_two_reads(stream: &[u8], cut: usize) -> (Whole<'_>, End) {
    let (mut whole, end) = frames_of(&stream[..cut]);
    let End::Rest(rest) = end else {
        return (whole, end);
    };
    let (behind, end) = frames_of(&stream[cut - rest..]);
    whole.extend(behind);
    (whole, end)
}

fn inflate_each(whole: &Whole<'_>) {
    const BYTES_MAX: usize = 64 << 10;
    let (mut inflater, mut out) = (Inflater::new(), Vec::new());
    for (_, payload) in whole {
        match inflater.inflate(payload, BYTES_MAX, &mut out) {
            Ok(()) => assert!(out.len() <= BYTES_MAX),
            Err(InflateError::TooLong { bytes_max }) => assert_eq!(bytes_max, BYTES_MAX),
            Err(InflateError::Invalid) => {}
        }
        assert!(out.capacity() <= 2 * BYTES_MAX, "took {} bytes", out.capacity());
    }
}

fn datagram_agrees(bytes: &[u8]) {
    let datagram = frame::datagram(bytes, DATAGRAM_BYTES_MAX);
    match frame::next(bytes, DATAGRAM_BYTES_MAX) {
        Ok(Next::Frame(frame)) => assert_eq!(datagram, Ok(frame)),
        Ok(Next::More { bytes_missing }) => {
            assert_eq!(datagram, Err(FrameError::Truncated { bytes_missing }));
        }
        Err(error) => assert_eq!(datagram, Err(error)),
    }
}
