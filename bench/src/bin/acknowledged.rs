//! Measures the second protocol: messages a second from one connection into one
//! file, until the last of them is acknowledged, which is after the sync; and
//! the first protocol beside it in the same run, in pairs. Frames are made
//! before the clock starts. In turn with them, the limit of the machine: the
//! same lines appended to a file and synced, by a program that does nothing
//! else. Then how long a single message takes, sent alone.
//! v1's clock stops when the last line is in the file, synced or not: it has
//! no way to ask for more.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use clap::Parser;
use loghog_bench::session::{self, Link, Listener, Sender};
use loghog_bench::{HOST, SECRET, Scratch, bodies, frames_of, median, send_blocks};
use rustls::StreamOwned;
use tempfile::TempDir;
use wire::signature::Key;
use wire::v2::compress::Compression;

#[derive(Debug, Parser)]
struct Arguments {
    /// Messages to send.
    #[arg(long, default_value_t = 2_000_000)]
    messages: usize,
    /// Length of each message's body, in bytes.
    #[arg(long, default_value_t = 250)]
    body_bytes: usize,
    /// Records in a batch.
    #[arg(long, default_value_t = 1000)]
    records: usize,
    /// The facility's `flush_every`.
    #[arg(long, default_value_t = 1)]
    flush_every: u32,
    /// Pairs of v1 and v2 that are measured of each way.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Messages that are sent alone; 0 leaves that out.
    #[arg(long, default_value_t = 2000)]
    alone: usize,
    /// Only v2.
    #[arg(long)]
    only_v2: bool,
    /// Ways to measure: plain, secret, zlib, zstd, tls.
    #[arg(default_values = ["plain", "secret", "zlib", "zstd", "tls"])]
    ways: Vec<Way>,
}

/// How messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Way {
    Plain,
    Secret,
    Zlib,
    Zstd,
    Tls,
}

/// What one measurement has shown.
struct Figures {
    messages: usize,
    taken: Duration,
    cpu: Duration,
    memory_kib: u64,
    wire_bytes: u64,
}

/// Different bodies; both protocols send them again and again.
const BODIES: usize = 4000;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    println!(
        "{} messages of {} bytes, {} a batch, flush_every = {}, one connection, one file",
        arguments.messages, arguments.body_bytes, arguments.records, arguments.flush_every
    );
    println!(
        "way     protocol   messages/s   daemon CPU us/message   peak memory MiB   wire bytes/message"
    );
    let texts = bodies(BODIES, arguments.body_bytes);
    for way in &arguments.ways {
        let (mut ratios, mut shares) = (Vec::new(), Vec::new());
        for _ in 0..arguments.rounds {
            let limit = bare(&arguments, &texts)?;
            println!("{:7} {:8}   {limit:10.0}", name(*way), "bare");
            let v1 = (!arguments.only_v2).then(|| first(*way, &arguments, &texts)).transpose()?;
            let v2 = second(*way, &arguments, &texts)?;
            if let Some(v1) = v1 {
                v1.print(*way, "v1");
                ratios.push(v2.messages_a_second() / v1.messages_a_second());
            }
            v2.print(*way, "v2");
            shares.push(v2.messages_a_second() / limit);
        }
        println!("{:7} v2/bare, median of the rounds: {:.2}", name(*way), median(shares));
        if !ratios.is_empty() {
            println!("{:7} v2/v1, median of the pairs: {:.2}", name(*way), median(ratios));
        }
    }
    if arguments.alone > 0 {
        alone(&arguments, &texts)?;
    }
    Ok(())
}

impl Figures {
    fn messages_a_second(&self) -> f64 {
        self.messages as f64 / self.taken.as_secs_f64()
    }

    fn print(&self, way: Way, protocol: &str) {
        println!(
            "{:7} {protocol:8}   {:10.0}   {:21.2}   {:15.1}   {:18.1}",
            name(way),
            self.messages_a_second(),
            self.cpu.as_secs_f64() * 1e6 / self.messages as f64,
            self.memory_kib as f64 / 1024.0,
            self.wire_bytes as f64 / self.messages as f64,
        );
    }
}

fn name(way: Way) -> String {
    format!("{way:?}").to_lowercase()
}

fn app(way: Way) -> &'static str {
    if way == Way::Secret { "signed" } else { "plain" }
}

/// v1, whose messages are not compressed in any way.
fn first(way: Way, arguments: &Arguments, texts: &[String]) -> Result<Figures> {
    let daemon = Scratch::start(arguments.flush_every)?;
    let mut sender: Box<dyn Write> = match way {
        Way::Tls => Box::new(StreamOwned::new(daemon.tls()?, TcpStream::connect(&daemon.tls)?)),
        _ => Box::new(TcpStream::connect(&daemon.plain)?),
    };
    let key = (way == Way::Secret).then(|| Key::new(SECRET.as_bytes()));
    let block = frames_of(app(way), key.as_ref(), texts)?;
    let blocks = arguments.messages.div_ceil(texts.len());
    let file = daemon.path("log").join(app(way)).join("root.log");
    let mut cpu_before = Duration::ZERO;
    let mut used = || {
        cpu_before = daemon.process().cpu()?;
        Ok(())
    };
    let (_, taken) = send_blocks(&mut sender, &block, texts.len(), blocks, &file, &mut used)?;
    Ok(Figures {
        messages: blocks * texts.len(),
        taken,
        cpu: daemon.process().cpu()? - cpu_before,
        memory_kib: daemon.process().memory_peak_kib()?,
        wire_bytes: (block.len() * blocks) as u64,
    })
}

