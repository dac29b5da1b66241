//! Measures what an absent server costs: programs go on logging while there is
//! none, one with a spool and one without; then it is there again, and they
//! catch up. Shown are their memory, how fast they catch up, what another
//! client feels of it, and whether every message is there once.
//!
//! All run at once against one daemon, as processes of their own. It fails when
//! a promise was not kept.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use loghog::limits::QUEUE_BYTES;
use loghog_bench::Scratch;
use loghog_bench::steady::{self, Options, SAMPLE_EVERY, Sample, Steady};

#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// How long the server is away.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Messages a second while it is; 0: as many as in so many seconds at
    /// 10,000 a second, but as fast as the spool takes them.
    #[arg(long, default_value_t = RATE)]
    rate: u64,
    /// Length of each message, in bytes.
    #[arg(long, default_value_t = 120)]
    body_bytes: usize,
    /// How long the other client is measured before and afterwards.
    #[arg(long, default_value_t = 10)]
    beside_seconds: u64,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// A program that logs: this one starts them.
    #[command(hide = true)]
    Steady(Options),
}

/// Messages a second of real time.
const RATE: u64 = 10_000;
/// Those of the other client.
const BESIDE_RATE: u64 = 1000;
/// Least of them that are acknowledged a second while others catch up, for each
/// that is logged.
const BESIDE_RATIO_MIN: f64 = 0.95;
/// Least speed of catching up, beside what comes meanwhile, in real time.
const SPEED_MIN: f64 = 5.0;
/// Most memory a program may take more than before its first message, in KiB:
/// what `QUEUE_BYTES` grants.
const MEMORY_KIB_MAX: u64 = 4 * QUEUE_BYTES as u64 / 1024;
/// Caught up is who has no more waiting than comes in this time.
const CAUGHT_UP: Duration = Duration::from_millis(200);
/// Longest wait for the programs to find the server, and for them to catch up
/// with what a second brings.
const PATIENCE: Duration = Duration::from_secs(90);

const FACILITIES: &str = "[spooled]\nrotate = yearly\nbackup_count = 1\n\
                          [memory]\nrotate = yearly\nbackup_count = 1\n\
                          [before]\nrotate = yearly\nbackup_count = 1\n\
                          [during]\nrotate = yearly\nbackup_count = 1\n";

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(Role::Steady(options)) = &arguments.role {
        return steady::run(options);
    }
    let mut daemon = Scratch::start_apart(FACILITIES)?;
    let mut figures = measure(&arguments, &mut daemon)?;
    figures.print(&arguments);
    check(&figures, &daemon)
}

/// What was seen.
struct Figures {
    spooled: Seen,
    memory: Seen,
    /// From the server's return to the first acknowledgement.
    found: Duration,
    /// Messages that waited then.
    backlog: u64,
    /// From there until they had gone.
    caught_up: Duration,
    before: Beside,
    during: Beside,
    after: Beside,
    /// Messages of the other client, in the files `before` and `during`.
    beside: [u64; 2],
}

/// What was seen of a program.
struct Seen {
    start: Sample,
    /// When the server came back.
    back: Sample,
    end: Sample,
    memory_kib_max: u64,
}

/// What was seen of the other client in a stretch of time.
struct Beside {
    messages_a_second: f64,
    latencies_us: Vec<u64>,
}

