//! The one socket of a client, by number.
//! A descriptor in use -> its number, for a child that has inherited it.
//! Invariant: the number is told only while the descriptor is open and ours.
//! Leaves out: closing it; that is the child's business.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// What stands in the slot while there is no socket.
const NONE: RawFd = -1;

/// Where the sender writes down the number of its socket. Read without a lock:
/// in a child after a fork, any lock may be held for ever by a thread that the
/// child does not have.
#[derive(Debug)]
pub(crate) struct Slot(AtomicI32);

impl Default for Slot {
    fn default() -> Self {
        Slot(AtomicI32::new(NONE))
    }
}

impl Slot {
    pub(crate) fn number(&self) -> Option<RawFd> {
        Some(self.0.load(Ordering::SeqCst)).filter(|number| *number != NONE)
    }
}

/// A socket whose number stands in the slot as long as it is open.
#[derive(Debug)]
pub(crate) struct Leased<T> {
    // Before `io`: fields drop in this order, and the number must be gone
    // before the descriptor is closed and its number goes to somebody else.
    _lease: Lease,
    pub(crate) io: T,
}

#[derive(Debug)]
struct Lease(Arc<Slot>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.0.store(NONE, Ordering::SeqCst);
    }
}

impl<T: AsRawFd> Leased<T> {
    pub(crate) fn new(slot: &Arc<Slot>, io: T) -> Self {
        slot.0.store(io.as_raw_fd(), Ordering::SeqCst);
        Leased { _lease: Lease(Arc::clone(slot)), io }
    }
}

impl<T> Leased<T> {
    /// The same descriptor as another type.
    pub(crate) fn map<U>(self, convert: impl FnOnce(T) -> U) -> Leased<U> {
        Leased { _lease: self._lease, io: convert(self.io) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_stands_as_long_as_the_socket_is_open() {
        let slot = Arc::new(Slot::default());
        assert_eq!(slot.number(), None);
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let number = socket.as_raw_fd();
        let leased = Leased::new(&slot, socket).map(socket2::Socket::from);
        assert_eq!(slot.number(), Some(number));
        assert_eq!(leased.io.as_raw_fd(), number);
        drop(leased);
        assert_eq!(slot.number(), None);
    }
}
