//! Judges names of applications and modules: each becomes a file's name.
//! The name in a section header -> safe or not, and why.
//! Invariant: a safe name is one component of a path, visible, and short
//! enough for every name that its files will ever have.
//! Leaves out: names of hosts, which are encoded instead of refused.

use super::value::Refused;
use crate::pipeline::persist::path::{COMPONENT_BYTES_MAX, HOST_BYTES_ROOM, STEM_BYTES_MAX};

/// Longest name of an application, in bytes: it is the name of a folder.
pub const APP_BYTES_MAX: usize = COMPONENT_BYTES_MAX;

/// Longest canonical name of a module, in bytes.
pub const MODULE_BYTES_MAX: usize = STEM_BYTES_MAX;

/// Longest canonical name of a module with a file for each host, in bytes:
/// `HOST-` comes before it.
pub const MODULE_PER_HOST_BYTES_MAX: usize = STEM_BYTES_MAX - HOST_BYTES_ROOM - 1;

/// Can `name` be the name of a file of at most `bytes_max` bytes?
pub fn safe(what: &str, name: &str, bytes_max: usize) -> Result<(), Refused> {
    let fault = if name.is_empty() {
        "is empty"
    } else if name.starts_with('.') {
        "begins with a dot"
    } else if name.contains('/') {
        "contains a slash"
    } else if name.chars().any(char::is_control) {
        "contains a control character"
    } else if name.len() > bytes_max {
        return Err(Refused::new(
            format!(
                "the name of the {what} is {} bytes long, {bytes_max} are possible",
                name.len()
            ),
            format!("choose a shorter name; it becomes part of the {what}'s file names"),
        ));
    } else {
        return Ok(());
    };
    Err(Refused::new(
        format!("the name of the {what} {fault}"),
        "use letters, digits, dots, dashes and underscores; the name becomes a file's name",
    ))
}

/// White space of Python's `unicode.strip`, which decides how the original
/// read the name of a module.
fn is_blank(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// The components of a module's name: `root.web..errors` is `web`, `errors`;
/// the root facility's name has none. Used for sections and messages alike.
pub fn components(module: &str) -> impl Iterator<Item = &str> {
    let module = module.trim_matches(is_blank);
    let module = match module.strip_prefix("root") {
        Some("") => "",
        Some(rest) => rest.strip_prefix('.').unwrap_or(module),
        None => module,
    };
    module.split('.').filter(|component| !component.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_read_as_the_original_read_it() {
        for (written, expected) in [
            ("", vec![]),
            ("root", vec![]),
            ("root.", vec![]),
            ("..", vec![]),
            ("root.web", vec!["web"]),
            (" web..errors.\n", vec!["web", "errors"]),
            ("\u{a0}web\u{1c}", vec!["web"]),
            ("rootx", vec!["rootx"]),
            ("web.root", vec!["web", "root"]),
            // Only the first component may be left out.
            (".root.web", vec!["root", "web"]),
            ("root.root", vec!["root"]),
        ] {
            assert_eq!(components(written).collect::<Vec<_>>(), expected, "{written:?}");
        }
    }

    #[test]
    fn names_that_are_no_file_names_are_refused() {
        let long = "x".repeat(11);
        for name in ["", ".", "..", ".hidden", "a/b", "/", "a\0", "a\n", "a\u{85}", &long] {
            assert!(safe("module", name, 10).is_err(), "{name:?}");
        }
        for name in ["a", "a.b", "a b", "b:c", "-", "\u{43c}", &long[1..]] {
            assert_eq!(safe("module", name, 10), Ok(()), "{name:?}");
        }
    }
}
