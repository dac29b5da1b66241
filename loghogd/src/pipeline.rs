//! The road. Joins the rooms with bounded channels; the only place that
//! knows neighbours.
//!
//! ```text
//! accept    sockets           -> Chunk: bytes and who sent them
//! decode    Chunk             -> Record
//! gate      Record            -> Admitted: the record and its facility
//! persist   Admitted          -> lines in a file, synced
//! rotate    a due file        -> a closed segment
//! seal      a segment         -> the same, compressed and compared
//! ship      a segment         -> the same at a target, and a receipt
//! trim      what is surplus   -> nothing
//! ```
//!
//! A connection is a task that waits without a buffer. When there is
//! something to read it takes a `Lane`: buffers and readers that it shares
//! with all others, one at a time. In its lane it reads a chunk, carries it
//! through decode and gate into a batch of lines, and hands the batch over to
//! persist, whose thread writes. The only queues are the one for a lane and
//! the one in front of persist; both make senders wait. Who sends to a file
//! that refuses waits outside of both, so that others go on; of datagrams such
//! ones are dropped and counted.
//!
//! The queue of seal and trim is the directory; a bell wakes them (`cold`).

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap
    )
)]

pub mod accept;
pub mod claims;
pub mod cold;
#[cfg(test)]
mod crash_tests;
pub mod decode;
pub mod gate;
mod lane;
mod pending;
pub mod persist;
pub mod rotate;
pub mod seal;
mod session;
pub mod ship;
pub mod tally;
pub mod tap;
#[cfg(test)]
mod test_writer;
pub mod trim;
#[cfg(test)]
mod trouble_tests;
#[cfg(test)]
mod year_tests;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use tracing::debug;
use wire::v2::frame;

use self::accept::Stream;
use self::accept::udp::{Drops, Mailbag};
use self::gate::{Protocol, Way};
use self::lane::{Done, Lane, Lanes, Pause, Taken, Works};
use self::pending::Pending;
use self::persist::clients::Clients;
use self::persist::held::Hold;
use self::persist::writer::Handover;
use crate::clock::Clock;
use crate::complaints::Complaints;
use crate::config::facility::Table;
use crate::connections::{Connections, Peer, Seat, Transport};
use crate::ledger::{Counts, Ledger, Tally};
use crate::limits::{
    BOMB_PAUSE_MAX, BOMB_PAUSE_MIN, CHUNK_BYTES_HELD, HANDSHAKE_TIME_MAX, TURN_BYTES_MAX,
};
use crate::stats::{Counter, Stats};

/// What all connections share.
#[derive(Debug)]
pub struct Shared {
    /// The facilities in force.
    pub table: Arc<ArcSwap<Table>>,
    /// Tells of each new table, for those who would not look by themselves.
    pub reloads: watch::Receiver<()>,
    /// The certificates in force, where we listen for TLS.
    pub tls: Option<ArcSwap<ServerConfig>>,
    /// What is counted.
    pub stats: Arc<Stats>,
    /// What is said of peers.
    pub complaints: Complaints,
    /// What came from whom.
    pub ledger: Arc<Ledger>,
    /// Who is connected.
    pub connections: Arc<Connections>,
    /// The time.
    pub clock: Clock,
    /// Longest payload of a stream's frame, before and after inflating, in bytes.
    pub frame_bytes_max: u32,
    /// The same of a datagram's frame, before inflating; what it inflates to
    /// is bounded as for a stream.
    pub datagram_bytes_max: u32,
    /// The way to the disk.
    pub handover: Handover,
    /// What is remembered of clients that number their messages.
    pub clients: Arc<Clients>,
    /// Becomes the end of reading when it is time to stop.
    pub stop: watch::Receiver<Option<Instant>>,
}

impl Shared {
    /// What carries frames on.
    fn works(&self) -> Works {
        let tally = Tally::new(Arc::clone(&self.ledger));
        Works::new(self.table.load_full(), self.handover.batch(), tally)
    }
}

/// The way from the sockets to the disk.
#[derive(Debug)]
pub struct Road {
    shared: Shared,
    lanes: Lanes,
    /// Of each socket that datagrams come from.
    drops: Mutex<Vec<Arc<Drops>>>,
}

