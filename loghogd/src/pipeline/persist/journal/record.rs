//! What stands in journals and snapshots. Pure.
//! An `Entry` <-> bytes with a length and a checksum.
//! Invariant: bytes that were cut or changed are no entry.
//! Leaves out: files.
//!
//! An entry, all numbers little-endian: length of what follows the checksum
//! (u32), CRC32 of that (u32), then a kind (u8) and its fields. Texts have
//! their length before them (u16), lists their number (u32).

use std::io;

use flate2::Crc;
use jiff::Timestamp;

use crate::pipeline::persist::clients::{CLIENT_ID_BYTES, Key, Remembered};
use crate::pipeline::persist::numbers::{Numbers, Run};

/// A snapshot that is being written.
pub(super) const PART: &str = "clients.part";

/// Length and checksum, in bytes.
const HEAD_BYTES: usize = 8;

pub(super) fn snapshot_name(number: u64) -> String {
    format!("clients.{number}")
}

pub(super) fn journal_name(number: u64) -> String {
    format!("journal.{number}")
}

/// The number in a snapshot's or journal's name.
pub(super) fn number_of(name: &str, kind: &str) -> Option<u64> {
    let digits = name.strip_prefix(kind)?.strip_prefix('.')?;
    let number: u64 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::pipeline) struct Place {
    /// The application's folder.
    pub(in crate::pipeline) folder: String,
    /// What the file is called when it has turned.
    pub(in crate::pipeline) segment: String,
    /// Device and inode.
    pub(in crate::pipeline) id: (u64, u64),
    /// Where it begins.
    pub(in crate::pipeline) offset: u64,
    /// How long it is.
    pub(in crate::pipeline) bytes: u64,
    /// CRC32 of it.
    pub(in crate::pipeline) crc: u32,
}

/// Messages of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ours {
    pub(super) key: Key,
    pub(super) runs: Vec<Run>,
}

/// What stands in a journal, or in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// This is about to be written.
    Region { place: Place, ours: Vec<Ours> },
    /// A region that the journal has was given up.
    Void(Place),
    /// The file that a region is in has got this name.
    Turned { place: Place, name: String },
    /// A client, as it was when the snapshot was made.
    Client(Remembered),
    /// The end of a snapshot of so many clients.
    End { count: u64 },
}

impl Entry {
    /// Appends it.
    ///
    /// # Errors
    /// `InvalidInput` for a text of more than 64 KiB, which no name is.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let start = out.len();
        out.extend([0; HEAD_BYTES]);
        match self {
            Entry::Region { place, ours } => {
                out.push(1);
                write_place(place, out)?;
                write_count(ours.len(), out)?;
                for ours in ours {
                    write_key(&ours.key, out)?;
                    write_runs(&ours.runs, out)?;
                }
            }
            Entry::Void(place) => {
                out.push(4);
                write_place(place, out)?;
            }
            Entry::Turned { place, name } => {
                out.push(5);
                write_place(place, out)?;
                write_text(name, out)?;
            }
            Entry::Client(client) => {
                out.push(2);
                write_key(&client.key, out)?;
                out.extend(client.seen_at.as_second().to_le_bytes());
                out.extend(client.settled.last().to_le_bytes());
                write_runs(&client.settled.beyond().collect::<Vec<_>>(), out)?;
            }
            Entry::End { count } => {
                out.push(3);
                out.extend(count.to_le_bytes());
            }
        }
        let (head, payload) = out.split_at_mut(start + HEAD_BYTES);
        let bytes = u32::try_from(payload.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let place = head.get_mut(start..).and_then(|head| head.split_first_chunk_mut::<4>());
        if let Some((length, crc)) = place {
            *length = bytes.to_le_bytes();
            crc.copy_from_slice(&crc32(payload).to_le_bytes());
        }
        Ok(())
    }

