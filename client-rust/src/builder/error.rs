//! Why there is no client.
//! Nothing -> `Error`.
//! Invariant: each says what to give instead.
//! Leaves out: what goes wrong later; that is counted, and told on request.

use crate::tls::TlsError;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No application.
    #[error("the application has no name; give the one that the server's facilities.conf lists")]
    NoApp,
    /// An address that is none.
    #[error("{address:?} is no address; write host, host:port, or [address]:port for IPv6")]
    Address {
        /// As it was given.
        address: String,
    },
    /// A queue that holds nothing.
    #[error("the queue is too small; it needs room for one message, and for {bytes_min} bytes")]
    QueueTooSmall {
        /// The least that works, in bytes.
        bytes_min: usize,
    },
    /// A spool that holds hardly anything.
    #[error("the spool is too small; it needs {bytes_min} bytes")]
    SpoolTooSmall {
        /// The least that works, in bytes.
        bytes_min: u64,
    },
    /// No server.
    #[error("there is no server; give at least one address")]
    NoAddress,
    /// Version 2 cannot be spoken over UDP.
    #[error("acknowledgements and spools need a connection; use TCP or TLS instead of UDP")]
    NoDatagrams,
    /// Certificates that cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The machine does not know its name.
    #[error("cannot find out this machine's host name: {source}; give one with hostname()")]
    Hostname {
        /// Why not.
        source: std::io::Error,
    },
    /// The program has a logger already.
    #[error("the log crate has a logger already; install only one")]
    Installed(#[from] log::SetLoggerError),
}
