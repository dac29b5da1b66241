//! What became of the messages.
//! Events in `queue` -> counters.
//! Invariant: enqueued = written + dropped + queued.
//! Leaves out: what a v1 server did with them; v1 has no way to say.

/// Counters since the client was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages handed to the client, whatever became of them.
    pub enqueued: u64,
    /// Messages handed to the kernel; those that the server has acknowledged
    /// or refused, in a v2 session.
    pub written: u64,
    /// Bytes handed to the kernel, in frames, before TLS.
    pub written_bytes: u64,
    /// Messages that wait, or are being written, or are not acknowledged yet;
    /// those in the spool are among them.
    pub queued: u64,
    /// Messages lost, by reason.
    pub dropped: Dropped,
    /// Connections made after the first one.
    pub reconnects: u64,
    /// Failed attempts to connect, and connections that broke.
    pub failures: u64,
    /// Messages sent in v2 sessions, each counted once.
    pub sent: u64,
    /// Messages sent once more, because a connection broke before the server
    /// had acknowledged them.
    pub resent: u64,
    /// Messages that the server has acknowledged as safe or refused, those
    /// that earlier programs left in the spool among them.
    pub acknowledged: u64,
    /// Messages of those that the server refused: they are in no file.
    pub refused: u64,
    /// Messages written into the spool.
    pub spooled: u64,
    /// Bytes that the spool takes on the disk now.
    pub spool_bytes: u64,
    /// Records of the spool, also those of earlier programs, that the disk gave
    /// back damaged: at least so many are lost.
    pub damaged: u64,
    /// Changes from one server to another.
    pub failovers: u64,
}

impl Stats {
    /// Messages lost, whoever's they were.
    pub(crate) fn lost(&self) -> u64 {
        self.dropped.total() + self.damaged
    }
}

/// Messages lost, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// The oldest, pushed out by newer ones when the queue was full.
    pub queue_full: u64,
    /// The same while there was a spool, but it was full.
    pub spool_full: u64,
    /// The same while the spool's disk refused.
    pub spool_failed: u64,
    /// Longer than a frame or a datagram may be.
    pub too_large: u64,
    /// Still waiting when the time for closing was up, or sent after it.
    pub closed: u64,
}

impl Dropped {
    /// All lost messages.
    pub fn total(&self) -> u64 {
        self.queue_full + self.spool_full + self.spool_failed + self.too_large + self.closed
    }
}
