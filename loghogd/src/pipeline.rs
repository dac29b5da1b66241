//! The road. Joins the rooms with bounded channels; the only place that
//! knows neighbours.
//!
//! ```text
//! accept    sockets           -> Chunk: bytes and who sent them
//! decode    Chunk             -> Record
//! gate      Record            -> Admitted: the record and its facility
//! persist   Admitted          -> lines in a file, synced
//! rotate    a due file        -> a closed segment
//! ```
//!
//! A connection is a task that waits without a buffer. When there is
//! something to read it takes a `Lane`: buffers and readers that it shares
//! with all others, one at a time. In its lane it reads a chunk, carries it
//! through decode and gate into a batch of lines, and hands the batch over to
//! persist, whose thread writes. The only queues are the one for a lane and
//! the one in front of persist; both make senders wait, and drop nothing.

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
pub mod decode;
pub mod gate;
mod lane;
pub mod persist;
pub mod rotate;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::debug;
use wire::frame::{self, Next};

use self::accept::Stream;
use self::accept::udp::Mailbag;
use self::lane::{Done, Lane, Lanes, Pause, Works};
use self::persist::writer::Handover;
use crate::clock::Clock;
use crate::complaints::Complaints;
use crate::config::facility::Table;
use crate::connections::{Connections, Peer, Seat, Transport};
use crate::limits::{DRAIN_TIME_MAX, HANDSHAKE_TIME_MAX, PENDING_BYTES_MOVED_MAX};
use crate::stats::{Counter, Stats};

/// What all connections share.
#[derive(Debug)]
pub struct Road {
    /// The facilities in force.
    pub table: ArcSwap<Table>,
    /// The certificates in force, where we listen for TLS.
    pub tls: Option<ArcSwap<ServerConfig>>,
    /// What is counted.
    pub stats: Arc<Stats>,
    /// What is said of peers.
    pub complaints: Complaints,
    /// Who is connected.
    pub connections: Arc<Connections>,
    /// The time.
    pub clock: Clock,
    /// Longest payload of a stream's frame, before and after inflating, in bytes.
    pub frame_bytes_max: u32,
    /// Longest payload of a datagram's frame, in bytes; what it inflates to
    /// is bounded by `frame_bytes_max`.
    pub datagram_bytes_max: u32,
    lanes: Lanes,
    handover: Handover,
    stop: watch::Receiver<bool>,
}

/// What a [`Road`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// See [`Road::table`].
    pub table: Arc<Table>,
    /// See [`Road::tls`].
    pub tls: Option<Arc<ServerConfig>>,
    /// See [`Road::stats`].
    pub stats: Arc<Stats>,
    /// See [`Road::complaints`].
    pub complaints: Complaints,
    /// See [`Road::connections`].
    pub connections: Arc<Connections>,
    /// See [`Road::clock`].
    pub clock: Clock,
    /// See [`Road::frame_bytes_max`].
    pub frame_bytes_max: u32,
    /// See [`Road::datagram_bytes_max`].
    pub datagram_bytes_max: u32,
    /// How many connections may work at the same time.
    pub lanes: usize,
    /// The way to the disk.
    pub handover: Handover,
    /// Becomes true when it is time to stop.
    pub stop: watch::Receiver<bool>,
}

impl Road {
    /// Joins the rooms.
    pub fn new(parts: Parts) -> Arc<Road> {
        let works = || Works::new(Arc::clone(&parts.table), parts.handover.batch());
        Arc::new(Road {
            lanes: Lanes::new((0..parts.lanes).map(|_| works())),
            table: ArcSwap::new(Arc::clone(&parts.table)),
            tls: parts.tls.map(ArcSwap::new),
            stats: parts.stats,
            complaints: parts.complaints,
            connections: parts.connections,
            clock: parts.clock,
            frame_bytes_max: parts.frame_bytes_max,
            datagram_bytes_max: parts.datagram_bytes_max,
            handover: parts.handover,
            stop: parts.stop,
        })
    }

