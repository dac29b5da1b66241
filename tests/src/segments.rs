//! Reads all that there is of a log file, as a user would.
//! A folder and the stem of a file's names -> its segments and the live file, in name order, as text.
//! Invariant: what is sealed is read by the system's own xzcat, zcat, bzcat or zstdcat, or the test fails.
//! Leaves out: what the lines should say.
//!
//! ```text
//! STEM.log.YYYY-MM-DD-HH-MM-SS-ffffff            a segment
//! STEM.log.YYYY-MM-DD-HH-MM-SS-ffffff.xz         a sealed one; or .gz, .bz2, .zst
//! STEM.log, with compress_on_write STEM.log.gz   the live file
//! ```

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use crate::files;
use crate::wait::{DEADLINE, wait_until};

/// Endings of sealed files, and what reads them.
const PROGRAMS: [(&str, &str); 4] =
    [(".xz", "xzcat"), (".gz", "zcat"), (".bz2", "bzcat"), (".zst", "zstdcat")];

/// `YYYY-MM-DD-HH-MM-SS-ffffff`
const STAMP: &[u8] = b"0000-00-00-00-00-00-000000";

/// The names of a file's segments, sorted; then that of the live file. Of a
/// segment that has just been sealed, and is there both ways, the sealed one.
pub fn names(folder: &Path, stem: &str) -> Vec<String> {
    let mut found = all_names(folder, stem);
    let all = found.clone();
    found.retain(|name| !all.iter().any(|other| other != name && plain(other) == name));
    found
}

fn all_names(folder: &Path, stem: &str) -> Vec<String> {
    let mut found = listed(folder);
    let live = [format!("{stem}.log"), format!("{stem}.log.gz")];
    let live: Vec<String> = found.extract_if(.., |name| live.contains(name)).collect();
    found.retain(|name| is_segment(name, stem));
    found.sort();
    found.extend(live);
    found
}

/// The name of a segment before it was sealed.
fn plain(name: &str) -> &str {
    PROGRAMS.iter().find_map(|(end, _)| name.strip_suffix(end)).unwrap_or(name)
}

/// The names of a file's segments, sorted.
pub fn segments(folder: &Path, stem: &str) -> Vec<String> {
    names(folder, stem).into_iter().filter(|name| is_segment(name, stem)).collect()
}

/// Is it the name of a segment of this file, sealed or not?
pub fn is_segment(name: &str, stem: &str) -> bool {
    let stamp = plain(name).strip_prefix(stem).and_then(|rest| rest.strip_prefix(".log."));
    stamp.is_some_and(|stamp| {
        stamp.len() == STAMP.len()
            && stamp.bytes().zip(STAMP).all(|(byte, shape)| match shape {
                b'0' => byte.is_ascii_digit(),
                _ => byte == *shape,
            })
    })
}

/// Is it sealed, by its name?
pub fn is_sealed(name: &str) -> bool {
    PROGRAMS.iter().any(|(end, _)| name.ends_with(end))
}

/// What a file holds, whatever it is sealed with.
///
/// # Panics
/// When the program of its format does not read it to its end.
#[track_caller]
pub fn read(file: &Path) -> String {
    let read = try_read(file);
    let said = String::from_utf8_lossy(&read.stderr);
    assert!(read.status.success(), "{} is not read: {said}", file.display());
    String::from_utf8(read.stdout).expect("lines are UTF-8")
}

/// What the program of its format makes of a file.
pub fn try_read(file: &Path) -> Output {
    let name = file.to_string_lossy();
    let program = PROGRAMS.iter().find(|(end, _)| name.ends_with(end));
    let mut command = Command::new(program.map_or("cat", |(_, program)| program));
    command.arg(file).output().expect("tools/setup has installed it")
}

/// Everything of a file in name order: its segments, then the live file.
#[track_caller]
pub fn text(folder: &Path, stem: &str) -> String {
    names(folder, stem).iter().map(|name| read(&folder.join(name))).collect()
}

/// The records of everything of a file in name order.
#[track_caller]
pub fn records(folder: &Path, stem: &str) -> Vec<String> {
    files::records(&text(folder, stem))
}

/// Waits until every segment of a file is sealed, there are as many as
/// `count` at least, and nothing is on its way; gives their names.
#[track_caller]
pub fn wait_until_sealed(folder: &Path, stem: &str, count: usize) -> Vec<String> {
    // Whoever seals lets everybody else go first, also on a busy machine.
    wait_until(4 * DEADLINE, &format!("{count} segments of {stem} are sealed"), || {
        let all = listed(folder);
        let plain = |name: &String| is_segment(name, stem) && !is_sealed(name);
        let busy = all.iter().any(|name| plain(name) || name.ends_with(".part"));
        Some(segments(folder, stem)).filter(|sealed| !busy && sealed.len() >= count)
    })
}

/// The records of everything of a file, as soon as nothing moves any more
/// while they are being read.
#[track_caller]
pub fn records_when_sealed(folder: &Path, stem: &str) -> Vec<String> {
    wait_until_sealed(folder, stem, 0);
    records(folder, stem)
}

/// Fails when there is anything in a folder but segments and live files of
/// these stems, or the same segment twice.
///
/// # Panics
/// Then.
#[track_caller]
pub fn assert_nothing_else(folder: &Path, stems: &[&str]) {
    let known: Vec<String> = stems.iter().flat_map(|stem| all_names(folder, stem)).collect();
    let strays: Vec<String> =
        listed(folder).into_iter().filter(|name| !known.contains(name)).collect();
    assert_eq!(strays, [""; 0], "stray files");
    let distinct: BTreeSet<&str> = known.iter().map(|name| plain(name)).collect();
    assert_eq!(distinct.len(), known.len(), "a segment is there twice: {known:?}");
}

fn listed(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.expect("a readable folder").file_name().to_string_lossy().into_owned()
    };
    entries.map(name).collect()
}
