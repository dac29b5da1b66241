//! The facilities: who may log, into which file, under which rules.
//! An application and a module, as a message names them -> the facility.
//! Invariant: looking up allocates nothing, and finds the deepest match.
//! Leaves out: checking a signature, opening a file.

mod collide;
mod options;
mod read;
mod require;
mod secret;

pub use read::read;
pub use require::Require;
pub use secret::Secret;

use super::name;
use super::problem::Problem;
use crate::pipeline::persist::path::can_be_host;
use crate::pipeline::rotate::schedule::Schedule;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use wire::signature::Key;

/// How the root facility of an application is named.
pub const ROOT: &str = "root";

/// The rules of one log file, or with `file_per_host` of one a host.
#[derive(Clone, Debug)]
pub struct Facility {
    /// The application: the name of the folder.
    pub app: Box<str>,
    /// The canonical name of the module, [`ROOT`] for the root facility.
    pub module: Box<str>,
    /// When the file turns.
    pub rotate: Rotate,
    /// How many closed segments are kept; at least 1.
    pub backup_count: u32,
    /// The size at which the file turns, as configured: `Some(0)` switches
    /// an inherited one off. Use [`Facility::turns_at_bytes`].
    pub max_size_bytes: Option<u64>,
    /// How old a closed segment may become, as configured: zero switches an
    /// inherited one off. Use [`Facility::age_max`].
    pub max_age: Option<Duration>,
    /// What all files of the facility may take on the disk, as configured, in
    /// bytes: `Some(0)` switches an inherited one off. Use
    /// [`Facility::total_bytes_max`].
    pub max_total_size_bytes: Option<u64>,
    /// The file is synced after this many messages; at least 1.
    pub flush_every: u32,
    /// One file for each host.
    pub file_per_host: bool,
    /// What senders have to know; none when anybody may log.
    pub secret: Option<Secret>,
    /// Checks v1 signatures with it; there if a secret is.
    pub key: Option<Key>,
    /// How messages have to come.
    pub require: Require,
    /// How they look in the file.
    pub format: LineFormat,
    /// The targets that its files are shipped to.
    pub ship: Arc<[Box<str>]>,
    /// No closed segment is deleted before all of them have it.
    pub keep_until_shipped: bool,
    /// Where the values came from.
    pub origins: Origins,
    /// The live file relative to the log directory, such as `my-app/web.log`;
    /// meaningless with `file_per_host`.
    pub live_path: Box<str>,
}

impl Facility {
    /// The size at which the file turns whatever the schedule, in bytes.
    pub fn turns_at_bytes(&self) -> Option<NonZeroU64> {
        self.max_size_bytes.and_then(NonZeroU64::new)
    }

    /// The age at which a closed segment is deleted, counted from its end.
    pub fn age_max(&self) -> Option<Duration> {
        self.max_age.filter(|age| !age.is_zero())
    }

    /// What all files of the facility may take on the disk, live ones
    /// included, in bytes. Beyond it the oldest closed segments are deleted.
    pub fn total_bytes_max(&self) -> Option<NonZeroU64> {
        self.max_total_size_bytes.and_then(NonZeroU64::new)
    }
}

/// How messages look in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// Stamp, host and body, for people (`persist::line`).
    Text,
    /// One JSON object a line, with all that was sent (`persist::json`).
    Json,
}

impl LineFormat {
    /// All of them.
    pub const ALL: [LineFormat; 2] = [LineFormat::Text, LineFormat::Json];

    /// As the option `format` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            LineFormat::Text => "text",
            LineFormat::Json => "json",
        }
    }
}

/// When a file turns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotate {
    /// At these times.
    Schedule(Schedule),
    /// Only by its size.
    Size,
}

