//! One stream on its way to one target: what is next, and how far it is.
//! The files of a stream, as they stand on the disk -> parts of batches, in order; then a receipt.
//! Invariant: the mark is about the first segment that is owed, or else about the live file.
//! Leaves out: delivering (`run`), and where receipts are kept (`receipts`).

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};
use tracing::warn;

use super::batch::{Batch, Part};
use super::limits::{FIRST_READ_BYTES, HEAD_BYTES, LOOKS_MAX, READ_BYTES};
use super::mark::{Mark, Stream};
use super::notices::{Notices, Tail};
use super::receipts::{Aside, State};
use super::record::Reader;
use super::split::Splitter;
use super::target::{Limits, Surroundings, Whole};
use crate::config::facility::Facility;
use crate::disk::{Disk, DiskFile};
use crate::pipeline::claims::{Claim, Claims};
use crate::pipeline::rotate::name::{Began, Segment};
use crate::pipeline::seal::Lines;
use crate::pipeline::tally::kept::Tallies;

/// What all courses of a target share.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) claims: Claims,
    pub(super) notices: Notices,
    pub(super) tallies: Tallies,
    pub(super) zone: TimeZone,
    /// Live files are followed, and plain segments are read.
    pub(super) follows: bool,
    /// Whether it is time to stop.
    pub(super) surroundings: Surroundings,
}

/// One stream.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) stream: Arc<Stream>,
    pub(super) facility: Arc<Facility>,
    pub(super) state: State,
    /// What of `state` was published.
    pub(super) published: Mark,
    /// When that was.
    pub(super) published_at: Instant,
    /// Closed segments that are not through, in the order of their lines.
    pub(super) owed: VecDeque<Owed>,
    /// It stands still until somebody has done something.
    pub(super) stopped: Option<String>,
    /// Its state could not be read: nothing may be noted before that is mended.
    pub(super) is_unknown: bool,
    /// Messages that are dead letters already, though what they came with has not arrived:
    /// the number of their file, and where in it they begin.
    pub(super) buried: BTreeSet<(u64, u64)>,
    /// How far the live file was safe when it was looked at last, in bytes.
    pub(super) live_bytes: u64,
    is_new: bool,
    /// The mark was put aside, and that is not published.
    is_displaced: bool,
    /// The live file that is known to come behind all that is owed; and one of which that
    /// will be known when the folder has been looked at once more.
    live: Option<(u64, u64)>,
    candidate: Option<(u64, u64)>,
    /// How many looks have been asked for since a file was open.
    looks: u8,
    reading: Option<Reading>,
}

/// A segment that is not through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owed {
    /// In the form in which it is read.
    pub(super) segment: Segment,
    /// What it takes on the disk in that form, in bytes.
    pub(super) bytes: u64,
}

/// An open file.
#[derive(Debug)]
struct Reading {
    which: Which,
    source: Source,
    /// What was read and is not handed out; it begins with a message.
    buffer: Vec<u8>,
    /// How far the file is handed out; the course's mark, or ahead of it.
    mark: Mark,
    times: Reader,
    file: Arc<str>,
    /// Nothing comes behind the buffer.
    ended: bool,
    /// So much is read next.
    read_bytes: usize,
    _claim: Option<Claim>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Closed(Began),
    Live((u64, u64)),
}

/// Where bytes come from.
#[derive(Debug)]
enum Source {
    /// Lines as they are, up to here.
    Lines { file: Box<dyn DiskFile>, at: u64, end: u64 },
    /// A sealed segment.
    Sealed(Box<Lines>),
    /// There is no more.
    Ended,
}

/// What came of opening the next file.
enum Opened {
    Reading(Box<Reading>),
    Nothing,
    Look,
}

/// What came of filling a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// There is nothing to send.
    Nothing,
    /// A part was added; with it, this segment is through.
    Part(Option<Began>),
    /// Nothing is left of this segment: it is through.
    Through(Began),
    /// The folder has to be looked at before anything else: a file has turned.
    Look,
    /// Where it is has to be published before anything else: another file is next than was.
    Keep,
}

