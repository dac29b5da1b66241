//! Writes manual pages, for the tests of what they are about.
//! A command line as clap knows it, and what it does not say -> `man/NAME.SECTION`.
//! Invariant: the page that is shipped is the one that is written here.
//! Leaves out: installing it; what a page says.

use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use roff::Roff;
pub use roff::{Inline, bold, italic, roman};

/// Set, what is shipped is written instead of compared.
pub const WRITE: &str = "LOGHOG_WRITE_MANUAL";

/// When what the pages say has last changed. Packages and readers show it; a test
/// cannot know it.
const DATE: &str = "2026-11-29";

/// Longest line of a page's source, in bytes, as far as there are blanks to break it at.
const LINE_BYTES_MAX: usize = 78;

/// A manual page that is being written.
#[derive(Debug)]
pub struct Page {
    roff: Roff,
    /// Nothing stands between a heading and what comes next.
    below_heading: bool,
}

impl Page {
    /// Begins the page `name(section)` and says what it is about in a few words.
    pub fn new(name: &str, section: u8, about: &str) -> Page {
        let kind = match section {
            1 => "User Commands",
            5 => "File Formats",
            _ => "System Administration",
        };
        let mut page = Page { roff: Roff::new(), below_heading: false };
        let title = name.to_uppercase();
        page.roff.control("TH", [&*title, &section.to_string(), DATE, "LogHog", kind]);
        page.section("NAME");
        page.text([roman(format!("{name} - {about}"))]);
        page
    }

    /// Begins a section.
    pub fn section(&mut self, title: &str) {
        self.roff.control("SH", [title]);
        self.below_heading = true;
    }

    /// Begins a part of a section.
    pub fn part(&mut self, title: &str) {
        self.roff.control("SS", [title]);
        self.below_heading = true;
    }

    /// A line of the synopsis: `command` as it is typed, what may follow, what must.
    pub fn synopsis(&mut self, command: &str, rest: &str) {
        self.paragraph_begins();
        let mut line = vec![bold(command)];
        if !rest.is_empty() {
            line.extend([roman(" "), italic(rest)]);
        }
        self.text(line);
    }

    /// Paragraphs; what stands between backquotes is as one types it.
    pub fn paragraphs<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) {
        for text in texts {
            self.paragraph_begins();
            self.text(marked(text));
        }
    }

    /// A name and, indented below it, what it means.
    pub fn tagged(&mut self, tag: impl Into<Vec<Inline>>, text: &str) {
        self.roff.control("TP", []);
        self.below_heading = false;
        self.text(tag.into());
        self.text(marked(text));
    }

    /// Lines as they are typed.
    pub fn verbatim(&mut self, lines: &str) {
        self.paragraph_begins();
        self.roff.control("nf", []);
        for line in lines.lines() {
            self.text([roman(line)]);
        }
        self.roff.control("fi", []);
    }

    /// What else there is to read: names and sections.
    pub fn see_also(&mut self, pages: &[(&str, u8)]) {
        self.section("SEE ALSO");
        let mut line = Vec::new();
        for (number, (name, section)) in pages.iter().enumerate() {
            let end = if number + 1 < pages.len() { ", " } else { "" };
            line.extend([bold(*name), roman(format!("({section}){end}"))]);
        }
        self.text(line);
    }

    /// Options and arguments of a command, each with its help.
    ///
    /// # Panics
    /// When one is not explained.
    pub fn options<'a>(&mut self, arguments: impl IntoIterator<Item = &'a Arg>) {
        for argument in arguments {
            let is_told = ["help", "version"].contains(&argument.get_id().as_str());
            if !is_told && !argument.is_hide_set() {
                self.option(argument);
            }
        }
    }

    /// The commands of a command, and theirs: how each is typed, what it does, what it
    /// takes. `begin` is what is typed before.
    pub fn commands(&mut self, command: &Command, begin: &str) {
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            let typed = format!("{begin} {}", below.get_name());
            if !below.is_subcommand_required_set() {
                self.part(&format!("{typed} {}", usage(below)).trim_end().replace('"', "''"));
                let about = below.get_long_about().or(below.get_about());
                let about = about.unwrap_or_else(|| panic!("{typed} is not explained")).to_string();
                let mut paragraphs: Vec<String> = about.split("\n\n").map(one_line).collect();
                if let Some(last) = paragraphs.last_mut().filter(|last| !last.ends_with('.')) {
                    last.push('.');
                }
                self.paragraphs(paragraphs.iter().map(String::as_str));
                self.options(below.get_arguments().filter(|argument| !argument.is_global_set()));
            }
            self.commands(below, &typed);
        }
    }

    fn option(&mut self, arg: &Arg) {
        let takes_values = arg.get_action().takes_values();
        let values = arg.get_value_names().filter(|_| takes_values);
        let value = values.map(|names| names.iter().map(ToString::to_string).collect::<String>());
        let mut tag = Vec::new();
        match (arg.get_short(), arg.get_long()) {
            (Some(short), Some(long)) => tag.push(bold(format!("-{short}, --{long}"))),
            (None, Some(long)) => tag.push(bold(format!("--{long}"))),
            _ => {}
        }
        if let Some(value) = value {
            let is_optional = arg.get_num_args().is_some_and(|range| range.min_values() == 0);
            match (tag.is_empty(), is_optional && !arg.is_positional()) {
                (true, _) => {}
                (false, true) => tag.push(roman("[=")),
                (false, false) => tag.push(roman(" ")),
            }
            tag.push(italic(value));
            if is_optional && !arg.is_positional() {
                tag.push(roman("]"));
            }
        }
        let help = arg.get_long_help().or(arg.get_help());
        let help = help.unwrap_or_else(|| panic!("{} is not explained", arg.get_id()));
        let mut text = one_line(&help.to_string()) + ".";
        let defaults: Vec<_> =
            arg.get_default_values().iter().map(|default| default.to_string_lossy()).collect();
        if takes_values && defaults.iter().any(|default| !default.is_empty()) {
            text.push_str(&format!(" Unless told otherwise: `{}`.", defaults.join("`, `")));
        }
        self.tagged(tag, &text);
    }

    /// No empty paragraph stands below a heading.
    fn paragraph_begins(&mut self) {
        if !std::mem::take(&mut self.below_heading) {
            self.roff.control("PP", []);
        }
    }

    fn text(&mut self, line: impl Into<Vec<Inline>>) {
        self.below_heading = false;
        self.roff.text(line);
    }

    /// The page as it is shipped.
    pub fn text_of(&self) -> String {
        broken(&self.roff.render())
    }

    /// Compares the page with `man/file`, or writes that.
    ///
    /// # Panics
    /// When it is another, with what to do about it.
    #[track_caller]
    pub fn must_be(&self, file: &str) {
        must_be(&self.text_of(), &format!("man/{file}"));
    }
}

