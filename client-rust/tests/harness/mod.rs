//! A small LogHog server for the tests: it decodes with `wire` and keeps all.
//! Sockets on loopback, port 0 -> `Received` in the order of arrival.
//! Invariant: dropping a server closes its sockets and ends its threads.
//! Leaves out: facilities, signatures and files.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

pub mod certificates;
pub mod v2;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use loghog::{Client, Message};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::{Domain, SockAddr, Socket, Type};
use wire::frame::{self, Next};
use wire::inflate::Inflater;
use wire::limits::FRAME_BYTES_MAX;
use wire::v1::{Scratch, decode};

/// Nothing that works takes this long, however busy the machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One message as the server got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub app: String,
    pub module: String,
    pub hostname: String,
    pub body: String,
    pub stamp: i64,
    pub nsecs: i64,
    pub signature: Option<String>,
    pub zlib: bool,
    /// Which connection it came over, from 1.
    pub connection: usize,
}

#[derive(Default)]
struct Shared {
    received: Mutex<Vec<Received>>,
    arrival: Condvar,
    stopping: AtomicBool,
    /// Closed by `Server::drop`, so that blocked readers end.
    streams: Mutex<Vec<TcpStream>>,
}

impl Shared {
    fn keep(&self, frame: frame::Frame<'_>, connection: usize) {
        if frame.payload.is_empty() {
            return;
        }
        let mut plain = Vec::new();
        let zlib = frame.flags.is_zlib();
        if zlib {
            Inflater::new().inflate(frame.payload, FRAME_BYTES_MAX as usize, &mut plain).unwrap();
        } else {
            plain.extend_from_slice(frame.payload);
        }
        let mut scratch = Scratch::default();
        let record = decode(&plain, &mut scratch).expect("a client sends valid records");
        let received = Received {
            app: record.app_id.into(),
            module: record.module.into(),
            hostname: record.hostname.into(),
            body: record.body.into(),
            stamp: record.stamp,
            nsecs: record.nsecs,
            signature: record.signature.map(Into::into),
            zlib,
            connection,
        };
        self.received.lock().unwrap().push(received);
        self.arrival.notify_all();
    }

    fn read_all(&self, stream: &mut impl Read, connection: usize) {
        let mut bytes = Vec::new();
        let mut chunk = [0; 65_536];
        while let Ok(read @ 1..) = stream.read(&mut chunk) {
            bytes.extend_from_slice(&chunk[..read]);
            let mut start = 0;
            // What is no frame at all, a TLS greeting for one, is never acted on.
            while let Ok(Next::Frame(frame)) = frame::next(&bytes[start..], FRAME_BYTES_MAX) {
                self.keep(frame, connection);
                start += frame.bytes;
            }
            bytes.drain(..start);
        }
    }
}

/// A server on TCP or TLS.
pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    pub fn tcp() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), None, b"")
    }

    /// On an address that a server before had.
    pub fn tcp_at(address: SocketAddr) -> Self {
        Self::at(address, None, b"")
    }

    /// One that says something as soon as a client connects.
    pub fn talkative(greeting: &'static [u8]) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), None, greeting)
    }

    pub fn tls(config: Arc<ServerConfig>) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), Some(config), b"")
    }

    /// On a port that a server before had.
    pub fn tls_at(port: u16, config: Arc<ServerConfig>) -> Self {
        Self::at(([127, 0, 0, 1], port).into(), Some(config), b"")
    }

    fn at(address: SocketAddr, tls: Option<Arc<ServerConfig>>, greeting: &'static [u8]) -> Self {
        Self::on(TcpListener::bind(address).unwrap(), tls, greeting)
    }

    fn on(listener: TcpListener, tls: Option<Arc<ServerConfig>>, greeting: &'static [u8]) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared, tls.as_ref(), greeting)
        });
        Server { address, shared, accepting: Some(accepting) }
    }

    /// Waits until `count` messages have come; all that have.
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        wait_for(&self.shared, count)
    }

    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }
}

