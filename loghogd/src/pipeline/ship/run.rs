//! The thread of one target: takes what is next, delivers it, notes that it has arrived.
//! Notices and the directory -> deliveries and receipts, for ever.
//! Invariant: nothing is noted that has not arrived, nor before the file before it; no record
//! of a file leaves before the one before is noted.
//! Leaves out: protocols (`target`), files (`course`).
//!
//! | room | what |
//! | --- | --- |
//! | `look` | which streams there are, and what they owe |
//! | `note` | receipts, dead letters, what is shown and said |
//! | `wait` | pauses |
//!
//! ```text
//! look      the folders: which streams, which segments they owe
//! fill      a batch from as many streams as there are, one file of each
//! deliver   until it is there; trouble: pause, connect, ask for marks, again
//! bury      what will never be taken, before the target says that it is past it
//! note      receipts, each published before the next file begins
//! ```

mod look;
mod note;
mod wait;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use tracing::{error, info};

use self::wait::{Ended, Rest, chance};
use super::batch::Batch;
use super::course::{Course, Filled, Ground};
use super::crew::Shared;
use super::destination::Destination;
use super::limits::{
    DECODERS_MAX, OPEN_FILES_MAX, PARTS_MAX, SEGMENTS_BYTES_MAX, SEGMENTS_TOGETHER_MAX,
};
use super::mark::{Mark, Stream};
use super::notices::{Heard, Listener};
use super::pace::{Pauses, Throttle};
use super::ready::Ready;
use super::receipts::Receipts;
use super::status::{Board, Doing};
use super::target::{Arrived, Limits, Records, Scope, Segments, Surroundings, Trouble, Whole};
use crate::config::facility::Table;
use crate::pipeline::cold::Bell;
use crate::pipeline::rotate::name::Began;
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
    /// Those of which a file could not be read the last time.
    resting: BTreeMap<Stream, Rest>,
    /// Those that may have something to send.
    pub(super) ready: Ready,
    pub(super) pauses: Pauses,
    pub(super) is_connected: bool,
    /// Where it ships to, until that was compared with where it did before.
    destination: Option<Destination>,
    /// How far the target said that it is when it was connected to.
    pub(super) marks: HashMap<Stream, Mark>,
    /// The own log was told of trouble, and has not heard that it has passed.
    pub(super) in_trouble: bool,
    /// When everything is looked at again.
    pub(super) look_at: Instant,
    /// When progress is noted again, and shown, while it is busy or away.
    pub(super) note_at: Instant,
    /// Nothing goes before a reload.
    pub(super) stopped: bool,
    pub(super) said: Option<(String, Instant)>,
}

/// What a target is to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Errand<'a> {
    pub(super) name: &'a str,
    /// Of what kind the target is, as people call it.
    pub(super) kind: &'a str,
    /// Live files are followed.
    pub(super) follows: bool,
    pub(super) rate_bytes: Option<NonZeroU64>,
    pub(super) destination: &'a Destination,
}

impl Run {
    /// Nothing is known yet but what is remembered.
    pub(super) fn new(shared: &Shared, errand: Errand<'_>, surroundings: Surroundings) -> Run {
        let Shared { disk, receipts, table, claims, tallies, bell, stats, zone, runtime: _ } =
            shared;
        let Errand { name, kind, follows, rate_bytes, destination } = errand;
        let now = Instant::now();
        Run {
            name: name.into(),
            ground: Ground {
                disk: Arc::clone(disk),
                claims: claims.clone(),
                notices: bell.notices.clone(),
                tallies: tallies.clone(),
                zone: zone.clone(),
                follows,
                surroundings: surroundings.clone(),
            },
            table: Arc::clone(table),
            receipts: receipts.clone(),
            listener: bell.notices.listen(name),
            bell: Arc::clone(bell),
            stats: Arc::clone(stats),
            board: Board::new(name, kind),
            surroundings,
            throttle: Throttle::new(rate_bytes, now),
            courses: BTreeMap::new(),
            resting: BTreeMap::new(),
            ready: Ready::default(),
            pauses: Pauses::default(),
            is_connected: false,
            destination: Some(destination.clone()),
            marks: HashMap::new(),
            in_trouble: false,
            look_at: now,
            note_at: now,
            stopped: false,
            said: None,
        }
    }

    /// Ships until it is time to end.
    pub(super) fn run(&mut self, way: &mut Way) {
        let mut heard = Heard { all: true, ..Heard::default() };
        loop {
            if self.surroundings.has_ended() {
                break;
            }
            self.take_note(heard);
            if !self.stopped && self.work(way).is_err() {
                break;
            }
            let times = [Some(self.look_at), self.note_progress(false), self.rouse()];
            self.show();
            heard = match self.ready.is_empty() || self.stopped {
                true => self.listener.wait(times.into_iter().flatten().min()),
                false => Heard::default(),
            };
            heard.all |= Instant::now() >= self.look_at;
        }
        self.note_progress(true);
    }

