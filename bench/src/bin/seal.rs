//! Measures sealing beside `xz -6 -T2`, in turn, on the same log text.
//!
//! Ours is everything between a closed segment and a sealed one: compress,
//! sync, read back, compare length and checksum. xz only compresses. Both find
//! the text in the cache, each goes first as often as the other, and each runs
//! in a process of its own, whose peak memory is what the kernel says.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use loghog_bench::log_text::{self, Trade};
use loghog_bench::{Process, median};
use loghogd::config::checked::Format;
use loghogd::pipeline::seal::Compressor;

#[derive(Debug, Parser)]
struct Arguments {
    /// Length of the log text, in millions of bytes.
    #[arg(long, default_value_t = 500)]
    megabytes: u64,
    /// Another text of the same kind.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Visitors that are there at a time: the more, the harder the text is to press.
    #[arg(long, default_value_t = 300)]
    visitors: u64,
    /// Goods in the shop that the text tells of: the same.
    #[arg(long, default_value_t = 5000)]
    items: u64,
    /// Seal this file instead.
    #[arg(long)]
    text: Option<PathBuf>,
    /// Measurements of xz and ours, in pairs.
    #[arg(long, default_value_t = 3)]
    pairs: u32,
    /// From 0 to 9, for ours.
    #[arg(long, default_value_t = 6)]
    level: u32,
    /// Threads, for ours; as many as cores if not said.
    #[arg(long)]
    threads: Option<usize>,
    /// Only xz, not the other formats.
    #[arg(long)]
    only_xz: bool,
    /// Only write the text to this file, for a look at it with other tools.
    #[arg(long)]
    write_text: Option<PathBuf>,
    /// Be the process that seals: a plain file, and a format's ending.
    #[arg(long, num_args = 2, hide = true)]
    engine: Option<Vec<String>>,
}

/// Longest time of ours for each of xz, with reading back.
const TIME_RATIO_MAX: f64 = 1.05;
/// Longest file of ours for each byte of xz's.
const SIZE_RATIO_MAX: f64 = 1.03;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some([plain, ending]) = arguments.engine.as_deref() {
        return seal(Path::new(plain), format(ending)?, &arguments);
    }
    if let Some(path) = &arguments.write_text {
        return write_text(path, &arguments);
    }
    let folder = tempfile::tempdir()?;
    let plain = match &arguments.text {
        Some(text) => fs::canonicalize(text)?,
        None => {
            let plain = folder.path().join("segment");
            write_text(&plain, &arguments)?;
            plain
        }
    };
    let plain_bytes = fs::metadata(&plain)?.len();
    println!("{plain_bytes} bytes of log text, level {}", arguments.level);
    println!("              seconds    MB/s   CPU seconds        bytes   ratio   peak memory MiB");
    let (mut times, mut cpus, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..arguments.pairs {
        let xz = || {
            run(
                Command::new("xz").args(["-6", "-T2", "-k", "-c"]).arg(&plain),
                &folder.path().join("theirs"),
            )
        };
        let ours = || engine(&arguments, &plain, "xz", folder.path());
        let (theirs, ours) = if pair % 2 == 0 {
            let theirs = xz()?;
            (theirs, ours()?)
        } else {
            let ours = ours()?;
            (xz()?, ours)
        };
        theirs.print("xz -6 -T2", plain_bytes);
        ours.print("ours, xz", plain_bytes);
        times.push(ours.seconds / theirs.seconds);
        cpus.push(ours.used.cpu.as_secs_f64() / theirs.used.cpu.as_secs_f64());
        sizes.push(ours.bytes as f64 / theirs.bytes as f64);
    }
    let (time, size) = (median(times), median(sizes));
    println!(
        "pair by pair, medians: {time:.2} of the time, {:.2} of the CPU, {size:.3} of the size",
        median(cpus)
    );
    if !arguments.only_xz {
        for ending in ["gz", "bz2", "zst"] {
            engine(&arguments, &plain, ending, folder.path())?
                .print(&format!("ours, {ending}"), plain_bytes);
        }
    }
    ensure!(time <= TIME_RATIO_MAX, "sealing took more than {TIME_RATIO_MAX} of the time of xz");
    ensure!(size <= SIZE_RATIO_MAX, "what is sealed is more than {SIZE_RATIO_MAX} of xz's");
    Ok(())
}

