//! The checked configuration of `loghogd.conf`.
//! The file as written and the command line -> typed values, or every problem.
//! Invariant: whoever holds a `Config` need not check it again.
//! Leaves out: facilities, and whether the files and addresses exist.

mod listen;
mod read;

pub use listen::{Family, Listen};
pub use read::{Places, read};

use std::fmt;
use std::path::PathBuf;

use super::{ship, status};

/// What `loghogd.conf` and the command line say together. All paths are
/// absolute if the folder of the file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[main]`
    pub main: Main,
    /// `[log]`
    pub log: Log,
    /// `[compressor]`
    pub compressor: Compressor,
    /// `[server]`
    pub server: Server,
    /// `[status] listen`; none for no status page.
    pub status: Option<status::Address>,
    /// `[ship:NAME]`, in the order of the file.
    pub ship: Vec<ship::Target>,
    /// The folder of `loghogd.conf`.
    pub folder: PathBuf,
}

/// `[main]`: the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Main {
    /// Go into the background.
    pub daemon: bool,
    /// The folder for state that outlives a restart.
    pub workdir: PathBuf,
    /// The folder for the log files.
    pub logdir: PathBuf,
    /// The folder for state that does not.
    pub rundir: PathBuf,
    /// The file with the facilities.
    pub facilities_config: PathBuf,
    /// The file that the process id is written to.
    pub pidfile: Option<PathBuf>,
    /// The user to become when started as root.
    pub user: Option<String>,
    /// Give up whatever the daemon does not need, where the kernel can see to it.
    pub confine: bool,
    /// Most log files open at once; the least recently used is closed.
    pub open_files_max: usize,
    /// Most hosts with a file of their own in one facility; messages of
    /// others are refused.
    pub hosts_max: usize,
    /// Most clients of the second protocol that are remembered. With one more,
    /// the one unseen for the longest time is forgotten.
    pub clients_max: usize,
    /// The room that is kept free on the file system of `logdir`, by deleting
    /// the oldest closed segments of all facilities.
    pub min_free: Option<MinFree>,
}

/// An amount of room on a file system; more than nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinFree {
    /// So many bytes.
    Bytes(u64),
    /// A part of the file system.
    Percent {
        /// In tenths of a percent; at most [`MIN_FREE_TENTHS_MAX`].
        ///
        /// [`MIN_FREE_TENTHS_MAX`]: super::limits::MIN_FREE_TENTHS_MAX
        tenths: u16,
    },
}

impl MinFree {
    /// How much that is of a file system with so many bytes, in bytes.
    pub fn bytes_of(self, total_bytes: u64) -> u64 {
        match self {
            MinFree::Bytes(bytes) => bytes,
            MinFree::Percent { tenths } => {
                let bytes = u128::from(total_bytes) * u128::from(tenths) / 1_000;
                u64::try_from(bytes).unwrap_or(u64::MAX)
            }
        }
    }
}

/// As `[main] min_free` takes it.
impl fmt::Display for MinFree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MinFree::Bytes(bytes) => write!(f, "{bytes}"),
            MinFree::Percent { tenths } if tenths % 10 == 0 => write!(f, "{}%", tenths / 10),
            MinFree::Percent { tenths } => write!(f, "{}.{}%", tenths / 10, tenths % 10),
        }
    }
}

/// `[log]`: the daemon's own log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The file; none for no own log but stderr.
    pub filename: Option<PathBuf>,
    /// The least important level that is logged.
    pub level: tracing::Level,
    /// How many closed segments are kept.
    pub backup_count: u32,
    /// When the file turns.
    pub when: When,
}

/// When the own log turns, in the words of Python's TimedRotatingFileHandler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// `S`
    EverySecond,
    /// `M`
    EveryMinute,
    /// `H`
    EveryHour,
    /// `D`
    EveryDay,
    /// `midnight`
    Midnight,
    /// `W0` to `W6`
    Weekly {
        /// 0 is Monday.
        weekday: u8,
    },
}

/// `[compressor]`: what becomes of closed segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compressor {
    /// The format.
    pub format: Format,
    /// From 0, fast, to 9, small.
    pub level: u32,
    /// Compress (with gzip) while writing.
    pub compress_on_write: bool,
}

/// A format for closed segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// `.xz`
    Xz,
    /// `.gz`
    Gzip,
    /// `.bz2`
    Bzip2,
    /// `.zst`
    Zstd,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 4] = [Format::Xz, Format::Gzip, Format::Bzip2, Format::Zstd];

    /// How names of such files end, without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Format::Xz => "xz",
            Format::Gzip => "gz",
            Format::Bzip2 => "bz2",
            Format::Zstd => "zst",
        }
    }
}

/// `[server]`: where messages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The addresses, in the order of the options; at least one. Those
    /// without TLS take TCP and UDP.
    pub listen: Vec<Listen>,
    /// Certificates; there if any address is for TLS.
    pub tls: Option<TlsPaths>,
    /// Longest payload of a frame on a stream, in bytes.
    pub frame_bytes_max: u32,
    /// Longest datagram, in bytes.
    pub datagram_bytes_max: u32,
    /// Most connections at once, of all addresses together.
    pub connections_max: usize,
}

/// The files that TLS needs, all in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPaths {
    /// The server's key and certificate.
    pub pemfile: PathBuf,
    /// The certificate of the authority that signs both sides.
    pub cacert: PathBuf,
    /// The authority's revocation list.
    pub crl: Option<PathBuf>,
}

/// What the command line says; it beats the file. Paths as they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--daemon`
    pub daemon: bool,
    /// `--facilities-config`
    pub facilities_config: Option<PathBuf>,
    /// `--log`
    pub log: Option<PathBuf>,
    /// `--log-dir`
    pub logdir: Option<PathBuf>,
    /// `--pid`; a relative one is below the run folder, as in the file.
    pub pidfile: Option<PathBuf>,
    /// `--run-dir`
    pub rundir: Option<PathBuf>,
    /// `--work-dir`
    pub workdir: Option<PathBuf>,
    /// `--user`
    pub user: Option<String>,
}
