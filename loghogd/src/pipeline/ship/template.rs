//! Names that are made of a record or a segment: `logs.{app}`. Pure.
//! A template as configured, and values -> a name.
//! Invariant: a template that was read has only places that its user knows.
//! Leaves out: which characters a target takes.

use std::fmt;

/// A template that has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: Box<str>,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Place { name: Box<str>, chars: Option<usize> },
}

/// What stands in the places.
pub trait Values {
    /// Appends the value of a place; false when there is none of that name.
    fn put(&self, name: &str, out: &mut String) -> bool;
}

/// What is wrong with a template, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// What is wrong.
    pub message: String,
}

impl Template {
    /// Reads a template. `{name}` is a place, `{name:8}` its first eight characters;
    /// `{{` and `}}` are braces.
    ///
    /// # Errors
    /// A brace without its partner, or a place that is not among `places`.
    pub fn read(text: &str, places: &[&str]) -> Result<Template, TemplateError> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            plain.push_str(before);
            if brace.starts_with("{{") || brace.starts_with("}}") {
                plain.extend(brace.chars().next());
                rest = brace.get(2..).unwrap_or_default();
                continue;
            }
            let place = brace.strip_prefix('{').and_then(|place| place.split_once('}'));
            let Some((place, behind)) = place else {
                return Err(refused("a brace has no partner; write {{ or }} for the brace itself"));
            };
            let (name, chars) = match place.split_once(':') {
                None => (place, None),
                Some((name, chars)) => match chars.parse() {
                    Ok(chars @ 1..=64) => (name, Some(chars)),
                    _ => return Err(refused("behind the colon there is no number from 1 to 64")),
                },
            };
            if !places.contains(&name) {
                let known = places.iter().map(|place| format!("{{{place}}}")).collect::<Vec<_>>();
                let message =
                    format!("there is no place {{{name:.40}}}; the places are {}", known.join(" "));
                return Err(TemplateError { message });
            }
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
            }
            pieces.push(Piece::Place { name: name.into(), chars });
            rest = behind;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.into()));
        }
        Ok(Template { text: text.into(), pieces })
    }

    /// One that is always empty.
    pub fn plain() -> Template {
        Template { text: "".into(), pieces: Vec::new() }
    }

    /// Appends the name that it is with these values.
    pub fn fill(&self, values: &impl Values, out: &mut String) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Place { name, chars } => {
                    let begin = out.len();
                    values.put(name, out);
                    let value = out.get(begin..).unwrap_or_default();
                    let end = chars.and_then(|chars| value.char_indices().nth(chars));
                    if let Some((end, _)) = end {
                        out.truncate(begin + end);
                    }
                }
            }
        }
    }

    /// Is there a place of this name?
    pub fn has(&self, place: &str) -> bool {
        self.pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Place { name, .. } if **name == *place))
    }
}

/// As it was configured.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn refused(message: &str) -> TemplateError {
    TemplateError { message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct App;

    impl Values for App {
        fn put(&self, name: &str, out: &mut String) -> bool {
            out.push_str(if name == "app" { "my-äpp" } else { "" });
            name == "app"
        }
    }

    fn filled(text: &str) -> Result<String, TemplateError> {
        let mut out = String::new();
        Template::read(text, &["app", "host"])?.fill(&App, &mut out);
        Ok(out)
    }

    #[test]
    fn places_are_filled_and_cut() {
        assert_eq!(filled("logs.{app}.x{app:4}{{}}{host}").unwrap(), "logs.my-äpp.xmy-ä{}");
        assert_eq!(filled("").unwrap(), "");
    }

    #[test]
    fn what_is_no_place_is_refused_with_those_there_are() {
        assert_eq!(
            filled("{ap}").unwrap_err().to_string(),
            "there is no place {ap}; the places are {app} {host}"
        );
        for wrong in ["{app", "app}", "{app:0}", "{app:x}", "{"] {
            assert!(filled(wrong).is_err(), "{wrong}");
        }
    }
}
