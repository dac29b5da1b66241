//! Messages on their way, so many at a time that the client never drops one.
//! Texts -> the client's queue; at the end, whether all are safe.
//! Invariant: what waits in memory stays under `PENDING_*_MAX` (`limits`).
//! Leaves out: where the texts come from (`input`), and when to stop (`pump`).

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::time::{Duration, Instant, SystemTime};

use loghog::limits::END_LIMIT;
use loghog::{Client, Field, Record, Stats, Value};

use crate::arguments::{Options, Target};
use crate::limits::{
    GOODBYE_LIMIT, OVERHEAD_BYTES, PENDING_BYTES_MAX, PENDING_MESSAGES_MAX, ROOM_LOOK, SIGNAL_LOOK,
    SPOOL_LIMIT, UNREACHABLE_LIMIT,
};
use crate::say;

pub(crate) struct Delivery<'a> {
    client: Client,
    target: &'a Target,
    options: &'a Options,
    /// Writes each message to standard error too.
    echoes: bool,
    pending: Pending,
    last_trouble: Option<String>,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Safe,
    /// Messages may be lost.
    Unsafe,
}

impl<'a> Delivery<'a> {
    pub(crate) fn new(client: Client, target: &'a Target, options: &'a Options) -> Self {
        let pending = Pending::default();
        Delivery { client, target, options, echoes: false, pending, last_trouble: None }
    }

    pub(crate) fn echo(&mut self, echoes: bool) {
        self.echoes = echoes;
    }

    /// Whether another message has room. When not, wait and ask again.
    pub(crate) fn has_room(&mut self) -> bool {
        self.pending.has_room() || {
            self.pending.shrink_to(in_memory(&self.client.stats()));
            self.pending.has_room()
        }
    }

    /// Has the client look for the server at once: it may be in a pause, or
    /// asleep since it lost a connection over which all had gone.
    pub(crate) fn hurry(&self) {
        drop(self.client.begin_flush(Duration::ZERO, Duration::ZERO));
    }

