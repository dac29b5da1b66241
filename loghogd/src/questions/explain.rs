//! Answers `loghogd explain APP [MODULE]`.
//! An application, a module, a host -> the facility and where its options came from.
//! Invariant: the facility is the one that the daemon would find.
//! Leaves out: whether the message would be let in; a secret is never shown.

use super::{complain, tell, tell_error, tell_json};
use crate::cli::{EX_CONFIG, EX_NO_MATCH, EX_OK, ExplainArgs};
use crate::config::facility::{Facility, Origin, Rotate, Table};
use crate::config::value::shown_age;
use crate::config::{self, Problem};
use crate::pipeline::persist::path::live_file;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The answer in JSON.
#[derive(Debug, serde::Serialize)]
struct Answer<'a> {
    app: &'a str,
    module: &'a str,
    file: &'a str,
    rotate: &'a str,
    backup_count: u32,
    max_size: Option<u64>,
    /// In seconds.
    max_age: Option<u64>,
    max_total_size: Option<u64>,
    flush_every: u32,
    file_per_host: bool,
    signed: bool,
    require: Vec<&'static str>,
    format: &'static str,
    ship: &'a [Box<str>],
    keep_until_shipped: bool,
}

/// Says which facility takes a message.
pub fn explain(args: &ExplainArgs) -> u8 {
    let (table, logdir) = match load(args) {
        Ok(loaded) => loaded,
        Err(problems) => {
            complain(&problems);
            return EX_CONFIG;
        }
    };
    let Some(facility) = table.find(&args.app, &args.module) else {
        let reason = format!(
            "no facility takes messages of the application {:?}; add a section to {}",
            args.app,
            table.file().display(),
        );
        return no_match(args, &reason);
    };
    let file = match file_of(facility, args.host.as_deref()) {
        Ok(file) => file,
        Err(reason) => return no_match(args, &reason),
    };
    if args.json {
        tell_json(&answer(facility, &file), false);
    } else {
        tell(&in_words(facility, &file, &table, &logdir));
    }
    EX_OK
}

/// The facilities and the log directory. `loghogd.conf` is not looked at when
/// only the other file was named.
fn load(args: &ExplainArgs) -> Result<(Table, PathBuf), Vec<Problem>> {
    let Some(config) = &args.config else {
        let facilities = args.overrides.facilities_config.clone().unwrap_or_default();
        let logdir = args.overrides.logdir.clone();
        return Ok((config::load_facilities(&facilities)?, logdir.unwrap_or_default()));
    };
    let loaded = config::load(config, &args.overrides)?;
    Ok((loaded.table, loaded.config.main.logdir))
}

fn no_match(args: &ExplainArgs, reason: &str) -> u8 {
    if args.json {
        tell_json(&(), false);
    }
    tell_error(reason);
    EX_NO_MATCH
}

fn file_of(facility: &Facility, host: Option<&str>) -> Result<String, String> {
    if let (true, None) = (facility.file_per_host, host) {
        return Ok(format!("{}/{{host}}-{}.log", facility.app, facility.module));
    }
    let mut file = String::new();
    live_file(facility, host.unwrap_or_default(), &mut file).map_err(|error| error.to_string())?;
    Ok(file)
}

fn answer<'a>(facility: &'a Facility, file: &'a str) -> Answer<'a> {
    Answer {
        app: &facility.app,
        module: &facility.module,
        file,
        rotate: rotation(facility),
        backup_count: facility.backup_count,
        max_size: facility.max_size_bytes,
        max_age: facility.max_age.map(|age| age.as_secs()),
        max_total_size: facility.max_total_size_bytes,
        flush_every: facility.flush_every,
        file_per_host: facility.file_per_host,
        signed: facility.secret.is_some(),
        require: facility.require.names().collect(),
        format: facility.format.name(),
        ship: &facility.ship,
        keep_until_shipped: facility.keep_until_shipped,
    }
}

fn rotation(facility: &Facility) -> &str {
    match &facility.rotate {
        Rotate::Schedule(schedule) => schedule.fields(),
        Rotate::Size => "size",
    }
}

/// A table of option, value, and where the value came from.
fn in_words(facility: &Facility, file: &str, table: &Table, logdir: &Path) -> String {
    let origins = &facility.origins;
    let place = |line: u32| format!("{}:{line}", table.file().display());
    let from = |origin: Origin| match origin {
        Origin::BuiltIn => "default".to_owned(),
        Origin::Section { line } => place(line),
        Origin::Defaults { line } => format!("{}, from [DEFAULT]", place(line)),
        Origin::Root { line } => format!("{}, inherited from [{}]", place(line), facility.app),
    };
    let below = match logdir.as_os_str().is_empty() {
        true => "below the log folder".to_owned(),
        false => format!("below {}", logdir.display()),
    };
    let size = |bytes: Option<u64>| match bytes {
        None => "none".to_owned(),
        Some(0) => "0 (off)".to_owned(),
        Some(bytes) => format!("{bytes} bytes"),
    };
    let max_age = match facility.max_age {
        None => "none".to_owned(),
        Some(Duration::ZERO) => "0 (off)".to_owned(),
        Some(age) => shown_age(age),
    };
    let yes_or_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let targets = match facility.ship.join(", ") {
        none if none.is_empty() => "nowhere".to_owned(),
        targets => targets,
    };
    let rows = [
        ("facility", format!("{}:{}", facility.app, facility.module), place(origins.section_line)),
        ("file", file.to_owned(), below),
        ("rotate", rotation(facility).to_owned(), from(origins.rotate)),
        ("backup_count", facility.backup_count.to_string(), from(origins.backup_count)),
        ("max_size", size(facility.max_size_bytes), from(origins.max_size)),
        ("max_age", max_age, from(origins.max_age)),
        ("max_total_size", size(facility.max_total_size_bytes), from(origins.max_total_size)),
        ("flush_every", facility.flush_every.to_string(), from(origins.flush_every)),
        ("file_per_host", yes_or_no(facility.file_per_host), from(origins.file_per_host)),
        ("signed", yes_or_no(facility.secret.is_some()), from(origins.secret)),
        ("require", facility.require.to_string(), from(origins.require)),
        ("format", facility.format.name().to_owned(), from(origins.format)),
        ("ship", targets, from(origins.ship)),
        (
            "keep_until_shipped",
            yes_or_no(facility.keep_until_shipped),
            from(origins.keep_until_shipped),
        ),
    ];
    let width = rows.iter().map(|(_, value, _)| value.chars().count()).max().unwrap_or_default();
    let lines =
        rows.map(|(option, value, origin)| format!("{option:<18}  {value:<width$}  {origin}"));
    lines.join("\n")
}
