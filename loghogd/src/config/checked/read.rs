//! Checks the sections of `loghogd.conf`.
//! The file as written and the command line -> a `Config`, or every problem.
//! Invariant: an option that nobody knows is refused, never passed over.
//! Leaves out: whether files, users and addresses exist.
//!
//! In the file, relative paths start at its folder; on the command line at
//! the current one. A relative pidfile is below the run folder in both.

use super::{
    Compressor, Config, Family, Format, Listen, Log, Main, MinFree, Overrides, Server, TlsPaths,
    When, listen,
};
use crate::config::limits::MIN_FREE_TENTHS_MAX;
use crate::config::problem::{Kind, Problems, shown};
use crate::config::raw::{Found, Raw, on_one_line};
use crate::config::reference::SECTIONS;
use crate::config::value::{self, Refused};
use crate::config::{ship, status};
use crate::limits::CLIENTS_MAX;
use std::path::{Path, PathBuf};
use wire::limits::{DATAGRAM_BYTES_MAX, FRAME_BYTES_MAX};

/// A section of old files that has no meaning any more, and its option.
const OBSOLETE: (&str, &str) = ("scheduler", "db_filename");

/// Smallest `max_frame` and `max_datagram`, in bytes: an ordinary message
/// must get through.
const MESSAGE_BYTES_MIN: u64 = 1024;

/// Where relative paths start.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// Those in the file: its folder.
    pub folder: &'a Path,
    /// Those on the command line: the current folder.
    pub current: &'a Path,
}

/// Checks a file. What it gives is of use only if there is nothing among
/// `problems`, except for finding further problems.
pub fn read(
    raw: &Raw,
    places: Places<'_>,
    overrides: &Overrides,
    problems: &mut Problems,
    warnings: &mut Problems,
) -> Config {
    let mut reader = Reader { raw, places, problems };
    reader.refuse_unknown(warnings);
    let config = Config {
        main: reader.main(overrides),
        log: reader.log(overrides),
        compressor: reader.compressor(),
        server: reader.server(),
        status: reader.status(),
        ship: ship::read(raw, places, reader.problems),
        folder: places.folder.to_owned(),
    };
    if config.compressor.compress_on_write {
        reader.refuse_live(&config.ship);
    }
    config
}

struct Reader<'a> {
    raw: &'a Raw,
    places: Places<'a>,
    problems: &'a mut Problems,
}

