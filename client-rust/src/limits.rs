//! Every limit of the client.
//! Nothing -> constants.
//! Invariant: the relations between limits hold at compile time.
//! Leaves out: the limits of the wire, which are `wire::limits`.

use std::time::Duration;

/// Bytes of whole frames that wait for the sender, unless the builder says
/// otherwise: some 50,000 messages. Past it the oldest are dropped and counted
/// as `queue_full`. The batch being written comes on top, so a client holds
/// messages of at most twice this, and memory, with the room that dropped
/// messages leave behind, of at most twice that.
pub const QUEUE_BYTES: usize = 16 << 20;

/// The least that a builder accepts for `queue_bytes`: room for one frame of
/// any size.
pub const QUEUE_BYTES_MIN: usize = wire::limits::FRAME_BYTES_MAX as usize + 8;

/// Messages that wait for the sender, unless the builder says otherwise. Past
/// it the oldest are dropped and counted as `queue_full`.
pub const QUEUE_MESSAGES: usize = 100_000;

/// How long `flush` and the guard wait, unless told otherwise. What is left
/// then is counted as `closed`.
pub const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// How long closing waits for a server that cannot be reached: long enough for
/// one that is just restarting, short enough for a command that somebody waits
/// for. Only a limit shorter than this ends earlier.
pub const UNREACHABLE_LIMIT: Duration = Duration::from_secs(1);

/// How long closing waits for the thread to close its socket once there is
/// nothing more to write, within the limit for closing. Past it the thread ends
/// by itself: one that looks a name up or connects cannot be hurried.
pub const END_LIMIT: Duration = Duration::from_millis(500);

/// One address is tried this long before the next one.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// A TLS handshake that takes longer counts as a failed attempt.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// A blocked read or write looks this often whether it must give up.
pub const IO_SLICE: Duration = Duration::from_millis(100);

/// After a write the sender lets messages gather this long, so that a busy
/// program pays for one wake-up and one write a millisecond, not a message.
pub const GATHER: Duration = Duration::from_millis(1);

/// The first pause between attempts to connect. The second attempt follows the
/// first at once; the pauses after it double.
pub const PAUSE_MIN: Duration = Duration::from_millis(200);

/// The longest pause between attempts to connect.
pub const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The longest pause while somebody waits in `flush` or `close`.
pub const PAUSE_HURRIED: Duration = Duration::from_millis(100);

/// A connection that lasted this long was a good one, as is any over which the
/// server has acknowledged something: its end is not held against the server,
/// and the pauses begin anew.
pub const CONNECTION_PROVEN: Duration = Duration::from_secs(2);

/// Failed attempts in a row after which the server counts as unreachable. The
/// first may be a stale address or a server just restarting.
pub const OUTAGE_ATTEMPTS: u32 = 2;

/// Plain bytes that go into one TLS record, and one record into one write: so
/// a frame is either whole in the kernel's hands or not at all.
pub const TLS_RECORD_BYTES: usize = 16 << 10;

/// Under TLS 1.3 a client has finished before the server has looked at its
/// certificate. The first write waits as long as the handshake took, within
/// these bounds, for the server's refusal.
pub const REFUSAL_WAIT_MIN: Duration = Duration::from_millis(20);
/// See [`REFUSAL_WAIT_MIN`].
pub const REFUSAL_WAIT_MAX: Duration = Duration::from_secs(1);

/// After the first datagram to a loopback address: time for the kernel to say
/// that nobody listens there.
pub const ICMP_WAIT_LOOPBACK: Duration = Duration::from_millis(5);

/// After the first datagram to a host with several addresses: the same, over a
/// network.
pub const ICMP_WAIT_REMOTE: Duration = Duration::from_millis(100);

/// Failures kept as text for whoever asks; the oldest are forgotten.
pub const FAILURES_KEPT: usize = 16;

/// A buffer that a burst has blown up past this is given back once it is empty.
pub const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// A server that does not answer our greeting within this time counts as one
/// that knows v1 only. Where v1 is not allowed, it is a failed attempt.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// A server that ended our session for a newer one of the same client id is
/// left alone this long.
pub const EVICTED_PAUSE: Duration = Duration::from_secs(60);