impl Road {
    /// Joins the rooms. So many connections as there are `lanes` may be at
    /// work at the same time.
    pub fn new(shared: Shared, lanes: usize) -> Arc<Road> {
        let works = || shared.works();
        let lanes = Lanes::new((0..lanes).map(|_| works()));
        Arc::new(Road { shared, lanes, drops: Mutex::default() })
    }

    /// What all connections share.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Accepts connections until it is time to stop.
    pub async fn accept(self: Arc<Self>, transport: Transport, listener: TcpListener) {
        let mut stop = self.shared.stop.clone();
        let arrived = |stream: TcpStream, address: SocketAddr| {
            let peer = Peer { transport, address };
            let Some(seat) = self.shared.connections.seat() else {
                self.shared.complaints.complain(address.ip(), Counter::ConnectionsRefused, 1, || {
                    format!("refused {peer}: there are too many connections; raise [server] max_connections")
                });
                return;
            };
            let road = Arc::clone(&self);
            // Two spawns, so that a plain connection does not take the room
            // that one with TLS needs.
            match transport {
                Transport::Tls => tokio::spawn(road.serve_tls(stream, peer, seat)),
                _ => tokio::spawn(road.serve(Stream::tcp(stream), peer, seat)),
            };
        };
        tokio::select! {
            () = accept::tcp::accept(&listener, arrived) => {}
            _ = stop.wait_for(Option::is_some) => {}
        }
    }

    async fn serve_tls(self: Arc<Self>, stream: TcpStream, peer: Peer, seat: Seat) {
        let Some(tls) = &self.shared.tls else { return };
        let mut stop = self.shared.stop.clone();
        let handshake =
            accept::tls::handshake(stream, &seat, HANDSHAKE_TIME_MAX, || tls.load_full());
        let outcome = tokio::select! {
            outcome = handshake => outcome,
            _ = stop.wait_for(Option::is_some) => return,
        };
        match outcome {
            Ok(stream) => {
                seat.prove();
                self.serve(stream, peer, seat).await;
            }
            Err(error) => match error.counter() {
                Some(counter) => self.refuse(&peer, counter, 1, &error.to_string()),
                None => debug!("{peer}: {error}"),
            },
        }
    }

