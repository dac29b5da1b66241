//! Start, reload, stop: builds everything, in one readable sequence.
//! A checked configuration -> a running daemon, until a signal ends it.
//! Invariant: sockets are bound before privileges are dropped; what was read is written before the end.
//! Leaves out: what happens to a message (`pipeline`).

mod confine;
mod manager;
mod process;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use tokio::net::{TcpListener, UdpSocket};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};

use self::manager::Watchdog;
use crate::certs;
use crate::cli::RunArgs;
use crate::clock::Clock;
use crate::complaints::Complaints;
use crate::config::checked::Config;
use crate::config::ship::Target;
use crate::config::{self, Loaded, Table};
use crate::connections::{Connections, Transport};
use crate::control;
use crate::disk::{self, Disk, LogDir};
use crate::ledger::Ledger;
use crate::limits::{
    COLD_STOP_TIME_MAX, DESCRIPTORS_RESERVED, DRAIN_TIME_MAX, LANES_MAX, SHIP_CHANGE_TIME_MAX,
    SHIP_STOP_TIME_MAX, STOP_TIME_MAX, UNSYNCED_TIME_MAX,
};
use crate::own_log::OwnLog;
use crate::pipeline::accept::bind::{self, Sockets};
use crate::pipeline::accept::inherit::Inherited;
use crate::pipeline::claims::Claims;
use crate::pipeline::cold::{self, Bell};
use crate::pipeline::persist::journal::{self, Journal};
use crate::pipeline::persist::live::Form;
use crate::pipeline::persist::writer::{self, Ended, Floodgate, Settings, Writing};
use crate::pipeline::seal::{Compressor, Pace, Sealer};
use crate::pipeline::ship::{self, Receipts, Shippers};
use crate::pipeline::tally::kept::Tallies;
use crate::pipeline::trim::Trimmer;
use crate::pipeline::{Road, Shared};
use crate::stats::Stats;
use crate::status::http::Listener;
use crate::status::{self, Ends, Rooms};

/// What to look at when a thread cannot be started.
const NO_THREAD: &str = "cannot start a thread; see the limits of processes (ulimit -u)";

/// How a daemon that ran has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything that was read is written.
    Clean,
    /// Some of it could not be, or nobody can tell.
    MessagesLost,
}

