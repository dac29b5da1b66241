//! Reads an INI file as Python's RawConfigParser did, and keeps the lines.
//! Bytes of a file -> sections of options, each with its line.
//! Invariant: any bytes give an answer, in time and memory linear in their size.
//! Leaves out: which sections and options there are, and what they mean.
//!
//! The dialect: `[section]`, then `option = value` or `option: value`; names
//! of options in any case; a deeper indented line goes on with the value
//! before it; `#`, `;` and `rem ` begin a comment line, `;` after white space
//! a comment within one. Values stay as they are: no interpolation, quotes
//! are part of them (only `""` means empty). `[DEFAULT]` holds what sections
//! do not give themselves. Stricter than the original: nothing comes twice.
//!
//! The crate `configparser` splits options from values, but it has no lines,
//! merges what comes twice, cuts `a;b` at the `;`, and takes `  [::1]` in the
//! middle of a value for a section. So a pass before it sorts out the lines
//! and hands it only headers and the first lines of options.

mod line;

use super::limits::{FILE_BYTES_MAX, OPTIONS_MAX, SECTIONS_MAX};
use super::problem::{Kind, Problems, shown};
use configparser::ini::{Ini, IniDefault};
use line::{Line, classify, indent_of};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// The section whose options hold for every other section.
const DEFAULTS: &str = "DEFAULT";

/// A configuration file as written.
#[derive(Debug, Default)]
pub struct Raw {
    sections: Vec<Section>,
    defaults: Option<Section>,
}

/// One section as written.
#[derive(Debug)]
pub struct Section {
    /// What stands in the brackets, without white space around it.
    pub name: String,
    /// The line of the header.
    pub line: u32,
    /// The options, by their names in lower case.
    pub options: BTreeMap<String, Entry>,
}

/// One option as written.
#[derive(Default)]
pub struct Entry {
    /// The value, its lines joined by newlines.
    pub value: String,
    /// The line of the option.
    pub line: u32,
    /// The last line of the value.
    pub line_last: u32,
    /// The value is empty because a comment took all of it.
    pub commented_out: bool,
}

/// Leaves the value out: it may be a secret.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("line", &self.line).finish_non_exhaustive()
    }
}

/// Where the value of an option was found.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The option as written.
    pub entry: &'a Entry,
    /// It stands in `[DEFAULT]`, not in the section itself.
    pub in_defaults: bool,
}

impl Raw {
    /// The sections in the order of the file, without `[DEFAULT]`.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The section `[DEFAULT]`.
    pub fn defaults(&self) -> Option<&Section> {
        self.defaults.as_ref()
    }

    /// The line that gives an option its value, for messages.
    pub fn line_of(&self, section: &str, option: &str) -> Option<u32> {
        let section = self.sections.iter().find(|other| other.name == section);
        self.find(section, option).map(|found| found.entry.line)
    }

    /// The line of a section's header.
    pub fn line_of_section(&self, section: &str) -> Option<u32> {
        let found = self.sections.iter().find(|other| other.name == section);
        found.map(|section| section.line)
    }

    /// An option of this section, or else of `[DEFAULT]`.
    pub fn find<'a>(&'a self, section: Option<&'a Section>, option: &str) -> Option<Found<'a>> {
        let own = section.and_then(|section| section.options.get(option));
        if let Some(entry) = own {
            return Some(Found { entry, in_defaults: false });
        }
        let entry = self.defaults.as_ref()?.options.get(option)?;
        Some(Found { entry, in_defaults: true })
    }
}

/// Reads the text of a file. What cannot be read is noted among `problems`
/// and left out; the rest is read nevertheless.
pub fn read(text: &[u8], problems: &mut Problems) -> Raw {
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        refuse_size(problems);
        return Raw::default();
    }
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut pass = Pass::new(problems);
    for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        if pass.take(number, line).is_err() {
            break;
        }
    }
    pass.finish()
}

/// Notes that a file is larger than [`FILE_BYTES_MAX`].
fn refuse_size(problems: &mut Problems) {
    problems.add(
        None,
        Kind::TooLarge,
        format!("the file is larger than {} MiB", FILE_BYTES_MAX >> 20),
        "a configuration file takes some kilobytes; is this the right file?",
    );
}

