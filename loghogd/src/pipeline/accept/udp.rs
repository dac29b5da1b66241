//! A socket -> datagrams, many a call.
//! Invariant: no datagram is cut short, and what the kernel dropped is counted.
//! Leaves out: what they say.

mod drops;

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;

pub use self::drops::Drops;
use super::tcp::canonical;
use crate::limits::{DATAGRAM_BUFFER_BYTES, DATAGRAMS_A_CALL, UNREAD_DATAGRAMS_MAX};

/// Room for the datagrams of one call. Pages that no datagram reached are
/// never touched, so it takes as much memory as was needed once.
#[derive(Debug)]
pub struct Mailbag {
    buffer: Box<[u8]>,
    received: Vec<(usize, SocketAddr)>,
    drops: Arc<Drops>,
}

impl Mailbag {
    /// An empty one, for the socket of these drops.
    pub fn new(drops: Arc<Drops>) -> Mailbag {
        Mailbag {
            buffer: vec![0; DATAGRAMS_A_CALL * DATAGRAM_BUFFER_BYTES].into_boxed_slice(),
            received: Vec::with_capacity(DATAGRAMS_A_CALL),
            drops,
        }
    }

    /// Receives what is there, without waiting. Returns how many datagrams
    /// the kernel is now known to have dropped, beyond those known before.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; else what the system says.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<u32> {
        self.received.clear();
        let (buffer, received) = (&mut self.buffer, &mut self.received);
        let seen = socket.try_io(Interest::READABLE, || receive(socket, buffer, received))?;
        Ok(seen.map_or(0, |count| self.drops.note(count)))
    }

    /// The same at a stop, when nobody waits until the runtime has heard of
    /// the datagrams that have arrived.
    ///
    /// # Errors
    /// As [`Mailbag::receive`].
    pub fn receive_rest(&mut self, socket: &UdpSocket) -> io::Result<u32> {
        self.received.clear();
        let seen = receive(socket, &mut self.buffer, &mut self.received)?;
        Ok(seen.map_or(0, |count| self.drops.note(count)))
    }

    /// Throws away what nobody has time to read any more.
    pub fn discard_rest(&mut self, socket: &UdpSocket) -> Discarded {
        let mut discarded = Discarded { unread: 0, by_kernel: 0 };
        while discarded.unread < UNREAD_DATAGRAMS_MAX {
            let Ok(more) = self.receive_rest(socket) else { break };
            discarded.unread += self.received.len();
            discarded.by_kernel += more;
        }
        self.received.clear();
        discarded.by_kernel += self.drops.ask().unwrap_or(0);
        discarded
    }

    /// What the last call received, in order.
    pub fn datagrams(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        let buffers = self.buffer.chunks(DATAGRAM_BUFFER_BYTES);
        self.received
            .iter()
            .zip(buffers)
            .map(|(&(bytes, peer), buffer)| (buffer.get(..bytes).unwrap_or(buffer), peer))
    }
}

/// Datagrams that did not make it at a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discarded {
    /// They had arrived.
    pub unread: usize,
    /// The kernel had no room for them, and that was not known before.
    pub by_kernel: u32,
}

/// One recvmmsg(2). Returns the kernel's count of drops where it tells one.
fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
    received: &mut Vec<(usize, SocketAddr)>,
) -> io::Result<Option<u32>> {
    // The kernel writes the lengths of what it found into the headers, and
    // would take them for the room there is the next time: they are made anew
    // for each call, of up to `DATAGRAMS_A_CALL` datagrams.
    let room = nix::cmsg_space!(u32);
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(DATAGRAMS_A_CALL, Some(room));
    let mut slices: Vec<_> =
        buffer.chunks_mut(DATAGRAM_BUFFER_BYTES).map(|buffer| [IoSliceMut::new(buffer)]).collect();
    let flags = MsgFlags::MSG_DONTWAIT;
    let mut dropped = None;
    for message in recvmmsg(socket.as_raw_fd(), &mut headers, &mut slices, flags, None)? {
        for control in message.cmsgs()? {
            if let ControlMessageOwned::RxqOvfl(count) = control {
                dropped = Some(count);
            }
        }
        let peer = message.address.as_ref().and_then(to_std);
        received.push((message.bytes, canonical(peer.unwrap_or_else(nobody))));
    }
    Ok(dropped)
}

fn to_std(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::from((v4.ip(), v4.port())));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::from((v6.ip(), v6.port()))))
}

/// A datagram always has a sender; this is for a kernel that forgot it.
fn nobody() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{setsockopt, sockopt};

    async fn pair(here: &str) -> (UdpSocket, std::net::UdpSocket) {
        let receiver = UdpSocket::bind((here, 0)).await.unwrap();
        setsockopt(&receiver, sockopt::RxqOvfl, &1).unwrap();
        // The kernel gives as little as it can: a few datagrams.
        setsockopt(&receiver, sockopt::RcvBuf, &0).unwrap();
        let sender = std::net::UdpSocket::bind((here, 0)).unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        (receiver, sender)
    }

    fn receive_all(bag: &mut Mailbag, socket: &UdpSocket) -> (usize, u64) {
        let (mut datagrams, mut dropped) = (0, 0);
        while let Ok(more) = bag.receive(socket) {
            datagrams += bag.datagrams().count();
            dropped += u64::from(more);
        }
        (datagrams, dropped)
    }

    #[tokio::test]
    async fn every_datagram_is_received_or_counted_also_the_last_ones() {
        const EACH: usize = 500;
        for here in ["127.0.0.1", "::1"] {
            let (socket, sender) = pair(here).await;
            let drops = Arc::new(Drops::of(&socket).unwrap());
            let mut bag = Mailbag::new(Arc::clone(&drops));
            let (mut received, mut dropped) = (0, 0);
            for round in 1..=3 {
                for _ in 0..EACH {
                    sender.send(b"x").unwrap();
                }
                // Asked before, after, or both: it is the same in the end.
                if round != 1 {
                    dropped += u64::from(drops.ask().unwrap());
                }
                socket.readable().await.unwrap();
                let (datagrams, more) = receive_all(&mut bag, &socket);
                assert!(datagrams > 0);
                received += datagrams;
                dropped += more;
                if round != 2 {
                    dropped += u64::from(drops.ask().unwrap());
                }
                assert_eq!(received as u64 + dropped, (round * EACH) as u64, "{here}, {round}");
                assert_eq!(drops.ask().unwrap(), 0);
            }
            assert!(dropped > 0, "the buffer is smaller than this");
            for _ in 0..EACH {
                sender.send(b"x").unwrap();
            }
            let rest = bag.discard_rest(&socket);
            assert_eq!(rest.unread as u64 + u64::from(rest.by_kernel), EACH as u64);
            assert!(bag.receive_rest(&socket).is_err(), "nothing is left");
        }
    }
}
