//! The daemon's own log.
//! `tracing` events -> lines in `[log] filename`, and on stderr in the foreground.
//! Invariant: whatever a peer sent, an event is one printable line.
//! Leaves out: complaints about peers; they are summed up in `complaints`.

mod file;
mod turn;

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use self::file::LogFile;
use crate::clock::{Clock, Stamp};
use crate::config::checked::Log;
use crate::limits::QUOTE_CHARS_MAX;

/// Where the own log goes, and from which level on.
#[derive(Clone, Debug)]
pub struct OwnLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    file: Mutex<Option<LogFile>>,
    to_stderr: bool,
    level: AtomicUsize,
    clock: Clock,
}

impl OwnLog {
    /// Opens the log and makes it the process's subscriber.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn install(config: &Log, to_stderr: bool, clock: Clock) -> io::Result<OwnLog> {
        let open = |path| {
            let zone = clock.zone().clone();
            LogFile::open(path, config.when, config.backup_count, zone, clock.now())
        };
        let shared = Shared {
            file: Mutex::new(config.filename.as_deref().map(open).transpose()?),
            to_stderr,
            level: AtomicUsize::new(rank(config.level)),
            clock,
        };
        let own_log = OwnLog { shared: Arc::new(shared) };
        // A second daemon in one process happens in tests only; it then logs
        // to where the first one does.
        let _ = tracing::subscriber::set_global_default(
            tracing_subscriber::registry().with(own_log.clone()),
        );
        Ok(own_log)
    }

    /// Shows events of `level` and graver ones from now on.
    pub fn set_level(&self, level: Level) {
        self.shared.level.store(rank(level), Ordering::Relaxed);
    }

    /// Opens the file anew, so that it may have been moved away.
    ///
    /// # Errors
    /// When that fails; the old file stays in use.
    pub fn reopen(&self) -> io::Result<()> {
        match self.file().as_mut() {
            Some(file) => file.reopen(self.shared.clock.now()),
            None => Ok(()),
        }
    }

    fn file(&self) -> MutexGuard<'_, Option<LogFile>> {
        self.shared.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for OwnLog {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // The level may change at any time.
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        // Libraries speak in their own words; they are heard when debugging.
        let level = *metadata.level();
        let ours = metadata.target().starts_with("loghogd");
        let wanted = rank(level) <= self.shared.level.load(Ordering::Relaxed);
        wanted && (ours || level <= Level::WARN)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let stamp = self.shared.clock.stamp();
        let mut line = begin(&stamp, *event.metadata().level());
        event.record(&mut Message(&mut line));
        line.push('\n');
        let mut file = self.file();
        if let Some(Err(trouble)) = file.as_mut().map(|file| file.turn_if_due(stamp.at())) {
            let mut first = begin(&stamp, Level::WARN);
            // Writing to a string does not fail.
            let _ = write!(Printable(&mut first), "{trouble}");
            line.insert_str(0, &format!("{first}\n"));
        }
        // There is nobody left to tell that the own log cannot be written.
        if let Some(file) = file.as_mut() {
            let _ = file.write(line.as_bytes());
        }
        drop(file);
        if self.shared.to_stderr {
            let _ = io::stderr().lock().write_all(line.as_bytes());
        }
    }
}

/// The head of a line.
fn begin(stamp: &Stamp, level: Level) -> String {
    let mut line = String::with_capacity(160);
    for part in [stamp.as_str(), " - ", level_name(level), " - "] {
        line.push_str(part);
    }
    line
}

/// `text` as the own log shows what came from outside: in quotes, control
/// characters escaped, cut after [`QUOTE_CHARS_MAX`] characters.
pub fn quote(text: &str) -> Quoted<'_> {
    Quoted(text)
}

/// See [`quote`].
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for shown in self.0.chars().take(QUOTE_CHARS_MAX) {
            match shown {
                '"' | '\\' => write!(f, "\\{shown}")?,
                _ => write_printable(f, shown)?,
            }
        }
        if self.0.chars().nth(QUOTE_CHARS_MAX).is_some() {
            write!(f, "\" and {} bytes more", self.0.len().saturating_sub(QUOTE_CHARS_MAX))
        } else {
            f.write_char('"')
        }
    }
}

/// Writes the event's message, then its other fields as `name=value`.
struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut printable = Printable(self.0);
        let _ = match field.name() {
            "message" => write!(printable, "{value:?}"),
            name => write!(printable, " {name}={value:?}"),
        };
    }
}

/// A last defence: whatever is in a message, it stays one line.
struct Printable<'a>(&'a mut String);

impl fmt::Write for Printable<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|shown| write_printable(self.0, shown))
    }
}

fn write_printable(out: &mut impl fmt::Write, shown: char) -> fmt::Result {
    // Marks that change the direction of text can disguise a line as well.
    let disguise = matches!(shown, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if shown.is_control() || disguise {
        write!(out, "{}", shown.escape_unicode())
    } else {
        out.write_char(shown)
    }
}

fn rank(level: Level) -> usize {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// The names that Python's logging uses, as the original did.
fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG | Level::TRACE => "DEBUG",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_says_is_quoted_escaped_and_cut_short() {
        assert_eq!(
            quote("a\n\u{1b}[31m\"b\u{202e}").to_string(),
            "\"a\\u{a}\\u{1b}[31m\\\"b\\u{202e}\""
        );
        let long = "x".repeat(QUOTE_CHARS_MAX + 5);
        assert!(quote(&long).to_string().ends_with("x\" and 5 bytes more"));
    }

    #[test]
    fn an_event_stays_one_line_whatever_is_in_it() {
        let mut line = String::new();
        write!(Printable(&mut line), "a\nb\u{85}\u{2028}c").unwrap();
        assert_eq!(line, "a\\u{a}b\\u{85}\\u{2028}c");
    }
}