fn write_text(path: &Path, arguments: &Arguments) -> Result<()> {
    let trade = Trade { visitors: arguments.visitors, items: arguments.items };
    let mut out = BufWriter::new(File::create(path)?);
    log_text::write(trade, arguments.seed, arguments.megabytes * 1_000_000, &mut out)?;
    Ok(out.into_inner()?.sync_all()?)
}

/// What the daemon does with a closed segment, but for the names.
fn seal(plain: &Path, format: Format, arguments: &Arguments) -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let threads = arguments.threads.unwrap_or(cores);
    let mut compressor = Compressor::with_threads(format, arguments.level, threads, || {});
    let mut out = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(std::env::var_os("LOGHOG_BENCH_OUT").context("LOGHOG_BENCH_OUT is not set")?)?;
    let summary = compressor.compress(&mut File::open(plain)?, &mut out, &|| true)?;
    out.sync_data()?;
    let read_back = compressor.verify(&out, format, &|| true)?;
    ensure!(read_back == summary.plain, "what was read back is something else");
    Ok(())
}

struct Figures {
    seconds: f64,
    bytes: u64,
    used: Used,
}

/// What a process has used.
#[derive(Default)]
struct Used {
    cpu: Duration,
    memory_kib: u64,
}

impl Figures {
    fn print(&self, name: &str, plain_bytes: u64) {
        println!(
            "{name:12} {:8.1} {:7.1} {:13.1} {:12} {:7.2} {:17.1}",
            self.seconds,
            plain_bytes as f64 / 1e6 / self.seconds,
            self.used.cpu.as_secs_f64(),
            self.bytes,
            plain_bytes as f64 / self.bytes as f64,
            self.used.memory_kib as f64 / 1024.0
        );
    }
}

fn engine(arguments: &Arguments, plain: &Path, ending: &str, folder: &Path) -> Result<Figures> {
    let out = folder.join(format!("ours.{ending}"));
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--level").arg(arguments.level.to_string());
    if let Some(threads) = arguments.threads {
        command.arg("--threads").arg(threads.to_string());
    }
    command.arg("--engine").arg(plain).arg(ending).env("LOGHOG_BENCH_OUT", &out);
    let begun = Instant::now();
    let used = watch(command.spawn()?)?;
    figures(begun, used, &out)
}

/// Runs a program that writes to its standard output.
fn run(command: &mut Command, out: &Path) -> Result<Figures> {
    let begun = Instant::now();
    let child = command.stdout(Stdio::from(File::create(out)?)).spawn()?;
    let used = watch(child)?;
    figures(begun, used, out)
}

fn figures(begun: Instant, used: Used, out: &Path) -> Result<Figures> {
    let seconds = begun.elapsed().as_secs_f64();
    let bytes = fs::metadata(out)?.len();
    fs::remove_file(out)?;
    Ok(Figures { seconds, bytes, used })
}

/// Waits for a process.
fn watch(mut child: Child) -> Result<Used> {
    let process = Process(child.id());
    let mut used = Used::default();
    loop {
        if let Some(ended) = child.try_wait()? {
            ensure!(ended.success(), "a program that compresses failed: {ended}");
            return Ok(used);
        }
        // At its very end a process says nothing any more.
        used.memory_kib = process.memory_peak_kib().unwrap_or(used.memory_kib);
        used.cpu = process.cpu().unwrap_or(used.cpu);
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn format(ending: &str) -> Result<Format> {
    Ok(match ending {
        "xz" => Format::Xz,
        "gz" => Format::Gzip,
        "bz2" => Format::Bzip2,
        "zst" => Format::Zstd,
        _ => bail!("no format ends in .{ending}"),
    })
}
