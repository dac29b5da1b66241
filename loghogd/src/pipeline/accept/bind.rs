//! Opens the sockets that the configuration names.
//! Addresses -> listening sockets, and for plain ones a UDP socket beside each.
//! Invariant: a plain address has the same port for TCP and UDP, also when any will do.
//! Leaves out: accepting; this runs before privileges are dropped.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::inherit::Inherited;
use crate::config::checked::{Family, Listen};
use crate::connections::Transport;
use crate::limits::{
    KEEPALIVE_AFTER, KEEPALIVE_EVERY, KEEPALIVE_TIMES, LISTEN_BACKLOG, UDP_BUFFER_BYTES,
};

/// Why an address cannot be listened on. The surroundings' fault.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The name has no address of the wanted family.
    #[error("{listen} has no {family} address: {why}; name an address of this machine in [server]")]
    Resolve {
        /// The address as configured.
        listen: String,
        /// "IPv4" or "IPv6".
        family: &'static str,
        /// What the resolver says.
        why: String,
    },
    /// The system refuses.
    #[error("cannot listen on {transport} {address}: {source}; {remedy}", transport = transport.name())]
    Bind {
        /// TCP, UDP or TLS.
        transport: Transport,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
        /// What to do about it.
        remedy: &'static str,
    },
}

impl BindError {
    fn lacks_ipv6(&self) -> bool {
        let BindError::Bind { address, source, .. } = self else { return false };
        let lacking = [Errno::EADDRNOTAVAIL, Errno::EAFNOSUPPORT].map(|errno| Some(errno as i32));
        address.ip() == IpAddr::from(Ipv6Addr::LOCALHOST)
            && lacking.contains(&source.raw_os_error())
    }
}

/// Sockets, bound and non-blocking.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Listening ones, each with what it speaks: TCP or TLS.
    pub streams: Vec<(Transport, TcpListener)>,
    /// UDP ones, each with the size of its receive buffer in bytes.
    pub datagrams: Vec<(UdpSocket, usize)>,
    /// Addresses that were passed over, because nobody could reach them.
    pub passed_over: Vec<BindError>,
}

/// Binds every address that is not among those inherited. The IPv6 loopback, which is configured unless one says
/// otherwise, is passed over on a machine without IPv6.
///
/// # Errors
/// The first one that cannot be had.
pub fn bind(addresses: &[Listen], inherited: &mut Inherited) -> Result<Sockets, BindError> {
    let mut sockets = Sockets::default();
    for listen in addresses {
        match bind_one(listen, inherited, &mut sockets) {
            Err(error) if addresses.len() > 1 && error.lacks_ipv6() => {
                sockets.passed_over.push(error)
            }
            outcome => outcome?,
        }
    }
    Ok(sockets)
}

fn bind_one(
    listen: &Listen,
    inherited: &mut Inherited,
    sockets: &mut Sockets,
) -> Result<(), BindError> {
    let address = resolve(listen)?;
    if listen.tls {
        let listener = stream(Transport::Tls, address, inherited)?;
        sockets.streams.push((Transport::Tls, listener));
    } else {
        let (listener, socket) = pair(address, inherited)?;
        sockets.streams.push((Transport::Tcp, listener));
        sockets.datagrams.push(socket);
    }
    Ok(())
}

fn resolve(listen: &Listen) -> Result<SocketAddr, BindError> {
    let family = match listen.family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    let refused = |why: String| BindError::Resolve { listen: listen.to_string(), family, why };
    let mut found = (listen.host.as_str(), listen.port)
        .to_socket_addrs()
        .map_err(|error| refused(error.to_string()))?;
    let wanted = |address: &SocketAddr| address.is_ipv4() == matches!(listen.family, Family::V4);
    found.find(wanted).ok_or_else(|| refused("none found".into()))
}

/// TCP and UDP on one port. When any port will do, several are tried: the
/// one that TCP gets may be taken for UDP.
fn pair(
    address: SocketAddr,
    inherited: &mut Inherited,
) -> Result<(TcpListener, (UdpSocket, usize)), BindError> {
    const TRIES: usize = 32;
    let mut tries = 1..if address.port() == 0 { TRIES } else { 1 };
    loop {
        let listener = stream(Transport::Tcp, address, inherited)?;
        let bound = listener.local_addr().map_err(|e| refused(Transport::Tcp, address, e))?;
        match datagram(bound, inherited) {
            Ok(socket) => return Ok((listener, socket)),
            Err(_) if tries.next().is_some() => {}
            Err(error) => return Err(refused(Transport::Udp, bound, error)),
        }
    }
}

