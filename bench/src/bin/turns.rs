//! Measures how long appending pauses at a turn: how long a file has not grown
//! around each, seen from outside, at full speed.
//!
//! The same is measured without turns, where a file has grown by as much: a
//! writer at full speed pauses now and then in any case, because of the disk,
//! the senders and the scheduler. What a turn costs is the difference. On a
//! file system in memory (`TMPDIR=/dev/shm`) nothing waits for the disk.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use loghog_bench::{Scratch, frames, median, wait_until};

#[derive(Debug, Parser)]
struct Arguments {
    /// Turns of each window.
    #[arg(long, default_value_t = 60)]
    turns: u64,
    /// Windows of each kind, in turn.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Length at which the file turns, in MiB.
    #[arg(long, default_value_t = 4)]
    mebibytes: u64,
    /// Length of each message's body, in bytes.
    #[arg(long, default_value_t = 250)]
    body_bytes: usize,
    /// The facility's `flush_every`.
    #[arg(long, default_value_t = 1_000_000)]
    flush_every: u32,
}

/// How long a turn may keep lines waiting, in milliseconds.
const TURN_MS_MAX: f64 = 5.0;

/// Pauses between turns are noted from this length on, in milliseconds.
const LONG_MS: f64 = 1.0;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_micros(100);

/// What is compared: whether the file turns, and what segments become.
const KINDS: [(&str, bool, &str); 3] = [
    ("no turns", false, "gzip\nlevel = 1"),
    ("turns, gzip", true, "gzip\nlevel = 1"),
    ("turns, xz", true, "xz\nlevel = 6"),
];

/// Times without growth, in milliseconds.
#[derive(Default)]
struct Pauses {
    /// Around turns, or where the file reaches a multiple of their length.
    at_turns: Vec<f64>,
    /// Long ones between them.
    elsewhere: Vec<f64>,
    /// How long nobody looked, where that was long.
    blind: Vec<f64>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    println!(
        "{} times {} turns at {} MiB, bodies of {} bytes, flush_every = {}; pauses in ms",
        arguments.rounds,
        arguments.turns,
        arguments.mebibytes,
        arguments.body_bytes,
        arguments.flush_every
    );
    let mut all = KINDS.map(|_| Pauses::default());
    for round in 0..arguments.rounds as usize {
        for place in 0..KINDS.len() {
            let place = (place + round) % KINDS.len();
            window(&arguments, KINDS[place], &mut all[place])?;
        }
    }
    println!(
        "              places   median    90 %    99 %   worst  too long   elsewhere: worst  too long   \
         not looked: worst  too long"
    );
    for ((name, ..), pauses) in KINDS.iter().zip(&all) {
        println!(
            "{name:12} {:7} {:8.2} {:7.2} {:7.2} {:7.2} {:9} {:18.2} {:9} {:19.2} {:9}",
            pauses.at_turns.len(),
            median(pauses.at_turns.clone()),
            part(&pauses.at_turns, 0.9),
            part(&pauses.at_turns, 0.99),
            part(&pauses.at_turns, 1.0),
            too_long(&pauses.at_turns),
            part(&pauses.elsewhere, 1.0),
            too_long(&pauses.elsewhere),
            part(&pauses.blind, 1.0),
            too_long(&pauses.blind)
        );
    }
    let [without, with @ ..] = &all;
    for pauses in with {
        let costs = median(pauses.at_turns.clone()) - median(without.at_turns.clone());
        ensure!(costs < TURN_MS_MAX, "a turn costs {costs:.2} ms");
    }
    Ok(())
}

fn too_long(pauses: &[f64]) -> usize {
    pauses.iter().filter(|pause| **pause > TURN_MS_MAX).count()
}

/// The value that so large a part of them does not exceed.
fn part(values: &[f64], part: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * part).ceil() as usize;
    values.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

fn window(
    arguments: &Arguments,
    (_, turns, format): (&str, bool, &str),
    pauses: &mut Pauses,
) -> Result<()> {
    let turn_bytes = arguments.mebibytes << 20;
    let facilities = format!(
        "[plain]\nrotate = yearly\nbackup_count = 5\nflush_every = {}\nmax_size = {}\n",
        arguments.flush_every,
        if turns { turn_bytes } else { 0 }
    );
    let sections = format!("[compressor]\nformat = {format}\n");
    let daemon = Scratch::start_with(&facilities, &sections, |_| Ok(()))?;
    let (block, _) = frames("plain", None, arguments.body_bytes)?;
    let file = daemon.path("log/plain/root.log");
    let stop = AtomicBool::new(false);
    let mut sender = TcpStream::connect(&daemon.plain)?;
    sender.write_all(&block)?;
    wait_until(|| file.exists())?;
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                sender.write_all(&block)?;
            }
            std::io::Result::Ok(())
        });
        // One that turns is another file behind the turn.
        let step_bytes = if turns { u64::MAX } else { turn_bytes };
        look(&file, step_bytes, arguments.turns, pauses);
        stop.store(true, Ordering::Relaxed);
        match sending.join() {
            Ok(sent) => Ok(sent?),
            Err(_) => anyhow::bail!("the sender failed"),
        }
    })
}

/// Watches a file grow until it has turned, or grown by so many bytes, so often.
fn look(file: &Path, step_bytes: u64, turns: u64, pauses: &mut Pauses) {
    let (mut seen, mut grown_at, mut looked_at) = (None, Instant::now(), Instant::now());
    // The beginning is no turn.
    let mut left = turns + 1;
    while left > 0 {
        std::thread::sleep(LOOK_EVERY);
        let now = fs::metadata(file).ok().map(|data| (data.ino(), data.len()));
        let at = Instant::now();
        let blind = ms(at - looked_at);
        if blind > LONG_MS {
            pauses.blind.push(blind);
        }
        looked_at = at;
        // A file that has just been made has not grown yet.
        let Some(now) = now.filter(|now| Some(*now) != seen && now.1 > 0) else { continue };
        let pause = ms(at - grown_at);
        grown_at = at;
        let place = |(inode, bytes): (u64, u64)| (inode, bytes / step_bytes);
        if seen.map(place) == Some(place(now)) {
            if pause > LONG_MS {
                pauses.elsewhere.push(pause);
            }
        } else {
            if left <= turns {
                pauses.at_turns.push(pause);
            }
            left -= 1;
        }
        seen = Some(now);
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
