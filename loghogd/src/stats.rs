//! Counts what passes and what is refused.
//! A counter and a number -> nothing; anybody may ask for all of them.
//! Invariant: a refused frame, record or connection counts once, under its reason.
//! Leaves out: who is told (`own_log`).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What is counted. The name of each stands in summaries.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Counter { $($(#[$doc])* $variant,)* }

        impl Counter {
            /// All of them, in the order of a summary.
            pub const ALL: &[Counter] = &[$(Counter::$variant,)*];

            /// The counter's name in summaries.
            pub fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name,)* }
            }
        }
    };
}

counters! {
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
    /// Messages that clients say they have dropped.
    ClientDropped = "client_dropped",
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
    /// Datagrams that the kernel dropped because its buffer was full.
    UdpDroppedByKernel = "udp_dropped_by_kernel",
    /// Datagrams that had arrived when a stop had no more time to read them.
    UdpUnreadAtStop = "udp_unread_at_stop",
    /// Datagrams dropped because their file could not be written at that time.
    UdpDroppedHeld = "udp_dropped_held",
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
    /// Messages given up at the end because their file could not be written.
    LinesLost = "lines_lost",
}

/// All counters. One set belongs to the daemon; rooms share it.
#[derive(Debug)]
pub struct Stats {
    values: [AtomicU64; Counter::ALL.len()],
}

impl Stats {
    /// Every counter at zero.
    pub fn new() -> Stats {
        Stats { values: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// Adds `number` to a counter.
    pub fn add(&self, counter: Counter, number: u64) {
        if let Some(value) = self.values.get(counter as usize) {
            value.fetch_add(number, Ordering::Relaxed);
        }
    }

    /// A counter's value now.
    pub fn get(&self, counter: Counter) -> u64 {
        self.values.get(counter as usize).map_or(0, |value| value.load(Ordering::Relaxed))
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
    fn a_summary_names_every_counter_with_its_value() {
        let stats = Stats::new();
        stats.add(Counter::AppUnknown, 3);
        let summary = stats.to_string();
        assert!(summary.contains(" app_unknown=3 ") && summary.starts_with("connections=0 "));
    }
}
