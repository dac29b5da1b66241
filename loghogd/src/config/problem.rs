//! What is wrong with a configuration, where, and what would be right.
//! Findings of the readers -> a bounded list that a person can work through.
//! Invariant: no problem repeats a secret, or more than a line of the file.
//! Leaves out: where it is shown.

use super::limits::{PROBLEMS_MAX, SHOWN_CHARS_MAX};
use std::fmt;
use std::path::{Path, PathBuf};

/// One thing to put right, or (among warnings) to know.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, thiserror::Error)]
pub struct Problem {
    /// The file it is in.
    #[serde(serialize_with = "lossy")]
    pub file: PathBuf,
    /// The line, counted from 1; none when it is about the whole file.
    pub line: Option<u32>,
    /// What kind of problem, for programs.
    pub kind: Kind,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}\n    {}", self.message, self.remedy)
    }
}

/// The kinds of problems, as `check-config --json` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Not the shape of a configuration file.
    Syntax,
    /// A section or option that nobody knows.
    Unknown,
    /// A section, option or facility given twice.
    Duplicate,
    /// A required option is not there.
    MissingOption,
    /// A value that the option cannot take.
    BadValue,
    /// A `rotate` that is no schedule, or one that never comes.
    BadSchedule,
    /// The name of an application or module cannot be a file's name.
    UnsafeName,
    /// Modules of an application without its root facility.
    NoRoot,
    /// Two facilities could write to one file.
    Collision,
    /// Nobody could meet what a facility requires.
    OutOfReach,
    /// The file cannot be read.
    Unreadable,
    /// The file is beyond a limit.
    TooLarge,
    /// The configuration is right, but what it names is not there.
    Surroundings,
    /// Warning: accepted for old files, without effect.
    Obsolete,
    /// Warning: one section hides another.
    Shadowed,
    /// Warning: others on this machine can read a secret.
    Exposed,
}

/// Collects the problems of one file, at most [`PROBLEMS_MAX`] of them.
#[derive(Debug)]
pub struct Problems {
    file: PathBuf,
    list: Vec<Problem>,
    unlisted: usize,
}

impl Problems {
    /// An empty list for this file.
    pub fn of(file: &Path) -> Problems {
        Problems { file: file.to_owned(), list: Vec::new(), unlisted: 0 }
    }

    /// Notes one problem.
    pub fn add(
        &mut self,
        line: impl Into<Option<u32>>,
        kind: Kind,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        if self.list.len() >= PROBLEMS_MAX {
            self.unlisted += 1;
            return;
        }
        self.list.push(Problem {
            file: self.file.clone(),
            line: line.into(),
            kind,
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    /// The file that this list is about.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Nothing was found.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All that was found, in the order of the lines.
    pub fn into_vec(mut self) -> Vec<Problem> {
        self.list.sort_by_key(|problem| problem.line.unwrap_or(u32::MAX));
        // An option of [DEFAULT] is found wrong in every section.
        self.list.dedup();
        if self.unlisted > 0 {
            self.list.push(Problem {
                file: self.file,
                line: None,
                kind: Kind::TooLarge,
                message: format!("{} more problems are not listed", self.unlisted),
                remedy: "correct the first ones, then check again".to_owned(),
            });
        }
        self.list
    }
}

/// A name or value as a message may repeat it: in quotes, control characters
/// escaped, cut short.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::from("\"");
    for (taken, character) in text.chars().enumerate() {
        if taken == SHOWN_CHARS_MAX {
            shown.push_str("...");
            break;
        }
        shown.extend(character.escape_debug());
    }
    shown.push('"');
    shown
}

pub(super) fn lossy<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}
