//! Every limit of the configuration, with its unit, its reason and what
//! happens at it.

/// Largest configuration file, in bytes. A larger one is not read: it is a
/// mistake (a log file, a device), and start-up must not cost its memory.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// Most sections in one file. Each facility holds memory for good and may
/// hold open files; the file is refused beyond it.
pub const SECTIONS_MAX: usize = 65_536;

/// Most options in one file: every option of every facility, and some.
/// The file is refused beyond it.
pub const OPTIONS_MAX: usize = 12 * SECTIONS_MAX;

/// Most problems told at once. More are counted, not listed: nobody reads
/// them, and a file of another format has one a line.
pub const PROBLEMS_MAX: usize = 1_000;

/// Most characters of a name or value repeated in a message.
pub const SHOWN_CHARS_MAX: usize = 60;

/// Longest `max_age`, in days: a hundred years. A longer one is refused as a
/// mistake, and no later sum of a time and an age can overflow.
pub const AGE_DAYS_MAX: u64 = 36_500;

/// Largest `min_free` in tenths of a percent. It is refused beyond: whoever
/// writes 90 % means what may be used, and would lose nearly all files.
pub const MIN_FREE_TENTHS_MAX: u64 = 500;

/// Most addresses to listen on, per option: each costs two sockets. More are
/// refused.
pub const LISTEN_MAX: usize = 64;

const _: () = assert!(SECTIONS_MAX < OPTIONS_MAX);