fn stream(
    transport: Transport,
    address: SocketAddr,
    inherited: &mut Inherited,
) -> Result<TcpListener, BindError> {
    let open = |passed: Option<TcpListener>| {
        let socket = match &passed {
            Some(passed) => passed.try_clone()?.into(),
            None => Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?,
        };
        // A restart must not wait for old connections to be forgotten.
        socket.set_reuse_address(true)?;
        // Connections inherit this from their listening socket (tcp(7)): a
        // peer that vanished gives its seat back.
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_AFTER)
            .with_interval(KEEPALIVE_EVERY)
            .with_retries(KEEPALIVE_TIMES);
        socket.set_tcp_keepalive(&keepalive)?;
        prepare(&socket, address, passed.is_some())?;
        socket.listen(i32::try_from(LISTEN_BACKLOG).unwrap_or(i32::MAX))?;
        Ok(socket.into())
    };
    open(inherited.take_stream(address)).map_err(|error| refused(transport, address, error))
}

fn datagram(address: SocketAddr, inherited: &mut Inherited) -> io::Result<(UdpSocket, usize)> {
    let passed = inherited.take_datagram(address);
    let is_bound = passed.is_some();
    let socket = match passed {
        Some(passed) => passed.into(),
        None => Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?,
    };
    // Beyond the system's limit with CAP_NET_ADMIN, else up to it.
    if setsockopt(&socket, sockopt::RcvBufForce, &UDP_BUFFER_BYTES).is_err() {
        socket.set_recv_buffer_size(UDP_BUFFER_BYTES)?;
    }
    setsockopt(&socket, sockopt::RxqOvfl, &1)?;
    prepare(&socket, address, is_bound)?;
    let granted = socket.recv_buffer_size()?;
    Ok((socket.into(), granted))
}

fn prepare(socket: &Socket, address: SocketAddr, is_bound: bool) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    if is_bound {
        return Ok(());
    }
    if address.is_ipv6() {
        // An IPv4 address of the same port is a socket of its own.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())
}

fn refused(transport: Transport, address: SocketAddr, source: io::Error) -> BindError {
    let remedy = match source.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there: stop it, or choose another port in [server]"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: correct it in [server]"
        }
        io::ErrorKind::PermissionDenied => {
            "start as root with [main] user set, or choose a port above 1023"
        }
        _ => "see listen_ipv4, listen_ipv6 and their _ssl twins in [server]",
    };
    BindError::Bind { transport, address, source, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::accept::inherit::tests::inherited;

    fn bind(addresses: &[Listen]) -> Result<Sockets, BindError> {
        super::bind(addresses, &mut Inherited::default())
    }

    fn listen(host: &str, port: u16, family: Family, tls: bool) -> Listen {
        Listen { host: host.into(), port, family, tls }
    }

    #[test]
    fn any_port_is_the_same_for_tcp_and_udp() {
        let sockets = bind(&[listen("127.0.0.1", 0, Family::V4, false)]).unwrap();
        let tcp = sockets.streams[0].1.local_addr().unwrap();
        assert_eq!(sockets.datagrams[0].0.local_addr().unwrap(), tcp);
    }

    #[test]
    fn sockets_that_are_open_already_are_taken_and_others_are_not() {
        let streams = vec![TcpListener::bind("127.0.0.1:0").unwrap()];
        let stream = streams[0].local_addr().unwrap();
        let datagrams = vec![UdpSocket::bind(stream).unwrap()];
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let stranger = other.local_addr().unwrap();
        let mut passed = inherited(streams.into_iter().chain([other]).collect(), datagrams);
        let sockets =
            super::bind(&[listen("127.0.0.1", stream.port(), Family::V4, false)], &mut passed)
                .unwrap();
        assert_eq!(sockets.streams[0].1.local_addr().unwrap(), stream);
        assert_eq!(sockets.datagrams[0].0.local_addr().unwrap(), stream);
        std::net::TcpStream::connect(stream).unwrap();
        let error = sockets.datagrams[0].0.recv(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(passed.close(), [format!("tcp {stranger}")]);
    }

    #[test]
    fn a_taken_port_is_named_with_its_remedy() {
        let first = bind(&[listen("127.0.0.1", 0, Family::V4, true)]).unwrap();
        let port = first.streams[0].1.local_addr().unwrap().port();
        let error = bind(&[listen("localhost", port, Family::V4, true)]).unwrap_err().to_string();
        assert!(
            error.contains(&format!("tls 127.0.0.1:{port}")) && error.contains("stop it"),
            "{error}"
        );
    }
}