    /// Sends a message, which has room.
    pub(crate) fn send(&mut self, text: &str) {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let time_ns = since_1970.map_or(0, |time| time.as_nanos());
        let fields: Vec<Field<'_>> = self
            .options
            .fields
            .iter()
            .map(|(key, value)| Field { key, value: Value::Text(value) })
            .collect();
        self.client.send_record(&Record {
            time_ns: i64::try_from(time_ns).unwrap_or(i64::MAX),
            level: self.options.level.unwrap_or(0),
            logger: &self.target.module,
            process_id: self.options.process_id(),
            body: text,
            fields: &fields,
            ..Record::default()
        });
        let around = self.target.module.len() + self.options.fields_bytes() + OVERHEAD_BYTES;
        self.pending.push(text.len() + around);
        if self.echoes {
            // Nobody may be listening.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// How long to wait for the server at the end.
    pub(crate) fn timeout(&self) -> Duration {
        self.options.timeout
    }

    /// Says on standard error what went wrong since the last call.
    pub(crate) fn tell_trouble(&mut self) {
        for trouble in self.client.take_failures() {
            if self.last_trouble.as_ref() != Some(&trouble) {
                say(format_args!("{trouble}"));
                self.last_trouble = Some(trouble);
            }
        }
    }

    /// Waits until everything is safe, or `--timeout` is over, or `is_enough`;
    /// says what is not.
    pub(crate) fn finish(mut self, is_enough: impl Fn() -> bool) -> Outcome {
        let started = Instant::now();
        let limit = self.options.timeout;
        let has_spool = self.options.spool.is_some();
        // A server that is away is not waited for: the next program sends.
        let unreachable = if has_spool { limit.min(UNREACHABLE_LIMIT) } else { limit };
        let is_sent = self.wait(limit, unreachable, &is_enough);
        if is_sent {
            self.wait_for_others(started, &is_enough);
        }
        let is_done = match (is_sent, has_spool) {
            (true, _) => self.client.close(GOODBYE_LIMIT) || is_sent,
            (false, true) => self.client.close(END_LIMIT) || self.client.close(SPOOL_LIMIT),
            // What has not arrived by now gets no more time.
            (false, false) => self.client.close(Duration::ZERO) && is_sent,
        };
        self.tell_trouble();
        self.sum_up(is_done)
    }

    /// What other commands have left in the spool is sent in the time that is
    /// left; nobody promised it.
    fn wait_for_others(&mut self, started: Instant, is_enough: &dyn Fn() -> bool) {
        let limit = self.options.timeout;
        // As long as somebody waits, the pauses are short.
        let _hurry = self.client.begin_flush(limit, limit);
        while self.client.is_adopting() && started.elapsed() < limit && !is_enough() {
            std::thread::sleep(ROOM_LOOK);
        }
    }

    /// Whether all was sent.
    fn wait(
        &mut self,
        limit: Duration,
        unreachable: Duration,
        is_enough: &dyn Fn() -> bool,
    ) -> bool {
        let started = Instant::now();
        loop {
            let spent = started.elapsed();
            let left = (limit.saturating_sub(spent), unreachable.saturating_sub(spent));
            let flush = self.client.begin_flush(left.0, left.1);
            match flush.wait(SIGNAL_LOOK) {
                Some(is_sent) => return is_sent,
                None if is_enough() => return false,
                None => {}
            }
            drop(flush);
            self.tell_trouble();
        }
    }

    fn sum_up(&self, is_done: bool) -> Outcome {
        let stats = self.client.stats();
        let lost = stats.dropped.total();
        let spool = self.options.spool.as_ref();
        if stats.refused > 0 {
            say(format_args!(
                "the server refused {} of {} messages; see above, and the server's own log",
                stats.refused, stats.enqueued
            ));
        }
        if stats.damaged > 0 {
            say(format_args!("the spool gave back {} messages damaged", stats.damaged));
        }
        if !is_done || lost > 0 {
            let open = stats.enqueued.saturating_sub(stats.written);
            let remedy = match spool {
                None => "check --server and the secret, or give --spool to keep them",
                Some(_) => "check the spool's disk, its room, and the server",
            };
            say(format_args!(
                "{open} of {} messages are not acknowledged and may be lost: {}; {remedy}",
                stats.enqueued,
                self.reason()
            ));
            return Outcome::Unsafe;
        }
        if let (Some(dir), true) = (spool, stats.queued > 0) {
            say(format_args!(
                "{} messages stay in {} ({})); the next loghog for {} with that spool sends \
                 them",
                stats.queued,
                dir.display(),
                self.reason(),
                self.target.app
            ));
        }
        if stats.refused > 0 || stats.damaged > 0 { Outcome::Unsafe } else { Outcome::Safe }
    }

    fn reason(&self) -> String {
        self.client.last_failure().unwrap_or_else(|| {
            format!("no answer within {} seconds", self.options.timeout.as_secs_f64())
        })
    }
}

/// Messages that would be gone if the program were. A spool that fails for a
/// while makes this too many, which only means waiting.
fn in_memory(stats: &Stats) -> usize {
    let unspooled = stats.enqueued.saturating_sub(stats.spooled);
    usize::try_from(stats.queued.min(unspooled)).unwrap_or(usize::MAX)
}

/// The sizes of the messages in memory, oldest first. They leave in order.
#[derive(Debug, Default)]
struct Pending {
    sizes: VecDeque<usize>,
    bytes: usize,
}

impl Pending {
    fn push(&mut self, bytes: usize) {
        self.sizes.push_back(bytes);
        self.bytes += bytes;
    }

    /// All but the newest `messages` have left.
    fn shrink_to(&mut self, messages: usize) {
        while self.sizes.len() > messages {
            self.bytes -= self.sizes.pop_front().unwrap_or(0);
        }
    }

    fn has_room(&self) -> bool {
        // Half is left for the next one, whatever its size.
        self.bytes < PENDING_BYTES_MAX / 2 && self.sizes.len() < PENDING_MESSAGES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_again_when_the_oldest_have_left() {
        let mut pending = Pending::default();
        while pending.has_room() {
            pending.push(1000);
        }
        let all = pending.sizes.len();
        pending.shrink_to(all);
        assert!(!pending.has_room());
        pending.shrink_to(all - 1);
        assert!(pending.has_room());
        pending.shrink_to(0);
        assert_eq!(pending.bytes, 0);
    }
}
