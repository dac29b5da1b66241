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

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use futures_util::stream::{self, StreamExt};
use jiff::Timestamp;
use object_store::ObjectStore;
use object_store::path::Path;
use tracing::warn;

use self::index::{Index, Note};
use self::limits::{KEY_BYTES_MAX, UPLOADS_AT_ONCE};
use self::read::cannot_read;
use self::store::Store;
use self::upload::{Bytes, Failed, Upload};
use super::template::Values;
use super::{Arrived, Scope, Segments, Surroundings, Trouble, Whole};
use crate::config::ship::s3::{Body, S3};
use crate::pipeline::tally::Tally;

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

    fn entry(&self, whole: &Whole<'_>, tally: &Tally, object: Object) -> Entry {
        let (begin, end) = self.span(whole, tally);
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
            lines: tally.lines,
            bytes: tally.bytes,
            hosts: tally.hosts.iter().cloned().collect(),
            hosts_more: tally.hosts_more,
            sha256: object.checksum,
            key: object.key,
            object_bytes: object.bytes,
        }
    }
}

/// What becomes of a segment.
struct Object {
    key: String,
    path: Path,
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
        let mut delivered = self.deliver_all(std::slice::from_ref(whole));
        delivered.pop().unwrap_or(Err(Trouble::Ended))
    }

    fn deliver_all(&mut self, wholes: &[Whole<'_>]) -> Vec<Result<Arrived, Trouble>> {
        if self.store.is_none()
            && let Err(trouble) = self.connect()
        {
            return vec![Err(trouble); wholes.len()];
        }
        let Some(store) = self.store.take() else {
            return vec![Err(Trouble::later("there is no connection")); wholes.len()];
        };
        let sent = self.upload_all(&store, wholes);
        let arrived = self.note(&store, wholes, sent);
        self.store = Some(store);
        arrived
    }
}

/// An object that is there, and is not in the index yet.
struct Sent {
    object: Object,
    tally: Tally,
    /// What went over the wire, in bytes.
    bytes: u64,
}

/// An object that may be uploaded at once.
struct Prepared {
    bytes: Bytes,
    object: Object,
    tally: Tally,
}