impl Course {
    /// A stream with what is known of it, or why nothing is.
    pub(super) fn new(
        stream: Stream,
        facility: Arc<Facility>,
        state: Result<State, String>,
    ) -> Course {
        let (state, stopped) = match state {
            Ok(state) => (state, None),
            Err(why) => (State::default(), Some(why)),
        };
        Course {
            stream: Arc::new(stream),
            facility,
            published: state.mark,
            published_at: Instant::now(),
            state,
            owed: VecDeque::new(),
            is_unknown: stopped.is_some(),
            stopped,
            buried: BTreeSet::new(),
            live_bytes: 0,
            is_new: true,
            is_displaced: false,
            live: None,
            candidate: None,
            looks: 0,
            reading: None,
        }
    }

    /// Nothing of it was looked at yet.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Goes to where the target says that it is.
    pub(super) fn follow(&mut self, mark: Option<&Mark>) {
        // What it says of an earlier file is through already. One that is ahead was not
        // noted here: a file before it had been removed by somebody.
        let Some(mark) = mark.filter(|_| !self.is_unknown) else { return };
        if mark.number < self.state.mark.number {
            // Of one that was put aside, more may have arrived than was noted here.
            self.state.advance_aside(mark);
        } else {
            if mark.head != self.state.mark.head {
                // It may be about no file that is here, and ours about one that is: a folder
                // that was restored is behind the target.
                self.state.put_aside();
            }
            self.state.forget_aside(mark.head);
            self.state.mark = *mark;
        }
    }

    /// Forgets what was read ahead of the mark: it is delivered again from there.
    pub(super) fn rewind(&mut self) {
        self.reading = None;
    }

    /// The name of the file that is next.
    pub(super) fn next_name(&self) -> String {
        let next = self.owed.front().map(|owed| owed.segment.to_string());
        next.unwrap_or_else(|| self.stream.live.to_string())
    }

    /// Is a file open?
    pub(super) fn is_open(&self) -> bool {
        self.reading.is_some()
    }

    /// Is a sealed segment open of which there is more? Its decoder takes memory.
    pub(super) fn holds_decoder(&self) -> bool {
        let source = self.reading.as_ref().map(|reading| &reading.source);
        matches!(source, Some(Source::Sealed(_)))
    }