/// v2.
fn second(way: Way, arguments: &Arguments, texts: &[String]) -> Result<Figures> {
    let daemon = Scratch::start(arguments.flush_every)?;
    let (mut sender, mut listener) = begin(way, &daemon)?;
    let compression = match way {
        Way::Zlib => Compression::Zlib,
        Way::Zstd => Compression::Zstd,
        _ => Compression::None,
    };
    // One batch first: the file is made.
    let (first, number) =
        sender.frames(texts.iter().take(arguments.records), arguments.records, compression)?;
    first.iter().try_for_each(|frame| sender.link.send(frame))?;
    listener.wait_for(number)?;
    let sent = texts.iter().cycle().take(arguments.messages);
    let (frames, number) = sender.frames(sent, arguments.records, compression)?;
    let (wire_before, cpu_before) = (sender.link.sent_bytes, daemon.process().cpu()?);
    let heard = std::thread::spawn(move || listener.wait_for(number).map(|()| Instant::now()));
    let started = Instant::now();
    let sent = frames.iter().try_for_each(|frame| sender.link.send(frame));
    // What the daemon said tells more than that it has gone.
    let heard = heard.join().map_err(|_| anyhow!("the listener has failed"))??;
    sent?;
    Ok(Figures {
        messages: arguments.messages,
        taken: heard - started,
        cpu: daemon.process().cpu()? - cpu_before,
        memory_kib: daemon.process().memory_peak_kib()?,
        wire_bytes: sender.link.sent_bytes - wire_before,
    })
}

/// What the machine can do: lines as the daemon writes them, appended and
/// synced in pieces as large as its rounds can be. Messages a second.
fn bare(arguments: &Arguments, texts: &[String]) -> Result<f64> {
    const PIECE_BYTES: usize = 6 << 20;
    let folder = TempDir::new()?;
    let line = |text| format!("2026-11-20 12:00:00.123456 - {HOST} - {text}\n").into_bytes();
    let lines: Vec<Vec<u8>> = texts.iter().map(line).collect();
    let (mut piece, mut messages) = (Vec::with_capacity(PIECE_BYTES), 0);
    for line in lines.iter().cycle() {
        if piece.len() + line.len() > PIECE_BYTES {
            break;
        }
        piece.extend_from_slice(line);
        messages += 1;
    }
    let pieces = arguments.messages.div_ceil(messages);
    let path = folder.path().join("bare.log");
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let started = Instant::now();
    for _ in 0..pieces {
        file.write_all(&piece)?;
        file.sync_data()?;
    }
    Ok((pieces * messages) as f64 / started.elapsed().as_secs_f64())
}

fn begin(way: Way, daemon: &Scratch) -> Result<(Sender, Listener)> {
    let link = match way {
        Way::Tls => Link::connect(&daemon.tls, Some(daemon.tls()?))?,
        _ => Link::connect(&daemon.plain, None)?,
    };
    session::begin(link, app(way), (way == Way::Secret).then_some(SECRET))
}

/// How long it takes until a message that is sent alone is acknowledged; and
/// the same bytes appended and synced without a daemon, twice as it does.
fn alone(arguments: &Arguments, texts: &[String]) -> Result<()> {
    let daemon = Scratch::start(1)?;
    let (mut sender, mut listener) = begin(Way::Plain, &daemon)?;
    let mut times = Vec::new();
    for text in texts.iter().cycle().take(arguments.alone) {
        let (frames, number) = sender.frames(std::iter::once(text), 1, Compression::None)?;
        let started = Instant::now();
        frames.iter().try_for_each(|frame| sender.link.send(frame))?;
        listener.wait_for(number)?;
        times.push(started.elapsed());
    }
    print_times("one message, sent until acknowledged", times)?;
    let append = |name| OpenOptions::new().create(true).append(true).open(daemon.path(name));
    let (mut one, mut two) = (append("one")?, append("two")?);
    let mut times = Vec::new();
    for text in texts.iter().cycle().take(arguments.alone) {
        let started = Instant::now();
        for file in [&mut one, &mut two] {
            file.write_all(text.as_bytes())?;
            file.sync_data()?;
        }
        times.push(started.elapsed());
    }
    print_times("two files appended to and synced, bare", times)
}

fn print_times(what: &str, mut times: Vec<Duration>) -> Result<()> {
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied();
    let (Some(middle), Some(late)) = (at(50), at(99)) else { bail!("nothing was measured") };
    println!(
        "{what}: median {:.0} us, 99th percentile {:.0} us, of {}",
        middle.as_secs_f64() * 1e6,
        late.as_secs_f64() * 1e6,
        times.len()
    );
    Ok(())
}
