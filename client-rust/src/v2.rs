//! The second protocol: messages are numbered, kept, sent, and acknowledged.
//! Records in `queue` -> a server, or the spool; what the server has synced -> settled.
//! Invariant: a number is given once; a numbered record is kept until its server has it.
//! Leaves out: bytes on the wire (`wire::v2`), files (`spool`).
//!
//! ```text
//! engine   the thread of a client: takes, keeps, sends, listens
//! store    records with numbers: in memory, and in the spool
//! dial     finds a server, in a thread of its own, so that the engine goes on
//! session  one connection behind WELCOME
//! stream   TCP or TLS that never waits
//! tally    what was dropped, and whether the server knows
//! adopt    empties the spools that other programs have left behind
//! ```
//!
//! **Numbers.** Without a spool a record gets its number when there is a
//! session to send it over; with one, when it is written into the spool. What
//! has no number yet waits in the queue, whose bounds let the oldest go. What
//! has one is never dropped, so numbers have no holes that nobody knows of.
//!
//! **Several servers.** Each knows only what it has got itself. What one had
//! taken without acknowledging it goes to the next one as well: every server
//! has a message once, two may have the same.

mod adopt;
mod dial;
mod engine;
mod session;
mod store;
mod stream;
mod tally;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wire::v2::compress::Compression;
use wire::v2::secret::Secret;

use crate::connect::Routes;
use crate::spool::SpoolBounds;

pub(crate) use self::engine::start;

/// What it takes to speak v2.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) app: String,
    pub(crate) hostname: String,
    pub(crate) secret: Option<Secret>,
    pub(crate) compression: Compression,
    pub(crate) routes: Arc<Routes>,
    pub(crate) spool: Option<SpoolPlace>,
    /// Unacknowledged records kept in memory, in bytes.
    pub(crate) window_bytes: usize,
    /// How long after a failover a better server is tried again.
    pub(crate) prefer_again: Duration,
    /// What a v1 server gets instead; none: nothing.
    pub(crate) fallback: Option<Fallback>,
}

/// How to speak v1 to a server that knows nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Fallback {
    pub(crate) key: Option<wire::signature::Key>,
    pub(crate) zlib: bool,
}

/// Where the spool is.
#[derive(Clone, Debug)]
pub(crate) struct SpoolPlace {
    pub(crate) dir: PathBuf,
    pub(crate) bounds: SpoolBounds,
}
