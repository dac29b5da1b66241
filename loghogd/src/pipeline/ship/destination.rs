//! Knows where a target has shipped to: receipts belong to a place, not to a name.
//! A section and what was noted -> the same place, or another one and how to fill it.
//! Invariant: a change is said once; nothing is sent again unless somebody asks for it.
//! Leaves out: sending again (`replay`).
//!
//! ```text
//! LOGDIR/.loghogd/ship/TARGET/destination.REVISION
//!
//! type kafka
//! brokers kafka-1:9092,kafka-2:9092
//! topic logs.{app}
//! cluster 4L6g3nShT-eMCtK--X86sw     where the brokers have said it
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read as _};

use jiff::Timestamp;

use crate::config::ship::Kind;
use crate::config::ship::influxdb::Way;
use crate::disk::{Disk, publish};

/// Where a target ships to. It holds no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    parts: BTreeMap<Box<str>, Box<str>>,
}

/// What the brokers of one cluster are called may change.
const BROKERS: &str = "brokers";
/// What they call themselves may not be known.
const CLUSTER: &str = "cluster";

impl Destination {
    /// As a section has it.
    pub(super) fn of(kind: &Kind) -> Destination {
        let mut parts = BTreeMap::from([("type", kind.name().to_owned())]);
        match kind {
            Kind::Kafka(options) => {
                parts.insert(BROKERS, options.brokers.to_string());
                parts.insert("topic", options.topic.to_string());
            }
            Kind::S3(options) => {
                let endpoint = options.endpoint.as_deref().unwrap_or("https://s3.amazonaws.com");
                parts.insert("endpoint", endpoint.to_owned());
                parts.insert("bucket", options.bucket.to_string());
                parts.insert("key", options.key.to_string());
            }
            Kind::InfluxDb(options) => {
                parts.insert("url", options.url.to_string());
                match &options.way {
                    Way::One { database, retention_policy, .. } => {
                        parts.insert("database", database.to_string());
                        let policy = retention_policy.as_deref();
                        policy.map(|policy| parts.insert("retention_policy", policy.to_owned()));
                    }
                    Way::Two { org, bucket, .. } => {
                        parts.insert("bucket", bucket.to_string());
                        org.as_deref().map(|org| parts.insert("org", org.to_owned()));
                    }
                }
            }
        }
        let parts = parts.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Destination { parts }
    }

    /// The same, of which is also known what it calls itself.
    pub(super) fn with_cluster(mut self, cluster: Option<String>) -> Destination {
        if let Some(cluster) = cluster {
            self.parts.insert(CLUSTER.into(), cluster.into());
        }
        self
    }

    /// Is it the same place? Brokers tell a cluster only where it does not tell itself.
    pub(super) fn is_same(&self, other: &Destination) -> bool {
        let clusters = self.parts.contains_key(CLUSTER) && other.parts.contains_key(CLUSTER);
        let passed_over = if clusters { BROKERS } else { CLUSTER };
        let telling = |destination: &Destination| {
            let mut parts = destination.parts.clone();
            parts.remove(passed_over);
            parts
        };
        telling(self) == telling(other)
    }

    pub(super) fn text(&self) -> String {
        self.parts.iter().map(|(name, value)| format!("{name} {value}\n")).collect()
    }

    pub(super) fn read(text: &str) -> Option<Destination> {
        let parts = text.lines().map(|line| line.split_once(' '));
        let parts = parts.map(|part| part.map(|(name, value)| (name.into(), value.into())));
        let parts = parts.collect::<Option<BTreeMap<Box<str>, Box<str>>>>()?;
        parts.contains_key("type").then_some(Destination { parts })
    }
}

/// What the names begin with under which it is noted.
const PREFIX: &str = "destination.";

/// Longest note that is read, in bytes; more is none of ours.
const NOTE_BYTES_MAX: u64 = 64 << 10;

/// Where a target has shipped to; none when it has shipped nowhere yet, or when what was
/// noted is not understood.
///
/// # Errors
/// What the system says.
pub(super) fn noted(disk: &dyn Disk, target: &str) -> io::Result<Option<Destination>> {
    let Some(&newest) = revisions(disk, target)?.last() else { return Ok(None) };
    let mut text = Vec::new();
    let file = disk.open(target, &format!("{PREFIX}{newest}"))?;
    file.take(NOTE_BYTES_MAX).read_to_end(&mut text)?;
    Ok(Destination::read(&String::from_utf8_lossy(&text)))
}

/// Notes it; when this returns, it is safe.
///
/// # Errors
/// What the system says; then another attempt may be made.
pub(super) fn note(disk: &dyn Disk, target: &str, destination: &Destination) -> io::Result<()> {
    let before = revisions(disk, target)?;
    let revision = before.last().map_or(1, |newest| newest + 1);
    publish(disk, target, &format!("{PREFIX}{revision}"), destination.text().as_bytes())?;
    for older in before {
        // What stays is older, and never read.
        let _ = disk.remove(target, &format!("{PREFIX}{older}"));
    }
    Ok(())
}

fn revisions(disk: &dyn Disk, target: &str) -> io::Result<BTreeSet<u64>> {
    let names = disk.names(target)?;
    Ok(names.iter().filter_map(|name| name.strip_prefix(PREFIX)?.parse().ok()).collect())
}

/// What has gone elsewhere and is still here.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// Segments of which all has gone.
    pub(super) segments: u64,
    /// When the first one of them began, and the last one.
    pub(super) span: Option<(Timestamp, Timestamp)>,
    /// Files of which a part has.
    pub(super) parts: u64,
}

