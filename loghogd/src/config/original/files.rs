//! What becomes of the files that the original has left. Pure.
//! The names in the log folder -> what is taken over, what is deleted, what is left alone.
//! Invariant: a file is told of as the rooms that keep files would treat it.
//! Leaves out: reading folders.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Table;
use super::{Kind, List, said};
use crate::config::problem::shown;
use crate::pipeline::rotate::name::{Began, Name};

/// So many names are told as examples.
const EXAMPLES: usize = 3;

/// A folder in the log folder, and the names of the files in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folder {
    /// Its name: the application's, if there is one.
    pub app: String,
    /// The files in it, in order.
    pub names: Vec<String>,
}

/// Files of one kind: how many, and the first names.
#[derive(Default)]
struct Listed {
    count: usize,
    first: Vec<String>,
}

impl Listed {
    fn add(&mut self, name: &str) {
        self.count += 1;
        if self.first.len() < EXAMPLES {
            self.first.push(name.to_owned());
        }
    }

    fn shown(&self, one: &str, many: &str) -> String {
        let names: Vec<String> = self.first.iter().map(|name| shown(name)).collect();
        let what = if self.count == 1 { one } else { many };
        let more = if self.count > self.first.len() { ", ..." } else { "" };
        format!("{} {what}: {}{more}", self.count, names.join(", "))
    }
}

/// What is taken over of one facility.
#[derive(Default)]
struct Taken {
    segments: Listed,
    plain: usize,
    /// The beginnings of each file's segments.
    began: BTreeMap<Box<str>, BTreeSet<Began>>,
}

/// What becomes of the files of one folder; the facilities by their modules.
fn sort(folder: &Folder, table: &Table) -> (BTreeMap<Box<str>, Taken>, Listed) {
    let (mut taken, mut left) = (BTreeMap::<Box<str>, Taken>::new(), Listed::default());
    for name in &folder.names {
        let owned = match Name::read(name) {
            Name::Live { stem, .. } => table.owner(&folder.app, &stem).is_some(),
            Name::Segment(segment) => match table.owner(&folder.app, segment.stem()) {
                Some(owner) => {
                    let taken = taken.entry(owner.module.clone()).or_default();
                    taken.segments.add(name);
                    taken.plain += usize::from(segment.format.is_none());
                    taken.began.entry(segment.stem().into()).or_default().insert(segment.began);
                    true
                }
                None => false,
            },
            // What this daemon has begun or set aside is nothing of the original.
            Name::Unfinished(_) | Name::Damaged(_) => true,
            Name::Foreign => false,
        };
        if !owned {
            left.add(name);
        }
    }
    (taken, left)
}

impl List<'_> {
    pub(super) fn folders(&mut self) {
        let table = &self.loaded.table;
        for folder in self.around.folders {
            let root = table.find(&folder.app, "");
            let (taken, left) = sort(folder, table);
            for (module, taken) in &taken {
                self.taken_over(folder, module, taken);
            }
            if left.count > 0 {
                let why = match root {
                    Some(_) => "it belongs to no facility, or is named otherwise than ours",
                    None => "the application has no facility",
                };
                let line = root.map(|facility| facility.origins.section_line);
                let what =
                    format!("{} in the folder {}", left.shown("file", "files"), shown(&folder.app));
                self.add(table.file(), line, Kind::LeftAlone, said(
                    what,
                    "files of the original, or of others",
                    format!("not touched: {why}"),
                    "delete or keep them yourself; for those of a facility that is gone, put it back",
                ));
            }
        }
    }

    fn taken_over(&mut self, folder: &Folder, module: &str, taken: &Taken) {
        let table = &self.loaded.table;
        let Some(facility) = table.owner(&folder.app, module) else { return };
        let keeps = usize::try_from(facility.backup_count).unwrap_or(usize::MAX);
        let surplus: usize =
            taken.began.values().map(|began| began.len().saturating_sub(keeps)).sum();
        let mut now = "they count and are deleted with the new ones".to_owned();
        if surplus > 0 {
            now.push_str(&format!(
                "; beyond backup_count = {keeps}, and so deleted at the first start: {surplus}"
            ));
        }
        if taken.plain > 0 {
            let format = self.loaded.config.compressor.format.extension();
            now.push_str(&format!("; plain, and so sealed as .{format}: {}", taken.plain));
        }
        let what = format!(
            "{} of {} in the folder {}",
            taken.segments.shown("segment", "segments"),
            shown(module),
            shown(&folder.app)
        );
        let remedy = "to keep more of them, raise backup_count before the first start, or copy \
                      them elsewhere; to see it: loghogd explain APP MODULE";
        let line = facility.origins.backup_count.line();
        self.add(
            table.file(),
            line,
            Kind::TakenOver,
            said(what, "the original's backups", now, remedy),
        );
    }
}
