//! Says how the daemon is doing.
//! What the rooms know -> a `Report`, for people, for scripts and for Prometheus.
//! Invariant: asking holds nobody up, and changes nothing but what the kernel is asked for.
//! Leaves out: what is on the disk in other programs' charge, and what clients keep to themselves.
//!
//! ```text
//! report   what is told
//! health   pure: is it well, and if not, why
//! metrics  pure: a report as Prometheus reads it
//! http     the status page
//! ```

pub mod health;
pub mod http;
pub mod metrics;
pub mod report;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

pub use self::health::{Health, Reason, State};
pub use self::report::{Certificate, Disk, Report, Syncs};
use crate::certs::{self, End};
use crate::clock::Clock;
use crate::config::Table;
use crate::config::checked::{MinFree, TlsPaths};
use crate::connections::Connections;
use crate::disk::{self, Space};
use crate::ledger::{Client, Ledger};
use crate::limits::{QUEUE_BYTES_MAX, RECENT_TIME, REFUSING_SHOWN_MAX};
use crate::pipeline::Road;
use crate::pipeline::persist::writer::Waiting;
use crate::pipeline::ship::Shippers;
use crate::pipeline::tap::Taps;
use crate::stats::{Counter, Stats};

const SECONDS_A_DAY: i64 = 86_400;

/// The rooms that are asked. None of this keeps the daemon from ending.
#[derive(Debug)]
pub struct Rooms {
    /// Asked what the kernel has dropped, as long as it is there.
    pub road: Weak<Road>,
    /// What is counted.
    pub stats: Arc<Stats>,
    /// Who is connected.
    pub connections: Arc<Connections>,
    /// What came from whom.
    pub ledger: Arc<Ledger>,
    /// What waits in front of the writer.
    pub waiting: Waiting,
    /// Where one can look at what passes.
    pub taps: Arc<Taps>,
    /// The facilities in force.
    pub table: Arc<ArcSwap<Table>>,
    /// The targets.
    pub shippers: Arc<Mutex<Shippers>>,
    /// The log folder.
    pub disk: Arc<dyn disk::Disk>,
    /// What has to stay free there.
    pub min_free: Option<MinFree>,
    /// The time.
    pub clock: Clock,
    /// When the daemon started.
    pub started: Timestamp,
    /// Where it listens, each address with its protocol.
    pub listening: Vec<String>,
    /// Becomes some time when it is time to stop.
    pub stop: watch::Receiver<Option<Instant>>,
    /// When certificates end.
    pub ends: Ends,
}

/// When the certificates end that are in force.
#[derive(Debug, Default)]
pub struct Ends(Mutex<Vec<End>>);

impl Ends {
    /// Reads them anew. Those that cannot be read are not in force, and the own log has
    /// said so.
    pub fn read(&self, paths: Option<&TlsPaths>) {
        if let Some(Ok(ends)) = paths.map(certs::ends) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = ends;
        }
    }

    fn certificates(&self, now: Timestamp) -> Vec<Certificate> {
        let ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let certificate = |end: &End| Certificate {
            whose: end.whose.clone(),
            path: end.path.display().to_string(),
            ends: end.at,
            days_left: (end.at.as_second() - now.as_second()).div_euclid(SECONDS_A_DAY),
        };
        ends.iter().map(certificate).collect()
    }
}

impl Rooms {
    /// How the daemon is doing now. It may take as long as the file system takes to say
    /// how much is free.
    pub fn report(&self) -> Report {
        if let Some(road) = self.road.upgrade() {
            road.ask_for_drops();
        }
        let now = self.clock.now();
        let counters = Counter::ALL.iter().map(|counter| (*counter, self.stats.get(*counter)));
        let counters: BTreeMap<String, u64> =
            counters.map(|(counter, value)| (counter.name().to_owned(), value)).collect();
        let targets = self.shippers.lock().unwrap_or_else(PoisonError::into_inner).statuses();
        let (refusing, refusing_files) = self.waiting.refusing(REFUSING_SHOWN_MAX);
        let mut report = Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: self.started,
            now,
            health: Health::default(),
            listening: self.listening.clone(),
            facilities: self.table.load().len() as u64,
            connections: self.connections.count() as u64,
            open_files: self.stats.open_files(),
            queue_bytes: self.waiting.queue_bytes() as u64,
            queue_bytes_max: QUEUE_BYTES_MAX as u64,
            refusing,
            refusing_files: refusing_files as u64,
            disk: self.disk.space().ok().map(|space| self.room(&space)),
            syncs: Syncs::from(&self.stats.sync_times.spread()),
            certificates: self.ends.certificates(now),
            targets,
            counters,
        };
        let is_stopping = self.stop.borrow().is_some();
        let is_recent = |counter| self.stats.has_grown_within(counter, RECENT_TIME);
        report.health = health::judge(&report, is_stopping, &is_recent);
        report
    }

    /// What came from each client.
    pub fn clients(&self) -> Vec<Client> {
        self.ledger.clients()
    }

    fn room(&self, space: &Space) -> Disk {
        Disk {
            path: self.disk.path().display().to_string(),
            total_bytes: space.total_bytes,
            free_bytes: space.free_bytes,
            min_free_bytes: self.min_free.map_or(0, |free| free.bytes_of(space.total_bytes)),
        }
    }
}
