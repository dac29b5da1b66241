//! A bad way to the daemon.
//! Connections -> the same to the daemon, delayed, cut, swallowed, or later than newer ones.
//! Invariant: what passes is what was sent, in its order, up to where it ends.
//! Leaves out: altering bytes; without a secret nobody would notice.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

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
    /// What was asked for, and has not happened yet.
    order: Mutex<Option<Order>>,
    is_calm: AtomicBool,
    is_over: AtomicBool,
    /// Connections that were ever accepted.
    accepted: AtomicU64,
    troubles: Mutex<Troubles>,
}

/// What happened on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Troubles {
    /// Connections that were cut at some byte.
    pub cuts: u64,
    /// Connections from some byte on of which nothing arrived any more, in
    /// either direction, while both sides believed them open.
    pub holes: u64,
    /// Connections that stood still for a while; what arrived then may have
    /// come from a client that was gone.
    pub delays: u64,
    /// Connections that had ended for the client; what it had sent over them
    /// arrived later, most often behind the beginning of a newer one.
    pub late: u64,
    /// Connections that reached the daemon only after a newer one.
    pub overtaken: u64,
}

/// What can happen on the way.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// The connection ends at some byte.
    Cut,
    /// Nothing arrives any more; after this time the connection ends.
    Hole(Duration),
    /// The connection stands still for so long.
    Delay(Duration),
    /// The connection ends for the client, and what it has sent by then arrives
    /// after so long. Only on the way to the server.
    Late(Duration),
    /// A new connection reaches the daemon so long after one that was made
    /// later, or after [`OVERTAKEN_MAX`].
    Overtaken(Duration),
}

/// A trouble that somebody wants.
#[derive(Clone, Copy, Debug)]
struct Order {
    trouble: Trouble,
    to_client: bool,
    behind_bytes: u64,
}

/// One direction of a connection.
struct Pump {
    from: TcpStream,
    to: TcpStream,
    to_client: bool,
    trouble: Option<(u64, Trouble)>,
    is_hole: Arc<AtomicBool>,
    way: Arc<Way>,
}

/// How long a new connection waits to be overtaken.
pub const OVERTAKEN_MAX: Duration = Duration::from_secs(6);

/// How long a hole lasts whose end nobody has asked for.
const HOLE: Duration = Duration::from_secs(3600);

/// How often something that lasts is looked at.
const SLICE: Duration = Duration::from_millis(20);

impl Proxy {
    /// Listens on loopback; leads nowhere yet. Every connection may have a
    /// trouble of its own.
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
                let troubles = draw_troubles(&theirs, &mut random);
                accept(client, &theirs, troubles);
            }
        });
        Proxy { address, way, thread: Some(thread) }
    }

    /// The same, but only what is ordered happens.
    pub fn start_calm() -> Proxy {
        let proxy = Proxy::start(Random::new(0));
        proxy.calm();
        proxy
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads new connections there.
    pub fn lead_to(&self, daemon: SocketAddr) {
        *lock(&self.way.target) = Some(daemon);
    }

    /// From now on new connections have no trouble, holes end, and what was
    /// ordered does not happen any more.
    pub fn calm(&self) {
        self.way.is_calm.store(true, Ordering::Relaxed);
        *lock(&self.way.order) = None;
    }

    /// Lets this happen once, behind so many more bytes of any connection in
    /// this direction; an order before it that was not carried out is void.
    pub fn order(&self, trouble: Trouble, to_client: bool, behind_bytes: u64) {
        let to_client = to_client && !matches!(trouble, Trouble::Late(_));
        *lock(&self.way.order) = Some(Order { trouble, to_client, behind_bytes });
    }

    /// What has happened.
    pub fn troubles(&self) -> Troubles {
        *lock(&self.way.troubles)
    }
}

impl Troubles {
    /// All together.
    pub fn total(&self) -> u64 {
        self.cuts + self.holes + self.delays + self.late + self.overtaken
    }
}

