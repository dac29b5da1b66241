//! Sockets that whoever started us has opened already.
//! What the service manager passes on (sd_listen_fds(3)) -> sockets by their addresses.
//! Invariant: the configuration says where to listen; a socket that it does not name is never used.
//! Leaves out: preparing them (`bind`).

use std::net::{SocketAddr, TcpListener, UdpSocket};

use listenfd::ListenFd;

/// Sockets that are open and not taken yet.
#[derive(Debug, Default)]
pub struct Inherited {
    streams: Vec<(SocketAddr, TcpListener)>,
    datagrams: Vec<(SocketAddr, UdpSocket)>,
}

impl Inherited {
    /// Those of this process. May be asked once: they are its own from then on.
    pub fn from_env() -> Inherited {
        let mut passed = ListenFd::from_env();
        let mut inherited = Inherited::default();
        for place in 0..passed.len() {
            // What is neither is left alone.
            if let Ok(Some(listener)) = passed.take_tcp_listener(place)
                && let Ok(address) = listener.local_addr()
            {
                inherited.streams.push((address, listener));
            } else if let Ok(Some(socket)) = passed.take_udp_socket(place)
                && let Ok(address) = socket.local_addr()
            {
                inherited.datagrams.push((address, socket));
            }
        }
        inherited
    }

    /// The listening one of this address.
    pub fn take_stream(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let place = self.streams.iter().position(|(open, _)| *open == address)?;
        Some(self.streams.swap_remove(place).1)
    }

    /// The one for datagrams.
    pub(super) fn take_datagram(&mut self, address: SocketAddr) -> Option<UdpSocket> {
        let place = self.datagrams.iter().position(|(open, _)| *open == address)?;
        Some(self.datagrams.swap_remove(place).1)
    }

    /// Closes what nobody has taken; says what that is.
    pub fn close(self) -> Vec<String> {
        let streams = self.streams.into_iter().map(|(address, _)| format!("tcp {address}"));
        let datagrams = self.datagrams.into_iter().map(|(address, _)| format!("udp {address}"));
        streams.chain(datagrams).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// As if these had been passed on.
    pub(in crate::pipeline::accept) fn inherited(
        streams: Vec<TcpListener>,
        datagrams: Vec<UdpSocket>,
    ) -> Inherited {
        let streams = streams.into_iter().map(|one| (one.local_addr().unwrap(), one)).collect();
        let datagrams = datagrams.into_iter().map(|one| (one.local_addr().unwrap(), one)).collect();
        Inherited { streams, datagrams }
    }
}
