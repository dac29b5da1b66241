//! Finds the texts in our sources, as a reader of the guide would meet them.
//! Folders of Rust and Python -> string literals, each with what stands before it.
//! Invariant: what only tests say is left out.
//! Leaves out: which of them anybody ever sees.

use std::fs;
use std::path::{Path, PathBuf};

use crate::golden;

/// What stands for a part of a text that is known only when it is said.
pub const GAP: &str = "…";

/// How much of what stands before a literal is kept, in bytes.
const BEFORE_BYTES: usize = 48;

/// A text in a source.
#[derive(Clone, Debug)]
pub struct Literal {
    /// The file, from the repository on.
    pub file: PathBuf,
    /// The text, with [`GAP`] for `{...}`.
    pub text: String,
    /// The code right before it, without white space.
    before: String,
}

impl Literal {
    /// Is it the first argument of one of these, such as `warn!(`?
    pub fn is_of(&self, calls: &[&str]) -> bool {
        calls.iter().any(|call| self.before.ends_with(call))
    }
}

/// All texts of the Rust and Python files below a folder of the repository.
///
/// # Panics
/// When it cannot be read.
pub fn below(folder: &str) -> Vec<Literal> {
    let repository = golden::repository();
    let mut literals = Vec::new();
    let mut folders = vec![repository.join(folder)];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).expect("a folder of the repository");
        for path in entries.map(|entry| entry.expect("readable").path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_test = ["tests", "simulated", "proptest-regressions"].contains(&&*name)
                || name.trim_end_matches(".rs").ends_with("tests");
            if path.is_dir() && !is_test {
                folders.push(path);
            } else if (name.ends_with(".rs") || name.ends_with(".py")) && !is_test {
                let text = fs::read_to_string(&path).expect("a source");
                let file = path.strip_prefix(&repository).expect("it lies below").to_owned();
                match name.ends_with(".rs") {
                    true => rust(&file, &text, &mut literals),
                    false => python(&file, &text, &mut literals),
                }
            }
        }
    }
    literals
}

fn rust(file: &Path, text: &str, literals: &mut Vec<Literal>) {
    // Tests stand at the end of a file.
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut rest = text;
    let mut before = String::new();
    while let Some(first) = rest.chars().next() {
        let behind = &rest[first.len_utf8()..];
        rest = if rest.starts_with("//") {
            rest.split_once('\n').map_or("", |(_, next)| next)
        } else if first == '"' {
            let (literal, next) = quoted(behind);
            literals.push(Literal {
                file: file.to_owned(),
                text: with_gaps(&literal),
                before: before.clone(),
            });
            before.push('"');
            next
        } else if let Some(next) = rest.strip_prefix("'\"'").or(rest.strip_prefix("b'\"'")) {
            next
        } else {
            if !first.is_whitespace() {
                before.push(first);
            }
            behind
        };
        while before.len() > BEFORE_BYTES {
            before.remove(0);
        }
    }
}

/// The text up to the closing quote, and what follows that.
fn quoted(text: &str) -> (String, &str) {
    let mut literal = String::new();
    let mut rest = text;
    loop {
        let Some(first) = rest.chars().next() else { return (literal, "") };
        rest = &rest[first.len_utf8()..];
        match first {
            '"' => return (literal, rest),
            '\\' => {
                let escaped = rest.chars().next().unwrap_or_default();
                rest = &rest[escaped.len_utf8().min(rest.len())..];
                match escaped {
                    // The line goes on behind its indentation.
                    '\n' => rest = rest.trim_start(),
                    'n' => literal.push('\n'),
                    other => literal.push(other),
                }
            }
            other => literal.push(other),
        }
    }
}

/// Python's are on one line, with either quote, or three.
fn python(file: &Path, text: &str, literals: &mut Vec<Literal>) {
    for quote in ['"', '\''] {
        for line in text.lines() {
            let parts = line.split(quote).enumerate().filter(|(number, _)| number % 2 == 1);
            literals.extend(parts.map(|(_, part)| Literal {
                file: file.to_owned(),
                text: with_gaps(part),
                before: String::new(),
            }));
        }
    }
}

/// `{path}: {0:?}` becomes `…: …`, and `{{` a brace.
fn with_gaps(literal: &str) -> String {
    let mut text = String::new();
    let mut chars = literal.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '{' if chars.peek() == Some(&'{') => {
                chars.next();
                text.push('{');
            }
            '}' if chars.peek() == Some(&'}') => {
                chars.next();
                text.push('}');
            }
            '{' => {
                chars.by_ref().find(|&char| char == '}');
                text.push_str(GAP);
            }
            other => text.push(other),
        }
    }
    text
}

/// Is `pattern`, with gaps that stand for anything, somewhere in `text`?
pub fn fits(pattern: &str, text: &str) -> bool {
    let mut rest = text;
    pattern.split(GAP).map(str::trim).filter(|part| !part.is_empty()).all(|part| {
        match rest.split_once(part) {
            Some((_, behind)) => {
                rest = behind;
                true
            }
            None => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<String> {
        let mut literals = Vec::new();
        rust(Path::new("a.rs"), source, &mut literals);
        literals.into_iter().map(|literal| literal.text).collect()
    }

    #[test]
    fn texts_are_found_and_comments_are_not() {
        let source =
            "// \"no\"\nlet a = \"one {b} \\\n     two\"; '\"'; // it's\nf(\"{{x}} \\\"y\\\"\")";
        assert_eq!(texts(source), ["one … two", "{x} \"y\""]);
        assert!(texts("\n#[cfg(test)]\nmod tests {\n\"no\"").is_empty());
    }

    #[test]
    fn what_a_text_is_said_by_is_known() {
        let mut literals = Vec::new();
        rust(Path::new("a.rs"), "warn!(\n    \"one\"); info!(\"two\")", &mut literals);
        let said: Vec<bool> =
            literals.iter().map(|literal| literal.is_of(&["warn!(", "error!("])).collect();
        assert_eq!(said, [true, false]);
    }

    #[test]
    fn gaps_of_a_pattern_stand_for_anything() {
        assert!(fits("cannot sync … with the power", "cannot sync …: …; lost with the power; …"));
        assert!(!fits("cannot sync … by the power", "cannot sync …: …; lost with the power; …"));
    }
}
