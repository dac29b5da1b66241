//! Whatever bytes arrive on whatever port: the daemon stays up, others do not
//! wait, and memory stays below 64 MiB.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use loghog_tests::certs::Authority;
use loghog_tests::frames::{deflated, frame, raw_zlib};
use loghog_tests::honest::Honest;
use loghog_tests::process::raise_descriptors;
use loghog_tests::{DEADLINE, Daemon, Scenario, wait_until};

/// The promise, in bytes.
const RSS_BYTES_MAX: u64 = 64 << 20;

/// What an honest client may have to wait for its line while the machine is
/// busy with its enemies and with other tests.
const WAIT_MAX: Duration = Duration::from_secs(2);

#[test]
fn zlib_bombs_take_neither_memory_nor_the_turn_of_others() {
    let daemon = Scenario::new().start();
    let honest = Honest::start(&daemon);
    // A quarter of a MiB that wants to be 256, and one that stops right at the limit.
    let bomb = raw_zlib(&deflated(&vec![0; 256 << 20]));
    let full = raw_zlib(&deflated(&vec![b' '; 1 << 20]));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
                for _ in 0..20 {
                    socket.write_all(&bomb).unwrap();
                    socket.write_all(&full).unwrap();
                }
            });
        }
    });
    let stats = daemon.wait_for_count("zlib_too_long", 160);
    assert_eq!(stats["zlib_too_long"], 160);
    assert_unharmed(daemon, honest);
}

#[test]
fn huge_sizes_are_refused_from_the_header_alone() {
    let daemon = Scenario::new().start();
    let honest = Honest::start(&daemon);
    for size in [u32::MAX, 1 << 31, (1 << 20) + 1] {
        for _ in 0..50 {
            let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
            socket.set_read_timeout(Some(DEADLINE)).unwrap();
            socket.write_all(&[&size.to_be_bytes()[..], &[0; 4]].concat()).unwrap();
            assert_eq!(socket.read(&mut [0]).unwrap(), 0, "closed at once");
        }
    }
    assert_eq!(daemon.stats()["frame_too_long"], 150);
    assert_unharmed(daemon, honest);
}

#[test]
fn unfinished_frames_of_hundreds_share_a_bounded_store() {
    raise_descriptors();
    let daemon = Scenario::new().start();
    let honest = Honest::start(&daemon);
    let mut almost = frame("plain", "", "h", &"x".repeat((1 << 20) - 200));
    almost.pop();
    let mut open = Vec::new();
    for _ in 0..300 {
        let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        // Who is evicted meanwhile cannot send it all.
        let _ = socket.write_all(&almost);
        open.push(socket);
    }
    let mut evicted = 0;
    wait_until(DEADLINE, "the store is full and at rest", || {
        std::thread::sleep(Duration::from_millis(200));
        let before = std::mem::replace(&mut evicted, daemon.stats()["frames_evicted"]);
        (evicted >= 200 && evicted == before).then_some(())
    });
    // Whoever comes now finds room: those who have kept others waiting longest go.
    let mut late = TcpStream::connect(daemon.tcp()).unwrap();
    late.write_all(&almost).unwrap();
    late.write_all(b"}").unwrap();
    daemon.wait_for_records("plain/root.log", 1);
    assert_unharmed(daemon, honest);
}

#[test]
fn random_bytes_on_every_port_do_no_harm() {
    let authority = Authority::new();
    let daemon = Scenario::new().tls(&authority).start();
    let honest = Honest::start(&daemon);
    let seed = u64::from(std::process::id()) | 1 << 40;
    println!("seed {seed}");
    let mut noise = Noise(seed);
    for round in 0..150_usize {
        let length = [3, 100, 4_000, 100_000][round % 4];
        for port in [daemon.tcp(), daemon.tls()] {
            let mut bytes = noise.bytes(length);
            match round % 3 {
                // A sound frame header, so that the payload is looked at as well.
                0 => bytes.splice(0..0, header(length)).for_each(drop),
                // The start of a TLS record.
                1 => bytes.splice(0..0, [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).for_each(drop),
                _ => {}
            }
            send(port, &bytes);
        }
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..10 {
            let mut datagram = header(900);
            datagram.extend(noise.bytes(900));
            udp.send_to(&datagram[round % 8..], daemon.udp()).unwrap();
        }
    }
    assert_unharmed(daemon, honest);
}

/// Sends what the daemon takes of it.
fn send(port: SocketAddr, bytes: &[u8]) {
    let mut socket = TcpStream::connect(port).unwrap();
    socket.set_write_timeout(Some(DEADLINE)).unwrap();
    let _ = socket.write_all(bytes);
}

/// The header of a frame; every other one says that it is compressed.
fn header(length: usize) -> Vec<u8> {
    let size = u32::try_from(length).unwrap();
    [size.to_be_bytes(), (size / 100 % 2).to_be_bytes()].concat()
}

/// The daemon is as good as before: it serves, it is small, it stops.
fn assert_unharmed(daemon: Daemon, honest: Honest) {
    let longest = honest.stop();
    assert!(longest < WAIT_MAX, "an honest message took {longest:?}");
    let peak = daemon.rss_bytes_peak();
    assert!(peak < RSS_BYTES_MAX, "the daemon took {} KiB", peak >> 10);
    println!("longest wait {longest:?}, peak {} KiB", peak >> 10);
    assert!(daemon.stop().status.success());
}

/// Bytes without a meaning (xorshift64).
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.extend(self.0.to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}
