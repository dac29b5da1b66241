//! Shows messages as they pass, to whoever asks.
//! A message that is about to be written, and what somebody wants to see -> a line of JSON for him.
//! Invariant: nobody who sends ever waits for somebody who looks; what he misses is counted.
//! Leaves out: how it gets to him (`control`), how it looks to him (`questions`).

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{self, Receiver, Sender};
use wire::v2::cut;

use super::persist::entry::{Entry, Fields};
use super::persist::json;
use crate::clock::Stamp;
use crate::config::facility::{Facility, ROOT};
use crate::limits::{
    TAP_MESSAGES_MAX, TAP_PATTERN_BYTES_MAX, TAP_SHOWN_BYTES_MAX, TAP_WAITING_BYTES_MAX, TAPS_MAX,
};

/// What somebody wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The application; `*` for all.
    pub app: String,
    /// The module as senders name it, and those below it; or that of the facility.
    pub module: Option<String>,
    /// The host.
    pub host: Option<String>,
    /// A regular expression that is found in the message.
    pub grep: Option<String>,
}

/// Why nobody can look.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TapError {
    /// There are many already.
    #[error("{TAPS_MAX} are looking already; end one of them")]
    TooMany,
    /// The expression is none.
    #[error("--grep: {0}; see docs.rs/regex/latest/regex/#syntax")]
    Pattern(String),
}

/// All who look. While there is nobody, a message costs one atomic load.
#[derive(Debug, Default)]
pub struct Taps {
    count: AtomicUsize,
    open: ArcSwap<Vec<Arc<Tap>>>,
    /// Held by whoever changes them.
    changing: Mutex<()>,
}

/// One who looks, as senders see him.
#[derive(Debug)]
struct Tap {
    wanted: Wanted,
    pattern: Option<Regex>,
    lines: Sender<Vec<u8>>,
    /// Bytes of lines that he has not taken yet.
    waiting_bytes: AtomicUsize,
    missed: AtomicU64,
}

/// One who looks, as he sees it; it is over when this is dropped.
#[derive(Debug)]
pub struct Looking {
    taps: Arc<Taps>,
    tap: Arc<Tap>,
    lines: Receiver<Vec<u8>>,
}

impl Taps {
    /// Somebody looks from now on.
    ///
    /// # Errors
    /// When there are many already, or when his expression is none.
    pub fn look(self: &Arc<Self>, wanted: Wanted) -> Result<Looking, TapError> {
        let pattern = wanted.grep.as_deref().map(|pattern| {
            RegexBuilder::new(pattern)
                .size_limit(TAP_PATTERN_BYTES_MAX)
                .dfa_size_limit(TAP_PATTERN_BYTES_MAX)
                .build()
                .map_err(|error| TapError::Pattern(error.to_string()))
        });
        let pattern = pattern.transpose()?;
        let (sender, lines) = mpsc::channel(TAP_MESSAGES_MAX);
        let (waiting_bytes, missed) = (AtomicUsize::new(0), AtomicU64::new(0));
        let tap = Arc::new(Tap { wanted, pattern, lines: sender, waiting_bytes, missed });
        self.change(|open| match open.len() < TAPS_MAX {
            true => {
                open.push(Arc::clone(&tap));
                Ok(())
            }
            false => Err(TapError::TooMany),
        })?;
        Ok(Looking { taps: Arc::clone(self), tap, lines })
    }

    /// Does anybody look?
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Shows a message to all who want to see it.
    #[cold]
    pub fn show<'a, F: Fields<'a>>(
        &self,
        stamp: &Stamp,
        facility: &Facility,
        entry: &Entry<'a, F>,
    ) {
        for tap in self.open.load().iter() {
            if tap.wants(facility, entry) {
                tap.show(stamp, entry);
            }
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Arc<Tap>>) -> T) -> T {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = Vec::clone(&self.open.load());
        let done = change(&mut open);
        self.count.store(open.len(), Ordering::Relaxed);
        self.open.store(Arc::new(open));
        done
    }
}

