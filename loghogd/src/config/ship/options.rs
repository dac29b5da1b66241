//! Reads the options of one section.
//! A section as written -> typed values; what is wrong is noted.
//! Invariant: every option that is there is read once, or refused as unknown.
//! Leaves out: which options there are.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::config::checked::Places;
use crate::config::facility::Secret;
use crate::config::problem::{Kind, Problems, shown};
use crate::config::raw::{Found, Raw, Section};
use crate::config::value::{self, Refused};
use crate::pipeline::ship::Template;

/// The options of a section, and where its problems go.
#[derive(Debug)]
pub struct Options<'a> {
    raw: &'a Raw,
    section: &'a Section,
    places: Places<'a>,
    problems: &'a mut Problems,
    /// What was asked for.
    known: RefCell<BTreeSet<String>>,
    /// Files that were named.
    files: BTreeSet<PathBuf>,
}

impl<'a> Options<'a> {
    pub(super) fn new(
        raw: &'a Raw,
        section: &'a Section,
        places: Places<'a>,
        problems: &'a mut Problems,
    ) -> Options<'a> {
        let (known, files) = (RefCell::default(), BTreeSet::new());
        Options { raw, section, places, problems, known, files }
    }

    /// Text on one line; none when the option is not there or empty.
    pub fn text(&mut self, option: &str) -> Option<String> {
        let found = self.find(option)?;
        let text = found.entry.value.trim();
        if text.chars().any(char::is_control) {
            let message = format!("{} has more than one line or a control character", shown(text));
            self.refuse(option, Refused::new(message, "write it on one line"));
            return None;
        }
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The same for an option that has to be there; `example` is what to add.
    pub fn required(&mut self, option: &str, example: &str) -> Option<String> {
        let there = self.find(option).is_some();
        let text = self.text(option);
        if text.is_none() && !there {
            let message = format!("[{}] has no {option}", self.section.name);
            let remedy = format!("add for example: {example}");
            self.problems.add(self.section.line, Kind::MissingOption, message, remedy);
        } else if text.is_none() {
            self.refuse(option, Refused::new("the value is empty", format!("write {example}")));
        }
        text
    }

    /// A value that `read` understands.
    pub fn value<T>(
        &mut self,
        option: &str,
        default: T,
        read: impl FnOnce(&str) -> Result<T, Refused>,
    ) -> T {
        let Some(found) = self.find(option) else { return default };
        match read(&found.entry.value) {
            Ok(value) => value,
            Err(refused) => {
                self.refuse(option, refused);
                default
            }
        }
    }

    /// `yes` or `no`.
    pub fn yes_or_no(&mut self, option: &str, default: bool) -> bool {
        self.value(option, default, value::yes_or_no)
    }

    /// A path, taken from the folder of the file.
    pub fn path(&mut self, option: &str) -> Option<PathBuf> {
        let path = self.places.folder.join(self.text(option)?);
        self.files.insert(path.clone());
        Some(path)
    }

    /// All files that were named so far.
    pub(super) fn take_files(&mut self) -> BTreeSet<PathBuf> {
        std::mem::take(&mut self.files)
    }

    /// A template with these places.
    pub fn template(&mut self, option: &str, default: &str, places: &[&str]) -> Template {
        let text = self.text(option).unwrap_or_else(|| default.to_owned());
        let read = Template::read(&text, places);
        read.unwrap_or_else(|error| {
            self.refuse(
                option,
                Refused::new(error.message, format!("write for example {default}")),
            );
            Template::plain()
        })
    }

    /// A secret: what `option` says, or the first line of the file that `OPTION_file`
    /// names, so that it need not stand in a file that many may read.
    pub fn secret(&mut self, option: &str) -> Option<Secret> {
        let file_option = format!("{option}_file");
        let given = self.find(option).map(|found| {
            let text = found.entry.value.trim();
            (found.entry.commented_out, Secret::new(text.as_bytes()))
        });
        let path = self.path(&file_option);
        match (given, path) {
            (Some(_), Some(_)) => {
                let message = format!("{option} says it already");
                self.refuse(&file_option, Refused::new(message, "keep one of the two"));
                None
            }
            (Some((true, _)), None) => {
                let message = "all of the value is a comment, because `;` follows white space";
                let remedy = format!("put it into a file, and its path into {file_option}");
                self.refuse(option, Refused::new(message, remedy));
                None
            }
            (Some((false, secret)), None) => (!secret.bytes().is_empty()).then_some(secret),
            (None, Some(path)) => match super::read_secret(&path) {
                Ok(secret) => Some(secret),
                Err(refused) => {
                    self.refuse(&file_option, refused);
                    None
                }
            },
            (None, None) => None,
        }
    }

    /// All options whose names begin with `prefix`, such as `kafka.`: what follows it,
    /// and their values.
    pub fn prefixed(&mut self, prefix: &str) -> Vec<(String, String)> {
        let of = |section: &'a Section| {
            section.options.iter().filter(move |(name, _)| name.starts_with(prefix))
        };
        let found: Vec<(String, String)> = of(self.section)
            .map(|(name, entry)| (name.clone(), entry.value.trim().to_owned()))
            .collect();
        let mut known = self.known.borrow_mut();
        found
            .into_iter()
            .map(|(name, value)| {
                let rest = name.strip_prefix(prefix).unwrap_or_default().to_owned();
                known.insert(name);
                // Some of a library's options are files; it wants them from the root.
                if value.starts_with('/') {
                    self.files.insert(value.as_str().into());
                }
                (rest, value)
            })
            .collect()
    }

    /// Notes what is wrong with an option.
    pub fn refuse(&mut self, option: &str, refused: Refused) {
        let line = self.find(option).map_or(self.section.line, |found| found.entry.line);
        let message = format!("{option}: {}", refused.message);
        self.problems.add(line, refused.kind, message, refused.remedy);
    }

    /// Refuses what nobody has asked for.
    pub(super) fn refuse_unknown(&mut self, kind: &str) {
        let known = self.known.borrow();
        for (option, entry) in &self.section.options {
            if !known.contains(option) {
                let message =
                    format!("a target of the type {kind} has no option {}", shown(option));
                let all = known.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                let remedy = format!("the options are {all}");
                self.problems.add(entry.line, Kind::Unknown, message, remedy);
            }
        }
    }

    fn find(&self, option: &str) -> Option<Found<'a>> {
        self.known.borrow_mut().insert(option.to_owned());
        self.raw.find(Some(self.section), option)
    }
}