fn measure(arguments: &Arguments, daemon: &mut Scratch) -> Result<Figures> {
    let options = |app: &str, rate| Options {
        address: daemon.plain.clone(),
        app: app.to_owned(),
        rate,
        body_bytes: arguments.body_bytes,
        spool: None,
        spool_bytes: u64::MAX / 2,
        latencies: false,
    };
    let rate = if arguments.rate == 0 { RATE } else { arguments.rate };
    let spool = Some(daemon.path("spool"));
    let mut spooled = Steady::start(&Options { spool, ..options("spooled", rate) })?;
    let mut memory = Steady::start(&options("memory", rate))?;
    let mut other = Steady::start(&Options { latencies: true, ..options("before", BESIDE_RATE) })?;
    let during = Options { latencies: true, ..options("during", BESIDE_RATE) };
    let settled = settle(&other)?;
    sleep(Duration::from_secs(arguments.beside_seconds));
    let before = beside(&other, settled, Instant::now());
    let beside_before = other.finish()?.logged;

    daemon.kill()?;
    stay_away(arguments, &mut spooled)?;
    daemon.start_again()?;
    let returned = Instant::now();
    let back = [spooled.latest(), memory.latest()];
    let mut other = Steady::start(&during)?;
    let waiting = back[0].acknowledged;
    let (found_at, found) = until(&spooled, PATIENCE, |now| now.acknowledged > waiting)?;
    let few = (rate as f64 * CAUGHT_UP.as_secs_f64()) as u64;
    let limit = PATIENCE + Duration::from_secs(arguments.seconds);
    let (caught_up_at, _) = until(&spooled, limit, |now| now.queued <= few)?;
    let during = beside(&other, found_at, caught_up_at);
    sleep(Duration::from_secs(arguments.beside_seconds));
    let after = beside(&other, caught_up_at, Instant::now());
    let beside_during = other.finish()?.logged;
    let [spooled_back, memory_back] = back;
    Ok(Figures {
        found: found_at - returned,
        backlog: found.queued,
        caught_up: caught_up_at - found_at,
        spooled: Seen::of(&mut spooled, spooled_back)?,
        memory: Seen::of(&mut memory, memory_back)?,
        before,
        during,
        after,
        beside: [beside_before, beside_during],
    })
}

/// Waits until the other client has a session, and its first acknowledgements
/// are over.
fn settle(other: &Steady) -> Result<Instant> {
    let (at, _) = until(other, PATIENCE, |now| now.acknowledged > BESIDE_RATE)?;
    Ok(at)
}

/// While there is no server.
fn stay_away(arguments: &Arguments, spooled: &mut Steady) -> Result<()> {
    let length = Duration::from_secs(arguments.seconds);
    if arguments.rate > 0 {
        sleep(length);
        return Ok(());
    }
    let messages = arguments.seconds * RATE;
    let before = spooled.latest().logged;
    spooled.burst(messages)?;
    until(spooled, PATIENCE + length, |now| now.spooled >= before + messages)?;
    Ok(())
}

/// Waits for a sample; returns when it came.
fn until(
    program: &Steady,
    limit: Duration,
    is_it: impl Fn(&Sample) -> bool,
) -> Result<(Instant, Sample)> {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        let newest = program.all().last().cloned();
        match newest {
            Some((at, sample)) if at >= begun && is_it(&sample) => return Ok((at, sample)),
            _ => sleep(SAMPLE_EVERY / 10),
        }
    }
    bail!("it did not happen within {limit:?}; last seen: {:?}", program.latest())
}

/// What the other client has felt between two moments.
fn beside(other: &Steady, from: Instant, to: Instant) -> Beside {
    let samples = other.all();
    let mut within = samples.iter().filter(|(at, _)| (from..=to).contains(at));
    let (Some((begin, first)), Some((end, last))) = (within.next(), within.next_back()) else {
        return Beside { messages_a_second: f64::NAN, latencies_us: Vec::new() };
    };
    let messages = last.acknowledged - first.acknowledged;
    let later = samples.iter().filter(|(at, _)| begin < at && at <= end);
    let mut latencies: Vec<_> = later.flat_map(|(_, s)| s.latencies_us.clone()).collect();
    latencies.sort_unstable();
    Beside {
        messages_a_second: messages as f64 / (*end - *begin).as_secs_f64(),
        latencies_us: latencies,
    }
}

impl Seen {
    fn of(program: &mut Steady, back: Sample) -> Result<Seen> {
        let end = program.finish()?;
        let samples = program.all();
        let (_, start) = samples.first().cloned().context("no samples")?;
        let memory_kib_max = samples.iter().map(|(_, s)| s.memory_kib).max().unwrap_or(0);
        Ok(Seen { start, back, end, memory_kib_max })
    }
}

impl Figures {
    fn speed(&self) -> f64 {
        self.backlog as f64 / self.caught_up.as_secs_f64()
    }