impl Reader<'_> {
    fn main(&mut self, overrides: &Overrides) -> Main {
        let rundir = self.folder_or("rundir", overrides.rundir.as_deref(), "/var/run/loghogd");
        let facilities = match &overrides.facilities_config {
            Some(given) => Some(self.places.current.join(given)),
            None => self.path("main", "facilities_config", "facilities.conf"),
        };
        let pidfile = match &overrides.pidfile {
            Some(given) => given.to_str().map(str::to_owned),
            None => self.text("main", "pidfile"),
        };
        let pidfile = pidfile.unwrap_or_else(|| "loghogd.pid".to_owned());
        let user = overrides.user.clone().or_else(|| self.text("main", "user"));
        Main {
            daemon: overrides.daemon || self.value("main", "daemon", false, value::yes_or_no),
            workdir: self.folder_or("workdir", overrides.workdir.as_deref(), "/var/lib/loghogd"),
            logdir: self.folder_or("logdir", overrides.logdir.as_deref(), "/var/log/loghogd"),
            facilities_config: facilities.unwrap_or_default(),
            pidfile: (!pidfile.is_empty()).then(|| rundir.join(pidfile)),
            rundir,
            user: user.filter(|user| !user.is_empty()),
            confine: self.value("main", "confine", true, value::yes_or_no),
            open_files_max: self.count("main", "max_open_files", 256, 1..=65_536),
            hosts_max: self.count("main", "max_hosts", 1_000, 1..=1_000_000),
            clients_max: self.count("main", "max_clients", CLIENTS_MAX, 1..=1_000_000),
            min_free: self.value("main", "min_free", None, min_free),
        }
    }

    fn status(&mut self) -> Option<status::Address> {
        let folder = self.places.folder;
        let read = |text: &str| status::listen(text, folder);
        self.value("status", "listen", Some(status::DEFAULT), read)
    }

    fn log(&mut self, overrides: &Overrides) -> Log {
        let filename = match &overrides.log {
            Some(given) => {
                Some(self.places.current.join(given)).filter(|_| !given.as_os_str().is_empty())
            }
            None => self.path("log", "filename", "/var/log/loghogd/loghogd.log"),
        };
        Log {
            filename,
            level: self.value("log", "level", tracing::Level::INFO, level),
            backup_count: self.count("log", "backup_count", 14, 0..=u64::from(u32::MAX)),
            when: self.value("log", "when", When::Midnight, when),
        }
    }

    fn compressor(&mut self) -> Compressor {
        Compressor {
            format: self.value("compressor", "format", Format::Xz, format),
            level: self.count("compressor", "level", 6, 0..=9),
            compress_on_write: self.value(
                "compressor",
                "compress_on_write",
                false,
                value::yes_or_no,
            ),
        }
    }

    fn server(&mut self) -> Server {
        let port = self.value("server", "default_port", 5566, listen::port);
        let tls_port = self.value("server", "default_port_ssl", 5577, listen::port);
        let mut listen = Vec::new();
        for (option, default, family, tls, port) in [
            ("listen_ipv4", "127.0.0.1", Family::V4, false, port),
            ("listen_ipv6", "[::1]", Family::V6, false, port),
            ("listen_ipv4_ssl", "", Family::V4, true, tls_port),
            ("listen_ipv6_ssl", "", Family::V6, true, tls_port),
        ] {
            self.listen(option, default, &mut listen, |list| {
                listen::addresses(list, family, tls, port)
            });
        }
        if listen.is_empty() && self.problems.is_empty() {
            let message = "there is no address to listen on";
            let remedy = "give at least one listen option of [server] an address";
            self.problems.add(self.line_of("server"), Kind::BadValue, message, remedy);
        }
        let frame = self.value("server", "max_frame", u64::from(FRAME_BYTES_MAX), |text| {
            value::size(text, MESSAGE_BYTES_MIN..=u64::from(FRAME_BYTES_MAX))
        });
        let datagram =
            self.value("server", "max_datagram", u64::from(DATAGRAM_BYTES_MAX), |text| {
                value::size(text, MESSAGE_BYTES_MIN..=64 << 10)
            });
        Server {
            tls: self.tls(&listen),
            listen,
            frame_bytes_max: u32::try_from(frame).unwrap_or(FRAME_BYTES_MAX),
            // 64 KiB is how people write it; UDP carries a little less.
            datagram_bytes_max: u32::try_from(datagram)
                .unwrap_or(DATAGRAM_BYTES_MAX)
                .min(DATAGRAM_BYTES_MAX),
            connections_max: self.count("server", "max_connections", 16_384, 1..=1_000_000),
        }
    }

    /// Reads one list of addresses; refuses those that another has already.
    fn listen(
        &mut self,
        option: &str,
        default: &str,
        all: &mut Vec<Listen>,
        read: impl Fn(&str) -> Result<Vec<Listen>, Refused>,
    ) {
        let found = self.find("server", option);
        let (list, line) = match found {
            Some(found) => (on_one_line(&found.entry.value).into_owned(), Some(found.entry.line)),
            None => (default.to_owned(), None),
        };
        let listen = match read(&list) {
            Ok(listen) => listen,
            Err(refused) => return self.note(line, option, refused),
        };
        for address in listen {
            if all.iter().any(|other| other.conflicts_with(&address)) {
                let message = format!("{option}: {address} is given twice");
                let remedy = "keep one of them, or choose another port";
                self.problems.add(line, Kind::Duplicate, message, remedy);
            }
            all.push(address);
        }
    }

    fn tls(&mut self, listen: &[Listen]) -> Option<TlsPaths> {
        let pemfile = self.path("server", "pemfile", "");
        let cacert = self.path("server", "cacert", "");
        let crl = self.path("server", "crl", "");
        if !listen.iter().any(|address| address.tls) {
            return None;
        }
        for (option, path, remedy) in [
            (
                "pemfile",
                &pemfile,
                "add the server's key and certificate: pemfile = certs/loghog-server.pem",
            ),
            ("cacert", &cacert, "add the authority's certificate: cacert = certs/loghog-ca.cert"),
        ] {
            if path.is_none() {
                let line = self.find("server", option).map(|found| found.entry.line);
                let message = format!("there is an address for TLS, but no {option}");
                let line = line.or_else(|| self.line_of("server"));
                self.problems.add(line, Kind::MissingOption, message, remedy);
            }
        }
        Some(TlsPaths { pemfile: pemfile?, cacert: cacert?, crl })
    }

    /// A folder, from the command line or the file. It cannot be empty.
    fn folder_or(&mut self, option: &str, given: Option<&Path>, default: &str) -> PathBuf {
        if let Some(given) = given {
            return self.places.current.join(given);
        }
        self.path("main", option, default).unwrap_or_else(|| {
            let line = self.find("main", option).map(|found| found.entry.line);
            let refused = Refused::new("the folder's name is empty", format!("write {default}"));
            self.note(line, option, refused);
            PathBuf::new()
        })
    }

    /// A path, taken from the folder of the file; none when it is empty.
    fn path(&mut self, section: &str, option: &str, default: &str) -> Option<PathBuf> {
        let text = self.text(section, option);
        let text = text.as_deref().unwrap_or(default);
        (!text.is_empty()).then(|| self.places.folder.join(text))
    }

    /// Text on one line, such as a path or a name, if there is one.
    fn text(&mut self, section: &str, option: &str) -> Option<String> {
        let found = self.find(section, option)?;
        let text = found.entry.value.as_str();
        if text.chars().any(char::is_control) {
            let message = format!("{} has more than one line or a control character", shown(text));
            let line = found.entry.line;
            self.note(Some(line), option, Refused::new(message, "write it on one line"));
            return None;
        }
        Some(text.to_owned())
    }

    fn count<T: TryFrom<u64>>(
        &mut self,
        section: &str,
        option: &str,
        default: T,
        range: std::ops::RangeInclusive<u64>,
    ) -> T {
        let count = self.value(section, option, None, |text| value::count(text, range).map(Some));
        count.and_then(|count| T::try_from(count).ok()).unwrap_or(default)
    }

    fn value<T>(
        &mut self,
        section: &str,
        option: &str,
        default: T,
        read: impl FnOnce(&str) -> Result<T, Refused>,
    ) -> T {
        let Some(found) = self.find(section, option) else { return default };
        let line = found.entry.line;
        match read(&found.entry.value) {
            Ok(value) => value,
            Err(refused) => {
                self.note(Some(line), option, refused);
                default
            }
        }
    }

    fn note(&mut self, line: Option<u32>, option: &str, refused: Refused) {
        let message = format!("{option}: {}", refused.message);
        self.problems.add(line, refused.kind, message, refused.remedy);
    }

    fn find(&self, section: &str, option: &str) -> Option<Found<'_>> {
        let section = self.raw.sections().iter().find(|other| other.name == section);
        self.raw.find(section, option)
    }

    fn line_of(&self, section: &str) -> Option<u32> {
        let section = self.raw.sections().iter().find(|other| other.name == section);
        section.map(|section| section.line)
    }

    /// A live file can be followed only as long as it is plain.
    fn refuse_live(&mut self, targets: &[ship::Target]) {
        for target in targets.iter().filter(|target| target.when == ship::When::Live) {
            let section = format!("{}{}", ship::PREFIX, target.name);
            let line = self.find(&section, "when").map(|found| found.entry.line);
            let message =
                "when: a live file that is compressed while it is written is not followed";
            let remedy = "write when = sealed, or [compressor] compress_on_write = no";
            self.problems.add(line, Kind::BadValue, message, remedy);
        }
    }

    fn refuse_unknown(&mut self, warnings: &mut Problems) {
        for section in self.raw.sections() {
            let options: Vec<&str> = if section.name == OBSOLETE.0 {
                let message = "[scheduler] has no effect any more";
                warnings.add(section.line, Kind::Obsolete, message, "delete the section");
                vec![OBSOLETE.1]
            } else if section.name.starts_with(ship::PREFIX) {
                // They check themselves.
                continue;
            } else if let Some(known) = SECTIONS.iter().find(|known| known.name == section.name) {
                known.names().collect()
            } else {
                let message = format!("there is no section {}", shown(&section.name));
                let names: Vec<&str> = SECTIONS.iter().map(|section| section.name).collect();
                let remedy = format!(
                    "the sections are {}, {}NAME; applications belong into facilities.conf",
                    names.join(", "),
                    ship::PREFIX
                );
                self.problems.add(section.line, Kind::Unknown, message, remedy);
                continue;
            };
            for (option, entry) in &section.options {
                if !options.contains(&option.as_str()) {
                    let message = format!("[{}] has no option {}", section.name, shown(option));
                    let remedy = format!("its options are {}", options.join(", "));
                    self.problems.add(entry.line, Kind::Unknown, message, remedy);
                }
            }
        }
        let defaults = self.raw.defaults().into_iter().flat_map(|section| &section.options);
        for (option, entry) in defaults {
            if option != OBSOLETE.1 && !SECTIONS.iter().any(|known| known.has(option)) {
                let message = format!("no section has an option {}", shown(option));
                let remedy = "delete the line, or correct the name";
                self.problems.add(entry.line, Kind::Unknown, message, remedy);
            }
        }
    }
}

