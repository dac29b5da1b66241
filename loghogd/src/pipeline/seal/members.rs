//! A live file that is compressed while it is written (`compress_on_write`).
//! Lines -> a member behind the others; a file that was torn -> the end of its whole members.
//! Invariant: whatever a kill leaves, zcat reads all members up to the end that is found here.
//! Leaves out: opening, cutting and writing the file.

use std::collections::VecDeque;
use std::io;

use flate2::{Decompress, FlushDecompress, Status};

use super::bytes::{Bytes, ReadAt, Whole as Ref};
use super::decode::Reader;
use super::gzip::{self, Check, Press};
use super::limits::{MEMBERS_REMEMBERED, SLICE_BYTES};
use super::press::Unpressed;

/// Appends `lines` to `out` as one whole gzip member.
///
/// # Errors
/// `OutOfMemory` or `InvalidInput`, when nothing can be made of so much.
pub fn member(press: &mut Press, lines: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let start = out.len();
    press.member(lines, &|| true, out).map_err(|unpressed| {
        out.truncate(start);
        match unpressed {
            Unpressed::Failed(why) => io::Error::new(io::ErrorKind::InvalidInput, why),
            Unpressed::Stopped => io::ErrorKind::Interrupted.into(),
        }
    })
}

/// What a file of members has at its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whole {
    /// Where its last whole member ends. What stands behind is torn.
    pub bytes: u64,
    /// How many there are.
    pub members: u64,
    /// What is torn is a member that somebody else began: the original wrote
    /// one as long as it ran. All its lines are in there up to the tear.
    pub torn_is_foreign: bool,
}

/// Finds the end of the last whole member of a file. Members of ours are
/// hopped over, and the last is inflated; those of others are inflated all.
///
/// # Errors
/// What the system says.
pub fn whole_members<F: ReadAt + ?Sized>(file: &F) -> io::Result<Whole> {
    let whole = Ref(file);
    let file = Bytes::new(&whole)?;
    let mut walk = Walk::default();
    while walk.hop(file)? {}
    let mut check = Check::new();
    // A kill tears the last member only. Where the power failed, anything that
    // had not been synced may be missing.
    while let Some(last) = walk.last.pop_back() {
        if last.is_checked || check.is_whole(file, last.at, last.bytes)? {
            return Ok(walk.whole);
        }
        walk.cut(last);
    }
    if walk.whole.members > 0 {
        return all_checked(file, &mut check);
    }
    Ok(walk.whole)
}

/// The same, and every member is inflated.
fn all_checked(file: Bytes<'_>, check: &mut Check) -> io::Result<Whole> {
    let mut walk = Walk::default();
    while walk.hop(file)? {
        if let Some(last) = walk.last.pop_back()
            && !last.is_checked
            && !check.is_whole(file, last.at, last.bytes)?
        {
            walk.cut(last);
            break;
        }
    }
    Ok(walk.whole)
}

/// From member to member.
#[derive(Default)]
struct Walk {
    whole: Whole,
    /// The last few.
    last: VecDeque<Member>,
}

#[derive(Clone, Copy)]
struct Member {
    at: u64,
    bytes: u64,
    is_checked: bool,
}

impl Walk {
    /// Goes on behind the next member; no when there is no whole one.
    fn hop(&mut self, file: Bytes<'_>) -> io::Result<bool> {
        let at = self.whole.bytes;
        let head = file.array(at)?;
        let member = match head.as_ref().and_then(gzip::member_bytes) {
            Some(bytes) if !file.has(at, bytes) => return Ok(false),
            Some(bytes) => Member { at, bytes, is_checked: false },
            None => match foreign_bytes(file, at)? {
                Ok(bytes) => Member { at, bytes, is_checked: true },
                Err(torn) => {
                    self.whole.torn_is_foreign = torn.is_foreign;
                    return Ok(false);
                }
            },
        };
        self.whole.bytes += member.bytes;
        self.whole.members += 1;
        if self.last.len() == MEMBERS_REMEMBERED {
            self.last.pop_front();
        }
        self.last.push_back(member);
        Ok(true)
    }

    fn cut(&mut self, member: Member) {
        self.whole.bytes = member.at;
        self.whole.members -= 1;
        self.whole.torn_is_foreign = false;
    }
}

struct Torn {
    is_foreign: bool,
}

