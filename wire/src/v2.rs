//! The second protocol: batches, proofs of a secret, acknowledgements.
//! Bytes -> frames, their fields and records; and back.
//! Invariant: whatever a writer in here accepts, the reader beside it accepts.
//! Leaves out: sockets, clocks and random numbers; who calls brings them.
//!
//! A message travels through these rooms, outermost first; docs/protocol.md is
//! their specification:
//!
//! ```text
//! frame      the type of a frame, and which protocol a connection speaks
//! handshake  HELLO, CHALLENGE, PROOF, WELCOME
//! secret     what is proven, and the keys that follow from it
//! seal       the MAC at the end of every frame behind WELCOME
//! compress   zlib and zstd, for the payload of a BATCH
//! batch      records
//! report     ACK, REPORT, REFUSED, FAREWELL
//! ```

pub mod batch;
mod codec;
pub mod compress;
pub mod frame;
#[cfg(test)]
mod golden_tests;
pub mod handshake;
pub mod limits;
pub mod report;
pub mod seal;
pub mod secret;

pub use codec::{CodecError, cut};
