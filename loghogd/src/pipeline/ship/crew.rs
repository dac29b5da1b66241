//! Starts and stops the threads that ship.
//! Targets as configured -> a thread for each; a new configuration -> other threads.
//! Invariant: of one target one thread works; one that has changed ends before it begins anew.
//! Leaves out: what a thread does (`run`).

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::runtime::Handle;
use tracing::{error, info, warn};

use super::destination::Destination;
use super::influxdb::InfluxDbTarget;
use super::kafka::KafkaTarget;
use super::limits::END_LOOK;
use super::notices::{Notices, Replay};
use super::receipts::Receipts;
use super::run::{Errand, Run, Way, say_begin};
use super::s3::S3Target;
use super::status::{Board, Doing, Status};
use super::target::{Surroundings, Trouble};
use crate::config::facility::Table;
use crate::config::ship::{Kind, Target, When};
use crate::disk::Disk;
use crate::limits::PANIC_PAUSE;
use crate::pipeline::claims::Claims;
use crate::pipeline::cold::Bell;
use crate::pipeline::tally::kept::Tallies;
use crate::stats::Stats;

/// What those who ship need of the daemon.
#[derive(Debug)]
pub struct Shared {
    /// The log folder.
    pub disk: Arc<dyn Disk>,
    /// What has arrived where.
    pub receipts: Receipts,
    /// Whose files go where.
    pub table: Arc<ArcSwap<Table>>,
    /// Keeps others from deleting what is being read.
    pub claims: Claims,
    /// What is in segments that were sealed.
    pub tallies: Tallies,
    /// Rung when something may be deleted; it passes on what there is to do.
    pub bell: Arc<Bell>,
    /// What is counted.
    pub stats: Arc<Stats>,
    /// In which zone lines are stamped.
    pub zone: TimeZone,
    /// Where targets wait.
    pub runtime: Handle,
}

/// All threads that ship.
#[derive(Debug)]
pub struct Shippers {
    shared: Shared,
    at_work: BTreeMap<Box<str>, Worker>,
    /// Targets that could not begin; the next reload tries again.
    at_rest: BTreeMap<Box<str>, Board>,
    /// Those that were to end and have not yet.
    leaving: Vec<(Box<str>, Leaving)>,
}

/// A thread that is to end.
type Leaving = Arc<JoinHandle<()>>;

/// A replay that was asked for.
#[derive(Debug)]
pub struct Asked {
    answered: Receiver<io::Result<u64>>,
}

#[derive(Debug)]
struct Worker {
    target: Target,
    board: Board,
    surroundings: Surroundings,
    thread: Leaving,
}

impl Shippers {
    /// Nothing is shipped yet.
    pub fn new(shared: Shared) -> Shippers {
        Shippers { shared, at_work: BTreeMap::new(), at_rest: BTreeMap::new(), leaving: Vec::new() }
    }

    /// Ships to these targets from now on, and to no others. What stands still is tried
    /// again. Waits a moment for threads that end.
    pub fn ship_to(&mut self, targets: &[Target], patience: Duration) {
        let gone: Vec<Box<str>> = self
            .at_work
            .iter()
            .filter(|(_, worker)| !targets.contains(&worker.target))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &gone {
            info!("shipping to {name} ends: its section has changed");
            self.end(name);
        }
        let until = Instant::now() + patience;
        for name in gone {
            let Some(worker) = self.at_work.remove(&name) else { continue };
            wait_for(&worker, until);
            self.leaving.push((name, worker.thread));
        }
        self.leaving.retain(|(_, thread)| !thread.is_finished());
        self.at_rest.clear();
        self.shared.tallies.keep_for(targets);
        self.notices().reloaded();
        for target in targets {
            if !self.at_work.contains_key(&target.name)
                && let Err(error) = self.begin(target)
            {
                let what =
                    format!("cannot begin: {error}; it is tried again after a reload (SIGHUP)");
                error!("shipping to {}: {what}", target.name);
                let board = Board::new(&target.name, target.kind.name());
                board.note_error(&what, Doing::Stopped);
                self.at_rest.insert(target.name.clone(), board);
            }
        }
    }

    /// How all targets are doing, in the order of their names.
    pub fn statuses(&self) -> Vec<Status> {
        let at_work = self.at_work.iter().map(|(name, worker)| (name, &worker.board));
        let boards: BTreeMap<_, _> = at_work.chain(&self.at_rest).collect();
        boards.values().map(|board| board.status()).collect()
    }

    /// Asks for what was received between these times to be sent again. Returns at once;
    /// none when there is no such target at work.
    pub fn replay(&self, target: &str, from: Timestamp, to: Timestamp) -> Option<Asked> {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        let asked = self.notices().replay(target, Replay { from, to, answer });
        asked.then_some(Asked { answered })
    }

    /// It is over: what is on its way may come to its end until then.
    pub fn stop(&mut self, until: Instant) {
        let names: Vec<Box<str>> = self.at_work.keys().cloned().collect();
        names.iter().for_each(|name| self.end(name));
        self.at_work.values().for_each(|worker| wait_for(worker, until));
    }

