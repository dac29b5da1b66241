//! Finds segments in a bucket by its index, and brings them back.
//! What is wanted -> entries of the index; an entry -> a file that was checked.
//! Invariant: a file appears under its name only when it has the checksum of the index; none is replaced.
//! Leaves out: how it is asked and shown (`questions`).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use object_store::{GetOptions, ObjectStore};
use ring::digest::{Context, SHA256};

use super::index::{self, Entry};
use super::limits::READ_BYTES;
use super::store::Store;
use crate::config::ship::s3::S3;
use crate::disk::remedy;
use crate::pipeline::ship::{Scope, Surroundings, Trouble};
use crate::pipeline::tally::kept::hex;

/// Which segments are wanted; what is none does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of this application.
    pub app: Option<String>,
    /// Of this module's facility; `root` for the root facility.
    pub module: Option<String>,
    /// With messages from this host.
    pub host: Option<String>,
    /// With messages from then on.
    pub from: Option<Timestamp>,
    /// With messages until then.
    pub to: Option<Timestamp>,
}

/// A segment that was found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Found {
    /// Its application.
    pub app: String,
    /// Its facility's module.
    pub module: String,
    /// What the index says of it.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// It is there now.
    New,
    /// It was there already, with the same content.
    There,
}

/// A bucket that is read.
#[derive(Debug)]
pub struct Archive {
    store: Store,
    index: Box<str>,
}

impl Wanted {
    fn covers(&self, day: Date) -> bool {
        let in_utc = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
        self.from.is_none_or(|from| in_utc(from) <= day)
            && self.to.is_none_or(|to| day <= in_utc(to))
    }

    fn takes(&self, entry: &Entry) -> bool {
        let at = |text: &str| text.parse::<Timestamp>().ok();
        let after = self.from.is_none_or(|from| at(&entry.end).is_none_or(|end| from <= end));
        let before = self.to.is_none_or(|to| at(&entry.begin).is_none_or(|begin| begin <= to));
        let host = self
            .host
            .as_ref()
            .is_none_or(|host| entry.hosts_more || entry.hosts.iter().any(|other| other == host));
        after && before && host
    }
}

impl Archive {
    /// As configured. Does not connect.
    ///
    /// # Errors
    /// What can be told without it.
    pub fn new(name: &str, options: &S3, surroundings: Surroundings) -> Result<Archive, Trouble> {
        let store = Store::new(name, options, surroundings, false)?;
        Ok(Archive { store, index: options.index.clone() })
    }

    /// All segments that are wanted, in the order of their beginnings.
    ///
    /// # Errors
    /// What is in the way.
    pub fn list(&self, wanted: &Wanted) -> Result<Vec<Found>, Trouble> {
        let mut found = BTreeMap::new();
        let days = self.store.wait(self.days(wanted))?;
        for key in days {
            let read = async {
                let read = index::read(&self.store, &key).await;
                read.map_err(|unusable| unusable.of(Scope::Target))
            };
            let read = self.store.wait(read)?;
            let Some((day, ..)) = read else { continue };
            for entry in day.segments.into_iter().filter(|entry| wanted.takes(entry)) {
                let (app, module) = (day.app.clone(), day.module.clone());
                let order = (
                    entry.begin.clone(),
                    app.clone(),
                    module.clone(),
                    entry.name.clone(),
                    entry.instance.clone(),
                );
                // It stands in each day that it covers.
                found.insert(order, Found { app, module, entry });
            }
        }
        Ok(found.into_values().collect())
    }

    /// The objects of the days that are wanted.
    async fn days(&self, wanted: &Wanted) -> Result<Vec<object_store::path::Path>, Trouble> {
        let mut prefix = self.index.to_string();
        if let Some(app) = &wanted.app {
            prefix = format!("{prefix}/{app}");
            if let Some(module) = &wanted.module {
                prefix = format!("{prefix}/{module}");
            }
        }
        let prefix = index::path(&prefix)?;
        self.store.forget();
        let mut listed = self.store.s3.list(Some(&prefix));
        let mut days = Vec::new();
        while let Some(object) = listed.next().await {
            let object =
                object.map_err(|error| self.store.trouble(&error, &format!("listing {prefix}")))?;
            let key = object.location;
            let rest = key.as_ref().strip_prefix(&*self.index).unwrap_or_default();
            let parts: Vec<&str> = rest.split('/').skip(1).collect();
            let [app, module, name] = parts.as_slice() else { continue };
            let day = name.strip_suffix(".json").and_then(|day| day.parse::<Date>().ok());
            let is = |asked: &Option<String>, name: &str| {
                asked.as_ref().is_none_or(|asked| asked == name)
            };
            if is(&wanted.app, app)
                && is(&wanted.module, module)
                && day.is_some_and(|day| wanted.covers(day))
            {
                days.push(key);
            }
        }
        Ok(days)
    }

    /// Brings a segment back to `path`, and checks it.
    ///
    /// # Errors
    /// What is in the way; nothing is at `path` then that was not there before.
    pub fn fetch(&self, found: &Found, path: &Path) -> Result<Fetched, Trouble> {
        let shown = path.display();
        let here = |error: &io::Error, path: &Path| {
            Trouble::stop(format!("{}: {error}", path.display()), remedy(error).to_owned())
        };
        match checksum(path) {
            Ok(Some(checksum)) if checksum == found.entry.sha256 => return Ok(Fetched::There),
            Ok(Some(_)) => {
                let what = format!("{shown} is there already, and is something else");
                return Err(Trouble::stop(what, "name another folder by --to-folder".to_owned()));
            }
            Ok(None) => {}
            Err(error) => return Err(here(&error, path)),
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| here(&error, folder))?;
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let mut file = File::create(&part).map_err(|error| here(&error, &part))?;
        let brought = self.store.wait(self.bring(&found.entry, &mut file, &part));
        let published = brought.and_then(|()| {
            file.sync_all()
                .and_then(|()| fs::rename(&part, path))
                .map_err(|error| here(&error, path))
        });
        if published.is_err() {
            // What is left of it is of no use to anybody.
            let _ = fs::remove_file(&part);
        }
        published.map(|()| Fetched::New)
    }