    /// The next segments, where whole ones are shipped, as far as they are sealed; with
    /// what each takes on the disk, in bytes.
    pub(super) fn wholes<'g>(&self, ground: &'g Ground) -> impl Iterator<Item = (Whole<'g>, u64)> {
        let sealed = self.owed.iter().take_while(|next| next.segment.format.is_some());
        sealed.map(|next| {
            let whole = Whole {
                stream: Arc::clone(&self.stream),
                facility: Arc::clone(&self.facility),
                segment: next.segment.clone(),
                disk: &*ground.disk,
                tallies: &ground.tallies,
            };
            (whole, next.bytes)
        })
    }

    /// Adds what comes next to a batch, so much that it stays within `limits`.
    ///
    /// # Errors
    /// What the system says; `InvalidData` when the file is damaged.
    pub(super) fn fill(
        &mut self,
        ground: &Ground,
        batch: &mut Batch,
        limits: Limits,
    ) -> io::Result<Filled> {
        if !self.is_current(ground) {
            self.reading = None;
        }
        let opened = match self.reading.take() {
            Some(reading) => Ok(Opened::Reading(Box::new(reading))),
            None => self.open(ground),
        };
        let mut reading = match opened {
            Ok(Opened::Reading(reading)) => *reading,
            Ok(Opened::Nothing) => return Ok(Filled::Nothing),
            Ok(Opened::Look) => return Ok(self.ask_for_a_look()),
            // It has been sealed, or deleted, since the folder was looked at.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(self.ask_for_a_look());
            }
            Err(error) => return Err(error),
        };
        self.looks = 0;
        if self.is_displaced {
            self.reading = Some(reading);
            return Ok(Filled::Keep);
        }
        let begin = reading.mark;
        let mut part = Part {
            stream: Arc::clone(&self.stream),
            facility: Arc::clone(&self.facility),
            file: Arc::clone(&reading.file),
            begin,
            end: begin,
            bytes: Vec::new(),
            messages: Vec::new(),
        };
        while limits.records > part.messages.len() && limits.bytes > part.bytes.len() {
            let left = Limits {
                records: limits.records - part.messages.len(),
                bytes: limits.bytes - part.bytes.len(),
            };
            if !reading.hand_out(&mut part, left) && !reading.read_more()? {
                break;
            }
        }
        part.end = reading.mark;
        let through = match reading.which {
            Which::Closed(began) if reading.ended && reading.buffer.is_empty() => Some(began),
            _ => None,
        };
        if through.is_some() {
            // Many segments may be through with one batch: a decoder takes megabytes.
            (reading.source, reading.buffer) = (Source::Ended, Vec::new());
        }
        self.reading = Some(reading);
        if part.messages.is_empty() {
            return Ok(through.map_or(Filled::Nothing, Filled::Through));
        }
        batch.parts.push(part);
        Ok(Filled::Part(through))
    }

    /// A file that somebody has moved away while nobody writes to it is not there, however
    /// often the folder is looked at: until the next notice there is nothing to send.
    fn ask_for_a_look(&mut self) -> Filled {
        self.looks += 1;
        if self.looks <= LOOKS_MAX {
            return Filled::Look;
        }
        self.looks = 0;
        Filled::Nothing
    }

    /// A segment is through; the next file is the next one.
    pub(super) fn finish(&mut self, began: Began) -> State {
        let mut state = self.state.clone();
        state.done.insert(began, state.from_ns);
        state.again.remove(&began);
        state.forget_aside(state.mark.head);
        state.from_ns = state.mark.last_ns;
        state.mark =
            Mark { number: state.mark.number + 1, last_ns: state.mark.last_ns, ..Mark::default() };
        state
    }

    /// Takes note of a state that was published.
    pub(super) fn took(&mut self, state: State, now: Instant) {
        if state.mark.number != self.state.mark.number {
            self.reading = None;
        }
        self.owed.retain(|owed| !state.done.contains_key(&owed.segment.began));
        (self.published, self.published_at) = (state.mark, now);
        self.is_displaced = false;
        self.state = state;
    }

    /// Is what is open still what comes next?
    fn is_current(&mut self, ground: &Ground) -> bool {
        let Some(reading) = &mut self.reading else { return true };
        match reading.which {
            Which::Closed(began) => {
                self.owed.front().is_some_and(|owed| owed.segment.began == began)
            }
            Which::Live(id) => {
                let tail = ground.notices.tail(&self.stream, || None);
                match (tail, &mut reading.source) {
                    // Somebody may have cut it, and it may be longer since than it was.
                    (Some(tail), Source::Lines { file, at, end })
                        if tail.id == id
                            && tail.safe_bytes >= *at
                            && begins_with(&**file, reading.mark.head) =>
                    {
                        *end = tail.safe_bytes;
                        self.live_bytes = tail.safe_bytes;
                        true
                    }
                    _ => false,
                }
            }
        }
    }

    /// Takes note of what is owed, after a look at the folder.
    pub(super) fn looked(&mut self, owed: VecDeque<Owed>) {
        self.owed = owed;
        self.is_new = false;
        // A file that was live before the look has nothing before it but what is owed.
        self.live = self.candidate.take().or(self.live);
    }

    fn open(&mut self, ground: &Ground) -> io::Result<Opened> {
        match self.owed.front().map(|owed| owed.segment.clone()) {
            Some(segment) if segment.format.is_some() || ground.follows => {
                let reading = self.open_closed(ground, &segment)?;
                Ok(Opened::Reading(Box::new(reading)))
            }
            // It has not been sealed yet, and nothing goes before it.
            Some(_) => Ok(Opened::Nothing),
            None if ground.follows => self.open_live(ground),
            None => Ok(Opened::Nothing),
        }
    }

    fn open_closed(&mut self, ground: &Ground, segment: &Segment) -> io::Result<Reading> {
        let name = segment.to_string();
        loop {
            // It may be deleted as long as nobody holds it.
            let claim = ground.claims.claim(&self.stream.app, segment);
            let file = ground.disk.open(&self.stream.app, &name)?;
            let source = match segment.format {
                Some(format) => Source::Sealed(Box::new(Lines::open(file, Some(format))?)),
                None => {
                    // What turned a moment ago may not be safe yet.
                    file.sync()?;
                    let end = file.facts()?.bytes;
                    Source::Lines { file, at: 0, end }
                }
            };
            let which = Which::Closed(segment.began);
            if let Some(reading) = self.begin(ground, which, source, &name, Some(claim))? {
                return Ok(reading);
            }
        }
    }

    fn open_live(&mut self, ground: &Ground) -> io::Result<Opened> {
        let (folder, name) = (&*self.stream.app, &*self.stream.live);
        let look = || whole_lines(&*ground.disk, folder, name);
        let tail = ground.notices.tail(&self.stream, look).filter(|tail| tail.safe_bytes > 0);
        let Some(tail) = tail else {
            self.live_bytes = 0;
            return Ok(Opened::Nothing);
        };
        self.live_bytes = tail.safe_bytes;
        if self.live != Some(tail.id) {
            // What was live before it may have become a segment that is not known yet.
            self.candidate = Some(tail.id);
            return Ok(Opened::Look);
        }
        let file = ground.disk.open(folder, name)?;
        let facts = file.facts()?;
        if facts.id != tail.id {
            self.live = None;
            return Ok(Opened::Look);
        }
        if facts.bytes < tail.safe_bytes {
            // Somebody has cut it. When the writer has seen that, it says how far it is safe.
            return Ok(Opened::Nothing);
        }
        // Whoever wrote it before this process may not have synced it.
        file.sync()?;
        let source = Source::Lines { file, at: 0, end: tail.safe_bytes };
        let name = name.to_owned();
        Ok(match self.begin(ground, Which::Live(tail.id), source, &name, None)? {
            Some(reading) => Opened::Reading(Box::new(reading)),
            None => Opened::Look,
        })
    }

    /// Goes to the mark in a file that was opened, if it is about this file. None when the
    /// file turns out to be shorter only by reading it: it has to be opened once more.
    fn begin(
        &mut self,
        ground: &Ground,
        which: Which,
        mut source: Source,
        name: &str,
        claim: Option<Claim>,
    ) -> io::Result<Option<Reading>> {
        let head_bytes = source.take_up_to(HEAD_BYTES)?;
        let head = head_of(&head_bytes);
        if self.state.mark.offset > 0 && self.state.mark.head != head {
            warn!(
                "a file of {} is not there any more, or {name} was put before it, and not all of \
                 it was shipped; it goes on where it was when it is next again",
                self.stream.shown()
            );
            self.state.put_aside();
            self.is_displaced = true;
            let Mark { number, last_ns, .. } = self.state.mark;
            // The times of one that is older are not behind those that were given since: they
            // are what they were, so that it replaces itself in a database.
            let last_ns = match which {
                Which::Closed(began) if began_ns(began, ground) < last_ns => 0,
                _ => last_ns,
            };
            self.state.mark = Mark { number: number + 1, last_ns, ..Mark::default() };
            self.state.from_ns = last_ns;
        }
        if self.state.mark.offset == 0 {
            let number = self.state.mark.number;
            let aside = self.state.asides.iter().find(|aside| aside.mark.head == head);
            if let Some(&Aside { mark, from_ns }) = aside {
                // It goes on where it was before others took its place.
                self.state.mark = Mark { number, ..mark };
                self.state.from_ns = from_ns;
                self.state.forget_aside(head);
            } else if let Which::Closed(began) = which
                && let Some(&from_ns) = self.state.again.get(&began)
            {
                (self.state.mark.last_ns, self.state.from_ns) = (from_ns, from_ns);
            }
            self.state.mark.head = head;
        }
        if source.ends_before(self.state.mark.offset) {
            self.was_cut(name);
        }
        let mark = self.state.mark;
        if let (Source::Lines { .. }, 0) = (&source, mark.offset) {
            // Its name has to be as safe as its lines are, or after a loss of power these
            // stand under another one, and would be shipped once more.
            ground.disk.sync_folder(&self.stream.app)?;
        }
        let Some(buffer) = source.skip(head_bytes, mark.offset, &ground.surroundings)? else {
            self.was_cut(name);
            return Ok(None);
        };
        Ok(Some(Reading {
            which,
            source,
            buffer,
            mark,
            times: Reader::new(ground.zone.clone(), mark.last_ns),
            file: name.into(),
            ended: false,
            read_bytes: FIRST_READ_BYTES,
            _claim: claim,
        }))
    }

    /// A file is shorter than what was shipped of it. What came to it since may stand
    /// anywhere.
    fn was_cut(&mut self, name: &str) {
        warn!(
            "somebody has cut {name} of {}: what is in it now is shipped from its beginning",
            self.stream.shown()
        );
        let Mark { number, head, .. } = self.state.mark;
        // With the same times as before: what is still in it replaces itself in a database.
        let last_ns = self.state.from_ns;
        self.state.mark = Mark { number: number + 1, last_ns, head, ..Mark::default() };
    }
}

