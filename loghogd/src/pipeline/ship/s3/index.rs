//! The index: which segments of a facility there are, day by day.
//! Segments that are there for good -> their entries in the object of each day that they cover.
//! Invariant: an entry stands once in a day, however often it is put, and whoever else puts others.
//! Leaves out: reading it for people (`archive`).
//!
//! ```text
//! INDEX/APP/MODULE/2026-11-20.json      the day in UTC
//! {"app":"my-app","module":"web","day":"2026-11-20","segments":[
//! {"name":"web.log.2026-11-20-12-00-00-123456","file":"web.log.2026-11-20-12-00-00-123456.xz",
//!  "instance":"0123456789abcdef","begin":"2026-11-20T11:00:00.123456Z","end":"...","lines":3,
//!  "bytes":300,"hosts":["web01"],"sha256":"...","key":"...","object_bytes":120},
//! ...
//! ]}
//! ```
//! An object is written only over the one that was read (`If-Match`), or if there is
//! none (`If-None-Match`): who comes second reads again. So it is true after any crash,
//! and with several daemons. A segment is told by its log folder and its name.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, GetOptions, ObjectStore, PutMode, PutOptions, UpdateVersion,
};
use serde::{Deserialize, Serialize};

use super::limits::{DAYS_MAX, INDEX_ATTEMPTS, INDEX_BYTES_MAX, INDEX_REMEMBERED_BYTES_MAX};
use super::store::Store;
use crate::pipeline::ship::{Scope, Stream, Trouble};

/// The segments of a day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// The application.
    pub app: String,
    /// The facility's module.
    pub module: String,
    /// In UTC, such as `2026-11-20`.
    pub day: String,
    /// In the order of their beginnings.
    pub segments: Vec<Entry>,
}

/// A segment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its file's name before it was sealed.
    pub name: String,
    /// How a file with what the object holds is called.
    pub file: String,
    /// From which log folder it is.
    pub instance: String,
    /// Its earliest message (RFC 3339).
    pub begin: String,
    /// Its latest message.
    pub end: String,
    /// Its messages.
    pub lines: u64,
    /// Of the file when nothing is compressed.
    pub bytes: u64,
    /// Where messages came from.
    pub hosts: Vec<String>,
    /// There are more hosts than are named.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hosts_more: bool,
    /// Of the object's bytes.
    pub sha256: String,
    /// Of the object.
    pub key: String,
    /// Of the object.
    pub object_bytes: u64,
}

impl Day {
    /// As it is written: a segment a line.
    pub fn write(&self) -> String {
        let head = Day { segments: Vec::new(), ..self.clone() };
        let line = |value: &Entry| serde_json::to_string(value).unwrap_or_default();
        let head = serde_json::to_string(&head).unwrap_or_default();
        let lines: Vec<String> = self.segments.iter().map(line).collect();
        format!("{}\n{}\n]}}\n", head.strip_suffix("]}").unwrap_or(&head), lines.join(",\n"))
    }

    /// Puts an entry in its place; false when it is there already.
    fn put(&mut self, entry: &Entry) -> bool {
        let same =
            |other: &&mut Entry| (&other.instance, &other.name) == (&entry.instance, &entry.name);
        match self.segments.iter_mut().find(same) {
            Some(there) if there == entry => return false,
            Some(there) => *there = entry.clone(),
            None => self.segments.push(entry.clone()),
        }
        self.segments.sort_by(|a, b| {
            (&a.begin, &a.name, &a.instance).cmp(&(&b.begin, &b.name, &b.instance))
        });
        true
    }
}

/// Where the object of a day is.
pub(super) fn day_key(index: &str, app: &str, module: &str, day: Date) -> String {
    format!("{index}/{app}/{module}/{day}.json")
}

/// The days, in UTC, from one instant to another.
pub(super) fn days(begin: Timestamp, end: Timestamp) -> Vec<Date> {
    let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
    let (mut at, last) = (day(begin), day(end));
    let mut days = Vec::new();
    while at < last && days.len() < DAYS_MAX {
        days.push(at);
        match at.tomorrow() {
            Ok(next) => at = next,
            Err(_) => break,
        }
    }
    days.push(last);
    days
}

/// What is to be put.
#[derive(Debug)]
pub(super) struct Note<'a> {
    pub(super) app: &'a str,
    pub(super) module: &'a str,
    pub(super) stream: &'a Arc<Stream>,
    pub(super) entry: Entry,
    pub(super) days: Vec<Date>,
}

/// Objects as they were written last.
#[derive(Debug, Default)]
pub(super) struct Index {
    known: BTreeMap<String, Known>,
}

