//! Finds a string that a batch already has.
//! A string -> its index, or room for a new one.
//! Invariant: a lookup looks at `PROBES_MAX` places at most, whatever the strings are.
//! Leaves out: the strings themselves, which lie in the batch's buffer.

use std::ops::Range;

use crate::v2::limits::{INTERNED_BYTES_MAX, INTERNED_MAX};

/// Places of the table; twice as many as strings, so that most are found at
/// the first one.
const PLACES: usize = 2 * INTERNED_MAX;
const _: () = assert!(PLACES.is_power_of_two() && INTERNED_MAX <= u16::MAX as usize);

/// How many places a lookup tries. A string that finds none free is written
/// out each time: strings chosen to collide cost bytes, not time.
const PROBES_MAX: usize = 8;

/// Where no string is.
const FREE: u16 = 0;

/// The strings of a batch by their index, which begins at 1.
#[derive(Debug)]
pub(super) struct Interner {
    /// Index of the string at each place.
    places: Box<[u16]>,
    strings: Vec<Interned>,
}

#[derive(Debug)]
struct Interned {
    /// Where in the batch's buffer.
    bytes: Range<usize>,
    /// At which place, if one was free.
    place: Option<usize>,
}

/// What is known of a string.
pub(super) enum Found {
    /// It has this index.
    Index(u16),
    /// It is new; this is the place for it.
    New(Option<usize>),
}

impl Interner {
    pub(super) fn new() -> Interner {
        Interner { places: vec![FREE; PLACES].into_boxed_slice(), strings: Vec::new() }
    }

    /// Looks `string` up; `buffer` is what all strings lie in.
    pub(super) fn find(&self, string: &str, buffer: &[u8]) -> Found {
        if string.len() > INTERNED_BYTES_MAX {
            return Found::New(None);
        }
        let start = hash(string.as_bytes());
        for probe in 0..PROBES_MAX {
            let place = start.wrapping_add(probe) % PLACES;
            match self.places.get(place) {
                Some(&FREE) => return Found::New(Some(place)),
                Some(&index) if self.bytes(index, buffer) == Some(string.as_bytes()) => {
                    return Found::Index(index);
                }
                _ => {}
            }
        }
        Found::New(None)
    }

    /// Gives the next index to the string that lies at `bytes`, if it may have
    /// one.
    pub(super) fn add(&mut self, bytes: Range<usize>, place: Option<usize>) {
        if self.strings.len() == INTERNED_MAX || bytes.len() > INTERNED_BYTES_MAX {
            return;
        }
        let index = u16::try_from(self.strings.len() + 1).unwrap_or(FREE);
        if let Some(taken) = place.and_then(|place| self.places.get_mut(place)) {
            *taken = index;
        }
        self.strings.push(Interned { bytes, place });
    }

    pub(super) fn len(&self) -> usize {
        self.strings.len()
    }

    /// Forgets all but the first `len` strings.
    pub(super) fn truncate(&mut self, len: usize) {
        for string in self.strings.drain(len.min(self.strings.len())..) {
            if let Some(place) = string.place.and_then(|place| self.places.get_mut(place)) {
                *place = FREE;
            }
        }
    }

    fn bytes<'b>(&self, index: u16, buffer: &'b [u8]) -> Option<&'b [u8]> {
        let string = self.strings.get(usize::from(index).checked_sub(1)?)?;
        buffer.get(string.bytes.clone())
    }
}

/// Eight bytes a step, as in FxHash; its low bits are the worst, so the high
/// ones choose the place.
fn hash(bytes: &[u8]) -> usize {
    const FACTOR: u64 = 0x517c_c1b7_2722_0a95;
    let step = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = step(0, bytes.len() as u64);
    for word in words {
        hash = step(hash, u64::from_le_bytes(*word));
    }
    let tail = rest.iter().fold(0, |tail, &byte| tail << 8 | u64::from(byte));
    usize::try_from(step(hash, tail) >> 32).unwrap_or(0) % PLACES
}
