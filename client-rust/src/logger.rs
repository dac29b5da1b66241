//! The backend for the `log` crate.
//! `log::Record` -> `Message`, or a `Record` with fields for v2.
//! Invariant: logging neither waits nor fails, and what the sender's libraries log is not sent.
//! Leaves out: the queue and all behind it (`client`).

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::kv::{self, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};

use wire::v2::batch::Record as FullRecord;

use crate::client::{Client, Message};
use crate::fields::{Fields, Owned};
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
    /// None: the default.
    pub(crate) format: Option<Arc<Format>>,
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
        let target = record.target();
        let dotted = target.contains("::").then(|| target.replace("::", "."));
        let module = dotted.as_deref().unwrap_or(target);
        let mut body = String::new();
        let written = match &self.format {
            Some(format) => format(&mut body, record),
            None if self.client.is_v1() => level_and_message(&mut body, record),
            None => write!(body, "{}", record.args()),
        };
        // A value that cannot be formatted costs itself, not what stands before.
        if written.is_err() {
            body.push_str(" (the rest could not be formatted)");
        }
        let (stamp, nsecs) = since_1970(SystemTime::now());
        if self.client.is_v1() {
            return self.client.send(&Message { module, stamp, nsecs, body: &body });
        }
        let mut fields = Fields::default();
        // The same: what cannot be read costs itself.
        let _ = record.key_values().visit(&mut Taken(&mut fields));
        let thread = std::thread::current();
        let full = FullRecord {
            time_ns: stamp.saturating_mul(1_000_000_000).saturating_add(i64::from(nsecs)),
            level: level_number(record.level()),
            logger: module,
            thread: thread.name().unwrap_or_default(),
            process_id: self.client.process_id(),
            body: &body,
            exception_at: None,
            fields: &fields.as_wire(),
        };
        self.client.submit(&full, self.format.is_none());
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

/// Python's number of a level; it has none below DEBUG, 10.
fn level_number(level: log::Level) -> u8 {
    match level {
        log::Level::Trace => 5,
        log::Level::Debug => 10,
        log::Level::Info => 20,
        log::Level::Warn => 30,
        log::Level::Error => 40,
    }
}

/// Takes key-values as fields.
struct Taken<'a>(&'a mut Fields);

impl<'kvs> VisitSource<'kvs> for Taken<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let owned = if let Some(value) = value.to_bool() {
            Owned::Bool(value)
        } else if let Some(value) = value.to_i64() {
            Owned::Int(value)
        } else if let Some(value) = value.to_u64() {
            Owned::Json(value.to_string())
        } else if let Some(value) = value.to_f64() {
            Owned::Float(value)
        } else {
            Owned::Text(value.to_string())
        };
        self.0.put(Cow::Owned(key.to_string()), owned);
        Ok(())
    }
}

/// The text of a message in v1: `LEVEL - message`, then each key and value as
/// ` key=value`. To have the same in v2, where the text is the message alone,
/// hand it to [`Builder::format`](crate::Builder::format).
pub fn level_and_message(out: &mut dyn Write, record: &Record<'_>) -> fmt::Result {
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
pub(crate) fn since_1970(time: SystemTime) -> (i64, u32) {
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
