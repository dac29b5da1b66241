//! What a builder can be told, where it is more than a number or a name.
//! Nothing -> types and ports.
//! Invariant: each has a default, the one that the original client had.
//! Leaves out: what they lead to (`check`).

use crate::tls::Tls;

/// Where a server listens for TCP and UDP, unless told otherwise.
pub const PORT: u16 = 5566;

/// Where a server listens for TLS, unless told otherwise.
pub const PORT_TLS: u16 = 5577;

/// How the messages travel.
#[derive(Clone, Debug, Default)]
pub enum Transport {
    /// One connection, in the clear.
    #[default]
    Tcp,
    /// One datagram a message, in the clear. Longer messages than fit into a
    /// datagram (65,507 bytes with all around them) are lost, counted as too
    /// large; others may get lost on the way, which nobody can count.
    Udp,
    /// One connection, encrypted, with certificates on both sides.
    Tls(Tls),
}

/// Which protocol is spoken over TCP and TLS. UDP knows only v1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Version 1: no acknowledgements; every server understands it.
    #[default]
    V1,
    /// Version 2 where the server knows it. One that ends the connection at our
    /// greeting, or does not answer it within three seconds, gets version 1 on
    /// the next connection. With a spool nobody gets version 1.
    Auto,
    /// Version 2 and nothing else: messages are numbered, sent in batches, and
    /// kept until the server has acknowledged them as safe.
    V2,
}

/// How messages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// zlib: each message by itself in v1, each batch in v2.
    Zlib,
    /// zstd: faster, and shorter. A v1 server gets zlib instead.
    Zstd,
}

impl From<bool> for Compression {
    /// `true` is zlib.
    fn from(compression: bool) -> Self {
        if compression { Compression::Zlib } else { Compression::None }
    }
}
