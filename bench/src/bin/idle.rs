//! Measures what sealing takes from a sender at full speed: messages a second
//! into one file, while a large segment of another facility is being sealed
//! and while none is, in pairs.
//!
//! Each window has a daemon of its own. In every second one a plain segment
//! lies there when it starts, large enough to be under way until the end.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use loghog_bench::log_text::{self, Trade};
use loghog_bench::{Scratch, frames, median, wait_until};

#[derive(Debug, Parser)]
struct Arguments {
    /// Windows with and without sealing, in pairs.
    #[arg(long, default_value_t = 7)]
    pairs: u32,
    /// How long each takes.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Length of each message's body, in bytes.
    #[arg(long, default_value_t = 250)]
    body_bytes: usize,
    /// Length of the segment that is sealed, in millions of bytes.
    #[arg(long, default_value_t = 120)]
    megabytes: u64,
    /// What it becomes: xz, gzip, bzip2 or zstd.
    #[arg(long, default_value = "xz")]
    format: String,
    /// From 0 to 9.
    #[arg(long, default_value_t = 6)]
    level: u32,
}

/// Least messages while sealing, for each without.
const SPEED_RATIO_MIN: f64 = 0.9;

const FACILITIES: &str = "[plain]\nrotate = yearly\nbackup_count = 1\nflush_every = 1000000\n\
                          [other]\nrotate = yearly\nbackup_count = 9\n";
const SEGMENT: &str = "other/root.log.2026-01-01-00-00-00-000000";

struct Window {
    messages_a_second: f64,
    cpu: Duration,
    sealed_bytes: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let segment = folder.path().join("segment");
    let mut out = BufWriter::new(File::create(&segment)?);
    let trade = Trade { visitors: 300, items: 5000 };
    log_text::write(trade, 1, arguments.megabytes * 1_000_000, &mut out)?;
    out.into_inner()?.sync_all()?;
    println!(
        "{} s at full speed, bodies of {} bytes; sealing to {} at level {}",
        arguments.seconds, arguments.body_bytes, arguments.format, arguments.level
    );
    println!("            messages/s   daemon CPU s   sealed KiB");
    let mut ratios = Vec::new();
    for pair in 0..arguments.pairs {
        let (without, with) = if pair % 2 == 0 {
            let without = window(&arguments, None)?;
            (without, window(&arguments, Some(&segment))?)
        } else {
            let with = window(&arguments, Some(&segment))?;
            (window(&arguments, None)?, with)
        };
        for (name, window) in [("alone", &without), ("sealing", &with)] {
            println!(
                "{name:9} {:12.0} {:14.2} {:12}",
                window.messages_a_second,
                window.cpu.as_secs_f64(),
                window.sealed_bytes >> 10
            );
        }
        ratios.push(with.messages_a_second / without.messages_a_second);
    }
    let worst = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let ratio = median(ratios);
    println!("pair by pair: {ratio:.3} of the speed while sealing (median), {worst:.3} at worst");
    ensure!(ratio >= SPEED_RATIO_MIN, "less than {SPEED_RATIO_MIN} of the speed is left");
    Ok(())
}

fn window(arguments: &Arguments, segment: Option<&Path>) -> Result<Window> {
    let sections =
        format!("[compressor]\nformat = {}\nlevel = {}\n", arguments.format, arguments.level);
    let daemon = Scratch::start_with(FACILITIES, &sections, |log| {
        let Some(segment) = segment else { return Ok(()) };
        let other = log.join(SEGMENT);
        fs::create_dir_all(other.parent().unwrap_or(log))?;
        fs::copy(segment, &other)?;
        // Or the sender would wait for the disk to take it.
        Ok(File::open(&other)?.sync_all()?)
    })?;
    if segment.is_some() {
        wait_until(|| sealed_bytes(&daemon) > Some(0))?;
    }
    let (block, lines) = frames("plain", None, arguments.body_bytes)?;
    let file = daemon.path("log/plain/root.log");
    let mut sender = TcpStream::connect(&daemon.plain)?;
    sender.write_all(&block)?;
    let whole = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count() == lines;
    wait_until(|| fs::read(&file).is_ok_and(|bytes| whole(&bytes)))?;
    let block_bytes = fs::metadata(&file)?.len();
    let (cpu_before, begun) = (daemon.process().cpu()?, Instant::now());
    let mut blocks = 0;
    while begun.elapsed().as_secs_f64() < arguments.seconds {
        sender.write_all(&block)?;
        blocks += 1;
    }
    let expected = block_bytes * (blocks + 1);
    wait_until(|| fs::metadata(&file).is_ok_and(|data| data.len() >= expected))?;
    let messages_a_second = (blocks * lines as u64) as f64 / begun.elapsed().as_secs_f64();
    let sealed_bytes = sealed_bytes(&daemon);
    ensure!(
        sealed_bytes.is_some() == segment.is_some(),
        "the segment was sealed before the window ended: make it longer with --megabytes"
    );
    let cpu = daemon.process().cpu()? - cpu_before;
    Ok(Window { messages_a_second, cpu, sealed_bytes: sealed_bytes.unwrap_or(0) })
}

/// How much there is of the seal that is under way.
fn sealed_bytes(daemon: &Scratch) -> Option<u64> {
    let folder = fs::read_dir(daemon.path("log/other")).ok()?;
    let part =
        folder.flatten().find(|entry| entry.file_name().as_encoded_bytes().ends_with(b".part"))?;
    Some(part.metadata().ok()?.len())
}
