//! Every limit of the command.
//! Nothing -> constants.
//! Invariant: the relations between limits hold at compile time.
//! Leaves out: the limits of the client, which are `loghog::limits`.

use std::time::Duration;

/// The longest message, in bytes of input. A longer line is cut into several
/// messages between characters, and said so.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Bytes that are read at a time: what a pipe holds, unless told otherwise.
pub(crate) const READ_BYTES: usize = 64 << 10;

/// Bytes that are still read after a signal: what a pipe may hold at most, since
/// who wrote that believes it delivered. More is not waited for.
pub(crate) const LAST_BYTES_MAX: usize = 1 << 20;

/// Messages that may be in memory, unacknowledged and in no spool, in bytes of
/// text and what goes with it. Past it nothing is read until there is room.
pub(crate) const PENDING_BYTES_MAX: usize = 4 << 20;

/// The same as a number of messages.
pub(crate) const PENDING_MESSAGES_MAX: usize = 20_000;

/// What a message takes besides its text, module and fields, at most: stamps,
/// the longest host and application, and the frame.
pub(crate) const OVERHEAD_BYTES: usize = 1024;

/// The client's own bound, past which it would drop: it is never reached. A
/// byte of text takes six in JSON at most, where it is escaped.
pub(crate) const QUEUE_BYTES: usize = 8 * PENDING_BYTES_MAX;

/// All fields together, in bytes. More is refused as bad usage.
pub(crate) const FIELDS_BYTES_MAX: usize = 32 << 10;

/// The longest module, in bytes. A longer one is refused as bad usage.
pub(crate) const MODULE_BYTES_MAX: usize = 255;

/// The longest secret, in bytes of its file. More is no secret but a mistake.
pub(crate) const SECRET_BYTES_MAX: u64 = 4096;

/// The longest time to wait for the server, in seconds: a day.
pub(crate) const TIMEOUT_SECONDS_MAX: f64 = 86_400.0;

/// A line that may be continued waits this long for the next one.
pub(crate) const CONTINUATION_WAIT: Duration = Duration::from_millis(250);

/// While there is no room it is looked for this often.
pub(crate) const ROOM_LOOK: Duration = Duration::from_millis(5);

/// While nothing is read, the client is asked this often what went wrong.
pub(crate) const TROUBLE_LOOK: Duration = Duration::from_millis(500);

/// While the last acknowledgements are waited for, signals are looked for this
/// often.
pub(crate) const SIGNAL_LOOK: Duration = Duration::from_millis(100);

/// With a spool, how long a server that cannot be reached is waited for: it may
/// be just restarting. The next loghog sends what is left.
pub(crate) const UNREACHABLE_LIMIT: Duration = loghog::limits::UNREACHABLE_LIMIT;

/// How long a slow disk may take to bring the rest into the spool. Past it the
/// messages count as not safe.
pub(crate) const SPOOL_LIMIT: Duration = Duration::from_secs(30);

/// How long the orderly end of a connection may take when all is delivered.
pub(crate) const GOODBYE_LIMIT: Duration = Duration::from_secs(1);

const _: () =
    assert!(6 * (MESSAGE_BYTES_MAX + FIELDS_BYTES_MAX) < wire::limits::FRAME_BYTES_MAX as usize);
const _: () = assert!(2 * (MESSAGE_BYTES_MAX + FIELDS_BYTES_MAX) < PENDING_BYTES_MAX);
const _: () = assert!(LAST_BYTES_MAX < PENDING_BYTES_MAX);
const _: () = assert!(PENDING_MESSAGES_MAX < loghog::limits::QUEUE_MESSAGES);
const _: () = assert!(QUEUE_BYTES >= loghog::limits::QUEUE_BYTES_MIN);