impl AddAssign for Troubles {
    fn add_assign(&mut self, other: Troubles) {
        self.cuts += other.cuts;
        self.holes += other.holes;
        self.delays += other.delays;
        self.late += other.late;
        self.overtaken += other.overtaken;
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

impl Way {
    fn count(&self, change: impl FnOnce(&mut Troubles)) {
        change(&mut lock(&self.troubles));
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::Relaxed)
    }

    fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Takes an order of this kind, if there is one.
    fn take_order(&self, is_meant: impl FnOnce(&Order) -> bool) -> Option<Order> {
        let mut order = lock(&self.order);
        if order.as_ref().is_some_and(is_meant) { order.take() } else { None }
    }
}

type Drawn = [Option<(u64, Trouble)>; 2];

fn accept(client: TcpStream, way: &Arc<Way>, troubles: Drawn) {
    let number = way.accepted.fetch_add(1, Ordering::Relaxed) + 1;
    let is_new = |order: &Order| matches!(order.trouble, Trouble::Overtaken(_));
    let Some(Order { trouble: Trouble::Overtaken(behind), .. }) = way.take_order(is_new) else {
        return carry(client, way, troubles);
    };
    let way = Arc::clone(way);
    std::thread::spawn(move || {
        let started = Instant::now();
        while way.accepted() == number && started.elapsed() < OVERTAKEN_MAX && !way.is_over() {
            std::thread::sleep(SLICE);
        }
        if way.accepted() > number {
            std::thread::sleep(behind);
            way.count(|troubles| troubles.overtaken += 1);
        }
        carry(client, &way, troubles);
    });
}

/// Two threads carry a connection; they end with it, at last with the daemon.
fn carry(client: TcpStream, way: &Arc<Way>, troubles: Drawn) {
    let target = *lock(&way.target);
    let Some(daemon) = target.and_then(|target| TcpStream::connect(target).ok()) else { return };
    let is_hole = Arc::new(AtomicBool::new(false));
    let both = [(&client, &daemon, false), (&daemon, &client, true)];
    for ((from, to, to_client), trouble) in both.into_iter().zip(troubles) {
        let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
        let _ = to.set_nodelay(true);
        let (way, is_hole) = (Arc::clone(way), Arc::clone(&is_hole));
        let pump = Pump { from, to, to_client, trouble, is_hole, way };
        std::thread::spawn(move || pump.run());
    }
}

/// What is to happen to the server, and to the client, and behind which byte.
fn draw_troubles(way: &Way, random: &mut Random) -> Drawn {
    let trouble = match random.below(8) {
        0..=2 => Trouble::Cut,
        3 => Trouble::Hole(HOLE),
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
    let trouble = Some((random.below(end), trouble)).filter(|_| !way.is_calm());
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
            self.look_for_order(before);
            if let Some((behind, trouble)) = self.trouble
                && passed > behind
            {
                self.trouble = None;
                let (front, rest) = bytes.split_at(usize::try_from(behind - before).expect("fits"));
                let _ = self.to.write_all(front);
                bytes = rest;
                match trouble {
                    Trouble::Cut => return self.cut(),
                    Trouble::Hole(length) => return self.swallow(length),
                    Trouble::Late(pause) => return self.be_late(bytes.to_vec(), pause),
                    // That is for connections which are new.
                    Trouble::Overtaken(_) => {}
                    Trouble::Delay(pause) => {
                        self.way.count(|troubles| troubles.delays += 1);
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

    /// Takes what was ordered for this direction.
    fn look_for_order(&mut self, before: u64) {
        let to_client = self.to_client;
        let is_ours = |order: &Order| {
            order.to_client == to_client && !matches!(order.trouble, Trouble::Overtaken(_))
        };
        if self.trouble.is_none()
            && let Some(order) = self.way.take_order(is_ours)
        {
            self.trouble = Some((before + order.behind_bytes, order.trouble));
        }
    }

    fn cut(&self) {
        self.way.count(|troubles| troubles.cuts += 1);
        self.close();
    }

    fn close(&self) {
        let _ = self.to.shutdown(Shutdown::Both);
        let _ = self.from.shutdown(Shutdown::Both);
    }

    /// Both sides believe the connection open; nothing passes.
    fn swallow(&mut self, length: Duration) {
        self.way.count(|troubles| troubles.holes += 1);
        self.is_hole.store(true, Ordering::Relaxed);
        let _ = self.from.set_read_timeout(Some(SLICE));
        let (started, mut buffer) = (Instant::now(), vec![0; 32 << 10]);
        while started.elapsed() < length && !self.way.is_over() && !self.way.is_calm() {
            match self.from.read(&mut buffer) {
                Ok(0) => return,
                Err(error) if !is_timeout(&error) => return,
                _ => {}
            }
        }
        self.close();
    }

    /// For the client it is over; what it has sent goes on later.
    fn be_late(&mut self, mut bytes: Vec<u8>, pause: Duration) {
        self.way.count(|troubles| troubles.late += 1);
        self.is_hole.store(true, Ordering::Relaxed);
        let _ = self.from.set_read_timeout(Some(Duration::from_millis(1)));
        let mut buffer = vec![0; 32 << 10];
        while let Ok(count @ 1..) = self.from.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..count]);
        }
        let _ = self.from.shutdown(Shutdown::Both);
        std::thread::sleep(pause);
        let _ = self.to.write_all(&bytes);
        let _ = self.to.shutdown(Shutdown::Write);
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics with it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::DEADLINE;

    fn proxy() -> (TcpListener, Proxy) {
        let daemon = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start_calm();
        proxy.lead_to(daemon.local_addr().unwrap());
        (daemon, proxy)
    }

    fn connect(proxy: &Proxy) -> TcpStream {
        let client = TcpStream::connect(proxy.address()).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client
    }

    /// All that the next connection brings, to its end.
    fn next(daemon: &TcpListener) -> String {
        let (mut connection, _) = daemon.accept().unwrap();
        let mut brought = String::new();
        connection.read_to_string(&mut brought).unwrap();
        brought
    }

    #[test]
    fn what_is_late_arrives_though_the_connection_is_over_for_the_client() {
        let (daemon, proxy) = proxy();
        proxy.order(Trouble::Late(Duration::from_millis(1)), false, 2);
        let mut client = connect(&proxy);
        client.write_all(b"hello").unwrap();
        // It ends, orderly or not, before the client has ended it.
        assert!(client.read(&mut [0]).unwrap_or(0) == 0);
        assert_eq!(next(&daemon), "hello");
        assert_eq!(proxy.troubles(), Troubles { late: 1, ..Troubles::default() });
    }

    #[test]
    fn a_connection_is_overtaken_by_one_that_is_made_later() {
        let (daemon, proxy) = proxy();
        proxy.order(Trouble::Overtaken(Duration::from_millis(1)), false, 0);
        for name in [b"first", b"other"] {
            connect(&proxy).write_all(name).unwrap();
        }
        assert_eq!([next(&daemon), next(&daemon)], ["other", "first"]);
        assert_eq!(proxy.troubles(), Troubles { overtaken: 1, ..Troubles::default() });
    }

    #[test]
    fn a_cut_is_behind_the_byte_that_was_asked_for() {
        let (daemon, proxy) = proxy();
        proxy.order(Trouble::Cut, false, 2);
        connect(&proxy).write_all(b"hello").unwrap();
        assert_eq!(next(&daemon), "he");
        assert_eq!(proxy.troubles(), Troubles { cuts: 1, ..Troubles::default() });
    }
}