/// Runs the daemon until SIGTERM or SIGINT. `lower_priority` is called by
/// threads that are to run when nobody else wants to.
///
/// # Errors
/// When it cannot start; nothing has been received then.
pub fn run(loaded: Loaded, args: &RunArgs, lower_priority: fn()) -> Result<Outcome> {
    let config = loaded.config.clone();
    if config.main.daemon && !args.daemon_child {
        process::detach()?;
        return Ok(Outcome::Clean);
    }
    if args.daemon_child {
        process::begin_session()?;
    }
    let held = process::hold_signals()?;
    let connections_max = descriptors(&config);
    process::make_folders(&config)?;
    let mut inherited = Inherited::from_env();
    let sockets = bind::bind(&config.server.listen, &mut inherited)?;
    let page = config.status.as_ref();
    let page = page.map(|address| (address, Listener::bind(address, &mut inherited)));
    let unused = inherited.close();
    let tls = config.server.tls.as_ref().map(certs::server_config).transpose()?;
    let pidfile = config.main.pidfile.as_deref().map(process::PidFile::write).transpose()?;
    if let Some(user) = &config.main.user {
        process::become_user(user)?;
    }
    process::check_writable(&config)?;
    // What holds for a thread holds for those that it starts: no other one runs yet.
    let confined = confine::confine(&config)?;
    let runtime = Runtime::new()
        .context("cannot start the runtime; see the limits of processes and files")?;
    let mut signals = runtime.block_on(async { Signals::new() })?;
    held.thread_unblock().context("cannot listen for signals")?;

    let clock = Clock::system();
    let own_log = open_own_log(&config, !args.daemon_child, clock.clone())?;
    let log_dir = LogDir::open(&config.main.logdir)
        .map_err(|error| process::log_dir_refused(error, &config))?;
    info!("loghogd {} starts, {} facilities", env!("CARGO_PKG_VERSION"), loaded.table.len());
    loaded.warnings.iter().for_each(|warning| warn!("{warning}"));
    config.server.tls.iter().flat_map(certs::warnings).for_each(|warning| warn!("{warning}"));
    info!("{confined}");
    for address in &unused {
        warn!(
            "the service manager listens on {address}, and [server] does not: nobody is served there"
        );
    }
    sockets.passed_over.iter().for_each(|address| warn!("{address}; going on without it"));

    let page = page.and_then(|(address, bound)| {
        let refused = |error| {
            warn!("cannot listen on {address} for the status page: {error}; going on without it; see [status] listen");
        };
        bound.map_err(refused).ok()
    });

    let stats = Arc::new(Stats::new());
    let settings = Settings {
        open_files_max: config.main.open_files_max,
        hosts_max: config.main.hosts_max,
        unsynced_time_max: UNSYNCED_TIME_MAX,
        form: match config.compressor.compress_on_write {
            true => Form::Gzip { level: config.compressor.level },
            false => Form::Plain,
        },
        min_free: config.main.min_free,
    };
    let disk: Arc<dyn Disk> = Arc::new(log_dir);
    // Before anybody else touches a file: what was being written may be cut off.
    let (journal, clients) = Journal::open(Arc::clone(&disk), config.main.clients_max, clock.now())
        .with_context(|| {
            format!("cannot read what clients were told, in {}", disk.path().display())
        })?;
    let table = Arc::new(ArcSwap::from_pointee(loaded.table));
    let tallies = open_tallies(&config.main.logdir, &*disk, &config.ship);
    let sealer = Sealer {
        disk: Arc::clone(&disk),
        table: Arc::clone(&table),
        compressor: Mutex::new(Compressor::new(
            &config.compressor,
            lower_priority,
            Pace::new(Arc::clone(&stats)),
        )),
        claims: Claims::new(),
        tallies: tallies.clone(),
        zone: clock.zone().clone(),
        stats: Arc::clone(&stats),
    };
    let receipts = open_receipts(&config.main.logdir)?;
    let trimmer = Trimmer::new(
        config.main.min_free,
        clock.zone().clone(),
        Arc::clone(&stats),
        receipts.clone(),
        tallies.clone(),
    );
    let claims = sealer.claims.clone();
    let cold = cold::start(sealer, trimmer, clock.clone()).context(NO_THREAD)?;
    let bell = Arc::clone(&cold.bell);
    let mut shippers = Shippers::new(ship::Shared {
        disk: Arc::clone(&disk),
        receipts,
        table: Arc::clone(&table),
        claims,
        tallies,
        bell: Arc::clone(&bell),
        stats: Arc::clone(&stats),
        zone: clock.zone().clone(),
        runtime: runtime.handle().clone(),
    });
    shippers.ship_to(&config.ship, SHIP_CHANGE_TIME_MAX);
    let shippers = Arc::new(Mutex::new(shippers));
    let (handover, mut writing) = writer::start(
        Arc::clone(&disk),
        settings,
        table.load_full(),
        clock.clone(),
        Arc::clone(&stats),
        Arc::clone(&bell),
        journal,
    )
    .context(NO_THREAD)?;
    let floodgate = handover.floodgate();
    let complaints = Complaints::new(runtime.handle().clone());
    let (stop, stopping) = watch::channel(None);
    let (reloaded, reloads) = watch::channel(());
    let shared = Shared {
        table,
        reloads,
        tls: tls.map(ArcSwap::new),
        stats: Arc::clone(&stats),
        complaints: complaints.clone(),
        ledger: Arc::new(Ledger::new(clock.clone(), Arc::clone(&stats))),
        connections: Connections::new(connections_max, Arc::clone(&stats)),
        clock,
        frame_bytes_max: config.server.frame_bytes_max,
        datagram_bytes_max: config.server.datagram_bytes_max,
        handover: handover.clone(),
        clients,
        stop: stopping,
    };
    let road = Road::new(shared, lanes());
    let rooms = Arc::new(rooms(&config, &road, &shippers, disk, &sockets)?);
    rooms.ends.read(config.server.tls.as_ref());
    runtime.block_on(async {
        listen(&road, sockets)?;
        control::listen(&config.main.rundir, &rooms)?;
        if let Some(listener) = page {
            info!("listening on status {}", listener.address());
            status::http::serve(listener, Arc::clone(&rooms))?;
        }
        info!("ready");
        manager::ready();
        if args.daemon_child {
            process::say_ready()?;
        }
        let running = Running {
            config: &config,
            args,
            own_log: &own_log,
            road: &road,
            bell: &bell,
            rooms: &rooms,
        };
        let reload = |table| {
            handover.reload(table);
            let _ = reloaded.send(());
        };
        running.obey(&mut signals, &mut writing.gone, reload).await;
        anyhow::Ok(())
    })?;

    // Stopping runs in data order: no more connections; what they have sent
    // is read up to a point, and carried on; when the last end of the way to
    // the disk is gone, the disk's thread writes what it has, syncs and ends.
    manager::stopping();
    let stopped = Instant::now();
    writing.hurry();
    let _ = stop.send(Some(stopped + DRAIN_TIME_MAX));
    drop((road, handover));
    bell.end();
    let ending = {
        let shippers = Arc::clone(&shippers);
        let until = std::time::Instant::now() + SHIP_STOP_TIME_MAX;
        std::thread::spawn(move || locked(&shippers).stop(until))
    };
    let outcome = wait_for_disk(writing, stopped, &floodgate);
    cold.wait(std::time::Instant::now() + COLD_STOP_TIME_MAX);
    // A panic there has been said.
    let _ = ending.join();
    runtime.shutdown_background();
    complaints.sum_up_all();
    info!("stats {stats}");
    match outcome {
        Outcome::Clean => info!("stopped"),
        Outcome::MessagesLost => error!("stopped; messages were lost"),
    }
    drop(pidfile);
    Ok(outcome)
}

