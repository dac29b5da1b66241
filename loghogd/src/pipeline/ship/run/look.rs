//! Finds out what there is to ship.
//! What was heard, and the directory -> streams in line, and what each of them owes.
//! Invariant: nothing is owed that is through; what is owed stands in the order of its lines.
//! Leaves out: reading files (`course`); delivering.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::iter;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use tracing::error;

use super::super::course::{Course, Owed};
use super::super::limits::LOOK_EVERY;
use super::super::mark::{Mark, Stream};
use super::super::notices::{Heard, Replay};
use super::super::status::Doing;
use super::Run;
use crate::config::checked::Format;
use crate::config::facility::Table;
use crate::disk::{self, Disk};
use crate::pipeline::rotate::name::{Began, Name, Segment};

impl Run {
    /// Takes note of what was heard.
    pub(super) fn take_note(&mut self, heard: Heard) {
        if heard.again {
            self.stopped = false;
            self.is_connected = false;
            self.pauses.begin_anew();
            // Of those whose states could not be read, it is tried again to read them.
            self.courses.retain(|_, course| !course.is_unknown);
            self.courses.values_mut().for_each(|course| course.stopped = None);
            self.rouse_all();
        }
        if heard.all {
            self.look_at = Instant::now() + LOOK_EVERY;
        }
        if heard.all || !heard.folders.is_empty() {
            self.look(&heard.folders, heard.all);
        }
        for stream in heard.grown {
            if self.courses.contains_key(&stream) {
                self.ready.put(&stream);
            } else {
                self.look(&BTreeSet::from([stream.app.clone()]), false);
            }
        }
        for replay in heard.replays {
            let counted = self.replay(&replay);
            // Whoever has asked may have gone.
            let _ = replay.answer.try_send(counted);
        }
    }

    /// Looks at what stands in the folders: which streams there are, what they owe.
    pub(super) fn look(&mut self, folders: &BTreeSet<Box<str>>, all: bool) {
        let table = self.table.load_full();
        let ships = |app: &str| {
            table.iter().any(|facility| *facility.app == *app && facility.ship.contains(&self.name))
        };
        let apps: BTreeSet<Box<str>> = match all {
            true => table.iter().map(|facility| facility.app.clone()).collect(),
            false => folders.clone(),
        };
        if all {
            let (name, table) = (&self.name, &table);
            self.courses.retain(|stream, _| {
                let stem = stream.live.strip_suffix(".log").unwrap_or(&stream.live);
                table.owner(&stream.app, stem).is_some_and(|owner| owner.ship.contains(name))
            });
        }
        let apps: Vec<Box<str>> = apps.into_iter().filter(|app| ships(app)).collect();
        for app in apps {
            if let Err(error) = self.look_into(&app, &table) {
                let path = self.ground.disk.path().join(&*app);
                let what = format!("cannot look into {}: {error}", path.display());
                self.note_error(&what, Doing::Retrying);
                self.say(&what, disk::remedy(&error));
            }
        }
    }

