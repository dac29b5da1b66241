//! LogHog's wire protocols: bytes to records and back.
//!
//! Shared by the daemon and the clients. Nothing in here opens a socket or a
//! file, reads a clock or starts a thread: every function takes bytes and
//! returns a value. "More bytes needed" is such a value, not an error.
//!
//! A v1 message travels through these rooms, outermost first:
//!
//! ```text
//! frame      8 bytes of header, then the payload
//! inflate    only when the header says that the payload is a zlib stream
//! json       the payload is one JSON object
//! v1         the object's fields, checked: a Record
//! signature  the HMAC over five of its fields, when there is a secret
//! ```
//!
//! The second protocol has a house of its own, [`v2`].

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap
    )
)]

pub mod frame;
pub mod inflate;
mod json;
pub mod limits;
pub mod signature;
pub mod v1;
pub mod v2;
