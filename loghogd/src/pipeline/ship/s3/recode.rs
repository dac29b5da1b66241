//! Writes the records of a segment in another form, compressed by xz.
//! A segment -> a temporary file without a name, and what the index says of it.
//! Invariant: the same segment gives the same bytes, so that a repeat has the same checksum.
//! Leaves out: uploading.
//!
//! ```text
//! json  as `json` writes it
//! csv   time,sent,host,app,module,logger,level,thread,process,body,exception,fields
//! ```
//! What was not said is left out, or empty. CSV is that of RFC 4180 with line feeds.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use serde_json::value::RawValue;
use xz2::write::XzEncoder;

use super::read::each;
use crate::config::ship::s3::Body;
use crate::disk;
use crate::pipeline::ship::json::Writer;
use crate::pipeline::ship::{Record, Trouble, Whole};
use crate::pipeline::tally::Tally;

/// The preset of xz: with its dictionary of 4 MiB it takes some 32 MiB of memory, where
/// the default takes three times as much.
const PRESET: u32 = 3;

/// Where temporary files are, unless `TMPDIR` says it: on a disk, not in memory.
const FOLDER_DEFAULT: &str = "/var/tmp";

const NAMES: &str = "time,sent,host,app,module,logger,level,thread,process,body,exception,fields\n";

/// How names of such files end, without the dot.
pub(super) fn extension(body: Body) -> &'static str {
    match body {
        Body::File => "",
        Body::JsonXz => "json.xz",
        Body::CsvXz => "csv.xz",
    }
}

/// Writes a segment anew.
pub(super) fn recode(
    whole: &Whole<'_>,
    body: Body,
    zone: &TimeZone,
    go_on: &dyn Fn() -> bool,
) -> Result<(File, Tally), Trouble> {
    let file = temporary().map_err(|error| cannot_write(&error))?;
    let mut out = BufWriter::new(XzEncoder::new(file, PRESET));
    let (mut line, mut writer) = (Vec::new(), Writer::new());
    if body == Body::CsvXz {
        out.write_all(NAMES.as_bytes()).map_err(|error| cannot_write(&error))?;
    }
    let tally = each(whole, zone, go_on, &mut |record| {
        line.clear();
        match body {
            Body::CsvXz => csv(record, &mut line),
            Body::JsonXz | Body::File => {
                writer.write(record, &mut line);
                line.push(b'\n');
            }
        }
        out.write_all(&line)
    })?;
    let encoder = out.into_inner().map_err(|error| cannot_write(error.error()))?;
    let file = encoder.finish().map_err(|error| cannot_write(&error))?;
    Ok((file, tally))
}

/// A file without a name: whatever happens, nothing of it is left.
fn temporary() -> io::Result<File> {
    let folder = std::env::var_os("TMPDIR").filter(|folder| !folder.is_empty());
    let folder = folder.as_deref().map_or(Path::new(FOLDER_DEFAULT), Path::new);
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    Ok(File::from(open(folder, flags, Mode::from_bits_truncate(0o600))?))
}

fn cannot_write(error: &io::Error) -> Trouble {
    Trouble::later(format!(
        "cannot write a temporary file in TMPDIR or {FOLDER_DEFAULT}: {error}; {}",
        disk::remedy(error)
    ))
}

fn csv(record: &Record<'_>, out: &mut Vec<u8>) {
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let time = time(record);
    let (level, process) = (number(record.level.map(u64::from)), number(record.process));
    let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().unwrap_or("").to_owned();
    let values: [&str; 12] = [
        &time,
        &text(&record.sent),
        &record.host,
        record.app,
        record.module,
        &text(&record.logger),
        &level,
        &text(&record.thread),
        &process,
        &record.body,
        &text(&record.exception),
        record.fields.map_or("", RawValue::get),
    ];
    for (place, value) in values.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        if value.contains(['"', ',', '\n', '\r']) {
            out.push(b'"');
            out.extend_from_slice(value.replace('"', "\"\"").as_bytes());
            out.push(b'"');
        } else {
            out.extend_from_slice(value.as_bytes());
        }
    }
    out.push(b'\n');
}

/// In UTC, always with six digits.
fn time(record: &Record<'_>) -> String {
    let at = Timestamp::from_nanosecond(record.times.received_ns.into()).unwrap_or_default();
    format!("{at:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read_facilities;
    use crate::pipeline::ship::RecordReader;

    #[test]
    fn a_record_becomes_a_row() {
        let line = b"2026-11-20 12:00:00.120000 - web01 - ERROR - \"boom\", he said\n\tTrace\n";
        let text = b"[my-app]\nrotate = daily\nbackup_count = 3\n";
        let table = read_facilities(text, Path::new("facilities.conf")).unwrap();
        let facility = table.find("my-app", "").unwrap();
        let times = RecordReader::new(TimeZone::UTC, 0).times(line);
        let mut out = Vec::new();
        csv(&Record::read(line, facility, times), &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "2026-11-20T12:00:00.120000Z,,web01,my-app,root,,40,,,\"ERROR - \"\"boom\"\", he \
             said\nTrace\",,\n"
        );
    }
}
