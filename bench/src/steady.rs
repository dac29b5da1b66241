//! A program that logs at a steady rate, as a process of its own.
//! What it is told -> numbered messages to a daemon, and samples of how it is.
//! Invariant: each text begins with its number, from 1 on, so that files tell which are there.
//! Leaves out: what the figures mean (`away`).
//!
//! Orders come on its standard input, a line each; its end is the last one.
//! Samples go to its standard output, a line of numbers each.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use loghog::{Client, Protocol, Record};

use crate::{HOST, MODULE, Process, bodies};

/// How often it says how it is.
pub const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// How often it looks for acknowledgements: what latencies are exact to.
const LOOK_EVERY: Duration = Duration::from_micros(500);
/// Messages go out in groups so far apart.
const STEP: Duration = Duration::from_millis(1);
/// How long it waits at its end for what is not acknowledged.
const END_LIMIT: Duration = Duration::from_secs(60);
/// In a burst: messages that may wait for the spool. The queue has room for
/// some more.
const BURST_AHEAD: u64 = 20_000;

/// What it does.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The daemon's address.
    #[arg(long)]
    pub address: String,
    /// The application.
    #[arg(long)]
    pub app: String,
    /// Messages a second.
    #[arg(long)]
    pub rate: u64,
    /// Length of each message, in bytes.
    #[arg(long)]
    pub body_bytes: usize,
    /// A folder for what is not acknowledged; memory alone without it.
    #[arg(long)]
    pub spool: Option<PathBuf>,
    /// How large the spool may become.
    #[arg(long, default_value_t = loghog::limits::SPOOL_BYTES)]
    pub spool_bytes: u64,
    /// Whether it measures how long each message takes.
    #[arg(long)]
    pub latencies: bool,
}

/// How it was at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Messages logged.
    pub logged: u64,
    /// Of these, safe on the server.
    pub acknowledged: u64,
    /// Of these, brought into the spool.
    pub spooled: u64,
    /// Of these, dropped.
    pub dropped: u64,
    /// Of these, not acknowledged yet.
    pub queued: u64,
    /// What the spool takes, in bytes.
    pub spool_bytes: u64,
    /// Memory of the process, in KiB.
    pub memory_kib: u64,
    /// Its processor time, in microseconds.
    pub cpu_us: u64,
    /// How long each message took that was acknowledged since the last sample,
    /// in microseconds.
    pub latencies_us: Vec<u64>,
}

/// Such a process, seen from the one that has started it.
#[derive(Debug)]
pub struct Steady {
    child: Child,
    orders: Option<ChildStdin>,
    samples: Arc<Mutex<Vec<(Instant, Sample)>>>,
    reader: Option<JoinHandle<()>>,
}

impl Steady {
    /// Starts this program once more, as one that logs; its `main` has to call
    /// [`run`] when its first argument is `steady`.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn start(options: &Options) -> Result<Steady> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["steady", "--address", &options.address, "--app", &options.app]);
        for (name, value) in [
            ("--rate", options.rate),
            ("--body-bytes", options.body_bytes as u64),
            ("--spool-bytes", options.spool_bytes),
        ] {
            command.args([name, &value.to_string()]);
        }
        if let Some(spool) = &options.spool {
            command.arg("--spool").arg(spool);
        }
        if options.latencies {
            command.arg("--latencies");
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (orders, output) = (child.stdin.take(), child.stdout.take());
        let samples = Arc::new(Mutex::new(Vec::new()));
        let (kept, lines) = (Arc::clone(&samples), BufReader::new(output.context("no stdout")?));
        let reader = thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let sample = (Instant::now(), Sample::read(&line));
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
            }
        });
        Ok(Steady { child, orders, samples, reader: Some(reader) })
    }

    /// Has it log so many messages as fast as the spool takes them, then go on
    /// as before.
    ///
    /// # Errors
    /// When it has ended.
    pub fn burst(&mut self, messages: u64) -> Result<()> {
        Ok(writeln!(self.orders.as_mut().context("it was told to end")?, "{messages}")?)
    }

    /// How it was last.
    pub fn latest(&self) -> Sample {
        self.all().last().map(|(_, sample)| sample.clone()).unwrap_or_default()
    }

    /// All samples so far.
    pub fn all(&self) -> MutexGuard<'_, Vec<(Instant, Sample)>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets it end. Returns how it was then.
    ///
    /// # Errors
    /// When it fails.
    pub fn finish(&mut self) -> Result<Sample> {
        drop(self.orders.take());
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        ensure!(self.child.wait()?.success(), "a program that logs has failed");
        Ok(self.latest())
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sample {
    fn take(client: &Client, latencies_us: Vec<u64>) -> Result<Sample> {
        let stats = client.stats();
        let own = Process(std::process::id());
        Ok(Sample {
            logged: stats.enqueued,
            acknowledged: stats.acknowledged,
            spooled: stats.spooled,
            dropped: stats.dropped.total(),
            queued: stats.queued,
            spool_bytes: stats.spool_bytes,
            memory_kib: own.memory_kib()?,
            cpu_us: u64::try_from(own.cpu()?.as_micros())?,
            latencies_us,
        })
    }

    fn write(&self) -> String {
        let numbers = [
            self.logged,
            self.acknowledged,
            self.spooled,
            self.dropped,
            self.queued,
            self.spool_bytes,
            self.memory_kib,
            self.cpu_us,
        ];
        let all = numbers.iter().chain(&self.latencies_us).map(u64::to_string);
        all.collect::<Vec<_>>().join(" ")
    }

    fn read(line: &str) -> Sample {
        let mut numbers = line.split(' ').map(|number| number.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Sample {
            logged: next(),
            acknowledged: next(),
            spooled: next(),
            dropped: next(),
            queued: next(),
            spool_bytes: next(),
            memory_kib: next(),
            cpu_us: next(),
            latencies_us: numbers.collect(),
        }
    }
}

/// Is such a process, until its standard input ends.
///
/// # Errors
/// When the client cannot be built, or nobody reads the samples.
pub fn run(options: &Options) -> Result<()> {
    let mut builder = loghog::builder(options.app.as_str())
        .address(options.address.as_str())
        .protocol(Protocol::V2)
        .hostname(HOST)
        .spool_bytes(options.spool_bytes);
    if let Some(spool) = &options.spool {
        builder = builder.spool(spool);
    }
    let client = Arc::new(builder.build_client()?);
    let watch = options.latencies.then(|| Watch::start(Arc::clone(&client)));
    let mut program = Program {
        client: &client,
        watch: watch.as_deref(),
        texts: bodies(1000, options.body_bytes),
        logged: 0,
        body: String::new(),
    };
    let sampled = program.sample()?;
    program.go_on(options.rate, &orders(), sampled)?;
    client.flush(END_LIMIT);
    // So that the last acknowledgements have been looked at.
    thread::sleep(2 * LOOK_EVERY);
    program.sample()?;
    client.close(END_LIMIT);
    Ok(())
}

/// Bursts that are asked for; disconnected: the end.
fn orders() -> Receiver<u64> {
    let (sender, orders) = mpsc::channel();
    thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let _ = sender.send(line.parse().unwrap_or(0));
        }
    });
    orders
}

