//! Every option of both files: what it takes, what holds without it, what it does.
//! Nothing -> tables; the readers, the manual pages and docs/configuration.md are of them.
//! Invariant: an option that is not here is refused, and one that is here is read.
//! Leaves out: reading values (`checked`, `facility`, `ship`).
//!
//! Texts are for readers of manual pages: what is typed stands between backquotes,
//! and a sentence ends with a full stop. Tests write `man/loghogd.conf.5`,
//! `man/facilities.conf.5`, `docs/configuration.md` and the tables of `docs/ship*.md`
//! from here, and try every value that stands here.

mod facility;
#[cfg(test)]
mod pages;
mod sections;
mod targets;
#[cfg(test)]
mod tests;

pub use facility::FACILITY;
pub use sections::SECTIONS;
pub use targets::{INFLUXDB, KAFKA, S3, TARGET};

/// A section, or a kind of sections.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Its name without brackets.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Its options, in the order in which they are told.
    pub options: &'static [Entry],
}

impl Section {
    /// The names of its options.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.options.iter().map(|entry| entry.name)
    }

    /// Has it an option of this name?
    pub fn has(&self, option: &str) -> bool {
        self.names().any(|name| name == option)
    }
}

/// An option.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// As it is written. `tag.NAME`: any name behind the dot.
    pub name: &'static str,
    /// What it takes.
    pub values: &'static str,
    /// What holds where it is not written.
    pub unset: Unset,
    /// A value that differs from the one that holds otherwise.
    pub example: &'static str,
    /// What it does.
    pub help: &'static str,
    /// A change counts from the next reload on; else from the next start on.
    pub on_reload: bool,
}

/// What holds where an option is not written.
#[derive(Clone, Copy, Debug)]
pub enum Unset {
    /// It has to be written.
    Required,
    /// The same as with this value.
    As(&'static str),
    /// What these words say.
    Told(&'static str),
}

/// An option whose change counts from the next start on.
const fn option(
    name: &'static str,
    values: &'static str,
    unset: Unset,
    example: &'static str,
    help: &'static str,
) -> Entry {
    Entry { name, values, unset, example, help, on_reload: false }
}

/// An option whose change counts from the next reload on.
const fn reloaded(
    name: &'static str,
    values: &'static str,
    unset: Unset,
    example: &'static str,
    help: &'static str,
) -> Entry {
    Entry { on_reload: true, ..option(name, values, unset, example, help) }
}
