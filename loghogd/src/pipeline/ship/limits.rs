//! Every limit of shipping, with its unit, its reason, and what happens at it.

use std::time::Duration;

/// The pauses between attempts after trouble; they double, and each is shortened by up
/// to a half by chance, so that many daemons do not come back at once.
pub const RETRY_MIN: Duration = Duration::from_millis(250);
/// The longest of these pauses.
pub const RETRY_MAX: Duration = Duration::from_secs(60);

/// How long a trouble of which the own log has heard is not said again, as long as it
/// stays the same.
pub const TROUBLE_WINDOW: Duration = Duration::from_secs(600);

/// How much of a file is read at once, in bytes. A longer message makes it more.
pub const READ_BYTES: usize = 256 << 10;

/// How much of a file's first line tells it from others, in bytes: its stamp, its host,
/// and the beginning of its body.
pub const HEAD_BYTES: usize = 512;

/// Files of one target that stay open between two batches. The others are opened again.
pub const OPEN_FILES_MAX: usize = 64;

/// How often progress within a file is noted here, if it is not noted by the target.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// The longest time without a look at everything: what came by no notice, such as a
/// segment that somebody has put back, is found then.
pub const LOOK_EVERY: Duration = Duration::from_secs(600);

/// Largest state of one stream, in bytes: a receipt takes 32, so this is over 100,000
/// segments. A larger one is refused as damaged.
pub const STATE_BYTES_MAX: u64 = 4 << 20;

/// Largest file with dead letters, in bytes. Beyond it the target stands still until
/// somebody has looked at it and moved it away.
pub const DEAD_BYTES_MAX: u64 = 1 << 30;

/// How much of a message a dead letter keeps, in bytes.
pub const DEAD_LINE_BYTES_MAX: usize = 1 << 20;

/// How long a sleeping target waits between two looks at whether it is to end.
pub const END_LOOK: Duration = Duration::from_millis(200);

/// Time over which a rate is averaged, in seconds.
pub const RATE_SECONDS: f64 = 10.0;
