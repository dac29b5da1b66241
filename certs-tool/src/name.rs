//! Names that a user gives, checked before they choose a file or enter a certificate.
//! Text -> `Name` (an owner's), `Domain` (a server's) or `San`.
//! Invariant: `NAME.pem` lies in the folder that it is put into.
//! Leaves out: whether a host of that name exists.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::limits::{
    COMMON_NAME_BYTES_MAX, DNS_LABEL_BYTES_MAX, DNS_NAME_BYTES_MAX, DOMAIN_BYTES_MAX,
};

/// Why a name is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("a name may not be empty")]
    Empty,
    /// It does not fit into a certificate.
    #[error("longer than {max} bytes; take a shorter one and add the long one with --san")]
    TooLong {
        /// The longest that fits, in bytes.
        max: usize,
    },
    /// It would leave the folder, hide the file, or read as an option.
    #[error("a name may not begin with `{0}`")]
    Start(char),
    /// White space around it would be lost on the way.
    #[error("a name may not begin or end with white space")]
    Space,
    /// It is a path, or cannot be printed safely.
    #[error("a name may not contain `{}`; it names a file in the current folder, not a path", .0.escape_default())]
    Character(char),
    /// It is no host name and no address.
    #[error("neither a host name (letters, digits, `-`, `_` and `.`) nor an IP address")]
    NotAHost,
}

/// The owner of a certificate, or the prefix of a CA's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

/// The server's name, which its CA is called after too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain(String);

/// A name under which the owner of a certificate can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum San {
    /// A host name; `*` may stand for the first label.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Domain {
    /// The domain as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let first = text.chars().next().ok_or(NameError::Empty)?;
        if text.len() > COMMON_NAME_BYTES_MAX {
            return Err(NameError::TooLong { max: COMMON_NAME_BYTES_MAX });
        }
        if text.trim() != text {
            return Err(NameError::Space);
        }
        if matches!(first, '.' | '-') {
            return Err(NameError::Start(first));
        }
        match text.chars().find(|letter| !is_safe(*letter)) {
            Some(letter) => Err(NameError::Character(letter)),
            None => Ok(Self(text.to_owned())),
        }
    }
}

/// Letters and digits of any script, and the printable signs of ASCII except
/// those that part folders. This leaves out what turns or hides text.
fn is_safe(letter: char) -> bool {
    match letter {
        '/' | '\\' => false,
        ' '..='~' => true,
        _ => letter.is_alphanumeric(),
    }
}

impl FromStr for Domain {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > DOMAIN_BYTES_MAX {
            return Err(NameError::TooLong { max: DOMAIN_BYTES_MAX });
        }
        if text.starts_with('*') {
            return Err(NameError::Start('*'));
        }
        text.parse::<San>()?;
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for San {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Ip(address));
        }
        if is_host_name(text.strip_prefix("*.").unwrap_or(text)) {
            return Ok(Self::Dns(text.to_owned()));
        }
        Err(NameError::NotAHost)
    }
}

impl fmt::Display for San {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => out.write_str(name),
            Self::Ip(address) => address.fmt(out),
        }
    }
}

/// A name as one word of a command that the user may copy into a shell.
#[must_use]
pub fn shell_word(name: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    match name.bytes().all(is_plain) {
        true => Cow::Borrowed(name),
        false => Cow::Owned(format!("'{}'", name.replace('\'', r"'\''"))),
    }
}

/// RFC 1123, with the underscores that internal names have. A last label of
/// digits only would be a mistyped address, which no TLS library takes as a name.
fn is_host_name(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= DNS_NAME_BYTES_MAX
        && text.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_label(label: &str) -> bool {
    (1..=DNS_LABEL_BYTES_MAX).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hosts_and_people_pass() {
        for text in ["web-1", "web_1.example.com", "10.0.0.1", "Büro 3", "a@b", "x:y"] {
            assert_eq!(text.parse::<Name>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn names_that_are_paths_or_unprintable_are_refused() {
        for text in ["", "a/b", "/etc/x", "..", ".hidden", "-rf", " a", "a\n", "a\0b", "a\\b"] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
        }
        assert!("turned\u{202e}text".parse::<Name>().is_err());
        assert!("a".repeat(COMMON_NAME_BYTES_MAX + 1).parse::<Name>().is_err());
    }

    #[test]
    fn a_domain_is_a_host_or_an_address() {
        for text in ["loghog", "logs.example.com", "10.0.0.1", "fd00::1"] {
            assert!(text.parse::<Domain>().is_ok(), "{text}");
        }
        for text in ["", "*.example.com", "a..b", "a b", "../x", "1.2.3", "-a", "käse.example"] {
            assert!(text.parse::<Domain>().is_err(), "{text}");
        }
        assert!("a".repeat(DOMAIN_BYTES_MAX + 1).parse::<Domain>().is_err());
    }

    #[test]
    fn a_name_is_one_word_for_a_shell() {
        for (name, word) in
            [("example.org", "example.org"), ("a b", "'a b'"), ("it's $x", r"'it'\''s $x'")]
        {
            assert_eq!(shell_word(name), word);
        }
    }

    #[test]
    fn a_star_stands_for_one_first_label() {
        assert!("*.example.com".parse::<San>().is_ok());
        for text in ["*", "*.", "a.*.com", "**.example.com"] {
            assert!(text.parse::<San>().is_err(), "{text}");
        }
    }
}