    async fn bring(&self, entry: &Entry, file: &mut File, part: &Path) -> Result<(), Trouble> {
        let key = index::path(&entry.key)?;
        let what = format!("the object {key}");
        self.store.forget();
        let found = match self.store.s3.get_opts(&key, GetOptions::default()).await {
            Ok(found) => found,
            Err(_) if self.store.code() == "InvalidObjectState" => {
                let bucket = &self.store.place.bucket;
                return Err(Trouble::stop(
                    format!("{what} rests in cold storage"),
                    format!(
                        "ask for it by `aws s3api restore-object --bucket {bucket} --key '{key}' \
                         --restore-request Days=7`, wait some hours, and fetch it again"
                    ),
                ));
            }
            Err(object_store::Error::NotFound { .. }) if self.store.code() != "NoSuchBucket" => {
                let what = format!("{what} is not there, though the index names it");
                return Err(Trouble::stop(
                    what,
                    "ask who has deleted it; if its segment is still here, ship it again"
                        .to_owned(),
                ));
            }
            Err(error) => return Err(self.store.trouble(&error, &what)),
        };
        let mut context = Context::new(&SHA256);
        let mut pieces = found.into_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| self.store.trouble(&error, &what))?;
            context.update(&piece);
            file.write_all(&piece).map_err(|error| {
                Trouble::stop(format!("{}: {error}", part.display()), remedy(&error).to_owned())
            })?;
        }
        let checksum = hex(context.finish().as_ref());
        if checksum != entry.sha256 {
            let what = format!(
                "{what} is not what was shipped: its checksum is {checksum}, where the index has {}",
                entry.sha256
            );
            return Err(Trouble::stop(what, "look for another version of it".to_owned()));
        }
        Ok(())
    }
}

/// Where each of these is put below `folder`: `APP/FILE`; `INSTANCE/APP/FILE` where
/// several log folders have the same.
///
/// # Errors
/// A name that the index should not have: what is in a bucket chooses no path.
pub fn places(all: &[Found], folder: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let mut times: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for found in all {
        *times.entry((&found.app, &found.entry.file)).or_default() += 1;
    }
    all.iter()
        .map(|found| {
            let (app, file) = (&*found.app, &*found.entry.file);
            for name in [app, file, &found.entry.instance] {
                if name.starts_with('.') || name.contains('/') || name.chars().any(char::is_control)
                {
                    return Err(Trouble::stop(
                        format!("the index has the name {name:?}, which is none of loghogd's"),
                        "ask who has written it".to_owned(),
                    ));
                }
            }
            let folder = match times.get(&(app, file)) {
                Some(2..) => folder.join(&found.entry.instance),
                _ => folder.to_owned(),
            };
            Ok(folder.join(app).join(file))
        })
        .collect()
}

/// Of a file; none when there is none.
fn checksum(path: &Path) -> io::Result<Option<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Some(hex(context.finish().as_ref()))),
            read => context.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(app: &str, file: &str, instance: &str) -> Found {
        let entry = Entry {
            file: file.to_owned(),
            instance: instance.to_owned(),
            begin: "2026-11-20T10:00:00Z".to_owned(),
            end: "2026-11-20T11:00:00Z".to_owned(),
            hosts: vec!["web01".to_owned()],
            ..Entry::default()
        };
        Found { app: app.to_owned(), module: "web".to_owned(), entry }
    }

    #[test]
    fn files_of_several_log_folders_do_not_meet() {
        let all = [found("a", "x", "1"), found("a", "x", "2"), found("a", "y", "1")];
        let places = places(&all, Path::new("/f")).unwrap();
        let expected = ["/f/1/a/x", "/f/2/a/x", "/f/a/y"];
        assert_eq!(places, expected.map(PathBuf::from));
    }

    #[test]
    fn no_name_of_an_index_leaves_the_folder() {
        for (app, file) in [("..", "x"), ("a", "../x"), ("a", "/etc/x"), (".", "x")] {
            let said = places(&[found(app, file, "1")], Path::new("/f")).unwrap_err().to_string();
            assert!(said.contains("which is none of loghogd's"), "{said}");
        }
    }

    #[test]
    fn what_overlaps_with_the_time_and_has_the_host_is_taken() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let entry = found("a", "x", "1").entry;
        let takes = |from, to, host: Option<&str>| {
            let host = host.map(str::to_owned);
            Wanted { from, to, host, ..Wanted::default() }.takes(&entry)
        };
        assert!(takes(None, None, None));
        assert!(takes(at("2026-11-20T11:00:00Z"), None, Some("web01")));
        assert!(takes(None, at("2026-11-20T10:00:00Z"), None));
        assert!(!takes(at("2026-11-20T11:00:01Z"), None, None));
        assert!(!takes(None, at("2026-11-20T09:59:59Z"), None));
        assert!(!takes(None, None, Some("web02")));
    }
}
