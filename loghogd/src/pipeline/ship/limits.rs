//! Every limit of shipping, with its unit, its reason, and what happens at it.

use std::time::Duration;

/// The pauses between attempts after trouble; they double, and each is shortened by up
/// to a half by chance, so that many daemons do not come back at once.
pub const RETRY_MIN: Duration = Duration::from_millis(250);
/// The longest of these pauses.
pub const RETRY_MAX: Duration = Duration::from_secs(60);

/// The longest pause that a target may ask for (`Retry-After`); what is more is cut to it.
pub const ASKED_PAUSE_MAX: Duration = Duration::from_secs(600);

/// How long a trouble of which the own log has heard is not said again, as long as it
/// stays the same.
pub const TROUBLE_WINDOW: Duration = Duration::from_secs(600);

/// How much of a file is read at once, in bytes. A longer message makes it more.
pub const READ_BYTES: usize = 256 << 10;

/// How much is read of a file at first, in bytes; it doubles with each time. There may be
/// many small files.
pub const FIRST_READ_BYTES: usize = 16 << 10;

/// Sealed segments of which a part is read at once: a decoder takes up to 10 MiB. When there
/// are so many, the one that was read last is read to its end before others go on.
pub const DECODERS_MAX: usize = 4;

/// How much of a file's first line tells it from others, in bytes: its stamp, its host,
/// and the beginning of its body.
pub const HEAD_BYTES: usize = 512;

/// Files of a stream of which it is remembered how far they are though others have come
/// before them. Beyond it the oldest is forgotten: it would be shipped from its beginning.
pub const ASIDES_MAX: usize = 16;

/// Files of one target that stay open between two batches. The others are opened again.
pub const OPEN_FILES_MAX: usize = 64;

/// How often progress within a file is noted here, if it is not noted by the target.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// How often it is shown what there is to ship, while a target is busy or away.
pub const SHOW_EVERY: Duration = Duration::from_secs(1);

/// The longest time without a look at everything: what came by no notice, such as a
/// segment that somebody has put back, is found then.
pub const LOOK_EVERY: Duration = Duration::from_secs(600);

/// Largest state of one stream, in bytes: a receipt takes 52, so this is 80,000 segments
/// that are there at once. More are not shipped: the stream stands still until some were
/// deleted. A larger file is taken for damaged.
pub const STATE_BYTES_MAX: u64 = 4 << 20;

/// Length of a file with dead letters, in bytes, at which it turns.
pub const DEAD_FILE_BYTES_MAX: u64 = 16 << 20;

/// Files of one target with dead letters that have turned. Beyond it the oldest is removed,
/// and its letters are counted (`ship_dead_letters_dropped`): whoever logs what is refused
/// neither fills the disk nor stops others.
pub const DEAD_FILES_MAX: usize = 16;

/// Length of a dead letter, in bytes. A longer message is cut.
pub const DEAD_LINE_BYTES_MAX: usize = 64 << 10;
const _: () = assert!((DEAD_LINE_BYTES_MAX as u64) < DEAD_FILE_BYTES_MAX);

/// How long a sleeping target waits between two looks at whether it is to end.
pub const END_LOOK: Duration = Duration::from_millis(200);

/// Segments that are delivered together to a target that takes whole ones. An index is
/// written once for all of them; what it says of each, its hosts above all, is in memory.
pub const SEGMENTS_TOGETHER_MAX: usize = 16;

/// What these take on the disk together, in bytes; a single one may take more. They are
/// in memory while they are on their way.
pub const SEGMENTS_BYTES_MAX: usize = 32 << 20;

/// Time over which a rate is averaged, in seconds.
pub const RATE_SECONDS: f64 = 10.0;

// Kafka.

/// Messages that go to Kafka in one transaction. librdkafka keeps a few hundred bytes
/// beside each; more would not be faster.
pub const KAFKA_BATCH_RECORDS_MAX: usize = 32_000;

/// Bytes of messages, as they stand in files, that go to Kafka in one transaction. As
/// JSON, with what librdkafka needs beside each, they take four to five times as much.
pub const KAFKA_BATCH_BYTES_MAX: usize = 6 << 20;

/// The same, at least, where the way is so slow that a transaction takes too long.
pub const KAFKA_BATCH_BYTES_MIN: usize = 64 << 10;

/// What librdkafka may keep of keys and values, in KiB. Beyond it the target waits.
pub const KAFKA_QUEUE_KBYTES_MAX: usize = 32 << 10;

/// Records that are tried at once while it is looked for those that Kafka refuses, each
/// in a batch of its own.
pub const KAFKA_SINGLE_RECORDS_MAX: usize = 200;

/// How large batches are, in bytes, where a topic has refused those of the usual size.
pub const KAFKA_SMALL_BATCH_BYTES: usize = 32 << 10;

/// The usual size of a batch, in bytes: librdkafka's own. Where batches have grown to it
/// again, nothing is said about their size any more.
pub const KAFKA_USUAL_BATCH_BYTES: usize = 1_000_000;

/// So much has to arrive, in bytes, before small batches become twice as large. It doubles
/// with each refusal, up to [`KAFKA_GROW_BYTES_MAX`]: a topic whose limit is low for good
/// costs a transaction each time that it is tried.
pub const KAFKA_GROW_BYTES: usize = 16 << 20;

/// See [`KAFKA_GROW_BYTES`].
pub const KAFKA_GROW_BYTES_MAX: usize = 1 << 30;

/// A transaction that takes longer is aborted by Kafka. Readers of what is committed wait
/// so long for one whose daemon has gone and does not come again.
pub const KAFKA_TRANSACTION_TIME_MAX: Duration = Duration::from_secs(60);

/// When nothing has moved for so long, it is given up and tried again.
pub const KAFKA_SILENCE_MAX: Duration = Duration::from_secs(20);

/// How long a connection may take until it is there and has proven who we are.
pub const KAFKA_CONNECT_TIME_MAX: Duration = Duration::from_secs(15);

/// How long the committed progress is read. It waits for transactions of other daemons,
/// and these end within [`KAFKA_TRANSACTION_TIME_MAX`].
pub const KAFKA_PROGRESS_TIME_MAX: Duration = Duration::from_secs(90);
const _: () = assert!(KAFKA_PROGRESS_TIME_MAX.as_secs() > KAFKA_TRANSACTION_TIME_MAX.as_secs());

/// How long a topic may take to appear that a broker creates when it is asked for.
pub const KAFKA_TOPIC_TIME_MAX: Duration = Duration::from_secs(5);

/// How long the name of a cluster is waited for; brokers that have answered know it. Without
/// it a cluster is told by its brokers.
pub const KAFKA_CLUSTER_TIME_MAX: Duration = Duration::from_secs(2);

/// How often a target that waits looks whether it is time to stop.
pub const KAFKA_LOOK_TIME: Duration = Duration::from_millis(200);

/// How long an open transaction is given to be aborted, when a target gives up.
pub const KAFKA_ABORT_TIME_MAX: Duration = Duration::from_millis(700);

/// Looks at a folder in a row for a file that cannot be opened: one for a segment that was
/// sealed meanwhile, one for a live file that may not be the next, and one more. Beyond it
/// the next notice is waited for.
pub const LOOKS_MAX: u8 = 3;

/// Streams of which something goes into one batch: each is a file that is open meanwhile.
pub const PARTS_MAX: usize = 256;
