//! The names of log files: what a file is stands in its name. Pure.
//! A name in a folder <-> a live file, a closed segment, or what is left of making one.
//! Invariant: what is read and written again is the same name; everything else is foreign.
//! Leaves out: whose file it is (`config::facility::Table::owner`), and what is in it.
//!
//! ```text
//! STEM.log                           live; STEM is MODULE or HOST-MODULE
//! STEM.log.gz                        live, with compress_on_write
//! STEM.log.YYYY-MM-DD-HH-MM-SS-ffffff    a segment: when it began, in local time
//!   ... .xz .gz .bz2 .zst            the same, sealed
//!   ... .xz.part                     a seal that is being written
//!   ... .damaged, .damaged.2         a segment that was set aside; likewise .xz.damaged
//! ```

mod began;

pub use began::{Began, HEAD_BYTES_MAX, JSON_HEAD, LINE_STAMP_BYTES, NAME_STAMP_BYTES};

use crate::config::checked::Format;
use crate::pipeline::persist::path::{LIVE_SUFFIX, TEMPORARY_BYTES_ROOM};
use std::fmt;

/// The end of a live file's name when it is compressed while it is written.
pub const LIVE_GZIP_SUFFIX: &str = ".log.gz";

/// The end of the name under which a seal is being written.
const UNFINISHED_SUFFIX: &str = ".part";

/// What stands behind the name of a segment that was set aside.
const DAMAGED_SUFFIX: &str = ".damaged";

/// Most segments of one name that are set aside beside each other: what the
/// room behind a name takes. There is no further one then.
const DAMAGED_NUMBER_MAX: u32 = 9_999_999;

const _: () = assert!(UNFINISHED_SUFFIX.len() <= TEMPORARY_BYTES_ROOM);
const _: () = assert!(DAMAGED_SUFFIX.len() + ".9999999".len() <= TEMPORARY_BYTES_ROOM);

/// What a file is, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A file that lines are appended to.
    Live {
        /// `MODULE` or `HOST-MODULE`.
        stem: Box<str>,
        /// It is compressed while it is written.
        gzip: bool,
    },
    /// A closed file, sealed or not.
    Segment(Segment),
    /// A seal that is being written, or was when the process was stopped.
    Unfinished(Segment),
    /// A closed file that was set aside.
    Damaged(Damaged),
    /// None of ours; never to be touched.
    Foreign,
}

impl Name {
    /// What the file of this name is.
    pub fn read(name: &str) -> Name {
        if let Some(sealed) = name.strip_suffix(UNFINISHED_SUFFIX) {
            let segment = Segment::read(sealed).filter(|segment| segment.format.is_some());
            return segment.map_or(Name::Foreign, Name::Unfinished);
        }
        let live = |suffix, gzip| {
            let stem = name.strip_suffix(suffix).filter(|stem| can_be_stem(stem))?;
            Some(Name::Live { stem: stem.into(), gzip })
        };
        live(LIVE_SUFFIX, false)
            .or_else(|| live(LIVE_GZIP_SUFFIX, true))
            .or_else(|| Segment::read(name).map(Name::Segment))
            .or_else(|| Damaged::read(name).map(Name::Damaged))
            .unwrap_or(Name::Foreign)
    }
}

/// A closed file. Those of one live file are in the order of their data.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    /// The name of the live file that it was, such as `web.log`; without
    /// `.gz`, also where that was compressed while it was written.
    pub live: Box<str>,
    /// When it began.
    pub began: Began,
    /// How it is sealed; none while it is plain.
    pub format: Option<Format>,
}

impl Segment {
    /// `MODULE` or `HOST-MODULE`.
    pub fn stem(&self) -> &str {
        self.live.strip_suffix(LIVE_SUFFIX).unwrap_or(&self.live)
    }

    /// The same segment as it was before it was sealed.
    pub fn plain(&self) -> Segment {
        Segment { format: None, ..self.clone() }
    }

    /// The same segment, sealed.
    pub fn sealed(&self, format: Format) -> Segment {
        Segment { format: Some(format), ..self.clone() }
    }

    /// The name under which it is being sealed.
    pub fn unfinished(&self) -> String {
        format!("{self}{UNFINISHED_SUFFIX}")
    }

    /// Reads the name of a segment that is not being written.
    fn read(name: &str) -> Option<Segment> {
        let sealed = Format::ALL.iter().find_map(|&format| {
            let rest = name.strip_suffix(format.extension())?.strip_suffix('.')?;
            Some((rest, Some(format)))
        });
        let (rest, format) = sealed.unwrap_or((name, None));
        let (live, stamp) = rest.split_at_checked(rest.len().checked_sub(NAME_STAMP_BYTES)?)?;
        let live = live.strip_suffix('.')?;
        let stem = live.strip_suffix(LIVE_SUFFIX)?;
        let began = Began::from_name(stamp)?;
        can_be_stem(stem).then(|| Segment { live: live.into(), began, format })
    }
}

/// The segment's file name.
impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.live, self.began)?;
        match self.format {
            Some(format) => write!(f, ".{}", format.extension()),
            None => Ok(()),
        }
    }
}

/// A segment that was set aside, because it cannot be read or is not what it
/// should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Damaged {
    /// What it was to be.
    pub segment: Segment,
    /// From 2 on, where that name is taken; 0 for the first.
    number: u32,
}

impl Damaged {
    /// The first name to try.
    pub fn new(segment: Segment) -> Damaged {
        Damaged { segment, number: 0 }
    }

    /// The name to try when this one is taken; none when all are.
    pub fn next(self) -> Option<Damaged> {
        let number = self.number.max(1) + 1;
        (number <= DAMAGED_NUMBER_MAX).then_some(Damaged { number, ..self })
    }

    fn read(name: &str) -> Option<Damaged> {
        if let Some(segment) = name.strip_suffix(DAMAGED_SUFFIX) {
            return Segment::read(segment).map(Damaged::new);
        }
        let (rest, digits) = name.rsplit_once('.')?;
        let number =
            digits.parse().ok().filter(|number| (2..=DAMAGED_NUMBER_MAX).contains(number))?;
        let segment = Segment::read(rest.strip_suffix(DAMAGED_SUFFIX)?)?;
        // `02` and `+2` are no numbers that we write.
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
        plain.then_some(Damaged { segment, number })
    }
}

/// The file's name.
impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{DAMAGED_SUFFIX}", self.segment)?;
        match self.number {
            0 => Ok(()),
            number => write!(f, ".{number}"),
        }
    }
}

/// Can it stand before `.log`? What the configuration refuses as a name is no
/// name of ours.
fn can_be_stem(stem: &str) -> bool {
    !stem.is_empty()
        && !stem.starts_with('.')
        && !stem.chars().any(|shown| shown == '/' || shown.is_control())
}

#[cfg(test)]
mod tests;
