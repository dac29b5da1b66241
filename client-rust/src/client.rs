//! A client: one application's way to one server, for any number of threads.
//! `Message` or `Record` -> a signed frame (v1) or a compact record (v2) in the queue.
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

use wire::v2::batch::Record as FullRecord;

use crate::connect::Routes;
use crate::limits::{END_LIMIT, FLUSH_LIMIT, RECORD_BYTES_MAX, UNREACHABLE_LIMIT};
use crate::queue::{Bounds, Flush, Queue};
use crate::record;
use crate::send;
use crate::socket::Slot;
use crate::stats::Stats;
use crate::v2::{self, Terms};

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
    pub(crate) routes: Arc<Routes>,
    pub(crate) bounds: Bounds,
    /// How v2 is spoken; none: v1 alone is.
    pub(crate) v2: Option<Arc<Terms>>,
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
        if self.settings.v2.is_none() {
            return self.send_v1(message);
        }
        let seconds_ns = message.stamp.saturating_mul(1_000_000_000);
        let record = FullRecord {
            time_ns: seconds_ns.saturating_add(i64::from(message.nsecs)),
            logger: message.module,
            body: message.body,
            ..FullRecord::default()
        };
        self.submit(&record, false);
    }

    /// Queues a message with all that is known of it, as [`send`](Client::send)
    /// does. A server that is spoken to in v1 gets time, logger and body alone.
    pub fn send_record(&self, record: &FullRecord<'_>) {
        self.submit(record, false);
    }

    /// `is_bare`: the body is the message alone, so v1 text has to show level
    /// and fields as well.
    pub(crate) fn submit(&self, full: &FullRecord<'_>, is_bare: bool) {
        if self.settings.v2.is_none() {
            let body = record::v1_body(full, full.fields, is_bare);
            let v1 = record::to_v1(full, &body, "", "");
            let nsecs = u32::try_from(v1.nsecs).unwrap_or(0);
            let message = Message { module: full.logger, stamp: v1.stamp, nsecs, body: &body };
            return self.send_v1(&message);
        }
        let mut scratch = Scratch::take();
        if record::encode(full, is_bare, &mut scratch.frame) {
            if self.queue.push(&scratch.frame) {
                self.start();
            }
            scratch.give_back();
        } else {
            let bytes = full.body.len();
            self.queue.refuse(format!(
                "a message with a text of {bytes} bytes is longer than the {RECORD_BYTES_MAX} that \
                 fit; it is lost"
            ));
        }
    }

    /// Whether only v1 is spoken.
    pub(crate) fn is_v1(&self) -> bool {
        self.settings.v2.is_none()
    }

    /// The process in which the client works.
    pub(crate) fn process_id(&self) -> u32 {
        self.pid
    }

    fn send_v1(&self, message: &Message<'_>) {
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

    /// Waits until every message sent before is in the kernel's hands, in a v2
    /// session until the server has acknowledged it as safe; false when that
    /// did not happen within `limit`.
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
    /// counted. With a spool what is left stays there for the next program, and
    /// counts as well done; a disk that is slow to take it may have all of
    /// `limit`. May be called again.
    pub fn close(&self, limit: Duration) -> bool {
        if send::is_sender() {
            return false;
        }
        let started = Instant::now();
        let has_spool = self.settings.v2.as_ref().is_some_and(|terms| terms.spool.is_some());
        // Time to bring the rest into the spool.
        let reserved = if has_spool { END_LIMIT } else { Duration::ZERO };
        let flush_limit = limit.saturating_sub(reserved);
        let flushed = self.begin_flush(flush_limit, UNREACHABLE_LIMIT).wait_all();
        let left = limit.saturating_sub(started.elapsed());
        if has_spool {
            self.queue.close_into_spool();
            self.queue.wait_for_end(left);
        } else {
            self.queue.close(Duration::ZERO);
            self.queue.wait_for_end(END_LIMIT.min(left));
        }
        flushed || (has_spool && self.queue.is_safe())
    }

    /// Whether messages that other programs have left in the spool are being
    /// looked for, or sent. It becomes false once there are none, or none that
    /// can be sent; a client that is closed earlier leaves them for the next.
    pub fn is_adopting(&self) -> bool {
        self.queue.is_adopting()
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

    /// Begins to send what an earlier program has left in the spool.
    pub(crate) fn resume(&self) {
        if self.queue.claim_idle_sender() {
            self.start();
        }
    }

    fn start(&self) {
        let settings = &self.settings;
        let (queue, slot) = (Arc::clone(&self.queue), Arc::clone(&self.slot));
        let started = match &settings.v2 {
            None => send::start(Arc::clone(&settings.routes), queue, slot),
            Some(terms) => v2::start(Arc::clone(terms), settings.bounds, queue, slot),
        };
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
