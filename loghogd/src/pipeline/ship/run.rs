//! The thread of one target: takes what is next, delivers it, notes that it has arrived.
//! Notices and the directory -> deliveries and receipts, for ever.
//! Invariant: nothing is noted that has not arrived; nothing of a file leaves before the one
//! before is noted.
//! Leaves out: protocols (`target`), files (`course`).
//!
//! ```text
//! look      the folders: which streams, which segments they owe
//! fill      a batch from as many streams as there are, one file of each
//! deliver   until it is there; trouble: pause, connect, ask for marks, again
//! note      dead letters, then receipts, each published before the next file begins
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::iter;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tracing::{error, info, warn};

use super::batch::Batch;
use super::course::{Course, Filled, Ground, Owed};
use super::dead;
use super::destination::{self, Destination, Gone};
use super::limits::{
    DECODERS_MAX, END_LOOK, LOOK_EVERY, OPEN_FILES_MAX, PARTS_MAX, PROGRESS_EVERY, TROUBLE_WINDOW,
};
use super::mark::{Mark, Stream};
use super::notices::{Heard, Listener, Replay};
use super::pace::{Pauses, Throttle};
use super::ready::Ready;
use super::receipts::Receipts;
use super::status::{Board, Doing, Stopped};
use super::target::{Limits, Records, Scope, Segments, Surroundings, Trouble};
use crate::config::checked::Format;
use crate::config::facility::Table;
use crate::disk::{self, Disk};
use crate::pipeline::cold::Bell;
use crate::pipeline::rotate::name::{Began, Name, Segment};
use crate::stats::{Counter, Stats};

/// What one target delivers with.
#[derive(Debug)]
pub(super) enum Way {
    Records(Box<dyn Records>),
    Segments(Box<dyn Segments>),
}

/// One target at work.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) name: Box<str>,
    pub(super) way: Way,
    pub(super) ground: Ground,
    pub(super) table: Arc<ArcSwap<Table>>,
    pub(super) receipts: Receipts,
    pub(super) listener: Arc<Listener>,
    /// Rung when something may be deleted.
    pub(super) bell: Arc<Bell>,
    pub(super) stats: Arc<Stats>,
    pub(super) board: Board,
    pub(super) surroundings: Surroundings,
    pub(super) throttle: Throttle,
    pub(super) courses: BTreeMap<Stream, Course>,
    /// Those that may have something to send.
    pub(super) ready: Ready,
    pub(super) pauses: Pauses,
    pub(super) is_connected: bool,
    /// Where it ships to, until that was compared with where it did before.
    pub(super) destination: Option<Destination>,
    /// How far the target said that it is when it was connected to.
    pub(super) marks: HashMap<Stream, Mark>,
    /// The own log was told of trouble, and has not heard that it has passed.
    pub(super) in_trouble: bool,
    /// When everything is looked at again.
    pub(super) look_at: Instant,
    /// Nothing goes before a reload.
    pub(super) stopped: bool,
    pub(super) said: Option<(String, Instant)>,
}

/// It is time to end.
struct Ended;

impl Run {
    /// Ships until it is time to end.
    pub(super) fn run(&mut self) {
        let mut heard = Heard { all: true, ..Heard::default() };
        loop {
            if self.surroundings.has_ended() {
                break;
            }
            self.take_note(heard);
            if !self.stopped && self.work().is_err() {
                break;
            }
            let wake_at = self.note_progress(false);
            self.show();
            heard = self.listener.wait(Some(wake_at));
            heard.all |= Instant::now() >= self.look_at;
        }
        self.note_progress(true);
    }

    /// After a fault of ours: everything but the receipts is found out again.
    pub(super) fn begin_anew(&mut self) {
        self.courses.clear();
        self.ready.clear();
        self.is_connected = false;
    }

    /// Delivers all that is there.
    fn work(&mut self) -> Result<(), Ended> {
        while !self.ready.is_empty() && !self.stopped {
            if self.surroundings.has_ended() {
                return Err(Ended);
            }
            if !self.is_connected {
                self.connect()?;
                continue;
            }
            let outcome = match self.way {
                Way::Records(_) => self.ship_batch(),
                Way::Segments(_) => self.ship_segment(),
            };
            match outcome {
                Ok(()) => {}
                Err(trouble) => self.meet(trouble)?,
            }
            // Others may have something to send meanwhile, or to say.
            let heard = self.listener.wait(Some(Instant::now()));
            self.take_note(heard);
        }
        Ok(())
    }

