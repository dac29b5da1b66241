//! Every limit of the second protocol, with its unit, its reason and what happens at it.

/// Longest payload of a frame before WELCOME, in bytes. A longer one ends the
/// connection from its header alone, so that a stranger gets no memory.
pub const HANDSHAKE_BYTES_MAX: u32 = 4096;

/// Longest application, host or module in HELLO, in bytes. A longer one is
/// refused. Names in DNS have at most 255 (RFC 1035).
pub const NAME_BYTES_MAX: usize = 255;

/// Longest text of FAREWELL and REFUSED, in bytes: room for a sentence, none
/// for filling the other side's log. Writers cut it, readers refuse more.
pub const TEXT_BYTES_MAX: usize = 1024;

/// The smallest `frame_bytes_max` that a server may ask for, in bytes. A
/// client ends the session at less, as hardly a traceback would fit.
pub const FRAME_BYTES_MAX_LEAST: u32 = 4096;

/// Most records in a batch. It bounds what is decoded before anybody else's
/// turn; a batch that announces more ends the connection.
pub const BATCH_RECORDS_MAX: u32 = 16_384;

/// Most fields of a record. A record with more is not taken into a batch.
pub const FIELDS_MAX: usize = 256;

/// Longest array or object, as JSON text, in bytes. A record with a longer one
/// is not taken into a batch.
pub const JSON_BYTES_MAX: usize = 64 << 10;

/// Most strings of a batch that get an index. Later ones are written out each
/// time.
pub const INTERNED_MAX: usize = 4096;

/// Longest string that gets an index, in bytes. Loggers, threads and keys are
/// shorter; a longer one is written out each time.
pub const INTERNED_BYTES_MAX: usize = 128;

/// Most bytes that the indices of a batch may stand for together: without it a
/// batch could say a long name again and again and become a hundred times as
/// long in a file. More ends the connection; writers begin a new batch.
pub const REPEATED_BYTES_MAX: usize = 16 << 20;

/// The greatest number of a message: what languages without unsigned integers
/// can hold. At a million messages a second it lasts for 292,000 years.
pub const NUMBER_MAX: u64 = i64::MAX as u64;

/// Most reasons in one REPORT. There are fewer today; more is refused.
pub const REASONS_MAX: usize = 64;

const _: () = assert!(3 * (NAME_BYTES_MAX + 2) + 128 <= HANDSHAKE_BYTES_MAX as usize);
const _: () = assert!(TEXT_BYTES_MAX + 64 <= HANDSHAKE_BYTES_MAX as usize);
const _: () = assert!(HANDSHAKE_BYTES_MAX <= crate::limits::FRAME_BYTES_MAX);
// One record alone always fits.
const _: () = assert!((FIELDS_MAX + 2) * INTERNED_BYTES_MAX <= REPEATED_BYTES_MAX);
