//! Measures loghogd beside rsyslog, in turn: messages a second from one TCP
//! connection into one file, and the processor time of a message.
//!
//! Both get bodies of the same length, prepared before the clock starts, write
//! a line of about the same length for each, and hand it to the kernel without
//! syncing. rsyslog runs with its defaults and a larger write buffer (256 KiB).

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use loghog_bench::{Process, Scratch, body, frames, median, send_blocks, wait_until};
use tempfile::TempDir;

#[derive(Debug, Parser)]
struct Arguments {
    /// Messages to send each time.
    #[arg(long, default_value_t = 2_000_000)]
    messages: usize,
    /// Length of each message's body, in bytes.
    #[arg(long, default_value_t = 250)]
    body_bytes: usize,
    /// Pairs of measurements.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
}

struct Figures {
    messages_a_second: f64,
    cpu_us: f64,
    memory_mib: f64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    println!(
        "{} messages of {} bytes, one connection, one file",
        arguments.messages, arguments.body_bytes
    );
    println!("           messages/s   CPU us/message   peak memory MiB");
    let (mut faster, mut cheaper) = (Vec::new(), Vec::new());
    for _ in 0..arguments.pairs {
        let ours = loghogd(&arguments)?;
        let theirs = rsyslog(&arguments)?;
        for (name, figures) in [("loghogd", &ours), ("rsyslogd", &theirs)] {
            println!(
                "{name:9} {:11.0}   {:14.2}   {:15.1}",
                figures.messages_a_second, figures.cpu_us, figures.memory_mib
            );
        }
        faster.push(ours.messages_a_second / theirs.messages_a_second);
        cheaper.push(ours.cpu_us / theirs.cpu_us);
    }
    println!(
        "pair by pair, medians: {:.1} times the messages, {:.2} of the CPU",
        median(faster),
        median(cheaper)
    );
    Ok(())
}

fn loghogd(arguments: &Arguments) -> Result<Figures> {
    let daemon = Scratch::start(1_000_000)?;
    let (block, lines) = frames("plain", None, arguments.body_bytes)?;
    let file = daemon.path("log/plain/root.log");
    measure(&daemon.plain, &block, lines, arguments.messages, &file, daemon.process())
}

fn rsyslog(arguments: &Arguments) -> Result<Figures> {
    let folder = TempDir::new()?;
    let path = folder.path().display();
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let conf = folder.path().join("rsyslog.conf");
    fs::write(
        &conf,
        format!(
            "global(workDirectory=\"{path}\")\n\
             module(load=\"imtcp\")\n\
             template(name=\"line\" type=\"string\" \
             string=\"%timegenerated:::date-rfc3339% - %hostname% - %msg%\\n\")\n\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")\n\
             action(type=\"omfile\" file=\"{path}/out.log\" template=\"line\" \
             ioBufferSize=\"256k\")\n"
        ),
    )?;
    let child = Command::new("rsyslogd")
        .arg("-n")
        .arg("-f")
        .arg(&conf)
        .arg("-i")
        .arg(folder.path().join("pid"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("rsyslogd is not installed: apt-get install rsyslog")?;
    let running = Running(child);
    let address = format!("127.0.0.1:{port}");
    wait_until(|| TcpStream::connect(&address).is_ok())?;
    let line =
        format!("<14>Nov 20 12:00:00 web01.example.com web: {}\n", body(arguments.body_bytes));
    let lines = (1 << 20) / line.len() + 1;
    let block = line.repeat(lines).into_bytes();
    let file = folder.path().join("out.log");
    measure(&address, &block, lines, arguments.messages, &file, Process(running.0.id()))
}

fn measure(
    address: &str,
    block: &[u8],
    lines: usize,
    messages: usize,
    file: &std::path::Path,
    process: Process,
) -> Result<Figures> {
    let blocks = messages.div_ceil(lines);
    let mut sender = TcpStream::connect(address)?;
    let mut cpu_before = Duration::ZERO;
    let mut used = || {
        cpu_before = process.cpu()?;
        Ok(())
    };
    let (_, taken) = send_blocks(&mut sender, block, lines, blocks, file, &mut used)?;
    let messages = (blocks * lines) as f64;
    Ok(Figures {
        messages_a_second: messages / taken.as_secs_f64(),
        cpu_us: (process.cpu()? - cpu_before).as_secs_f64() * 1e6 / messages,
        memory_mib: process.memory_peak_kib()? as f64 / 1024.0,
    })
}

/// Ends the process that was started here.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
