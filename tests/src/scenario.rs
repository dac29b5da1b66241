//! Describes what a daemon is started with.
//! Choices -> a `Site`: a folder with configuration, certificates and an empty log folder.
//! Invariant: everything lies in one temporary folder; listening is on loopback, port 0.
//! Leaves out: running the daemon (`daemon`).
//!
//! ```text
//! SITE/etc/loghogd.conf, facilities.conf, loghog-server.pem, loghog-ca.cert, loghog-ca.crl
//! SITE/log/       the log folder
//! SITE/own.log    the daemon's own log
//! SITE/stderr     what the run at hand said in the foreground
//! SITE/run/, SITE/work/
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use crate::certs::Authority;
use crate::daemon::{Daemon, Site};
use crate::golden;

/// What a daemon is started with. Unless told otherwise: the golden
/// facilities, TCP and UDP on 127.0.0.1, no TLS.
#[derive(Debug)]
pub struct Scenario {
    facilities: String,
    options: BTreeMap<String, BTreeMap<String, String>>,
    authority: Option<PathBuf>,
    pub(crate) arguments: Vec<String>,
    pub(crate) zone: Option<String>,
    pub(crate) tiny_disk_bytes: Option<u64>,
    parent: PathBuf,
}

impl Scenario {
    /// The usual scenario.
    pub fn new() -> Scenario {
        Scenario {
            facilities: golden::facilities(),
            options: BTreeMap::new(),
            authority: None,
            arguments: Vec::new(),
            zone: None,
            tiny_disk_bytes: None,
            parent: std::env::temp_dir(),
        }
        .option("server", "listen_ipv4", "127.0.0.1:0")
        .option("server", "listen_ipv6", "")
        .option("log", "level", "INFO")
        .option("status", "listen", "")
    }

    /// Another `facilities.conf`.
    #[must_use]
    pub fn facilities(mut self, text: &str) -> Scenario {
        text.clone_into(&mut self.facilities);
        self
    }

    /// Ships to a target of this name, with these options of `[ship:NAME]`.
    #[must_use]
    pub fn target(self, name: &str, options: &[(&str, &str)]) -> Scenario {
        let section = format!("ship:{name}");
        options.iter().fold(self, |scenario, (name, value)| scenario.option(&section, name, value))
    }

    /// An option of `loghogd.conf`; it replaces the usual one.
    #[must_use]
    pub fn option(mut self, section: &str, name: &str, value: &str) -> Scenario {
        let options = self.options.entry(section.to_owned()).or_default();
        options.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Leaves an option of `loghogd.conf` out.
    #[must_use]
    pub fn without(mut self, section: &str, name: &str) -> Scenario {
        self.options.entry(section.to_owned()).or_default().remove(name);
        self
    }

    /// Listens for TLS as well, with the server's certificate and the
    /// revocation list of this authority.
    #[must_use]
    pub fn tls(mut self, authority: &Authority) -> Scenario {
        self.authority = Some(authority.folder().to_owned());
        self.option("server", "listen_ipv4_ssl", "127.0.0.1:0")
            .option("server", "pemfile", "loghog-server.pem")
            .option("server", "cacert", "loghog-ca.cert")
            .option("server", "crl", "loghog-ca.crl")
    }

    /// Passes one more argument on the command line.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Scenario {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts the daemon in this time zone, a value of TZ.
    #[must_use]
    pub fn zone(mut self, zone: &str) -> Scenario {
        self.zone = Some(zone.to_owned());
        self
    }

    /// Puts the log folder on a disk of its own with room for so many bytes.
    /// It lives in a mount namespace that ends with the test, so nothing stays
    /// mounted, whatever happens.
    #[must_use]
    pub fn tiny_disk(mut self, bytes: u64) -> Scenario {
        self.tiny_disk_bytes = Some(bytes);
        self
    }

    /// Puts everything where syncing costs nothing, if there is such a place:
    /// for promises of time that a slow or busy disk could not keep.
    #[must_use]
    pub fn fast_disk(mut self) -> Scenario {
        self.parent = fast_folder();
        self
    }

    /// Writes it all down.
    pub fn site(self) -> Site {
        let site = Site::new(&self.parent, self.arguments, self.zone, self.tiny_disk_bytes);
        if let Some(folder) = &self.authority {
            site.install_certificates(folder);
        }
        std::fs::write(site.facilities_file(), &self.facilities).expect("a writable site");
        let mut options = self.options;
        let mut set = |section: &str, name: &str, value: PathBuf| {
            let value = value.to_string_lossy().into_owned();
            options.entry(section.to_owned()).or_default().entry(name.to_owned()).or_insert(value);
        };
        set("main", "facilities_config", site.facilities_file());
        set("main", "logdir", site.log_dir());
        set("main", "rundir", site.folder().join("run"));
        set("main", "workdir", site.folder().join("work"));
        set("log", "filename", site.own_log_file());
        let mut text = String::new();
        for (section, options) in options {
            text.push_str(&format!("[{section}]\n"));
            for (name, value) in options {
                text.push_str(&format!("{name} = {value}\n"));
            }
        }
        std::fs::write(site.config_file(), text).expect("a writable site");
        site
    }

    /// Writes it all down and starts the daemon.
    #[track_caller]
    pub fn start(self) -> Daemon {
        self.site().start()
    }
}

/// A folder for temporary files in which syncing costs nothing, if there is one.
pub fn fast_folder() -> PathBuf {
    const ROOM_BYTES: u64 = 512 << 20;
    let memory = Path::new("/dev/shm");
    let free = statvfs(memory).map_or(0, |disk| disk.blocks_available() * disk.fragment_size());
    if free >= ROOM_BYTES { memory.to_owned() } else { std::env::temp_dir() }
}

impl Default for Scenario {
    fn default() -> Self {
        Self::new()
    }
}