impl Gone {
    /// Counts a segment that began then.
    pub(super) fn add(&mut self, began: Timestamp) {
        self.segments += 1;
        let (first, last) = self.span.unwrap_or((began, began));
        self.span = Some((first.min(began), last.max(began)));
    }

    /// What to say when a target has another place than before; none when nothing of what
    /// is here has gone there.
    pub(super) fn told(
        &self,
        target: &str,
        before: &Destination,
        now: &Destination,
        at: Timestamp,
    ) -> Option<String> {
        let mut told = format!("it has another place than before ({now}; before: {before})");
        if self.segments == 0 && self.parts == 0 {
            return None;
        }
        if self.parts > 0 {
            told += &format!(
                "; {} files of which a part went to the place before are continued at this one",
                self.parts
            );
        }
        if let Some((first, last)) = self.span {
            let shown = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let second = jiff::SignedDuration::from_secs(1);
            let end = last.max(at).checked_add(second).unwrap_or(Timestamp::MAX);
            told += &format!(
                "; {} segments that are still here went to the place before and are not sent \
                 again by themselves; if they are to be here too: loghogd ship replay {target} \
                 --from {} --to {}",
                self.segments,
                shown(first),
                shown(end)
            );
        }
        Some(told)
    }
}

/// On one line.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts.iter().map(|(name, value)| format!("{name} {value}"));
        f.write_str(&parts.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, read_config};

    fn of(options: &str) -> Destination {
        let text = format!("[ship:far]\n{options}\n");
        let read = read_config(text.as_bytes(), "loghogd.conf".as_ref(), &Overrides::default());
        Destination::of(&read.unwrap().0.ship.remove(0).kind)
    }

    #[test]
    fn what_was_written_is_the_same_place() {
        for options in [
            "type = kafka\nbrokers = a:9092, b:9092\ntopic = logs.{app}",
            "type = s3\nbucket = logs\nendpoint = http://h:1",
            "type = s3\nbucket = logs",
            "type = influxdb\nurl = http://h:8086\ndatabase = logs\nuser = u\npassword = secret",
            "type = influxdb\nversion = 2\nurl = http://h:8086\norg = o\nbucket = logs\ntoken = secret",
        ] {
            let destination = of(options);
            let text = destination.text();
            assert_eq!(Destination::read(&text), Some(destination.clone()), "{text}");
            assert!(destination.is_same(&destination) && !text.contains("secret"), "{text}");
        }
        assert_eq!(Destination::read("damaged"), None);
        assert_eq!(Destination::read(""), None);
    }

    #[test]
    fn what_is_told_is_what_has_gone_elsewhere_and_nothing_is_told_of_nothing() {
        let place = |at: &str| Destination::read(&format!("type test\nat {at}\n")).unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let told = |gone: &Gone| {
            gone.told("far", &place("here"), &place("there"), at("2026-11-20T12:00:00.5Z"))
        };
        let mut gone = Gone::default();
        assert_eq!(told(&gone), None);
        gone.parts = 2;
        let begin = "it has another place than before (at there, type test; before: at here, type \
                     test); 2 files of which a part went to the place before are continued at \
                     this one";
        assert_eq!(told(&gone).as_deref(), Some(begin));
        gone.add(at("2026-11-19T00:00:00.7Z"));
        gone.add(at("2026-11-18T00:00:00.7Z"));
        let end = "--from 2026-11-18T00:00:00Z --to 2026-11-20T12:00:01Z";
        let said = told(&gone).unwrap();
        assert!(said.starts_with(begin) && said.ends_with(end), "{said}");
        // A clock was ahead.
        gone.add(at("2026-11-25T00:00:00.7Z"));
        assert!(told(&gone).unwrap().ends_with("--to 2026-11-25T00:00:01Z"));
    }

    #[test]
    fn another_place_is_told_and_another_way_to_the_same_is_not() {
        let s3 = |more: &str| of(&format!("type = s3\nbucket = logs\n{more}"));
        assert!(s3("").is_same(&s3("timeout = 9s\nstorage_class = GLACIER_IR")));
        assert!(!s3("").is_same(&of("type = s3\nbucket = logs-test")));
        assert!(!s3("").is_same(&s3("endpoint = http://h:1")));
        assert!(!s3("").is_same(&s3("key = {app}/{sha256}")));
        let influxdb = |database: &str| {
            of(&format!("type = influxdb\nurl = http://h:8086\ndatabase = {database}"))
        };
        assert!(influxdb("a").is_same(&influxdb("a")) && !influxdb("a").is_same(&influxdb("b")));
        let kafka = |brokers: &str, topic: &str, cluster: Option<&str>| {
            of(&format!("type = kafka\nbrokers = {brokers}\ntopic = {topic}"))
                .with_cluster(cluster.map(str::to_owned))
        };
        let one = kafka("a:1", "t", Some("x"));
        assert!(one.is_same(&kafka("a:1,b:1", "t", Some("x"))), "a broker more");
        assert!(!one.is_same(&kafka("a:1", "t", Some("y"))), "the cluster was made anew");
        assert!(!one.is_same(&kafka("a:1", "other", Some("x"))));
        assert!(one.is_same(&kafka("a:1", "t", None)), "nobody has said its name");
        assert!(!one.is_same(&kafka("b:1", "t", None)));
    }
}
