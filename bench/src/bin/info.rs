//! Measures what one `info!` costs a Rust program: LogHog's backend for `log`
//! and its layer for `tracing`, beside `tracing-subscriber`'s text in a file,
//! direct and through `tracing-appender`'s non-blocking writer.
//!
//! Each way runs in a process of its own, in turn, `--rounds` times: at a steady
//! rate that everything here can hold, and in one burst. Every call is timed by
//! itself, and nothing is subtracted. Ours send to a real daemon, and end when
//! it has everything: in v2, when all is synced and acknowledged. It fails when
//! a message that was not counted as dropped is not in the daemon's file.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use loghog::{Builder, Guard, Protocol};
use loghog_bench::{Scratch, median, wait_until};
use nix::time::{ClockId, clock_gettime};
use tracing_appender::non_blocking::{ErrorCounter, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// Messages a second, and how many seconds.
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Messages of a burst.
    #[arg(long, default_value_t = 80_000)]
    burst: u64,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// One way, in this process: this program starts itself.
    #[command(hide = true)]
    One {
        way: Way,
        address: String,
        file: PathBuf,
        messages: u64,
        /// 0: as fast as possible.
        rate: u64,
    },
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    Nothing,
    LogV1,
    LogV2,
    LogV2Fields,
    LogV2Spool,
    LayerV2,
    LayerV2Fields,
    Appender,
    AppenderFields,
    Direct,
}

const WAYS: [(Way, &str); 10] = [
    (Way::Nothing, "a call of nothing"),
    (Way::Appender, "tracing-appender, non-blocking"),
    (Way::AppenderFields, "the same, two fields"),
    (Way::Direct, "tracing-subscriber, file"),
    (Way::LogV1, "loghog, log, v1"),
    (Way::LogV2, "loghog, log, v2"),
    (Way::LogV2Fields, "loghog, log, v2, two fields"),
    (Way::LogV2Spool, "loghog, log, v2, spool"),
    (Way::LayerV2, "loghog, tracing, v2"),
    (Way::LayerV2Fields, "loghog, tracing, v2, two fields"),
];

const FACILITIES: &str = "[info]\nrotate = yearly\nbackup_count = 1\n";

/// Messages before the clock runs: the connection, the thread, the file.
const WARM_UP: u64 = 1000;

/// How long ours may take until all is safe.
const FLUSH_LIMIT: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(Role::One { way, address, file, messages, rate }) = &arguments.role {
        return one(*way, address, file, *messages, *rate);
    }
    let daemon = Scratch::start_with(FACILITIES, "", |_| Ok(()))?;
    let mut sent = 0;
    for rate in [arguments.rate, 0] {
        let messages = if rate == 0 { arguments.burst } else { rate * arguments.seconds };
        let rates = if rate == 0 { "in a burst".to_owned() } else { format!("{rate} a second") };
        println!("\n{messages} messages {rates}, {} rounds; ns a call", arguments.rounds);
        println!(
            "                                   median   99th percentile   longest us   CPU ns/message   dropped"
        );
        let mut all = vec![Vec::new(); WAYS.len()];
        for _ in 0..arguments.rounds {
            for ((way, _), seen) in WAYS.iter().zip(&mut all) {
                let one = measure(*way, &daemon, messages, rate)?;
                if way.is_ours() {
                    sent += WARM_UP + messages - one[4] as u64;
                }
                seen.push(one);
            }
        }
        for ((_, name), seen) in WAYS.iter().zip(all) {
            print(name, &seen);
        }
    }
    let path = daemon.path("log/info/root.log");
    let lines = || Ok::<_, std::io::Error>(BufReader::new(File::open(&path)?).lines().count());
    wait_until(|| lines().is_ok_and(|lines| lines as u64 >= sent))?;
    ensure!(lines()? as u64 == sent, "{sent} messages were sent, {} are in the file", lines()?);
    println!("\nall {sent} messages that were sent to the daemon are in its file");
    Ok(())
}

impl Way {
    fn is_ours(self) -> bool {
        !matches!(self, Way::Nothing | Way::Appender | Way::AppenderFields | Way::Direct)
    }
}

/// What was seen of one way in one round: median, 99th percentile, longest, CPU
/// a message, in ns; messages dropped.
type Seen = [f64; 5];

