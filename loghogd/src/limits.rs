//! Every limit of the daemon: its unit, its reason, and what happens at it.
//! The wire's own limits are in `wire::limits`; what a user may change is
//! checked against both when the configuration loads.

use std::time::Duration;

use jiff::SignedDuration;

/// Bytes read from a stream at once. A read brings up to a few thousand
/// messages; more would only make a slow peer's neighbour wait longer.
pub const CHUNK_BYTES: usize = 256 << 10;

/// Lines that a batch collects, in bytes. It may exceed this by its last line.
pub const BATCH_BYTES_MAX: usize = 256 << 10;

/// A batch with so many bytes is handed on. Most last lines fit into what is
/// left; else its buffer would double, and take twice its part of
/// [`QUEUE_BYTES_MAX`].
pub const BATCH_BYTES_FULL: usize = BATCH_BYTES_MAX - (2 << 10);

/// Files that one batch may hold lines for. A full batch is handed on.
pub const BATCH_FILES_MAX: usize = 64;

/// Longest line that one message can become, in bytes: each byte of a body
/// may take four ("\x7f"), and its stamp and host stand before it. With
/// `format = json` a control character takes more; what does not fit is cut.
pub const LINE_BYTES_MAX: usize = 4 * (wire::limits::FRAME_BYTES_MAX as usize) + 2048;

/// Lines between the sockets and the disk, in bytes. At this limit stream
/// senders wait and the kernel's UDP buffers fill; nothing else is dropped.
pub const QUEUE_BYTES_MAX: usize = 6 << 20;

/// The smallest part that the lines for one file take, in bytes.
pub const QUEUE_BYTES_A_SECTION_MIN: usize = 512;

/// Of these, what a file that refuses may take, in bytes. Beyond it those who
/// send to it wait, and others go on.
pub const REFUSED_FILE_BYTES_MAX: usize = 256 << 10;

/// Of these, what all files together that refuse may take, in bytes. Beyond it
/// those who send to any of them wait.
pub const REFUSED_BYTES_MAX: usize = QUEUE_BYTES_MAX / 2;

/// What connections that wait for a file may keep of what they have sent, in
/// bytes. Beyond it they keep their lane, and others wait as well.
pub const HELD_BYTES_MAX: usize = 4 << 20;

/// Unfinished frames of all connections together, in bytes. At this limit the
/// connection whose frame has been unfinished longest is closed, which adds
/// one to `frames_evicted`.
pub const PENDING_BYTES_MAX: usize = 12 << 20;

/// What connections that were told to go may still hold beyond
/// [`PENDING_BYTES_MAX`], in bytes, until they have gone. Beyond that the
/// connection that wants more goes itself, at once.
pub const PENDING_BYTES_LEAVING_MAX: usize = 2 << 20;

/// An unfinished frame up to this size is moved to the front of the next
/// chunk, in bytes; a longer one is completed where it is.
pub const PENDING_BYTES_MOVED_MAX: usize = 4 << 10;

/// Bytes that a connection may read and inflate in one turn. Then it goes to
/// the end of the line for a lane.
pub const TURN_BYTES_MAX: usize = 1 << 20;

/// Connections that may be at work at once, whatever the number of cores:
/// each may need some MiB of buffers.
pub const LANES_MAX: usize = 6;

/// How long a connection pauses after a payload that inflated beyond its
/// limit, which costs us a thousand times what it costs the sender. The pause
/// doubles each time.
pub const BOMB_PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest of these pauses.
pub const BOMB_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Datagrams received by one call.
pub const DATAGRAMS_A_CALL: usize = 32;

/// The largest datagram there is, in bytes, whatever the IP version says.
pub const DATAGRAM_BUFFER_BYTES: usize = 65_536;

/// What we ask of the kernel as a UDP socket's buffer, in bytes. It is told
/// how much was granted in the start log.
pub const UDP_BUFFER_BYTES: usize = 32 << 20;

/// How much of the kernel's table of UDP sockets is read, in bytes: a hundred
/// thousand of them. In a longer one ours may not be found, and drops are
/// known with the next datagram only.
pub const SOCKET_TABLE_BYTES_MAX: u64 = 16 << 20;

/// Datagrams that a stop counts as dropped when it has no time to read them:
/// more than [`UDP_BUFFER_BYTES`] holds.
pub const UNREAD_DATAGRAMS_MAX: usize = 1 << 17;