    /// After a fault of ours: everything but the receipts is found out again.
    pub(super) fn begin_anew(&mut self) {
        self.courses.clear();
        self.resting.clear();
        self.ready.clear();
        self.is_connected = false;
    }

    /// Delivers all that is there.
    fn work(&mut self, way: &mut Way) -> Result<(), Ended> {
        while !self.ready.is_empty() && !self.stopped {
            if self.surroundings.has_ended() {
                return Err(Ended);
            }
            if !self.is_connected {
                self.connect(way)?;
                continue;
            }
            let outcome = match way {
                Way::Records(target) => self.ship_batch(&mut **target),
                Way::Segments(target) => self.ship_segments(&mut **target),
            };
            match outcome {
                Ok(()) => {}
                Err(trouble) => self.meet(trouble)?,
            }
            self.rouse();
            self.note_when_due();
            // Others may have something to send meanwhile, or to say.
            let heard = self.listener.wait(Some(Instant::now()));
            self.take_note(heard);
        }
        Ok(())
    }

    fn connect(&mut self, way: &mut Way) -> Result<(), Ended> {
        self.board.note(|status| status.state = Doing::Connecting);
        let connected = match way {
            Way::Records(target) => target.connect().and_then(|()| target.marks()),
            Way::Segments(target) => target.connect().map(|()| None),
        };
        match connected {
            Ok(marks) => {
                self.compare_destinations(way);
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

    /// Trouble: waits, or stands still until somebody has done something.
    fn meet(&mut self, trouble: Trouble) -> Result<(), Ended> {
        self.courses.values_mut().for_each(Course::rewind);
        self.note_when_due();
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

    /// One batch, from all streams that have something.
    fn ship_batch(&mut self, target: &mut dyn Records) -> Result<(), Trouble> {
        let limits = target.limits();
        let limits = Limits { bytes: self.throttle.portion(limits.bytes), ..limits };
        let mut batch = Batch::default();
        let mut through: Vec<(Stream, Option<Began>)> = Vec::new();
        let mut looks = BTreeSet::new();
        let (mut again, mut displaced) = (Vec::new(), Vec::new());
        let mut left = limits;
        while left.records > 0 && left.bytes > 0 && batch.parts.len() < PARTS_MAX {
            let Some(stream) = self.ready.take() else { break };
            if self.rests(&stream) {
                continue;
            }
            let Some(course) = self.courses.get_mut(&stream) else {
                self.resting.remove(&stream);
                continue;
            };
            if course.stopped.is_some() {
                continue;
            }
            let filled = course.fill(&self.ground, &mut batch, left);
            if filled.is_ok() {
                self.resting.remove(&stream);
            }
            match filled {
                Ok(Filled::Nothing) => {}
                Ok(Filled::Look) => {
                    looks.insert(stream.app.clone());
                    again.push(stream);
                }
                Ok(Filled::Keep) => {
                    displaced.push(stream.clone());
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
                Err(_) if self.surroundings.has_ended() => return Err(Trouble::Ended),
                Err(error) => {
                    let name = self.courses.get(&stream).map(Course::next_name);
                    self.cannot_read(&stream, &name.unwrap_or_default(), &error);
                }
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
        if !looks.is_empty() {
            self.look(&looks, false);
        }
        if !batch.parts.is_empty() {
            self.board.note(|status| status.state = Doing::Shipping);
            target.deliver(&batch, &mut |refused| self.bury(&batch, refused))?;
            self.go_on();
        }
        self.arrived(&batch);
        for (stream, began) in through {
            if let Some(began) = began {
                self.finish(&stream, began)?;
            }
        }
        for stream in displaced {
            let state = self.courses.get(&stream).map(|course| course.state.clone());
            self.keep(&stream, state.unwrap_or_default())?;
        }
        self.close_surplus();
        let pause = self.throttle.pay(batch.bytes() as u64, Instant::now());
        self.wait(pause).map_err(|Ended| Trouble::Ended)
    }

    /// Keeps few files open.
    fn close_surplus(&mut self) {
        let open = self.courses.values().filter(|course| course.is_open()).count();
        let surplus = open.saturating_sub(OPEN_FILES_MAX);
        let closing = self.courses.values_mut().filter(|course| course.is_open());
        closing.take(surplus).for_each(Course::rewind);
    }

    /// The next sealed segments of the first streams that have some.
    fn ship_segments(&mut self, target: &mut dyn Segments) -> Result<(), Trouble> {
        let (mut wholes, mut sizes, mut claims) = (Vec::new(), Vec::new(), Vec::new());
        let (mut gone, mut unread) = (BTreeSet::new(), Vec::new());
        let mut streams = Vec::new();
        let mut room = self.throttle.portion(SEGMENTS_BYTES_MAX) as u64;
        let mut is_full = false;
        while !is_full && let Some(stream) = self.ready.take() {
            if self.rests(&stream) {
                continue;
            }
            let course = self.courses.get(&stream).filter(|course| course.stopped.is_none());
            let Some(course) = course else {
                self.resting.remove(&stream);
                continue;
            };
            for (whole, bytes) in course.wholes(&self.ground) {
                is_full = wholes.len() >= SEGMENTS_TOGETHER_MAX || bytes > room;
                if is_full && !wholes.is_empty() {
                    break;
                }
                let claim = self.ground.claims.claim(&stream.app, &whole.segment);
                let name = whole.segment.to_string();
                match whole.disk.facts(&stream.app, &name) {
                    Ok(Some(_)) => {}
                    Ok(None) => {
                        gone.insert(stream.app.clone());
                        break;
                    }
                    Err(error) => {
                        unread.push((stream.clone(), name, error));
                        break;
                    }
                }
                room = room.saturating_sub(bytes);
                wholes.push(whole);
                sizes.push(bytes);
                claims.push(claim);
            }
            streams.push(stream);
        }
        if !wholes.is_empty() {
            // Whatever comes: they have more to send, or the same again.
            streams.iter().for_each(|stream| self.ready.put(stream));
        }
        let delivered = match wholes.is_empty() || !gone.is_empty() {
            true => None,
            false => {
                self.board.note(|status| status.state = Doing::Shipping);
                Some(target.deliver_all(&wholes))
            }
        };
        // The trimmer is about to be woken: it is to find nobody here, and nobody
        // who only pauses. Until its receipt is kept, a segment is owed.
        drop(claims);
        let segment = |whole: Whole<'_>| (whole.stream, whole.segment.began);
        let segments: Vec<_> = wholes.into_iter().map(segment).zip(sizes).collect();
        for stream in &streams {
            match unread.iter().find(|(unread, ..)| unread == stream) {
                Some((_, name, error)) => self.cannot_read(stream, name, error),
                None => _ = self.resting.remove(stream),
            }
        }
        if !gone.is_empty() {
            self.look(&gone, false);
        }
        delivered.map_or(Ok(()), |delivered| self.note_segments(&segments, delivered))
    }

    /// Notes which segments have arrived, each behind those before it in its stream.
    fn note_segments(
        &mut self,
        segments: &[((Arc<Stream>, Began), u64)],
        delivered: Vec<Result<Arrived, Trouble>>,
    ) -> Result<(), Trouble> {
        let mut trouble = Ok(());
        let mut behind = BTreeSet::new();
        let mut sent = 0;
        for (((stream, began), bytes), outcome) in segments.iter().zip(delivered) {
            match outcome {
                Ok(_) if behind.contains(stream) => {}
                Ok(arrived) => {
                    let records = arrived.records.unwrap_or(0);
                    self.stats.add(Counter::ShippedRecords, records);
                    self.stats.add(Counter::ShippedBytes, *bytes);
                    self.board.arrived(records, *bytes, 1);
                    self.finish(stream, *began)?;
                    sent += bytes;
                }
                Err(error) => {
                    behind.insert(Arc::clone(stream));
                    trouble = trouble.and(Err(error));
                }
            }
        }
        let pause = self.throttle.pay(sent, Instant::now());
        trouble?;
        self.go_on();
        self.wait(pause).map_err(|Ended| Trouble::Ended)
    }
}

/// Says that a target begins.
pub(super) fn say_begin(errand: Errand<'_>) {
    let Errand { name, kind, .. } = errand;
    match errand.rate_bytes {
        Some(rate) => info!("shipping to {name} ({kind}), at most {rate} bytes a second"),
        None => info!("shipping to {name} ({kind})"),
    }
}

#[cfg(test)]
impl Run {
    /// Hears what there is to hear, and does nothing yet.
    pub(super) fn hear(&mut self) {
        let heard = self.listener.wait(Some(Instant::now()));
        self.take_note(heard);
    }

    /// Notes all of its progress.
    pub(super) fn note_now(&mut self) {
        self.note_progress(true);
    }

    /// Does what there is to do now, without waiting for more. False when it has ended.
    pub(super) fn step(&mut self, way: &mut Way) -> bool {
        self.hear();
        self.rouse();
        let goes_on = self.stopped || self.work(way).is_ok();
        self.note_progress(false);
        self.show();
        goes_on
    }
}
