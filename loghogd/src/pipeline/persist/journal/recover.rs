//! Finds out after a stop which messages of clients are safe.
//! Snapshot, journal and what the files hold -> what is remembered of every client.
//! Invariant: afterwards the lines of a message and its number are both there, or neither is.
//! Leaves out: messages without numbers; torn lines at the end of files (`live`).

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;

use flate2::Crc;
use jiff::{SignedDuration, Timestamp};
use tracing::{error, info, warn};

use super::FOLDER;
use super::record::{Entry, Ours, Place, journal_name, number_of, snapshot_name};
use crate::disk::{self, Disk, DiskFile};
use crate::pipeline::persist::clients::{Key, Remembered};
use crate::pipeline::persist::live::{self, Form};
use crate::pipeline::persist::numbers::Numbers;
use crate::pipeline::rotate::name::{Name, Segment};

/// What was found.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Recovered {
    /// All clients.
    pub(in crate::pipeline) remembered: Vec<Remembered>,
    /// The largest number that a snapshot or journal has.
    pub(in crate::pipeline) number: u64,
    /// It has to be written down anew before anything is added.
    pub(in crate::pipeline) is_stale: bool,
}

/// Takes over what a process before has left. Nobody else may touch the files
/// meanwhile: regions that are not whole are cut off.
///
/// # Errors
/// When the state cannot be read; what is damaged in it is no error.
pub(in crate::pipeline) fn recover(disk: &dyn Disk, now: Timestamp) -> io::Result<Recovered> {
    let names = disk.names(FOLDER)?;
    let numbers = |kind: &str| -> Vec<u64> {
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name, kind)).collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        numbers
    };
    let snapshots = numbers("clients");
    let (mut clients, mut base) = (BTreeMap::new(), 0);
    for &number in &snapshots {
        match read_snapshot(&content(disk, FOLDER, &snapshot_name(number))?) {
            Some(found) => {
                (clients, base) = (found, number);
                break;
            }
            None => warn!(
                "{} is damaged; what clients send again may be written twice",
                shown(disk, FOLDER, &snapshot_name(number)).display()
            ),
        }
    }
    let journals = numbers("journal");
    let mut regions = Regions::default();
    if journals.contains(&base) {
        let journal = content(disk, FOLDER, &journal_name(base))?;
        let mut rest = journal.as_slice();
        while let Some((entry, bytes)) = Entry::read(rest) {
            rest = rest.get(bytes..).unwrap_or_default();
            match entry {
                Entry::Region { place, ours } => regions.add(place, ours),
                Entry::Void(place) => regions.remove(&place),
                Entry::Turned { place, name } => regions.rename(&place, name),
                Entry::Client(_) | Entry::End { .. } => {}
            }
        }
    }
    for Region { place, turned, ours } in regions.last.into_values() {
        let is_whole = match look(disk, &place, turned.as_deref()) {
            Ok(found) => found.is_whole(),
            Err(error) => {
                error!(
                    "cannot tell whether {} is whole: {error}; {}; messages of its end may be \
                     written twice",
                    shown(disk, &place.folder, &place.segment).display(),
                    disk::remedy(&error)
                );
                false
            }
        };
        if is_whole {
            regions.settled.extend(ours);
        }
    }
    // Nobody could come while nobody was there.
    let absence = absence(disk, &names, now);
    for (_, seen_at) in clients.values_mut() {
        *seen_at = seen_at.saturating_add(absence).unwrap_or(now).min(now);
    }
    for Ours { key, runs } in regions.settled {
        let (settled, seen_at) = clients.entry(key).or_default();
        runs.into_iter().for_each(|run| settled.add(run));
        *seen_at = now;
    }
    let remembered = clients.into_iter();
    let remembered =
        remembered.map(|(key, (settled, seen_at))| Remembered { key, settled, seen_at }).collect();
    let number = snapshots.first().max(journals.first()).copied().unwrap_or(0);
    // A journal may end in the middle of an entry.
    let is_stale = !journals.is_empty() || base != number;
    Ok(Recovered { remembered, number, is_stale })
}

/// How long ago the process before has written here for the last time.
fn absence(disk: &dyn Disk, names: &[String], now: Timestamp) -> SignedDuration {
    let is_ours = |name: &&String| {
        number_of(name, "clients").is_some() || number_of(name, "journal").is_some()
    };
    let modified = |name: &String| Some(disk.facts(FOLDER, name).ok()??.modified);
    let last = names.iter().filter(is_ours).filter_map(modified).max();
    last.map_or(SignedDuration::ZERO, |last| now.duration_since(last)).max(SignedDuration::ZERO)
}

type Clients = BTreeMap<Key, (Numbers, Timestamp)>;

fn read_snapshot(bytes: &[u8]) -> Option<Clients> {
    let (mut clients, mut rest) = (Clients::new(), bytes);
    loop {
        let (entry, length) = Entry::read(rest)?;
        rest = rest.get(length..)?;
        match entry {
            Entry::Client(client) => {
                clients.insert(client.key, (client.settled, client.seen_at));
            }
            Entry::End { count } => {
                let is_whole = rest.is_empty() && count == clients.len() as u64;
                return is_whole.then_some(clients);
            }
            Entry::Region { .. } | Entry::Void(_) | Entry::Turned { .. } => return None,
        }
    }
}

