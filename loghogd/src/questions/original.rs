//! Looks around a configuration of the original.
//! A configuration -> the folders, certificates and clock that differences depend on.
//! Invariant: looks only; nothing is opened for writing.
//! Leaves out: what differs (`config::original`).

use crate::certs::of_the_original;
use crate::config::original::{self, Difference, Folder, Surroundings};
use crate::config::problem::Problem;
use crate::config::{Kind, Loaded};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io;
use std::path::Path;

/// What the original made of it, where that was something else. `file` is
/// `loghogd.conf`; what cannot be looked at is added to `problems`.
pub(super) fn differences(
    loaded: &Loaded,
    file: &Path,
    problems: &mut Vec<Problem>,
) -> Vec<Difference> {
    let mut surroundings = |section, option, message: String, remedy: &str| {
        problems.push(Problem {
            file: file.to_owned(),
            line: loaded.raw.line_of(section, option),
            kind: Kind::Surroundings,
            message,
            remedy: remedy.to_owned(),
        });
    };
    let logdir = &loaded.config.main.logdir;
    let folders = folders(logdir).unwrap_or_else(|error| {
        let message = format!("logdir: {} cannot be looked into: {error}", logdir.display());
        surroundings("main", "logdir", message, "ask as root, or as the user of loghogd");
        Vec::new()
    });
    let tls = loaded.config.server.tls.as_ref();
    // Files that are not there are problems already.
    let there = tls.filter(|tls| tls.pemfile.exists() && tls.cacert.exists());
    let certificates = there.map_or(Ok(Vec::new()), of_the_original).unwrap_or_else(|error| {
        let remedy = "ask as root, or as the user of loghogd; a start says more";
        surroundings("server", "pemfile", format!("pemfile, cacert: {error}"), remedy);
        Vec::new()
    });
    original::differences(
        loaded,
        &Surroundings {
            file,
            now: Timestamp::now(),
            zone: &TimeZone::system(),
            folders: &folders,
            certificates: &certificates,
        },
    )
}

/// The folders of the log folder, in order, but for hidden ones, which are ours; none if it is not there.
fn folders(logdir: &Path) -> io::Result<Vec<Folder>> {
    let entries = match std::fs::read_dir(logdir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry?;
        let app = entry.file_name().to_string_lossy().into_owned();
        if app.starts_with('.') || !entry.file_type()?.is_dir() {
            continue;
        }
        let mut names = Vec::new();
        for file in std::fs::read_dir(entry.path())? {
            let file = file?;
            if !file.file_type()?.is_dir() {
                names.push(file.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        folders.push(Folder { app, names });
    }
    folders.sort_by(|one, other| one.app.cmp(&other.app));
    Ok(folders)
}
