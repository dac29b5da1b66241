//! A tiny HTTP server that answers as it is told.
//! A function from a request to an `Answer` -> a server on loopback.
//! Invariant: each connection brings one request; nothing outlives the server.
//! Leaves out: HTTP, but for the little that a client needs to see trouble.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// What a request gets.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A status, headers each with its line's end, and a body.
    Status(u16, &'static str, String),
    /// Half of an answer, then the end of the connection.
    Half,
    /// The connection ends without a word.
    Gone,
    /// Nothing, for as long as the client waits.
    Silence,
}

/// A running server.
#[derive(Debug)]
pub struct FakeHttp {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    requests: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl FakeHttp {
    /// Starts one; `answer` is asked with the method and the path of each request.
    pub fn start(answer: impl Fn(&str, &str) -> Answer + Send + 'static) -> FakeHttp {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (ended, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (seen, over) = (Arc::clone(&requests), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            // Who gets no answer holds his connection until the end.
            let silent = Mutex::new(Vec::new());
            for socket in listener.incoming() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let Ok(socket) = socket else { continue };
                if let Some((method, path)) = request(&socket) {
                    seen.fetch_add(1, Ordering::Relaxed);
                    match answer(&method, &path) {
                        Answer::Silence => silent.lock().expect("no panic").push(socket),
                        told => tell(socket, &told),
                    }
                }
            }
        });
        FakeHttp { address, ended, requests, thread: Some(thread) }
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests there were.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for FakeHttp {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // It is woken by a connection of ours.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads a request with its body; none when the client has gone.
fn request(socket: &TcpStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(socket);
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    let mut words = first.split(' ').map(str::to_owned);
    let asked = (words.next()?, words.next()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).ok()?;
    Some(asked)
}

fn tell(mut socket: TcpStream, answer: &Answer) {
    let text = match answer {
        Answer::Status(status, headers, body) => format!(
            "HTTP/1.1 {status} So\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        ),
        Answer::Half => "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf of".to_owned(),
        Answer::Gone | Answer::Silence => String::new(),
    };
    // The client may have gone.
    let _ = socket.write_all(text.as_bytes());
}