/// A server that refuses us (a wrong secret, an unknown application) is left
/// alone this long: somebody has to change something first.
pub const REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// Records that are kept in memory until they are acknowledged, in bytes,
/// beside those that wait in the queue. Past it the server has to acknowledge
/// before more is sent. Never more than `queue_bytes`.
pub const WINDOW_BYTES: usize = 8 << 20;

/// Records are numbered and kept in pieces of so many bytes; a piece becomes a
/// batch. A longer record is a piece of its own.
pub const PIECE_BYTES: usize = 256 << 10;

/// Frames made but not taken by the kernel yet, in bytes; past it no batch is
/// made. One more batch comes on top.
pub const OUTPUT_BYTES_MAX: usize = 256 << 10;

/// Shorter batches are not compressed: it would not pay for their headers.
pub const COMPRESSED_BYTES_MIN: usize = 256;

/// A session without an acknowledgement for this long, while one is due, is
/// ended, and begun anew: what was sent is sent again, which loses nothing.
pub const STALL_LIMIT: Duration = Duration::from_secs(60);

/// After a failover, a better server is tried this often.
pub const PREFER_AGAIN: Duration = Duration::from_secs(60);

/// How long the session with a server is waited for to acknowledge what it has
/// got, before a better one takes over. Past it both may get the same.
pub const HANDOVER_LIMIT: Duration = Duration::from_secs(5);

/// Drops are reported to the server this often at most.
pub const REPORT_EVERY: Duration = Duration::from_secs(1);

/// The longest record that waits for a v2 session, in bytes: its frame must
/// fit into `FRAME_BYTES_MAX`. A longer one is counted as `too_large`.
pub const RECORD_BYTES_MAX: usize = wire::limits::FRAME_BYTES_MAX as usize;

/// Bytes of all files of a spool, unless the builder says otherwise: some five
/// million messages. Past it nothing more goes to the disk; memory takes over,
/// with its own bounds.
pub const SPOOL_BYTES: u64 = 1 << 30;

/// The least that a builder accepts for a spool: a few of the longest records.
pub const SPOOL_BYTES_MIN: u64 = 4 << 20;

/// A file of the spool that has come to this many bytes is followed by a new
/// one; it is deleted when all in it is acknowledged. A quarter of a spool that
/// is smaller than four of these.
pub const SPOOL_FILE_BYTES: u64 = 4 << 20;

/// How much of the spool is read at a time.
pub const SPOOL_READ_BYTES: usize = PIECE_BYTES + (64 << 10);

/// Full files of the spool that may wait for their sync; past it they are
/// synced at once, or, where the disk refuses, the oldest is left to the kernel.
/// Each holds a descriptor.
pub const SPOOL_RETIRED_FILES_MAX: usize = 64;

/// The spool is synced this often while something comes: what a power failure
/// may take. A crash of the program alone takes nothing.
pub const SPOOL_SYNC_EVERY: Duration = Duration::from_secs(1);

/// A spool that cannot be opened or written is tried again after this long.
pub const SPOOL_RETRY: Duration = Duration::from_secs(5);

/// A file of the spool that refuses to be read is tried this often, with
/// `SPOOL_RETRY` between; then what is behind it is sent, and it is counted as
/// damaged. The next program may find it readable again.
pub const SPOOL_READ_TRIES: u32 = 12;

/// How often the client looks for spools that other processes of the
/// application have left behind.
pub const ADOPT_EVERY: Duration = Duration::from_secs(60);

const _: () = assert!(WINDOW_BYTES <= QUEUE_BYTES);
const _: () = assert!(PIECE_BYTES <= RECORD_BYTES_MAX);
const _: () = assert!(SPOOL_FILE_BYTES <= SPOOL_BYTES);
const _: () = assert!((RECORD_BYTES_MAX as u64) < SPOOL_BYTES_MIN);
const _: () = assert!(QUEUE_BYTES_MIN <= QUEUE_BYTES);
const _: () = assert!(PAUSE_MIN.as_millis() <= PAUSE_MAX.as_millis());
const _: () = assert!(3 * IO_SLICE.as_millis() <= END_LIMIT.as_millis());