impl Reading {
    /// Moves messages from the buffer to the part. False when more has to be read first.
    fn hand_out(&mut self, part: &mut Part, limits: Limits) -> bool {
        let is_live = matches!(self.which, Which::Live(_));
        // What is safe of a live file ends with a message.
        let whole = self.ended || (is_live && self.source.is_at_end());
        let mut splitter = Splitter::new(&self.buffer, whole);
        let (offset, mut handed_out) = (part.bytes.len(), 0);
        for mut message in splitter.by_ref().take(limits.records) {
            let bytes = self.buffer.get(message.begin..message.end).unwrap_or_default();
            let times = self.times.times(bytes);
            handed_out = message.end;
            message.begin += offset;
            message.end += offset;
            part.messages.push((message, times));
            self.mark.records += 1;
            if handed_out >= limits.bytes {
                break;
            }
        }
        part.bytes.extend(self.buffer.drain(..handed_out));
        self.mark.offset += handed_out as u64;
        self.mark.last_ns = self.times.last_ns();
        handed_out > 0
    }

    /// Reads more. False when there is no more.
    fn read_more(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let before = self.buffer.len();
        // There may be many of them: no larger than it has to be.
        let bytes = self.read_bytes.max(before).min(self.source.left());
        self.read_bytes = READ_BYTES.min(self.read_bytes * 2);
        self.buffer.resize(before + bytes, 0);
        let read = self.source.read(self.buffer.get_mut(before..).unwrap_or_default());
        self.buffer.truncate(before + *read.as_ref().unwrap_or(&0));
        if read? > 0 {
            return Ok(true);
        }
        let Which::Closed(_) = self.which else { return Ok(false) };
        self.ended = true;
        if let Source::Lines { .. } = self.source {
            // Half a line is what a power failure has left; it is cut off, not shipped.
            let whole = memchr::memrchr(b'\n', &self.buffer).map_or(0, |feed| feed + 1);
            self.buffer.truncate(whole);
        }
        Ok(!self.buffer.is_empty())
    }
}

