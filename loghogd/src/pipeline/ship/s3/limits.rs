//! Every limit of shipping to S3, with its unit, its reason, and what happens at it.

use std::time::Duration;

/// Up to here an object goes in one request, in bytes; a larger one goes in parts.
pub const WHOLE_BYTES_MAX: u64 = 16 << 20;

/// Length of a part, in bytes; S3 takes none below 5 MiB but the last. It grows where
/// an object would have more than [`PARTS_MAX`] of them.
pub const PART_BYTES: u64 = 8 << 20;

/// Most parts of an object (S3 takes 10,000).
pub const PARTS_MAX: u64 = 9_000;

/// Parts that are on their way at once. Together with the one that is being read they
/// are the memory that an upload takes.
pub const PARTS_AT_ONCE: usize = 3;

/// Objects that are on their way at once, where several segments wait: as many as other
/// tools have, so that what a server takes for each answer does not add up.
pub const UPLOADS_AT_ONCE: usize = 8;

const _: () = assert!((PARTS_AT_ONCE as u64 + 1) * PART_BYTES <= 2 * WHOLE_BYTES_MAX);

/// How long connecting may take.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// How long who gives credentials (the instance, a token service) may take to answer.
pub const CREDENTIALS_TIME_MAX: Duration = Duration::from_secs(5);

/// How often a single request is tried again at once, where it may be; then the engine
/// makes its pauses.
pub const QUICK_RETRIES: usize = 2;

/// How long quick retries may go on.
pub const QUICK_RETRY_TIME_MAX: Duration = Duration::from_secs(30);

/// How often a waiting target looks whether it is time to stop.
pub const ENDED_LOOK: Duration = Duration::from_millis(200);

/// How much of an error's text is read, in bytes; the rest is dropped.
pub const ERROR_BYTES_MAX: usize = 64 << 10;

/// How much of a server's message is shown, in characters.
pub const MESSAGE_CHARS_MAX: usize = 300;

/// Longest key, in bytes (S3).
pub const KEY_BYTES_MAX: usize = 1_024;

/// Largest index object that is read, in bytes: some hundred thousand segments of one
/// day. A larger one is refused, and with it the segments of that day.
pub const INDEX_BYTES_MAX: u64 = 256 << 20;

/// Bytes of index objects that are remembered between two updates, so that they need not be
/// read again; in memory they take about twice as much. The oldest days are forgotten first.
pub const INDEX_REMEMBERED_BYTES_MAX: usize = 8 << 20;

/// Days of a segment in whose index it stands. One that covers more, because a clock was
/// wrong, stands in those of its first days and of its last.
pub const DAYS_MAX: usize = 400;

/// How often an update of the index is begun anew because another daemon was quicker;
/// then the engine makes a pause.
pub const INDEX_ATTEMPTS: usize = 20;

/// How much of a segment is read at once, in bytes. A longer message makes it more.
pub const READ_BYTES: usize = 256 << 10;