/// Bytes, or a part of the file system in percent; nothing or 0 for none.
fn min_free(text: &str) -> Result<Option<MinFree>, Refused> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let Some(percent) = text.strip_suffix('%') else {
        return match value::size(text, 0..=u64::MAX) {
            Ok(0) => Ok(None),
            Ok(bytes) => Ok(Some(MinFree::Bytes(bytes))),
            Err(refused) => {
                let remedy = "write a size or a part of the file system: 500 MiB, 2 GiB, 5%";
                Err(Refused { remedy: remedy.to_owned(), ..refused })
            }
        };
    };
    let percent = percent.trim_end();
    let (whole, tenth) = percent.split_once('.').unwrap_or((percent, "0"));
    let whole = value::count(whole, 0..=100).ok();
    let tenth = value::count(tenth, 0..=9).ok().filter(|_| tenth.len() == 1);
    match whole.zip(tenth).map(|(whole, tenth)| 10 * whole + tenth) {
        Some(0) => Ok(None),
        Some(tenths) if tenths <= MIN_FREE_TENTHS_MAX => {
            Ok(u16::try_from(tenths).ok().map(|tenths| MinFree::Percent { tenths }))
        }
        Some(_) => Err(Refused::new(
            format!("{} is more than {}%", shown(text), MIN_FREE_TENTHS_MAX / 10),
            "write the part to be kept free, not the part that may be used, such as 5%",
        )),
        None => Err(Refused::new(
            format!("{} is no percentage", shown(text)),
            "write one such as 5% or 2.5%, or a size such as 500 MiB",
        )),
    }
}

