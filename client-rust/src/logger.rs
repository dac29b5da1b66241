//! The backend for the `log` crate.
//! `log::Record` -> `Message`.
//! Invariant: logging neither waits nor fails, and what the sender's libraries log is not sent.
//! Leaves out: the queue and all behind it (`client`).

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::kv::{self, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};

use crate::client::{Client, Message};
use crate::send;

/// Writes a record's body.
pub(crate) type Format = dyn Fn(&mut dyn Write, &Record<'_>) -> fmt::Result + Send + Sync;

/// A [`Log`] that sends what is logged to a LogHog server.
///
/// The target of a record, `::` written as `.`, is the module that the server
/// looks for among its facilities: `app::web::auth` belongs to `[app:app.web]`.
#[derive(Clone)]
pub struct Logger {
    pub(crate) client: Arc<Client>,
    pub(crate) level: LevelFilter,
    pub(crate) format: Arc<Format>,
    pub(crate) flush_limit: Duration,
}

impl Logger {
    /// The client below: counters, `flush` with a limit, `close`.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The most verbose level that is sent.
    pub fn level(&self) -> LevelFilter {
        self.level
    }
}

impl fmt::Debug for Logger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logger")
            .field("client", &self.client)
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level && !send::is_sender()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut body = String::new();
        // A value that cannot be formatted costs itself, not what stands before.
        if (self.format)(&mut body, record).is_err() {
            body.push_str(" (the rest could not be formatted)");
        }
        let (stamp, nsecs) = since_1970(SystemTime::now());
        let target = record.target();
        let dotted = target.contains("::").then(|| target.replace("::", "."));
        let module = dotted.as_deref().unwrap_or(target);
        self.client.send(&Message { module, stamp, nsecs, body: &body });
    }

    /// Waits for at most the builder's `flush_limit`.
    fn flush(&self) {
        self.client.flush(self.flush_limit);
    }
}

/// Flushes and ends the client when dropped, within the builder's
/// `flush_limit`. Keep it in `main` until the program ends.
#[must_use = "dropped at once it would end the logging at once; keep it in main"]
#[derive(Debug)]
pub struct Guard {
    pub(crate) client: Arc<Client>,
    pub(crate) limit: Duration,
}

impl Guard {
    /// The client: counters, `flush` with a limit, `close`.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.client.close(self.limit);
    }
}

/// `LEVEL - message`, then each key and value as ` key=value`.
pub(crate) fn level_and_message(out: &mut dyn Write, record: &Record<'_>) -> fmt::Result {
    write!(out, "{} - {}", record.level(), record.args())?;
    record.key_values().visit(&mut Pairs(out)).map_err(|_| fmt::Error)
}

struct Pairs<'a>(&'a mut dyn Write);

impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        write!(self.0, " {key}={value}")?;
        Ok(())
    }
}

/// Seconds, rounded down, and the nanoseconds above them.
fn since_1970(time: SystemTime) -> (i64, u32) {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (seconds(after), after.subsec_nanos()),
        Err(error) => {
            let before = error.duration();
            match before.subsec_nanos() {
                0 => (-seconds(before), 0),
                nsecs => (-seconds(before) - 1, 1_000_000_000 - nsecs),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_before_1970_is_a_negative_second_and_what_is_above_it() {
        let at = |s: i64, n: u32| {
            let base = if s < 0 {
                UNIX_EPOCH - Duration::from_secs(s.unsigned_abs())
            } else {
                UNIX_EPOCH + Duration::from_secs(s.unsigned_abs())
            };
            since_1970(base + Duration::from_nanos(n.into()))
        };
        assert_eq!(at(1_353_836_302, 120_430_000), (1_353_836_302, 120_430_000));
        assert_eq!(at(-1, 750_000_000), (-1, 750_000_000));
        assert_eq!(at(-7, 0), (-7, 0));
    }

    #[test]
    fn key_values_stand_behind_the_message() {
        let pairs = [("user", "ada"), ("port", "22")];
        let mut out = String::new();
        let record = Record::builder()
            .level(log::Level::Warn)
            .args(format_args!("login"))
            .key_values(&pairs)
            .build();
        level_and_message(&mut out, &record).unwrap();
        assert_eq!(out, "WARN - login user=ada port=22");
    }
}
