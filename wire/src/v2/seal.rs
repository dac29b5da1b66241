//! Writes the frames of a session and checks those of the other side.
//! A head and a payload -> a frame, with a MAC if there is a secret; and back.
//! Invariant: with a secret, nothing of a frame is looked at before its MAC was checked.
//! Leaves out: the frames of the handshake, which have no MAC (see [`write_plain`]).
//!
//! MAC = HMAC-SHA256(key of the direction, u64 BE counter || header || payload).
//! The counter is not sent: a frame that is missing, repeated or in another
//! place does not verify.

use crate::frame::{Flags, HEADER_BYTES, header};
use crate::v2::frame::{Head, HeadError};
use crate::v2::secret::{Keyed, Secret, TAG_BYTES, Transcript};

/// Size of the MAC of a frame behind WELCOME, in bytes.
pub const MAC_BYTES: u32 = 32;
const _: () = assert!(MAC_BYTES as usize == TAG_BYTES);

/// Why a frame is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The MAC is missing or wrong. The connection is closed without a word.
    #[error(
        "a frame's mac is wrong: it was altered, repeated, reordered, or sealed with another secret"
    )]
    Forged,
    /// The frame is authentic, but its flags mean nothing to us.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// A payload of 4 GiB or more cannot be sent in one frame.
    #[error("a payload of {bytes} bytes does not fit into a frame")]
    TooLong {
        /// Size of the payload.
        bytes: usize,
    },
}

/// Appends a frame of the handshake to `out`.
///
/// # Errors
/// `TooLong`.
pub fn write_plain(out: &mut Vec<u8>, head: Head, payload: &[u8]) -> Result<(), SealError> {
    let size = size_of(payload, 0)?;
    out.extend_from_slice(&header(size, head.flags()));
    out.extend_from_slice(payload);
    Ok(())
}

/// Writes the frames that one side sends behind WELCOME.
#[derive(Debug)]
pub struct Sealer(Option<Direction>);

/// Checks the frames that one side receives behind WELCOME.
#[derive(Debug)]
pub struct Opener(Option<Direction>);

/// The client's ends of a session. Without a secret there are no MACs.
pub fn client(secret: Option<&Secret>, transcript: &Transcript) -> (Sealer, Opener) {
    let (to_server, to_client) = secret.map(|secret| secret.keys(transcript)).unzip();
    (Sealer(to_server.map(Direction::new)), Opener(to_client.map(Direction::new)))
}

/// The server's ends of a session. Without a secret there are no MACs.
pub fn server(secret: Option<&Secret>, transcript: &Transcript) -> (Sealer, Opener) {
    let (Sealer(to_server), Opener(to_client)) = client(secret, transcript);
    (Sealer(to_client), Opener(to_server))
}

impl Sealer {
    /// Appends a frame to `out`. Frames have to be sent in the order in which
    /// they were written.
    ///
    /// # Errors
    /// `TooLong`; nothing was appended then.
    pub fn write(
        &mut self,
        out: &mut Vec<u8>,
        head: Head,
        payload: &[u8],
    ) -> Result<(), SealError> {
        let Some(direction) = &mut self.0 else {
            return write_plain(out, head, payload);
        };
        let header = header(size_of(payload, MAC_BYTES)?, head.flags());
        let counter = direction.turn();
        let mac = direction.key.tag(&[&counter, &header, payload]);
        out.reserve(HEADER_BYTES + payload.len() + TAG_BYTES);
        out.extend_from_slice(&header);
        out.extend_from_slice(payload);
        out.extend_from_slice(&mac);
        Ok(())
    }

    /// How many bytes a frame has beside its payload.
    pub fn overhead_bytes(&self) -> usize {
        HEADER_BYTES + self.0.as_ref().map_or(0, |_| TAG_BYTES)
    }
}

impl Opener {
    /// What a frame is for, and its payload without the MAC. `sent` is the
    /// payload as `crate::frame::next` cut it, with the MAC at its end.
    ///
    /// # Errors
    /// `Forged` or `Head`; the connection has to end.
    pub fn open<'a>(
        &mut self,
        flags: Flags,
        sent: &'a [u8],
    ) -> Result<(Head, &'a [u8]), SealError> {
        let payload = match &mut self.0 {
            None => sent,
            Some(direction) => {
                let (payload, mac) =
                    sent.split_last_chunk::<TAG_BYTES>().ok_or(SealError::Forged)?;
                let header = header(size_of(sent, 0)?, flags);
                let counter = direction.turn();
                if !direction.key.verify(&[&counter, &header, payload], mac) {
                    return Err(SealError::Forged);
                }
                payload
            }
        };
        Ok((Head::from_flags(flags)?, payload))
    }

    /// How large a payload may be announced when `payload_bytes_max` are
    /// allowed without its MAC: the limit for `crate::frame::next`.
    pub fn announced_bytes_max(&self, payload_bytes_max: u32) -> u32 {
        payload_bytes_max.saturating_add(self.0.as_ref().map_or(0, |_| MAC_BYTES))
    }
}

/// One direction of a session: its key, and how many frames it has carried.
#[derive(Debug)]
struct Direction {
    key: Keyed,
    frames: u64,
}

impl Direction {
    fn new(key: Keyed) -> Direction {
        Direction { key, frames: 0 }
    }

    /// The counter of the next frame. 2^64 frames are never sent.
    fn turn(&mut self) -> [u8; 8] {
        let counter = self.frames.to_be_bytes();
        self.frames = self.frames.wrapping_add(1);
        counter
    }
}

