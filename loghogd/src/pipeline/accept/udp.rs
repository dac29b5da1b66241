//! A socket -> datagrams, many a call.
//! Invariant: no datagram is cut short, and what the kernel dropped is counted.
//! Leaves out: what they say.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::tcp::canonical;
use crate::limits::{DATAGRAM_BUFFER_BYTES, DATAGRAMS_A_CALL};

/// Room for the datagrams of one call. Pages that no datagram reached are
/// never touched, so it takes as much memory as was needed once.
#[derive(Debug)]
pub struct Mailbag {
    buffer: Box<[u8]>,
    received: Vec<(usize, SocketAddr)>,
    /// The kernel's count of drops, which only grows, modulo 2^32.
    dropped: u32,
}

impl Mailbag {
    /// An empty one.
    pub fn new() -> Mailbag {
        Mailbag {
            buffer: vec![0; DATAGRAMS_A_CALL * DATAGRAM_BUFFER_BYTES].into_boxed_slice(),
            received: Vec::with_capacity(DATAGRAMS_A_CALL),
            dropped: 0,
        }
    }

    /// Receives what is there, without waiting. Returns how many datagrams
    /// the kernel has dropped since the last call.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; else what the system says.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<u32> {
        self.received.clear();
        let (buffer, received) = (&mut self.buffer, &mut self.received);
        let seen = socket.try_io(Interest::READABLE, || receive(socket, buffer, received))?;
        let Some(seen) = seen else { return Ok(0) };
        Ok(seen.wrapping_sub(std::mem::replace(&mut self.dropped, seen)))
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

impl Default for Mailbag {
    fn default() -> Self {
        Self::new()
    }
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
