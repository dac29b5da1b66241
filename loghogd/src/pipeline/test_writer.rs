//! The writer without its thread, as tests drive it.
//! Messages and times -> what the writer does with them, round after round.
//! Invariant: nothing happens beside: files that turn are synced and closed in their place.
//! Leaves out: waiting for anything.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Semaphore;
use wire::v1::Record;

use super::cold::Bell;
use super::gate::Admitted;
use super::persist::clients::{Clients, Key, Session};
use super::persist::journal::Journal;
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
    pub(super) clients: Arc<Clients>,
    spares: Arc<Spares>,
    room: Arc<Semaphore>,
}

impl TestWriter {
    pub(super) fn new(disk: Arc<dyn Disk>, clock: Clock, settings: Settings) -> TestWriter {
        let (stats, spares) = (Arc::new(Stats::new()), Arc::new(Spares::default()));
        let (journal, clients) = Journal::open(Arc::clone(&disk), 100, clock.now()).unwrap();
        let shelf = Shelf {
            retirement: Retirement::Here(Arc::clone(&stats), Arc::clone(&disk)),
            journal,
            spares: Arc::clone(&spares),
            held: Arc::default(),
        };
        let bell = Arc::new(Bell::default());
        let rounds = Rounds::new(disk, settings, clock.clone(), Arc::clone(&stats), shelf, bell);
        TestWriter {
            rounds,
            clock,
            stats,
            clients,
            spares,
            room: Arc::new(Semaphore::new(1 << 24)),
        }
    }

    /// Begins a session of a client that holds messages from this number on.
    pub(super) fn begin(&self, key: Key, first_held: u64) -> Session {
        self.now_or_never(self.clients.begin(key, first_held, self.clock.now())).unwrap()
    }

    /// Hands one numbered message over.
    pub(super) fn send_numbered(
        &mut self,
        table: &Table,
        session: &Session,
        module: &str,
        body: &str,
        number: u64,
    ) {
        let app_id = &session.key().app;
        let facility = table.find(app_id, module).unwrap();
        let mut batch = Batch::new(Arc::clone(&self.spares), Arc::default(), Arc::default());
        let (stamp, nsecs, signature) = (0, 0, None);
        let record = Record { app_id, module, hostname: "h", body, stamp, nsecs, signature };
        batch.push(&self.clock.stamp(), &Admitted { facility, record }).unwrap();
        batch.number_last(session, number);
        let _turn = self.now_or_never(session.take(number)).unwrap();
        self.enqueue(&mut batch);
    }

    fn enqueue(&mut self, batch: &mut Batch) {
        for section in batch.take() {
            let permit = Arc::clone(&self.room).try_acquire_many_owned(1).unwrap();
            self.rounds.enqueue(Parcel { section, room: Some(permit) });
        }
    }

    /// What nobody else keeps waiting.
    fn now_or_never<T>(&self, future: impl Future<Output = T>) -> T {
        let mut context = Context::from_waker(Waker::noop());
        match pin!(future).poll(&mut context) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("nobody else has a session"),
        }
    }

    /// Hands messages over in one batch. Returns the stamp of their lines.
    pub(super) fn send(&mut self, table: &Table, app: &str, host: &str, bodies: &[&str]) -> String {
        let facility = table.find(app, "").unwrap();
        let mut batch = Batch::new(Arc::clone(&self.spares), Arc::default(), Arc::default());
        let stamp = self.clock.stamp();
        for body in bodies {
            let (module, signature) = ("", None);
            let record =
                Record { app_id: app, module, hostname: host, body, stamp: 0, nsecs: 0, signature };
            batch.push(&stamp, &Admitted { facility, record }).unwrap();
        }
        self.enqueue(&mut batch);
        stamp.as_str().to_owned()
    }
}