/// A level of Python's logging, in any case.
fn level(text: &str) -> Result<tracing::Level, Refused> {
    Ok(match text.trim().to_ascii_uppercase().as_str() {
        "DEBUG" => tracing::Level::DEBUG,
        "INFO" => tracing::Level::INFO,
        "WARNING" | "WARN" => tracing::Level::WARN,
        // There is nothing more important than an error here.
        "ERROR" | "CRITICAL" | "FATAL" => tracing::Level::ERROR,
        _ => {
            let message = format!("{} is no level", shown(text));
            return Err(Refused::new(message, "write DEBUG, INFO, WARNING, ERROR or CRITICAL"));
        }
    })
}

fn when(text: &str) -> Result<When, Refused> {
    Ok(match text.trim().to_ascii_lowercase().as_bytes() {
        b"s" => When::EverySecond,
        b"m" => When::EveryMinute,
        b"h" => When::EveryHour,
        b"d" => When::EveryDay,
        b"midnight" => When::Midnight,
        &[b'w', day @ b'0'..=b'6'] => When::Weekly { weekday: day - b'0' },
        _ => {
            let message = format!("{} is no time to turn the own log", shown(text));
            return Err(Refused::new(message, "write midnight, S, M, H, D, or W0 (Monday) to W6"));
        }
    })
}

fn format(text: &str) -> Result<Format, Refused> {
    Ok(match text.trim() {
        "xz" => Format::Xz,
        "gzip" => Format::Gzip,
        "bzip2" => Format::Bzip2,
        "zstd" => Format::Zstd,
        _ => {
            let message = format!("{} is no format", shown(text));
            return Err(Refused::new(message, "write xz, gzip, bzip2 or zstd"));
        }
    })
}
