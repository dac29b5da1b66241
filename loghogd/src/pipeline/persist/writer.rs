//! The thread that writes.
//! Batches of lines -> `rounds`, which write them to their files.
//! Invariant: lines reach their file in the order in which they were handed over.
//! Leaves out: what a round does.
//!
//! One thread goes round and round: take every batch that is there, write
//! each file once, turn and sync what is due. While it is at it the next
//! batches collect, so a slow disk makes rounds larger, not longer queues.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{Semaphore, oneshot};

use super::clients::{Evicted, Session};
use super::held::Held;
use super::journal::Journal;
use super::log_file::Parcel;
use super::retire::Retirement;
use super::rounds::{Rounds, Shelf};
use super::{Batch, Section, Spares};
use crate::clock::Clock;
use crate::config::facility::Table;
use crate::disk::Disk;
use crate::limits::{QUEUE_BYTES_MAX, ROUND_BATCHES_MAX, STOP_WRITE_TIME_MAX};
use crate::pipeline::cold::Bell;
use crate::pipeline::rotate::alarm::Alarm;
use crate::pipeline::tap::Taps;
use crate::stats::Stats;

pub use super::rounds::Settings;

/// Where batches are handed over. When all of these are gone, the writer
/// writes what it has, syncs and ends.
#[derive(Clone, Debug)]
pub struct Handover {
    orders: Sender<Order>,
    /// Bounds what is on its way: senders wait for room here, and only here.
    room: Arc<Semaphore>,
    spares: Arc<Spares>,
    held: Arc<Held>,
    taps: Arc<Taps>,
}

impl Handover {
    /// A batch that uses the buffers that come back from the disk.
    pub fn batch(&self) -> Batch {
        let (spares, held) = (Arc::clone(&self.spares), Arc::clone(&self.held));
        Batch::new(spares, held, Arc::clone(&self.taps))
    }

    /// Where one can look at what passes.
    pub fn taps(&self) -> &Arc<Taps> {
        &self.taps
    }

    /// Takes the lines out of `batch`; waits while [`QUEUE_BYTES_MAX`] bytes
    /// are on their way already.
    pub async fn hand_over(&self, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        // Never more than there is, so that nobody waits for ever.
        let wanted = batch.room_bytes().min(QUEUE_BYTES_MAX);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        let Ok(mut room) = Arc::clone(&self.room).acquire_many_owned(wanted).await else { return };
        // Each file keeps its own part: one that refuses does not keep that of others.
        let parcel = |section: Section| {
            let part = room.split(section.room_bytes().min(room.num_permits()));
            Parcel { section, room: part }
        };
        let parcels = batch.take().into_iter().map(parcel).collect();
        // The writer lives as long as there is a `Handover`.
        let _ = self.orders.send(Order::Write(parcels));
    }

    /// The same of what a session has brought, up to the number `last`: no other
    /// session of its client begins before the writer has it.
    ///
    /// # Errors
    /// When another one has begun, which brings these lines: they are dropped.
    pub async fn hand_over_taken(
        &self,
        session: &Session,
        last: u64,
        batch: &mut Batch,
    ) -> Result<(), Evicted> {
        match session.take(last).await {
            Ok(_turn) => {
                self.hand_over(batch).await;
                Ok(())
            }
            Err(evicted) => {
                drop(batch.take());
                Err(evicted)
            }
        }
    }

    /// Does anybody wait for a file that refuses?
    pub fn holds_back(&self) -> bool {
        self.held.any()
    }

    /// Follows these facilities from now on, and closes all files, so that
    /// they may have been moved away.
    pub fn reload(&self, table: Arc<Table>) {
        let _ = self.orders.send(Order::Reload(table));
    }

    /// A look at what waits, which does not keep the writer from ending.
    pub fn waiting(&self) -> Waiting {
        Waiting { room: Arc::clone(&self.room), held: Arc::clone(&self.held) }
    }

    /// A way to let everybody through at the end.
    pub fn floodgate(&self) -> Floodgate {
        Floodgate { room: Arc::clone(&self.room), held: Arc::clone(&self.held) }
    }
}

