//! How fast the target Kafka delivers to a real broker.
//! Prepared batches of lines -> records a second, and a second of our own processor time.
//! Invariant: the clock stops when the last transaction is committed.
//! Leaves out: reading files.
//!
//! Needs `tools/kafka`. The broker runs on the same machine and takes what it takes.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Parser;
use loghog_tests::batches::{Source, deliver};
use loghog_tests::process;
use loghog_tests::services::kafka::Choices;
use loghogd::config::ship::Kind;
use loghogd::config::{Overrides, read_config};
use loghogd::pipeline::ship::kafka::KafkaTarget;
use loghogd::pipeline::ship::{Batch, Mark, Records, Surroundings};

/// Bytes of a body.
const BODY_BYTES: usize = 250;

/// How long it is measured.
#[derive(Parser)]
struct Arguments {
    /// Records of each way.
    #[arg(long, default_value_t = 3_000_000)]
    records: usize,
}

fn main() -> anyhow::Result<()> {
    let Arguments { records } = Arguments::parse();
    let broker = Choices::new().option("num.partitions", "1").fast().start();
    let runtime = tokio::runtime::Runtime::new()?;
    println!("{BODY_BYTES} bytes a body, transactions of at most 6 MiB, one partition");
    for (name, options) in [
        ("json lz4", ""),
        ("json zstd", "compression = zstd"),
        ("json none", "compression = none"),
        ("raw lz4", "value = raw"),
        ("json lz4, no transactions", "transactional = no"),
    ] {
        let text = format!("[ship:k]\ntype = kafka\nbrokers = {}\n{options}\n", broker.address());
        let path = Path::new("/etc/loghogd/loghogd.conf");
        let read = read_config(text.as_bytes(), path, &Overrides::default());
        let (config, _) = read.map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        let Some(Kind::Kafka(options)) = config.ship.into_iter().next().map(|target| target.kind)
        else {
            bail!("no target");
        };
        let zone = jiff::tz::TimeZone::UTC;
        let surroundings = Surroundings::new(runtime.handle().clone(), "00000000000000be", zone);
        let mut target = KafkaTarget::new("k", &options, surroundings)?;
        target.connect()?;
        target.marks()?;
        let batch = prepared(target.limits().records, target.limits().bytes);
        // The topic is made, and connections are.
        deliver(&mut target, &batch)?;
        let times = records.div_ceil(batch.records());
        let (began, ticks) = (Instant::now(), process::cpu_ticks(std::process::id()));
        let mut longest = Duration::ZERO;
        for _ in 0..times {
            let began = Instant::now();
            deliver(&mut target, &batch)?;
            longest = longest.max(began.elapsed());
        }
        let seconds = began.elapsed().as_secs_f64();
        let used = (process::cpu_ticks(std::process::id()) - ticks) as f64 / 100.0;
        let count = (times * batch.records()) as f64;
        println!(
            "{name:26} {:>9.0} records/s, {:>9.0} a second of our processor time; {} a transaction, \
             longest {:.0} ms; memory {} MiB at most",
            count / seconds,
            count / used,
            batch.records(),
            longest.as_secs_f64() * 1e3,
            process::rss_bytes_peak(std::process::id()) >> 20,
        );
    }
    Ok(())
}

/// One batch as large as may be.
fn prepared(records: usize, bytes: usize) -> Batch {
    let mut source = Source::new("bench");
    let filling = "the quick brown fox jumps over the lazy dog and away ".repeat(5);
    for number in 0..records.min(bytes / (BODY_BYTES + 60)) {
        let body = format!("INFO request {number} took {} ms: {filling}", number * 7919 % 1000);
        source.log("web01", &body[..BODY_BYTES.min(body.len())]);
    }
    Batch { parts: vec![source.part(Mark::default(), records)] }
}
