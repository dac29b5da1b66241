//! The limits of what is sent to InfluxDB: how much at once, how long it may take.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Points of one request, unless configured otherwise: what InfluxDB's own manual
/// advises.
pub const BATCH_POINTS: u64 = 5_000;

/// Of these, what may be configured. More would only take more memory.
pub const BATCH_POINTS_RANGE: RangeInclusive<u64> = 1..=100_000;

/// Lines of one request, in bytes, before they are compressed. At this limit the
/// request goes off; one record that is longer goes alone. InfluxDB takes 25 MB at
/// once, InfluxDB 3 takes 10 MB.
pub const REQUEST_BYTES_MAX: usize = 4 << 20;

/// What a buffer for lines may keep between two batches, in bytes. One that a long
/// record has made larger is given back.
pub const BUFFER_BYTES_KEPT: usize = REQUEST_BYTES_MAX + (1 << 20);

/// Bytes of log files that are taken at once. With tags and names they become up to
/// some three times as many in a request.
pub const BATCH_BYTES_MAX: usize = 2 << 20;

/// Numeric fields of one point. Further ones of the message are left out: each is a
/// column for ever.
pub const FIELDS_MAX: usize = 64;

/// Options `match.NAME` of a target. Each looks at every message.
pub const MATCHES_MAX: usize = 16;

/// Options `tag.NAME` of a target.
pub const TAGS_MAX: usize = 16;

/// Memory of one pattern, in bytes. One that needs more is refused.
pub const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Longest name of a tag or a measurement that is configured, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// How long a request may take, unless configured otherwise; then it is tried again.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Of this, what may be configured.
pub const TIMEOUT_RANGE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(600);

/// How long it may take to connect.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// How often somebody who waits looks whether it is time to stop.
pub const ENDED_LOOK: Duration = Duration::from_millis(200);

/// What is read of an answer, in bytes. What follows it is not of interest.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What is repeated of a server's reason, in characters: it may hold all of a line.
pub const REASON_CHARS_MAX: usize = 300;

/// Largest file with certificates, in bytes.
pub const CACERT_BYTES_MAX: u64 = 4 << 20;