/// What waits in front of the writer.
#[derive(Clone, Debug)]
pub struct Waiting {
    room: Arc<Semaphore>,
    held: Arc<Held>,
}

impl Waiting {
    /// The room that lines on their way to files take, in bytes; at most
    /// [`QUEUE_BYTES_MAX`].
    pub fn queue_bytes(&self) -> usize {
        QUEUE_BYTES_MAX.saturating_sub(self.room.available_permits())
    }

    /// See [`Held::refusing`].
    pub fn refusing(&self, shown_max: usize) -> (Vec<(String, String)>, usize) {
        self.held.refusing(shown_max)
    }
}

/// Opened at the end, when there are no more senders to hold back, and only
/// what they have sent already is still on its way.
#[derive(Clone, Debug)]
pub struct Floodgate {
    room: Arc<Semaphore>,
    held: Arc<Held>,
}

impl Floodgate {
    /// From now on nobody waits for room.
    pub fn open(&self) {
        self.room.add_permits(Semaphore::MAX_PERMITS / 2);
        self.held.release_all();
    }
}

/// The writer's thread, from outside.
#[derive(Debug)]
pub struct Writing {
    /// Yields how it ended.
    pub thread: JoinHandle<Ended>,
    /// Resolves when it has ended, also when that was by a fault of ours.
    pub gone: oneshot::Receiver<()>,
    stop: Arc<Stop>,
    alarm: Alarm,
}

impl Writing {
    /// A stop has begun: from now on everything is written first, and synced
    /// at the end. Between two batches there is no time to wait for the disk.
    pub fn hurry(&self) {
        self.stop.begun.store(true, Ordering::Relaxed);
        self.alarm.end();
    }

    /// Is everything in its file, if perhaps not synced yet? Known at the end.
    pub fn has_written(&self) -> bool {
        self.stop.written.load(Ordering::Acquire)
    }
}

/// How far a stop has come.
#[derive(Debug, Default)]
struct Stop {
    begun: AtomicBool,
    written: AtomicBool,
}

/// How the writer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Messages that no file would take.
    pub messages_lost: u64,
}

/// Starts the writer's thread. It takes over what is on the disk before it
/// writes.
///
/// # Errors
/// When the system has no thread to give.
pub fn start(
    disk: Arc<dyn Disk>,
    settings: Settings,
    table: Arc<Table>,
    clock: Clock,
    stats: Arc<Stats>,
    bell: Arc<Bell>,
    journal: Journal,
) -> io::Result<(Handover, Writing)> {
    let (orders, inbox) = mpsc::channel();
    let spares = Arc::new(Spares::default());
    let stop = Arc::new(Stop::default());
    let for_alarm = orders.clone();
    let alarm = Alarm::start(move || for_alarm.send(Order::Look).is_ok())?;
    let held = Arc::new(Held::default());
    let retirement = Retirement::beside(Arc::clone(&stats), Arc::clone(&disk))?;
    let (spares_here, held_here) = (Arc::clone(&spares), Arc::clone(&held));
    let shelf = Shelf { retirement, spares: spares_here, held: held_here, journal };
    let rounds = Rounds::new(disk, settings, clock, stats, shelf, bell);
    let writer = Writer { inbox, rounds, stop: Arc::clone(&stop), alarm: alarm.clone() };
    let (here, gone) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new().name("persist".into()).spawn(move || {
        let _here = here;
        writer.run(&table)
    })?;
    let room = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
    let taps = Arc::default();
    Ok((Handover { orders, room, spares, held, taps }, Writing { thread, gone, stop, alarm }))
}

/// The inbox is bounded by `Handover::room`, of which each parcel keeps its
/// part until it is written.
enum Order {
    Write(Vec<Parcel>),
    Reload(Arc<Table>),
    /// It is time for something, or the clock was set.
    Look,
}

struct Writer {
    inbox: Receiver<Order>,
    rounds: Rounds,
    stop: Arc<Stop>,
    alarm: Alarm,
}

