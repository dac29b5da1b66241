//! What a facility requires of the way on which messages come.
//! `v2, tls` -> a typed value, and back.
//! Invariant: nothing is required but what was written.
//! Leaves out: refusing messages (`pipeline::gate`).

use crate::config::problem::shown;
use crate::config::value::Refused;
use std::fmt;

/// How messages have to come; by default in any way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Require {
    /// Over protocol v2 only.
    pub v2: bool,
    /// Over TLS only.
    pub tls: bool,
}

impl Require {
    /// Reads `v2`, `tls`, both with a comma between, or nothing.
    pub(super) fn parse(text: &str) -> Result<Require, Refused> {
        let mut require = Require::default();
        if text.trim().is_empty() {
            return Ok(require);
        }
        for item in text.split(',').map(str::trim) {
            let required = match item {
                "v2" => &mut require.v2,
                "tls" => &mut require.tls,
                _ => {
                    return Err(Refused::new(
                        format!("{} is nothing that can be required", shown(item)),
                        "write v2, tls, or: v2, tls; nothing behind the = to require nothing",
                    ));
                }
            };
            *required = true;
        }
        Ok(require)
    }

    /// What is required, by name.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [("v2", self.v2), ("tls", self.tls)].into_iter().filter_map(|(name, is)| is.then_some(name))
    }
}

/// As the option `require` takes it; `none` for nothing.
impl fmt::Display for Require {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.v2, self.tls) {
            (false, false) => "none",
            (true, false) => "v2",
            (false, true) => "tls",
            (true, true) => "v2, tls",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_is_what_was_written() {
        for (text, v2, tls, shown) in [
            ("", false, false, "none"),
            ("v2", true, false, "v2"),
            (" tls ", false, true, "tls"),
            ("v2, tls", true, true, "v2, tls"),
            ("tls,v2", true, true, "v2, tls"),
        ] {
            let require = Require::parse(text).unwrap();
            assert_eq!((require, &*require.to_string()), (Require { v2, tls }, shown), "{text:?}");
        }
        for text in ["v3", "TLS", "v2 tls", "v2,", ",", "none", "yes"] {
            assert!(Require::parse(text).is_err(), "{text:?}");
        }
    }
}
