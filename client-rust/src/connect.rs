//! From a host's name to a connection.
//! A `Route` -> an open `Connection`.
//! Invariant: the name is looked up anew each time; every address gets its turn.
//! Leaves out: when to try again (`pause`, `send`).

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, ProtocolVersion};
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use crate::connection::{Connection, Lost, Plain, Sealed, SingleFrames};
use crate::limits::{
    CONNECT_LIMIT, HANDSHAKE_LIMIT, ICMP_WAIT_LOOPBACK, ICMP_WAIT_REMOTE, IO_SLICE,
    REFUSAL_WAIT_MAX, REFUSAL_WAIT_MIN,
};
use crate::socket::{Leased, Slot};
use crate::tls::{self, Session};

/// Where the messages go, and how.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// A name or an address, the latter without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) way: Way,
}

/// The servers, in order of preference; at least one.
#[derive(Clone, Debug)]
pub(crate) struct Routes(pub(crate) Vec<Route>);

impl Routes {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, place: usize) -> Option<&Route> {
        self.0.get(place)
    }

    /// A connection to the first server that can be reached; `attempt` chooses
    /// among those of UDP, where trying needs a message.
    pub(crate) fn open(
        &self,
        slot: &Arc<Slot>,
        attempt: u32,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Connection, ConnectError> {
        let count = self.0.len().max(1);
        let chosen = attempt as usize % count;
        if let Some(route) = self.0.get(chosen).filter(|route| matches!(route.way, Way::Udp)) {
            let attempt = attempt / u32::try_from(count).unwrap_or(1);
            return route.open(slot, attempt, is_over);
        }
        let mut failure = ConnectError::NoAddress { host: String::new() };
        for route in &self.0 {
            match route.open(slot, attempt, is_over) {
                Ok(connection) => return Ok(connection),
                Err(ConnectError::Stopped) => return Err(ConnectError::Stopped),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

/// The transport, ready to use.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    Tcp,
    Udp,
    Tls(Session),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("cannot connect to {peer}: {source}; is loghogd running there?")]
    Refused { peer: SocketAddr, source: io::Error },
    #[error("TLS with {peer} failed: {source}{remedy}")]
    Tls { peer: SocketAddr, remedy: &'static str, source: rustls::Error },
    #[error("TLS with {peer} failed: {source}")]
    Handshake { peer: SocketAddr, source: Lost },
    #[error("cannot find the address of {host}: {source}; check the name")]
    Lookup { host: String, source: io::Error },
    #[error("{host} has no address; check the name")]
    NoAddress { host: String },
    #[error("stopped while connecting")]
    Stopped,
}

impl Route {
    /// Tries all addresses, in the system's order. `attempt` chooses among
    /// those of a datagram's host, where trying needs a message. Gives up early
    /// when `is_over`.
    pub(crate) fn open(
        &self,
        slot: &Arc<Slot>,
        attempt: u32,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Connection, ConnectError> {
        if is_over() {
            return Err(ConnectError::Stopped);
        }
        let peers = self.lookup()?;
        let mut failure = ConnectError::NoAddress { host: self.host.clone() };
        if let Way::Udp = self.way {
            let chosen = peers.get(attempt as usize % peers.len().max(1));
            let opened = chosen.map(|peer| open_udp(*peer, peers.len() > 1, slot));
            return opened.unwrap_or(Err(failure)).map(Connection::Udp);
        }
        for peer in peers {
            if is_over() {
                return Err(ConnectError::Stopped);
            }
            let opened = open_tcp(peer, slot).and_then(|plain| match &self.way {
                Way::Tls(session) => shake_hands(plain, session, is_over).map(Connection::Tls),
                _ => Ok(Connection::Tcp(plain)),
            });
            match opened {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn lookup(&self) -> Result<Vec<SocketAddr>, ConnectError> {
        let peers: Vec<_> = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|source| ConnectError::Lookup { host: self.host.clone(), source })?
            .collect();
        if peers.is_empty() {
            return Err(ConnectError::NoAddress { host: self.host.clone() });
        }
        Ok(peers)
    }
}

fn open_tcp(peer: SocketAddr, slot: &Arc<Slot>) -> Result<Plain, ConnectError> {
    let refused = |source| ConnectError::Refused { peer, source };
    let socket = Socket::new(Domain::for_address(peer), Type::STREAM, Some(Protocol::TCP))
        .map_err(refused)?;
    let socket = Leased::new(slot, socket);
    let open = |socket: &Socket| {
        socket.connect_timeout(&SockAddr::from(peer), CONNECT_LIMIT)?;
        // We batch ourselves.
        socket.set_tcp_nodelay(true)?;
        // Tells of a host that vanished while nothing was under way. There is
        // no TCP_USER_TIMEOUT: a server with a full disk stops reading, and
        // cutting it off would lose what the kernel holds.
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))?;
        socket.set_write_timeout(Some(IO_SLICE))?;
        socket.set_read_timeout(Some(IO_SLICE))
    };
    open(&socket.io).map_err(refused)?;
    Ok(Plain { peer, socket: socket.map(TcpStream::from) })
}

fn shake_hands(
    mut plain: Plain,
    session: &Session,
    is_over: &dyn Fn() -> bool,
) -> Result<Box<Sealed>, ConnectError> {
    let peer = plain.peer;
    let failed = |source| ConnectError::Tls { peer, remedy: tls::remedy(&source), source };
    let mut tls =
        ClientConnection::new(Arc::clone(&session.config), session.name.clone()).map_err(failed)?;
    let started = Instant::now();
    while tls.is_handshaking() || tls.wants_write() {
        if is_over() {
            return Err(ConnectError::Stopped);
        }
        if started.elapsed() > HANDSHAKE_LIMIT {
            let source = io::ErrorKind::TimedOut.into();
            return Err(ConnectError::Handshake { peer, source: Lost::Broken { source } });
        }
        match step(&mut tls, &mut plain.socket.io) {
            Ok(()) => {}
            Err(Lost::Broken { source }) if is_retried(&source) => {}
            Err(Lost::Tls { source }) => return Err(failed(source)),
            Err(source) => return Err(ConnectError::Handshake { peer, source }),
        }
    }
    let proven = tls.protocol_version() != Some(ProtocolVersion::TLSv1_3);
    let mut sealed = Box::new(Sealed { plain, tls });
    if !proven {
        let wait = started.elapsed().clamp(REFUSAL_WAIT_MIN, REFUSAL_WAIT_MAX);
        sealed.wait_for_refusal(wait).map_err(|source| ConnectError::Handshake { peer, source })?;
    }
    Ok(sealed)
}

/// One write or read of a handshake. rustls' own loop ends with the handshake
/// only, which a peer may feed to us byte by byte.
fn step(tls: &mut ClientConnection, socket: &mut TcpStream) -> Result<(), Lost> {
    if tls.wants_write() {
        tls.write_tls(socket)?;
    } else if tls.read_tls(socket)? == 0 {
        return Err(Lost::Closed);
    } else if let Err(source) = tls.process_new_packets() {
        // The alert that tells the server why; it may be gone already.
        let _ = tls.write_tls(socket);
        return Err(source.into());
    }
    Ok(())
}

/// `is_one_of_several`: the others get their turn if this one refuses.
fn open_udp(
    peer: SocketAddr,
    is_one_of_several: bool,
    slot: &Arc<Slot>,
) -> Result<SingleFrames, ConnectError> {
    let refused = |source| ConnectError::Refused { peer, source };
    let socket = Socket::new(Domain::for_address(peer), Type::DGRAM, Some(Protocol::UDP))
        .map_err(refused)?;
    let socket = Leased::new(slot, socket);
    socket.io.connect(&SockAddr::from(peer)).map_err(refused)?;
    socket.io.set_write_timeout(Some(IO_SLICE)).map_err(refused)?;
    let icmp_wait = if peer.ip().is_loopback() {
        ICMP_WAIT_LOOPBACK
    } else if is_one_of_several {
        ICMP_WAIT_REMOTE
    } else {
        Duration::ZERO
    };
    Ok(SingleFrames { peer, socket: socket.map(UdpSocket::from), first_wait: Some(icmp_wait) })
}

/// Whether a blocked read or write just looked up for a moment.
pub(crate) fn is_retried(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}