impl Writer {
    fn run(mut self, table: &Table) -> Ended {
        self.rounds.adopt(table, Instant::now());
        let mut open = true;
        // What has become due while nobody was there turns before a line of
        // today gets into it.
        while open {
            self.rounds.round(Instant::now(), self.stop.begun.load(Ordering::Relaxed));
            self.alarm.set(self.rounds.next_turn());
            open = self.receive();
        }
        let deadline = Instant::now() + STOP_WRITE_TIME_MAX;
        let written = |all| self.stop.written.store(all, Ordering::Release);
        Ended { messages_lost: self.rounds.end(deadline, written) }
    }

    /// Waits for orders until something else is due, then takes all that
    /// are there. False when nobody can give any more.
    fn receive(&mut self) -> bool {
        let now = Instant::now();
        let stopping = self.stop.begun.load(Ordering::Relaxed);
        let due = match self.rounds.has_more(now, stopping) {
            true => Some(now),
            false => self.rounds.next_due(stopping),
        };
        let first = match due {
            None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => self.inbox.recv_timeout(due.saturating_duration_since(now)),
        };
        match first {
            Ok(order) => self.obey(order),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        for _ in 0..ROUND_BATCHES_MAX {
            match self.inbox.try_recv() {
                Ok(order) => self.obey(order),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Write(parcels) => {
                parcels.into_iter().for_each(|parcel| self.rounds.enqueue(parcel));
            }
            Order::Reload(table) => self.rounds.reload(&table, Instant::now()),
            Order::Look => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::disk::LogDir;
    use crate::pipeline::gate::Admitted;
    use crate::pipeline::persist::clients::{CLIENT_ID_BYTES, Clients, Key};
    use crate::pipeline::persist::live::Form;
    use crate::stats::Counter;
    use std::fs;
    use std::future::{Future, poll_fn};
    use std::path::Path;
    use std::pin::Pin;
    use std::task::Poll;
    use std::time::Duration;
    use tempfile::TempDir;
    use wire::v1::Record;

    const CONF: &str = "[one]\nrotate = daily\nbackup_count = 1\n\
                        [two]\nrotate = daily\nbackup_count = 1\nflush_every = 1000\n\
                        [hosts]\nrotate = daily\nbackup_count = 1\nfile_per_host = yes\n";

    struct Desk {
        folder: TempDir,
        table: Arc<Table>,
        stats: Arc<Stats>,
        clients: Arc<Clients>,
        handover: Handover,
        writing: Writing,
    }

    fn desk(settings: Settings) -> Desk {
        desk_in(tempfile::tempdir().unwrap(), settings)
    }

    fn desk_in(folder: TempDir, settings: Settings) -> Desk {
        let disk: Arc<dyn Disk> = Arc::new(LogDir::open(folder.path()).unwrap());
        let stats = Arc::new(Stats::new());
        let table = config::read_facilities(CONF.as_bytes(), Path::new("facilities.conf")).unwrap();
        let (table, bell) = (Arc::new(table), Arc::new(Bell::default()));
        let clock = Clock::system();
        let (journal, clients) = Journal::open(Arc::clone(&disk), 10, clock.now()).unwrap();
        let for_writer = Arc::clone(&table);
        let (handover, writing) =
            start(disk, settings, for_writer, clock, Arc::clone(&stats), bell, journal).unwrap();
        Desk { folder, table, stats, clients, handover, writing }
    }

    impl Desk {
        async fn log(&self, app: &str, hostname: &str, body: &str) {
            self.handover.hand_over(&mut self.batch(app, hostname, body)).await;
        }

        /// A batch of one message.
        fn batch(&self, app: &str, hostname: &str, body: &str) -> Batch {
            let mut batch = self.handover.batch();
            let record = Record {
                app_id: app,
                module: "",
                hostname,
                body,
                stamp: 0,
                nsecs: 0,
                signature: None,
            };
            let facility = self.table.find(app, "").unwrap();
            batch.push(&Clock::system().stamp(), &Admitted { facility, record }).unwrap();
            batch
        }

        /// A message of a session.
        fn numbered(&self, session: &Session, number: u64, body: &str) -> Batch {
            let mut batch = self.batch("one", "h", body);
            batch.number_last(session, number);
            batch
        }

        async fn begin(&self) -> Session {
            let key = Key { app: "one".into(), id: [1; CLIENT_ID_BYTES] };
            self.clients.begin(key, 1, Clock::system().now()).await.unwrap()
        }

        fn end(self) -> (TempDir, Arc<Stats>, Ended) {
            drop(self.handover);
            self.writing.alarm.end();
            (self.folder, self.stats, self.writing.thread.join().unwrap())
        }
    }

    const ROOMY: Settings = Settings {
        open_files_max: 100,
        hosts_max: 100,
        unsynced_time_max: Duration::from_secs(3600),
        form: Form::Plain,
        min_free: None,
    };

    fn bodies(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| line.rsplit_once(" - ").unwrap().1.to_owned()).collect()
    }

    #[tokio::test]
    async fn batches_reach_their_file_in_order_and_the_end_waits_for_all() {
        let desk = desk(ROOMY);
        for number in 0..500 {
            desk.log("one", "h", &number.to_string()).await;
        }
        let (folder, stats, ended) = desk.end();
        let expected: Vec<String> = (0..500).map(|number| number.to_string()).collect();
        assert_eq!(bodies(&folder.path().join("one/root.log")), expected);
        assert_eq!(ended, Ended { messages_lost: 0 });
        assert_eq!(stats.get(Counter::Lines), 500);
    }

    async fn is_ready<T>(mut future: Pin<&mut impl Future<Output = T>>) -> bool {
        poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
    }

    #[tokio::test]
    async fn a_session_begins_behind_what_the_older_one_was_handing_over_which_brings_no_more() {
        let desk = desk(ROOMY);
        let older = desk.begin().await;
        let mut one = desk.numbered(&older, 1, "one");
        let all = u32::try_from(QUEUE_BYTES_MAX).unwrap();
        let all = Arc::clone(&desk.handover.room).acquire_many_owned(all).await.unwrap();
        let mut handing_over = Box::pin(desk.handover.hand_over_taken(&older, 1, &mut one));
        assert!(!is_ready(handing_over.as_mut()).await, "there is no room");
        let mut beginning = Box::pin(desk.begin());
        assert!(!is_ready(beginning.as_mut()).await, "its lines would come first");
        drop(all);
        handing_over.await.unwrap();
        let newer = beginning.await;
        assert_eq!(newer.taken(), 1);
        // The older one has not heard of it.
        let mut late = desk.numbered(&older, 2, "TWO");
        assert_eq!(desk.handover.hand_over_taken(&older, 2, &mut late).await, Err(Evicted));
        assert!(late.is_empty());
        let mut two = desk.numbered(&newer, 2, "two");
        desk.handover.hand_over_taken(&newer, 2, &mut two).await.unwrap();
        drop((older, newer));
        let (folder, ..) = desk.end();
        assert_eq!(bodies(&folder.path().join("one/root.log")), ["one", "two"]);
    }

    #[tokio::test]
    async fn more_files_than_may_be_open_are_all_written() {
        let desk = desk(Settings { open_files_max: 3, ..ROOMY });
        for number in 0..100 {
            desk.log("hosts", &format!("h{}", number % 20), &number.to_string()).await;
        }
        let (folder, ..) = desk.end();
        for host in 0..20 {
            let expected: Vec<String> = (0..5).map(|n| (host + 20 * n).to_string()).collect();
            assert_eq!(bodies(&folder.path().join(format!("hosts/h{host}-root.log"))), expected);
        }
    }

    #[tokio::test]
    async fn hosts_that_have_files_keep_them_and_one_more_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("hosts")).unwrap();
        fs::write(folder.path().join("hosts/old-root.log"), "stamp - old - before\n").unwrap();
        let desk = desk_in(folder, Settings { open_files_max: 1, hosts_max: 3, ..ROOMY });
        for host in ["a", "b", "c", "old", "a", "d"] {
            desk.log("hosts", host, "x").await;
        }
        let (folder, stats, _) = desk.end();
        let lines =
            |host: &str| bodies(&folder.path().join(format!("hosts/{host}-root.log"))).len();
        assert_eq!(["a", "b", "c", "old", "d"].map(lines), [2, 1, 0, 2, 0]);
        assert_eq!(stats.get(Counter::HostsTooMany), 2);
        assert_eq!(stats.get(Counter::Lines), 4);
    }

    #[tokio::test]
    async fn a_file_that_refuses_keeps_its_lines_and_does_not_hold_up_others() {
        let desk = desk(ROOMY);
        let in_the_way = desk.folder.path().join("one");
        fs::write(&in_the_way, "").unwrap();
        desk.log("one", "h", "first").await;
        desk.log("one", "h", "second").await;
        while desk.stats.get(Counter::WriteRetries) == 0 {
            tokio::task::yield_now().await;
        }
        desk.log("two", "h", "meanwhile").await;
        while desk.stats.get(Counter::Lines) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(bodies(&desk.folder.path().join("two/root.log")), ["meanwhile"]);
        fs::remove_file(&in_the_way).unwrap();
        while desk.stats.get(Counter::Lines) < 3 {
            tokio::task::yield_now().await;
        }
        let (folder, _, ended) = desk.end();
        assert_eq!(bodies(&folder.path().join("one/root.log")), ["first", "second"]);
        assert_eq!(ended.messages_lost, 0);
    }

    #[tokio::test]
    async fn what_no_file_takes_until_the_end_is_counted_as_lost() {
        let desk = desk(ROOMY);
        fs::write(desk.folder.path().join("one"), "").unwrap();
        desk.log("one", "h", "x").await;
        let (_folder, stats, ended) = desk.end();
        assert_eq!((ended.messages_lost, stats.get(Counter::LinesLost)), (1, 1));
    }

    #[tokio::test]
    async fn flush_every_one_syncs_each_round_and_a_larger_one_waits() {
        let desk = desk(ROOMY);
        desk.log("one", "h", "x").await;
        while desk.stats.get(Counter::Syncs) == 0 {
            tokio::task::yield_now().await;
        }
        desk.log("two", "h", "x").await;
        while desk.stats.get(Counter::Lines) < 2 {
            tokio::task::yield_now().await;
        }
        // A round later the second file is written, and still not synced.
        desk.log("one", "h", "y").await;
        while desk.stats.get(Counter::Syncs) < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(desk.stats.get(Counter::Syncs), 2);
        let (_folder, stats, _) = desk.end();
        assert_eq!(stats.get(Counter::Syncs), 3, "the end syncs what is left");
    }

    #[tokio::test]
    async fn a_file_that_refuses_leaves_room_for_others_whatever_the_size_of_its_batches() {
        let desk = desk(ROOMY);
        fs::write(desk.folder.path().join("one"), "").unwrap();
        let mut held = 0;
        let started = Instant::now();
        // More than there is room for: whoever is not held by then waits for ever.
        for number in 0..40_000 {
            let mut batch = desk.handover.batch();
            let record = Record {
                app_id: "one",
                module: "",
                hostname: "h",
                body: "x",
                stamp: 0,
                nsecs: 0,
                signature: None,
            };
            let facility = desk.table.find("one", "").unwrap();
            let pushed = batch.push(&Clock::system().stamp(), &Admitted { facility, record });
            if let Ok(crate::pipeline::persist::Pushed::Held(_)) = pushed {
                held += 1;
                break;
            }
            let handed = desk.handover.hand_over(&mut batch);
            let waited = tokio::time::timeout(Duration::from_millis(1500), handed).await;
            assert!(
                waited.is_ok(),
                "after {number} messages of one line each, in {:?}, nobody can write any more",
                started.elapsed()
            );
        }
        assert_eq!(held, 1);
    }
}
