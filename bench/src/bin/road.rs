//! Measures the road: messages a second from one connection into one file.
//! The frames are made before the clock starts, so that the sender is not
//! what is measured; the clock stops when the last line is in the file.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Parser;
use loghog_bench::{SECRET, Scratch, frames, send_blocks};
use rustls::StreamOwned;
use wire::signature::Key;

#[derive(Debug, Parser)]
struct Arguments {
    /// Messages to send.
    #[arg(long, default_value_t = 2_000_000)]
    messages: usize,
    /// Length of each message's body, in bytes.
    #[arg(long, default_value_t = 250)]
    body_bytes: usize,
    /// The facility's `flush_every`.
    #[arg(long, default_value_t = 1)]
    flush_every: u32,
    /// Times each way is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Ways to measure: plain, signed, tls.
    #[arg(default_values = ["plain", "signed", "tls"])]
    ways: Vec<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    println!(
        "{} messages of {} bytes, flush_every = {}, one connection, one file",
        arguments.messages, arguments.body_bytes, arguments.flush_every
    );
    println!("way       messages/s   daemon CPU us/message   sender s   peak memory MiB");
    for way in &arguments.ways {
        for _ in 0..arguments.rounds {
            measure(way, &arguments)?;
        }
    }
    Ok(())
}

fn measure(way: &str, arguments: &Arguments) -> Result<()> {
    let app = if way == "signed" { "signed" } else { "plain" };
    let key = (way == "signed").then(|| Key::new(SECRET.as_bytes()));
    let (block, lines) = frames(app, key.as_ref(), arguments.body_bytes)?;
    let blocks = arguments.messages.div_ceil(lines);
    let daemon = Scratch::start(arguments.flush_every)?;
    let mut sender = connect(way, &daemon)?;
    let file = daemon.path("log").join(app).join("root.log");
    let mut cpu_before = Duration::ZERO;
    let mut used = || {
        cpu_before = daemon.process().cpu()?;
        Ok(())
    };
    let (sent, taken) = send_blocks(&mut sender, &block, lines, blocks, &file, &mut used)?;
    let cpu = daemon.process().cpu()? - cpu_before;
    let messages = (blocks * lines) as f64;
    println!(
        "{way:9} {:10.0}   {:21.2}   {:8.2}   {:15.1}",
        messages / taken.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / messages,
        sent.as_secs_f64(),
        daemon.process().memory_peak_kib()? as f64 / 1024.0
    );
    Ok(())
}

fn connect(way: &str, daemon: &Scratch) -> Result<Box<dyn Write>> {
    if way != "tls" {
        let address =
            if way == "plain" || way == "signed" { &daemon.plain } else { bail!("no way {way}") };
        return Ok(Box::new(TcpStream::connect(address)?));
    }
    Ok(Box::new(StreamOwned::new(daemon.tls()?, TcpStream::connect(&daemon.tls)?)))
}
