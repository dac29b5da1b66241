//! Loads the configuration.
//! Two files and the command line -> `Config` and `Table`, or every problem of both.
//! Invariant: nothing is in force unless all of it is right.
//! Leaves out: whether what it names exists; acting on it.
//!
//! ```text
//! raw          the INI dialect: bytes -> sections, options, lines
//! value name   single values and names
//! checked      loghogd.conf: Config
//! facility     facilities.conf: Table, and looking facilities up
//! reference    every option: what it takes, what holds without it, what it does
//! original     what the original made of the same files, where that was something else
//! problem      what is wrong, where, and what would be right
//! ```

pub mod checked;
pub mod facility;
pub mod limits;
pub mod name;
pub mod original;
pub mod problem;
pub mod raw;
pub mod reference;
pub mod ship;
pub mod status;
pub mod value;

pub use checked::{Config, Overrides};
pub use facility::{Facility, LineFormat, Secret, Table};
pub use problem::{Kind, Problem};

use checked::Places;
use limits::FILE_BYTES_MAX;
use problem::Problems;
use raw::Raw;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A whole configuration.
#[derive(Debug)]
pub struct Loaded {
    /// `loghogd.conf`, and what the command line changes in it.
    pub config: Config,
    /// `facilities.conf`.
    pub table: Table,
    /// What to know about either.
    pub warnings: Vec<Problem>,
    /// `loghogd.conf` as written, to say where a value came from.
    pub raw: Raw,
}

/// Loads `loghogd.conf` from `path`, and the facilities that it names.
///
/// # Errors
/// All problems of both files.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Loaded, Vec<Problem>> {
    match survey(path, overrides)? {
        (loaded, problems) if problems.is_empty() => Ok(loaded),
        (_, problems) => Err(problems),
    }
}

/// Reads the same files, and gives what is right of them beside all problems. That is
/// for telling more about them, never for running with it.
///
/// # Errors
/// When `loghogd.conf` cannot be read at all.
pub fn survey(path: &Path, overrides: &Overrides) -> Result<(Loaded, Vec<Problem>), Vec<Problem>> {
    let mut problems = Problems::of(path);
    let (Ok(absolute), Ok(current)) = (std::path::absolute(path), std::env::current_dir()) else {
        let message = "the current folder cannot be found";
        problems.add(None, Kind::Unreadable, message, "change to a folder that exists");
        return Err(problems.into_vec());
    };
    let Some(text) = read_file(path, &mut problems) else { return Err(problems.into_vec()) };
    let folder = absolute.parent().unwrap_or(&absolute);
    let mut warnings = Problems::of(path);
    let raw = raw::read(&text, &mut problems);
    let places = Places { folder, current: &current };
    let config = checked::read(&raw, places, overrides, &mut problems, &mut warnings);
    let facilities = &config.main.facilities_config;
    let mut of_facilities = Problems::of(facilities);
    let text = read_file(facilities, &mut of_facilities).unwrap_or_default();
    let written = raw::read(&text, &mut of_facilities);
    let table = facility::read(&written, &mut of_facilities);
    let mut problems = problems.into_vec();
    problems.extend(of_facilities.into_vec());
    if problems.is_empty() {
        problems.extend(out_of_reach(&table, &config).err().into_iter().flatten());
    }
    if problems.is_empty() {
        problems.extend(unknown_targets(&table, &config).err().into_iter().flatten());
    }
    let mut warnings = warnings.into_vec();
    warnings.extend_from_slice(table.warnings());
    Ok((Loaded { config, table, warnings, raw }, problems))
}

/// Loads `facilities.conf` from `path`.
///
/// # Errors
/// All problems of the file.
pub fn load_facilities(path: &Path) -> Result<Table, Vec<Problem>> {
    let mut problems = Problems::of(path);
    match read_file(path, &mut problems) {
        Some(text) => read_facilities(&text, path),
        None => Err(problems.into_vec()),
    }
}

/// Looks whether what facilities require of senders can be had at the
/// addresses of `config`.
///
/// # Errors
/// Where it cannot.
pub fn out_of_reach(table: &Table, config: &Config) -> Result<(), Vec<Problem>> {
    let mut problems = Problems::of(table.file());
    if !config.server.listen.iter().any(|listen| listen.tls) {
        // What is inherited is told once: it has one line.
        for facility in table.iter().filter(|facility| facility.require.tls) {
            let message = "require: tls, but loghogd.conf has no address for TLS, \
                           so every message would be refused";
            let remedy = "give [server] listen_ipv4_ssl or listen_ipv6_ssl an address and \
                          restart loghogd, or leave tls out";
            let line = facility.origins.require.line();
            problems.add(line, Kind::OutOfReach, message, remedy);
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.into_vec()) }
}

/// Looks whether the targets that facilities ship to are there.
fn unknown_targets(table: &Table, config: &Config) -> Result<(), Vec<Problem>> {
    let mut problems = Problems::of(table.file());
    let names = || config.ship.iter().map(|target| &*target.name);
    let mut told = std::collections::BTreeSet::new();
    for facility in table.iter() {
        let line = facility.origins.ship.line();
        let unknown = facility.ship.iter().filter(|name| !names().any(|known| known == &***name));
        for name in unknown.filter(|name| told.insert((line, (*name).clone()))) {
            let message = format!("ship: there is no target {}", problem::shown(name));
            let known = names().collect::<Vec<_>>().join(", ");
            let remedy = match known.as_str() {
                "" => format!("add a section [{}{name:.40}] to loghogd.conf", ship::PREFIX),
                known => format!("the targets of loghogd.conf are {known}"),
            };
            problems.add(line, Kind::OutOfReach, message, remedy);
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.into_vec()) }
}

/// Reads the text of `loghogd.conf`; `file` is its path. Gives warnings
/// beside the configuration.
///
/// # Errors
/// All problems of the text.
pub fn read_config(
    text: &[u8],
    file: &Path,
    overrides: &Overrides,
) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    let (mut problems, mut warnings) = (Problems::of(file), Problems::of(file));
    let folder = file.parent().unwrap_or(file);
    let raw = raw::read(text, &mut problems);
    let places = Places { folder, current: folder };
    let config = checked::read(&raw, places, overrides, &mut problems, &mut warnings);
    if problems.is_empty() { Ok((config, warnings.into_vec())) } else { Err(problems.into_vec()) }
}

/// Reads the text of `facilities.conf`; `file` is its path.
///
/// # Errors
/// All problems of the text.
pub fn read_facilities(text: &[u8], file: &Path) -> Result<Table, Vec<Problem>> {
    let mut problems = Problems::of(file);
    let raw = raw::read(text, &mut problems);
    let table = facility::read(&raw, &mut problems);
    if problems.is_empty() { Ok(table) } else { Err(problems.into_vec()) }
}

/// A file's bytes, unless it cannot be read or is too large.
fn read_file(path: &Path, problems: &mut Problems) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text));
    match read {
        // What is too large is told by `raw`, from the bytes.
        Ok(_) => Some(text),
        Err(error) => {
            let message = format!("the file cannot be read: {error}");
            let remedy = "give its path with --config (-c) or --facilities-config (-F), \
                          and let the user of loghogd read it";
            problems.add(None, Kind::Unreadable, message, remedy);
            None
        }
    }
}
