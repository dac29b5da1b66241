//! Lists what the facilities have on the disk.
//! The names in a folder -> files and their segments, by facility.
//! Invariant: what has no owner, is not exactly named as ours, or is no regular file is not listed.
//! Leaves out: reading files; which of them are surplus.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::choose::{Closed, File, Holding};
use crate::config::checked::Format;
use crate::config::facility::{Facility, Table};
use crate::disk::{Disk, Facts};
use crate::pipeline::claims::Claims;
use crate::pipeline::persist::path::LIVE_SUFFIX;
use crate::pipeline::rotate::name::{Began, Name, Segment};
use crate::pipeline::ship::Receipts;

/// Who still needs a segment.
#[derive(Clone, Copy)]
pub(super) struct Needs<'a> {
    pub(super) claims: &'a Claims,
    pub(super) receipts: &'a Receipts,
}

/// The files in one application's folder. One that cannot be looked at is
/// passed over, and the first such trouble given to `trouble`.
///
/// # Errors
/// When the folder cannot be read.
pub(super) fn list(
    disk: &dyn Disk,
    table: &Table,
    folder: &str,
    needs: Needs<'_>,
    zone: &TimeZone,
    trouble: &mut Option<io::Error>,
) -> io::Result<Vec<Holding>> {
    let mut found = Found::default();
    for name in disk.names(folder)? {
        let (stem, segment) = match Name::read(&name) {
            Name::Live { stem, .. } => (stem, None),
            Name::Segment(segment) => (segment.stem().into(), Some(segment)),
            Name::Unfinished(_) | Name::Damaged(_) | Name::Foreign => continue,
        };
        let Some(owner) = table.owner(folder, &stem) else { continue };
        match disk.facts(folder, &name) {
            Ok(Some(facts)) => found.add(owner, &stem, segment, facts),
            Ok(None) => {}
            // A folder, a link, a pipe: not ours, whatever it is called.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            Err(error) => _ = trouble.get_or_insert(error),
        }
    }
    Ok(found.finish(folder, needs, zone))
}

/// What was found so far, by the facility's module.
#[derive(Default)]
struct Found(HashMap<Box<str>, (Arc<Facility>, FilesByStem)>);

type FilesByStem = BTreeMap<Box<str>, Files>;

/// What was found of one live file.
#[derive(Default)]
struct Files {
    live_bytes: u64,
    segments: BTreeMap<Began, Forms>,
}

/// What was found of one segment.
#[derive(Default)]
struct Forms {
    forms: Vec<Option<Format>>,
    modified: Option<Timestamp>,
    bytes: u64,
    disk_bytes: u64,
}

impl Found {
    fn add(&mut self, owner: &Arc<Facility>, stem: &str, segment: Option<Segment>, facts: Facts) {
        let (_, files) = self
            .0
            .entry(owner.module.clone())
            .or_insert_with(|| (Arc::clone(owner), BTreeMap::new()));
        let files = files.entry(stem.into()).or_default();
        // What they hold, not what they take: a file system may give a file
        // that grows more than it needs, or compress it.
        let bytes = facts.bytes;
        let Some(segment) = segment else {
            files.live_bytes = files.live_bytes.saturating_add(bytes);
            return;
        };
        let forms = files.segments.entry(segment.began).or_default();
        forms.forms.push(segment.format);
        forms.modified = forms.modified.max(Some(facts.modified));
        // While it is being sealed it is there twice, for a moment only.
        forms.bytes = forms.bytes.max(bytes);
        forms.disk_bytes = forms.disk_bytes.saturating_add(facts.disk_bytes);
    }

    fn finish(self, folder: &str, needs: Needs<'_>, zone: &TimeZone) -> Vec<Holding> {
        let mut holdings: Vec<Holding> = self
            .0
            .into_values()
            .map(|(facility, files)| {
                let file = |(stem, files): (Box<str>, Files)| {
                    files.finish(&facility, folder, &stem, needs, zone)
                };
                let files = files.into_iter().map(file).collect();
                Holding { facility, files }
            })
            .collect();
        holdings.sort_by_key(|holding| holding.facility.origins.section_line);
        holdings
    }
}

impl Files {
    fn finish(
        self,
        facility: &Facility,
        folder: &str,
        stem: &str,
        needs: Needs<'_>,
        zone: &TimeZone,
    ) -> File {
        let live = format!("{stem}{LIVE_SUFFIX}");
        let begins: Vec<Began> = self.segments.keys().copied().skip(1).collect();
        let mut begins = begins.into_iter();
        let segments = self.segments.into_iter().map(|(began, mut forms)| {
            forms.forms.sort_unstable();
            Closed {
                began,
                ended: ended(began, begins.next(), forms.modified, zone),
                bytes: forms.bytes,
                disk_bytes: forms.disk_bytes,
                claimed: needs.claims.holds(folder, &live, began),
                unshipped: needs.receipts.owes(facility, &live, began),
                forms: forms.forms,
            }
        });
        let segments = segments.collect();
        File { segments, live_bytes: self.live_bytes, live: live.into() }
    }
}

/// How far apart two zones can be (UTC-12 to UTC+14). The names may be older
/// than the zone that we live in.
const ZONES_APART_MAX: SignedDuration = SignedDuration::from_hours(26);

/// When a segment ended: when it was changed last, or, if that was longer
/// ago than zones can confuse, when the next one began; but not before it
/// began itself. What the disk says is wrong where a file was copied.
fn ended(
    began: Began,
    next: Option<Began>,
    modified: Option<Timestamp>,
    zone: &TimeZone,
) -> Timestamp {
    let modified = modified.unwrap_or(Timestamp::MAX);
    let next = next
        .and_then(|next| next.to_timestamp(zone)?.checked_add(ZONES_APART_MAX).ok())
        .unwrap_or(Timestamp::MAX);
    modified.min(next).max(began.to_timestamp(zone).unwrap_or(Timestamp::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_ends_with_its_last_change_or_when_the_next_one_begins() {
        let paris = TimeZone::get("Europe/Paris").unwrap();
        let began = |line: &str| Began::from_stamp(line.as_bytes()).unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let first = began("2026-11-20 00:00:00.000000");
        let second = began("2026-11-21 00:00:00.000000");
        for (next, modified, expected) in [
            (None, "2026-11-20T12:00:00+01", "2026-11-20T12:00:00+01"),
            (Some(second), "2026-11-20T12:00:00+01", "2026-11-20T12:00:00+01"),
            // It was copied, or sealed by the original.
            (Some(second), "2027-01-01T00:00:00+01", "2026-11-22T02:00:00+01"),
            // The name may have been given in another zone.
            (Some(second), "2026-11-21T12:00:00+01", "2026-11-21T12:00:00+01"),
            // No line of it can be older than its first one.
            (None, "1970-01-01T00:00:00+00", "2026-11-20T00:00:00+01"),
            (Some(second), "1970-01-01T00:00:00+00", "2026-11-20T00:00:00+01"),
        ] {
            assert_eq!(ended(first, next, Some(at(modified)), &paris), at(expected));
        }
    }
}