/// How long a member is that does not say so: inflates it.
fn foreign_bytes(file: Bytes<'_>, at: u64) -> io::Result<Result<u64, Torn>> {
    let mut reader = Reader::new(file, at);
    let mut inflate = Decompress::new_gzip(15);
    let mut plain = Vec::with_capacity(4 * SLICE_BYTES);
    loop {
        let (sealed, _) = reader.rest()?;
        let before = inflate.total_in();
        let status = inflate.decompress_vec(sealed, &mut plain, FlushDecompress::None);
        let taken = inflate.total_in() - before;
        let stands_still = taken == 0 && plain.is_empty();
        plain.clear();
        reader.take(usize::try_from(taken).unwrap_or(usize::MAX));
        match status {
            Ok(Status::StreamEnd) => return Ok(Ok(reader.place() - at)),
            Ok(_) if !stands_still => {}
            // A few bytes may be the beginning of one of ours.
            _ => return Ok(Err(Torn { is_foreign: inflate.total_out() > 0 })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file of members, and where each ends.
    fn members(batches: &[Vec<u8>]) -> (Vec<u8>, Vec<u64>) {
        let mut press = Press::new(6);
        let mut file = Vec::new();
        let mut ends = Vec::new();
        for batch in batches {
            member(&mut press, batch, &mut file).unwrap();
            ends.push(file.len() as u64);
        }
        (file, ends)
    }

    fn inflated(file: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        if file.is_empty() {
            return plain;
        }
        let mut decoder = flate2::read::MultiGzDecoder::new(file);
        io::Read::read_to_end(&mut decoder, &mut plain).unwrap();
        plain
    }

    fn batches() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let line = "[a-z]{0,40}\n".prop_map(String::into_bytes);
        let bytes = prop::collection::vec(any::<u8>(), 0..200);
        prop::collection::vec(prop_oneof![line, bytes], 1..12)
    }

    proptest! {
        #[test]
        fn a_torn_file_is_cut_to_its_whole_members(
            batches in batches(), cut: prop::sample::Index
        ) {
            let (file, ends) = members(&batches);
            prop_assert_eq!(inflated(&file), batches.concat());
            let torn = &file[..cut.index(file.len() + 1)];
            let whole = ends.iter().filter(|&&end| end <= torn.len() as u64).count();
            let found = whole_members(torn).unwrap();
            prop_assert_eq!(found.members, whole as u64);
            prop_assert_eq!(found.bytes, whole.checked_sub(1).map_or(0, |last| ends[last]));
            prop_assert!(!found.torn_is_foreign);
        }

        #[test]
        fn members_that_never_reached_the_disk_are_cut(
            batches in batches(), missing: prop::sample::Index, zeros in any::<bool>()
        ) {
            // Behind a place everything is zeros or old bytes, as after a power cut.
            let (mut file, ends) = members(&batches);
            let missing = missing.index(file.len());
            file[missing..].fill(if zeros { 0 } else { 0xa5 });
            let found = whole_members(&file[..]).unwrap();
            let kept = ends.iter().filter(|&&end| end <= found.bytes).count();
            // The bytes that were to come may have been the same.
            prop_assert!(found.bytes == 0 || ends.contains(&found.bytes));
            let safe = ends.iter().filter(|&&end| end <= missing as u64).count();
            prop_assert!(kept >= safe);
            let cut = &file[..usize::try_from(found.bytes).unwrap()];
            prop_assert_eq!(inflated(cut), batches[..kept].concat());
        }

        #[test]
        fn members_of_others_are_found_by_inflating(
            batches in batches(), foreign in prop::collection::vec(any::<bool>(), 12),
            cut: prop::sample::Index
        ) {
            let mut press = Press::new(1);
            let (mut file, mut ends) = (Vec::new(), Vec::new());
            for (batch, &foreign) in batches.iter().zip(&foreign) {
                if foreign {
                    let mut theirs = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
                    io::Write::write_all(&mut theirs, batch).unwrap();
                    file.extend(theirs.finish().unwrap());
                } else {
                    member(&mut press, batch, &mut file).unwrap();
                }
                ends.push(file.len() as u64);
            }
            let torn = &file[..cut.index(file.len() + 1)];
            let whole = ends.iter().filter(|&&end| end <= torn.len() as u64).count();
            let found = whole_members(torn).unwrap();
            prop_assert_eq!(found.members, whole as u64);
            prop_assert_eq!(found.bytes, whole.checked_sub(1).map_or(0, |last| ends[last]));
        }

        #[test]
        fn bytes_of_any_kind_are_looked_at_without_harm(
            bytes in prop::collection::vec(any::<u8>(), 0..2000)
        ) {
            let found = whole_members(&bytes[..]).unwrap();
            prop_assert!(found.bytes <= bytes.len() as u64);
        }
    }

    #[test]
    fn a_torn_member_of_the_original_is_told_of() {
        let lines = b"2016-05-20 12:00:00.123456 - host - a line of the original\n".repeat(2000);
        let mut theirs = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        io::Write::write_all(&mut theirs, &lines).unwrap();
        io::Write::flush(&mut theirs).unwrap();
        let torn = theirs.get_ref().clone();
        let found = whole_members(&torn[..]).unwrap();
        assert_eq!(found, Whole { bytes: 0, members: 0, torn_is_foreign: true });
    }

    #[test]
    fn thousands_of_damaged_members_do_not_hide_the_whole_ones_before() {
        let mut press = Press::new(1);
        let (mut file, mut one) = (Vec::new(), Vec::new());
        member(&mut press, b"whole\n", &mut file).unwrap();
        let whole = file.len() as u64;
        member(&mut press, b"damaged\n", &mut one).unwrap();
        let crc = one.len() - 8;
        one[crc] ^= 1;
        file.extend(one.repeat(MEMBERS_REMEMBERED + 10));
        let found = whole_members(&file[..]).unwrap();
        assert_eq!((found.bytes, found.members), (whole, 1));
    }

    #[test]
    fn a_member_of_a_line_is_small_and_a_batch_is_one_member() {
        let (file, _) = members(&[b"short\n".to_vec()]);
        assert!(file.len() < 40, "{}", file.len());
        let (file, ends) = members(&[b"a line of many\n".repeat(20_000)]);
        assert_eq!(ends, [file.len() as u64]);
    }
}
