//! What the original made of the same configuration, where that was something else. Pure.
//! A configuration, and what was seen around it -> a list of differences.
//! Invariant: only what this configuration meets is told, and only what is known.
//! Leaves out: looking at folders and certificates (`questions::original`).

mod files;
#[cfg(test)]
mod tests;

pub use files::Folder;

use super::checked::Format;
use super::{Facility, LineFormat, Loaded};
use crate::certs::{Old, Role};
use crate::config::facility::Rotate;
use crate::pipeline::rotate::schedule::{Schedule, original};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// Longest frame and datagram that the original took, as an option takes it.
const ORIGINAL_MAX_FRAME: &str = "8 KiB";

/// The level beyond which xz knows no other: see etc/loghogd/loghogd.conf.
const XZ_LEVEL_MAX: u32 = 6;

/// Something that will be noticed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// The file it comes from.
    #[serde(serialize_with = "super::problem::lossy")]
    pub file: PathBuf,
    /// The line, counted from 1; none when it is about all of it.
    pub line: Option<u32>,
    /// What it is about, for programs.
    pub kind: Kind,
    /// What it is about, for people.
    pub what: String,
    /// How it was.
    pub was: String,
    /// How it is.
    pub now: String,
    /// How to keep it, or to see it beforehand.
    pub remedy: String,
    /// A start fails because of it.
    pub stops_start: bool,
}

/// The kinds of differences, as `check-config --from-original --json` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A section without effect.
    Scheduler,
    /// Files turn at other times.
    Schedule,
    /// A time that meets a change of the clock.
    ClockChange,
    /// Files turn without a message.
    OnTime,
    /// `rotate = size` works.
    Size,
    /// Signatures bind.
    Signature,
    /// How lines look.
    Lines,
    /// How hosts stand in names of files.
    HostNames,
    /// The server's certificate, or an authority's.
    Certificate,
    /// Certificates of clients.
    ClientCertificates,
    /// Files of the original that are gone on with.
    TakenOver,
    /// Files in the log folder that are not touched.
    LeftAlone,
    /// How segments are sealed.
    Compressor,
    /// How long a message may be.
    MaxFrame,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 14] = [
        Kind::Scheduler,
        Kind::Schedule,
        Kind::ClockChange,
        Kind::OnTime,
        Kind::Size,
        Kind::Signature,
        Kind::Lines,
        Kind::HostNames,
        Kind::Certificate,
        Kind::ClientCertificates,
        Kind::TakenOver,
        Kind::LeftAlone,
        Kind::Compressor,
        Kind::MaxFrame,
    ];
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        let Difference { what, was, now, remedy, .. } = self;
        let stops = if self.stops_start { " (a start fails)" } else { "" };
        write!(f, " {what}{stops}\n    was: {was}\n    now: {now}\n    {remedy}")
    }
}

/// What was seen around a configuration.
#[derive(Clone, Debug)]
pub struct Surroundings<'a> {
    /// `loghogd.conf`.
    pub file: &'a Path,
    /// The time from which on to look ahead.
    pub now: Timestamp,
    /// The zone that schedules follow.
    pub zone: &'a TimeZone,
    /// The folders of applications in the log folder.
    pub folders: &'a [Folder],
    /// The server's certificate and its authorities, as far as they are old.
    pub certificates: &'a [Old],
}

/// Everything that this configuration will notice, in the order of files and lines.
#[must_use]
pub fn differences(loaded: &Loaded, around: &Surroundings<'_>) -> Vec<Difference> {
    let (told, compared) = (BTreeSet::new(), BTreeMap::new());
    let mut list = List { loaded, around, found: Vec::new(), told, compared };
    list.settings();
    list.certificates();
    list.facilities();
    list.folders();
    let facilities = loaded.table.file();
    list.found.sort_by_key(|found| (found.file == facilities, found.line.unwrap_or(u32::MAX)));
    list.found
}

/// What a difference says.
struct Said {
    what: String,
    was: String,
    now: String,
    remedy: String,
}

/// `Said` of four texts.
fn said(
    what: impl Into<String>,
    was: impl Into<String>,
    now: impl Into<String>,
    remedy: impl Into<String>,
) -> Said {
    Said { what: what.into(), was: was.into(), now: now.into(), remedy: remedy.into() }
}

struct List<'a> {
    loaded: &'a Loaded,
    around: &'a Surroundings<'a>,
    found: Vec<Difference>,
    /// What was told already: a value that is handed down has one line.
    told: BTreeSet<(Kind, Option<u32>)>,
    /// What each schedule meant: many facilities share few, and comparing takes a while.
    compared: BTreeMap<String, Option<(Schedule, original::Differing)>>,
}