    /// Carries everything that a connection sends into files, until it ends.
    async fn serve(self: Arc<Self>, mut stream: Stream, peer: Peer, seat: Seat) {
        let mut stop = self.shared.stop.clone();
        let mut pending = Pending::default();
        let mut until: Option<Instant> = None;
        let mut bomb_pause = Duration::ZERO;
        let mut protocol = None;
        while !seat.is_leaving() {
            match until {
                // What has been read is carried on, whatever the time, but for
                // those whose payloads take a thousand times their share of it.
                _ if pending.has_whole_frames() && bomb_pause.is_zero() => {}
                // What was sent before the stop is read, up to a point.
                Some(until) if Instant::now() >= until => break,
                Some(_) => {}
                None if pending.has_whole_frames() => {}
                None => tokio::select! {
                    biased;
                    () = seat.evicted() => break,
                    stop = stop.wait_for(Option::is_some) => until = end_of_reading(stop.as_deref()),
                    ready = stream.readable() => if ready.is_err() { break },
                },
            }
            // Boxed: what a turn needs is not kept while waiting for the next.
            match Box::pin(self.turn(&mut stream, &peer, &seat, &mut pending, &mut protocol)).await
            {
                Ok(Turn::Carried) => {}
                Ok(Turn::Bombed) => {
                    bomb_pause = (bomb_pause * 2).clamp(BOMB_PAUSE_MIN, BOMB_PAUSE_MAX);
                    tokio::select! {
                        () = tokio::time::sleep(bomb_pause) => {}
                        () = seat.evicted() => break,
                        stop = stop.wait_for(Option::is_some) => until = end_of_reading(stop.as_deref()),
                    }
                }
                // Boxed: it is rare, and takes room in every connection.
                Ok(Turn::Held(held)) => Box::pin(held.hold.over()).await,
                Ok(Turn::Session) => {
                    let way = Way { protocol: Protocol::V2, tls: peer.transport == Transport::Tls };
                    let first = pending.bytes().to_vec();
                    drop(pending);
                    return Box::pin(session::serve(self, stream, peer, way, seat, first)).await;
                }
                Ok(Turn::Ended) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if until.is_some() && !stream.has_more() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    self.refuse(&peer, Counter::TlsProtocol, 1, &error.to_string());
                    return;
                }
                Err(error) => {
                    debug!("{peer}: {error}");
                    break;
                }
            }
        }
        if seat.is_leaving() {
            self.shared.complaints.complain(
                peer.address.ip(),
                Counter::ConnectionsEvicted,
                1,
                || format!("closed {peer}, to make room for others: see [server] max_connections"),
            );
        } else if !pending.bytes().is_empty() && until.is_none() {
            let error = format!("it ended {} bytes into a frame", pending.bytes().len());
            self.refuse(&peer, Counter::ConnectionCut, 1, &error);
        }
    }

    /// Reads one chunk and carries it, behind what the turn before left in
    /// `pending`. A connection that has to go does not wait for a lane.
    async fn turn(
        &self,
        stream: &mut Stream,
        peer: &Peer,
        seat: &Seat,
        pending: &mut Pending,
        protocol: &mut Option<frame::Protocol>,
    ) -> io::Result<Turn> {
        let mut taken = tokio::select! {
            biased;
            () = seat.evicted() => return Ok(Turn::Ended),
            taken = self.lanes.take() => taken,
        };
        let Lane { buffer, works, .. } = &mut *taken.lane;
        let carried = if pending.has_whole_frames() {
            let carried = self.carry(works, pending.bytes(), peer, seat).await;
            pending.consume(carried.bytes, carried.pause.leaves_frames());
            carried
        } else if pending.is_long() {
            // A long frame grows where it is, by what it lacks and no more.
            pending.grow(self.shared.frame_bytes_max);
            if !seat.set_pending(pending.capacity()) {
                return Ok(Turn::Ended);
            }
            match stream.try_read(pending.spare())? {
                0 => return Ok(Turn::Ended),
                bytes => pending.advance(bytes),
            }
            let carried = self.carry(works, pending.bytes(), peer, seat).await;
            pending.consume(carried.bytes, carried.pause.leaves_frames());
            carried
        } else {
            let start = pending.bytes().len();
            if let Some(front) = buffer.get_mut(..start) {
                front.copy_from_slice(pending.bytes());
            }
            let room = match self.shared.handover.holds_back() {
                true => start + CHUNK_BYTES_HELD,
                false => buffer.len(),
            };
            let end = match stream.try_read(buffer.get_mut(start..room).unwrap_or_default())? {
                0 => return Ok(Turn::Ended),
                bytes => start + bytes,
            };
            let chunk = buffer.get(..end).unwrap_or_default();
            // The first bytes tell, and it stays at that.
            *protocol = protocol.or_else(|| frame::protocol(chunk));
            if *protocol != Some(frame::Protocol::V1) {
                pending.keep(chunk, false);
                seat.heard(false);
                return Ok(match protocol {
                    Some(_) => Turn::Session,
                    None if seat.set_pending(pending.capacity()) => Turn::Carried,
                    None => Turn::Ended,
                });
            }
            let carried = self.carry(works, chunk, peer, seat).await;
            let rest = chunk.get(carried.bytes..).unwrap_or_default();
            pending.keep(rest, carried.pause.leaves_frames());
            carried
        };
        seat.heard(carried.bytes > 0);
        if let Some(hold) = works.take_hold() {
            // The gate has let it in; only the file does not take it yet.
            seat.prove();
            seat.set_pending(0);
            return Ok(wait_for(hold, taken, pending.capacity()).await);
        }
        Ok(match carried.pause {
            Pause::Broken => {
                pending.keep(&[], false);
                Turn::Ended
            }
            _ if !seat.set_pending(pending.capacity()) => Turn::Ended,
            _ if carried.bombs > 0 => Turn::Bombed,
            _ => Turn::Carried,
        })
    }

    /// Carries the frames of a chunk into files, as many as a turn allows.
    async fn carry(&self, works: &mut Works, chunk: &[u8], peer: &Peer, seat: &Seat) -> Carried {
        works.follow(&self.shared.table.load());
        works.tally.follow(peer.address.ip(), peer.transport);
        let stamp = self.shared.clock.stamp();
        let way = Way { protocol: Protocol::V1, tls: peer.transport == Transport::Tls };
        let mut carried = Carried { bytes: 0, bombs: 0, pause: Pause::More };
        loop {
            let rest = chunk.get(carried.bytes..).unwrap_or_default();
            let (bytes, pause) = works.carry(rest, &stamp, way, self.shared.frame_bytes_max);
            carried.bytes += bytes;
            carried.pause = pause;
            // Counted before it is handed over: from then on it must not be lost.
            let done = self.settle(works, peer);
            carried.bombs += done.refused_for(Counter::ZlibTooLong);
            if done.records > 0 {
                seat.prove();
            }
            self.shared.handover.hand_over(&mut works.batch).await;
            if pause != Pause::BatchFull {
                return carried;
            }
        }
    }

    /// Receives datagrams until it is time to stop.
    pub async fn receive(self: Arc<Self>, socket: UdpSocket, drops: Arc<Drops>) {
        let mut stop = self.shared.stop.clone();
        let mut bag = Mailbag::new(Arc::clone(&drops));
        let mut works = self.shared.works();
        let mut until: Option<Instant> = None;
        loop {
            match until {
                Some(until) if Instant::now() >= until => break,
                Some(_) => {}
                None => tokio::select! {
                    biased;
                    stop = stop.wait_for(Option::is_some) => until = end_of_reading(stop.as_deref()),
                    _ = socket.readable() => {}
                },
            }
            let received = match until {
                None => bag.receive(&socket),
                Some(_) => bag.receive_rest(&socket),
            };
            match received {
                Ok(dropped) => self.count_dropped(&drops, dropped),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && until.is_some() => break,
                // Nothing there, or an ICMP message about something sent,
                // which we never do.
                Err(_) => continue,
            }
            works.follow(&self.shared.table.load());
            let stamp = self.shared.clock.stamp();
            let mut turn_bytes = 0;
            for (datagram, address) in bag.datagrams() {
                let (datagram_max, payload_max) =
                    (self.shared.datagram_bytes_max, self.shared.frame_bytes_max);
                works.tally.follow(address.ip(), Transport::Udp);
                turn_bytes += works.carry_datagram(datagram, &stamp, datagram_max, payload_max);
                if works.has_refused() {
                    self.settle(&mut works, &Peer { transport: Transport::Udp, address });
                }
                if works.batch.is_full() {
                    self.count(&works.take_done());
                    self.shared.handover.hand_over(&mut works.batch).await;
                }
                // A flood must not keep others from their turn.
                if turn_bytes >= TURN_BYTES_MAX {
                    turn_bytes = 0;
                    tokio::task::yield_now().await;
                }
            }
            self.count(&works.take_done());
            self.shared.handover.hand_over(&mut works.batch).await;
            tokio::task::yield_now().await;
        }
        let rest = bag.discard_rest(&socket);
        self.shared.stats.add(Counter::UdpUnreadAtStop, rest.unread as u64);
        self.count_dropped(&drops, rest.by_kernel);
    }

    /// Counts what the kernel drops on a socket, from now on.
    ///
    /// # Errors
    /// What the system says.
    pub fn watch_drops(&self, socket: &UdpSocket) -> io::Result<Arc<Drops>> {
        let drops = Arc::new(Drops::of(socket)?);
        let mut watched = self.drops.lock().unwrap_or_else(PoisonError::into_inner);
        watched.push(Arc::clone(&drops));
        Ok(drops)
    }

    /// Asks the kernel what it has dropped, so that the counter is exact now:
    /// else it learns of drops with the next datagram.
    pub fn ask_for_drops(&self) {
        for drops in &*self.drops.lock().unwrap_or_else(PoisonError::into_inner) {
            match drops.ask() {
                Ok(dropped) => self.count_dropped(drops, dropped),
                Err(error) => debug!("udp {}: cannot count drops: {error}", drops.address()),
            }
        }
    }

    fn count_dropped(&self, drops: &Drops, dropped: u32) {
        if dropped > 0 {
            self.shared.stats.add(Counter::UdpDroppedByKernel, dropped.into());
            let (here, counter) = (drops.address(), Counter::UdpDroppedByKernel);
            self.shared.complaints.complain(here.ip(), counter, dropped.into(), || {
                format!(
                    "udp {here}: the kernel dropped {dropped} datagrams, its buffer was full; \
                     raise net.core.rmem_max, or send over TCP"
                )
            });
        }
    }

    /// Counts what the works did, and says what they refused.
    fn settle(&self, works: &mut Works, peer: &Peer) -> Done {
        let done = works.take_done();
        self.count(&done);
        for refused in &done.refused {
            self.count_refused(peer, refused.counter, refused.number, &refused.detail);
        }
        done
    }

    fn count(&self, done: &Done) {
        self.shared.stats.add(Counter::Frames, done.frames);
        self.shared.stats.add(Counter::Records, done.records);
    }

    /// Refuses something that is no record: it has neither host nor application.
    fn refuse(&self, peer: &Peer, counter: Counter, number: u64, detail: &str) {
        self.refuse_of(("", ""), peer, counter, number, detail);
    }

    /// Refuses something of a host and an application.
    fn refuse_of(
        &self,
        (host, app): (&str, &str),
        peer: &Peer,
        counter: Counter,
        number: u64,
        detail: &str,
    ) {
        let refused = Counts::refused(number);
        self.shared.ledger.add(peer.address.ip(), peer.transport, host, app, refused);
        self.count_refused(peer, counter, number, detail);
    }

    fn count_refused(&self, peer: &Peer, counter: Counter, number: u64, detail: &str) {
        self.shared.stats.add(counter, number);
        let say = || format!("refused {peer}: {}: {detail}", counter.name());
        self.shared.complaints.complain(peer.address.ip(), counter, number, say);
    }
}

