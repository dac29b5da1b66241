//! LogHog's client: a backend for the [`log`] crate that never blocks the
//! program that logs.
//!
//! ```no_run
//! fn main() -> Result<(), loghog::Error> {
//!     let _guard = loghog::builder("my-app").address("logs.example.org").install()?;
//!     log::info!("hello");
//!     Ok(())
//! }
//! ```
//!
//! # The road of a message
//!
//! ```text
//! logger      a record of the log crate becomes a Message
//! client      the Message becomes a signed frame or, for v2, a compact record,
//!             in the thread that logs
//! queue       the frame waits; bounded in messages and bytes
//! send        one plain thread takes all that waits at once
//! connection  one write hands it to the kernel, over TCP, TLS or UDP
//! v2          instead of `send`: numbers, keeps and sends batches, and listens
//! spool       records on disk until they are acknowledged
//! ```
//!
//! The thread starts with the first message. When the server cannot be reached,
//! it tries again: once at once, then in pauses that grow from 0.2 to 30
//! seconds, each time looking the name up anew and trying every address. A
//! connection that lasted two seconds, or over which something was
//! acknowledged, ends that: the next pause is a short one again.
//!
//! # Losing nothing
//!
//! With [`Protocol::V2`] messages are numbered, sent in batches, and kept until
//! the server has them safe on its disk; what a broken connection has left open
//! is asked from the server and sent again, so each message is there once.
//! [`Builder::spool`] keeps them on our disk as well: they outlast a crash of
//! the program, and the next one sends them. [`Client::flush`] waits for the
//! acknowledgement.
//!
//! ```no_run
//! # fn main() -> Result<(), loghog::Error> {
//! let _guard = loghog::builder("my-app")
//!     .addresses(["logs1.example.org", "logs2.example.org"])
//!     .secret("s3cret")
//!     .spool("/var/spool/my-app")
//!     .install()?;
//! log::info!(user = "ada", port = 22; "login");
//! # Ok(())
//! # }
//! ```
//!
//! Key-values become fields beside the text, as do level, thread and process.
//! The feature `tracing` adds a layer for that crate (`Builder::layer`).
//!
//! A spool belongs to the user who made it, and holds no links: nobody else's
//! folder is used, and no link in it is followed. What the disk damaged is passed
//! over, and folders of a newer version are left to it. Do not use two copies of
//! a spool: they have one id, and where the server cannot tell them apart, it
//! takes messages of one for those of the other.
//!
//! Lost are, all counted in [`Stats`] and reported to the server, with a spool
//! also by the next program where this one could not:
//! - the oldest messages that wait in memory when that is full: without a spool
//!   because the server is away, with one because it is full, or its disk
//!   refuses. What has a number is never dropped to make room;
//! - messages longer than a frame;
//! - without a spool, what is left when the time for closing is up.
//!
//! Not counted are, when the program dies without [`Client::flush`] or
//! [`Client::close`], what is not acknowledged, or with a spool, what is not
//! written there: up to a millisecond of messages. When the machine dies, what
//! the spool had not synced: up to a second.
//!
//! # What can get lost with version 1
//!
//! Version 1 of the protocol has no acknowledgement. Lost are
//! - the oldest messages when the queue is full, messages that are too long,
//!   and what is left when the time for closing is up: all counted, see
//!   [`Stats`];
//! - what the kernel had taken but the server had not read when a connection
//!   broke, or when the server refused a certificate late: nobody can count it;
//! - up to a millisecond of messages when the program dies without
//!   [`Client::flush`], [`Client::close`] or dropping the [`Guard`].
//!
//! A frame of which the kernel had taken only a part when the connection broke
//! is sent again from its start; the server throws the part away, so nothing
//! lands twice. Over UDP, a datagram is sent again when the kernel says that it
//! was refused; over a network it may mean the one before, and this one comes
//! twice.
//!
//! # Forks
//!
//! A child process has no sender. Fork before the first message, or put
//! [`Client::inherited`] in the client's place in the child. The child gets a
//! client id and a spool of its own. It keeps the parent's spool locked as long
//! as it lives: only after that is what a killed parent left there sent by
//! others.

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

mod bell;
mod builder;
mod client;
mod connect;
mod connection;
mod fields;
mod frames;
#[cfg(fuzzing)]
pub mod fuzzing;
#[cfg(feature = "tracing")]
mod layer;
pub mod limits;
mod logger;
mod pause;
mod queue;
mod record;
mod send;
mod socket;
mod spool;
mod stats;
mod text;
mod tls;
mod v2;

pub use builder::{Builder, Compression, Error, PORT, PORT_TLS, Protocol, Transport, builder};
pub use client::{Client, Inherited, Message};
#[cfg(feature = "tracing")]
pub use layer::Layer;
pub use logger::{Guard, Logger, level_and_message};
pub use queue::Flush;
pub use stats::{Dropped, Stats};
pub use tls::{Tls, TlsError};
pub use wire::v2::batch::{Field, Record, Value};
