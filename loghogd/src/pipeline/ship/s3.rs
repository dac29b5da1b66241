//! Ships sealed segments to Amazon S3 and what speaks like it.
//! A segment -> an object with its checksum in its name, and its entry in the index.
//! Invariant: an object is never replaced, and the index names only objects that are there.
//! Leaves out: when to try again (`run`); reading what is there (`archive`).
//!
//! First the object, then the index; both may be repeated after a stop at any step: the
//! object's key is made of what is in it, and an index object has an entry once.

mod answer;
pub mod archive;
mod index;
pub mod limits;
mod read;
mod recode;
mod store;
mod upload;

pub use index::{Day, Entry};

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use object_store::ObjectStore;

use self::index::Index;
use self::limits::KEY_BYTES_MAX;
use self::read::{Summary, cannot_read, each};
use self::store::Store;
use self::upload::{Bytes, Failed, Upload};
use super::template::Values;
use super::{Arrived, Scope, Segments, Surroundings, Trouble, Whole};
use crate::config::ship::s3::{Body, S3};

/// What `{host}` is where the files are not those of single hosts.
const ALL_HOSTS: &str = "all";

/// A bucket that segments are shipped to.
#[derive(Debug)]
pub struct S3Target {
    name: Box<str>,
    options: S3,
    surroundings: Surroundings,
    /// There once it was connected to.
    store: Option<Store>,
    /// It was connected to before.
    proven: bool,
    index: Index,
}

impl S3Target {
    /// As configured. Does not connect.
    ///
    /// # Errors
    /// None yet: what is wrong is told when it connects.
    pub fn new(name: &str, options: &S3, surroundings: Surroundings) -> Result<S3Target, Trouble> {
        Ok(S3Target {
            name: name.into(),
            options: options.clone(),
            surroundings,
            store: None,
            proven: false,
            index: Index::default(),
        })
    }

    fn entry(&self, whole: &Whole<'_>, summary: &Summary, object: Object) -> Entry {
        let began = whole.segment.began.to_timestamp(&self.surroundings.zone).unwrap_or_default();
        let (begin, end) = summary.span(began);
        let name = whole.segment.plain().to_string();
        let file = match self.options.body {
            Body::File => whole.segment.to_string(),
            body => format!("{name}.{}", recode::extension(body)),
        };
        Entry {
            name,
            file,
            instance: self.surroundings.instance.to_string(),
            begin: format!("{begin:.6}"),
            end: format!("{end:.6}"),
            lines: summary.lines,
            bytes: summary.bytes,
            hosts: summary.hosts.iter().cloned().collect(),
            hosts_more: summary.hosts_more,
            sha256: object.checksum,
            key: object.key,
            object_bytes: object.bytes,
        }
    }
}

/// What became of a segment.
struct Object {
    key: String,
    checksum: String,
    bytes: u64,
}

impl Segments for S3Target {
    fn connect(&mut self) -> Result<(), Trouble> {
        self.index = Index::default();
        self.store = None;
        let store = Store::new(&self.name, &self.options, self.surroundings.clone(), self.proven)?;
        // There is nothing of that name; but whether the bucket is there, the answer tells.
        let nothing = index::path(&format!("{}/connected", self.options.index))?;
        let what = format!("listing the bucket {}", self.options.bucket);
        store.wait(async {
            store.forget();
            let listed = store.s3.list_with_delimiter(Some(&nothing)).await;
            listed.map(drop).map_err(|error| store.trouble(&error, &what))
        })?;
        self.proven = true;
        self.store = Some(store);
        Ok(())
    }

    fn deliver(&mut self, whole: &Whole<'_>) -> Result<Arrived, Trouble> {
        if self.store.is_none() {
            self.connect()?;
        }
        let Some(store) = self.store.take() else {
            return Err(Trouble::later("there is no connection"));
        };
        let delivered = self.deliver_to(&store, whole);
        self.store = Some(store);
        delivered
    }
}

