//! What a connection has sent and nobody could carry on yet.
//! The end of a chunk -> the beginning of the next.
//! Invariant: memory is taken for bytes that came, never for bytes that were announced.
//! Leaves out: how much all connections may hold together (`connections`).

use wire::frame::{self, Next};

use crate::limits::PENDING_BYTES_MOVED_MAX;

/// Mostly the beginning of a frame; whole frames too, when a connection had
/// to let others have their turn.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Room, of which the front is filled. It stays initialised, so that a
    /// byte is cleared once, however few of them a read brings.
    room: Vec<u8>,
    filled: usize,
    whole_frames: bool,
}

impl Pending {
    pub(super) fn bytes(&self) -> &[u8] {
        self.room.get(..self.filled).unwrap_or(&[])
    }

    /// Memory in use, filled or not.
    pub(super) fn capacity(&self) -> usize {
        self.room.capacity()
    }

    /// Is it too much to be moved to the front of the next chunk?
    pub(super) fn is_long(&self) -> bool {
        self.filled > PENDING_BYTES_MOVED_MAX
    }

    /// Can it be carried on without reading more?
    pub(super) fn has_whole_frames(&self) -> bool {
        self.whole_frames
    }

    /// Keeps `rest` and nothing else.
    pub(super) fn keep(&mut self, rest: &[u8], whole_frames: bool) {
        self.whole_frames = whole_frames;
        if rest.len() > self.room.len() {
            self.room = rest.to_vec();
        } else if let Some(front) = self.room.get_mut(..rest.len()) {
            front.copy_from_slice(rest);
        }
        self.filled = rest.len();
        self.shrink();
    }

    /// Drops the first `bytes`.
    pub(super) fn consume(&mut self, bytes: usize, whole_frames: bool) {
        self.whole_frames = whole_frames;
        if bytes == 0 {
            return;
        }
        self.room.copy_within(bytes.min(self.filled)..self.filled, 0);
        self.filled = self.filled.saturating_sub(bytes);
        self.shrink();
    }

    /// Makes room for what the frame lacks, but for no more than it has
    /// already sent: a header's word alone takes no memory.
    pub(super) fn grow(&mut self, frame_bytes_max: u32) {
        if self.room.len() > self.filled {
            return;
        }
        let missing = match frame::next(self.bytes(), frame_bytes_max) {
            Ok(Next::More { bytes_missing }) => bytes_missing,
            _ => 0,
        };
        let more = missing.min(self.filled);
        self.room.reserve_exact(more);
        self.room.resize(self.filled + more, 0);
    }

    /// Where the next bytes of the frame go.
    pub(super) fn spare(&mut self) -> &mut [u8] {
        self.room.get_mut(self.filled..).unwrap_or_default()
    }

    /// So many of them have come.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.filled = (self.filled + bytes).min(self.room.len());
    }

    /// A connection that waits keeps no more than it holds.
    fn shrink(&mut self) {
        if !self.is_long() {
            self.room.truncate(self.filled);
            self.room.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wire::frame::{FRAME_BYTES_MAX, Flags};

    #[test]
    fn room_grows_with_what_has_come_not_with_what_was_announced() {
        let mut pending = Pending::default();
        let mut frame = frame::header(FRAME_BYTES_MAX, Flags(0)).to_vec();
        frame.resize(PENDING_BYTES_MOVED_MAX + 1, 7);
        pending.keep(&frame, false);
        assert!(pending.is_long());
        pending.grow(FRAME_BYTES_MAX);
        assert!(pending.capacity() <= 2 * frame.len());
        pending.keep(&[], false);
        assert_eq!(pending.capacity(), 0);
    }

    proptest! {
        #[test]
        fn a_frame_in_pieces_comes_together(
            payload in proptest::collection::vec(any::<u8>(), PENDING_BYTES_MOVED_MAX..20_000),
            pieces in proptest::collection::vec(1..5000_usize, 1..40),
        ) {
            let mut frame = frame::header(u32::try_from(payload.len()).unwrap(), Flags(0)).to_vec();
            frame.extend_from_slice(&payload);
            let mut pending = Pending::default();
            let (first, mut rest) = frame.split_at(PENDING_BYTES_MOVED_MAX + 1);
            pending.keep(first, false);
            for piece in pieces.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                pending.grow(FRAME_BYTES_MAX);
                let bytes = piece.min(rest.len()).min(pending.spare().len());
                prop_assert!(bytes > 0);
                pending.spare()[..bytes].copy_from_slice(&rest[..bytes]);
                pending.advance(bytes);
                rest = &rest[bytes..];
            }
            prop_assert_eq!(pending.bytes(), &frame[..]);
            pending.consume(8, false);
            prop_assert_eq!(pending.bytes(), &payload[..]);
        }
    }
}
