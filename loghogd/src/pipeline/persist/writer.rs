//! Owns the open log files.
//! Batches of lines -> files, written and synced.
//! Invariant: a file holds whole lines in order; what cannot be written waits, and its senders with it.
//! Leaves out: what a line looks like, when a file turns.
//!
//! One thread goes round and round: take every batch that is there, write
//! each file once, sync what is due. While it is at it the next batches
//! collect, so a slow disk makes rounds larger, not longer queues.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tokio::sync::{Semaphore, oneshot};
use tracing::{error, warn};

use super::log_file::{LogFile, Parcel, messages_in};
use super::{Batch, Section, Spares};
use crate::disk::{Disk as _, LogDir};
use crate::limits::{
    QUEUE_BYTES_A_BATCH_MIN, QUEUE_BYTES_MAX, ROUND_BATCHES_MAX, STOP_WRITE_TIME_MAX,
};
use crate::stats::{Counter, Stats};

/// Where batches are handed over. When all of these are gone, the writer
/// writes what it has, syncs and ends.
#[derive(Clone, Debug)]
pub struct Handover {
    orders: Sender<Order>,
    /// Bounds what is on its way: senders wait for room here, and only here.
    room: Arc<Semaphore>,
    spares: Arc<Spares>,
}

impl Handover {
    /// A batch that uses the buffers that come back from the disk.
    pub fn batch(&self) -> Batch {
        Batch::new(Arc::clone(&self.spares))
    }

    /// Takes the lines out of `batch`; waits while [`QUEUE_BYTES_MAX`] bytes
    /// are on their way already.
    pub async fn hand_over(&self, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        let wanted = batch.memory_bytes().clamp(QUEUE_BYTES_A_BATCH_MIN, QUEUE_BYTES_MAX);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).acquire_many_owned(wanted).await else { return };
        let room = Arc::new(room);
        let parcels = batch.take().into_iter();
        let parcels = parcels.map(|section| Parcel { section, _room: Arc::clone(&room) }).collect();
        // The writer lives as long as there is a `Handover`.
        let _ = self.orders.send(Order::Write(parcels));
    }

    /// Closes all files, so that they may have been moved away.
    pub fn reopen(&self) {
        let _ = self.orders.send(Order::Reopen);
    }

    /// A way to let everybody through at the end.
    pub fn floodgate(&self) -> Floodgate {
        Floodgate(Arc::clone(&self.room))
    }
}

/// Opened at the end, when there are no more senders to hold back, and only
/// what they have sent already is still on its way.
#[derive(Clone, Debug)]
pub struct Floodgate(Arc<Semaphore>);

impl Floodgate {
    /// From now on nobody waits for room.
    pub fn open(&self) {
        self.0.add_permits(Semaphore::MAX_PERMITS / 2);
    }
}

/// The writer's thread, from outside.
#[derive(Debug)]
pub struct Disk {
    /// Yields how it ended.
    pub thread: JoinHandle<Ended>,
    /// Resolves when it has ended, also when that was by a fault of ours.
    pub gone: oneshot::Receiver<()>,
    stop: Arc<Stop>,
}

impl Disk {
    /// A stop has begun: from now on everything is written first, and synced
    /// at the end. Between two batches there is no time to wait for the disk.
    pub fn hurry(&self) {
        self.stop.begun.store(true, Ordering::Relaxed);
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

/// What the writer needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Files that may be open at once; beyond it the one not used for the
    /// longest time is closed.
    pub open_files_max: usize,
    /// Hosts that a facility may have files for. Messages of one more are
    /// dropped: `hosts_too_many`.
    pub hosts_max: usize,
    /// The longest time that a written line stays unsynced.
    pub unsynced_time_max: Duration,
}

/// Starts the writer's thread.
///
/// # Errors
/// When the system has no thread to give.
pub fn start(
    log_dir: LogDir,
    settings: Settings,
    stats: Arc<Stats>,
) -> io::Result<(Handover, Disk)> {
    let (orders, inbox) = mpsc::channel();
    let spares = Arc::new(Spares::default());
    let stop = Arc::new(Stop::default());
    let writer = Writer {
        log_dir,
        settings,
        stats,
        inbox,
        spares: Arc::clone(&spares),
        files: HashMap::new(),
        hosts: HashMap::new(),
        hosts_full: HashSet::new(),
        round: 0,
        stop: Arc::clone(&stop),
    };
    let (here, gone) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new().name("persist".into()).spawn(move || {
        let _here = here;
        writer.run()
    })?;
    let room = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
    Ok((Handover { orders, room, spares }, Disk { thread, gone, stop }))
}

/// The inbox is bounded by `Handover::room`, of which each parcel keeps its
/// part until it is written.
enum Order {
    Write(Vec<Parcel>),
    Reopen,
}

struct Writer {
    log_dir: LogDir,
    settings: Settings,
    stats: Arc<Stats>,
    inbox: Receiver<Order>,
    spares: Arc<Spares>,
    files: HashMap<String, LogFile>,
    /// By facility: the names of the files that its hosts have.
    hosts: HashMap<(Box<str>, Box<str>), HashSet<String>>,
    hosts_full: HashSet<(Box<str>, Box<str>)>,
    round: u64,
    stop: Arc<Stop>,
}

impl Writer {
    fn run(mut self) -> Ended {
        loop {
            let open = self.receive();
            self.round += 1;
            self.write_all(Instant::now());
            self.sync_due(Instant::now());
            self.close_surplus();
            if !open {
                return self.end();
            }
        }
    }

