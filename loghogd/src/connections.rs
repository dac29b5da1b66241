//! Knows every open connection, so that none can take what others need.
//! A new connection -> its `Seat`, perhaps that of one that had to go.
//! Invariant: seats, handshakes and unfinished frames stay within their limits.
//! Leaves out: reading and closing; whoever reads a connection watches its seat.
//!
//! When something runs short the connection that has earned the least goes:
//! for a seat the oldest that has proven nothing yet, for a handshake the one
//! that has been in it longest, for memory an unproven one that holds much of
//! a frame for long. A sender that behaves is none of these.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::limits::{
    HANDSHAKES_MAX, PENDING_BYTES_LEAVING_MAX, PENDING_BYTES_MAX, PENDING_BYTES_MOVED_MAX,
    SILENCE_MIN,
};
use crate::stats::{Counter, Stats};

/// All open connections.
#[derive(Debug)]
pub struct Connections {
    seats_max: usize,
    open: Mutex<BTreeMap<u64, Arc<State>>>,
    next: AtomicU64,
    pending_bytes: AtomicUsize,
    handshakes: AtomicUsize,
    started: Instant,
    stats: Arc<Stats>,
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub struct Seat {
    number: u64,
    state: Arc<State>,
    connections: Arc<Connections>,
}

#[derive(Debug)]
struct State {
    phase: AtomicU8,
    /// When the handshake began, in milliseconds since `Connections::started`.
    handshake_since_ms: AtomicU64,
    pending_bytes: AtomicUsize,
    /// When the unfinished frame began, likewise.
    pending_since_ms: AtomicU64,
    /// When something was read from it last, likewise.
    heard_ms: AtomicU64,
    evicted: Notify,
}

/// Nothing has come yet that only an honest sender could have sent.
const UNPROVEN: u8 = 0;
/// In its TLS handshake.
const HANDSHAKE: u8 = 1;
/// Has sent a record that passed the gate, or shown a valid certificate.
const PROVEN: u8 = 2;
/// Told to go.
const LEAVING: u8 = 3;

impl Connections {
    /// Room for `seats_max` connections.
    pub fn new(seats_max: usize, stats: Arc<Stats>) -> Arc<Connections> {
        Arc::new(Connections {
            seats_max,
            open: Mutex::default(),
            next: AtomicU64::new(0),
            pending_bytes: AtomicUsize::new(0),
            handshakes: AtomicUsize::new(0),
            started: Instant::now(),
            stats,
        })
    }