/// Whom the status page and those who look at it ask.
fn rooms(
    config: &Config,
    road: &Arc<Road>,
    shippers: &Arc<Mutex<Shippers>>,
    disk: Arc<dyn Disk>,
    sockets: &Sockets,
) -> Result<Rooms> {
    let shared = road.shared();
    let mut listening = Vec::new();
    for (transport, listener) in &sockets.streams {
        listening.push(format!("{} {}", transport.name(), listener.local_addr()?));
    }
    for (socket, _) in &sockets.datagrams {
        listening.push(format!("{} {}", Transport::Udp.name(), socket.local_addr()?));
    }
    Ok(Rooms {
        road: Arc::downgrade(road),
        stats: Arc::clone(&shared.stats),
        connections: Arc::clone(&shared.connections),
        ledger: Arc::clone(&shared.ledger),
        waiting: shared.handover.waiting(),
        taps: Arc::clone(shared.handover.taps()),
        table: Arc::clone(&shared.table),
        shippers: Arc::clone(shippers),
        disk,
        min_free: config.main.min_free,
        started: shared.clock.now(),
        clock: shared.clock.clone(),
        listening,
        stop: shared.stop.clone(),
        ends: Ends::default(),
    })
}

/// The states of targets, in a folder of their own below the log folder.
fn open_receipts(logdir: &Path) -> Result<Receipts> {
    let path = logdir.join(journal::FOLDER).join("ship");
    Receipts::open_at(path.clone())
        .with_context(|| format!("cannot read what was shipped, in {}", path.display()))
}

/// What is in sealed segments, beside the states. It only saves time: without it all
/// goes on.
fn open_tallies(logdir: &Path, log: &dyn Disk, targets: &[Target]) -> Tallies {
    // A target that a reload brings does without until the next start.
    if targets.is_empty() {
        return Tallies::none();
    }
    let path = logdir.join(journal::FOLDER).join("tally");
    let opened = std::fs::create_dir_all(&path)
        .and_then(|()| LogDir::open(&path))
        .and_then(|disk| Tallies::open(Arc::new(disk), log));
    let tallies = opened.unwrap_or_else(|error| {
        warn!(
            "cannot keep in {} what is in segments: {error}; {}; each is read once more when it is \
             shipped",
            path.display(),
            disk::remedy(&error)
        );
        Tallies::none()
    });
    tallies.keep_for(targets);
    tallies
}

fn locked(shippers: &Mutex<Shippers>) -> MutexGuard<'_, Shippers> {
    shippers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until everything is written, but no longer than a stop may take.
