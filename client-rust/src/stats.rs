//! What became of the messages.
//! Events in `queue` -> counters.
//! Invariant: enqueued = written + dropped + queued.
//! Leaves out: what the server did with them; v1 has no way to say.

/// Counters since the client was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages handed to the client, whatever became of them.
    pub enqueued: u64,
    /// Messages handed to the kernel.
    pub written: u64,
    /// Bytes of those, in frames, before TLS.
    pub written_bytes: u64,
    /// Messages that wait, or are being written.
    pub queued: u64,
    /// Messages lost, by reason.
    pub dropped: Dropped,
    /// Connections made after the first one.
    pub reconnects: u64,
    /// Failed attempts to connect, and connections that broke.
    pub failures: u64,
}

/// Messages lost, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// The oldest, pushed out by newer ones when the queue was full.
    pub queue_full: u64,
    /// Longer than a frame or a datagram may be.
    pub too_large: u64,
    /// Still waiting when the time for closing was up, or sent after it.
    pub closed: u64,
}

impl Dropped {
    /// All lost messages.
    pub fn total(&self) -> u64 {
        self.queue_full + self.too_large + self.closed
    }
}
