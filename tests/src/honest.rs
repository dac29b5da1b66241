//! A client that means well, while others do not.
//! One message after another, each awaited in its file -> the longest wait.
//! Invariant: it fails at once when the daemon does not serve it any more.
//! Leaves out: load (`load`).

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::frames::frame;
use crate::wait::{DEADLINE, wait_until};

/// Where its messages go, in the golden facilities.
const FILE: &str = "plain/web.log";

/// Pause between two messages.
const PAUSE: Duration = Duration::from_millis(20);

/// A thread with one connection that was open before the trouble began, and
/// a new one for every other message.
#[derive(Debug)]
pub struct Honest {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Honest {
    /// Begins to log. Nobody else may write to the web module of `plain`.
    pub fn start(daemon: &Daemon) -> Honest {
        let (address, path) = (daemon.tcp(), daemon.log_dir().join(FILE));
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let mut old = TcpStream::connect(address).expect("the daemon listens");
        let thread = std::thread::spawn(move || {
            let (mut longest, mut number) = (Duration::ZERO, 0_u64);
            while !told.load(Ordering::Relaxed) {
                let message = frame("plain", "web", "honest", &format!("number {number}"));
                let start = Instant::now();
                if number % 2 == 0 {
                    old.write_all(&message).expect("an honest connection stays open");
                } else {
                    let mut new = TcpStream::connect(address).expect("the daemon still listens");
                    new.write_all(&message).expect("a new connection is served");
                }
                let expected = format!(" - honest - number {number}\n");
                wait_until(DEADLINE, "an honest message is written", || {
                    let text = std::fs::read_to_string(&path).ok()?;
                    text.ends_with(&expected).then_some(())
                });
                longest = longest.max(start.elapsed());
                number += 1;
                std::thread::sleep(PAUSE);
            }
            longest
        });
        Honest { stop, thread }
    }

    /// Ends, and says how long the slowest message took to its file.
    pub fn stop(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("an honest client is served")
    }
}
