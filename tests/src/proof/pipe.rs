//! What feeds `loghog pipe`.
//! A pipe -> numbered lines, some at least, until it is broken or somebody asks for the end.
//! Invariant: a line is announced before it is written.
//! Leaves out: the command (`program`).

use std::io::Write as _;
use std::process::ChildStdin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::message;
use crate::random::Random;

/// Lines on their way into a pipe.
#[derive(Debug)]
pub struct Feeder {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    announced: AtomicU64,
    written: AtomicU64,
    is_over: AtomicBool,
}

impl Feeder {
    /// Begins to write.
    pub fn start(stdin: ChildStdin, name: &'static str, run: u32, random: Random) -> Feeder {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || feed(stdin, name, run, random, &theirs));
        Feeder { shared, thread }
    }

    /// Lets it write no more, and close the pipe.
    pub fn ask_to_finish(&self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }

    /// All lines that the command may have read: up to this one.
    pub fn announced(&self) -> u64 {
        self.shared.announced.load(Ordering::Relaxed)
    }

    /// The same when the command has ended; and up to which line all were
    /// written into the pipe.
    ///
    /// # Panics
    /// When the command still reads, and nobody has asked for the end.
    pub fn finish(self) -> (u64, u64) {
        self.thread.join().expect("it only writes");
        (self.shared.announced.load(Ordering::Relaxed), self.shared.written.load(Ordering::Relaxed))
    }
}

fn feed(mut stdin: ChildStdin, name: &str, run: u32, mut random: Random, shared: &Shared) {
    let mut number = 0;
    loop {
        let end = number + 1 + random.below(400);
        shared.announced.store(end, Ordering::Relaxed);
        let lines: String =
            (number + 1..=end).map(|number| message::body(name, (run, number)) + "\n").collect();
        if stdin.write_all(lines.as_bytes()).is_err() {
            return;
        }
        shared.written.store(end, Ordering::Relaxed);
        if shared.is_over.load(Ordering::Relaxed) {
            return;
        }
        number = end;
        std::thread::sleep(Duration::from_millis(random.below(30)));
    }
}