    /// Waits for orders until something else is due, then takes all that
    /// are there. False when nobody can give any more.
    fn receive(&mut self) -> bool {
        let first = match self.next_due() {
            None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => self.inbox.recv_timeout(due.saturating_duration_since(Instant::now())),
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

    /// When the next sync or the next attempt is due.
    fn next_due(&self) -> Option<Instant> {
        let patience = self.settings.unsynced_time_max;
        let stopping = self.stop.begun.load(Ordering::Relaxed);
        let due = |file: &LogFile| {
            let sync = file.unsynced_since.filter(|_| !stopping).map(|since| since + patience);
            let retry = file.trouble.as_ref().map(|trouble| trouble.retry_at);
            sync.into_iter().chain(retry).min()
        };
        self.files.values().filter_map(due).min()
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Write(parcels) => parcels.into_iter().for_each(|parcel| self.enqueue(parcel)),
            Order::Reopen => {
                self.hosts.clear();
                self.hosts_full.clear();
                for (path, file) in &mut self.files {
                    file.close(path, &self.stats);
                }
            }
        }
    }

    fn enqueue(&mut self, parcel: Parcel) {
        if !self.files.contains_key(&parcel.section.path) && !self.admit_host(&parcel.section) {
            self.stats.add(Counter::HostsTooMany, parcel.section.messages);
            return;
        }
        let Parcel { section, .. } = &parcel;
        let file = match self.files.get_mut(&section.path) {
            Some(file) => file,
            None => {
                let file = LogFile::new(Arc::clone(&section.facility));
                self.files.entry(section.path.clone()).or_insert(file)
            }
        };
        file.facility = Arc::clone(&section.facility);
        file.parcels.push_back(parcel);
    }

    /// May this host have a file? Those that have one may, also when they
    /// had it before the daemon started.
    fn admit_host(&mut self, section: &Section) -> bool {
        let facility = &section.facility;
        let Some((app, name)) = section.path.split_once('/') else { return false };
        if !facility.file_per_host {
            return true;
        }
        let key = (facility.app.clone(), facility.module.clone());
        let names = self.hosts.entry(key.clone()).or_insert_with(|| {
            let end = format!("-{}{}", facility.module, super::path::LIVE_SUFFIX);
            let names = self.log_dir.names(app).unwrap_or_else(|error| {
                warn!("cannot list {}/{app}: {error}", self.log_dir.path().display());
                Vec::new()
            });
            names.into_iter().filter(|name| name.ends_with(&end)).collect()
        });
        if names.contains(name) {
            return true;
        }
        if names.len() >= self.settings.hosts_max {
            if self.hosts_full.insert(key) {
                warn!(
                    "facility {}:{} has files for {} hosts already; messages of more are dropped; \
                     raise [main] max_hosts, or switch file_per_host off",
                    facility.app,
                    facility.module,
                    names.len()
                );
            }
            return false;
        }
        names.insert(name.to_owned());
        true
    }

    fn write_all(&mut self, now: Instant) {
        let mut open = self.files.values().filter(|file| file.file.is_some()).count();
        for (path, file) in &mut self.files {
            if file.parcels.is_empty() || !file.may_try(now) {
                continue;
            }
            open += usize::from(file.file.is_none());
            file.used = self.round;
            let outcome = file.write(path, &self.log_dir, &self.stats, &self.spares);
            if outcome.as_ref().is_err_and(|e| e.raw_os_error() == Some(Errno::ENAMETOOLONG as i32))
            {
                file.give_up(path, &self.stats);
                continue;
            }
            file.settle(path, &self.log_dir, outcome, &self.stats);
            if open > self.settings.open_files_max {
                file.close(path, &self.stats);
            }
            open -= usize::from(file.file.is_none());
        }
    }

    fn sync_due(&mut self, now: Instant) {
        let patience = self.settings.unsynced_time_max;
        for (path, file) in &mut self.files {
            if self.stop.begun.load(Ordering::Relaxed) {
                return;
            }
            let full = file.messages_unsynced >= u64::from(file.facility.flush_every);
            let old = file.unsynced_since.is_some_and(|since| now >= since + patience);
            if full || old {
                file.sync(path, &self.stats);
            }
        }
    }

    fn close_surplus(&mut self) {
        while self.files.len() > self.settings.open_files_max {
            let idle = self.files.iter().filter(|(_, file)| file.parcels.is_empty());
            let Some(path) = idle.min_by_key(|(_, file)| file.used).map(|(path, _)| path.clone())
            else {
                return;
            };
            if let Some(mut file) = self.files.remove(&path) {
                file.sync(&path, &self.stats);
            }
        }
    }

    /// Writes what is left as long as a stop may take, says what is lost, and
    /// syncs the rest.
    fn end(mut self) -> Ended {
        let deadline = Instant::now() + STOP_WRITE_TIME_MAX;
        while let Some(retry) = self.next_retry().filter(|_| Instant::now() < deadline) {
            std::thread::sleep(retry.min(deadline).saturating_duration_since(Instant::now()));
            self.write_all(Instant::now());
        }
        let mut messages_lost = 0;
        for (path, file) in &self.files {
            // Of a parcel that was cut short, the front is in the file.
            let written = file
                .parcels
                .front()
                .map_or(0, |first| messages_in(&first.section.bytes, file.written));
            self.stats.add(Counter::Lines, written);
            let waiting = file.parcels.iter().map(|parcel| parcel.section.messages).sum::<u64>();
            let lost = waiting - written;
            if lost > 0 {
                error!(
                    "{lost} messages for {path} are lost: the file could not be written until the end"
                );
            }
            messages_lost += lost;
        }
        self.stats.add(Counter::LinesLost, messages_lost);
        self.stop.written.store(messages_lost == 0, Ordering::Release);
        for (path, file) in &mut self.files {
            file.close(path, &self.stats);
        }
        Ended { messages_lost }
    }

    fn next_retry(&self) -> Option<Instant> {
        let waiting = self.files.values().filter(|file| !file.parcels.is_empty());
        waiting.filter_map(|file| file.trouble.as_ref().map(|trouble| trouble.retry_at)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config::{self, Table};
    use crate::pipeline::gate::Admitted;
    use std::fs;
    use std::path::Path;
    use tempfile::TempDir;
    use wire::v1::Record;

    const CONF: &str = "[one]\nrotate = daily\nbackup_count = 1\n\
                        [two]\nrotate = daily\nbackup_count = 1\nflush_every = 1000\n\
                        [hosts]\nrotate = daily\nbackup_count = 1\nfile_per_host = yes\n";

    struct Desk {
        folder: TempDir,
        table: Table,
        stats: Arc<Stats>,
        handover: Handover,
        disk: Disk,
    }

    fn desk(settings: Settings) -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let log_dir = LogDir::open(folder.path()).unwrap();
        let stats = Arc::new(Stats::new());
        let (handover, disk) = start(log_dir, settings, Arc::clone(&stats)).unwrap();
        let table = config::read_facilities(CONF.as_bytes(), Path::new("facilities.conf")).unwrap();
        Desk { folder, table, stats, handover, disk }
    }

    impl Desk {
        async fn log(&self, app: &str, hostname: &str, body: &str) {
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
            self.handover.hand_over(&mut batch).await;
        }

        fn end(self) -> (TempDir, Arc<Stats>, Ended) {
            drop(self.handover);
            (self.folder, self.stats, self.disk.thread.join().unwrap())
        }
    }

    const ROOMY: Settings = Settings {
        open_files_max: 100,
        hosts_max: 100,
        unsynced_time_max: Duration::from_secs(3600),
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
        let desk = desk(Settings { open_files_max: 1, hosts_max: 3, ..ROOMY });
        fs::create_dir(desk.folder.path().join("hosts")).unwrap();
        fs::write(desk.folder.path().join("hosts/old-root.log"), "").unwrap();
        for host in ["a", "b", "c", "old", "a", "d"] {
            desk.log("hosts", host, "x").await;
        }
        let (folder, stats, _) = desk.end();
        let lines =
            |host: &str| bodies(&folder.path().join(format!("hosts/{host}-root.log"))).len();
        assert_eq!(["a", "b", "c", "old", "d"].map(lines), [2, 1, 0, 1, 0]);
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
}