/// The regions of a journal: those before the last of each file are settled.
#[derive(Default)]
struct Regions {
    last: BTreeMap<(String, (u64, u64)), Region>,
    settled: Vec<Ours>,
}

struct Region {
    place: Place,
    /// What its file was called last, where that is known.
    turned: Option<String>,
    ours: Vec<Ours>,
}

impl Regions {
    fn add(&mut self, place: Place, ours: Vec<Ours>) {
        let key = (place.folder.clone(), place.id);
        // A region that was tried again was cut off before.
        self.remove(&place);
        let before = self.last.insert(key, Region { place, turned: None, ours });
        self.settled.extend(before.into_iter().flat_map(|before| before.ours));
    }

    fn rename(&mut self, place: &Place, name: String) {
        if let Some(region) = self.last.get_mut(&(place.folder.clone(), place.id)) {
            region.turned = Some(name);
        }
    }

    fn remove(&mut self, place: &Place) {
        let key = (place.folder.clone(), place.id);
        let is_same = |before: &Region| {
            (before.place.offset, &before.place.segment) == (place.offset, &place.segment)
        };
        if self.last.get(&key).is_some_and(is_same) {
            self.last.remove(&key);
        }
    }
}

/// What became of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// It is in its file, which is synced.
    Whole,
    /// Its file was sealed, so it was whole.
    Sealed,
    /// It was not, or not wholly; what there was is cut off.
    CutOff,
    /// Its file is not there, nor what could have become of it.
    Gone,
    /// In its place is something else, which is left alone.
    Foreign,
}

impl Found {
    fn is_whole(self) -> bool {
        match self {
            Found::Whole | Found::Sealed => true,
            Found::CutOff | Found::Gone | Found::Foreign => false,
        }
    }
}

fn look(disk: &dyn Disk, place: &Place, turned: Option<&str>) -> io::Result<Found> {
    let Name::Segment(segment) = Name::read(&place.segment) else { return Ok(Found::Gone) };
    let form = match segment.format {
        None => Form::Plain,
        Some(_) => Form::Gzip { level: 0 },
    };
    let live = form.name(&segment.live);
    let mut was_sealed = false;
    for name in disk.names(&place.folder)? {
        let is_candidate = match Name::read(&name) {
            Name::Live { .. } => name == live,
            Name::Segment(found) if found.live == segment.live => {
                let is_named =
                    turned.is_some_and(|turned| Name::read(turned) == Name::Segment(found.plain()));
                was_sealed |= is_named && found.format != segment.format;
                found.format == segment.format
            }
            _ => false,
        };
        let has_id = |facts: Option<disk::Facts>| facts.is_some_and(|facts| facts.id == place.id);
        if is_candidate && disk.facts(&place.folder, &name).is_ok_and(has_id) {
            return look_at(disk, place, &segment, form, &name);
        }
    }
    Ok(if was_sealed { Found::Sealed } else { Found::Gone })
}

fn look_at(
    disk: &dyn Disk,
    place: &Place,
    segment: &Segment,
    form: Form,
    name: &str,
) -> io::Result<Found> {
    /// A file as short as this may have no stamp yet.
    const STAMPED_BYTES: u64 = 128;
    let file = disk.open_live(&place.folder, name)?.file;
    let bytes = file.facts()?.bytes;
    let shown = shown(disk, &place.folder, name);
    let is_ours = match live::stamp(&*file, form)? {
        Some(began) => began == segment.began,
        None => bytes < STAMPED_BYTES && place.offset == 0,
    };
    let end = place.offset.saturating_add(place.bytes);
    if !is_ours {
        return Ok(Found::Gone);
    }
    if bytes >= end && crc32(&*file, place)? == place.crc {
        file.sync()?;
        disk.sync_folder(&place.folder)?;
        return Ok(Found::Whole);
    }
    if bytes > end {
        warn!(
            "{} was changed by somebody: at byte {} is not what was written there; messages of \
             that place may be written twice",
            shown.display(),
            place.offset
        );
        return Ok(Found::Foreign);
    }
    if bytes > place.offset {
        let modified = file.facts()?.modified;
        file.set_len(place.offset)?;
        file.set_modified(modified)?;
        info!(
            "cut {} bytes off {}, which were being written at the stop; their senders have them \
             still",
            bytes - place.offset,
            shown.display()
        );
    }
    file.sync()?;
    Ok(Found::CutOff)
}

pub(super) fn crc32(file: &dyn DiskFile, place: &Place) -> io::Result<u32> {
    let (mut crc, mut at, mut left) = (Crc::new(), place.offset, place.bytes);
    let mut buffer = vec![0; 64 << 10];
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let slice = buffer.get_mut(..wanted).unwrap_or_default();
        let bytes = file.read_at(slice, at)?;
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        crc.update(slice.get(..bytes).unwrap_or_default());
        at += bytes as u64;
        left -= bytes as u64;
    }
    Ok(crc.sum())
}

fn content(disk: &dyn Disk, folder: &str, name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    disk.open(folder, name)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn shown(disk: &dyn Disk, folder: &str, name: &str) -> PathBuf {
    disk.path().join(folder).join(name)
}
