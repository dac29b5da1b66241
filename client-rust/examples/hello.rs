//! Logs a number of messages to a LogHog server, then says what became of them.
//!
//! ```text
//! hello [--app APP] [--address HOST:PORT] [--transport tcp|udp|tls]
//!       [--secret SECRET] [--compression] [--hostname NAME]
//!       [--pemfile FILE --cacert FILE [--server-name NAME]]
//!       [--protocol 1|2|auto] [--spool DIR] [--zstd]
//!       [--count N] [--message TEXT]
//! ```
//!
//! The exit code is 0 when every message was handed to the kernel, or with
//! protocol 2 acknowledged.

use std::process::ExitCode;
use std::time::Duration;

use loghog::{Compression, Protocol, Tls, Transport};

struct Arguments {
    app: String,
    address: String,
    transport: String,
    secret: String,
    compression: Compression,
    protocol: Protocol,
    spool: Option<String>,
    hostname: String,
    pemfile: String,
    cacert: String,
    server_name: Option<String>,
    count: u64,
    message: String,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("hello: {error}");
            ExitCode::from(64)
        }
    }
}

fn run() -> Result<bool, Box<dyn std::error::Error>> {
    let arguments = parse(std::env::args().skip(1))?;
    let transport = match arguments.transport.as_str() {
        "tcp" => Transport::Tcp,
        "udp" => Transport::Udp,
        "tls" => {
            let tls = Tls::new(&arguments.pemfile, &arguments.cacert);
            Transport::Tls(match &arguments.server_name {
                Some(name) => tls.server_name(name),
                None => tls,
            })
        }
        other => return Err(format!("no such transport: {other}; tcp, udp or tls").into()),
    };
    let builder = match &arguments.spool {
        Some(dir) => loghog::builder(&arguments.app).spool(dir),
        None => loghog::builder(&arguments.app),
    };
    let guard = builder
        .protocol(arguments.protocol)
        .address(&arguments.address)
        .transport(transport)
        .secret(&arguments.secret)
        .compression(arguments.compression)
        .hostname(&arguments.hostname)
        .install()?;

    for number in 1..=arguments.count {
        log::info!("{} {number}", arguments.message);
    }

    let all = guard.client().flush(Duration::from_secs(5));
    guard.client().take_failures().iter().for_each(|failure| eprintln!("hello: {failure}"));
    println!("{:?}", guard.client().stats());
    Ok(all)
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        app: "hello".into(),
        address: "localhost".into(),
        transport: "tcp".into(),
        secret: String::new(),
        compression: Compression::None,
        protocol: Protocol::V1,
        spool: None,
        hostname: String::new(),
        pemfile: String::new(),
        cacert: String::new(),
        server_name: None,
        count: 1,
        message: "hello from Rust".into(),
    };
    while let Some(word) = words.next() {
        if word == "--compression" {
            arguments.compression = Compression::Zlib;
            continue;
        }
        if word == "--zstd" {
            arguments.compression = Compression::Zstd;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--app" => arguments.app = value,
            "--address" => arguments.address = value,
            "--transport" => arguments.transport = value,
            "--secret" => arguments.secret = value,
            "--hostname" => arguments.hostname = value,
            "--pemfile" => arguments.pemfile = value,
            "--cacert" => arguments.cacert = value,
            "--server-name" => arguments.server_name = Some(value),
            "--protocol" => {
                arguments.protocol = match value.as_str() {
                    "1" => Protocol::V1,
                    "2" => Protocol::V2,
                    "auto" => Protocol::Auto,
                    _ => return Err("--protocol needs 1, 2 or auto".into()),
                }
            }
            "--spool" => arguments.spool = Some(value),
            "--count" => arguments.count = value.parse().map_err(|_| "--count needs a number")?,
            "--message" => arguments.message = value,
            _ => return Err(format!("no such option: {word}")),
        }
    }
    Ok(arguments)
}