/// Connections that may be in their TLS handshake at once. At this limit the
/// one that has been in it longest is closed: `handshakes_evicted`.
pub const HANDSHAKES_MAX: usize = 128;

/// How long a TLS handshake may take from its first byte on. Then the
/// connection is closed: `handshake_timeout`.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// Connections that the kernel may hold ready for us.
pub const LISTEN_BACKLOG: u32 = 1024;

/// Descriptors kept back for sockets we listen on, the own log and the like.
pub const DESCRIPTORS_RESERVED: u64 = 64;

/// How long to wait after the kernel refused to accept (no descriptors, no
/// memory) before asking again.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a stop keeps reading what senders had already sent.
pub const DRAIN_TIME_MAX: Duration = Duration::from_millis(500);

/// How long a stop goes on trying to write to files that refuse.
pub const STOP_WRITE_TIME_MAX: Duration = Duration::from_millis(700);

/// When a stop gives up waiting for the disk, counted from the signal.
pub const STOP_TIME_MAX: Duration = Duration::from_millis(1800);

/// How long a stop waits, when all is written, for those who seal and trim.
pub const COLD_STOP_TIME_MAX: Duration = Duration::from_millis(100);

/// How long a stop waits for what is on its way to targets. What has not arrived then
/// is delivered after the next start.
pub const SHIP_STOP_TIME_MAX: Duration = Duration::from_millis(1500);

/// How long a reload waits for a target whose section has changed.
pub const SHIP_CHANGE_TIME_MAX: Duration = Duration::from_secs(2);

/// Longest question to the running daemon, in bytes. A longer one is not answered.
pub const QUESTION_BYTES_MAX: u64 = 4 << 10;

/// How long whoever asks the running daemon may take to ask.
pub const QUESTION_TIME_MAX: Duration = Duration::from_secs(5);

/// Most who look at messages as they pass (`loghogd tap`); one more is refused.
pub const TAPS_MAX: usize = 8;

/// Messages that wait for one who looks; more are missed, and counted.
pub const TAP_MESSAGES_MAX: usize = 1024;

/// What is shown of a message to one who looks, in bytes; the rest is cut off.
pub const TAP_SHOWN_BYTES_MAX: usize = 16 << 10;

/// What waits for one who looks, in bytes; beyond it messages are missed.
pub const TAP_WAITING_BYTES_MAX: usize = 2 << 20;

/// Room that the expression of one who looks may take when it is compiled, in bytes.
pub const TAP_PATTERN_BYTES_MAX: usize = 1 << 20;

/// Clients of which account is kept, each an address with a host and an application.
/// With one more the quarter that has been silent longest is summed up as others.
pub const LEDGER_CLIENTS_MAX: usize = 10_000;

/// Clients that a lane tells apart before it passes on what it has counted.
pub const TALLY_CLIENTS_MAX: usize = 32;

/// Files that refuse which a status names; it says how many there are.
pub const REFUSING_SHOWN_MAX: usize = 10;

/// Connections to the status page at once; one more is closed.
pub const STATUS_CONNECTIONS_MAX: usize = 32;

/// How long one of them may take to ask.
pub const STATUS_ASK_TIME_MAX: Duration = Duration::from_secs(5);

/// Longest head of a question to the status page, in bytes; a longer one is refused (431).
pub const STATUS_HEAD_BYTES_MAX: usize = 8 << 10;

/// How long a loss counts as recent: that long it stands among what is wrong.
pub const RECENT_TIME: Duration = Duration::from_secs(60);

/// How long a connection that has proven itself must have been silent before
/// it has to make room for a new one.
pub const SILENCE_MIN: Duration = Duration::from_secs(600);

/// When the kernel begins to ask a silent peer whether it is still there, how
/// often it asks, and how many times before the connection is over.
pub const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
/// See [`KEEPALIVE_AFTER`].
pub const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
/// See [`KEEPALIVE_AFTER`].
pub const KEEPALIVE_TIMES: u32 = 6;

/// Batches that the writer takes up in one round, so that each round ends.
pub const ROUND_BATCHES_MAX: usize = 4096;

/// The longest time that a written line stays unsynced, whatever
/// `flush_every` says.
pub const UNSYNCED_TIME_MAX: Duration = Duration::from_secs(1);

