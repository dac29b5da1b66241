//! Finds facilities that could write to one file.
//! The facilities of a table -> pairs, with the host that would do it.
//! Invariant: without such a pair no two facilities share a file.
//! Leaves out: equal names, which the reader refuses before.
//!
//! `HOST-MODULE.log` of a module with a file for each host can be the file
//! of another facility of its application whose name ends with `-MODULE`:
//! the host is what stands before that, or ends with it when the other one
//! has a file for each host, too.

use super::{Facility, Table};
use crate::pipeline::persist::path::can_be_host;
use std::collections::HashMap;
use std::sync::Arc;

/// Two facilities and a host whose file would be that of both.
pub(super) struct Collision<'a> {
    /// The one with a file for each host.
    pub(super) per_host: &'a Facility,
    /// The one whose file that can be.
    pub(super) other: &'a Facility,
    /// The host, encoded as in the file's name.
    pub(super) host: &'a str,
}

/// All collisions within the table, in the order of the file.
pub(super) fn collisions(table: &Table) -> impl Iterator<Item = Collision<'_>> {
    let per_host: HashMap<(&str, &str), &Arc<Facility>> = table
        .iter()
        .filter(|facility| facility.file_per_host)
        .map(|facility| ((&*facility.app, &*facility.module), facility))
        .collect();
    table.iter().flat_map(move |other| ends(&other.module, &other.app, &per_host, other))
}

fn ends<'a>(
    name: &'a str,
    app: &'a str,
    per_host: &HashMap<(&'a str, &'a str), &'a Arc<Facility>>,
    other: &'a Facility,
) -> Vec<Collision<'a>> {
    name.match_indices('-')
        .filter_map(|(dash, _)| {
            let (host, module) = (name.get(..dash)?, name.get(dash + 1..)?);
            let per_host = per_host.get(&(app, module))?;
            let host = match host {
                // `x-` for the one is `x` for the other.
                "" if other.file_per_host => "x-",
                host if can_be_host(host) => host,
                _ => return None,
            };
            Some(Collision { per_host, other, host })
        })
        .collect()
}
