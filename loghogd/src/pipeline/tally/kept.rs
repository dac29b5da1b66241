//! Keeps the tallies of sealed segments beside them, until they are of no more use.
//! A segment's tally, length and checksum of its sealed file <-> a small file.
//! Invariant: what is read back is what was put, or nothing; without any all goes on, slower.
//! Leaves out: whether the sealed file is still the same: who reads it compares.
//!
//! ```text
//! LOGDIR/.loghogd/tally/
//!   APP/web.log.2026-11-20-12-00-00-123456        of this segment; `name` says how it is sealed
//!   APP/web.log.2026-11-20-12-00-00-123456.part   one that was not finished
//!
//! loghog-tally 1 CHECKSUM       SHA-256 of the next line, in hex
//! {"name":"...","kept":{"sealed_bytes":120,"sealed_sha256":"...","tally":{"lines":3,...}}}
//! ```
//! One goes with its segment, or when the segment has arrived at all its targets; what
//! a stop has left without a segment goes at the next start.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::sync::Arc;

use arc_swap::ArcSwap;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::Tally;
use crate::config::checked::Format;
use crate::config::facility::Facility;
use crate::config::ship::s3::Body;
use crate::config::ship::{Kind, Target};
use crate::disk::{self, Disk, UNFINISHED, publish};
use crate::limits::TALLY_BYTES_MAX;
use crate::pipeline::rotate::name::{Name, Segment};

/// What the first line begins with.
const HEAD: &str = "loghog-tally 1 ";

/// What is kept of a sealed segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The length of the sealed file.
    pub sealed_bytes: u64,
    /// Its SHA-256, in lower-case hex.
    pub sealed_sha256: String,
    /// What is in it.
    pub tally: Tally,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
struct Named<'a, K> {
    name: Cow<'a, str>,
    kept: K,
}

/// All that are kept. A clone is the same.
#[derive(Clone, Debug)]
pub struct Tallies {
    disk: Option<Arc<dyn Disk>>,
    /// The targets that have use for them.
    targets: Arc<ArcSwap<BTreeSet<Box<str>>>>,
}

impl Tallies {
    /// None is kept, and none is there.
    pub fn none() -> Tallies {
        Tallies { disk: None, targets: Arc::default() }
    }

    /// Keeps them in the folder `disk`, and removes those without a sealed segment in the
    /// log folder `log`.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(disk: Arc<dyn Disk>, log: &dyn Disk) -> io::Result<Tallies> {
        for folder in disk.folders()? {
            let segments: BTreeSet<String> = log.names(&folder)?.into_iter().collect();
            for name in disk.names(&folder)? {
                let finished = name.strip_suffix(UNFINISHED);
                let Name::Segment(segment) = Name::read(finished.unwrap_or(&name)) else {
                    // Nothing that we have put there.
                    continue;
                };
                let is_there = |format| segments.contains(&segment.sealed(format).to_string());
                if finished.is_some() || !Format::ALL.into_iter().any(is_there) {
                    disk.remove(&folder, &name)?;
                }
            }
        }
        Ok(Tallies { disk: Some(disk), targets: Arc::default() })
    }

    /// From now on they are kept for these targets: for those that take segments as they
    /// are. Whoever reads each record anyway counts as well.
    pub fn keep_for(&self, targets: &[Target]) {
        let takes_files = |target: &&Target| match &target.kind {
            Kind::S3(options) => options.body == Body::File,
            Kind::Kafka(_) | Kind::InfluxDb(_) => false,
        };
        let names = targets.iter().filter(takes_files).map(|target| target.name.clone());
        self.targets.store(Arc::new(names.collect()));
    }

    /// Has anybody use for those of a facility?
    pub fn are_of_use(&self, facility: &Facility) -> bool {
        let targets = self.targets.load();
        self.disk.is_some() && facility.ship.iter().any(|target| targets.contains(target))
    }

    /// Keeps what is in a sealed segment, in the place of what was kept of it before.
    ///
    /// # Errors
    /// What the system says.
    pub fn put(&self, app: &str, segment: &Segment, kept: &Kept) -> io::Result<()> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let name = segment.plain().to_string();
        let text = write(&segment.to_string(), kept);
        // From an attempt before, whose segment was never published.
        disk.remove(app, &name)?;
        if text.len() as u64 > TALLY_BYTES_MAX {
            return Ok(());
        }
        publish(&**disk, app, &name, text.as_bytes())
    }

    /// What was put for a segment that is sealed like this; none when it is not there, or
    /// not whole.
    pub fn get(&self, app: &str, segment: &Segment) -> Option<Kept> {
        let disk = self.disk.as_ref()?;
        let name = segment.plain().to_string();
        let file = match disk.open(app, &name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.say(app, &name, "cannot be read", &error);
                return None;
            }
        };
        let mut text = String::new();
        // What is longer is cut, and refused.
        match file.take(TALLY_BYTES_MAX).read_to_string(&mut text) {
            Ok(_) => {}
            Err(error) => self.say(app, &name, "cannot be read", &error),
        }
        read(&segment.to_string(), &text)
    }

    /// What was put for a segment is of no more use.
    pub fn remove(&self, app: &str, segment: &Segment) {
        let Some(disk) = &self.disk else { return };
        let name = segment.plain().to_string();
        if let Err(error) = disk.remove(app, &name) {
            self.say(app, &name, "cannot be removed", &error);
        }
    }

    fn say(&self, app: &str, name: &str, what: &str, error: &io::Error) {
        let Some(disk) = &self.disk else { return };
        let path = disk.path().join(app).join(name);
        warn!("{} {what}: {error}; {}", path.display(), disk::remedy(error));
    }
}

fn write(name: &str, kept: &Kept) -> String {
    // Numbers and strings only: it is always JSON.
    let line = serde_json::to_string(&Named { name: name.into(), kept }).unwrap_or_default();
    format!("{HEAD}{}\n{line}\n", checksum(&line))
}

fn read(name: &str, text: &str) -> Option<Kept> {
    let (head, rest) = text.strip_prefix(HEAD)?.split_once('\n')?;
    let line = rest.strip_suffix('\n')?;
    if head != checksum(line) {
        return None;
    }
    let named: Named<'_, Kept> = serde_json::from_str(line).ok()?;
    // It becomes part of an object's key.
    let checksum = named.kept.sealed_sha256.as_bytes();
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_checksum = checksum.len() == 2 * SHA256_OUTPUT_LEN && checksum.iter().all(is_hex);
    (named.name == name && is_checksum).then_some(named.kept)
}

fn checksum(line: &str) -> String {
    hex(digest(&SHA256, line.as_bytes()).as_ref())
}

/// In lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // A string takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