/// How long a file may go on being written to after somebody has moved it
/// away or deleted it. Then it is opened anew.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Files that turn in one round; others are written to in between.
pub const TURNS_A_ROUND_MAX: usize = 64;

/// Files that are synced in one round; others are written to in between.
pub const SYNCS_A_ROUND_MAX: usize = 64;

/// Times that one file turns in one round, because of its size. What is left
/// waits for the next round.
pub const TURNS_A_FILE_MAX: usize = 32;

/// How long a file that could not turn is written to before it is tried again.
pub const TURN_RETRY: Duration = Duration::from_secs(1);

/// Files that have turned and wait to be synced and closed. Beyond it the
/// writer waits.
pub const RETIRED_FILES_MAX: usize = 32;

/// Lines that become one member of a gzip file, in bytes. It may be exceeded
/// by a single message.
pub const GZIP_MEMBER_BYTES_MAX: usize = 1 << 20;

/// The pauses between attempts to write to a file that refuses; they double.
pub const WRITE_RETRY_MIN: Duration = Duration::from_millis(20);
/// The longest of these pauses.
pub const WRITE_RETRY_MAX: Duration = Duration::from_secs(1);

/// The pause before a folder that could not be synced is synced again.
pub const SYNC_RETRY: Duration = Duration::from_secs(1);

/// From so many bytes a second on that are written, sealing gives way: it works
/// for [`PACE_WORK`], then it pauses for [`PACE_PAUSE`].
pub const PACE_BYTES_A_SECOND: u64 = 16 << 20;
/// How long sealing works until it looks how much is being written.
pub const PACE_WORK: Duration = Duration::from_millis(100);
/// How long it pauses where that is much.
pub const PACE_PAUSE: Duration = Duration::from_millis(300);

/// A sealed file is synced whenever it has grown by so many bytes.
pub const SEAL_SYNC_BYTES: usize = 8 << 20;

/// Shortest plain segment whose tally is kept, in bytes: counting what is in a shorter one
/// again takes a few milliseconds, and keeping takes two syncs.
pub const TALLY_PLAIN_BYTES_MIN: u64 = 256 << 10;
/// So much of a message's first line is looked at for its time and its host, in bytes. A
/// host that ends behind it is not found.
pub const TALLY_HEAD_BYTES: usize = 4 << 10;
/// Hosts of a segment that are named; of others it is only said that there are some.
pub const TALLY_HOSTS_MAX: usize = 1_000;
/// Largest tally that is kept, in bytes: [`TALLY_HOSTS_MAX`] hosts with names of 255 bytes,
/// the longest of DNS, take a quarter of it. A larger one is not kept.
pub const TALLY_BYTES_MAX: u64 = 1 << 20;

/// How long a thread of the cold half pauses after a fault of its own.
pub const PANIC_PAUSE: Duration = Duration::from_secs(1);

/// How much of a connection is read at once while some file is held, in bytes:
/// whoever then has to wait for it keeps no more.
pub const CHUNK_BYTES_HELD: usize = 16 << 10;

/// The pauses between attempts to seal a segment that could not be; they double.
pub const SEAL_RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest of these pauses.
pub const SEAL_RETRY_MAX: Duration = Duration::from_secs(60);

/// How many deletions of one trim are logged line by line; of more, only
/// the sums.
pub const TRIM_LINES_MAX: usize = 8;

/// When a trim that failed somewhere is repeated.
pub const TRIM_RETRY: Duration = Duration::from_secs(60);

/// How long a call for room is not heard after a trim that found nothing left
/// to delete. Writers call up to fifty times a second.
pub const TRIM_ROOM_PAUSE: Duration = Duration::from_secs(5);

/// The time during which equal troubles of trimming one folder are said once.
pub const TRIM_TROUBLE_WINDOW: Duration = Duration::from_secs(600);

/// How long deleted files may go on counting as used room before more are
/// deleted for `min_free`. btrfs gives room back with its next transaction,
/// every 30 seconds (btrfs(5), `commit`).
pub const ROOM_SHOWS_TIME_MAX: Duration = Duration::from_secs(35);

/// The shortest time between two looks for what has become too old.
pub const TRIM_PAUSE: Duration = Duration::from_secs(1);
/// The longest time until somebody who waits for that looks at the clock
/// again: it may have been set meanwhile.
pub const TRIM_WAIT_MAX: Duration = Duration::from_secs(3600);