    /// Accepts connections until it is time to stop.
    pub async fn accept(self: Arc<Self>, transport: Transport, listener: TcpListener) {
        let mut stop = self.stop.clone();
        let arrived = |stream: TcpStream, address: SocketAddr| {
            let peer = Peer { transport, address };
            let Some(seat) = self.connections.seat() else {
                self.complaints.complain(address.ip(), Counter::ConnectionsRefused, 1, || {
                    format!("refused {peer}: there are too many connections; raise [server] max_connections")
                });
                return;
            };
            let road = Arc::clone(&self);
            tokio::spawn(async move {
                match transport {
                    Transport::Tls => road.serve_tls(stream, peer, seat).await,
                    _ => road.serve(Stream::tcp(stream), peer, seat).await,
                }
            });
        };
        tokio::select! {
            () = accept::tcp::accept(&listener, arrived) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    async fn serve_tls(self: Arc<Self>, stream: TcpStream, peer: Peer, seat: Seat) {
        let Some(tls) = &self.tls else { return };
        let mut stop = self.stop.clone();
        // Boxed: the handshake needs far more room than the connection later.
        let handshake =
            Box::pin(accept::tls::handshake(stream, &seat, HANDSHAKE_TIME_MAX, || tls.load_full()));
        let outcome = tokio::select! {
            outcome = handshake => outcome,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match outcome {
            Ok(stream) => {
                seat.prove();
                self.serve(Stream::tls(stream), peer, seat).await;
            }
            Err(error) => match error.counter() {
                Some(counter) => self.refuse(&peer, counter, 1, &error.to_string()),
                None => debug!("{peer}: {error}"),
            },
        }
    }

    /// Carries everything that a connection sends into files, until it ends.
    async fn serve(self: Arc<Self>, mut stream: Stream, peer: Peer, seat: Seat) {
        let mut stop = self.stop.clone();
        let mut pending = Vec::new();
        let mut until: Option<Instant> = None;
        loop {
            match until {
                None => tokio::select! {
                    ready = stream.readable() => if ready.is_err() { break },
                    () = seat.evicted() => {
                        debug!("{peer} had to go, to make room");
                        break;
                    }
                    _ = stop.wait_for(|stop| *stop) => until = Some(Instant::now() + DRAIN_TIME_MAX),
                },
                // What was sent before the stop is read, up to a point.
                Some(until) if Instant::now() >= until => break,
                Some(_) => {}
            }
            match self.turn(&mut stream, &peer, &seat, &mut pending).await {
                Ok(Turn::Read) => {}
                Ok(Turn::Ended) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && until.is_none() => {}
                Err(error) => {
                    debug!("{peer}: {error}");
                    break;
                }
            }
        }
        if !pending.is_empty() && until.is_none() && !seat.is_leaving() {
            let error = format!("it ended {} bytes into a frame", pending.len());
            self.refuse(&peer, Counter::ConnectionCut, 1, &error);
        }
    }

    /// Reads one chunk and carries it. `pending` is the frame that the chunk
    /// before left unfinished.
    async fn turn(
        &self,
        stream: &mut Stream,
        peer: &Peer,
        seat: &Seat,
        pending: &mut Vec<u8>,
    ) -> io::Result<Turn> {
        let mut taken = self.lanes.take().await;
        let Lane { buffer, works } = &mut *taken.lane;
        let start = pending.len();
        let in_place = start > PENDING_BYTES_MOVED_MAX;
        let end = if in_place {
            // A long frame grows where it is, by what it lacks and no more.
            grow(pending, self.frame_bytes_max);
            let end = read_behind(stream, pending, start);
            pending.truncate(*end.as_ref().unwrap_or(&start));
            end?
        } else {
            if let Some(front) = buffer.get_mut(..start) {
                front.copy_from_slice(pending);
            }
            read_behind(stream, buffer, start)?
        };
        if end == start {
            return Ok(Turn::Ended);
        }
        let carried = if in_place {
            let carried = self.carry(works, pending, peer, seat).await;
            pending.drain(..carried.unwrap_or(end));
            carried
        } else {
            let chunk = buffer.get(..end).unwrap_or(&[]);
            let carried = self.carry(works, chunk, peer, seat).await;
            pending.clear();
            pending.extend_from_slice(chunk.get(carried.unwrap_or(end)..).unwrap_or(&[]));
            carried
        };
        if pending.len() <= PENDING_BYTES_MOVED_MAX {
            pending.shrink_to_fit();
        }
        seat.set_pending(pending.capacity());
        Ok(if carried.is_some() { Turn::Read } else { Turn::Ended })
    }

    /// Carries the frames of a chunk into files. Returns how many bytes they
    /// were, or nothing when the bytes behind them can never be a frame.
    async fn carry(
        &self,
        works: &mut Works,
        chunk: &[u8],
        peer: &Peer,
        seat: &Seat,
    ) -> Option<usize> {
        works.follow(&self.table.load());
        let stamp = self.clock.stamp();
        let mut consumed = 0;
        let outcome = loop {
            let rest = chunk.get(consumed..).unwrap_or(&[]);
            let (bytes, pause) = works.carry(rest, &stamp, self.frame_bytes_max);
            consumed += bytes;
            match pause {
                Pause::BatchFull => self.handover.hand_over(&mut works.batch).await,
                Pause::Turn => tokio::task::yield_now().await,
                Pause::More => break Some(consumed),
                Pause::Broken => break None,
            }
        };
        self.handover.hand_over(&mut works.batch).await;
        if self.settle(works, peer) > 0 {
            seat.prove();
        }
        outcome
    }

    /// Receives datagrams until it is time to stop.
    pub async fn receive(self: Arc<Self>, socket: UdpSocket) {
        let mut stop = self.stop.clone();
        let mut bag = Mailbag::new();
        let mut works = Works::new(self.table.load_full(), self.handover.batch());
        let mut stopping = false;
        loop {
            if !stopping {
                tokio::select! {
                    _ = socket.readable() => {}
                    _ = stop.wait_for(|stop| *stop) => stopping = true,
                }
            }
            match bag.receive(&socket) {
                Ok(dropped) => self.count_dropped(&socket, dropped),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !stopping => continue,
                Err(_) if stopping => break,
                // An ICMP message about something sent; we send nothing.
                Err(_) => continue,
            }
            works.follow(&self.table.load());
            let stamp = self.clock.stamp();
            for (datagram, address) in bag.datagrams() {
                works.carry_datagram(
                    datagram,
                    &stamp,
                    self.datagram_bytes_max,
                    self.frame_bytes_max,
                );
                if works.batch.is_full() {
                    self.handover.hand_over(&mut works.batch).await;
                }
                if works.has_refused() {
                    self.settle(&mut works, &Peer { transport: Transport::Udp, address });
                }
            }
            self.handover.hand_over(&mut works.batch).await;
            self.count(&works.take_done());
        }
    }

    fn count_dropped(&self, socket: &UdpSocket, dropped: u32) {
        if dropped > 0 {
            self.stats.add(Counter::UdpDroppedByKernel, dropped.into());
            if let Ok(here) = socket.local_addr() {
                self.complaints.complain(here.ip(), Counter::UdpDroppedByKernel, dropped.into(), || {
                    format!(
                        "udp {here}: the kernel dropped {dropped} datagrams, its buffer was full; \
                         raise net.core.rmem_max, or send over TCP"
                    )
                });
            }
        }
    }

    /// Counts what the works did and says what they refused. Returns how
    /// many records passed.
    fn settle(&self, works: &mut Works, peer: &Peer) -> u64 {
        let done = works.take_done();
        self.count(&done);
        for refused in done.refused {
            self.refuse(peer, refused.counter, refused.number, &refused.detail);
        }
        done.records
    }

    fn count(&self, done: &Done) {
        self.stats.add(Counter::Frames, done.frames);
        self.stats.add(Counter::Records, done.records);
    }

    fn refuse(&self, peer: &Peer, counter: Counter, number: u64, detail: &str) {
        self.stats.add(counter, number);
        let say = || format!("refused {peer}: {}: {detail}", counter.name());
        self.complaints.complain(peer.address.ip(), counter, number, say);
    }
}

enum Turn {
    /// Something was read and carried.
    Read,
    /// There is nothing more to come, or nothing that can be understood.
    Ended,
}

/// Makes room behind the unfinished frame for what it lacks, but never for
/// more than it has already sent: a header's word alone takes no memory.
fn grow(pending: &mut Vec<u8>, frame_bytes_max: u32) {
    let missing = match frame::next(pending, frame_bytes_max) {
        Ok(Next::More { bytes_missing }) => bytes_missing,
        _ => 0,
    };
    let room = missing.min(pending.len());
    pending.reserve_exact(room);
    pending.resize(pending.len() + room, 0);
}

/// Reads what is there behind `start`; returns where it ends.
fn read_behind(stream: &mut Stream, buffer: &mut [u8], start: usize) -> io::Result<usize> {
    let room = buffer.get_mut(start..).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(start + stream.try_read(room)?)
}