/// The section that a line belongs to.
#[derive(Clone, Copy)]
enum Place {
    /// Before the first header.
    Nowhere,
    /// Behind a header that was refused: its options are passed over.
    Lost,
    Defaults,
    Section(usize),
}

/// The option that a deeper indented line goes on with.
struct Open {
    key: String,
    indent: usize,
}

/// The limits of the file are exhausted; the rest is not read.
struct Exhausted;

/// The pass over the lines, ahead of `configparser`.
struct Pass<'p> {
    problems: &'p mut Problems,
    raw: Raw,
    place: Place,
    open: Option<Open>,
    /// Headers and first lines of options: what `configparser` gets to see.
    clean: String,
    /// Further lines of values.
    more: HashMap<(usize, String), String>,
    lines_of: HashMap<String, u32>,
    options: usize,
}

/// Stands for `[DEFAULT]` where sections are numbered.
const DEFAULTS_INDEX: usize = usize::MAX;

impl<'p> Pass<'p> {
    fn new(problems: &'p mut Problems) -> Pass<'p> {
        Pass {
            problems,
            raw: Raw::default(),
            place: Place::Nowhere,
            open: None,
            clean: String::new(),
            more: HashMap::new(),
            lines_of: HashMap::new(),
            options: 0,
        }
    }

    fn take(&mut self, number: u32, line: &[u8]) -> Result<(), Exhausted> {
        match classify(line, self.open.as_ref().map(|open| open.indent)) {
            Line::Nothing => Ok(()),
            Line::Header(name) => self.header(number, name),
            Line::Option { key, value, commented_out } => {
                let indent = indent_of(line);
                self.option(number, key, value, commented_out, indent)
            }
            Line::More(text) => {
                self.further(number, text);
                Ok(())
            }
            Line::NoHeaderEnd => {
                self.lose(number, "this section header has no closing bracket", "write `[name]`");
                Ok(())
            }
            Line::NoDelimiter => {
                self.misread(number, "this line is neither a section nor an option");
                Ok(())
            }
            Line::NoKey => {
                self.misread(number, "the name of the option is missing");
                Ok(())
            }
        }
    }

    fn header(&mut self, number: u32, name: &[u8]) -> Result<(), Exhausted> {
        let Some(name) = self.text(number, name) else {
            self.place = Place::Lost;
            return Ok(());
        };
        if name.is_empty() {
            self.lose(number, "this section has no name", "write `[name]`");
            return Ok(());
        }
        if let Some(first) = self.lines_of.get(name) {
            let message = format!("section {} is in line {first} already", shown(name));
            self.problems.add(number, Kind::Duplicate, message, "join the two sections");
            self.place = Place::Lost;
            self.open = None;
            return Ok(());
        }
        if self.raw.sections.len() >= SECTIONS_MAX {
            let message = format!("there are more than {SECTIONS_MAX} sections");
            let remedy = "leave out what is not in use; is this the right file?";
            self.problems.add(number, Kind::TooLarge, message, remedy);
            return Err(Exhausted);
        }
        self.lines_of.insert(name.to_owned(), number);
        self.clean.extend(["[", name, "]\n"]);
        let section = Section { name: name.to_owned(), line: number, options: BTreeMap::new() };
        if name == DEFAULTS {
            self.raw.defaults = Some(section);
            self.place = Place::Defaults;
        } else {
            self.place = Place::Section(self.raw.sections.len());
            self.raw.sections.push(section);
        }
        self.open = None;
        Ok(())
    }

    fn option(
        &mut self,
        number: u32,
        key: &[u8],
        value: &[u8],
        commented_out: bool,
        indent: usize,
    ) -> Result<(), Exhausted> {
        self.open = None;
        if let Place::Nowhere = self.place {
            self.lose(number, "this option is in no section", HEADER_REMEDY);
        }
        let Some(key) = self.text(number, key).map(str::to_ascii_lowercase) else {
            return Ok(());
        };
        let Some(value) = self.text(number, value) else { return Ok(()) };
        let Some(section) = self.raw.section_mut(self.place) else { return Ok(()) };
        if let Some(first) = section.options.get(&key) {
            let message = format!("{} is in line {} already", shown(&key), first.line);
            self.problems.add(number, Kind::Duplicate, message, "keep one of the two lines");
            return Ok(());
        }
        self.options += 1;
        if self.options > OPTIONS_MAX {
            let message = format!("there are more than {OPTIONS_MAX} options");
            self.problems.add(number, Kind::TooLarge, message, "is this the right file?");
            return Err(Exhausted);
        }
        let entry = Entry { value: String::new(), line: number, line_last: number, commented_out };
        section.options.insert(key.clone(), entry);
        self.clean.extend([&key, " = ", value, "\n"]);
        self.open = Some(Open { key, indent });
        Ok(())
    }

    fn further(&mut self, number: u32, text: &[u8]) {
        let Some(text) = self.text(number, text) else { return };
        let Some(open) = &self.open else { return };
        let index = match self.place {
            Place::Section(index) => index,
            Place::Defaults => DEFAULTS_INDEX,
            Place::Nowhere | Place::Lost => return,
        };
        let more = self.more.entry((index, open.key.clone())).or_default();
        more.push('\n');
        more.push_str(text);
        let section = self.raw.section_mut(self.place);
        if let Some(entry) = section.and_then(|section| section.options.get_mut(&open.key)) {
            entry.line_last = number;
            entry.commented_out = false;
        }
    }

    /// A piece of a line as text. A blank outside of ASCII at either end is
    /// refused: nobody sees it, and it would be part of a name or a secret.
    fn text<'a>(&mut self, number: u32, piece: &'a [u8]) -> Option<&'a str> {
        let Ok(text) = std::str::from_utf8(piece.trim_ascii()) else {
            let message = "this line is not UTF-8";
            self.problems.add(number, Kind::Syntax, message, "save the file as UTF-8");
            return None;
        };
        if text.trim().len() != text.len() {
            let message = "an invisible blank that is no ASCII begins or ends a name or value here";
            let remedy = "delete it, or write a plain space";
            self.problems.add(number, Kind::Syntax, message, remedy);
            return None;
        }
        Some(text)
    }

    fn misread(&mut self, number: u32, message: &str) {
        self.open = None;
        match self.place {
            Place::Nowhere => self.lose(number, message, HEADER_REMEDY),
            Place::Lost => {}
            Place::Defaults | Place::Section(_) => {
                let remedy = "write `option = value`, or begin the line with # for a comment";
                self.problems.add(number, Kind::Syntax, message, remedy);
            }
        }
    }

    /// Notes a problem after which the section of the next lines is unknown.
    fn lose(&mut self, number: u32, message: &str, remedy: &str) {
        self.problems.add(number, Kind::Syntax, message, remedy);
        self.place = Place::Lost;
        self.open = None;
    }

    /// Lets `configparser` split the options and takes the values over.
    fn finish(mut self) -> Raw {
        let mut rules = IniDefault::default();
        rules.case_sensitive = true;
        rules.enable_inline_comments = false;
        rules.delimiters = vec!['=', ':'];
        let mut ini = Ini::new_from_defaults(rules);
        if let Err(reason) = ini.read(self.clean) {
            self.problems.add(None, Kind::Syntax, reason, "write `option = value`");
            return Raw::default();
        }
        let parsed = ini.get_mut_map();
        let numbered = (0..).zip(&mut self.raw.sections);
        for (index, section) in
            numbered.chain(self.raw.defaults.as_mut().map(|section| (DEFAULTS_INDEX, section)))
        {
            let mut values = parsed.remove(&section.name).unwrap_or_default();
            for (key, entry) in &mut section.options {
                entry.value = values.remove(key).flatten().unwrap_or_default();
                if entry.value == "\"\"" {
                    entry.value.clear();
                }
                if let Some(more) = self.more.get(&(index, key.clone())) {
                    entry.value.push_str(more);
                }
            }
        }
        self.raw
    }
}

const HEADER_REMEDY: &str = "write a section header such as [main] or [my-app] above it";

impl Raw {
    fn section_mut(&mut self, place: Place) -> Option<&mut Section> {
        match place {
            Place::Nowhere | Place::Lost => None,
            Place::Defaults => self.defaults.as_mut(),
            Place::Section(index) => self.sections.get_mut(index),
        }
    }
}

/// Several lines of a value as one, for values where newlines mean nothing.
pub(super) fn on_one_line(value: &str) -> Cow<'_, str> {
    if value.contains('\n') { value.replace('\n', " ").into() } else { value.into() }
}

#[cfg(test)]
mod tests;