/// Compares a text with a file of the repository, or writes that.
///
/// # Panics
/// When it is another, with what to do about it.
#[track_caller]
pub fn must_be(text: &str, file: &str) {
    let path = repository().join(file);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, text)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }
    let shipped = std::fs::read_to_string(&path).unwrap_or_default();
    let remedy = format!("run this test with {WRITE}=1 to write it anew");
    assert!(shipped == text, "{file} is not what the program says; {remedy}");
}

/// How a command is typed, behind its name.
pub fn usage(command: &Command) -> String {
    let is_option = |arg: &&Arg| {
        let is_told = ["help", "version"].contains(&arg.get_id().as_str());
        !arg.is_positional() && !arg.is_hide_set() && !arg.is_global_set() && !is_told
    };
    let mut usage = Vec::new();
    if command.get_arguments().any(|arg| is_option(&arg)) {
        usage.push("[OPTION]...".to_owned());
    }
    for arg in command.get_positionals() {
        let names = arg.get_value_names().unwrap_or_default();
        let name = names.iter().map(ToString::to_string).collect::<String>();
        let name = if name.is_empty() { arg.get_id().as_str().to_uppercase() } else { name };
        usage.push(if arg.is_required_set() { name } else { format!("[{name}]") });
    }
    usage.join(" ")
}

/// A command of another command, with the arguments that it takes from it.
///
/// # Panics
/// When there is none of this name.
pub fn subcommand(command: &Command, name: &str) -> Command {
    let found = command.find_subcommand(name);
    // Its arguments get their defaults and names only when it is built.
    let mut found = found.unwrap_or_else(|| panic!("there is no command {name}")).clone();
    found.build();
    found
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What stands between backquotes is bold.
fn marked(text: &str) -> Vec<Inline> {
    let text = one_line(text);
    let parts = text.split('`').enumerate().filter(|(_, part)| !part.is_empty());
    parts.map(|(number, part)| if number % 2 == 1 { bold(part) } else { roman(part) }).collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Breaks long lines where they have blanks, as people who read the source like it.
fn broken(source: &str) -> String {
    let mut broken = String::new();
    let mut is_verbatim = false;
    for line in source.lines() {
        match line {
            ".nf" => is_verbatim = true,
            ".fi" => is_verbatim = false,
            _ => {}
        }
        let line = line.trim_end();
        if is_verbatim || line.starts_with('.') {
            broken.push_str(line);
            broken.push('\n');
            continue;
        }
        let mut width = 0;
        for word in line.split(' ') {
            if width > 0 && width + word.len() >= LINE_BYTES_MAX && !word.is_empty() {
                broken.push('\n');
                width = 0;
                // At the beginning of a line these would be commands.
                if word.starts_with(['.', '\'']) {
                    broken.push_str("\\&");
                }
            } else if width > 0 {
                broken.push(' ');
                width += 1;
            }
            broken.push_str(word);
            width += word.len();
        }
        broken.push('\n');
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_and_typed_ones_are_not() {
        let long = "word ".repeat(30);
        let mut page = Page::new("test", 1, "tries");
        page.paragraphs([&*long]);
        page.verbatim(&long);
        let text = page.text_of();
        assert_eq!(text.matches("word").count(), 60);
        let is_long = |line: &&str| line.len() > LINE_BYTES_MAX;
        assert_eq!(text.lines().filter(is_long).count(), 1, "{text}");
    }

    #[test]
    fn no_word_becomes_a_command_by_standing_first() {
        let text = format!("{} .x 'y", "a".repeat(LINE_BYTES_MAX));
        let mut page = Page::new("test", 1, "tries");
        page.paragraphs([&*text]);
        let broken = page.text_of();
        assert!(!broken.contains("\n.x") && !broken.contains("\n'y"), "{broken}");
    }

    #[test]
    fn what_is_typed_stands_between_backquotes() {
        let mut page = Page::new("test", 1, "tries");
        page.paragraphs(["say `yes` or no"]);
        assert!(page.text_of().contains(r"say \fByes\fR or no"), "{}", page.text_of());
    }
}
