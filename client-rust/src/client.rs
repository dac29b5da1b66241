//! A client: one application's way to one server, for any number of threads.
//! `Message` -> a signed frame in the queue.
//! Invariant: `send` never waits for the network or the disk, and never fails.
//! Leaves out: the `log` crate (`logger`); what happens behind the queue (`send`).

use std::cell::Cell;
use std::os::fd::RawFd;
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::limits::FRAME_BYTES_MAX;
use wire::signature::Key;
use wire::v1::{EncodeError, EncodeScratch, Record};

use crate::connect::Route;
use crate::limits::{END_LIMIT, FLUSH_LIMIT, UNREACHABLE_LIMIT};
use crate::queue::{Bounds, Flush, Queue};
use crate::send;
use crate::socket::Slot;
use crate::stats::Stats;

/// One message, as it goes over the wire.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The logger's name, dotted; may be empty. The server looks for the
    /// facility that fits it best.
    pub module: &'a str,
    /// When it happened: seconds since 1970.
    pub stamp: i64,
    /// Nanoseconds within that second.
    pub nsecs: u32,
    /// The text.
    pub body: &'a str,
}

/// One application's way to one server. It may be shared by threads; each
/// client has a queue, a connection and, from the first message on, a thread of
/// its own.
///
/// Dropping it does not wait: the thread goes on for five seconds at most, if
/// the program does. [`close`](Client::close) waits.
#[derive(Debug)]
pub struct Client {
    settings: Arc<Settings>,
    queue: Arc<Queue>,
    slot: Arc<Slot>,
    /// The process that this client works in.
    pid: u32,
}

/// All that the builder has settled.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) app: String,
    pub(crate) hostname: String,
    pub(crate) key: Option<Key>,
    pub(crate) zlib: bool,
    pub(crate) route: Arc<Route>,
    pub(crate) bounds: Bounds,
}

/// What a child process finds after a fork.
#[derive(Debug)]
pub struct Inherited {
    /// The same client, for the child: empty, and not connected.
    pub client: Client,
    /// The parent's socket, which is open here too. Close it, but say nothing
    /// over it: the parent goes on using it.
    pub socket: Option<RawFd>,
}

impl Client {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Client {
            queue: Arc::new(Queue::new(settings.bounds)),
            slot: Arc::default(),
            pid: process::id(),
            settings,
        }
    }

    /// Queues a message. Never waits for the network; when the queue is full,
    /// the oldest message is dropped and counted.
    pub fn send(&self, message: &Message<'_>) {
        let settings = &*self.settings;
        if message.body.len() > FRAME_BYTES_MAX as usize {
            // It could be any length: not worth the time and memory of encoding.
            let too_long = EncodeError::TooLong { bytes: message.body.len() };
            return self.queue.refuse(too_long.to_string());
        }
        let record = Record {
            app_id: &settings.app,
            module: message.module,
            hostname: &settings.hostname,
            body: message.body,
            stamp: message.stamp,
            nsecs: i64::from(message.nsecs),
            signature: None,
        };
        let mut scratch = Scratch::take();
        let Scratch { encode, frame } = &mut scratch;
        match wire::v1::encode(&record, settings.key.as_ref(), settings.zlib, encode, frame) {
            Ok(()) => {
                if self.queue.push(frame) {
                    self.start();
                }
                scratch.give_back();
            }
            // What it was encoded into has grown past all use.
            Err(error) => self.queue.refuse(error.to_string()),
        }
    }

    /// Waits until every message sent before is in the kernel's hands; false
    /// when that did not happen within `limit`.
    pub fn flush(&self, limit: Duration) -> bool {
        !send::is_sender() && self.begin_flush(limit, limit).wait_all()
    }

    /// The same in slices, for callers with something to look after meanwhile.
    /// While the server is unreachable, `unreachable_limit` counts.
    pub fn begin_flush(&self, limit: Duration, unreachable_limit: Duration) -> Flush<'_> {
        // A thread that could not be started may be possible now.
        if self.queue.claim_sender() {
            self.start();
        }
        self.queue.flush(limit, unreachable_limit)
    }

    /// Flushes, then ends the thread and the connection; false when messages
    /// were left over. It takes `limit` at most, and a second when the server
    /// is unreachable; what is left then, and what is sent later, is lost and
    /// counted. May be called again.
    pub fn close(&self, limit: Duration) -> bool {
        if send::is_sender() {
            return false;
        }
        let started = Instant::now();
        let flushed = self.begin_flush(limit, UNREACHABLE_LIMIT).wait_all();
        self.queue.close(Duration::ZERO);
        self.queue.wait_for_end(END_LIMIT.min(limit.saturating_sub(started.elapsed())));
        flushed
    }

    /// What became of the messages so far.
    pub fn stats(&self) -> Stats {
        self.queue.stats()
    }

    /// The newest failures as text, oldest first; each is returned once.
    pub fn take_failures(&self) -> Vec<String> {
        self.queue.take_failures()
    }

    /// The newest failure as text, as often as it is asked for.
    pub fn last_failure(&self) -> Option<String> {
        self.queue.last_failure()
    }

    /// For a child process, after a fork: a client in place of this one, which
    /// must not be used there any more. It takes no lock, since a thread that
    /// the child does not have may hold it for ever.
    ///
    /// What waited at the time of the fork is sent by the parent alone.
    pub fn inherited(&self) -> Inherited {
        Inherited { client: Client::new(Arc::clone(&self.settings)), socket: self.slot.number() }
    }

    fn start(&self) {
        let route = Arc::clone(&self.settings.route);
        let started = send::start(route, Arc::clone(&self.queue), Arc::clone(&self.slot));
        if let Err(error) = started {
            self.queue.sender_failed(format!("cannot start the thread that sends: {error}"));
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // In a forked child the thread is gone and the lock may be held.
        if process::id() == self.pid {
            self.queue.close(FLUSH_LIMIT);
        }
    }
}

/// Buffers of one thread. They are taken while in use, so that a message logged
/// while another is being formatted finds none and makes its own.
#[derive(Default)]
struct Scratch {
    encode: EncodeScratch,
    frame: Vec<u8>,
}

thread_local! {
    static SCRATCH: Cell<Option<Scratch>> = const { Cell::new(None) };
}

impl Scratch {
    fn take() -> Self {
        // No thread-local any more: the thread is ending.
        SCRATCH.try_with(Cell::take).ok().flatten().unwrap_or_default()
    }

    fn give_back(mut self) {
        self.frame.clear();
        if self.frame.capacity() <= crate::limits::BUFFER_BYTES_KEPT {
            let _ = SCRATCH.try_with(|cell| cell.set(Some(self)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_too_long_leaves_no_memory_behind() {
        let client = crate::builder("app").build_client().unwrap();
        Scratch::default().give_back();
        // The first is refused by its own length, the second for its escapes.
        for body in ["x".repeat(2 << 20), "\x01".repeat(1 << 20)] {
            client.send(&Message { module: "web", stamp: 0, nsecs: 0, body: &body });
            let kept = SCRATCH.take();
            let kept = kept.map(|scratch| format!("{:?}", scratch.encode).len());
            assert!(kept.is_none_or(|length| length < 1_000), "{kept:?}");
        }
        assert_eq!(client.stats().dropped.too_large, 2);
    }
}