/// What has been read is for a file that refuses. It is kept, and counts
/// against none of the limits at which a connection has to go. When those who
/// wait keep too much already, this one keeps its lane as well.
async fn wait_for(hold: Hold, lane: Taken<'_>, bytes: usize) -> Turn {
    if let Some(kept) = hold.keep(bytes) {
        return Turn::Held(Box::new(Waiting { hold, _kept: kept }));
    }
    hold.over().await;
    drop(lane);
    Turn::Carried
}

/// A connection that waits for a file, outside of a lane.
struct Waiting {
    hold: Hold,
    _kept: OwnedSemaphorePermit,
}

/// How a turn went.
enum Turn {
    /// Something was carried on; there may be more.
    Carried,
    /// The same, and among it were payloads that cost far more than they weigh.
    Bombed,
    /// The connection speaks the second protocol.
    Session,
    /// What was read waits for a file, and has its room meanwhile.
    Held(Box<Waiting>),
    /// There is nothing more to come, or nothing that can be understood.
    Ended,
}

/// How far carrying a chunk went.
struct Carried {
    /// Bytes of whole frames.
    bytes: usize,
    /// Payloads that inflated beyond the limit.
    bombs: u64,
    /// Why it ended there.
    pause: Pause,
}

/// Until when to read on, once it is time to stop.
fn end_of_reading<E>(stop: Result<&Option<Instant>, &E>) -> Option<Instant> {
    stop.ok().copied().flatten().or_else(|| Some(Instant::now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection that waits costs the size of its future, and thousands
    /// may wait.
    #[test]
    fn a_waiting_connection_is_small() {
        fn bytes<F: Future>(
            _: impl FnOnce(Arc<Road>, TcpStream, Stream, Peer, Seat) -> F,
        ) -> usize {
            std::mem::size_of::<F>()
        }
        let tcp = bytes(|road, _, stream, peer, seat| road.serve(stream, peer, seat));
        let tls = bytes(|road, stream, _, peer, seat| road.serve_tls(stream, peer, seat));
        assert!(tcp <= 1024 && tls <= 1024, "tcp {tcp}, tls {tls}");
    }
}