struct Program<'a> {
    client: &'a Client,
    watch: Option<&'a Watch>,
    texts: Vec<String>,
    logged: u64,
    body: String,
}

impl Program<'_> {
    fn go_on(&mut self, rate: u64, orders: &Receiver<u64>, mut sampled: Instant) -> Result<()> {
        let (mut begun, mut before) = (Instant::now(), self.logged);
        loop {
            match orders.try_recv() {
                Ok(messages) => {
                    sampled = self.burst(messages, sampled)?;
                    (begun, before) = (Instant::now(), self.logged);
                }
                Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => {}
            }
            let due = before + (begun.elapsed().as_secs_f64() * rate as f64) as u64;
            while self.logged < due {
                self.log();
            }
            if sampled.elapsed() >= SAMPLE_EVERY {
                sampled = self.sample()?;
            }
            thread::sleep(STEP);
        }
    }

    fn burst(&mut self, messages: u64, mut sampled: Instant) -> Result<Instant> {
        for _ in 0..messages {
            self.log();
            if self.logged.is_multiple_of(1000) {
                let is_ahead = |spooled| self.logged > spooled + BURST_AHEAD;
                while is_ahead(self.client.stats().spooled) {
                    ensure!(self.client.stats().dropped.total() == 0, "the spool takes no more");
                    thread::sleep(STEP);
                }
                if sampled.elapsed() >= SAMPLE_EVERY {
                    sampled = self.sample()?;
                }
            }
        }
        Ok(sampled)
    }

    fn log(&mut self) {
        self.logged += 1;
        let text = self.texts.get(self.logged as usize % self.texts.len());
        self.body.clear();
        self.body.push_str(&self.logged.to_string());
        self.body.push(' ');
        self.body.push_str(text.map_or("", String::as_str));
        if let Some(watch) = self.watch {
            watch.sent(self.logged);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.client.send_record(&Record {
            time_ns: i64::try_from(now.as_nanos()).unwrap_or(0),
            level: 20,
            logger: MODULE,
            process_id: std::process::id(),
            body: &self.body,
            ..Record::default()
        });
    }

    fn sample(&self) -> Result<Instant> {
        let latencies = self.watch.map(Watch::take_latencies).unwrap_or_default();
        println!("{}", Sample::take(self.client, latencies)?.write());
        Ok(Instant::now())
    }
}

/// Looks when messages are acknowledged.
#[derive(Debug, Default)]
struct Watch {
    /// Number and time of what is not.
    waiting: Mutex<VecDeque<(u64, Instant)>>,
    latencies_us: Mutex<Vec<u64>>,
}

impl Watch {
    fn start(client: Arc<Client>) -> Arc<Watch> {
        let watch = Arc::new(Watch::default());
        let own = Arc::clone(&watch);
        thread::spawn(move || {
            loop {
                own.look(client.stats().acknowledged);
                thread::sleep(LOOK_EVERY);
            }
        });
        watch
    }

    fn sent(&self, number: u64) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_back((number, Instant::now()));
    }

    fn look(&self, acknowledged: u64) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut latencies = self.latencies_us.lock().unwrap_or_else(PoisonError::into_inner);
        let safe = waiting.partition_point(|(number, _)| *number <= acknowledged);
        latencies.extend(waiting.drain(..safe).map(|(_, sent)| sent.elapsed().as_micros() as u64));
    }

    fn take_latencies(&self) -> Vec<u64> {
        std::mem::take(&mut *self.latencies_us.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
