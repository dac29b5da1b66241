//! Messages of every size, cut anywhere on their way, arrive whole and in
//! order, over TCP and TLS.

use std::io::Write;
use std::net::TcpStream;

use loghog_tests::certs::Authority;
use loghog_tests::frames::{compressed, frame};
use loghog_tests::tls::connect;
use loghog_tests::{DEADLINE, Scenario, wait_until};

const MESSAGES: usize = 3_000;

#[test]
fn messages_of_every_size_arrive_in_order() {
    let authority = Authority::new();
    let client = authority.client("web-1");
    let daemon = Scenario::new().tls(&authority).start();
    let seed = u64::from(std::process::id()) << 16 | 1;
    println!("seed {seed}");
    std::thread::scope(|scope| {
        scope.spawn(|| send(TcpStream::connect(daemon.tcp()).unwrap(), "", seed));
        let tls = connect(daemon.tls(), &authority.certificate(), Some(&client)).unwrap();
        scope.spawn(|| send(tls, "web", seed + 2));
    });
    let sent = u64::try_from(2 * MESSAGES).unwrap();
    wait_until(DEADLINE, "all messages are written", || {
        (daemon.stats()["lines"] >= sent).then_some(())
    });
    let stopped = daemon.stop();
    for (file, seed) in [("plain/root.log", seed), ("plain/web.log", seed + 2)] {
        let mut sizes = Sizes(seed);
        let records = stopped.site.records(file);
        assert_eq!(records.len(), MESSAGES);
        for (number, record) in records.iter().enumerate() {
            let body = sizes.body(number);
            assert!(*record == format!(" - h - {body}"), "message {number} of {file} is not whole");
        }
    }
    assert_eq!(stopped.stats()["frames"], sent);
}

/// Sends all messages, in pieces that do not care for frames.
fn send(mut socket: impl Write, module: &str, seed: u64) {
    let (mut sizes, mut cuts) = (Sizes(seed), Sizes(seed + 4));
    let mut waiting = Vec::new();
    for number in 0..MESSAGES {
        let body = sizes.body(number);
        let encode = if number % 7 == 0 { compressed } else { frame };
        waiting.extend(encode("plain", module, "h", &body));
        let piece = cuts.next().min(waiting.len());
        socket.write_all(&waiting[..piece]).unwrap();
        socket.flush().unwrap();
        waiting.drain(..piece);
    }
    socket.write_all(&waiting).unwrap();
    socket.flush().unwrap();
}

/// Lengths from 0 to about 800 KB, short ones much more often (xorshift64).
struct Sizes(u64);

impl Sizes {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let below = match self.0 >> 32 & 127 {
            0 => 800_000,
            1..=3 => 70_000,
            4..=15 => 9_000,
            _ => 300,
        };
        usize::try_from((self.0 & 0xffff_ffff) % below).unwrap()
    }

    fn body(&mut self, number: usize) -> String {
        format!("number {number} {}", "x".repeat(self.next()))
    }
}