    fn connect(&mut self) -> Result<(), Ended> {
        self.board.note(|status| status.state = Doing::Connecting);
        let mut cluster = None;
        let connected = match &mut self.way {
            Way::Records(target) => target.connect().and_then(|()| target.marks()),
            Way::Segments(target) => target.connect().map(|()| None),
        };
        if let (Ok(_), Way::Records(target), true) =
            (&connected, &mut self.way, self.destination.is_some())
        {
            cluster = target.cluster();
        }
        match connected {
            Ok(marks) => {
                self.compare_destinations(cluster);
                self.is_connected = true;
                self.marks = marks.unwrap_or_default();
                for (stream, course) in &mut self.courses {
                    course.rewind();
                    course.follow(self.marks.get(stream));
                }
                Ok(())
            }
            Err(trouble) => self.meet(trouble),
        }
    }

    /// Receipts are about a place. When it is another one than before, people have to know:
    /// what has gone there is not here.
    fn compare_destinations(&mut self, cluster: Option<String>) {
        let Some(now) = self.destination.take() else { return };
        let now = now.with_cluster(cluster);
        let disk = Arc::clone(self.receipts.disk());
        let noted = destination::noted(&*disk, &self.name).and_then(|before| {
            if before.as_ref() == Some(&now) {
                return Ok(());
            }
            if let Some(before) = before.filter(|before| !before.is_same(&now)) {
                let told = self.gone().told(&self.name, &before, &now, Timestamp::now());
                if let Some(told) = told {
                    warn!("shipping to {}: {told}", self.name);
                    self.board.note_error(&told, Doing::Connecting);
                }
            }
            destination::note(&*disk, &self.name, &now)
        });
        if let Err(error) = noted {
            warn!(
                "cannot note where files are shipped to by {}: {error}; {}",
                self.name,
                disk::remedy(&error)
            );
            self.destination = Some(now);
        }
    }

    /// What has arrived somewhere and is still here.
    fn gone(&self) -> Gone {
        let mut gone = Gone::default();
        for course in self.courses.values() {
            let begins = course.state.done.keys();
            begins
                .filter_map(|began| began.to_timestamp(&self.ground.zone))
                .for_each(|began| gone.add(began));
            gone.parts += u64::from(course.state.mark.offset > 0);
        }
        gone
    }

    /// Trouble: waits, or stands still until somebody has done something.
    fn meet(&mut self, trouble: Trouble) -> Result<(), Ended> {
        self.courses.values_mut().for_each(Course::rewind);
        let what = trouble.to_string();
        match trouble {
            Trouble::Ended => Err(Ended),
            Trouble::Later { pause, .. } => {
                self.is_connected = false;
                self.stats.add(Counter::ShipRetries, 1);
                self.note_error(&what, Doing::Retrying);
                self.say(&what, "it is tried again");
                self.in_trouble = true;
                let pause = self.pauses.next(chance(), pause);
                self.wait(pause)
            }
            Trouble::Stop { scope: Scope::Target, .. } => {
                self.is_connected = false;
                self.stopped = true;
                self.note_error(&what, Doing::Stopped);
                error!("nothing is shipped to {} any more: {what}", self.name);
                Ok(())
            }
            Trouble::Stop { scope: Scope::Stream(stream), .. } => {
                self.is_connected = false;
                self.note_error(&what, Doing::Shipping);
                self.stop_stream(&stream, what);
                Ok(())
            }
        }
    }

    fn stop_stream(&mut self, stream: &Stream, what: String) {
        error!("{} is not shipped to {} any more: {what}", stream.shown(), self.name);
        if let Some(course) = self.courses.get_mut(stream) {
            course.stopped = Some(what);
        }
    }