impl S3Target {
    /// All together those of which it is known what is in them; then the others, one by
    /// one, because decoding takes memory.
    fn upload_all(&self, store: &Store, wholes: &[Whole<'_>]) -> Vec<Result<Sent, Trouble>> {
        let of_all =
            |error: &&Trouble| !matches!(error, Trouble::Stop { scope: Scope::Stream(_), .. });
        let at_once = self.upload_as_kept(store, wholes);
        let mut trouble =
            at_once.iter().filter_map(|sent| sent.as_ref().err()).find(of_all).cloned();
        let one = |(whole, sent): (&Whole<'_>, Result<Option<Sent>, Trouble>)| match sent {
            Ok(Some(sent)) => Ok(sent),
            Err(error) => Err(error),
            // What is in the way of all is not tried for each.
            Ok(None) => match &trouble {
                Some(trouble) => Err(trouble.clone()),
                None => self.upload_anew(store, whole).inspect_err(|error| {
                    trouble = Some(error).filter(of_all).cloned();
                }),
            },
        };
        wholes.iter().zip(at_once).map(one).collect()
    }

    /// The short way: whoever sealed a segment has left what is to be said of it. None
    /// where he has not, or where the file is not the one that he has made: then all is
    /// found out anew.
    fn upload_as_kept(
        &self,
        store: &Store,
        wholes: &[Whole<'_>],
    ) -> Vec<Result<Option<Sent>, Trouble>> {
        let prepared: Vec<_> = wholes.iter().map(|whole| self.prepare(whole)).collect();
        let upload = async |prepared: &Result<Option<Prepared>, Trouble>| match prepared {
            Ok(Some(Prepared { bytes, object, .. })) => {
                Store::apart(self.upload(store, bytes, object, true)).await
            }
            _ => Err(Failed::NotTheSame),
        };
        let uploads = stream::iter(&prepared).map(upload).buffered(UPLOADS_AT_ONCE);
        let uploads = match store.wait(async { Ok(uploads.collect::<Vec<_>>().await) }) {
            Ok(uploads) => uploads,
            Err(trouble) => return wholes.iter().map(|_| Err(trouble.clone())).collect(),
        };
        let outcomes = wholes.iter().zip(prepared).zip(uploads);
        outcomes
            .map(|((whole, prepared), uploaded)| {
                let Some(Prepared { object, tally, .. }) = prepared? else { return Ok(None) };
                match uploaded {
                    Ok(bytes) => Ok(Some(Sent { object, tally, bytes })),
                    // Whether it is so is said by who has looked at all of it.
                    Err(Failed::Mismatch(_)) => Ok(None),
                    Err(Failed::NotTheSame) => {
                        not_as_sealed(whole);
                        Ok(None)
                    }
                    Err(failed) => Err(self.failed(whole, failed)),
                }
            })
            .collect()
    }

    fn prepare(&self, whole: &Whole<'_>) -> Result<Option<Prepared>, Trouble> {
        let is_file = self.options.body == Body::File;
        let kept = is_file.then(|| whole.tallies.get(&whole.stream.app, &whole.segment));
        let Some(kept) = kept.flatten() else { return Ok(None) };
        let bytes = Bytes(whole.open().map_err(|error| cannot_read(whole, &error))?);
        let object = self.object(whole, &bytes, kept.sealed_sha256)?;
        if object.bytes != kept.sealed_bytes {
            not_as_sealed(whole);
            return Ok(None);
        }
        Ok(Some(Prepared { bytes, object, tally: kept.tally }))
    }

    /// Nothing is known of it but what is found out now.
    fn upload_anew(&self, store: &Store, whole: &Whole<'_>) -> Result<Sent, Trouble> {
        let go_on = || !self.surroundings.has_ended();
        let zone = &self.surroundings.zone;
        let cannot = |error: io::Error| cannot_read(whole, &error);
        let (bytes, tally) = match self.options.body {
            Body::File => (Bytes(whole.open().map_err(cannot)?), None),
            body => {
                let (file, tally) = recode::recode(whole, body, zone, &go_on)?;
                (Bytes(Box::new(file)), Some(tally))
            }
        };
        let checksum = bytes.checksum(&go_on).map_err(cannot)?.ok_or(Trouble::Ended)?;
        let object = self.object(whole, &bytes, checksum)?;
        // What the index says of the messages is found out meanwhile.
        let given_up = AtomicBool::new(false);
        let (sent, tally) = thread::scope(|scope| {
            let go_on = || go_on() && !given_up.load(Ordering::Relaxed);
            let counting =
                tally.is_none().then(|| scope.spawn(move || read::count(whole, zone, &go_on)));
            let sent = store.wait(async { Ok(self.upload(store, &bytes, &object, false).await) });
            if !matches!(sent, Ok(Ok(_))) {
                given_up.store(true, Ordering::Relaxed);
            }
            let counted = counting.map(|counting| {
                counting.join().unwrap_or_else(|_| Err(Trouble::later("counting messages failed")))
            });
            (sent, tally.map_or_else(|| counted.unwrap_or(Err(Trouble::Ended)), Ok))
        });
        let bytes = sent?.map_err(|failed| self.failed(whole, failed))?;
        Ok(Sent { object, tally: tally?, bytes })
    }

    /// What becomes of these bytes.
    fn object(
        &self,
        whole: &Whole<'_>,
        bytes: &Bytes,
        checksum: String,
    ) -> Result<Object, Trouble> {
        let key = self.key(whole, &checksum)?;
        let path = index::path(&key)?;
        let bytes = bytes.len().map_err(|error| cannot_read(whole, &error))?;
        Ok(Object { key, path, checksum, bytes })
    }

    /// Returns what went over the wire, in bytes.
    async fn upload(
        &self,
        store: &Store,
        bytes: &Bytes,
        object: &Object,
        is_hearsay: bool,
    ) -> Result<u64, Failed> {
        let upload = Upload {
            bytes,
            key: &object.path,
            checksum: &object.checksum,
            is_hearsay,
            storage_class: self.options.storage_class.as_deref(),
        };
        upload.put(store).await
    }

    /// Objects are there: the index says so.
    fn note(
        &mut self,
        store: &Store,
        wholes: &[Whole<'_>],
        sent: Vec<Result<Sent, Trouble>>,
    ) -> Vec<Result<Arrived, Trouble>> {
        let mut notes = Vec::new();
        let mut delivered = Vec::new();
        for (whole, sent) in wholes.iter().zip(sent) {
            delivered.push(sent.map(|Sent { object, tally, bytes }| {
                let (begin, end) = self.span(whole, &tally);
                let facility = &whole.facility;
                notes.push(Note {
                    app: &facility.app,
                    module: &facility.module,
                    stream: &whole.stream,
                    entry: self.entry(whole, &tally, object),
                    days: index::days(begin, end),
                });
                Arrived { records: Some(tally.lines), bytes }
            }));
        }
        let noted = self.index.put(store, &self.options.index, &notes);
        let mut noted = match store.wait(async { Ok(noted.await) }) {
            Ok(noted) => noted.into_iter(),
            Err(trouble) => return vec![Err(trouble); wholes.len()],
        };
        let mut with_note = |arrived: Arrived| {
            let bytes = noted.next().unwrap_or(Err(Trouble::Ended))?;
            Ok(Arrived { bytes: arrived.bytes + bytes, ..arrived })
        };
        delivered.into_iter().map(|outcome| outcome.and_then(&mut with_note)).collect()
    }

    fn span(&self, whole: &Whole<'_>, tally: &Tally) -> (Timestamp, Timestamp) {
        let began = whole.segment.began.to_timestamp(&self.surroundings.zone);
        tally.span(began.unwrap_or_default())
    }

    fn failed(&self, whole: &Whole<'_>, failed: Failed) -> Trouble {
        match failed {
            Failed::Read(error) => cannot_read(whole, &error),
            Failed::NotTheSame => Trouble::later("the file has changed while it was read"),
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

/// What was kept of a segment is about another file than is there.
fn not_as_sealed(whole: &Whole<'_>) {
    let name = format!("{}/{}", whole.stream.app, whole.segment);
    warn!("{name} is not as it was sealed; it is read once more, and shipped as it is");
    whole.tallies.remove(&whole.stream.app, &whole.segment);
}

/// Of `HOST-MODULE` the host.
fn host<'a>(stem: &'a str, module: &str) -> &'a str {
    stem.strip_suffix(module).and_then(|rest| rest.strip_suffix('-')).unwrap_or(ALL_HOSTS)
}