/// Where the values of a facility came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origins {
    /// The line of the section's header.
    pub section_line: u32,
    /// Of [`Facility::rotate`].
    pub rotate: Origin,
    /// Of [`Facility::backup_count`].
    pub backup_count: Origin,
    /// Of [`Facility::max_size_bytes`].
    pub max_size: Origin,
    /// Of [`Facility::max_age`].
    pub max_age: Origin,
    /// Of [`Facility::max_total_size_bytes`].
    pub max_total_size: Origin,
    /// Of [`Facility::flush_every`].
    pub flush_every: Origin,
    /// Of [`Facility::file_per_host`].
    pub file_per_host: Origin,
    /// Of [`Facility::secret`].
    pub secret: Origin,
    /// Of [`Facility::require`].
    pub require: Origin,
    /// Of [`Facility::format`].
    pub format: Origin,
    /// Of [`Facility::ship`].
    pub ship: Origin,
    /// Of [`Facility::keep_until_shipped`].
    pub keep_until_shipped: Origin,
}

/// Where one value came from. Lines count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave it.
    BuiltIn,
    /// The facility's own section.
    Section {
        /// The line of the option.
        line: u32,
    },
    /// The section `[DEFAULT]`.
    Defaults {
        /// The line of the option.
        line: u32,
    },
    /// The application's root facility.
    Root {
        /// The line of the option.
        line: u32,
    },
}

impl Origin {
    /// The line of the option, unless nobody gave it.
    pub fn line(self) -> Option<u32> {
        match self {
            Origin::BuiltIn => None,
            Origin::Section { line } | Origin::Defaults { line } | Origin::Root { line } => {
                Some(line)
            }
        }
    }

    /// How a module sees a value that its root facility hands down.
    fn inherited(self) -> Origin {
        match self {
            Origin::Section { line } => Origin::Root { line },
            other => other,
        }
    }
}

/// All facilities of one `facilities.conf`.
#[derive(Clone, Debug, Default)]
pub struct Table {
    file: PathBuf,
    apps: HashMap<Box<str>, Node>,
    all: Vec<Arc<Facility>>,
    warnings: Vec<Problem>,
}

/// A module and what is below it. An application's own node is its root.
#[derive(Clone, Debug, Default)]
struct Node {
    facility: Option<Arc<Facility>>,
    below: HashMap<Box<str>, Node>,
}

impl Table {
    /// The facility of a message: the deepest of the application's modules
    /// that the message's module is, or is below of; else the application's
    /// root facility. None when nobody knows the application.
    pub fn find(&self, app: &str, module: &str) -> Option<&Arc<Facility>> {
        let mut node = self.apps.get(app)?;
        let mut found = node.facility.as_ref();
        for component in name::components(module) {
            let Some(below) = node.below.get(component) else { break };
            node = below;
            found = node.facility.as_ref().or(found);
        }
        found
    }

    /// The facility whose file `APP/STEM.log` is, or once was: STEM is the
    /// name of a module, or `HOST-MODULE` where the module has a file for each
    /// host. There is no other, because the reader refuses names that meet.
    pub fn owner(&self, app: &str, stem: &str) -> Option<&Arc<Facility>> {
        self.exactly(app, stem).or_else(|| {
            stem.match_indices('-').find_map(|(dash, _)| {
                let (host, module) = (stem.get(..dash)?, stem.get(dash + 1..)?);
                let facility = self.exactly(app, module)?;
                (facility.file_per_host && can_be_host(host)).then_some(facility)
            })
        })
    }

    /// The facility of exactly this canonical name.
    fn exactly(&self, app: &str, module: &str) -> Option<&Arc<Facility>> {
        self.find(app, module).filter(|facility| *facility.module == *module)
    }

    /// All facilities, in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Facility>> {
        self.all.iter()
    }

    /// How many facilities there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// There are none, so every message is refused.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The file that they were read from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What to know about the file.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Adds a facility, or replaces the one of the same name.
    fn put(&mut self, facility: Facility) {
        let mut node = self.apps.entry(facility.app.clone()).or_default();
        let module = if &*facility.module == ROOT { "" } else { &facility.module };
        for component in name::components(module) {
            node = node.below.entry(component.into()).or_default();
        }
        node.facility = Some(Arc::new(facility));
    }

    /// Lists all that was put, in the order of the file.
    fn list(&mut self) {
        let mut nodes: Vec<&Node> = self.apps.values().collect();
        let mut all = Vec::new();
        while let Some(node) = nodes.pop() {
            nodes.extend(node.below.values());
            all.extend(node.facility.iter().cloned());
        }
        all.sort_by_key(|facility| facility.origins.section_line);
        self.all = all;
    }
}