    /// Reads the entry that the bytes begin with, and how long it is. None
    /// when it is none, or not whole.
    pub(super) fn read(bytes: &[u8]) -> Option<(Entry, usize)> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (crc, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let payload = rest.get(..length)?;
        if crc32(payload) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut fields = Fields(payload);
        let entry = match fields.byte()? {
            1 => Entry::Region { place: fields.place()?, ours: fields.ours()? },
            2 => {
                let (key, seen_at) = (fields.key()?, fields.number()?);
                let mut settled = Numbers::up_to(fields.number()?);
                fields.runs()?.into_iter().for_each(|run| settled.add(run));
                let seen_at = Timestamp::from_second(seen_at.cast_signed()).ok()?;
                Entry::Client(Remembered { key, settled, seen_at })
            }
            3 => Entry::End { count: fields.number()? },
            4 => Entry::Void(fields.place()?),
            5 => Entry::Turned { place: fields.place()?, name: fields.text()? },
            _ => return None,
        };
        fields.0.is_empty().then_some((entry, HEAD_BYTES + length))
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) -> io::Result<()> {
    let bytes = u16::try_from(text.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    out.extend(bytes.to_le_bytes());
    out.extend(text.as_bytes());
    Ok(())
}

fn write_place(place: &Place, out: &mut Vec<u8>) -> io::Result<()> {
    write_text(&place.folder, out)?;
    write_text(&place.segment, out)?;
    let Place { id: (device, inode), offset, bytes, .. } = *place;
    [device, inode, offset, bytes].iter().for_each(|number| out.extend(number.to_le_bytes()));
    out.extend(place.crc.to_le_bytes());
    Ok(())
}

fn write_count(count: usize, out: &mut Vec<u8>) -> io::Result<()> {
    let count = u32::try_from(count).map_err(|_| io::ErrorKind::InvalidInput)?;
    out.extend(count.to_le_bytes());
    Ok(())
}

fn write_key(key: &Key, out: &mut Vec<u8>) -> io::Result<()> {
    write_text(&key.app, out)?;
    out.extend(key.id);
    Ok(())
}

fn write_runs(runs: &[Run], out: &mut Vec<u8>) -> io::Result<()> {
    write_count(runs.len(), out)?;
    runs.iter().for_each(|(first, count)| {
        out.extend(first.to_le_bytes());
        out.extend(count.to_le_bytes());
    });
    Ok(())
}

/// What is left of an entry.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn array<const BYTES: usize>(&mut self) -> Option<[u8; BYTES]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.array()?)).ok()
    }

    fn text(&mut self) -> Option<String> {
        let bytes = usize::from(u16::from_le_bytes(self.array()?));
        let (text, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        std::str::from_utf8(text).ok().map(str::to_owned)
    }

    fn key(&mut self) -> Option<Key> {
        let app = self.text()?.into_boxed_str();
        Some(Key { app, id: self.array::<CLIENT_ID_BYTES>()? })
    }

    fn runs(&mut self) -> Option<Vec<Run>> {
        // A count that is wrong ends with the bytes, before it takes memory.
        (0..self.count()?).map(|_| Some((self.number()?, self.number()?))).collect()
    }

    fn place(&mut self) -> Option<Place> {
        Some(Place {
            folder: self.text()?,
            segment: self.text()?,
            id: (self.number()?, self.number()?),
            offset: self.number()?,
            bytes: self.number()?,
            crc: u32::from_le_bytes(self.array()?),
        })
    }

    fn ours(&mut self) -> Option<Vec<Ours>> {
        (0..self.count()?).map(|_| Some(Ours { key: self.key()?, runs: self.runs()? })).collect()
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> impl Strategy<Value = Key> {
        ("[a-z]{1,9}", any::<[u8; CLIENT_ID_BYTES]>())
            .prop_map(|(app, id)| Key { app: app.into(), id })
    }

    fn runs() -> impl Strategy<Value = Vec<Run>> {
        proptest::collection::vec((1..1000_u64, 1..50_u64), 0..5)
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let place = ("[a-z]{1,9}", "[a-z.]{1,9}", any::<(u64, u64)>(), any::<(u64, u64, u32)>());
        let place = place.prop_map(|(folder, segment, id, (offset, bytes, crc))| Place {
            folder,
            segment,
            id,
            offset,
            bytes,
            crc,
        });
        let ours = (key(), runs()).prop_map(|(key, runs)| Ours { key, runs });
        let client = (key(), runs(), 0..1_000_000_i64).prop_map(|(key, runs, seen_at)| {
            let mut settled = Numbers::up_to(7);
            runs.into_iter().for_each(|run| settled.add(run));
            let seen_at = Timestamp::from_second(seen_at).unwrap();
            Entry::Client(Remembered { key, settled, seen_at })
        });
        prop_oneof![
            place.clone().prop_map(Entry::Void),
            (place.clone(), "[a-z]{1,9}").prop_map(|(place, name)| Entry::Turned { place, name }),
            (place, proptest::collection::vec(ours, 0..4))
                .prop_map(|(place, ours)| Entry::Region { place, ours }),
            client,
            any::<u64>().prop_map(|count| Entry::End { count }),
        ]
    }

    proptest! {
        #[test]
        fn entries_come_back_and_what_was_cut_or_changed_does_not(
            entry in entry(), cut: prop::sample::Index, changed: prop::sample::Index, bit in 0..8_u32
        ) {
            let mut bytes = Vec::new();
            entry.write(&mut bytes).unwrap();
            prop_assert_eq!(Entry::read(&bytes), Some((entry, bytes.len())));
            prop_assert_eq!(Entry::read(&bytes[..cut.index(bytes.len())]), None);
            let place = changed.index(bytes.len());
            bytes[place] ^= 1 << bit;
            prop_assert_eq!(Entry::read(&bytes), None);
        }

        #[test]
        fn bytes_of_any_kind_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Entry::read(&bytes);
        }
    }

    #[test]
    fn only_our_own_names_have_a_number() {
        assert_eq!(number_of("clients.12", "clients"), Some(12));
        for name in
            ["clients.012", "clients.", "clients.part", "clients.-1", "journal.1", "clients"]
        {
            assert_eq!(number_of(name, "clients"), None, "{name}");
        }
    }
}