    /// One batch, from all streams that have something.
    fn ship_batch(&mut self) -> Result<(), Trouble> {
        let Way::Records(target) = &mut self.way else { return Ok(()) };
        let limits = target.limits();
        let limits = Limits { bytes: self.throttle.portion(limits.bytes), ..limits };
        let mut batch = Batch::default();
        let mut through: Vec<(Stream, Option<Began>)> = Vec::new();
        let mut looks = BTreeSet::new();
        let mut again = Vec::new();
        let mut left = limits;
        let mut unread = Ok(());
        while unread.is_ok() && left.records > 0 && left.bytes > 0 && batch.parts.len() < PARTS_MAX
        {
            let Some(stream) = self.ready.take() else { break };
            let Some(course) = self.courses.get_mut(&stream) else { continue };
            if course.stopped.is_some() {
                continue;
            }
            match course.fill(&self.ground, &mut batch, left) {
                Ok(Filled::Nothing) => {}
                Ok(Filled::Look) => {
                    looks.insert(stream.app.clone());
                    again.push(stream);
                }
                Ok(Filled::Through(began)) => {
                    through.push((stream.clone(), Some(began)));
                    again.push(stream);
                }
                Ok(Filled::Part(began)) => {
                    let part = batch.parts.last();
                    let (messages, bytes) =
                        part.map_or((0, 0), |part| (part.messages.len(), part.bytes.len()));
                    left.records = left.records.saturating_sub(messages);
                    left.bytes = left.bytes.saturating_sub(bytes);
                    through.push((stream.clone(), began));
                    again.push(stream);
                }
                Err(error) => unread = self.cannot_read(&stream, &error),
            }
        }
        // Whatever comes: they have more to send, or the same again.
        let decoders = self.courses.values().filter(|course| course.holds_decoder()).count();
        for stream in again {
            let holds = self.courses.get(&stream).is_some_and(Course::holds_decoder);
            match holds && decoders >= DECODERS_MAX {
                true => self.ready.put_back(stream),
                false => self.ready.put(&stream),
            }
        }
        unread?;
        if !looks.is_empty() {
            self.look(&looks, false);
        }
        if !batch.parts.is_empty() {
            self.board.note(|status| status.state = Doing::Shipping);
            let Way::Records(target) = &mut self.way else { return Ok(()) };
            let refused = target.deliver(&batch)?;
            self.go_on();
            if !refused.is_empty() {
                self.bury(&batch, &refused)?;
            }
        }
        self.arrived(&batch);
        for (stream, began) in through {
            if let Some(began) = began {
                self.finish(&stream, began)?;
            }
        }
        self.close_surplus();
        let pause = self.throttle.pay(batch.bytes() as u64, Instant::now());
        self.wait(pause).map_err(|Ended| Trouble::Ended)
    }

    fn bury(&mut self, batch: &Batch, refused: &[super::Refused]) -> Result<(), Trouble> {
        // What is there already is not delivered again; so this has to be done first.
        loop {
            let disk = self.receipts.disk();
            let (at, mut dropped) = (Timestamp::now(), 0);
            let kept = dead::keep(&**disk, &self.name, batch, refused, at, &mut dropped);
            if dropped > 0 {
                self.stats.add(Counter::ShipDeadLettersDropped, dropped);
                self.board.note(|status| status.dead_dropped += dropped);
            }
            let Err(error) = kept else { break };
            let what = format!("cannot keep dead letters: {error}");
            self.note_error(&what, Doing::Retrying);
            self.say(&what, disk::remedy(&error));
            let pause = self.pauses.next(chance(), None);
            self.pause(pause).map_err(|Ended| Trouble::Ended)?;
        }
        let number = refused.len() as u64;
        self.stats.add(Counter::ShipDeadLetters, number);
        self.board.note(|status| status.dead += number);
        let first = refused.first().map_or("", |refused| &refused.reason);
        let path = self.receipts.disk().path().join(&*self.name).join(dead::NAME);
        let what = format!("{} will never take {number} records: {first}", self.name);
        self.say(&what, &format!("they are in {}", path.display()));
        Ok(())
    }

    fn arrived(&mut self, batch: &Batch) {
        for part in &batch.parts {
            if let Some(course) = self.courses.get_mut(&*part.stream) {
                course.state.mark = part.end;
            }
        }
        let (records, bytes) = (batch.records() as u64, batch.bytes() as u64);
        self.stats.add(Counter::ShippedRecords, records);
        self.stats.add(Counter::ShippedBytes, bytes);
        self.board.arrived(records, bytes, 0);
    }

