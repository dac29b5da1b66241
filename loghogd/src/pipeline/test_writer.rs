//! The writer without its thread, as tests drive it.
//! Messages and times -> what the writer does with them, round after round.
//! Invariant: nothing happens beside: files that turn are synced and closed in their place.
//! Leaves out: waiting for anything.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use wire::v1::Record;

use super::cold::Bell;
use super::gate::Admitted;
use super::persist::live::Form;
use super::persist::log_file::Parcel;
use super::persist::retire::Retirement;
use super::persist::rounds::{Rounds, Settings, Shelf};
use super::persist::{Batch, Spares};
use crate::clock::Clock;
use crate::config::Table;
use crate::disk::Disk;
use crate::stats::Stats;

/// Room for all that a test does.
pub(super) const SETTINGS: Settings = Settings {
    open_files_max: 100,
    hosts_max: 100_000,
    unsynced_time_max: Duration::from_secs(1),
    form: Form::Plain,
    min_free: None,
};

/// A writer, and those who hand lines over to it.
pub(super) struct TestWriter {
    pub(super) rounds: Rounds,
    pub(super) clock: Clock,
    pub(super) stats: Arc<Stats>,
    spares: Arc<Spares>,
    room: Arc<Semaphore>,
}

impl TestWriter {
    pub(super) fn new(disk: Arc<dyn Disk>, clock: Clock, settings: Settings) -> TestWriter {
        let (stats, spares) = (Arc::new(Stats::new()), Arc::new(Spares::default()));
        let shelf = Shelf {
            retirement: Retirement::Here(Arc::clone(&stats)),
            spares: Arc::clone(&spares),
            held: Arc::default(),
        };
        let bell = Arc::new(Bell::default());
        let rounds = Rounds::new(disk, settings, clock.clone(), Arc::clone(&stats), shelf, bell);
        TestWriter { rounds, clock, stats, spares, room: Arc::new(Semaphore::new(1 << 24)) }
    }

    /// Hands messages over in one batch. Returns the stamp of their lines.
    pub(super) fn send(&mut self, table: &Table, app: &str, host: &str, bodies: &[&str]) -> String {
        let facility = table.find(app, "").unwrap();
        let mut batch = Batch::new(Arc::clone(&self.spares), Arc::default());
        let stamp = self.clock.stamp();
        for body in bodies {
            let (module, signature) = ("", None);
            let record =
                Record { app_id: app, module, hostname: host, body, stamp: 0, nsecs: 0, signature };
            batch.push(&stamp, &Admitted { facility, record }).unwrap();
        }
        for section in batch.take() {
            let permit = Arc::clone(&self.room).try_acquire_many_owned(1).unwrap();
            self.rounds.enqueue(Parcel { section, room: Some(permit) });
        }
        stamp.as_str().to_owned()
    }
}