fn accept(
    listener: &TcpListener,
    shared: &Arc<Shared>,
    tls: Option<&Arc<ServerConfig>>,
    greeting: &[u8],
) {
    let mut readers = Vec::new();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        shared.streams.lock().unwrap().push(stream.try_clone().unwrap());
        stream.write_all(greeting).unwrap();
        let (shared, tls, number) = (Arc::clone(shared), tls.cloned(), readers.len() + 1);
        readers.push(std::thread::spawn(move || match tls {
            Some(config) => {
                let tls = ServerConnection::new(config).unwrap();
                shared.read_all(&mut StreamOwned::new(tls, stream), number);
            }
            None => shared.read_all(&mut stream, number),
        }));
    }
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let joined = self.accepting.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || joined.is_none_or(|joined| joined.is_ok()));
    }
}

/// A server on UDP.
pub struct UdpServer {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    reading: Option<JoinHandle<()>>,
}

impl UdpServer {
    pub fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap())
    }

    pub fn at(address: SocketAddr) -> Self {
        let socket = UdpSocket::bind(address).unwrap();
        let address = socket.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let reading = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let mut bytes = vec![0; 65_536];
                while let Ok((read, _)) = socket.recv_from(&mut bytes) {
                    if shared.stopping.load(Ordering::SeqCst) {
                        break;
                    }
                    let frame = frame::datagram(&bytes[..read], FRAME_BYTES_MAX).unwrap();
                    assert_eq!(frame.bytes, read, "one datagram carries one frame");
                    shared.keep(frame, 1);
                }
            }
        });
        UdpServer { address, shared, reading: Some(reading) }
    }

    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        wait_for(&self.shared, count)
    }
}

impl Drop for UdpServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        let _ = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.send_to(b"", self.address));
        let joined = self.reading.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || joined.is_none_or(|joined| joined.is_ok()));
    }
}

fn wait_for(shared: &Shared, count: usize) -> Vec<Received> {
    let received = shared.received.lock().unwrap();
    let (received, timeout) = shared
        .arrival
        .wait_timeout_while(received, PATIENCE, |received| received.len() < count)
        .unwrap();
    assert!(!timeout.timed_out(), "{} of {count} messages came", received.len());
    received.clone()
}

/// Waits until something holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A loopback address where nobody listens, and nobody else can begin to.
pub struct Reserved {
    socket: Socket,
    pub address: SocketAddr,
}

impl Reserved {
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Reserved { socket, address }
    }

    /// A server begins to listen there.
    pub fn open(self) -> Server {
        self.socket.listen(128).unwrap();
        Server::on(self.socket.into(), None, b"")
    }
}

/// A loopback address where a connection is neither made nor refused: as many
/// already wait as the listener has places.
pub struct Unanswered {
    _listener: Socket,
    _waiting: Vec<Socket>,
    pub address: SocketAddr,
}

impl Unanswered {
    pub fn new() -> Self {
        let Reserved { socket, address } = Reserved::new();
        socket.listen(0).unwrap();
        let connected = || {
            let waiting = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let limit = Duration::from_millis(100);
            waiting.connect_timeout(&SockAddr::from(address), limit).ok().map(|()| waiting)
        };
        let waiting = std::iter::from_fn(connected).collect();
        Unanswered { _listener: socket, _waiting: waiting, address }
    }
}

/// A client of a server that is not there.
pub fn client_without_server() -> (Client, Reserved) {
    let nobody = Reserved::new();
    let client = loghog::builder("app").address(nobody.address.to_string());
    (client.build_client().unwrap(), nobody)
}

/// Sends a message of which only the text matters.
pub fn say(client: &Client, body: &str) {
    client.send(&Message { module: "web", stamp: 1_353_836_302, nsecs: 120_430_000, body });
}

pub fn bodies(received: &[Received]) -> Vec<&str> {
    received.iter().map(|received| received.body.as_str()).collect()
}

/// Asserts that no message is unaccounted for.
pub fn balanced(client: &Client) -> loghog::Stats {
    let stats = client.stats();
    let known = stats.written + stats.dropped.total() + stats.queued;
    assert_eq!(stats.enqueued, known, "{stats:?}");
    stats
}