/// Longest host name, in bytes (RFC 1035 allows 253). A message with a longer
/// one is refused: `host_too_long`.
pub const HOST_BYTES_MAX: usize = 255;

/// How much of a peer's text the own log shows, in characters.
pub const QUOTE_CHARS_MAX: usize = 80;

/// The time during which equal complaints about one peer become one line.
pub const COMPLAINT_WINDOW: Duration = Duration::from_secs(10);

/// Pairs of peer and complaint that are told apart at once. Beyond it they
/// are summed up together.
pub const COMPLAINTS_MAX: usize = 256;

/// Largest `pemfile` and `cacert`, in bytes: a hundred certificates. A longer
/// one is refused when it is loaded.
pub const CERTIFICATES_BYTES_MAX: u64 = 256 << 10;

/// Largest `crl`, in bytes: a hundred thousand revocations. A longer one is
/// refused when it is loaded.
pub const REVOCATIONS_BYTES_MAX: u64 = 8 << 20;

/// Shortest RSA key that TLS libraries of today verify with, in bits. The
/// original's scripts made shorter ones, which are refused by name.
pub const RSA_BITS_MIN: usize = 2048;

/// How much of a serial number is shown, in bytes: the 20 that RFC 5280 allows.
pub const SERIAL_BYTES_MAX: usize = 20;

/// Days before its end from which on the server's certificate is warned of.
pub const CERTIFICATE_WARNING_DAYS: i64 = 30;

/// Days before its end from which on an authority is warned of: every client
/// needs a new certificate then.
pub const AUTHORITY_WARNING_DAYS: i64 = 180;

/// What may wait to be written to a client, in bytes. Beyond it nothing more is
/// read from the client.
pub const SESSION_OUT_BYTES_MAX: usize = 16 << 10;

/// Room for an unfinished frame that a lane keeps when the frame is whole, in
/// bytes: larger than this it is given back to the system.
pub const SESSION_ROOM_BYTES_MAX: usize = 512 << 10;

/// A session keeps a buffer of so many bytes for what it writes; a larger one
/// is given back.
pub const SESSION_SPARE_BYTES: usize = 1 << 10;

/// Clients that are remembered, unless configured otherwise. With one more, the
/// one unseen for the longest time is forgotten; when all are connected, the
/// new one is refused.
pub const CLIENTS_MAX: usize = 100_000;

/// So many of them are chosen at once, in one look at all.
pub const CLIENTS_TO_GO_MAX: usize = 256;

/// Refusals that are kept for a client until it has heard of them, each of one
/// reason and one batch. The oldest is forgotten then.
pub const REFUSALS_MAX: usize = 256;

/// How long a client is remembered that does not come back.
pub const CLIENT_UNSEEN_MAX: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The journal of what clients were told is renewed when it is longer, in
/// bytes.
pub const JOURNAL_BYTES: u64 = 4 << 20;

/// Longest journal, in bytes. It only comes near when files cannot be synced;
/// then senders that wait for acknowledgements are held back.
pub const JOURNAL_BYTES_MAX: u64 = 64 << 20;

const _: () = assert!(BATCH_BYTES_MAX + LINE_BYTES_MAX <= QUEUE_BYTES_MAX);
const _: () = assert!(REFUSED_FILE_BYTES_MAX <= REFUSED_BYTES_MAX);
const _: () = assert!(CHUNK_BYTES <= HELD_BYTES_MAX);
const _: () = assert!(PENDING_BYTES_MOVED_MAX + CHUNK_BYTES_HELD <= CHUNK_BYTES);
const _: () = assert!(PENDING_BYTES_MOVED_MAX < CHUNK_BYTES);
const _: () = assert!(CHUNK_BYTES <= TURN_BYTES_MAX);
const _: () = assert!(
    DRAIN_TIME_MAX.as_millis() + STOP_WRITE_TIME_MAX.as_millis() < STOP_TIME_MAX.as_millis()
);
const _: () = assert!(wire::limits::FRAME_BYTES_MAX as usize <= PENDING_BYTES_MAX);
const _: () = assert!(wire::limits::DATAGRAM_BYTES_MAX as usize <= DATAGRAM_BUFFER_BYTES);