fn size_of(payload: &[u8], mac_bytes: u32) -> Result<u32, SealError> {
    u32::try_from(payload.len())
        .ok()
        .and_then(|bytes| bytes.checked_add(mac_bytes))
        .ok_or(SealError::TooLong { bytes: payload.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FRAME_BYTES_MAX, Frame, Next, next};
    use crate::v2::frame::Type;
    use proptest::prelude::*;

    fn secret() -> Secret {
        Secret::new(b"my-big-secret")
    }

    /// Both ends of a session with a secret.
    fn ends(nonce: &[u8]) -> ((Sealer, Opener), (Sealer, Opener)) {
        let transcript = Transcript::new(b"hello", nonce);
        (client(Some(&secret()), &transcript), server(Some(&secret()), &transcript))
    }

    fn cut(bytes: &[u8]) -> Option<Frame<'_>> {
        match next(bytes, FRAME_BYTES_MAX + MAC_BYTES) {
            Ok(Next::Frame(frame)) => Some(frame),
            _ => None,
        }
    }

    fn open(opener: &mut Opener, bytes: &[u8]) -> Result<Vec<u8>, SealError> {
        let frame = cut(bytes).expect("a whole frame");
        opener.open(frame.flags, frame.payload).map(|(_, payload)| payload.to_vec())
    }

    fn sealed(sealer: &mut Sealer, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        sealer.write(&mut out, Head::plain(Type::Batch), payload).unwrap();
        assert_eq!(out.len(), sealer.overhead_bytes() + payload.len());
        out
    }

    #[test]
    fn frames_pass_in_their_order_in_both_directions() {
        let ((mut c_out, mut c_in), (mut s_out, mut s_in)) = ends(b"nonce");
        for payload in [&b"one"[..], b"", b"three"] {
            assert_eq!(open(&mut s_in, &sealed(&mut c_out, payload)), Ok(payload.to_vec()));
            assert_eq!(open(&mut c_in, &sealed(&mut s_out, payload)), Ok(payload.to_vec()));
        }
    }

    #[test]
    fn a_frame_of_another_session_direction_or_place_is_refused() {
        let ((mut c_out, _), (mut s_out, mut s_in)) = ends(b"nonce");
        let (first, second) = (sealed(&mut c_out, b"first"), sealed(&mut c_out, b"second"));
        let fresh = || ends(b"nonce").1.1;
        assert_eq!(open(&mut fresh(), &second), Err(SealError::Forged), "first is missing");
        assert_eq!(open(&mut ends(b"other").1.1, &first), Err(SealError::Forged), "replayed");
        assert_eq!(open(&mut fresh(), &sealed(&mut s_out, b"back")), Err(SealError::Forged));
        assert_eq!(open(&mut s_in, &first), Ok(b"first".to_vec()));
        assert_eq!(open(&mut s_in, &first), Err(SealError::Forged), "repeated");
        assert_eq!(
            open(&mut fresh(), &sealed(&mut client(None, &Transcript::new(b"", b"")).0, b"plain")),
            Err(SealError::Forged)
        );
    }

    #[test]
    fn the_mac_is_checked_before_the_flags_mean_anything() {
        let (_, (_, mut opener)) = ends(b"nonce");
        let unknown = header(32, Flags(u32::MAX));
        let frame = [&unknown[..], &[0; 32]].concat();
        assert_eq!(open(&mut opener, &frame), Err(SealError::Forged));
        let mut plain = server(None, &Transcript::new(b"", b"")).1;
        assert_eq!(open(&mut plain, &frame), Err(HeadError::Protocol { number: 255 }.into()));
    }

    #[test]
    fn the_announced_limit_has_room_for_the_mac_only_when_there_is_one() {
        assert_eq!(ends(b"").0.1.announced_bytes_max(1000), 1032);
        assert_eq!(ends(b"").0.1.announced_bytes_max(u32::MAX), u32::MAX);
        assert_eq!(client(None, &Transcript::new(b"", b"")).1.announced_bytes_max(1000), 1000);
    }

    #[test]
    fn keys_never_print_themselves() {
        let ((sealer, opener), _) = ends(b"nonce");
        let printed = format!("{:?} {sealer:?} {opener:?}", secret());
        assert_eq!(
            printed,
            "Secret(..) Sealer(Some(Direction { key: Keyed(..), frames: 0 })) \
             Opener(Some(Direction { key: Keyed(..), frames: 0 }))"
        );
    }

    proptest! {
        #[test]
        fn a_flipped_bit_anywhere_is_refused(
            payload in prop::collection::vec(any::<u8>(), 0..100),
            bit in any::<prop::sample::Index>(),
        ) {
            let ((mut sealer, _), (_, mut opener)) = ends(b"nonce");
            let mut frame = sealed(&mut sealer, &payload);
            let bit = bit.index(frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
            // A flipped size may also leave no whole frame.
            if cut(&frame).is_some() {
                prop_assert_eq!(open(&mut opener, &frame), Err(SealError::Forged));
            }
        }

        #[test]
        fn of_frames_sent_twice_left_out_or_exchanged_only_the_true_beginning_passes(
            order in prop::collection::vec(0_usize..6, 1..12),
        ) {
            let ((mut sealer, _), (_, mut opener)) = ends(b"nonce");
            let frames: Vec<_> = (0..6_u8).map(|i| sealed(&mut sealer, &[i])).collect();
            for (place, frame) in order.into_iter().enumerate() {
                let result = open(&mut opener, &frames[frame]);
                if frame != place {
                    prop_assert_eq!(result, Err(SealError::Forged));
                    break;
                }
                prop_assert_eq!(result, Ok(vec![u8::try_from(frame).unwrap()]));
            }
        }

        #[test]
        fn arbitrary_bytes_are_forged(frame in prop::collection::vec(any::<u8>(), 0..100)) {
            let (_, (_, mut opener)) = ends(b"nonce");
            prop_assert_eq!(opener.open(Flags(0x0205_0000), &frame), Err(SealError::Forged));
        }
    }
}