fn measure(way: Way, daemon: &Scratch, messages: u64, rate: u64) -> Result<Seen> {
    let name = way.to_possible_value().context("no name")?;
    let output = Command::new(std::env::current_exe()?)
        .args(["one", name.get_name(), &daemon.plain])
        .arg(daemon.path("info.log"))
        .args([messages.to_string(), rate.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{} has failed", name.get_name());
    let numbers = said.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    numbers.try_into().ok().context("not five numbers")
}

fn print(name: &str, seen: &[Seen]) {
    let column = |at: usize| median(seen.iter().filter_map(|s| s.get(at).copied()).collect());
    println!(
        "{name:32} {:8.0} {:17.0} {:12.0} {:16.0} {:9.0}",
        column(0),
        column(1),
        column(2) / 1e3,
        column(3),
        seen.iter().map(|[.., dropped]| dropped).sum::<f64>()
    );
}

/// What has to be ended before the figures are whole.
enum End {
    Nothing,
    Ours(Guard),
    Appender(ErrorCounter, WorkerGuard),
}

fn one(way: Way, address: &str, file: &Path, messages: u64, rate: u64) -> Result<()> {
    let end = begin(way, address, file)?;
    let log: fn(u64) = match way {
        Way::Nothing => |number| {
            std::hint::black_box(number);
        },
        Way::LogV1 | Way::LogV2 | Way::LogV2Spool => |number| {
            log::info!("GET /orders/{number} took {} ms for user {}", 12.5, 4711);
        },
        Way::LogV2Fields => |number| {
            log::info!(user = "ada", port = 22; "GET /orders/{number} took {} ms for user {}", 12.5, 4711);
        },
        Way::LayerV2 | Way::Appender | Way::Direct => |number| {
            tracing::info!("GET /orders/{number} took {} ms for user {}", 12.5, 4711);
        },
        Way::LayerV2Fields | Way::AppenderFields => |number| {
            tracing::info!(
                user = "ada",
                port = 22,
                "GET /orders/{number} took {} ms for user {}",
                12.5,
                4711
            );
        },
    };
    (0..WARM_UP).for_each(log);
    if let End::Ours(guard) = &end {
        ensure!(guard.client().flush(FLUSH_LIMIT), "no daemon at {address}");
    }
    let (all_before, own_before, begun) = (process_cpu()?, thread_cpu()?, Instant::now());
    let mut times = calls(log, messages, rate);
    let (own, elapsed) = (thread_cpu()? - own_before, begun.elapsed());
    let dropped = finish(end)?;
    let others = process_cpu()?.saturating_sub(all_before).saturating_sub(own);
    times.sort_unstable();
    let at = |part: usize| times.get((times.len() - 1) * part / 100).copied().unwrap_or(0);
    // The calling thread's share: the rest of the time it waited for the next.
    let called = Duration::from_nanos(times.iter().sum());
    let own = own.mul_f64(called.as_secs_f64() / elapsed.as_secs_f64());
    let cpu = (own + others).as_nanos() as f64 / messages as f64;
    println!("{} {} {} {cpu} {dropped}", at(50), at(99), at(100));
    Ok(())
}

fn process_cpu() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

fn thread_cpu() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// Times each call, in ns.
fn calls(log: fn(u64), messages: u64, rate: u64) -> Vec<u64> {
    let mut times = Vec::with_capacity(messages as usize);
    let begun = Instant::now();
    for number in 0..messages {
        if let Some(due) = (number * 1_000_000_000).checked_div(rate) {
            while begun.elapsed() < Duration::from_nanos(due) {
                std::hint::spin_loop();
            }
        }
        let before = Instant::now();
        log(number);
        times.push(before.elapsed().as_nanos() as u64);
    }
    times
}

fn begin(way: Way, address: &str, file: &Path) -> Result<End> {
    let builder = |protocol| loghog::builder("info").address(address).protocol(protocol);
    let spool = || file.with_file_name("info-spool");
    Ok(match way {
        Way::Nothing => End::Nothing,
        Way::LogV1 => End::Ours(builder(Protocol::V1).install()?),
        Way::LogV2 | Way::LogV2Fields => End::Ours(builder(Protocol::V2).install()?),
        Way::LogV2Spool => End::Ours(builder(Protocol::V2).spool(spool()).install()?),
        Way::LayerV2 | Way::LayerV2Fields => layer(builder(Protocol::V2))?,
        Way::Appender | Way::AppenderFields => {
            let (writer, guard) = tracing_appender::non_blocking(File::create(file)?);
            let dropped = writer.error_counter();
            tracing_subscriber::fmt().with_ansi(false).with_writer(writer).init();
            End::Appender(dropped, guard)
        }
        Way::Direct => {
            let writer = Mutex::new(File::create(file)?);
            tracing_subscriber::fmt().with_ansi(false).with_writer(writer).init();
            End::Nothing
        }
    })
}

fn layer(builder: Builder) -> Result<End> {
    let (layer, guard) = builder.layer()?;
    tracing_subscriber::registry().with(layer).init();
    Ok(End::Ours(guard))
}

/// Waits until all is out of our hands; returns how many messages were dropped.
fn finish(end: End) -> Result<u64> {
    Ok(match end {
        End::Nothing => 0,
        End::Ours(guard) => {
            guard.client().flush(FLUSH_LIMIT);
            let stats = guard.client().stats();
            ensure!(stats.queued == 0, "{} messages are not safe yet", stats.queued);
            stats.dropped.total()
        }
        End::Appender(dropped, guard) => {
            drop(guard);
            dropped.dropped_lines() as u64
        }
    })
}
