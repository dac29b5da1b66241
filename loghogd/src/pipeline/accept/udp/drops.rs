//! Counts what the kernel drops on a UDP socket.
//! The kernel's count, from wherever it comes -> how many more than known before.
//! Invariant: a dropped datagram is counted once.
//! Leaves out: who is told.
//!
//! The kernel tells its count with each datagram that it delivers
//! (SO_RXQ_OVFL of socket(7)), as it was when that one arrived. What was
//! dropped behind the last one stands in `/proc/net/udp` and `udp6` only:
//!
//! ```text
//!    sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
//!  1234: 0100007F:15BE 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 40212 2 0000000000000000 7
//! ```

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::stat::fstat;
use tokio::net::UdpSocket;

use crate::limits::SOCKET_TABLE_BYTES_MAX;

/// Where `inode` and `drops` stand in a line.
const INODE_PLACE: usize = 9;
const DROPS_PLACE: usize = 12;

/// What is known of one socket's drops.
#[derive(Debug)]
pub struct Drops {
    address: SocketAddr,
    inode: u64,
    /// The kernel's count as far as it is counted; modulo 2^32, as there.
    counted: AtomicU32,
}

impl Drops {
    /// Of a socket that nothing is known of yet.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(socket: &UdpSocket) -> io::Result<Drops> {
        let inode = fstat(socket)?.st_ino;
        Ok(Drops { address: socket.local_addr()?, inode, counted: AtomicU32::new(0) })
    }

    /// The socket's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes note of a count of the kernel's; returns by how much it is more
    /// than what was known. An older count is none.
    pub fn note(&self, count: u32) -> u32 {
        let more = |counted: u32| count.wrapping_sub(counted);
        // Of two counts modulo 2^32 the later one is less than half way ahead.
        let is_later = |counted: u32| (1..=u32::MAX / 2).contains(&more(counted));
        let before = self.counted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |counted| {
            is_later(counted).then_some(count)
        });
        before.map_or(0, more)
    }

    /// Asks the kernel; returns how many drops are new.
    ///
    /// # Errors
    /// What the system says; `NotFound` when its table does not tell.
    pub fn ask(&self) -> io::Result<u32> {
        let table = if self.address.is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" };
        let count = count_in(BufReader::new(File::open(table)?), self.inode)?;
        count.map(|count| self.note(count)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// The count of drops of a socket in the kernel's table.
fn count_in(table: impl BufRead, inode: u64) -> io::Result<Option<u32>> {
    let mut table = table.take(SOCKET_TABLE_BYTES_MAX);
    let mut line = Vec::new();
    while table.read_until(b'\n', &mut line)? > 0 {
        let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
        if number(fields.nth(INODE_PLACE)) == Some(inode) {
            let count = number(fields.nth(DROPS_PLACE - INODE_PLACE - 1));
            return Ok(count.and_then(|count| u32::try_from(count).ok()));
        }
        line.clear();
    }
    Ok(None)
}

fn number(field: Option<&[u8]>) -> Option<u64> {
    std::str::from_utf8(field?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  518: 0100007F:15BE 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 40212 2 0000000000000000 7         
 1040: 00000000:0044 00000000:0000 07 00000000:00000300 00:00000000 00000000   100        0 7 2 00000000ffe1c400 4294967295
";

    #[test]
    fn a_socket_is_found_in_the_kernels_table_by_its_inode() {
        let count = |inode| count_in(TABLE.as_bytes(), inode).unwrap();
        assert_eq!(count(40212), Some(7));
        assert_eq!(count(7), Some(u32::MAX));
        assert_eq!(count(100), None, "that is a user");
        assert_eq!(count_in(&b"\0\xff 1 2 3\n\n4 5 6 7 8 9 0 1 2 7 3 4 \n"[..], 7).unwrap(), None);
    }

    #[test]
    fn a_drop_is_counted_once_in_whatever_order_counts_come() {
        let drops = |counted| Drops {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            inode: 0,
            counted: AtomicU32::new(counted),
        };
        let some = drops(0);
        assert_eq!([3, 3, 2, 10, 0, 9, 11].map(|count| some.note(count)), [3, 0, 0, 7, 0, 0, 1]);
        let many = drops(u32::MAX - 1);
        assert_eq!([u32::MAX, 2, u32::MAX, 4].map(|count| many.note(count)), [1, 3, 0, 2]);
    }
}
