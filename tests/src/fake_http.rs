//! A tiny HTTP server that answers as it is told.
//! A function from a request to an `Answer` -> a server on loopback.
//! Invariant: each connection brings one request; nothing outlives the server.
//! Leaves out: HTTP, but for the little that a client needs to see trouble.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// This as it stands, then the end of the connection.
    Text(String),
    /// The same, before the request has been read: closed the way RFC 9112, 9.6, wants it,
    /// our own half first, and the rest when the other one has gone.
    Early(String),
    /// The same, and nothing more, for as long as the client waits.
    Hanging(String),
}

/// A running server.
#[derive(Debug)]
pub struct FakeHttp {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeHttp {
    /// Starts one; `answer` is asked with the method and the path of each request.
    pub fn start(answer: impl Fn(&str, &str) -> Answer + Send + 'static) -> FakeHttp {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (ended, asked) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (over, seen): (_, Arc<Mutex<Vec<String>>>) = (Arc::clone(&ended), Arc::clone(&asked));
        let thread = thread::spawn(move || {
            // Who gets no whole answer holds his connection until the end.
            let mut waiting = Vec::new();
            for socket in listener.incoming() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let Ok(socket) = socket else { continue };
                let mut reader = BufReader::new(&socket);
                let Some(head) = read_head(&mut reader) else { continue };
                let mut words = head.split(' ');
                let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
                let told = answer(method, path);
                let body = match told {
                    Answer::Early(_) => Some(String::new()),
                    _ => read_body(&mut reader, &head),
                };
                let Some(body) = body else { continue };
                seen.lock().expect("no panic").push(head + &body);
                if let Some(socket) = tell(socket, &told) {
                    waiting.push(socket);
                }
            }
        });
        FakeHttp { address, ended, asked, thread: Some(thread) }
    }

    /// One that gives these answers one after another, the last one again and again.
    ///
    /// # Panics
    /// When there are none.
    pub fn telling(answers: Vec<Answer>) -> FakeHttp {
        let last = answers.last().expect("an answer").clone();
        let answers = Mutex::new(answers.into_iter());
        FakeHttp::start(move |_, _| {
            answers.lock().expect("no panic").next().unwrap_or_else(|| last.clone())
        })
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests there were.
    pub fn requests(&self) -> usize {
        self.asked().len()
    }

    /// All requests, as they came; of those with an early answer the head alone.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
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

/// Reads the head of a request; none when the client has gone.
fn read_head(reader: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).ok().filter(|read| *read > 0)?;
    }
    Some(head)
}

/// Reads the body that belongs to it.
fn read_body(reader: &mut impl Read, head: &str) -> Option<String> {
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.map_or(Some(0), |length| length.trim().parse().ok())?;
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body).ok()?;
    Some(String::from_utf8_lossy(&body).into_owned())
}

/// Answers; returns the connection if it is to stay.
fn tell(mut socket: TcpStream, answer: &Answer) -> Option<TcpStream> {
    let text = match answer {
        Answer::Status(status, headers, body) => format!(
            "HTTP/1.1 {status} So\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        ),
        Answer::Half => "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf of".to_owned(),
        Answer::Gone | Answer::Silence => String::new(),
        Answer::Text(text) | Answer::Early(text) | Answer::Hanging(text) => text.clone(),
    };
    // The client may have gone.
    let _ = socket.write_all(text.as_bytes());
    match answer {
        Answer::Silence | Answer::Hanging(_) => Some(socket),
        Answer::Early(_) => {
            let _ = socket.shutdown(Shutdown::Write);
            let _ = io::copy(&mut socket, &mut io::sink());
            None
        }
        _ => None,
    }
}
