//! A client that sends at full speed.
//! An address -> numbered messages, until it is told to stop or cut off.
//! Invariant: a message that is torn, doubled, missing or out of order shows.
//! Leaves out: signatures.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use wire::v1::{EncodeScratch, Record, encode};

/// What is handed to the kernel at once, in bytes.
const WRITE_BYTES: usize = 64 << 10;

/// Makes a body long enough to be torn, and shows where it ends.
const FILLING: &str = "the quick brown fox jumps over the lazy dog, and again, and again; end.";

/// A thread that sends over one connection.
#[derive(Debug)]
pub struct Load {
    told: Arc<Told>,
    thread: JoinHandle<Sent>,
}

/// What the sender and its owner tell each other.
#[derive(Debug, Default)]
struct Told {
    stop: AtomicBool,
    messages: AtomicU64,
}

/// What a load has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Messages that the kernel took in whole.
    pub messages: u64,
    /// The daemon ended the connection, not we.
    pub cut_off: bool,
}

impl Load {
    /// Connects and sends messages for `app` and `module`, from number 0 on,
    /// as fast as the daemon takes them.
    pub fn start(address: SocketAddr, app: &'static str, module: &'static str) -> Load {
        Load::over(TcpStream::connect(address).expect("the daemon listens"), app, module)
    }

    /// The same over a connection that is there, such as one inside TLS.
    pub fn over(
        socket: impl Write + Send + 'static,
        app: &'static str,
        module: &'static str,
    ) -> Load {
        let told = Arc::new(Told::default());
        let theirs = Arc::clone(&told);
        let thread = std::thread::spawn(move || send(socket, app, module, &theirs));
        Load { told, thread }
    }

    /// Messages that the kernel has taken until now.
    pub fn messages(&self) -> u64 {
        self.told.messages.load(Ordering::Relaxed)
    }

    /// Lets the message at hand be the last one; does not wait for it.
    pub fn ask_to_stop(&self) {
        self.told.stop.store(true, Ordering::Relaxed);
    }

    /// Ends the connection behind the message at hand.
    pub fn stop(self) -> Sent {
        self.ask_to_stop();
        self.wait()
    }

    /// Waits until the last message is sent, or the daemon has ended the
    /// connection.
    pub fn wait(self) -> Sent {
        self.thread.join().expect("the sender does not panic")
    }
}

/// The numbers of messages that a [`Load`] has sent.
///
/// # Panics
/// When a record is not exactly what was sent.
#[track_caller]
pub fn numbers(records: &[String]) -> Vec<u64> {
    let number = |record: &String| {
        let (_, behind) = record.split_once(" - load - number ").expect("a message of a load");
        let (digits, filling) = behind.split_once(' ').expect("a number and its filling");
        assert_eq!(filling, FILLING, "the message {digits} is not whole");
        digits.parse().expect("digits")
    };
    records.iter().map(number).collect()
}

/// Are these the numbers from 0 on, each once, in order?
///
/// # Panics
/// When they are not.
#[track_caller]
pub fn assert_gapless(numbers: &[u64]) {
    for (expected, &number) in (0..).zip(numbers) {
        assert_eq!(number, expected, "a message is missing, doubled or out of order");
    }
}

/// Sends the messages of these numbers, and waits until the kernel has them.
///
/// # Panics
/// When the daemon ends the connection.
#[track_caller]
pub fn send_numbers(socket: &mut impl Write, app: &str, module: &str, numbers: Range<u64>) {
    let mut out = Vec::with_capacity(2 * WRITE_BYTES);
    let mut encode = encoder(app, module);
    for number in numbers {
        encode(number, &mut out);
        if out.len() >= WRITE_BYTES {
            socket.write_all(&out).expect("the daemon reads");
            out.clear();
        }
    }
    socket.write_all(&out).and_then(|()| socket.flush()).expect("the daemon reads");
}

fn send(mut socket: impl Write, app: &str, module: &str, told: &Told) -> Sent {
    let mut out = Vec::with_capacity(2 * WRITE_BYTES);
    let mut encode = encoder(app, module);
    let mut messages = 0;
    while !told.stop.load(Ordering::Relaxed) {
        out.clear();
        let first = messages;
        while out.len() < WRITE_BYTES {
            encode(messages, &mut out);
            messages += 1;
        }
        if socket.write_all(&out).and_then(|()| socket.flush()).is_err() {
            return Sent { messages: first, cut_off: true };
        }
        told.messages.store(messages, Ordering::Relaxed);
    }
    Sent { messages, cut_off: false }
}

/// Appends the frame of a numbered message.
fn encoder(app_id: &str, module: &str) -> impl FnMut(u64, &mut Vec<u8>) {
    let mut scratch = EncodeScratch::default();
    move |number, out| {
        let body = format!("number {number} {FILLING}");
        let hostname = "load";
        let (stamp, nsecs, signature) = (0, 0, None);
        let record = Record { app_id, module, hostname, body: &body, stamp, nsecs, signature };
        encode(&record, None, false, &mut scratch, out).expect("a short message");
    }
}