/// An object as it was written last.
#[derive(Debug)]
struct Known {
    day: Day,
    /// By which the server knows it.
    tag: Option<String>,
    bytes: usize,
}

impl Index {
    /// Puts entries into the objects of their days, each of which is written once. Says of
    /// each entry what went over the wire for it, in bytes.
    pub(super) async fn put(
        &mut self,
        store: &Store,
        index: &str,
        notes: &[Note<'_>],
    ) -> Vec<Result<u64, Trouble>> {
        let mut days: BTreeMap<String, (Day, Vec<usize>)> = BTreeMap::new();
        for (place, Note { app, module, days: covered, .. }) in notes.iter().enumerate() {
            for &day in covered {
                let empty = || Day {
                    app: (*app).to_owned(),
                    module: (*module).to_owned(),
                    day: day.to_string(),
                    segments: Vec::new(),
                };
                let of_day = days.entry(day_key(index, app, module, day));
                of_day.or_insert_with(|| (empty(), Vec::new())).1.push(place);
            }
        }
        let mut outcomes = vec![Ok(0); notes.len()];
        for (key, (empty, places)) in days {
            let entries: Vec<&Entry> =
                places.iter().filter_map(|&place| Some(&notes.get(place)?.entry)).collect();
            let mut put = self.put_into(store, &key, empty, &entries).await;
            for place in places {
                let (Some(outcome), Some(note)) = (outcomes.get_mut(place), notes.get(place))
                else {
                    continue;
                };
                match (outcome, &mut put) {
                    // It is counted with the first.
                    (Ok(sent), Ok(bytes)) => *sent += std::mem::take(bytes),
                    (outcome @ Ok(_), Err(trouble)) => {
                        *outcome = Err(trouble.of(Scope::Stream(Arc::clone(note.stream))));
                    }
                    (Err(_), _) => {}
                }
            }
        }
        self.forget_surplus();
        outcomes
    }

    /// Forgets the oldest days, as far as they take too much memory.
    fn forget_surplus(&mut self) {
        let mut bytes: usize = self.known.values().map(|known| known.bytes).sum();
        while bytes > INDEX_REMEMBERED_BYTES_MAX {
            let oldest = self.known.iter().min_by(|(_, a), (_, b)| a.day.day.cmp(&b.day.day));
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { break };
            bytes -= self.known.remove(&key).map_or(0, |known| known.bytes);
        }
    }

    async fn put_into(
        &mut self,
        store: &Store,
        key: &str,
        empty: Day,
        entries: &[&Entry],
    ) -> Result<u64, Unusable> {
        let path = path(key)?;
        for _ in 0..INDEX_ATTEMPTS {
            let Known { mut day, tag, bytes } = match self.known.remove(key) {
                Some(known) => known,
                None => match read(store, &path).await? {
                    Some((day, tag, bytes)) => Known { day, tag, bytes },
                    None => Known { day: empty.clone(), tag: None, bytes: 0 },
                },
            };
            let is_new = day.segments.is_empty() && tag.is_none();
            let mut changed = false;
            for entry in entries {
                changed |= day.put(entry);
            }
            if !changed {
                self.known.insert(key.to_owned(), Known { day, tag, bytes });
                return Ok(0);
            }
            let mode = match &tag {
                _ if !store.conditional => PutMode::Overwrite,
                _ if is_new => PutMode::Create,
                tag => PutMode::Update(UpdateVersion { e_tag: tag.clone(), version: None }),
            };
            let text = day.write();
            let bytes = text.len();
            let attributes = Attributes::from_iter([(Attribute::ContentType, "application/json")]);
            let options = PutOptions { mode, attributes, ..PutOptions::default() };
            store.forget();
            match store.s3.put_opts(&path, text.into(), options).await {
                Ok(put) => {
                    if put.e_tag.is_some() {
                        let tag = put.e_tag;
                        self.known.insert(key.to_owned(), Known { day, tag, bytes });
                    }
                    return Ok(bytes as u64);
                }
                // Somebody was quicker, or it was us and the answer was lost.
                Err(Error::Precondition { .. } | Error::AlreadyExists { .. }) => {}
                Err(error) => {
                    return Err(store.trouble(&error, &format!("the index {key}")).into());
                }
            }
        }
        Err(Trouble::later(format!(
            "others have changed the index {key} each of the {INDEX_ATTEMPTS} times that it was to \
             be written"
        ))
        .into())
    }
}

/// Why the object of a day is of no use.
#[derive(Debug)]
pub(super) enum Unusable {
    /// It cannot be had.
    Trouble(Trouble),
    /// What stands there is none of ours, and why.
    Damaged(String),
}

impl Unusable {
    /// What it means to those who want to read it or to write there: others go on.
    pub(super) fn of(&self, scope: Scope) -> Trouble {
        match self {
            Unusable::Trouble(trouble) => trouble.clone(),
            Unusable::Damaged(what) => {
                Trouble::Stop { scope, what: what.clone(), remedy: "move it away".to_owned() }
            }
        }
    }
}

impl From<Trouble> for Unusable {
    fn from(trouble: Trouble) -> Unusable {
        Unusable::Trouble(trouble)
    }
}

/// Reads the object of a day, by which tag the server knows it, and its length; none when it
/// is not there.
pub(super) async fn read(
    store: &Store,
    key: &Path,
) -> Result<Option<(Day, Option<String>, usize)>, Unusable> {
    let what = format!("the index {key}");
    let Some(found) = store.get(key, GetOptions::default(), &what).await? else {
        return Ok(None);
    };
    let cannot = |why: String| Unusable::Damaged(format!("{what} cannot be read: {why}"));
    if found.meta.size > INDEX_BYTES_MAX {
        return Err(cannot(format!("it has more than {INDEX_BYTES_MAX} bytes")));
    }
    let tag = found.meta.e_tag.clone();
    let text = found.bytes().await.map_err(|error| store.trouble(&error, &what))?;
    let day: Day = serde_json::from_slice(&text)
        .map_err(|error| cannot(format!("it is none that loghogd has written ({error})")))?;
    Ok(Some((day, tag, text.len())))
}

/// A key as the library wants it.
pub(super) fn path(key: &str) -> Result<Path, Trouble> {
    Path::parse(key).map_err(|error| {
        let remedy = "use other names of applications, modules and keys".to_owned();
        Trouble::stop(format!("{key:?} can be no key: {error}"), remedy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, begin: &str) -> Entry {
        Entry { name: name.to_owned(), begin: begin.to_owned(), ..Entry::default() }
    }

    #[test]
    fn an_entry_stands_once_in_a_day_and_in_order() {
        let mut day = Day::default();
        assert!(day.put(&entry("b", "2")) && day.put(&entry("a", "1")));
        assert!(!day.put(&entry("a", "1")));
        assert!(day.put(&Entry { lines: 7, ..entry("a", "1") }));
        let names: Vec<_> = day.segments.iter().map(|one| (&*one.name, one.lines)).collect();
        assert_eq!(names, [("a", 7), ("b", 0)]);
        assert!(day.put(&Entry { instance: "other".to_owned(), ..entry("a", "1") }));
        let written = day.write();
        assert_eq!(written.lines().count(), 5, "{written}");
        assert_eq!(serde_json::from_str::<Day>(&written).unwrap(), day);
        assert_eq!(serde_json::from_str::<Day>(&Day::default().write()).unwrap(), Day::default());
    }

    #[test]
    fn the_oldest_days_are_forgotten_when_they_take_too_much_memory() {
        let mut index = Index::default();
        let known = |day: &str, bytes| Known {
            day: Day { day: day.to_owned(), ..Day::default() },
            tag: None,
            bytes,
        };
        let third = INDEX_REMEMBERED_BYTES_MAX / 3;
        for (key, day) in [("a", "2026-11-20"), ("b", "2026-11-18"), ("c", "2026-11-19")] {
            index.known.insert(key.to_owned(), known(day, third));
        }
        index.forget_surplus();
        assert_eq!(index.known.len(), 3);
        index.known.insert("d".to_owned(), known("2026-11-21", 2 * third));
        index.forget_surplus();
        assert_eq!(index.known.keys().collect::<Vec<_>>(), ["a", "d"]);
        index.known.insert("e".to_owned(), known("2026-11-22", INDEX_REMEMBERED_BYTES_MAX + 1));
        index.forget_surplus();
        assert!(index.known.is_empty());
    }

    #[test]
    fn a_segment_belongs_to_every_day_that_it_covers() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let shown =
            |begin, end| days(at(begin), at(end)).iter().map(Date::to_string).collect::<Vec<_>>();
        let one = shown("2026-11-20T00:00:00Z", "2026-11-20T23:59:59.9Z");
        assert_eq!(one, ["2026-11-20"]);
        let three = shown("2026-12-30T23:59:59Z", "2027-01-01T00:00:00Z");
        assert_eq!(three, ["2026-12-30", "2026-12-31", "2027-01-01"]);
        let long = shown("1970-01-01T00:00:00Z", "2026-11-20T00:00:00Z");
        assert_eq!((long.len(), long.last().unwrap().as_str()), (DAYS_MAX + 1, "2026-11-20"));
    }
}
