//! Measures how fast records become points of a real InfluxDB.
//!
//! The target is driven as the daemon drives it: with batches of lines that were read
//! from a file, one after another. The server runs on the same machine and takes
//! its part of the processors; what is ours of them is told apart. `tools/debian-programs`
//! fetches the server.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::Parser;
use jiff::tz::TimeZone;
use loghog_bench::{Process, body, median};
use loghog_tests::batches::{Lines, deliver};
use loghog_tests::process::cpu_ticks;
use loghog_tests::services::influxdb::{InfluxDb, Setup};
use loghogd::config::ship::Kind;
use loghogd::config::{Overrides, read_config};
use loghogd::pipeline::ship::influxdb::InfluxDbTarget;
use loghogd::pipeline::ship::{Limits, Records as _, Surroundings};
use tokio::runtime::Handle;

#[derive(Debug, Parser)]
struct Arguments {
    /// Records of each run.
    #[arg(long, default_value_t = 500_000)]
    records: usize,
    /// Length of each message's body, in bytes.
    #[arg(long, default_value_t = 250)]
    body_bytes: usize,
    /// The target's `batch_points`.
    #[arg(long, default_value_t = 5_000)]
    batch_points: usize,
    /// Runs of each kind, in turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// Clock ticks a second, as Linux tells them to programs.
const TICKS_A_SECOND: f64 = 100.0;

/// What is compared, and the options of each.
const KINDS: [(&str, &str); 3] = [
    ("gzip", "gzip = yes\n"),
    ("plain", "gzip = no\n"),
    (
        "gzip, errors and two patterns",
        "errors_measurement = errors\nmatch.auth = (?i)login (failed|refused)\n\
         match.slow = took [0-9]{4,} ms\n",
    ),
];

/// One run.
struct Measured {
    records_a_second: f64,
    our_cpu_us: f64,
    server_cpu_us: f64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut all = KINDS.map(|_| Vec::new());
    for _ in 0..arguments.rounds {
        for ((_, options), of_kind) in KINDS.iter().zip(&mut all) {
            of_kind.push(measure(&arguments, options, runtime.handle().clone())?);
        }
    }
    println!(
        "{} records of {} bytes, requests of {} points, median of {}:",
        arguments.records, arguments.body_bytes, arguments.batch_points, arguments.rounds
    );
    for ((name, _), of_kind) in KINDS.iter().zip(&all) {
        let of = |value: fn(&Measured) -> f64| median(of_kind.iter().map(value).collect());
        println!(
            "  {name:<34} {:>8.0} records/s; a record costs us {:>5.2} us of a core, the server {:>5.2} us",
            of(|run| run.records_a_second),
            of(|run| run.our_cpu_us),
            of(|run| run.server_cpu_us),
        );
    }
    let peak_kib = Process(std::process::id()).memory_peak_kib()?;
    println!("  peak memory of this program, batches included: {} MiB", peak_kib >> 10);
    Ok(())
}

fn measure(arguments: &Arguments, options: &str, runtime: Handle) -> Result<Measured> {
    let server = InfluxDb::start(Setup::default());
    server.ask("CREATE DATABASE logs");
    let text = format!(
        "[ship:bench]\ntype = influxdb\nurl = {}\ndatabase = logs\nbatch_points = {}\n{options}",
        server.url(),
        arguments.batch_points
    );
    let read = read_config(text.as_bytes(), "bench.conf".as_ref(), &Overrides::default());
    let Ok((config, _)) = read else { bail!("{read:?}") };
    let Some(Kind::InfluxDb(options)) = config.ship.first().map(|target| &target.kind) else {
        bail!("no target");
    };
    let surroundings = Surroundings::new(runtime, "0123456789abcdef", TimeZone::UTC);
    let mut target = InfluxDbTarget::new("bench", options, surroundings)?;
    target.connect()?;

    let limits = target.limits();
    let mut lines = Lines::new("my-app", "web");
    let mut sent = 0;
    let mut took = Duration::ZERO;
    let (mut our_ticks, server_before) = (0, cpu_ticks(server.pid()));
    while sent < arguments.records {
        // What reads files is not measured, and not kept.
        let text = text_of(sent..arguments.records, arguments.body_bytes, limits);
        let batch = lines.batch(text.as_bytes());
        let (before, start) = (cpu_ticks(std::process::id()), Instant::now());
        let refused = deliver(&mut target, &batch)?;
        took += start.elapsed();
        our_ticks += cpu_ticks(std::process::id()) - before;
        ensure!(refused.is_empty(), "refused: {refused:?}");
        sent += batch.records();
    }
    let server_ticks = cpu_ticks(server.pid()) - server_before;
    ensure!(server.count("logs", "my-app") == sent as u64, "records are missing");
    let us_a_record = |ticks: u64| ticks as f64 / TICKS_A_SECOND * 1e6 / sent as f64;
    Ok(Measured {
        records_a_second: sent as f64 / took.as_secs_f64(),
        our_cpu_us: us_a_record(our_ticks),
        server_cpu_us: us_a_record(server_ticks),
    })
}

/// Lines of these messages, as many as a batch has.
fn text_of(numbers: Range<usize>, body_bytes: usize, limits: Limits) -> String {
    let body = body(body_bytes);
    let mut text = String::new();
    for number in numbers.take(limits.records) {
        let level = if number % 50 == 0 { "ERROR" } else { "INFO" };
        let (second, micros) = (number / 100_000 % 60, number % 100_000 * 10);
        let minute = number / 6_000_000 % 60;
        // A String takes everything.
        let _ = writeln!(
            text,
            "2026-11-20 12:{minute:02}:{second:02}.{micros:06} - web01 - {level} - {number} {body}"
        );
        if text.len() >= limits.bytes {
            break;
        }
    }
    text
}