    fn end(&self, name: &str) {
        if let Some(worker) = self.at_work.get(name) {
            worker.surroundings.end();
        }
        self.notices().wake(name);
        self.notices().forget(name);
    }

    fn notices(&self) -> &Notices {
        &self.shared.bell.notices
    }

    fn begin(&mut self, target: &Target) -> io::Result<()> {
        let Shared { receipts, zone, runtime, .. } = &self.shared;
        let instance = receipts.instance(choose)?;
        let surroundings = Surroundings::new(runtime.clone(), &instance, zone.clone());
        let errand = Errand {
            name: &target.name,
            kind: target.kind.name(),
            follows: target.when == When::Live,
            rate_bytes: target.rate_bytes,
            destination: &Destination::of(&target.kind),
        };
        let before = self.before(&target.name);
        let mut way = way(target, &surroundings).map_err(io::Error::other)?;
        say_begin(errand);
        let mut run = Run::new(&self.shared, errand, surroundings.clone());
        let board = run.board.clone();
        let name = target.name.clone();
        let thread = thread::Builder::new().name(format!("ship-{name}")).spawn(move || {
            if !have_ended(&before, &run.board, &run.surroundings) {
                return;
            }
            while catch_unwind(AssertUnwindSafe(|| run.run(&mut way))).is_err() {
                error!(
                    "the thread that ships to {} has met a fault of its own and begins again; please \
                     report this",
                    run.name
                );
                run.begin_anew();
                thread::sleep(PANIC_PAUSE);
            }
        })?;
        let thread = Arc::new(thread);
        let worker = Worker { target: target.clone(), board, surroundings, thread };
        self.at_work.insert(target.name.clone(), worker);
        Ok(())
    }

    /// Those that have shipped under this name and may not have ended yet.
    fn before(&self, name: &str) -> Vec<Leaving> {
        let named = self.leaving.iter().filter(|(leaving, _)| **leaving == *name);
        named.map(|(_, thread)| Arc::clone(thread)).collect()
    }
}

impl Asked {
    /// How many segments are sent again, once that is safe. Nobody should hold a lock while
    /// he waits for it.
    ///
    /// # Errors
    /// When that cannot be noted, or when the target's thread does not answer in time.
    pub fn wait(self, patience: Duration) -> io::Result<u64> {
        self.answered.recv_timeout(patience).unwrap_or_else(|_| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the target is busy; what was asked for is done when it is not any more",
            ))
        })
    }
}

/// Waits for those before: two that ship under one name would undo each other's notes.
/// False when it is time to end first.
fn have_ended(before: &[Leaving], board: &Board, surroundings: &Surroundings) -> bool {
    let stay = || before.iter().any(|thread| !thread.is_finished());
    if stay() {
        let what = "what was shipped there before a reload has not come to its end yet: \
                    nothing is shipped before it has";
        board.note_error(what, Doing::Connecting);
    }
    while stay() {
        if surroundings.has_ended() {
            return false;
        }
        thread::sleep(END_LOOK);
    }
    true
}

fn wait_for(worker: &Worker, until: Instant) {
    while !worker.thread.is_finished() {
        if Instant::now() >= until {
            // What it was delivering is delivered again, where that is needed.
            warn!("the thread that ships to {} has not ended in time", worker.target.name);
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// What a target delivers with.
///
/// # Errors
/// What keeps it from being tried at all.
pub(super) fn way(target: &Target, surroundings: &Surroundings) -> Result<Way, Trouble> {
    Ok(match &target.kind {
        Kind::InfluxDb(options) => {
            let target = InfluxDbTarget::new(&target.name, options, surroundings.clone())?;
            Way::Records(Box::new(target))
        }
        Kind::Kafka(options) => {
            let target = KafkaTarget::new(&target.name, options, surroundings.clone())?;
            Way::Records(Box::new(target))
        }
        Kind::S3(options) => {
            let target = S3Target::new(&target.name, options, surroundings.clone())?;
            Way::Segments(Box::new(target))
        }
    })
}

/// Connects to a target as its thread would, and delivers nothing.
///
/// # Errors
/// What is in the way.
pub fn try_out(target: &Target) -> Result<(), Trouble> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Trouble::later(format!("cannot start the runtime: {error}")))?;
    let surroundings =
        Surroundings::new(runtime.handle().clone(), "check-config", TimeZone::system());
    match way(target, &surroundings)? {
        Way::Records(mut target) => target.connect(),
        Way::Segments(mut target) => target.connect(),
    }
}

/// A number that no other log folder has.
fn choose() -> u64 {
    let mut bytes = [0; 8];
    match ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes) {
        Ok(()) => u64::from_be_bytes(bytes),
        // The system has no randomness: the clock and the process are unlikely enough.
        Err(_) => Timestamp::now().as_microsecond().unsigned_abs() ^ u64::from(std::process::id()),
    }
}

#[cfg(test)]
mod tests;
