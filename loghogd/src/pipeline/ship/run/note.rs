//! Notes what has become of messages, and says how it goes.
//! What has arrived, what was refused, what is in the way -> receipts, dead letters, words.
//! Invariant: what is said to have arrived has; what was refused is kept before it is passed over.
//! Leaves out: where receipts and dead letters are kept (`receipts`, `dead`).

use std::io;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use tracing::{error, info, warn};

use super::super::batch::Batch;
use super::super::course::Course;
use super::super::dead;
use super::super::destination::{self, Gone};
use super::super::limits::{PROGRESS_EVERY, SHOW_EVERY, TROUBLE_WINDOW};
use super::super::mark::Stream;
use super::super::receipts::State;
use super::super::status::{Doing, Stopped};
use super::super::target::{Refused, Scope, Trouble};
use super::wait::{Ended, chance};
use super::{Run, Way};
use crate::disk;
use crate::pipeline::rotate::name::{Began, Segment};
use crate::stats::Counter;

impl Run {
    /// Keeps what a target will never take, but for what was kept when the same was
    /// delivered before and did not arrive.
    pub(super) fn bury(&mut self, batch: &Batch, refused: &[Refused]) -> Result<(), Trouble> {
        let refused: Vec<Refused> =
            refused.iter().filter(|refused| !self.is_buried(batch, refused)).cloned().collect();
        if refused.is_empty() {
            return Ok(());
        }
        // Whatever is in the way, the target waits: it may not go past them yet.
        loop {
            let (at, mut dropped) = (Timestamp::now(), 0);
            let kept = self.receipts.disk().and_then(|disk| {
                dead::keep(&**disk, &self.name, batch, &refused, at, &mut dropped)
            });
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
        for refused in &refused {
            if let Some((stream, place)) = place_of(batch, refused)
                && let Some(course) = self.courses.get_mut(stream)
            {
                course.buried.insert(place);
            }
        }
        let number = refused.len() as u64;
        self.stats.add(Counter::ShipDeadLetters, number);
        self.board.note(|status| status.dead += number);
        let first = refused.first().map_or("", |refused| &refused.reason);
        let path = self.receipts.path().join(&*self.name).join(dead::NAME);
        let what = format!("{} will never take {number} records: {first}", self.name);
        self.say(&what, &format!("they are in {}", path.display()));
        Ok(())
    }

    fn is_buried(&self, batch: &Batch, refused: &Refused) -> bool {
        place_of(batch, refused).is_some_and(|(stream, place)| {
            self.courses.get(stream).is_some_and(|course| course.buried.contains(&place))
        })
    }

    /// All of a batch has arrived, but for what was refused.
    pub(super) fn arrived(&mut self, batch: &Batch) {
        for part in &batch.parts {
            if let Some(course) = self.courses.get_mut(&*part.stream) {
                course.state.mark = part.end;
                course.buried.clear();
            }
        }
        let (records, bytes) = (batch.records() as u64, batch.bytes() as u64);
        self.stats.add(Counter::ShippedRecords, records);
        self.stats.add(Counter::ShippedBytes, bytes);
        self.board.arrived(records, bytes, 0);
    }

    /// A segment is through: that is safe before anything else of the stream leaves.
    pub(super) fn finish(&mut self, stream: &Stream, began: Began) -> Result<(), Trouble> {
        let Some(course) = self.courses.get_mut(stream) else { return Ok(()) };
        let (state, facility) = (course.finish(began), Arc::clone(&course.facility));
        self.keep(stream, state)?;
        if self.receipts.is_everywhere(&facility, &stream.live, began) {
            let segment = Segment { live: stream.live.clone(), began, format: None };
            self.ground.tallies.remove(&stream.app, &segment);
        }
        self.stats.add(Counter::ShippedSegments, 1);
        self.bell.ring_for(&stream.app);
        Ok(())
    }

    /// Publishes where a stream is now: that is safe before anything else of it leaves.
    pub(super) fn keep(&mut self, stream: &Stream, state: State) -> Result<(), Trouble> {
        let Some(course) = self.courses.get_mut(stream) else { return Ok(()) };
        let Err(error) = self.receipts.put(&self.name, stream, state.clone()) else {
            course.took(state, Instant::now());
            return Ok(());
        };
        let what = format!("cannot keep the receipt for a segment of {}: {error}", stream.shown());
        if error.kind() == io::ErrorKind::FileTooLarge {
            let remedy = "keep fewer segments (backup_count, max_age, max_total_size)".to_owned();
            let scope = Scope::Stream(Arc::clone(&course.stream));
            return Err(Trouble::Stop { scope, what, remedy });
        }
        Err(Trouble::later(format!("{what}; {}", disk::remedy(&error))))
    }

    /// Publishes how far files are that are not through; returns when to do so again.
    pub(super) fn note_progress(&mut self, at_end: bool) -> Option<Instant> {
        let now = Instant::now();
        let mut wake_at: Option<Instant> = None;
        for (stream, course) in &mut self.courses {
            if course.state.mark == course.published {
                continue;
            }
            let due = course.published_at + PROGRESS_EVERY;
            if due > now && !at_end {
                wake_at = Some(wake_at.map_or(due, |at| at.min(due)));
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

    /// While it is busy or away: notes and shows how far it is, now and then.
    pub(super) fn note_when_due(&mut self) {
        let now = Instant::now();
        if now >= self.note_at {
            self.note_progress(false);
            self.show_backlog();
            self.note_at = now + SHOW_EVERY;
        }
    }

    /// Says how it is doing, when there is nothing more to do.
    pub(super) fn show(&self) {
        self.show_backlog();
        let (is_stopped, is_resting) = (self.stopped, !self.resting.is_empty());
        self.board.note(|status| {
            if !is_stopped {
                status.state = if is_resting { Doing::Retrying } else { Doing::Idle };
            }
        });
    }

    /// Says what there is to ship, and what stands still.
    fn show_backlog(&self) {
        let owing = self.courses.values().filter(|course| !course.owed.is_empty());
        let oldest = owing.min_by_key(|course| course.owed.front().map(|owed| owed.segment.began));
        let oldest = oldest.and_then(|course| course.owed.front());
        let oldest = oldest.map(|owed| owed.segment.to_string());
        let (mut segments, mut bytes) = (0, 0);
        for course in self.courses.values() {
            segments += course.owed.len() as u64;
            bytes += course.owed.iter().map(|owed| owed.bytes).sum::<u64>();
            if self.ground.follows && course.owed.is_empty() {
                let tail = self.ground.notices.tail(&course.stream, || None);
                let safe_bytes = tail.map_or(course.live_bytes, |tail| tail.safe_bytes);
                bytes += safe_bytes.saturating_sub(course.state.mark.offset);
            }
        }
        let stopped = |course: &Course| {
            let what = course.stopped.clone()?;
            Some(Stopped { stream: course.stream.shown(), what })
        };
        let stopped: Vec<Stopped> = self.courses.values().filter_map(stopped).collect();
        self.board.note(|status| {
            (status.backlog_segments, status.backlog_bytes) = (segments, bytes);
            status.oldest = oldest;
            status.stopped = stopped;
        });
    }

    /// Receipts are about a place. When it is another one than before, people have to know:
    /// what has gone there is not here.
    pub(super) fn compare_destinations(&mut self, way: &mut Way) {
        let Some(now) = self.destination.take() else { return };
        let now = now.with_cluster(match way {
            Way::Records(target) => target.cluster(),
            Way::Segments(_) => None,
        });
        let noted = self.receipts.disk().and_then(|disk| {
            let before = destination::noted(&**disk, &self.name)?;
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
            destination::note(&**disk, &self.name, &now)
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

    /// Shows a trouble, and what is done about it.
    pub(super) fn note_error(&self, what: &str, state: Doing) {
        self.show_backlog();
        self.board.note(|status| status.retries += u64::from(state == Doing::Retrying));
        self.board.note_error(what, state);
    }

    /// Tells the own log, unless it has heard the same of late.
    pub(super) fn say(&mut self, what: &str, further: &str) {
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
    pub(super) fn go_on(&mut self) {
        self.pauses.begin_anew();
        if std::mem::take(&mut self.in_trouble) {
            info!("shipping to {} goes on", self.name);
        }
    }

    /// A stream stands still until somebody has done something.
    pub(super) fn stop_stream(&mut self, stream: &Stream, what: String) {
        error!("{} is not shipped to {} any more: {what}", stream.shown(), self.name);
        if let Some(course) = self.courses.get_mut(stream) {
            course.stopped = Some(what);
        }
    }

    /// A file cannot be read. The stream stands still if somebody has to see to it, or
    /// else rests for a while; the others go on.
    pub(super) fn cannot_read(&mut self, stream: &Stream, name: &str, error: &io::Error) {
        let path = self.ground.disk.path().join(&*stream.app).join(name);
        let what = format!("{} cannot be read: {error}", path.display());
        if error.kind() == io::ErrorKind::InvalidData {
            let what = format!(
                "{what}; see what of it can be saved, move it away, and reload loghogd (SIGHUP)"
            );
            self.note_error(&what, Doing::Shipping);
            self.stop_stream(stream, what);
            self.resting.remove(stream);
            return;
        }
        self.rest(stream);
        self.stats.add(Counter::ShipRetries, 1);
        let what = format!("{what}; {}", disk::remedy(error));
        self.note_error(&what, Doing::Retrying);
        self.say(&what, "it is tried again");
    }
}

/// Where a record of a batch stands: its stream, the number of the file, and its beginning
/// there.
fn place_of<'b>(batch: &'b Batch, refused: &Refused) -> Option<(&'b Stream, (u64, u64))> {
    let part = batch.parts.get(refused.part)?;
    let (message, _) = part.messages.get(refused.message)?;
    Some((&part.stream, (part.begin.number, part.begin.offset + message.begin as u64)))
}