    /// The next sealed segment of the first stream that has one.
    fn ship_segment(&mut self) -> Result<(), Trouble> {
        let Some(stream) = self.ready.take() else { return Ok(()) };
        let Some(course) = self.courses.get(&stream) else { return Ok(()) };
        if course.stopped.is_some() {
            return Ok(());
        }
        let disk = Arc::clone(&self.ground.disk);
        let Some(whole) = course.whole(&*disk) else { return Ok(()) };
        let began = whole.segment.began;
        let bytes = course.owed.front().map_or(0, |owed| owed.bytes);
        let claim = self.ground.claims.claim(&stream.app, &whole.segment);
        self.ready.put_back(stream.clone());
        if disk.facts(&stream.app, &whole.segment.to_string()).ok().flatten().is_none() {
            self.look(&BTreeSet::from([stream.app.clone()]), false);
            return Ok(());
        }
        self.board.note(|status| status.state = Doing::Shipping);
        let Way::Segments(target) = &mut self.way else { return Ok(()) };
        let arrived = target.deliver(&whole)?;
        self.go_on();
        self.stats.add(Counter::ShippedRecords, arrived.records.unwrap_or(0));
        self.stats.add(Counter::ShippedBytes, bytes);
        self.board.arrived(arrived.records.unwrap_or(0), bytes, 1);
        // The trimmer is about to be woken: it is to find nobody here, and nobody
        // who only pauses. Until its receipt is kept, the segment is owed.
        drop(claim);
        self.finish(&stream, began)?;
        // Others come before the next one of the same stream.
        if let Some(stream) = self.ready.take() {
            self.ready.put(&stream);
        }
        let pause = self.throttle.pay(bytes, Instant::now());
        self.wait(pause).map_err(|Ended| Trouble::Ended)
    }

    /// A segment is through: that is safe before anything else of the stream leaves.
    fn finish(&mut self, stream: &Stream, began: Began) -> Result<(), Trouble> {
        let Some(course) = self.courses.get_mut(stream) else { return Ok(()) };
        let state = course.finish(began);
        match self.receipts.put(&self.name, stream, state.clone()) {
            Ok(()) => course.took(state, Instant::now()),
            Err(error) => {
                let what =
                    format!("cannot keep the receipt for a segment of {}: {error}", stream.shown());
                if error.kind() == io::ErrorKind::FileTooLarge {
                    let remedy = "keep fewer segments (backup_count, max_age, max_total_size)";
                    return Err(Trouble::Stop {
                        scope: Scope::Stream(Arc::clone(&course.stream)),
                        what,
                        remedy: remedy.to_owned(),
                    });
                }
                return Err(Trouble::later(format!("{what}; {}", disk::remedy(&error))));
            }
        }
        self.stats.add(Counter::ShippedSegments, 1);
        self.bell.ring_for(&stream.app);
        Ok(())
    }

    fn cannot_read(&mut self, stream: &Stream, error: &io::Error) -> Result<(), Trouble> {
        if self.surroundings.has_ended() {
            return Err(Trouble::Ended);
        }
        let name = self.courses.get(stream).and_then(|course| course.owed.front());
        let name = name.map_or_else(|| stream.live.to_string(), |owed| owed.segment.to_string());
        let path = self.ground.disk.path().join(&*stream.app).join(name);
        let what = format!("{} cannot be read: {error}", path.display());
        if error.kind() == io::ErrorKind::InvalidData {
            let what = format!(
                "{what}; see what of it can be saved, move it away, and reload loghogd (SIGHUP)"
            );
            self.note_error(&what, Doing::Shipping);
            self.stop_stream(stream, what);
            return Ok(());
        }
        self.ready.put(stream);
        Err(Trouble::later(format!("{what}; {}", disk::remedy(error))))
    }

