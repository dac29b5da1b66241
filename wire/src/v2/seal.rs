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
    let keys = secret.map(|s| (s.key_to_server(transcript), s.key_to_client(transcript)));
    let (to_server, to_client) = keys.unzip();
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
