//! What a target is: a few methods, and what may go wrong.
//! A batch of records, or a whole segment -> it is there for good, or why not.
//! Invariant: what `deliver` has said to be there stays there, and is there once.
//! Leaves out: when to try again, what comes next, what is remembered (`run`).

use std::collections::HashMap;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::tz::TimeZone;
use tokio::runtime::Handle;

use super::batch::Batch;
use super::mark::{Mark, Stream};
use crate::config::facility::Facility;
use crate::disk::{Disk, DiskFile};
use crate::pipeline::rotate::name::Segment;
use crate::pipeline::tally::kept::Tallies;

/// A target that takes records: Kafka, InfluxDB. One thread calls it, which waits
/// meanwhile; long waits end soon after [`Surroundings::has_ended`].
pub trait Records: Debug + Send {
    /// Gets ready: connects, proves who we are, looks whether what has to be there is
    /// there. Called first, and again after any trouble.
    ///
    /// # Errors
    /// What is in the way.
    fn connect(&mut self) -> Result<(), Trouble>;

    /// How far the target says that streams have come; called after each `connect`.
    /// None when it cannot tell: what was noted here holds then, and what follows it
    /// may be delivered again.
    ///
    /// # Errors
    /// What is in the way.
    fn marks(&mut self) -> Result<Option<HashMap<Stream, Mark>>, Trouble>;

    /// What the place calls itself, where it does; called after `marks`.
    fn cluster(&mut self) -> Option<String> {
        None
    }

    /// How much it wants to get at once, at most.
    fn limits(&self) -> Limits;

    /// Delivers all of a batch and returns when it is there for good, together with
    /// the marks of its parts where the target keeps them. Records that it will never
    /// take are left out and handed to `bury`, before the target says anywhere that it
    /// has come past them: after a kill in between nobody would ask for them again.
    ///
    /// # Errors
    /// What is in the way, also of `bury`. Perhaps all of it is there, perhaps nothing:
    /// after the next `connect`, [`marks`](Records::marks) tells, or the same is
    /// delivered again without harm.
    fn deliver(&mut self, batch: &Batch, bury: Bury<'_>) -> Result<(), Trouble>;
}

/// Keeps records of a batch that a target will never take; when it returns they are
/// safe. The same ones may be handed to it again.
pub type Bury<'b> = &'b mut dyn FnMut(&[Refused]) -> Result<(), Trouble>;

/// A target that takes whole segments: S3. As [`Records`] otherwise.
pub trait Segments: Debug + Send {
    /// See [`Records::connect`].
    ///
    /// # Errors
    /// What is in the way.
    fn connect(&mut self) -> Result<(), Trouble>;

    /// Delivers a segment and returns when it is there for good. It may be there
    /// already.
    ///
    /// # Errors
    /// What is in the way; the same segment is delivered again later.
    fn deliver(&mut self, whole: &Whole<'_>) -> Result<Arrived, Trouble>;

    /// Delivers several, in any order; says of each, in theirs, what has become of it.
    fn deliver_all(&mut self, wholes: &[Whole<'_>]) -> Vec<Result<Arrived, Trouble>> {
        wholes.iter().map(|whole| self.deliver(whole)).collect()
    }
}

/// What became of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// Its messages, if somebody has counted them.
    pub records: Option<u64>,
    /// What went over the wire, in bytes; 0 when it was there already.
    pub bytes: u64,
}

/// How much a target takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Messages.
    pub records: usize,
    /// Bytes of messages as they stand in the file.
    pub bytes: usize,
}

/// A record that a target will never take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Of which part of the batch.
    pub part: usize,
    /// Which message of that.
    pub message: usize,
    /// Why, in the target's words.
    pub reason: String,
}

/// Why something could not be delivered. Messages name the thing, the place and the
/// remedy, and never a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// It may heal by itself: no connection, too busy, a server's fault. It is tried
    /// again for ever, with growing pauses.
    #[error("{what}")]
    Later {
        /// What has happened.
        what: String,
        /// The target asks for so long a pause (`Retry-After`).
        pause: Option<std::time::Duration>,
    },
    /// Somebody has to do something: credentials, a bucket or topic that is not there,
    /// an object that is not what it should be. It is tried again after a reload.
    #[error("{what}; {remedy}, then reload loghogd (SIGHUP)")]
    Stop {
        /// What stands still.
        scope: Scope,
        /// What has happened.
        what: String,
        /// What would be right.
        remedy: String,
    },
    /// The daemon ends, or the target is to end.
    #[error("it was time to stop")]
    Ended,
}

/// What stands still until somebody has done something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of the target.
    Target,
    /// Only what goes this way: the file or topic of this stream.
    Stream(Arc<Stream>),
}

impl Trouble {
    /// It may heal.
    pub fn later(what: impl Into<String>) -> Trouble {
        Trouble::Later { what: what.into(), pause: None }
    }

    /// It heals by somebody's hand, and concerns all of the target.
    pub fn stop(what: impl Into<String>, remedy: impl Into<String>) -> Trouble {
        Trouble::Stop { scope: Scope::Target, what: what.into(), remedy: remedy.into() }
    }
}

/// A closed segment of a stream.
#[derive(Debug)]
pub struct Whole<'a> {
    /// Whose it is.
    pub stream: Arc<Stream>,
    /// Its facility.
    pub facility: Arc<Facility>,
    /// The segment, in the form in which it is there.
    pub segment: Segment,
    /// Where it is.
    pub disk: &'a dyn Disk,
    /// Where it is kept what is in it, if it is.
    pub tallies: &'a Tallies,
}

impl Whole<'_> {
    /// Opens it, as it is on the disk.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(&self) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(&self.stream.app, &self.segment.to_string())
    }
}

/// What a target may use of the daemon. A clone is the same.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where it runs what waits.
    pub runtime: Handle,
    /// Which log folder this is, among all in the world: 16 hex digits that were
    /// chosen when it was first shipped. Part of the names under which targets
    /// remember things.
    pub instance: Arc<str>,
    /// In which zone lines of text are stamped.
    pub zone: TimeZone,
    ended: Arc<AtomicBool>,
}

impl Surroundings {
    /// Nothing has ended yet.
    pub fn new(runtime: Handle, instance: &str, zone: TimeZone) -> Surroundings {
        Surroundings { runtime, instance: instance.into(), zone, ended: Arc::default() }
    }

    /// Is it time to stop? Whoever waits long looks now and then.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// It is time to stop.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// The same for another target, which ends by itself.
    pub fn apart(&self) -> Surroundings {
        Surroundings { ended: Arc::default(), ..self.clone() }
    }
}