impl List<'_> {
    fn settings(&mut self) {
        let raw = &self.loaded.raw;
        if let Some(line) = raw.line_of_section("scheduler") {
            let line = raw.line_of("scheduler", "db_filename").unwrap_or(line);
            self.add(
                self.around.file,
                line,
                Kind::Scheduler,
                said(
                    "[scheduler]",
                    "a database of when each file turned last",
                    "it is passed over: files tell by their names and their last change",
                    "delete the section, and the database in workdir once you do not go back",
                ),
            );
        }
        if raw.line_of("server", "max_frame").is_none() {
            let line = raw.line_of_section("server");
            self.add(
                self.around.file,
                line,
                Kind::MaxFrame,
                said(
                    "the length of messages",
                    format!("at most {ORIGINAL_MAX_FRAME}"),
                    format!("at most {} KiB", self.loaded.config.server.frame_bytes_max >> 10),
                    format!(
                        "to keep it, under [server]: max_frame = {ORIGINAL_MAX_FRAME} and \
                         max_datagram = {ORIGINAL_MAX_FRAME}"
                    ),
                ),
            );
        }
        self.compressor();
    }

    fn compressor(&mut self) {
        let (raw, compressor) = (&self.loaded.raw, &self.loaded.config.compressor);
        if compressor.compress_on_write {
            let line = raw.line_of("compressor", "compress_on_write");
            self.add(self.around.file, line, Kind::Compressor, said(
                "compress_on_write",
                "one gzip member as long as the daemon ran",
                "a live file whose end was not finished becomes a segment, and a new one is begun",
                "to see it: zcat reads all that is in such a file, and complains of its end",
            ));
        }
        if compressor.format == Format::Xz && compressor.level > XZ_LEVEL_MAX {
            let line = raw.line_of("compressor", "level");
            self.add(
                self.around.file,
                line,
                Kind::Compressor,
                said(
                    format!("level = {}", compressor.level),
                    "from 0 to 9",
                    format!("the same as {XZ_LEVEL_MAX}: xz has nothing above that here"),
                    format!("write level = {XZ_LEVEL_MAX}, or choose zstd or bzip2"),
                ),
            );
        }
    }

    fn certificates(&mut self) {
        if self.loaded.config.server.tls.is_none() {
            return;
        }
        for old in self.around.certificates {
            let option = match old.role {
                Role::Pemfile => "pemfile",
                Role::Cacert | Role::Crl => "cacert",
            };
            let line = self.loaded.raw.line_of("server", option);
            let fault = match old.short_bits {
                Some(bits) if old.is_v1 => format!("X.509 v1 with an RSA key of {bits} bits"),
                Some(bits) => format!("an RSA key of {bits} bits"),
                None => "X.509 v1".to_owned(),
            };
            let what = format!("{option}: the certificate of {} is {fault}", old.name);
            let was = "the TLS of that time took it";
            let text = match (old.role, old.is_refused) {
                (Role::Pemfile, _) => said(
                    what,
                    was,
                    "no TLS library of today takes it",
                    "a new one under the same authority, in its folder: loghog-server-cert --reissue",
                ),
                (_, true) => said(
                    what,
                    was,
                    "no TLS library of today takes what it has signed",
                    "a new authority: loghog-server-cert --force, and new certificates for all clients",
                ),
                (_, false) => said(
                    what,
                    was,
                    "LogHog takes it where its key is long enough; strict TLS libraries (Python's \
                     from 3.13 on) do not",
                    "where those connect, a new authority: loghog-server-cert --force, and new \
                     certificates for all clients",
                ),
            };
            self.add(self.around.file, line, Kind::Certificate, text);
            self.stops_start(old.is_refused);
        }
        let line = self.loaded.raw.line_of("server", "cacert");
        self.add(self.around.file, line, Kind::ClientCertificates, said(
            "clients' certificates of the original",
            "X.509 v1 and 1024 bits were taken",
            "they are refused; the own log names each, and certificate_refused counts",
            "new ones for all that lie in the authority's folder: loghog-server-cert --reissue; \
             give each client its file",
        ));
    }

    fn facilities(&mut self) {
        let table = &self.loaded.table;
        let has = |is: fn(&Facility) -> bool| table.iter().any(|facility| is(facility));
        if has(|facility| matches!(facility.rotate, Rotate::Schedule(_))) {
            self.add(table.file(), None, Kind::OnTime, said(
                "when files turn",
                "with the first message after their time",
                "at their time, also when no message comes; what was missed while the daemon was \
                 down is made up for at the start; an empty file does not turn",
                "to see it: loghogd schedule EXPR",
            ));
        }
        if has(|facility| facility.format == LineFormat::Text) {
            self.add(table.file(), None, Kind::Lines, said(
                "how lines look",
                "a message was written as it came",
                "its further lines begin with a tab, and control characters are shown, as \\x1b",
                "to see it: a trial; let programs that join lines look for the tab",
            ));
        }
        for facility in table.iter() {
            self.rotation(facility);
            self.facility(facility);
        }
    }

    fn rotation(&mut self, facility: &Facility) {
        let line = facility.origins.rotate.line();
        let schedule = match &facility.rotate {
            Rotate::Schedule(schedule) => schedule,
            Rotate::Size => {
                return self.add(
                    self.loaded.table.file(),
                    line,
                    Kind::Size,
                    said(
                        "rotate = size",
                        "the original lost every message of such a facility",
                        "they are written, and the file turns at max_size",
                        "nothing to do",
                    ),
                );
            }
        };
        self.meaning(schedule, line);
        self.changes(schedule, line);
    }

    fn meaning(&mut self, schedule: &Schedule, line: Option<u32>) {
        let Surroundings { now, zone, .. } = *self.around;
        let compare = || {
            let old = original::meaning(schedule)?;
            let differing = original::differing(schedule, &old, now, zone);
            Some((old, differing))
        };
        let compared =
            self.compared.entry(schedule.fields().to_owned()).or_insert_with(compare).clone();
        let Some((old, differing)) = compared else { return };
        let also = |at: Option<Timestamp>| match at {
            Some(at) => format!("only so it is due at {}", shown(at, zone)),
            None => "it is due at no other time than by the other rule".to_owned(),
        };
        if differing == original::Differing::default() {
            return;
        }
        self.add(self.loaded.table.file(), line, Kind::Schedule, said(
            format!("rotate = {schedule}"),
            format!("the same as `{old}`; {}", also(differing.only_then)),
            format!("as crontab(5) has it; {}", also(differing.only_now)),
            format!("to keep it: rotate = {old}; to see it: loghogd schedule '{schedule}' --count 20"),
        ));
    }

    fn changes(&mut self, schedule: &Schedule, line: Option<u32>) {
        let Surroundings { now, zone, .. } = *self.around;
        let changes = original::changes(schedule, now, zone);
        let Some(first) = changes.first() else { return };
        let due = changes.iter().map(|change| {
            let due = shown(change.due, zone);
            match change.twice {
                true => format!("{due}, and not again when that hour is repeated"),
                false => format!("{due}, when the hour that is skipped is over"),
            }
        });
        let before = first.due.saturating_sub(jiff::SignedDuration::from_hours(24)).unwrap_or(now);
        self.add(
            self.loaded.table.file(),
            line,
            Kind::ClockChange,
            said(
                format!("rotate = {schedule}, when the clock is changed"),
                "not known",
                format!("due at {}", due.collect::<Vec<_>>().join("; ")),
                format!("to see it: loghogd schedule '{schedule}' --after {before:.0}"),
            ),
        );
    }

    fn facility(&mut self, facility: &Facility) {
        let file = self.loaded.table.file();
        if facility.secret.is_some() {
            self.add(file, facility.origins.secret.line(), Kind::Signature, said(
                format!("the secret of {}", facility.app),
                "messages that were not signed, or with another secret, were written all the same",
                "they are refused, and signature_missing and signature_bad count",
                "to see who sends them: these counters and the own log of a trial; to take what is \
                 not signed for one module, write `secret =` in its section",
            ));
        }
        if facility.file_per_host {
            self.add(file, facility.origins.file_per_host.line(), Kind::HostNames, said(
                "file_per_host",
                "a host stood in the name of its file as it was sent",
                "letters of ASCII, digits and . _ - stay, all else and a dot at the beginning are \
                 written as %XX; a host without a name is refused",
                "nothing to do for plain names; files of other names stay, and are not written on",
            ));
        }
    }

    /// Notes a difference, once for an option's line in `facilities.conf`.
    fn add(&mut self, file: &Path, line: impl Into<Option<u32>>, kind: Kind, said: Said) {
        let line = line.into();
        let is_of_files = matches!(kind, Kind::TakenOver | Kind::LeftAlone);
        let is_handed_down = file == self.loaded.table.file() && line.is_some() && !is_of_files;
        if is_handed_down && !self.told.insert((kind, line)) {
            return;
        }
        let Said { what, was, now, remedy } = said;
        let file = file.to_owned();
        self.found.push(Difference {
            file,
            line,
            kind,
            what,
            was,
            now,
            remedy,
            stops_start: false,
        });
    }

    /// Says of the last one whether a start fails because of it.
    fn stops_start(&mut self, stops_start: bool) {
        if let Some(last) = self.found.last_mut() {
            last.stops_start = stops_start;
        }
    }
}

/// A time as people read it, with its offset.
fn shown(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M %:z").to_string()
}