    fn print(&mut self, arguments: &Arguments) {
        let rate = match arguments.rate {
            0 => "as fast as the spool takes them".to_owned(),
            rate => format!("{rate} a second"),
        };
        println!(
            "the server is away for {} s; messages of {} bytes, {rate}",
            arguments.seconds, arguments.body_bytes
        );
        println!(
            "                  logged    dropped   spool GiB   memory MiB at start   away   at most   CPU us/message"
        );
        for (name, seen) in [("with a spool", &self.spooled), ("memory alone", &self.memory)] {
            println!(
                "{name:12} {:11} {:10} {:11.2} {:21.1} {:6.1} {:9.1} {:16.2}",
                seen.end.logged,
                seen.end.dropped,
                seen.back.spool_bytes as f64 / f64::from(1 << 30),
                mib(seen.start.memory_kib),
                mib(seen.back.memory_kib),
                mib(seen.memory_kib_max),
                (seen.end.cpu_us - seen.start.cpu_us) as f64 / seen.end.logged as f64,
            );
        }
        println!(
            "{:.1} s after its return the server was found; {} messages waited and went in {:.1} s, beside\n\
             the new ones: {:.0} a second, {:.1} times real time",
            self.found.as_secs_f64(),
            self.backlog,
            self.caught_up.as_secs_f64(),
            self.speed(),
            self.speed() / RATE as f64,
        );
        println!(
            "another client, {BESIDE_RATE} a second: acknowledged/s   median ms   99th percentile ms   longest ms"
        );
        for (name, beside) in [
            ("before", &self.before),
            ("while it catches up", &self.during),
            ("afterwards", &self.after),
        ] {
            let at = |part: usize| {
                let last = beside.latencies_us.len().saturating_sub(1);
                beside.latencies_us.get(last * part / 100).map_or(f64::NAN, |us| *us as f64 / 1e3)
            };
            println!(
                "{name:31} {:14.0} {:11.1} {:20.1} {:12.1}",
                beside.messages_a_second,
                at(50),
                at(99),
                at(100)
            );
        }
    }
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// Whether all was kept that is promised.
fn check(figures: &Figures, daemon: &Scratch) -> Result<()> {
    for (app, seen) in [("spooled", &figures.spooled), ("memory", &figures.memory)] {
        let lines = lines(daemon, app)?;
        println!("{app}: {lines} lines, each once and in order");
        let end = &seen.end;
        ensure!(
            lines + end.dropped == end.logged,
            "{} messages, {} dropped, but {lines} in the file",
            end.logged,
            end.dropped
        );
        let grown = seen.memory_kib_max - seen.start.memory_kib;
        ensure!(grown <= MEMORY_KIB_MAX, "{app}: {grown} KiB of memory, not {MEMORY_KIB_MAX}");
    }
    ensure!(figures.spooled.end.dropped == 0, "there was a spool, and messages were dropped");
    for (app, logged) in ["before", "during"].into_iter().zip(figures.beside) {
        let lines = lines(daemon, app)?;
        ensure!(lines == logged, "{app}: {logged} messages, but {lines} lines");
    }
    let speed = figures.speed() / RATE as f64;
    ensure!(speed >= SPEED_MIN, "it catches up at {speed:.1} times real time, not {SPEED_MIN}");
    let ratio = figures.during.messages_a_second / BESIDE_RATE as f64;
    ensure!(
        ratio >= BESIDE_RATIO_MIN,
        "only {ratio:.2} of the other client's messages got through"
    );
    Ok(())
}

/// How many lines an application's file has, whose numbers only go up.
fn lines(daemon: &Scratch, app: &str) -> Result<u64> {
    let path = daemon.path("log").join(app).join("root.log");
    let mut file = BufReader::with_capacity(1 << 20, File::open(&path)?);
    let (mut line, mut lines, mut last) = (Vec::new(), 0, 0);
    while file.read_until(b'\n', &mut line)? > 0 {
        let text = std::str::from_utf8(&line)?;
        let body = text.splitn(3, " - ").nth(2).context("a line without a body")?;
        let number: u64 = body.split(' ').next().unwrap_or_default().parse()?;
        ensure!(number > last, "{}: {number} follows {last}", path.display());
        last = number;
        lines += 1;
        line.clear();
    }
    Ok(lines)
}
