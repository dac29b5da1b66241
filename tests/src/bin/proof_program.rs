//! A program that logs numbered messages through the crate `loghog`, and keeps a diary.
//! A plan (JSON, see `loghog_tests::proof::program`) -> messages, and lines of the diary.
//! Invariant: a line of the diary is written before what follows from it.
//! Leaves out: its own end, which the end of its standard input asks for.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use log::{Level, Log, RecordBuilder};
use loghog::{Compression, Logger, Protocol, Stats, Tls, Transport};
use loghog_tests::proof::message;
use loghog_tests::random::Random;
use serde_json::Value;

/// As many messages may be unacknowledged; then a program that waits, waits.
const OPEN_MAX: u64 = 40_000;

struct Program {
    name: String,
    run: u32,
    loggers: Vec<String>,
    waits: bool,
    logger: Logger,
    diary: File,
    number: u64,
    random: Random,
    is_over: Arc<AtomicBool>,
}

fn main() {
    let file = std::env::args().nth(1).expect("usage: proof_program PLAN");
    let text = std::fs::read_to_string(&file).expect("a readable plan");
    let plan: Value = serde_json::from_str(&text).expect("a plan in JSON");
    let diary = OpenOptions::new().append(true).create(true).open(text_of(&plan, "diary"));
    let loggers = plan["loggers"].as_array().expect("names of loggers").iter();
    let mut program = Program {
        name: text_of(&plan, "name").to_owned(),
        run: u32::try_from(number_of(&plan, "run")).expect("few"),
        loggers: loggers.map(|name| name.as_str().expect("a name").to_owned()).collect(),
        waits: plan["waits"].as_bool().expect("yes or no"),
        logger: logger(&plan),
        diary: diary.expect("a writable diary"),
        number: 0,
        random: Random::new(number_of(&plan, "seed")),
        is_over: Arc::default(),
    };
    let is_over = Arc::clone(&program.is_over);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        is_over.store(true, Ordering::Relaxed);
    });
    program.log();
    program.finish();
}

fn text_of<'a>(plan: &'a Value, name: &str) -> &'a str {
    plan[name].as_str().unwrap_or_else(|| panic!("{name} is no text"))
}

fn number_of(plan: &Value, name: &str) -> u64 {
    plan[name].as_u64().unwrap_or_else(|| panic!("{name} is no number"))
}

fn logger(plan: &Value) -> Logger {
    let port = u16::try_from(number_of(plan, "port")).expect("a port");
    let mut builder = loghog::builder(text_of(plan, "app"))
        .address("localhost")
        .port(port)
        .protocol(Protocol::V2)
        .hostname(text_of(plan, "name"))
        .queue_messages(usize::try_from(number_of(plan, "queue")).expect("few"))
        .compression(match text_of(plan, "compression") {
            "zlib" => Compression::Zlib,
            "zstd" => Compression::Zstd,
            _ => Compression::None,
        });
    if let Some(secret) = plan["secret"].as_str() {
        builder = builder.secret(secret);
    }
    if let Some(spool) = plan["spool"].as_str() {
        builder = builder.spool(spool).spool_bytes(number_of(plan, "spool_bytes"));
    }
    if plan["pemfile"].is_string() {
        let tls = Tls::new(text_of(plan, "pemfile"), text_of(plan, "cacert"));
        builder = builder.transport(Transport::Tls(tls));
    }
    builder.build().expect("a client")
}

impl Program {
    /// Logs until it is over, but something in any case: what an earlier run
    /// has left is safe when that is.
    fn log(&mut self) {
        loop {
            let end = self.number + 1 + self.random.below(400);
            self.note(&format!("logging {end}"));
            while self.number < end {
                self.number += 1;
                self.log_one();
            }
            self.note(&format!("logged {} {}", self.number, self.counters()));
            if self.random.below(4) == 0 {
                let limit = Duration::from_millis(20 + self.random.below(2000));
                self.flush(limit);
            }
            while self.waits && self.stats().queued > OPEN_MAX && !self.is_over() {
                self.flush(Duration::from_millis(100));
            }
            if self.is_over() {
                return;
            }
            std::thread::sleep(Duration::from_millis(self.random.below(30)));
        }
    }

    fn finish(&mut self) {
        while !self.flush(Duration::from_secs(5)) {}
        if self.logger.client().close(Duration::from_secs(5)) {
            self.note(&format!("done {} {}", self.number, self.counters()));
        }
    }

    fn log_one(&self) {
        let body = message::body(&self.name, (self.run, self.number));
        let target: &String = message::logger(&self.loggers, self.number);
        self.logger.log(
            &RecordBuilder::new()
                .level(Level::Info)
                .target(target)
                .args(format_args!("{body}"))
                .build(),
        );
    }

    /// All that was logged is safe: then the diary says so.
    fn flush(&mut self, limit: Duration) -> bool {
        let is_safe = self.logger.client().flush(limit);
        if is_safe {
            let dropped = self.stats().dropped.total();
            self.note(&format!("durable {} dropped {dropped}", self.number));
        }
        is_safe
    }

    fn stats(&self) -> Stats {
        self.logger.client().stats()
    }

    fn counters(&self) -> String {
        let stats = self.stats();
        format!(
            "written {} dropped {} resent {} refused {} damaged {} reconnects {} spooled {}",
            stats.written,
            stats.dropped.total(),
            stats.resent,
            stats.refused,
            stats.damaged,
            stats.reconnects,
            stats.spooled,
        )
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn note(&mut self, line: &str) {
        // One call, and so a whole line or none.
        self.diary.write_all(format!("{line}\n").as_bytes()).expect("a writable diary");
    }
}
