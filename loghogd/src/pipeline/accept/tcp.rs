//! A listening socket -> connections.
//! Invariant: whatever accept(2) says, the loop goes on until it is dropped.
//! Leaves out: seats, TLS, reading.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tracing::warn;

use crate::limits::ACCEPT_PAUSE;

/// Accepts for ever, and calls `arrived` with each connection and its peer.
pub async fn accept(listener: &TcpListener, mut arrived: impl FnMut(TcpStream, SocketAddr)) {
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                failing = false;
                arrived(stream, canonical(peer));
            }
            Err(error) if is_the_peers(&error) => {}
            Err(error) => {
                if !failing {
                    warn!(
                        "cannot accept connections: {error}; raise the limit of open files \
                         (LimitNOFILE=, ulimit -n) or close connections; trying again"
                    );
                }
                failing = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// An IPv4 address as such, also where an IPv6 socket maps it.
pub fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// Errors of a connection that ended before it was accepted (accept(2)).
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable,
        TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkUnreachable
            | TimedOut
    )
}
