//! Reads arbitrary bytes as a connection of protocol v2.
//! Bytes of a stream -> frames -> what they say -> the same bytes again.
//! Invariant: what can be read is what would be written; no altered frame
//! passes a session with a secret.
//! Leaves out: the records of batches (`v2_batch`).

#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::frame::{self, FRAME_BYTES_MAX, Frame, Next};
use wire::v2::frame::{Head, MAGIC, Protocol, Type, protocol};
use wire::v2::handshake::{Challenge, Hello, Welcome};
use wire::v2::limits::NUMBER_MAX;
use wire::v2::report::{Ack, Farewell, Refused, Report};
use wire::v2::seal;
use wire::v2::secret::{Secret, Transcript};

fuzz_target!(|stream: &[u8]| {
    tells_the_protocol_once(stream);
    let mut rest = stream;
    while let Ok(Next::Frame(frame)) = frame::next(rest, FRAME_BYTES_MAX) {
        rest = &rest[frame.bytes..];
        if let Ok(head) = Head::from_flags(frame.flags) {
            assert_eq!(head.flags(), frame.flags);
            is_what_would_be_written(head.kind, frame.payload);
        }
        is_forged(&frame);
    }
});

/// More bytes never change the answer, and sixteen are enough for one.
fn tells_the_protocol_once(stream: &[u8]) {
    let whole = protocol(stream);
    assert!(whole.is_some() || stream.len() < 16);
    for known in 0..stream.len().min(16) {
        let early = protocol(&stream[..known]);
        assert!(early.is_none() || early == whole);
    }
    if whole == Some(Protocol::V2) {
        assert_eq!(stream[8..16], MAGIC);
    }
}

fn is_what_would_be_written(kind: Type, payload: &[u8]) {
    let again = match kind {
        Type::Hello => Hello::decode(payload).ok().map(|hello| {
            assert!(hello.settled() <= NUMBER_MAX);
            hello.encode().expect("what was read can be written")
        }),
        Type::Challenge => {
            // Compressions that we do not know are forgotten.
            let read = Challenge::decode(payload).ok();
            read.map(|read| assert_eq!(Challenge::decode(&read.encode()), Ok(read)));
            None
        }
        Type::Welcome => Welcome::decode(payload, None).ok().map(|read| read.encode(None)),
        Type::Ack => Ack::decode(payload).ok().map(|read| read.encode()),
        Type::Report => Report::decode(payload).ok().map(|read| read.encode()),
        Type::Refused => Refused::decode(payload).ok().map(|read| read.encode()),
        Type::Farewell => Farewell::decode(payload).ok().map(|read| read.encode()),
        Type::Proof | Type::Batch => None,
    };
    assert!(again.is_none_or(|again| again == payload));
}

/// Nobody without the secret makes a frame that passes.
fn is_forged(frame: &Frame<'_>) {
    let secret = Secret::new(b"a secret that stands in no corpus");
    let transcript = Transcript::new(b"hello", b"challenge");
    let (_, mut opener) = seal::server(Some(&secret), &transcript);
    assert_eq!(opener.open(frame.flags, frame.payload), Err(seal::SealError::Forged));
    assert!(!secret.verify_proof(&transcript, frame.payload));
    assert!(Welcome::decode(frame.payload, Some((&secret, &transcript))).is_err());
}
