//! Whole frames, one behind the other, in one buffer.
//! Frame -> the end of the buffer; the front -> one slice for one write.
//! Invariant: the sizes add up to the bytes; only whole frames come or go.
//! Leaves out: bounds and who waits for what (`queue`).

use std::collections::VecDeque;

use crate::limits::BUFFER_BYTES_KEPT;

/// A list of whole frames, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    /// Where the oldest frame begins; what lies before it has gone.
    start: usize,
    sizes: VecDeque<u32>,
}

impl Frames {
    /// Number of frames.
    pub(crate) fn len(&self) -> usize {
        self.sizes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// All frames, back to back.
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Each frame by itself, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.as_slice();
        self.sizes.iter().map_while(move |size| {
            let (frame, behind) = rest.split_at_checked(*size as usize)?;
            rest = behind;
            Some(frame)
        })
    }

    /// Appends one frame.
    pub(crate) fn push(&mut self, frame: &[u8]) {
        // A frame is at most `FRAME_BYTES_MAX` and a header long.
        let Ok(size) = u32::try_from(frame.len()) else { return };
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(frame);
        self.sizes.push_back(size);
    }

    /// Drops the oldest frame; false when there is none.
    pub(crate) fn pop(&mut self) -> bool {
        let Some(size) = self.sizes.pop_front() else { return false };
        self.start += size as usize;
        if self.sizes.is_empty() {
            self.clear();
        }
        true
    }

    /// Removes the frames that lie wholly within the first `bytes`. Returns how
    /// many they were, and how long together.
    pub(crate) fn consume(&mut self, bytes: usize) -> (usize, usize) {
        let (mut frames, mut consumed) = (0, 0);
        for size in &self.sizes {
            if consumed + *size as usize > bytes {
                break;
            }
            consumed += *size as usize;
            frames += 1;
        }
        self.sizes.drain(..frames);
        self.start += consumed;
        if self.sizes.is_empty() {
            self.clear();
        }
        (frames, consumed)
    }

    /// Moves the oldest frames into `into`, which is empty: as many as have
    /// `bytes_max` bytes with `overhead_bytes` around each, and `frames_max` at
    /// most.
    pub(crate) fn split_front(
        &mut self,
        into: &mut Frames,
        frames_max: usize,
        bytes_max: usize,
        overhead_bytes: usize,
    ) {
        let (mut frames, mut bytes) = (0, 0_usize);
        for size in self.sizes.iter().take(frames_max) {
            let with_this = bytes + *size as usize;
            if with_this + (frames + 1) * overhead_bytes > bytes_max {
                break;
            }
            bytes = with_this;
            frames += 1;
        }
        if frames == self.sizes.len() {
            return std::mem::swap(self, into);
        }
        into.bytes.extend_from_slice(self.as_slice().get(..bytes).unwrap_or_default());
        into.sizes.extend(self.sizes.drain(..frames));
        self.start += bytes;
    }

    /// Moves all of `newer` behind what is here.
    pub(crate) fn append(&mut self, newer: &mut Frames) {
        self.bytes.extend_from_slice(newer.as_slice());
        self.sizes.append(&mut newer.sizes);
        newer.clear();
    }

    /// Drops everything, and the memory of a burst with it.
    pub(crate) fn clear(&mut self) {
        self.sizes.clear();
        self.start = 0;
        self.bytes.clear();
        if self.bytes.capacity() > BUFFER_BYTES_KEPT {
            *self = Frames::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(all: &[&str]) -> Frames {
        let mut frames = Frames::default();
        all.iter().for_each(|frame| frames.push(frame.as_bytes()));
        frames
    }

    #[test]
    fn frames_leave_in_the_order_in_which_they_came() {
        let mut frames = frames(&["a", "bb", "ccc"]);
        assert_eq!(frames.as_slice(), b"abbccc");
        assert!(frames.pop());
        frames.push(b"dddd");
        assert_eq!(frames.iter().collect::<Vec<_>>(), [&b"bb"[..], b"ccc", b"dddd"]);
        assert_eq!(frames.len(), 3);
    }

    #[test]
    fn a_frame_written_in_part_stays_whole() {
        let mut frames = frames(&["aa", "bbbb", "cc"]);
        assert_eq!(frames.consume(5), (1, 2));
        assert_eq!(frames.as_slice(), b"bbbbcc");
        assert_eq!(frames.consume(6), (2, 6));
        assert!(frames.is_empty() && frames.as_slice().is_empty() && !frames.pop());
    }

    #[test]
    fn what_came_back_stands_before_what_came_since() {
        let mut back = frames(&["old", "older"]);
        back.pop();
        let mut since = frames(&["gone", "new"]);
        since.pop();
        back.append(&mut since);
        assert_eq!(back.iter().collect::<Vec<_>>(), [&b"older"[..], b"new"]);
        assert!(since.is_empty());
    }

    #[test]
    fn dropping_and_adding_for_ever_keeps_the_buffer_small() {
        let mut frames = frames(&["0123456789"; 100]);
        for _ in 0..100_000 {
            frames.pop();
            frames.push(b"0123456789");
        }
        assert_eq!(frames.as_slice().len(), 1_000);
        assert!(frames.bytes.capacity() < 10_000, "{}", frames.bytes.capacity());
    }

    #[test]
    fn the_memory_of_a_burst_is_given_back() {
        let mut frames = Frames::default();
        frames.push(&vec![0; BUFFER_BYTES_KEPT + 1]);
        frames.pop();
        assert_eq!(frames.bytes.capacity(), 0);
    }
}
