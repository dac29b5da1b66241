//! Answers `loghogd archive list` and `archive fetch`.
//! What is wanted of a bucket -> the segments that its index names, or their files.
//! Invariant: what is fetched was checked; what is there already is left alone.
//! Leaves out: the running daemon; the bucket alone is asked.

use jiff::tz::TimeZone;

use super::{complain, tell, tell_error, tell_json};
use crate::cli::{ArchiveArgs, EX_CONFIG, EX_NO_MATCH, EX_OK, EX_UNAVAILABLE};
use crate::config::ship::{Kind, Target};
use crate::config::{self};
use crate::pipeline::ship::s3::archive::{Archive, Fetched, Found, places};
use crate::pipeline::ship::{Surroundings, Trouble};

/// A file that was fetched, in JSON.
#[derive(serde::Serialize)]
struct File<'a> {
    path: String,
    new: bool,
    #[serde(flatten)]
    found: &'a Found,
}

/// Lists what there is, or brings it back.
pub fn archive(args: &ArchiveArgs) -> u8 {
    let loaded = match config::load(&args.config, &args.overrides) {
        Ok(loaded) => loaded,
        Err(problems) => {
            complain(&problems);
            return EX_CONFIG;
        }
    };
    let target = match choose(&loaded.config.ship, args.target.as_deref()) {
        Ok(target) => target,
        Err(message) => {
            tell_error(&format!("loghogd: {message}"));
            return EX_CONFIG;
        }
    };
    match answer(target, args) {
        Ok(code) => code,
        Err(trouble) => {
            tell_error(&format!("loghogd: {}", shown(&trouble)));
            EX_UNAVAILABLE
        }
    }
}

/// The target that is meant.
fn choose<'a>(all: &'a [Target], name: Option<&str>) -> Result<&'a Target, String> {
    let buckets: Vec<&Target> =
        all.iter().filter(|target| matches!(target.kind, Kind::S3(_))).collect();
    let names = buckets.iter().map(|target| &*target.name).collect::<Vec<_>>().join(", ");
    match (name, buckets.as_slice()) {
        (_, []) => {
            Err("no target of loghogd.conf has type = s3, so there is no archive".to_owned())
        }
        (None, [only]) => Ok(only),
        (None, _) => Err(format!("there are several targets; name one by --target: {names}")),
        (Some(name), all) => all
            .iter()
            .find(|target| &*target.name == name)
            .copied()
            .ok_or_else(|| format!("there is no S3 target {name:?}; there are: {names}")),
    }
}

fn answer(target: &Target, args: &ArchiveArgs) -> Result<u8, Trouble> {
    let Kind::S3(options) = &target.kind else { return Ok(EX_NO_MATCH) };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Trouble::later(format!("no thread can be started: {error}")))?;
    let surroundings = Surroundings::new(runtime.handle().clone(), "", TimeZone::system());
    let archive = Archive::new(&target.name, options, surroundings)?;
    let all = archive.list(&args.wanted)?;
    let code = if all.is_empty() { EX_NO_MATCH } else { EX_OK };
    let Some(folder) = &args.to_folder else {
        list(&all, args.json);
        return Ok(code);
    };
    let mut fetched = Vec::new();
    for (found, path) in all.iter().zip(places(&all, folder)?) {
        let became = archive.fetch(found, &path)?;
        let path = path.display().to_string();
        if !args.json {
            let there = if became == Fetched::There { " (was there already)" } else { "" };
            tell(&format!("{path}{there}"));
        }
        fetched.push(File { path, new: became == Fetched::New, found });
    }
    if args.json {
        tell_json(&fetched, true);
    } else if all.is_empty() {
        tell_error("loghogd: the index has no such segment");
    }
    Ok(code)
}

fn list(all: &[Found], json: bool) {
    if json {
        tell_json(&all, true);
        return;
    }
    if all.is_empty() {
        tell_error("loghogd: the index has no such segment");
        return;
    }
    tell(&format!(
        "{:<27}  {:<27}  {:>9}  {:>12}  {:<20}  KEY",
        "BEGIN", "END", "LINES", "OBJECT BYTES", "FACILITY"
    ));
    for found in all {
        let entry = &found.entry;
        let facility = format!("{}:{}", found.app, found.module);
        tell(&format!(
            "{:<27}  {:<27}  {:>9}  {:>12}  {:<20}  {}",
            entry.begin, entry.end, entry.lines, entry.object_bytes, facility, entry.key
        ));
    }
}

/// There is nothing to reload here.
fn shown(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Stop { what, remedy, .. } => format!("{what}; {remedy}"),
        other => other.to_string(),
    }
}
