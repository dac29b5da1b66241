//! A connection -> one whose peer has shown a certificate of our CA.
//! Invariant: a peer that says nothing costs a socket, nothing more, for as long as it likes.
//! Leaves out: which certificates are good (`certs`).

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpStream;

use super::Stream;
use crate::certs::{self, RefusalKind};
use crate::connections::Seat;
use crate::stats::Counter;

/// Why there was no handshake. The peer's fault.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Refused, for a reason that can be named.
    #[error("{0}")]
    Refused(certs::Refusal),
    /// It took too long.
    #[error("the TLS handshake was not done within {} s", .0.as_secs())]
    Slow(Duration),
    /// It had to go, to make room; that has been counted.
    #[error("it was in its TLS handshake longest while others wanted to begin theirs")]
    Evicted,
    /// The connection ended before anything was said.
    #[error("the connection ended before its TLS handshake")]
    Silent,
}

impl TlsError {
    /// The counter of this reason, where it has not been counted yet.
    pub fn counter(&self) -> Option<Counter> {
        match self {
            TlsError::Refused(refusal) => Some(match refusal.kind {
                RefusalKind::Certificate => Counter::CertificateRefused,
                RefusalKind::Protocol => Counter::TlsProtocol,
                RefusalKind::Io => Counter::ConnectionCut,
            }),
            TlsError::Slow(_) => Some(Counter::HandshakeTimeout),
            TlsError::Evicted | TlsError::Silent => None,
        }
    }
}

/// Shakes hands, once the peer has begun to. `config` is asked at that
/// moment, so that it is the one in force.
///
/// # Errors
/// Why not.
pub async fn handshake(
    stream: TcpStream,
    seat: &Seat,
    time_max: Duration,
    config: impl FnOnce() -> Arc<ServerConfig>,
) -> Result<Stream, TlsError> {
    let said_something = tokio::select! {
        ready = async { stream.peek(&mut [0]).await } => ready.is_ok_and(|bytes| bytes > 0),
        () = seat.evicted() => return Err(TlsError::Evicted),
    };
    if !said_something {
        return Err(TlsError::Silent);
    }
    seat.begin_handshake();
    // Boxed: what a handshake needs is neither kept before it nor after it.
    let handshake = certs::handshake(config(), stream);
    let handshake = Box::pin(async { handshake.await.map(Stream::tls) });
    tokio::select! {
        done = tokio::time::timeout(time_max, handshake) => match done {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(refusal)) => Err(TlsError::Refused(refusal)),
            Err(_) => Err(TlsError::Slow(time_max)),
        },
        () = seat.evicted() => Err(TlsError::Evicted),
    }
}
