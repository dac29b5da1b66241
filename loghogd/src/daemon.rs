//! Start, reload, stop: builds everything, in one readable sequence.
//! A checked configuration -> a running daemon, until a signal ends it.
//! Invariant: sockets are bound before privileges are dropped; what was read is written before the end.
//! Leaves out: what happens to a message (`pipeline`).

mod process;

use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, UdpSocket};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::certs;
use crate::cli::RunArgs;
use crate::clock::Clock;
use crate::complaints::Complaints;
use crate::config::checked::Config;
use crate::config::{self, Loaded};
use crate::connections::{Connections, Transport};
use crate::disk::LogDir;
use crate::limits::{DESCRIPTORS_RESERVED, STOP_TIME_MAX, UNSYNCED_TIME_MAX};
use crate::own_log::OwnLog;
use crate::pipeline::accept::bind::{self, Sockets};
use crate::pipeline::persist::writer::{self, Ended, Settings};
use crate::pipeline::{Parts, Road};
use crate::stats::Stats;

/// How a daemon that ran has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything that was read is written.
    Clean,
    /// Some of it could not be written.
    MessagesLost(u64),
}

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start; nothing has been received then.
pub fn run(loaded: Loaded, args: &RunArgs) -> Result<Outcome> {
    let config = loaded.config.clone();
    if config.main.daemon && !args.daemon_child {
        process::detach()?;
        return Ok(Outcome::Clean);
    }
    if args.daemon_child {
        process::begin_session()?;
    }
    let connections_max = descriptors(&config);
    process::make_folders(&config)?;
    let sockets = bind::bind(&config.server.listen)?;
    let tls = config.server.tls.as_ref().map(certs::server_config).transpose()?;
    let pidfile = config.main.pidfile.as_deref().map(process::PidFile::write).transpose()?;
    if let Some(user) = &config.main.user {
        process::become_user(user)?;
    }
    process::check_writable(&config)?;

    let clock = Clock::system();
    let to_stderr = !args.daemon_child;
    let own_log =
        OwnLog::install(config.log.filename.as_deref(), to_stderr, config.log.level, clock.clone())
            .with_context(|| {
                format!("cannot open the own log {:?}; see [log] filename", config.log.filename)
            })?;
    let log_dir = LogDir::open(&config.main.logdir)
        .map_err(|error| process::log_dir_refused(error, &config))?;
    info!("loghogd {} starts, {} facilities", env!("CARGO_PKG_VERSION"), loaded.table.len());
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    for warning in config.server.tls.iter().flat_map(certs::warnings) {
        warn!("{warning}");
    }

    for passed_over in &sockets.passed_over {
        warn!("{passed_over}; going on without it");
    }

    let stats = Arc::new(Stats::new());
    let settings = Settings {
        open_files_max: config.main.open_files_max,
        hosts_max: config.main.hosts_max,
        unsynced_time_max: UNSYNCED_TIME_MAX,
    };
    let (handover, disk) = writer::start(log_dir, settings, Arc::clone(&stats))
        .context("cannot start a thread; see the limits of processes (ulimit -u)")?;
    let runtime = Runtime::new()
        .context("cannot start the runtime; see the limits of processes and files")?;
    let (stop, stopping) = watch::channel(false);
    let road = Road::new(Parts {
        table: Arc::new(loaded.table),
        tls,
        stats: Arc::clone(&stats),
        complaints: Complaints::new(runtime.handle().clone()),
        connections: Connections::new(connections_max, Arc::clone(&stats)),
        clock,
        frame_bytes_max: config.server.frame_bytes_max,
        datagram_bytes_max: config.server.datagram_bytes_max,
        lanes: lanes(),
        handover: handover.clone(),
        stop: stopping,
    });
    let complaints = road.complaints.clone();
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        listen(&road, sockets)?;
        info!("ready");
        if args.daemon_child {
            process::say_ready()?;
        }
        let mut running = Running { config: &config, args, own_log: &own_log, road: &road };
        running.obey(&mut signals, || handover.reopen()).await;
        anyhow::Ok(())
    })?;

    // Stopping runs in data order: no more connections, what they read is
    // carried on, and when the last end of the way to the disk is gone, the
    // disk's thread writes what it has, syncs and ends.
    let _ = stop.send(true);
    drop((road, handover));
    let disk = std::thread::spawn(move || disk.join());
    let waited = std::time::Instant::now();
    while !disk.is_finished() && waited.elapsed() < STOP_TIME_MAX {
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
    runtime.shutdown_background();
    let ended = disk.join().ok().and_then(Result::ok).unwrap_or(Ended { messages_lost: 0 });
    complaints.sum_up_all();
    info!("stats {stats}");
    info!("stopped");
    drop(pidfile);
    Ok(match ended.messages_lost {
        0 => Outcome::Clean,
        lost => Outcome::MessagesLost(lost),
    })
}

/// A running daemon, between its start and its stop.
struct Running<'a> {
    config: &'a Config,
    args: &'a RunArgs,
    own_log: &'a OwnLog,
    road: &'a Arc<Road>,
}

impl Running<'_> {
    /// Does what signals say, until one says stop.
    async fn obey(&mut self, signals: &mut Signals, reopen: impl Fn()) {
        loop {
            tokio::select! {
                _ = signals.hang_up.recv() => {
                    self.reload();
                    reopen();
                }
                _ = signals.user_1.recv() => info!("stats {}", self.road.stats),
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
        match config::load(&self.args.config, &self.args.overrides) {
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
                self.road.table.store(Arc::new(loaded.table));
                info!("reloaded the configuration: {facilities} facilities");
            }
            Err(problems) => {
                for problem in &problems {
                    error!("reload failed: {problem}");
                }
                error!("the old configuration stays in force; see loghogd check-config");
            }
        }
        let (Some(tls), Some(paths)) = (&self.road.tls, &self.config.server.tls) else { return };
        match certs::server_config(paths) {
            Ok(fresh) => {
                tls.store(fresh);
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
fn needs_restart(new: &Config, running: &Config) -> bool {
    let mut reloaded = running.clone();
    reloaded.log.level = new.log.level;
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
        tokio::spawn(Arc::clone(road).receive(UdpSocket::from_std(socket)?));
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
    std::thread::available_parallelism().map_or(2, usize::from) + 2
}
