//! What is told of the daemon.
//! (data)
//! Invariant: names and units are part of the interface: `docs/status.md` lists them.
//! Leaves out: how it is found out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::health::Health;
use crate::pipeline::ship;
use crate::stats::{BOUNDS, Spread};

/// How the daemon is doing, as `/api/v1/status` and `loghogd status --json` show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When it started (RFC 3339).
    pub started: Timestamp,
    /// When this was asked.
    pub now: Timestamp,
    /// Is it well?
    pub health: Health,
    /// Where it listens: `tcp 127.0.0.1:5566`.
    pub listening: Vec<String>,
    /// Facilities in force.
    pub facilities: u64,
    /// Connections over TCP and TLS that are open now.
    pub connections: u64,
    /// Log files that are open now.
    pub open_files: u64,
    /// What lines on their way to files take, in bytes.
    pub queue_bytes: u64,
    /// At this much senders wait.
    pub queue_bytes_max: u64,
    /// Some of the files that cannot be written, each with what the disk says.
    pub refusing: Vec<(String, String)>,
    /// How many there are.
    pub refusing_files: u64,
    /// The file system of the log folder, if it says.
    pub disk: Option<Disk>,
    /// How long syncs of log files took.
    pub syncs: Syncs,
    /// Certificates in force.
    pub certificates: Vec<Certificate>,
    /// Where files are shipped to.
    pub targets: Vec<ship::Status>,
    /// All counters, since the start.
    pub counters: BTreeMap<String, u64>,
}

/// A file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The log folder.
    pub path: String,
    /// All there is, in bytes.
    pub total_bytes: u64,
    /// What the daemon may still use, in bytes.
    pub free_bytes: u64,
    /// What has to stay free, in bytes (`[main] min_free`); 0 for nothing.
    pub min_free_bytes: u64,
}

/// How long syncs took, since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Syncs {
    /// How many there were, those that failed included.
    pub count: u64,
    /// All of them together.
    pub seconds: f64,
    /// Half of them took no longer, in seconds; none when that is beyond all bounds.
    pub median_seconds: Option<f64>,
    /// All but one of a hundred took no longer, in seconds.
    pub p99_seconds: Option<f64>,
    /// How many took no longer than each of some bounds (the first number, in seconds).
    pub up_to: Vec<(f64, u64)>,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Whose it is: `server`, or `authority` with its name.
    pub whose: String,
    /// Its file.
    pub path: String,
    /// Its last moment (RFC 3339).
    pub ends: Timestamp,
    /// Whole days until then; negative when it has ended.
    pub days_left: i64,
}

impl Report {
    /// A counter by its name.
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or_default()
    }
}

impl From<&Spread> for Syncs {
    fn from(spread: &Spread) -> Syncs {
        let mut sum = 0;
        let bounds = BOUNDS.iter().zip(spread.buckets);
        let up_to = bounds.map(|(bound, number)| {
            sum += number;
            (seconds(*bound), sum)
        });
        Syncs {
            up_to: up_to.collect(),
            count: spread.count(),
            seconds: seconds(spread.micros),
            median_seconds: spread.quantile(500).map(seconds),
            p99_seconds: spread.quantile(990).map(seconds),
        }
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Of a daemon of which nothing is wrong.
    pub(crate) fn report() -> Report {
        Report {
            version: "1".to_owned(),
            pid: 1,
            started: Timestamp::UNIX_EPOCH,
            now: Timestamp::UNIX_EPOCH,
            health: Health::default(),
            listening: Vec::new(),
            facilities: 1,
            connections: 0,
            open_files: 0,
            queue_bytes: 0,
            queue_bytes_max: 1,
            refusing: Vec::new(),
            refusing_files: 0,
            disk: None,
            syncs: Syncs::default(),
            certificates: Vec::new(),
            targets: Vec::new(),
            counters: Default::default(),
        }
    }
}