    /// A seat for a new connection. None when all are taken by connections
    /// that have proven themselves.
    pub fn seat(self: &Arc<Self>) -> Option<Seat> {
        let mut open = self.open();
        if open.len() >= self.seats_max {
            let Some((number, state)) = self.who_goes(&open) else {
                self.stats.add(Counter::ConnectionsRefused, 1);
                return None;
            };
            self.evict(&state, Counter::ConnectionsEvicted);
            open.remove(&number);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(State {
            phase: AtomicU8::new(UNPROVEN),
            handshake_since_ms: AtomicU64::new(0),
            pending_bytes: AtomicUsize::new(0),
            pending_since_ms: AtomicU64::new(0),
            heard_ms: AtomicU64::new(self.now_ms()),
            evicted: Notify::new(),
        });
        open.insert(number, Arc::clone(&state));
        self.stats.add(Counter::Connections, 1);
        Some(Seat { number, state, connections: Arc::clone(self) })
    }

    /// The oldest connection that has proven nothing, else the one that has
    /// been silent longest, if that is long.
    fn who_goes(&self, open: &BTreeMap<u64, Arc<State>>) -> Option<(u64, Arc<State>)> {
        let unproven = open.iter().find(|(_, state)| state.phase() <= HANDSHAKE);
        let silent = || {
            let heard = |state: &State| state.heard_ms.load(Ordering::Relaxed);
            let (number, state) = open.iter().min_by_key(|(_, state)| heard(state))?;
            let silent_ms = self.now_ms().saturating_sub(heard(state));
            (u128::from(silent_ms) >= SILENCE_MIN.as_millis()).then_some((number, state))
        };
        unproven.or_else(silent).map(|(number, state)| (*number, Arc::clone(state)))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.open().len()
    }

    /// Tells a connection to go. It counts once, under the first reason.
    fn evict(&self, state: &State, reason: Counter) {
        match state.phase.swap(LEAVING, Ordering::Relaxed) {
            LEAVING => return,
            HANDSHAKE => drop(self.handshakes.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
        self.stats.add(reason, 1);
        state.evicted.notify_one();
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<State>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Waits until this connection has to go.
    pub async fn evicted(&self) {
        self.state.evicted.notified().await;
    }

    /// Has this connection been told to go?
    pub fn is_leaving(&self) -> bool {
        self.state.phase() == LEAVING
    }

    /// The TLS handshake begins. When too many are in theirs, the oldest goes.
    pub fn begin_handshake(&self) {
        let connections = &self.connections;
        self.state.handshake_since_ms.store(connections.now_ms(), Ordering::Relaxed);
        if !self.state.step(UNPROVEN, HANDSHAKE) {
            return;
        }
        if connections.handshakes.fetch_add(1, Ordering::Relaxed) < HANDSHAKES_MAX {
            return;
        }
        let open = connections.open();
        let in_handshake = open
            .iter()
            .filter(|(number, state)| **number != self.number && state.phase() == HANDSHAKE);
        let oldest =
            in_handshake.min_by_key(|(_, state)| state.handshake_since_ms.load(Ordering::Relaxed));
        if let Some((_, state)) = oldest {
            connections.evict(state, Counter::HandshakesEvicted);
        }
    }

    /// The peer has shown that it belongs here.
    pub fn prove(&self) {
        if self.state.step(HANDSHAKE, PROVEN) {
            self.connections.handshakes.fetch_sub(1, Ordering::Relaxed);
        } else {
            self.state.step(UNPROVEN, PROVEN);
        }
    }

    /// Something has been read from it, and a frame of it was finished or not.
    pub fn heard(&self, finished_a_frame: bool) {
        let now_ms = self.connections.now_ms();
        self.state.heard_ms.store(now_ms, Ordering::Relaxed);
        if finished_a_frame {
            self.state.pending_since_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// The connection holds `bytes` of an unfinished frame from now on. When
    /// all connections together hold too much, one goes: one that has proven
    /// nothing before one that has, one that holds much before one that holds
    /// little, and then the one whose frame is oldest. That may be this one,
    /// and it is this one when those that were told to go have not gone yet.
    /// False when it has to let go of its frame at once.
    pub fn set_pending(&self, bytes: usize) -> bool {
        let connections = &self.connections;
        let before = self.state.pending_bytes.swap(bytes, Ordering::Relaxed);
        if before == 0 && bytes == 0 {
            return true;
        }
        connections.pending_bytes.fetch_sub(before, Ordering::Relaxed);
        let all = connections.pending_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if all <= PENDING_BYTES_MAX || bytes <= before {
            return true;
        }
        let much = bytes > PENDING_BYTES_MOVED_MAX;
        if much && all > PENDING_BYTES_MAX + PENDING_BYTES_LEAVING_MAX {
            connections.evict(&self.state, Counter::FramesEvicted);
            return false;
        }
        let open = connections.open();
        let holding = open.values().filter(|state| {
            state.phase() != LEAVING && state.pending_bytes.load(Ordering::Relaxed) > 0
        });
        let victim = holding.min_by_key(|state| {
            let little = state.pending_bytes.load(Ordering::Relaxed) <= PENDING_BYTES_MOVED_MAX;
            let since_ms = state.pending_since_ms.load(Ordering::Relaxed);
            (state.phase() == PROVEN, little, since_ms)
        });
        if let Some(state) = victim {
            connections.evict(state, Counter::FramesEvicted);
        }
        !self.is_leaving()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.set_pending(0);
        if self.state.phase.swap(LEAVING, Ordering::Relaxed) == HANDSHAKE {
            self.connections.handshakes.fetch_sub(1, Ordering::Relaxed);
        }
        self.connections.open().remove(&self.number);
    }
}

impl State {
    fn phase(&self) -> u8 {
        self.phase.load(Ordering::Relaxed)
    }

    fn step(&self, from: u8, to: u8) -> bool {
        self.phase.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// The other end of a connection, or the sender of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// How it talks to us.
    pub transport: Transport,
    /// Its address, an IPv4 one as such even on an IPv6 socket.
    pub address: SocketAddr,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.transport.name(), self.address)
    }
}

/// What carries the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Frames back to back.
    Tcp,
    /// One frame a datagram.
    Udp,
    /// Frames back to back, inside TLS.
    Tls,
}

impl Transport {
    /// Its name in the own log.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
            Transport::Tls => "tls",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(seats_max: usize) -> (Arc<Connections>, Arc<Stats>) {
        let stats = Arc::new(Stats::new());
        (Connections::new(seats_max, Arc::clone(&stats)), stats)
    }

    #[test]
    fn a_full_house_makes_room_by_the_oldest_that_proved_nothing() {
        let (connections, stats) = connections(3);
        let seats: Vec<Seat> = (0..3).filter_map(|_| connections.seat()).collect();
        seats[0].prove();
        let newcomer = connections.seat().expect("room was made");
        assert_eq!([0, 1, 2].map(|n: usize| seats[n].is_leaving()), [false, true, false]);
        newcomer.prove();
        seats[2].prove();
        assert!(connections.seat().is_none(), "all have proven themselves");
        assert_eq!(stats.get(Counter::ConnectionsEvicted), 1);
        assert_eq!(stats.get(Counter::ConnectionsRefused), 1);
        drop(seats);
        assert_eq!(connections.count(), 1);
    }

    #[test]
    fn too_many_handshakes_end_the_oldest() {
        let (connections, stats) = connections(10_000);
        let seats: Vec<Seat> = (0..HANDSHAKES_MAX + 5).filter_map(|_| connections.seat()).collect();
        seats.iter().for_each(Seat::begin_handshake);
        assert_eq!(stats.get(Counter::HandshakesEvicted), 5);
        assert!(!seats[HANDSHAKES_MAX + 4].is_leaving());
        drop(seats);
        assert_eq!(connections.handshakes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn unfinished_frames_together_stay_bounded() {
        let (connections, stats) = connections(10_000);
        let seats: Vec<Seat> = (0..200).filter_map(|_| connections.seat()).collect();
        for seat in &seats {
            seat.set_pending(1 << 20);
        }
        let staying: usize = seats.iter().filter(|seat| !seat.is_leaving()).count();
        assert!(staying > 0 && staying << 20 <= PENDING_BYTES_MAX, "{staying} MiB stay");
        assert!(stats.get(Counter::FramesEvicted) >= 188);
        drop(seats);
        assert_eq!(connections.pending_bytes.load(Ordering::Relaxed), 0);
    }
}