fn wait_for_disk(writing: Writing, stopped: Instant, floodgate: &Floodgate) -> Outcome {
    let mut open = false;
    while !writing.thread.is_finished() {
        let elapsed = stopped.elapsed();
        if !open && elapsed >= DRAIN_TIME_MAX {
            // Nobody reads any more: what was read and waits for room gets it.
            floodgate.open();
            open = true;
        }
        if elapsed >= STOP_TIME_MAX && writing.has_written() {
            warn!("the disk has not synced yet what was written; a power failure now may lose it");
            return Outcome::Clean;
        }
        if elapsed >= STOP_TIME_MAX {
            error!("the disk does not answer: what was not written and synced yet may be lost");
            return Outcome::MessagesLost;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    match writing.thread.join() {
        Ok(Ended { messages_lost: 0 }) => Outcome::Clean,
        _ => Outcome::MessagesLost,
    }
}

fn open_own_log(config: &Config, to_stderr: bool, clock: Clock) -> Result<OwnLog> {
    OwnLog::install(&config.log, to_stderr, clock).with_context(|| {
        let path = config.log.filename.as_deref().unwrap_or(Path::new("")).display();
        format!("cannot open the own log {path}; see [log] filename")
    })
}

/// A running daemon, between its start and its stop.
struct Running<'a> {
    config: &'a Config,
    args: &'a RunArgs,
    own_log: &'a OwnLog,
    road: &'a Arc<Road>,
    bell: &'a Bell,
    rooms: &'a Rooms,
}

impl Running<'_> {
    /// Does what signals say, until one says stop.
    async fn obey(
        &self,
        signals: &mut Signals,
        disk_gone: &mut oneshot::Receiver<()>,
        reload: impl Fn(Arc<Table>),
    ) {
        let mut watchdog = Watchdog::new();
        loop {
            tokio::select! {
                () = watchdog.alive() => {}
                _ = &mut *disk_gone => return error!(
                    "the thread that writes has ended by a fault of its own: stopping; please report this"
                ),
                _ = signals.hang_up.recv() => {
                    manager::reloading();
                    self.reload();
                    reload(self.road.shared().table.load_full());
                    self.bell.ring_for_all();
                    manager::ready();
                }
                _ = signals.user_1.recv() => {
                    self.road.ask_for_drops();
                    info!("stats {}", self.road.shared().stats);
                    for status in locked(&self.rooms.shippers).statuses() {
                        info!("ship {status}");
                    }
                }
                _ = signals.terminate.recv() => return info!("SIGTERM: stopping"),
                _ = signals.interrupt.recv() => return info!("SIGINT: stopping"),
            }
        }
    }

    /// Reads the configuration and the certificates again. What is broken is
    /// reported, and the old one stays in force.
    fn reload(&self) {
        if let Err(error) = self.own_log.reopen() {
            error!("cannot open the own log anew: {error}; the old file stays in use");
        }
        // New addresses need a restart, so what counts are those that are open.
        let loaded = config::load(&self.args.config, &self.args.overrides)
            .and_then(|loaded| config::out_of_reach(&loaded.table, self.config).map(|()| loaded));
        match loaded {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    warn!("{warning}");
                }
                if needs_restart(&loaded.config, self.config) {
                    warn!(
                        "{} has changed in what only a restart can change: restart loghogd",
                        self.args.config.display()
                    );
                }
                self.own_log.set_level(loaded.config.log.level);
                let facilities = loaded.table.len();
                self.road.shared().table.store(Arc::new(loaded.table));
                locked(&self.rooms.shippers).ship_to(&loaded.config.ship, SHIP_CHANGE_TIME_MAX);
                info!("reloaded the configuration: {facilities} facilities");
            }
            Err(problems) => {
                for problem in &problems {
                    error!("reload failed: {problem}");
                }
                error!("the old configuration stays in force; see loghogd check-config");
            }
        }
        let (Some(tls), Some(paths)) = (&self.road.shared().tls, &self.config.server.tls) else {
            return;
        };
        match certs::server_config(paths) {
            Ok(fresh) => {
                tls.store(fresh);
                self.rooms.ends.read(Some(paths));
                info!("reloaded the certificates");
                for warning in certs::warnings(paths) {
                    warn!("{warning}");
                }
            }
            Err(error) => error!("reload failed: {error}; the old certificates stay in force"),
        }
    }
}

/// Does a new configuration differ in anything but what a reload takes over?
pub(crate) fn needs_restart(new: &Config, running: &Config) -> bool {
    let mut reloaded = running.clone();
    reloaded.log.level = new.log.level;
    reloaded.ship.clone_from(&new.ship);
    reloaded.main.facilities_config.clone_from(&new.main.facilities_config);
    *new != reloaded
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    user_1: Signal,
}

impl Signals {
    fn new() -> Result<Signals> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
            user_1: listen(SignalKind::user_defined1())?,
        })
    }
}

/// Starts a task for each socket.
fn listen(road: &Arc<Road>, sockets: Sockets) -> Result<()> {
    for (transport, listener) in sockets.streams {
        let address = listener.local_addr()?;
        tokio::spawn(Arc::clone(road).accept(transport, TcpListener::from_std(listener)?));
        info!("listening on {} {address}", transport.name());
    }
    for (socket, buffer_bytes) in sockets.datagrams {
        let address = socket.local_addr()?;
        let socket = UdpSocket::from_std(socket)?;
        let drops = road.watch_drops(&socket)?;
        tokio::spawn(Arc::clone(road).receive(socket, drops));
        info!(
            "listening on {} {address}, {} KiB of buffer",
            Transport::Udp.name(),
            buffer_bytes >> 10
        );
    }
    Ok(())
}

/// Raises the limit of open files as far as it goes, and returns how many
/// connections fit below it.
fn descriptors(config: &Config) -> usize {
    let files = process::raise_open_files();
    let kept = DESCRIPTORS_RESERVED + config.main.open_files_max as u64;
    let fit = usize::try_from(files.saturating_sub(kept)).unwrap_or(usize::MAX);
    config.server.connections_max.min(fit.max(1))
}

/// Connections at work at the same time: enough for every core while some
/// wait for the disk.
fn lanes() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).saturating_add(1).min(LANES_MAX)
}