    fn look_into(&mut self, app: &str, table: &Table) -> io::Result<()> {
        /// In which forms a segment is there.
        #[derive(Default)]
        struct Forms {
            plain: bool,
            sealed: Option<Format>,
        }
        let mut found: BTreeMap<Box<str>, BTreeMap<Began, Forms>> = BTreeMap::new();
        for name in self.listed(app)? {
            match Name::read(&name) {
                Name::Live { stem, gzip: false } => {
                    found.entry(format!("{stem}.log").into()).or_default();
                }
                Name::Segment(segment) => {
                    let forms = found.entry(segment.live).or_default();
                    let forms = forms.entry(segment.began).or_default();
                    match segment.format {
                        None => forms.plain = true,
                        Some(format) => forms.sealed = Some(format),
                    }
                }
                _ => {}
            }
        }
        for course in self.courses.values_mut().filter(|course| *course.stream.app == *app) {
            if !found.contains_key(&course.stream.live) {
                course.looked(VecDeque::new());
            }
        }
        for (live, segments) in found {
            let stem = live.strip_suffix(".log").unwrap_or(&live);
            let owner = table.owner(app, stem).filter(|owner| owner.ship.contains(&self.name));
            let Some(facility) = owner else { continue };
            let stream = Stream { app: app.into(), live: live.clone() };
            let (name, receipts) = (&self.name, &self.receipts);
            let course = self.courses.entry(stream.clone()).or_insert_with(|| {
                let state = receipts.state(name, &stream);
                if let Err(why) = &state {
                    error!("{} is not shipped to {name}: {why}", stream.shown());
                }
                Course::new(stream.clone(), Arc::clone(facility), state)
            });
            if course.is_new() {
                course.follow(self.marks.get(&stream));
            }
            course.facility = Arc::clone(facility);
            // Of what is deleted nothing need be remembered.
            course.state.done.retain(|began, _| segments.contains_key(began));
            course.state.again.retain(|began, _| segments.contains_key(began));
            let mut owed = VecDeque::new();
            for (began, forms) in segments {
                if course.state.done.contains_key(&began) {
                    continue;
                }
                let segment = Segment { live: live.clone(), began, format: forms.sealed };
                let known = course.owed.iter().find(|owed| owed.segment == segment);
                let bytes = match known {
                    Some(known) => known.bytes,
                    None => match owed_now(&*self.ground.disk, app, segment.clone()) {
                        Ok(Some(now)) => {
                            owed.push_back(now);
                            continue;
                        }
                        Ok(None) => continue,
                        // A folder, a link: not ours, whatever it is called.
                        Err(error) if error.kind() == io::ErrorKind::InvalidInput => continue,
                        Err(error) => return Err(error),
                    },
                };
                owed.push_back(Owed { segment, bytes });
            }
            course.looked(owed);
            if course.stopped.is_none() {
                self.ready.put(&stream);
            }
        }
        Ok(())
    }

    /// The names in a folder. While a segment is being sealed, one listing may show
    /// neither of its forms: whether names are shown that come or go meanwhile is up to
    /// the file system. Two listings cannot both miss it.
    fn listed(&self, app: &str) -> io::Result<BTreeSet<String>> {
        let first = self.ground.disk.names(app)?;
        Ok(first.into_iter().chain(self.ground.disk.names(app)?).collect())
    }

    /// Forgets the receipts of what is to be sent again.
    fn replay(&mut self, replay: &Replay) -> io::Result<u64> {
        let mut number = 0;
        for (stream, course) in &mut self.courses {
            let mut begins: Vec<Began> = course.state.done.keys().copied().collect();
            begins.extend(course.owed.iter().map(|owed| owed.segment.began));
            begins.sort_unstable();
            let at = |began: Option<&Began>| {
                began.and_then(|began| began.to_timestamp(&self.ground.zone))
            };
            let again: Vec<Began> = begins
                .iter()
                .enumerate()
                .filter(|&(place, began)| {
                    let ends = at(begins.get(place + 1)).unwrap_or(Timestamp::MAX);
                    at(Some(began)).is_some_and(|begins| begins < replay.to) && ends > replay.from
                })
                .map(|(_, began)| *began)
                .filter(|began| course.state.done.contains_key(began))
                .collect();
            if again.is_empty() {
                continue;
            }
            let mut state = course.state.clone();
            for began in &again {
                // Points at a database replace those that they were: with the same times.
                let from_ns = state.done.remove(began);
                state.again.extend(from_ns.map(|from_ns| (*began, from_ns)));
            }
            // One that is being sent again itself begins anew.
            let next = course.owed.front().map(|owed| owed.segment.began);
            if next.is_none_or(|began| !course.state.again.contains_key(&began)) {
                state.put_aside();
            }
            let before = state.mark;
            state.mark =
                Mark { number: before.number + 1, last_ns: before.last_ns, ..Mark::default() };
            self.receipts.put(&self.name, stream, state.clone())?;
            course.took(state, Instant::now());
            course.rewind();
            number += again.len() as u64;
        }
        self.look(&BTreeSet::new(), true);
        Ok(number)
    }
}

/// A segment in the form in which it is there: it may have been sealed since the folder
/// was looked at. None when it has been deleted.
fn owed_now(disk: &dyn Disk, app: &str, mut segment: Segment) -> io::Result<Option<Owed>> {
    for format in iter::once(segment.format).chain(Format::ALL.map(Some)) {
        segment.format = format;
        if let Some(facts) = disk.facts(app, &segment.to_string())? {
            return Ok(Some(Owed { segment, bytes: facts.bytes }));
        }
    }
    Ok(None)
}
