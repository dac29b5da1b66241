//! Finds what there is to do in a folder, also after a kill at any moment. Pure.
//! The names in a folder -> segments to seal, seals to look at, and what has to go.
//! Invariant: it needs no memory of what was done before; the directory tells everything.
//! Leaves out: doing it (`seal`), and live files (`persist`).
//!
//! | found                     | it was stopped            | what is done                |
//! | ------------------------- | ------------------------- | --------------------------- |
//! | `X`                       | before or in sealing      | sealed                      |
//! | `X.xz.part`               | in sealing                | removed                     |
//! | `X` and `X.xz`            | before `X` was removed    | compared; `X` or `X.xz` goes |
//! | `X.xz`                    | after                     | looked at                   |

use std::collections::BTreeMap;

use super::name::{Name, Segment};
use crate::config::checked::Format;

/// What there is to do in a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Segments that are plain, in the order of their names; of some there may
    /// be a sealed file as well.
    pub plain: Vec<Segment>,
    /// Segments of which only a sealed file is there.
    pub sealed: Vec<Segment>,
    /// Sealed segments that were not finished.
    pub unfinished: Vec<Segment>,
}

/// Sorts the names in a folder.
pub fn find(names: &[String]) -> Found {
    let mut found = Found::default();
    let mut segments: BTreeMap<Segment, (bool, Vec<Format>)> = BTreeMap::new();
    for name in names {
        match Name::read(name) {
            Name::Segment(segment) => {
                let entry = segments.entry(segment.plain()).or_default();
                match segment.format {
                    None => entry.0 = true,
                    Some(format) => entry.1.push(format),
                }
            }
            Name::Unfinished(segment) => found.unfinished.push(segment),
            Name::Live { .. } | Name::Damaged(_) | Name::Foreign => {}
        }
    }
    for (segment, (plain, formats)) in segments {
        if plain {
            found.plain.push(segment);
        } else {
            found.sealed.extend(formats.iter().map(|&format| segment.sealed(format)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_tells_what_was_left_undone() {
        let names = [
            "web.log",
            "web.log.2026-11-19-00-00-00-000000",
            "web.log.2026-11-19-00-00-00-000000.xz.part",
            "web.log.2026-11-18-00-00-00-000000",
            "web.log.2026-11-18-00-00-00-000000.xz",
            "web.log.2026-11-17-00-00-00-000000.gz",
            "web.log.2026-11-16-00-00-00-000000.xz.damaged",
            "web.log.2026-11-15.gz",
            "notes.txt",
        ]
        .map(str::to_owned);
        let found = find(&names);
        let plain: Vec<String> = found.plain.iter().map(Segment::to_string).collect();
        assert_eq!(
            plain,
            ["web.log.2026-11-18-00-00-00-000000", "web.log.2026-11-19-00-00-00-000000"]
        );
        let sealed: Vec<String> = found.sealed.iter().map(Segment::to_string).collect();
        assert_eq!(sealed, ["web.log.2026-11-17-00-00-00-000000.gz"]);
        let unfinished: Vec<String> = found.unfinished.iter().map(Segment::unfinished).collect();
        assert_eq!(unfinished, ["web.log.2026-11-19-00-00-00-000000.xz.part"]);
    }
}
