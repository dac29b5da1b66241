//! Counts what passes and what is refused.
//! A counter and a number -> nothing; anybody may ask for all of them.
//! Invariant: a refused frame, record or connection counts once, under its reason.
//! Leaves out: who is told (`own_log`).

mod histogram;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use histogram::{BOUNDS, Histogram, Spread};

/// What a counter tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Work that was done, or tried.
    Work,
    /// What was not let in, for this reason.
    Refusal,
    /// What is missing from the files.
    Loss,
}

macro_rules! counters {
    ($($kind:ident { $($(#[doc = $doc:literal])* $variant:ident = $name:literal,)* })*) => {
        /// What is counted. The name of each stands in summaries.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Counter { $($($(#[doc = $doc])* $variant,)*)* }

        impl Counter {
            /// All of them, in the order of a summary.
            pub const ALL: &[Counter] = &[$($(Counter::$variant,)*)*];

            /// The counter's name in summaries.
            pub fn name(self) -> &'static str {
                match self { $($(Counter::$variant => $name,)*)* }
            }

            /// What it tells of.
            pub fn kind(self) -> Kind {
                match self { $($(Counter::$variant => Kind::$kind,)*)* }
            }

            /// What it counts, in a sentence or two.
            pub fn help(self) -> &'static str {
                match self { $($(Counter::$variant => concat!($($doc),*).trim_ascii_start(),)*)* }
            }
        }
    };
}

counters! {
    Work {
        /// Connections accepted over TCP and TLS.
        Connections = "connections",
        /// Whole frames taken from streams and datagrams, empty ones included.
        Frames = "frames",
        /// Records that passed the gate.
        Records = "records",
        /// Messages handed to the kernel, each the start of a line in a file.
        Lines = "lines",
        /// Bytes of these.
        Bytes = "bytes",
        /// Times that a file was synced to disk.
        Syncs = "syncs",
        /// Live files that became segments.
        FilesTurned = "files_turned",
        /// Attempts to turn a file that failed and are repeated; its lines went on
        /// into the same file.
        TurnRetries = "turn_retries",
        /// Sealed segments that were there at the start and look whole.
        SegmentsFound = "segments_found",
        /// Segments that were sealed.
        SegmentsSealed = "segments_sealed",
        /// Bytes of these before.
        SealedPlainBytes = "sealed_plain_bytes",
        /// Bytes of these after.
        SealedBytes = "sealed_bytes",
        /// Attempts to seal a segment that failed and are repeated.
        SealRetries = "seal_retries",
        /// Segments that were set aside because they are not whole or cannot be read.
        SegmentsDamaged = "segments_damaged",
        /// Live files that somebody had moved away or deleted.
        FilesReopened = "files_reopened",
        /// Bytes of torn lines that a kill or a power failure had left at the end
        /// of live files and of plain segments.
        TornBytes = "torn_bytes",
    }
    Refusal {
        /// Frames announced longer than allowed; a stream ends with it.
        FrameTooLong = "frame_too_long",
        /// Datagrams shorter than their frame.
        FrameTruncated = "frame_truncated",
        /// Payloads that are not the zlib stream they claim to be.
        ZlibInvalid = "zlib_invalid",
        /// Payloads that inflate to more than allowed.
        ZlibTooLong = "zlib_too_long",
        /// Compressed payloads with nothing in them.
        MessageEmpty = "message_empty",
        /// Payloads that are not UTF-8.
        NotUtf8 = "not_utf8",
        /// Payloads that are not JSON.
        NotJson = "not_json",
        /// Payloads nested too deep.
        JsonTooDeep = "json_too_deep",
        /// Payloads that are JSON, but no object.
        NotAnObject = "not_an_object",
        /// Records without a required field.
        FieldMissing = "field_missing",
        /// Records with a field of the wrong type.
        FieldWrongType = "field_wrong_type",
        /// Records with an integer beyond 64 bits.
        NumberOutOfRange = "number_out_of_range",
        /// Records of a version that is not 1.
        VersionUnknown = "version_unknown",
        /// Records of an application that has no facility.
        AppUnknown = "app_unknown",
        /// Unsigned records for a facility with a secret.
        SignatureMissing = "signature_missing",
        /// Records whose signature is wrong.
        SignatureBad = "signature_bad",
        /// Records that came over v1 for a facility that requires v2.
        ProtocolTooOld = "protocol_too_old",
        /// Records that came without TLS for a facility that requires it.
        TlsMissing = "tls_missing",
        /// Frames of a session whose MAC is wrong: altered, repeated, reordered.
        SessionForged = "session_forged",
        /// Sessions that ended because a client sent what the protocol does not
        /// allow.
        SessionMalformed = "session_malformed",
        /// Sessions that ended through a fault of this side.
        SessionBroken = "session_broken",
    }
    Loss {
        /// Messages that clients say they have dropped.
        ClientDropped = "client_dropped",
    }
    Refusal {
        /// Records without a host for a facility with a file per host.
        HostEmpty = "host_empty",
        /// Records whose host's name is too long.
        HostTooLong = "host_too_long",
        /// Records of one host more than a facility may have files for.
        HostsTooMany = "hosts_too_many",
        /// Connections closed at once because there are too many proven ones that
        /// are not silent.
        ConnectionsRefused = "connections_refused",
        /// Connections that had proven nothing, closed to make room for a new one.
        ConnectionsEvicted = "connections_evicted",
        /// Connections closed because their frame stayed unfinished while others
        /// needed the memory.
        FramesEvicted = "frames_evicted",
        /// Connections closed because their handshake took long while others
        /// wanted to begin theirs.
        HandshakesEvicted = "handshakes_evicted",
        /// Connections whose TLS handshake took too long.
        HandshakeTimeout = "handshake_timeout",
        /// Connections whose certificate was refused.
        CertificateRefused = "certificate_refused",
        /// Connections that broke the rules of TLS.
        TlsProtocol = "tls_protocol",
        /// Connections that ended inside a frame.
        ConnectionCut = "connection_cut",
    }
    Loss {
        /// Datagrams that the kernel dropped because its buffer was full.
        UdpDroppedByKernel = "udp_dropped_by_kernel",
        /// Datagrams that had arrived when a stop had no more time to read them.
        UdpUnreadAtStop = "udp_unread_at_stop",
        /// Datagrams dropped because their file could not be written at that time.
        UdpDroppedHeld = "udp_dropped_held",
    }
    Work {
        /// Attempts to open or write a file that failed and were repeated.
        WriteRetries = "write_retries",
        /// Times that a file could not be synced: what was written to it in the
        /// last moments may be lost with the power.
        SyncFailures = "sync_failures",
        /// Closed segments deleted because a rule asked for it.
        SegmentsTrimmed = "segments_trimmed",
        /// What these took on the disk, in bytes.
        TrimmedBytes = "trimmed_bytes",
        /// Times that a folder could not be read or synced, or a segment not be
        /// deleted.
        TrimFailures = "trim_failures",
        /// Messages that have arrived at targets, each counted for each target.
        ShippedRecords = "shipped_records",
        /// Bytes of log files that have arrived at targets.
        ShippedBytes = "shipped_bytes",
        /// Segments that are through at a target.
        ShippedSegments = "shipped_segments",
        /// Attempts to deliver that met trouble and are repeated.
        ShipRetries = "ship_retries",
        /// Records that a target will never take; they are kept beside its state.
        ShipDeadLetters = "ship_dead_letters",
        /// Of these, what was removed again to make room for later ones.
        ShipDeadLettersDropped = "ship_dead_letters_dropped",
    }
    Loss {
        /// Messages given up at the end because their file could not be written.
        LinesLost = "lines_lost",
    }
}

/// All counters. One set belongs to the daemon; rooms share it.
#[derive(Debug)]
pub struct Stats {
    values: [AtomicU64; Counter::ALL.len()],
    /// When each counter of a loss grew last, in milliseconds since `started`, and one.
    grown_ms: [AtomicU64; Counter::ALL.len()],
    started: Instant,
    open_files: AtomicU64,
    /// How long syncs of log files took.
    pub sync_times: Histogram,
}

impl Stats {
    /// Every counter at zero.
    pub fn new() -> Stats {
        Stats {
            values: std::array::from_fn(|_| AtomicU64::new(0)),
            grown_ms: std::array::from_fn(|_| AtomicU64::new(0)),
            started: Instant::now(),
            open_files: AtomicU64::new(0),
            sync_times: Histogram::default(),
        }
    }

    /// Adds `number` to a counter.
    pub fn add(&self, counter: Counter, number: u64) {
        if let Some(value) = self.values.get(counter as usize) {
            value.fetch_add(number, Ordering::Relaxed);
        }
        if number > 0
            && counter.is_trouble()
            && let Some(grown_ms) = self.grown_ms.get(counter as usize)
        {
            grown_ms.store(self.age_ms() + 1, Ordering::Relaxed);
        }
    }

    /// A counter's value now.
    pub fn get(&self, counter: Counter) -> u64 {
        self.values.get(counter as usize).map_or(0, |value| value.load(Ordering::Relaxed))
    }

    /// Has a counter of a trouble grown within this time?
    pub fn has_grown_within(&self, counter: Counter, time: Duration) -> bool {
        let grown = self.grown_ms.get(counter as usize).map_or(0, |ms| ms.load(Ordering::Relaxed));
        let since_ms = self.age_ms().saturating_sub(grown.saturating_sub(1));
        grown > 0 && u128::from(since_ms) <= time.as_millis()
    }

    /// So many log files are open now.
    pub fn set_open_files(&self, files: usize) {
        self.open_files.store(files as u64, Ordering::Relaxed);
    }

    /// How many log files were open when the writer looked last.
    pub fn open_files(&self) -> u64 {
        self.open_files.load(Ordering::Relaxed)
    }

    /// For how long there has been counting.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.age().as_millis()).unwrap_or(u64::MAX - 1)
    }
}

impl Counter {
    /// Does somebody have to look when it grows?
    fn is_trouble(self) -> bool {
        self.kind() == Kind::Loss || self == Counter::SyncFailures
    }
}

impl Default for Stats {
    fn default() -> Self {
        Self::new()
    }
}

/// All counters as `name=value`, parted by blanks.
impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, &counter) in Counter::ALL.iter().enumerate() {
            let gap = if place == 0 { "" } else { " " };
            write!(f, "{gap}{}={}", counter.name(), self.get(counter))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_has_a_place_and_a_name_of_its_own() {
        let names: std::collections::HashSet<_> = Counter::ALL.iter().map(|c| c.name()).collect();
        assert_eq!(names.len(), Counter::ALL.len());
        for (place, &counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(counter as usize, place);
        }
    }

    #[test]
    fn it_is_known_of_troubles_whether_they_are_recent() {
        let stats = Stats::new();
        let minute = Duration::from_secs(60);
        stats.add(Counter::UdpDroppedByKernel, 0);
        assert!(!stats.has_grown_within(Counter::UdpDroppedByKernel, minute));
        stats.add(Counter::UdpDroppedByKernel, 1);
        stats.add(Counter::Frames, 1);
        assert!(stats.has_grown_within(Counter::UdpDroppedByKernel, minute));
        assert!(!stats.has_grown_within(Counter::Frames, minute), "it is no trouble");
    }

    #[test]
    fn each_counter_says_what_it_counts_in_one_line() {
        for counter in Counter::ALL {
            let help = counter.help();
            assert!(
                help.ends_with('.') && !help.contains('\n') && !help.starts_with(' '),
                "{help:?}"
            );
        }
    }

    #[test]
    fn a_summary_names_every_counter_with_its_value() {
        let stats = Stats::new();
        stats.add(Counter::AppUnknown, 3);
        let summary = stats.to_string();
        assert!(summary.contains(" app_unknown=3 ") && summary.starts_with("connections=0 "));
    }
}