impl Source {
    fn is_at_end(&self) -> bool {
        matches!(self, Source::Lines { at, end, .. } if at >= end)
    }

    /// Is it known to be shorter? Of a sealed segment that shows when it is read.
    fn ends_before(&self, offset: u64) -> bool {
        matches!(self, Source::Lines { end, .. } if *end < offset)
    }

    /// How many bytes there are at most, and one to see the end by.
    fn left(&self) -> usize {
        match self {
            Source::Lines { at, end, .. } => {
                usize::try_from(end.saturating_sub(*at)).unwrap_or(usize::MAX).max(1)
            }
            Source::Sealed(_) => usize::MAX,
            Source::Ended => 0,
        }
    }

    /// Up to so many bytes from the beginning.
    fn take_up_to(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        let mut beginning = vec![0; bytes];
        let mut filled = 0;
        while filled < bytes {
            match self.read(beginning.get_mut(filled..).unwrap_or_default())? {
                0 => break,
                read => filled += read,
            }
        }
        beginning.truncate(filled);
        Ok(beginning)
    }

    /// Goes to `offset`; `beginning` was read already. Returns what of it stands behind, or
    /// None when the file is shorter.
    fn skip(
        &mut self,
        mut beginning: Vec<u8>,
        offset: u64,
        surroundings: &Surroundings,
    ) -> io::Result<Option<Vec<u8>>> {
        if let Source::Lines { at, .. } = self {
            *at = offset;
            return Ok(Some(Vec::new()));
        }
        let read = beginning.len() as u64;
        if offset <= read {
            let offset = usize::try_from(offset).unwrap_or(beginning.len());
            beginning.drain(..offset);
            return Ok(Some(beginning));
        }
        let mut left = offset - read;
        let mut slice = vec![0; READ_BYTES];
        while left > 0 {
            if surroundings.has_ended() {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "it was time to stop"));
            }
            let wanted = usize::try_from(left).unwrap_or(READ_BYTES).min(READ_BYTES);
            match self.read(slice.get_mut(..wanted).unwrap_or_default())? {
                0 => return Ok(None),
                bytes => left -= bytes as u64,
            }
        }
        Ok(Some(Vec::new()))
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Lines { file, at, end } => {
                let left = usize::try_from(end.saturating_sub(*at)).unwrap_or(usize::MAX);
                let room = buffer.len().min(left);
                let read = file.read_at(buffer.get_mut(..room).unwrap_or_default(), *at)?;
                *at += read as u64;
                Ok(read)
            }
            Source::Sealed(plain) => plain.read(buffer),
            Source::Ended => Ok(0),
        }
    }
}