impl S3Target {
    fn deliver_to(&mut self, store: &Store, whole: &Whole<'_>) -> Result<Arrived, Trouble> {
        let go_on = || !self.surroundings.has_ended();
        let zone = &self.surroundings.zone;
        let (bytes, summary) = match self.options.body {
            Body::File => {
                let file = whole.open().map_err(|error| cannot_read(whole, &error))?;
                (Bytes(file), None)
            }
            body => {
                let (file, summary) = recode::recode(whole, body, zone, &go_on)?;
                (Bytes(Box::new(file)), Some(summary))
            }
        };
        let checksum = bytes.checksum(&go_on).map_err(|error| cannot_read(whole, &error))?;
        let checksum = checksum.ok_or(Trouble::Ended)?;
        let key = self.key(whole, &checksum)?;
        let path = index::path(&key)?;
        let upload = Upload {
            bytes: &bytes,
            key: &path,
            checksum: &checksum,
            storage_class: self.options.storage_class.as_deref(),
        };
        // What the index says of the messages is found out meanwhile.
        let given_up = AtomicBool::new(false);
        let (sent, summary) = thread::scope(|scope| {
            let go_on = || go_on() && !given_up.load(Ordering::Relaxed);
            let counting = summary
                .is_none()
                .then(|| scope.spawn(move || each(whole, zone, &go_on, &mut |_| Ok(()))));
            let sent = store.wait(async { Ok(upload.put(store).await) });
            if !matches!(sent, Ok(Ok(_))) {
                given_up.store(true, Ordering::Relaxed);
            }
            let counted = counting.map(|counting| {
                counting.join().unwrap_or_else(|_| Err(Trouble::later("counting messages failed")))
            });
            (sent, summary.map_or_else(|| counted.unwrap_or(Err(Trouble::Ended)), Ok))
        });
        let sent = sent?.map_err(|failed| self.failed(whole, failed))?;
        let summary = summary?;
        let object_bytes = bytes.len().map_err(|error| cannot_read(whole, &error))?;
        let entry = self.entry(whole, &summary, Object { key, checksum, bytes: object_bytes });
        let span = summary
            .span(whole.segment.began.to_timestamp(&self.surroundings.zone).unwrap_or_default());
        let days = index::days(span.0, span.1);
        let noted = self.index.put(store, &self.options.index, whole, &entry, &days);
        let noted = store.wait(noted)?;
        Ok(Arrived { records: Some(summary.lines), bytes: sent + noted })
    }

    fn failed(&self, whole: &Whole<'_>, failed: Failed) -> Trouble {
        match failed {
            Failed::Read(error) => cannot_read(whole, &error),
            Failed::Trouble(trouble) => trouble,
            Failed::Mismatch(what) => Trouble::Stop {
                scope: Scope::Stream(whole.stream.clone()),
                what,
                remedy: format!(
                    "see which of the two is right and remove the other, or put more of the \
                     checksum into key of [ship:{}]",
                    self.name
                ),
            },
        }
    }

    /// How the object is called.
    fn key(&self, whole: &Whole<'_>, checksum: &str) -> Result<String, Trouble> {
        let places = Places {
            whole,
            checksum,
            options: &self.options,
            instance: &self.surroundings.instance,
        };
        let mut key = String::new();
        self.options.key.fill(&places, &mut key);
        if key.len() > KEY_BYTES_MAX {
            return Err(Trouble::Stop {
                scope: Scope::Stream(whole.stream.clone()),
                what: format!("the key of an object would have {} bytes: {key:.100}...", key.len()),
                remedy: format!("shorten key of [ship:{}]; S3 takes {KEY_BYTES_MAX}", self.name),
            });
        }
        Ok(key)
    }
}

/// What stands in the places of a key.
struct Places<'a> {
    whole: &'a Whole<'a>,
    checksum: &'a str,
    options: &'a S3,
    instance: &'a str,
}

impl Values for Places<'_> {
    fn put(&self, name: &str, out: &mut String) -> bool {
        use std::fmt::Write as _;
        let segment = &self.whole.segment;
        let facility = &self.whole.facility;
        let local = segment.began.to_datetime();
        let extension = match self.options.body {
            Body::File => segment.format.map_or("txt", |format| format.extension()),
            body => recode::extension(body),
        };
        // A string takes everything.
        let _ = match name {
            "app" => write!(out, "{}", facility.app),
            "module" => write!(out, "{}", facility.module),
            "host" => write!(out, "{}", host(segment.stem(), &facility.module)),
            "begin" => write!(out, "{}", segment.began),
            "yyyy" => write!(out, "{:04}", local.year()),
            "mm" => write!(out, "{:02}", local.month()),
            "dd" => write!(out, "{:02}", local.day()),
            "HH" => write!(out, "{:02}", local.hour()),
            "sha256" => write!(out, "{}", self.checksum),
            "ext" => write!(out, "{extension}"),
            "instance" => write!(out, "{}", self.instance),
            _ => return false,
        };
        true
    }
}

/// Of `HOST-MODULE` the host.
fn host<'a>(stem: &'a str, module: &str) -> &'a str {
    stem.strip_suffix(module).and_then(|rest| rest.strip_suffix('-')).unwrap_or(ALL_HOSTS)
}