impl Tap {
    fn wants<'a, F>(&self, facility: &Facility, entry: &Entry<'a, F>) -> bool {
        let wanted = &self.wanted;
        let is_below = |module: &str| {
            let below = entry.logger.strip_prefix(module);
            let is_below = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            is_below || *facility.module == *module || (module == ROOT && entry.logger.is_empty())
        };
        (wanted.app == "*" || wanted.app == *facility.app)
            && wanted.module.as_deref().is_none_or(is_below)
            && wanted.host.as_deref().is_none_or(|host| host == entry.host)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(entry.body))
    }

    fn show<'a, F: Fields<'a>>(&self, stamp: &Stamp, entry: &Entry<'a, F>) {
        let Ok(place) = self.lines.try_reserve() else {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if self.waiting_bytes.load(Ordering::Relaxed) > TAP_WAITING_BYTES_MAX {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut line = Vec::new();
        let body = cut(entry.body, TAP_SHOWN_BYTES_MAX);
        // A long one is cut, and its exception may lie behind the cut.
        let exception_at = entry.exception_at.filter(|at| *at <= body.len());
        json::write_json(stamp, &Entry { body, exception_at, ..entry.clone() }, &mut line);
        self.waiting_bytes.fetch_add(line.len(), Ordering::Relaxed);
        place.send(line);
    }
}

impl Looking {
    /// The next message, a line of JSON with a line feed.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        let line = self.lines.recv().await?;
        self.tap.waiting_bytes.fetch_sub(line.len(), Ordering::Relaxed);
        Some(line)
    }

    /// How many were missed since this was asked last, because they came too fast.
    pub fn take_missed(&self) -> u64 {
        self.tap.missed.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.taps.change(|open| open.retain(|tap| !Arc::ptr_eq(tap, &self.tap)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config;
    use crate::pipeline::persist::entry::NoFields;
    use std::path::Path;

    fn facility(module: &str) -> Arc<Facility> {
        let text =
            "[a]\nrotate = daily\nbackup_count = 1\n[a:web]\nrotate = daily\nbackup_count = 1\n";
        let table = config::read_facilities(text.as_bytes(), Path::new("facilities.conf")).unwrap();
        Arc::clone(table.find("a", module).unwrap())
    }

    fn entry<'a>(host: &'a str, logger: &'a str, body: &'a str) -> Entry<'a, NoFields<'a>> {
        let record = wire::v1::Record {
            app_id: "a",
            module: logger,
            hostname: host,
            body,
            stamp: 1,
            nsecs: 2,
            signature: None,
        };
        Entry::from(&record)
    }

    fn show(taps: &Taps, host: &str, logger: &str, body: &str) {
        let stamp = Clock::system().stamp();
        taps.show(&stamp, &facility(logger), &entry(host, logger, body));
    }

    fn bodies(looking: &mut Looking) -> Vec<String> {
        std::iter::from_fn(|| looking.lines.try_recv().ok())
            .map(|line| serde_json::from_slice::<serde_json::Value>(&line).unwrap())
            .map(|line| line["message"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn everybody_sees_what_he_wants_to_see_and_no_more() {
        let taps = Arc::new(Taps::default());
        assert!(!taps.any());
        let mut all = taps.look(Wanted { app: "*".into(), ..Wanted::default() }).unwrap();
        let app = || Wanted { app: "a".into(), ..Wanted::default() };
        let mut web = taps.look(Wanted { module: Some("web".into()), ..app() }).unwrap();
        let mut root = taps.look(Wanted { module: Some(ROOT.into()), ..app() }).unwrap();
        let mut host = taps.look(Wanted { host: Some("h2".into()), ..app() }).unwrap();
        let mut grep = taps.look(Wanted { grep: Some("^t.o$".into()), ..app() }).unwrap();
        let mut other = taps.look(Wanted { app: "b".into(), ..Wanted::default() }).unwrap();
        show(&taps, "h1", "", "one");
        show(&taps, "h2", "web.views", "two");
        show(&taps, "h1", "website", "three");
        assert_eq!(bodies(&mut all), ["one", "two", "three"]);
        assert_eq!(bodies(&mut web), ["two"]);
        assert_eq!(bodies(&mut root), ["one", "three"]);
        assert_eq!(bodies(&mut host), ["two"]);
        assert_eq!(bodies(&mut grep), ["two"]);
        assert_eq!(bodies(&mut other), [""; 0]);
        drop((all, web, root, host, grep, other));
        assert!(!taps.any());
    }

    #[test]
    fn who_looks_too_slowly_misses_messages_and_holds_nobody_up() {
        let taps = Arc::new(Taps::default());
        let mut looking = taps.look(Wanted { app: "a".into(), ..Wanted::default() }).unwrap();
        for _ in 0..TAP_MESSAGES_MAX + 10 {
            show(&taps, "h", "", "x");
        }
        assert_eq!(looking.take_missed(), 10);
        assert_eq!(looking.take_missed(), 0);
        assert_eq!(bodies(&mut looking).len(), TAP_MESSAGES_MAX);
        // Long ones are cut, and few of them wait.
        let long = "é".repeat(TAP_SHOWN_BYTES_MAX);
        for _ in 0..TAP_MESSAGES_MAX {
            show(&taps, "h", "", &long);
        }
        assert!(looking.take_missed() > 0);
        assert!(bodies(&mut looking).iter().all(|body| body.len() <= TAP_SHOWN_BYTES_MAX));
    }

    #[test]
    fn there_are_only_so_many_and_their_patterns_are_small() {
        let taps = Arc::new(Taps::default());
        let look = |grep: &str| {
            taps.look(Wanted { app: "a".into(), grep: Some(grep.to_owned()), ..Wanted::default() })
        };
        assert!(matches!(look("("), Err(TapError::Pattern(_))));
        assert!(matches!(look(r"\w{1000}{1000}"), Err(TapError::Pattern(_))));
        let open: Vec<_> = (0..TAPS_MAX).map(|_| look("x").unwrap()).collect();
        assert_eq!(look("x").unwrap_err(), TapError::TooMany);
        drop(open);
        assert!(look("x").is_ok());
    }
}
