//! Who was given which certificate: `PREFIX-ca.index`, beside the CA.
//! Text <-> `Index`.
//! Invariant: a line that this program does not understand is kept as it is.
//! Leaves out: the revocation list itself, which the daemon reads; see
//! [`crate::revocation`].
//!
//! One certificate a line, oldest first, the columns parted by tabs:
//!
//! ```text
//! SERIAL  KIND            FROM      UNTIL     REVOKED        NAME
//! hex     server, client  RFC 3339  RFC 3339  RFC 3339 or -  as in the subject
//! ```

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::name::Name;
use crate::serial::Serial;

const HEADING: &str = "# certificates under this CA: serial, kind, from, until, revoked, name";

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It proves the server to its clients.
    Server,
    /// It proves a client to the server.
    Client,
}

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub serial: Serial,
    /// What it is for.
    pub kind: Kind,
    /// When it begins.
    pub from: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// Since when it is revoked.
    pub revoked: Option<Timestamp>,
    /// To whom it was given.
    pub name: Name,
}

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index(Vec<Line>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Certificate(Entry),
    /// A comment, or something that a hand or a newer version has written.
    Other(String),
}

impl Index {
    /// An index of no certificates.
    #[must_use]
    pub fn new() -> Self {
        Self(vec![Line::Other(HEADING.to_owned())])
    }

    /// Reads an index; nothing in it can make this fail.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let line = |line: &str| {
            parse_entry(line).map_or_else(|| Line::Other(line.to_owned()), Line::Certificate)
        };
        Self(text.lines().map(line).collect())
    }

    /// Adds a certificate.
    pub fn push(&mut self, entry: Entry) {
        self.0.push(Line::Certificate(entry));
    }

    /// All certificates, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter().filter_map(|line| match line {
            Line::Certificate(entry) => Some(entry),
            Line::Other(_) => None,
        })
    }

    /// Notes that a certificate is revoked; the first date stays.
    pub fn revoke(&mut self, serial: &Serial, since: Timestamp) {
        for line in &mut self.0 {
            if let Line::Certificate(entry) = line
                && entry.serial == *serial
            {
                entry.revoked.get_or_insert(since);
            }
        }
    }
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

fn parse_entry(line: &str) -> Option<Entry> {
    let mut columns = line.splitn(6, '\t');
    let entry = Entry {
        serial: columns.next()?.parse().ok()?,
        kind: columns.next()?.parse().ok()?,
        from: columns.next()?.parse().ok()?,
        until: columns.next()?.parse().ok()?,
        revoked: match columns.next()? {
            "-" => None,
            since => Some(since.parse().ok()?),
        },
        name: columns.next()?.parse().ok()?,
    };
    Some(entry)
}

impl fmt::Display for Index {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.0 {
            match line {
                Line::Certificate(entry) => writeln!(out, "{entry}")?,
                Line::Other(text) => writeln!(out, "{text}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}\t{}\t{}\t{}\t", self.serial, self.kind, self.from, self.until)?;
        match self.revoked {
            Some(since) => write!(out, "{since}")?,
            None => out.write_str("-")?,
        }
        write!(out, "\t{}", self.name.as_str())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Server => "server",
            Self::Client => "client",
        })
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "server" => Ok(Self::Server),
            "client" => Ok(Self::Client),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(serial: u8, name: &str) -> Entry {
        Entry {
            serial: Serial::from_bytes(&[serial]),
            kind: Kind::Client,
            from: "2026-11-20T12:00:00Z".parse().unwrap(),
            until: "2029-02-22T12:00:00Z".parse().unwrap(),
            revoked: None,
            name: name.parse().unwrap(),
        }
    }

    #[test]
    fn what_is_written_is_read_back_equal() {
        let mut index = Index::new();
        index.push(entry(1, "web-1"));
        index.push(entry(2, "a name with spaces"));
        index.revoke(&Serial::from_bytes(&[2]), "2027-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(Index::parse(&index.to_string()), index);
    }

    #[test]
    fn lines_that_make_no_sense_are_kept_and_skipped() {
        let text = "# mine\n\nnonsense\n01\tclient\tyesterday\ttomorrow\t-\tweb-1\n";
        let mut index = Index::parse(text);
        assert_eq!(index.entries().count(), 0);
        index.push(entry(3, "web-3"));
        assert!(index.to_string().starts_with(text));
        assert_eq!(index.entries().count(), 1);
    }

    #[test]
    fn the_first_day_of_a_revocation_stays() {
        let mut index = Index::new();
        index.push(entry(1, "web-1"));
        let first = "2027-01-01T00:00:00Z".parse().unwrap();
        index.revoke(&Serial::from_bytes(&[1]), first);
        index.revoke(&Serial::from_bytes(&[1]), "2028-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(index.entries().next().unwrap().revoked, Some(first));
    }
}
