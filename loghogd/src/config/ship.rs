//! The sections `[ship:NAME]` of `loghogd.conf`: where files are shipped to.
//! A section as written -> a target with typed options, or every problem.
//! Invariant: an option that nobody knows is refused; a secret never prints itself.
//! Leaves out: whether anybody answers there (`check-config --connect`).

pub mod influxdb;
pub mod kafka;
mod options;
pub mod s3;

pub use options::Options;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use super::checked::Places;
use super::facility::Secret;
use super::problem::{Kind as Problem, Problems, shown};
use super::raw::{Raw, Section};
use super::value::{self, Refused};

/// What the names of such sections begin with.
pub const PREFIX: &str = "ship:";

/// Longest name of a target, in bytes: it becomes a part of file names.
pub const NAME_BYTES_MAX: usize = 32;

/// Most targets; each has a thread.
pub const TARGETS_MAX: usize = 16;

/// A target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What facilities call it.
    pub name: Box<str>,
    /// When files are shipped.
    pub when: When,
    /// Most bytes of log files that it takes a second.
    pub rate_bytes: Option<NonZeroU64>,
    /// What kind of target, and its own options.
    pub kind: Kind,
    /// Files that its options name: certificates, secrets.
    pub files: BTreeSet<PathBuf>,
}

/// When files are shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// When they are closed and sealed.
    Sealed,
    /// While they are being written, and those that are closed.
    Live,
}

/// The kinds of targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Apache Kafka.
    Kafka(kafka::Kafka),
    /// Amazon S3 and what speaks like it.
    S3(s3::S3),
    /// InfluxDB and what speaks like it.
    InfluxDb(Box<influxdb::InfluxDb>),
}

impl Kind {
    /// As the option `type` takes it.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Kafka(_) => "kafka",
            Kind::S3(_) => "s3",
            Kind::InfluxDb(_) => "influxdb",
        }
    }
}

/// Reads all sections of targets.
pub(super) fn read(raw: &Raw, places: Places<'_>, problems: &mut Problems) -> Vec<Target> {
    let sections = raw.sections().iter().filter(|section| section.name.starts_with(PREFIX));
    let targets: Vec<Target> =
        sections.clone().filter_map(|section| target(raw, section, places, problems)).collect();
    if let Some(section) = sections.clone().nth(TARGETS_MAX) {
        let message = format!("there are more than {TARGETS_MAX} targets");
        problems.add(section.line, Problem::BadValue, message, "leave some out");
    }
    targets
}

fn target(
    raw: &Raw,
    section: &Section,
    places: Places<'_>,
    problems: &mut Problems,
) -> Option<Target> {
    let name = section.name.strip_prefix(PREFIX).unwrap_or_default().trim();
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=NAME_BYTES_MAX).contains(&name.len())
        || !name.bytes().all(plain)
        || name.starts_with('-')
    {
        let message = format!("{} cannot be the name of a target", shown(name));
        let remedy = format!(
            "write [ship:NAME] with a name of small letters, digits and dashes, of at most \
             {NAME_BYTES_MAX} characters"
        );
        problems.add(section.line, Problem::UnsafeName, message, remedy);
        return None;
    }
    let mut options = Options::new(raw, section, places, problems);
    let when = options.value("when", When::Sealed, when);
    let rate_bytes = options
        .value("rate_limit", None, |text| value::size(text, 0..=u64::MAX).map(NonZeroU64::new));
    let kind = match options.required("type", "type = kafka, s3 or influxdb")?.as_str() {
        "kafka" => Kind::Kafka(kafka::read(&mut options)),
        "s3" => Kind::S3(s3::read(&mut options)),
        "influxdb" => Kind::InfluxDb(Box::new(influxdb::read(&mut options))),
        other => {
            let message = format!("{} is no kind of target", shown(other));
            options.refuse("type", Refused::new(message, "write kafka, s3 or influxdb"));
            return None;
        }
    };
    if when == When::Live && matches!(kind, Kind::S3(_)) {
        let message = "S3 takes whole segments, never a file that is being written";
        options.refuse("when", Refused::new(message, "leave when out, or write sealed"));
    }
    options.refuse_unknown(kind.name());
    let files = options.take_files();
    Some(Target { name: name.into(), when, rate_bytes, kind, files })
}

fn when(text: &str) -> Result<When, Refused> {
    match text.trim() {
        "sealed" => Ok(When::Sealed),
        "live" => Ok(When::Live),
        other => Err(Refused::new(
            format!("{} is no time to ship", shown(other)),
            "write sealed or live",
        )),
    }
}

/// Largest file with a secret, in bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// The first line of a file.
fn read_secret(path: &Path) -> Result<Secret, Refused> {
    let mut text = Vec::new();
    let read = File::open(path)
        .and_then(|file| file.take(SECRET_BYTES_MAX).read_to_end(&mut text))
        .map_err(|error| {
            let message = format!("{} cannot be read: {error}", path.display());
            Refused::new(message, "let the user of loghogd read it, and nobody else")
        });
    read?;
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        let message = format!("the first line of {} is empty", path.display());
        return Err(Refused::new(message, "write the secret into its first line"));
    }
    Ok(Secret::new(line))
}