/// A live file that nobody writes to yet, up to its last line feed: what stands behind
/// that is half a line, which is cut off when the file is opened to be written.
fn whole_lines(disk: &dyn Disk, folder: &str, name: &str) -> Option<Tail> {
    let file = disk.open(folder, name).ok()?;
    let facts = file.facts().ok()?;
    let mut end = facts.bytes;
    let mut block = vec![0; READ_BYTES];
    while end > 0 {
        let begin = end.saturating_sub(READ_BYTES as u64);
        let bytes = usize::try_from(end - begin).ok()?;
        let block = block.get_mut(..bytes)?;
        if file.read_at(block, begin).ok()? < bytes {
            return None;
        }
        if let Some(feed) = memchr::memrchr(b'\n', block) {
            end = begin + feed as u64 + 1;
            break;
        }
        end = begin;
    }
    Some(Tail { id: facts.id, safe_bytes: end })
}

/// When a segment begins, in nanoseconds since 1970.
fn began_ns(began: Began, ground: &Ground) -> i64 {
    let at = began.to_timestamp(&ground.zone).map(|at| at.as_nanosecond());
    at.and_then(|at| i64::try_from(at).ok()).unwrap_or(i64::MAX)
}

/// Does a file still begin so? Who cannot see it does not know.
fn begins_with(file: &dyn DiskFile, head: u64) -> bool {
    let mut beginning = [0; HEAD_BYTES];
    let read = file.read_at(&mut beginning, 0).unwrap_or(0);
    head_of(beginning.get(..read).unwrap_or_default()) == head
}

/// What tells a file from others: a checksum of its first line, or as much of that as
/// fits. Never 0.
fn head_of(beginning: &[u8]) -> u64 {
    let end = memchr::memchr(b'\n', beginning).map_or(beginning.len(), |feed| feed + 1);
    let digest = Sha256::digest(beginning.get(..end).unwrap_or_default());
    let first = digest.first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(first).max(1)
}

#[cfg(test)]
mod tests;
