//! Reads log files.
//! Text of a file -> its records, each checked to be whole.
//! Invariant: text that is not made of whole records is never taken for some.
//! Leaves out: what the records should say.

use std::path::{Path, PathBuf};

/// Length of `2026-11-20 12:00:00.123456`.
const STAMP_BYTES: usize = 26;

/// The records of a file, each without its stamp: ` - HOST - BODY`, with the
/// further lines of its body.
///
/// # Panics
/// When anything in the file is not a whole record.
#[track_caller]
pub fn records(text: &str) -> Vec<String> {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is torn: {:?}", tail(text));
    let mut records: Vec<String> = Vec::new();
    for line in text.lines() {
        if begins_with_stamp(line) {
            records.push(line[STAMP_BYTES..].to_owned());
            continue;
        }
        assert!(line.starts_with('\t'), "neither a record nor part of one: {line:?}");
        let record = records.last_mut().expect("a file begins with a record");
        record.push('\n');
        record.push_str(line);
    }
    records
}

/// Does a line begin with a stamp of six digits below the second?
pub fn begins_with_stamp(line: &str) -> bool {
    const SHAPE: &[u8; STAMP_BYTES] = b"0000-00-00 00:00:00.000000";
    line.as_bytes().first_chunk::<STAMP_BYTES>().is_some_and(|stamp| {
        stamp.iter().zip(SHAPE).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            _ => byte == shape,
        })
    })
}

/// Every file and folder below `folder`, relative to it, folders with a `/`.
pub fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    collect(folder, &PathBuf::new(), &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, below: &Path, found: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder.join(below)) else { return };
    for entry in entries {
        let entry = entry.expect("a readable folder");
        let path = below.join(entry.file_name());
        let shown = path.to_string_lossy().into_owned();
        if entry.file_type().expect("a file has a type").is_dir() {
            found.push(shown + "/");
            collect(folder, &path, found);
        } else {
            found.push(shown);
        }
    }
}

fn tail(text: &str) -> &str {
    text.lines().next_back().unwrap_or("")
}
