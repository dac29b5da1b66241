//! The thread of one target: takes what is next, delivers it, notes that it has arrived.
//! Notices and the directory -> deliveries and receipts, for ever.
//! Invariant: nothing is noted that has not arrived; nothing of a file leaves before the one
//! before is noted.
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
use super::limits::{DECODERS_MAX, OPEN_FILES_MAX, PARTS_MAX};
use super::mark::{Mark, Stream};
use super::notices::{Heard, Listener};
use super::pace::{Pauses, Throttle};
use super::ready::Ready;
use super::receipts::Receipts;
use super::status::{Board, Doing};
use super::target::{Limits, Records, Scope, Segments, Surroundings, Trouble};
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
        let Shared { disk, receipts, table, claims, bell, stats, zone, runtime: _ } = shared;
        let Errand { name, kind, follows, rate_bytes, destination } = errand;
        let now = Instant::now();
        Run {
            name: name.into(),
            ground: Ground {
                disk: Arc::clone(disk),
                claims: claims.clone(),
                notices: bell.notices.clone(),
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
                Way::Segments(target) => self.ship_segment(&mut **target),
            };
            match outcome {
                Ok(()) => {}
                Err(trouble) => self.meet(trouble)?,
            }
            self.rouse();
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
        let mut again = Vec::new();
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
                Err(error) => self.cannot_read(&stream, &error),
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

    /// The next sealed segment of the first stream that has one.
    fn ship_segment(&mut self, target: &mut dyn Segments) -> Result<(), Trouble> {
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
        // Whatever comes: others are before the next one of the same stream, or this one again.
        self.ready.put(&stream);
        if disk.facts(&stream.app, &whole.segment.to_string()).ok().flatten().is_none() {
            self.look(&BTreeSet::from([stream.app.clone()]), false);
            return Ok(());
        }
        self.board.note(|status| status.state = Doing::Shipping);
        let arrived = target.deliver(&whole)?;
        self.go_on();
        self.stats.add(Counter::ShippedRecords, arrived.records.unwrap_or(0));
        self.stats.add(Counter::ShippedBytes, bytes);
        self.board.arrived(arrived.records.unwrap_or(0), bytes, 1);
        // The trimmer is about to be woken: it is to find nobody here, and nobody
        // who only pauses. Until its receipt is kept, the segment is owed.
        drop(claim);
        self.finish(&stream, began)?;
        let pause = self.throttle.pay(bytes, Instant::now());
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
    /// Does what there is to do now, without waiting for more. False when it has ended.
    pub(super) fn step(&mut self, way: &mut Way) -> bool {
        let heard = self.listener.wait(Some(Instant::now()));
        self.take_note(heard);
        self.rouse();
        let goes_on = self.stopped || self.work(way).is_ok();
        self.note_progress(false);
        self.show();
        goes_on
    }
}
