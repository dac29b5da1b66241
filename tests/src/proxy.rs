//! A bad way to the daemon.
//! Connections -> the same to the daemon, delayed, cut at any byte, or swallowed.
//! Invariant: what passes is what was sent, in its order, up to where it ends.
//! Leaves out: altering bytes; without a secret nobody would notice.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::random::Random;

/// A listener that leads to the daemon.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    way: Arc<Way>,
    thread: Option<JoinHandle<()>>,
}

/// What all connections share.
#[derive(Debug, Default)]
struct Way {
    target: Mutex<Option<SocketAddr>>,
    is_calm: AtomicBool,
    is_over: AtomicBool,
    cuts: AtomicU64,
    holes: AtomicU64,
    delays: AtomicU64,
}

/// What happened on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Troubles {
    /// Connections that were cut at some byte.
    pub cuts: u64,
    /// Connections from some byte on of which nothing arrived any more, in
    /// either direction, while both sides believed them open.
    pub holes: u64,
    /// Connections that stood still for a while; what arrived then may have
    /// come from a client that was gone.
    pub delays: u64,
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    Cut,
    Hole,
    Delay(Duration),
}

/// One direction of a connection.
struct Pump {
    from: TcpStream,
    to: TcpStream,
    trouble: Option<(u64, Trouble)>,
    is_hole: Arc<AtomicBool>,
    way: Arc<Way>,
}

impl Proxy {
    /// Listens on loopback; leads nowhere yet.
    pub fn start(mut random: Random) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let way = Arc::new(Way::default());
        let theirs = Arc::clone(&way);
        let thread = std::thread::spawn(move || {
            for client in listener.incoming() {
                if theirs.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                carry(client, &theirs, &mut random);
            }
        });
        Proxy { address, way, thread: Some(thread) }
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads new connections there.
    pub fn lead_to(&self, daemon: SocketAddr) {
        *self.way.target.lock().expect("nobody panics with it") = Some(daemon);
    }

    /// From now on new connections have no trouble.
    pub fn calm(&self) {
        self.way.is_calm.store(true, Ordering::Relaxed);
    }

    /// What has happened.
    pub fn troubles(&self) -> Troubles {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Way { cuts, holes, delays, .. } = &*self.way;
        Troubles { cuts: count(cuts), holes: count(holes), delays: count(delays) }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.way.is_over.store(true, Ordering::Relaxed);
        // Wakes it up.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Two threads carry a connection; they end with it, at last with the daemon.
fn carry(client: TcpStream, way: &Arc<Way>, random: &mut Random) {
    let target = *way.target.lock().expect("nobody panics with it");
    let Some(daemon) = target.and_then(|target| TcpStream::connect(target).ok()) else { return };
    let troubles = draw_troubles(way, random);
    let is_hole = Arc::new(AtomicBool::new(false));
    let both = [(&client, &daemon), (&daemon, &client)];
    for ((from, to), trouble) in both.into_iter().zip(troubles) {
        let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
        let _ = to.set_nodelay(true);
        let (way, is_hole) = (Arc::clone(way), Arc::clone(&is_hole));
        let pump = Pump { from, to, trouble, is_hole, way };
        std::thread::spawn(move || pump.run());
    }
}

/// What is to happen to the server, and to the client, and behind which byte.
fn draw_troubles(way: &Way, random: &mut Random) -> [Option<(u64, Trouble)>; 2] {
    let trouble = match random.below(8) {
        0..=2 => Trouble::Cut,
        3 => Trouble::Hole,
        4 | 5 => Trouble::Delay(Duration::from_millis(1 + random.below(400))),
        _ => return [None, None],
    };
    // Among the first words, or later. There is less to tell to a client.
    let (is_early, to_client) = (random.below(4) == 0, random.below(2) == 0);
    let end = match (is_early, to_client) {
        (true, _) => 200,
        (false, true) => 500,
        (false, false) => 60_000,
    };
    let trouble =
        Some((random.below(end), trouble)).filter(|_| !way.is_calm.load(Ordering::Relaxed));
    if to_client { [None, trouble] } else { [trouble, None] }
}

impl Pump {
    fn run(mut self) {
        let (mut passed, mut buffer) = (0, vec![0; 32 << 10]);
        loop {
            let count = match self.from.read(&mut buffer) {
                Ok(count) if count > 0 => count,
                _ if self.is_hole.load(Ordering::Relaxed) => return,
                _ => {
                    let _ = self.to.shutdown(Shutdown::Write);
                    return;
                }
            };
            let mut bytes = &buffer[..count];
            let before = passed;
            passed += count as u64;
            if self.is_hole.load(Ordering::Relaxed) {
                continue;
            }
            if let Some((behind, trouble)) = self.trouble
                && passed > behind
            {
                self.trouble = None;
                let (front, rest) = bytes.split_at(usize::try_from(behind - before).expect("fits"));
                let _ = self.to.write_all(front);
                bytes = rest;
                match trouble {
                    Trouble::Cut => {
                        self.way.cuts.fetch_add(1, Ordering::Relaxed);
                        let _ = self.to.shutdown(Shutdown::Both);
                        let _ = self.from.shutdown(Shutdown::Both);
                        return;
                    }
                    Trouble::Hole => {
                        self.way.holes.fetch_add(1, Ordering::Relaxed);
                        self.is_hole.store(true, Ordering::Relaxed);
                        continue;
                    }
                    Trouble::Delay(pause) => {
                        self.way.delays.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(pause);
                    }
                }
            }
            if self.to.write_all(bytes).is_err() {
                let _ = self.from.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}