    fn take_note(&mut self, heard: Heard) {
        if heard.again {
            self.stopped = false;
            self.is_connected = false;
            self.pauses.begin_anew();
            // Of those whose states could not be read, it is tried again to read them.
            self.courses.retain(|_, course| !course.is_unknown);
            self.courses.values_mut().for_each(|course| course.stopped = None);
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
    fn look(&mut self, folders: &BTreeSet<Box<str>>, all: bool) {
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
            if state.mark.offset > 0 {
                state.aside = Some(state.mark);
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

    /// Publishes how far files are that are not through; returns when to look again.
    fn note_progress(&mut self, at_end: bool) -> Instant {
        let now = Instant::now();
        let mut wake_at = self.look_at;
        for (stream, course) in &mut self.courses {
            if course.state.mark == course.published {
                continue;
            }
            let due = course.published_at + PROGRESS_EVERY;
            if due > now && !at_end {
                wake_at = wake_at.min(due);
                continue;
            }
            match self.receipts.put(&self.name, stream, course.state.clone()) {
                Ok(()) => course.took(course.state.clone(), now),
                // It is not needed for anything to be right; the next time will do.
                Err(error) => {
                    warn!("cannot note how far {} is at {}: {error}", stream.shown(), self.name);
                    course.published_at = now;
                }
            }
        }
        wake_at
    }

    /// Keeps few files open.
    fn close_surplus(&mut self) {
        let open = self.courses.values().filter(|course| course.is_open()).count();
        let surplus = open.saturating_sub(OPEN_FILES_MAX);
        let closing = self.courses.values_mut().filter(|course| course.is_open());
        closing.take(surplus).for_each(Course::rewind);
    }

    /// Says how it is doing.
    fn show(&self) {
        let owing = self.courses.values().filter(|course| !course.owed.is_empty());
        let oldest = owing.min_by_key(|course| course.owed.front().map(|owed| owed.segment.began));
        let oldest = oldest.and_then(|course| course.owed.front());
        let oldest = oldest.map(|owed| owed.segment.to_string());
        let (mut segments, mut bytes) = (0, 0);
        for course in self.courses.values() {
            segments += course.owed.len() as u64;
            bytes += course.owed.iter().map(|owed| owed.bytes).sum::<u64>();
            if self.ground.follows && course.owed.is_empty() {
                bytes += course.live_bytes.saturating_sub(course.state.mark.offset);
            }
        }
        let stopped = |course: &Course| {
            let what = course.stopped.clone()?;
            Some(Stopped { stream: course.stream.shown(), what })
        };
        let stopped: Vec<Stopped> = self.courses.values().filter_map(stopped).collect();
        let is_stopped = self.stopped;
        self.board.note(|status| {
            (status.backlog_segments, status.backlog_bytes) = (segments, bytes);
            status.oldest = oldest;
            status.stopped = stopped;
            if !is_stopped {
                status.state = Doing::Idle;
            }
        });
    }

    fn note_error(&self, what: &str, state: Doing) {
        self.show();
        self.board.note(|status| status.retries += u64::from(state == Doing::Retrying));
        self.board.note_error(what, state);
    }

    /// Tells the own log, unless it has heard the same of late.
    fn say(&mut self, what: &str, further: &str) {
        let now = Instant::now();
        let lately = self
            .said
            .as_ref()
            .is_some_and(|(said, at)| said == what && now.duration_since(*at) < TROUBLE_WINDOW);
        if !lately {
            warn!("shipping to {}: {what}; {further}", self.name);
            self.said = Some((what.to_owned(), now));
        }
    }

    /// Something has arrived.
    fn go_on(&mut self) {
        self.pauses.begin_anew();
        if std::mem::take(&mut self.in_trouble) {
            info!("shipping to {} goes on", self.name);
        }
    }

    /// Waits, but not when it is time to end; what is heard is heard later.
    fn pause(&self, pause: Duration) -> Result<(), Ended> {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if self.surroundings.has_ended() {
                return Err(Ended);
            }
            let left = until.saturating_duration_since(Instant::now());
            std::thread::sleep(left.min(END_LOOK));
        }
        Ok(())
    }

    /// Waits, but not when it is time to end, or when somebody wants it to go on.
    fn wait(&mut self, pause: Duration) -> Result<(), Ended> {
        let begun = Instant::now();
        loop {
            if self.surroundings.has_ended() {
                return Err(Ended);
            }
            let now = Instant::now();
            let left = pause.saturating_sub(now.saturating_duration_since(begun));
            if left.is_zero() {
                return Ok(());
            }
            let heard = self.listener.wait(Some(now + left.min(END_LOOK)));
            let again = heard.again;
            self.take_note(heard);
            if again {
                return Ok(());
            }
        }
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

/// By chance, from 0 to 1.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    let filled = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes);
    match filled {
        Ok(()) => f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

/// Says that a target begins.
pub(super) fn say_begin(name: &str, kind: &str, rate_bytes: Option<NonZeroU64>) {
    match rate_bytes {
        Some(rate) => info!("shipping to {name} ({kind}), at most {rate} bytes a second"),
        None => info!("shipping to {name} ({kind})"),
    }
}

#[cfg(test)]
impl Run {
    /// Does what there is to do now, without waiting for more. False when it has ended.
    pub(super) fn step(&mut self) -> bool {
        let heard = self.listener.wait(Some(Instant::now()));
        self.take_note(heard);
        let goes_on = self.stopped || self.work().is_ok();
        self.note_progress(false);
        self.show();
        goes_on
    }
}
