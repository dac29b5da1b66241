//! Speaks the second protocol to the daemon.
//! A connection and who one is -> a session: batches out, acknowledgements in.
//! Invariant: what is read is checked as a client has to check it; no wait is longer than the stream's.
//! Leaves out: keeping messages and resuming (`numbered`), the way there.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustls::crypto::ring;
use wire::frame::{Flags, Next, header, next};
use wire::v2::batch::{BatchWriter, Record};
use wire::v2::compress::{Compression, Compressor};
use wire::v2::frame::{Head, Type};
use wire::v2::handshake::{Challenge, ClientId, Hello, NONCE_BYTES, Welcome};
use wire::v2::report::{Ack, Code, Farewell, Refusal, Refused};
use wire::v2::seal::{Opener, Sealer, client, write_plain};
use wire::v2::secret::{Secret, Transcript};

use crate::wait::DEADLINE;

/// Longest payload that is read. The server has nothing long to say.
const HEARD_BYTES_MAX: u32 = 8192;

/// Who a client says it is, and what it knows.
#[derive(Clone)]
pub struct Who {
    /// Its id.
    pub id: ClientId,
    /// Its application.
    pub app: String,
    /// Its host.
    pub host: String,
    /// Whose secret it proves.
    pub module: String,
    /// The secret, if it has one.
    pub secret: Option<String>,
    /// The first message that it still holds; 0: none.
    pub first_held: u64,
    /// The number of its next message.
    pub next_number: u64,
}

impl Who {
    /// A client of `app` on host `h` without a secret, that has sent nothing.
    pub fn new(id: u8, app: &str) -> Who {
        let (app, host, module) = (app.to_owned(), "h".to_owned(), String::new());
        let id = ClientId([id; 16]);
        Who { id, app, host, module, secret: None, first_held: 0, next_number: 1 }
    }

    /// The same with a secret.
    #[must_use]
    pub fn secret(mut self, secret: &str) -> Who {
        self.secret = Some(secret.to_owned());
        self
    }

    /// The same, proving the secret of this module.
    #[must_use]
    pub fn module(mut self, module: &str) -> Who {
        module.clone_into(&mut self.module);
        self
    }

    /// The same on another host.
    #[must_use]
    pub fn host(mut self, host: &str) -> Who {
        host.clone_into(&mut self.host);
        self
    }

    /// The same, holding messages from `first` on; its next one is `next`.
    #[must_use]
    pub fn holding(mut self, first: u64, next: u64) -> Who {
        (self.first_held, self.next_number) = (first, next);
        self
    }

    /// The payload of its HELLO, with a nonce that was never used.
    pub fn hello(&self) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        let random = ring::default_provider().secure_random;
        random.fill(&mut nonce).expect("the system has random numbers");
        let hello = Hello {
            client_id: self.id,
            nonce,
            app: &self.app,
            host: &self.host,
            module: &self.module,
            first_held: self.first_held,
            next_number: self.next_number,
        };
        hello.encode().expect("a HELLO that the daemon takes")
    }
}

/// What the server says in an open session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// All up to this number is settled.
    Ack(u64),
    /// Messages reach no file: the number of the first, and how many.
    Refused(Refusal, u64, u64),
    /// It closes.
    Farewell(Code, String),
    /// The stream has ended, without a word.
    Gone,
}

/// Why there is no session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The server said so.
    Farewell(Code, String),
    /// The stream has ended, without a word.
    Gone,
    /// Nothing came for as long as the stream waits.
    Silent,
    /// The server asks for a proof, and there is no secret; or the other way
    /// round.
    Proof {
        /// What the server asks for.
        needed: bool,
    },
    /// The server does not know the secret, or says what it must not.
    Untrue(String),
}

/// A session that is open.
pub struct Session<S> {
    stream: S,
    frames: Frames,
    sealer: Sealer,
    opener: Opener,
    compressor: Compressor,
    /// What the server can take.
    pub challenge: Challenge,
    /// How far it had come.
    pub welcome: Welcome,
}

impl<S> fmt::Debug for Session<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("welcome", &self.welcome).finish_non_exhaustive()
    }
}

/// Connects with the deadline of tests, and greets.
///
/// # Errors
/// When the server ends it.
pub fn greet(address: SocketAddr, who: &Who) -> Result<Session<TcpStream>, Ended> {
    Session::greet(connect(address), who)
}

/// Connects; no wait for the daemon is longer than the deadline of tests.
pub fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("the daemon listens");
    socket.set_read_timeout(Some(DEADLINE)).expect("a socket");
    socket.set_write_timeout(Some(DEADLINE)).expect("a socket");
    socket.set_nodelay(true).expect("a socket");
    socket
}

/// A frame without a MAC.
pub fn plain(kind: Type, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_plain(&mut out, Head::plain(kind), payload).expect("a short payload");
    out
}

/// A frame with these flags, whatever they are.
pub fn raw(flags: u32, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).expect("a short payload");
    [&header(size, Flags(flags))[..], payload].concat()
}

/// The payload of a batch whose first record has this number.
pub fn batch(first: u64, records: &[Record<'_>]) -> Vec<u8> {
    let mut writer = BatchWriter::new(wire::limits::FRAME_BYTES_MAX, u32::MAX);
    writer.start(first);
    for record in records {
        writer.push(record).expect("a batch that fits");
    }
    writer.payload().to_vec()
}

/// A record that says only this.
pub fn record<'a>(logger: &'a str, body: &'a str) -> Record<'a> {
    Record { time_ns: 1_795_176_000_123_456_789, level: 20, logger, body, ..Record::default() }
}

impl<S: Read + Write> Session<S> {
    /// Greets over a connection that is there.
    ///
    /// # Errors
    /// When there is no session, and why.
    pub fn greet(mut stream: S, who: &Who) -> Result<Session<S>, Ended> {
        let hello = who.hello();
        say(&mut stream, &plain(Type::Hello, &hello))?;
        let mut frames = Frames::default();
        let sent = frames.expect(&mut stream, Type::Challenge)?;
        let challenge = Challenge::decode(&sent).map_err(untrue)?;
        let transcript = Transcript::new(&hello, &sent);
        let secret = who.secret.as_ref().map(|secret| Secret::new(secret.as_bytes()));
        if challenge.needs_proof != secret.is_some() {
            let needed = challenge.needs_proof;
            let code = if needed { Code::SecretMissing } else { Code::SecretUnused };
            let payload = Farewell { code, text: "" }.encode();
            say(&mut stream, &plain(Type::Farewell, &payload))?;
            return Err(Ended::Proof { needed });
        }
        if let Some(secret) = &secret {
            say(&mut stream, &plain(Type::Proof, &secret.prove(&transcript)))?;
        }
        let sent = frames.expect(&mut stream, Type::Welcome)?;
        let proven = secret.as_ref().map(|secret| (secret, &transcript));
        let welcome = Welcome::decode(&sent, proven).map_err(untrue)?;
        let (sealer, opener) = client(secret.as_ref(), &transcript);
        let compressor = Compressor::new();
        Ok(Session { stream, frames, sealer, opener, compressor, challenge, welcome })
    }

    /// Sends messages of one logger, the first with this number.
    ///
    /// # Errors
    /// When the connection has ended or takes nothing.
    pub fn send(&mut self, first: u64, logger: &str, bodies: &[&str]) -> io::Result<()> {
        let records: Vec<Record<'_>> = bodies.iter().map(|body| record(logger, body)).collect();
        self.say(Type::Batch, &batch(first, &records))
    }

    /// Sends the payload of a batch compressed.
    ///
    /// # Errors
    /// When the connection has ended or takes nothing.
    ///
    /// # Panics
    /// When it becomes no shorter.
    pub fn send_compressed(&mut self, compression: Compression, payload: &[u8]) -> io::Result<()> {
        let mut shorter = Vec::new();
        self.compressor.compress(compression, payload, &mut shorter).expect("it becomes shorter");
        self.say_with(Head { kind: Type::Batch, compression }, &shorter)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// When the connection has ended or takes nothing.
    pub fn say(&mut self, kind: Type, payload: &[u8]) -> io::Result<()> {
        self.say_with(Head::plain(kind), payload)
    }

    /// Sends a frame with this head.
    ///
    /// # Errors
    /// When the connection has ended or takes nothing.
    pub fn say_with(&mut self, head: Head, payload: &[u8]) -> io::Result<()> {
        let frame = self.frame(head, payload);
        self.put(&frame)
    }

    /// The bytes of the next frame; they are still to be sent.
    pub fn frame(&mut self, head: Head, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.sealer.write(&mut out, head, payload).expect("a payload below 4 GiB");
        out
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection has ended or takes nothing.
    pub fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// What the server says next; none when nothing came for as long as the
    /// stream waits.
    ///
    /// # Panics
    /// When it is what a server must not say.
    #[track_caller]
    pub fn hear(&mut self) -> Option<Heard> {
        let (flags, sent) = match self.frames.next(&mut self.stream) {
            Ok(frame) => frame,
            Err(Ended::Silent) => return None,
            Err(Ended::Gone) => return Some(Heard::Gone),
            Err(other) => panic!("what the server sends is no frame: {other:?}"),
        };
        let (head, payload) = self.opener.open(flags, &sent).expect("a frame of the server");
        Some(match head.kind {
            Type::Ack => Heard::Ack(Ack::decode(payload).expect("a sound ACK").durable),
            Type::Refused => {
                let refused = Refused::decode(payload).expect("a sound REFUSED");
                Heard::Refused(refused.code, refused.first, refused.messages)
            }
            Type::Farewell => {
                let farewell = Farewell::decode(payload).expect("a sound FAREWELL");
                Heard::Farewell(farewell.code, farewell.text.to_owned())
            }
            kind => panic!("a server says no {kind:?} here"),
        })
    }

    /// Waits until all up to this number is acknowledged, and nothing else is
    /// said.
    ///
    /// # Panics
    /// When something else is.
    #[track_caller]
    pub fn wait_for_ack(&mut self, number: u64) {
        loop {
            match self.hear() {
                Some(Heard::Ack(durable)) if durable < number => {}
                Some(Heard::Ack(durable)) if durable == number => return,
                other => panic!("waited for the acknowledgement of {number}: {other:?}"),
            }
        }
    }

    /// Waits for the end, and says with which FAREWELL; none: without a word.
    /// Acknowledgements and refusals in front of it are passed over.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> Option<Code> {
        loop {
            match self.hear() {
                Some(Heard::Ack(_) | Heard::Refused(..)) => {}
                Some(Heard::Farewell(code, _)) => return Some(code),
                Some(Heard::Gone) => return None,
                None => panic!("the session did not end"),
            }
        }
    }

    /// Ends it as a client that holds nothing any more, and waits until the
    /// server has closed.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn say_done(mut self) {
        let payload = Farewell { code: Code::Done, text: "" }.encode();
        self.say(Type::Farewell, &payload).expect("the connection is open");
        assert_eq!(self.hear(), Some(Heard::Gone));
    }

    /// The connection.
    pub fn stream(&self) -> &S {
        &self.stream
    }
}

/// Cuts what a server sends into frames.
#[derive(Debug, Default)]
pub struct Frames {
    inbox: Vec<u8>,
}

impl Frames {
    /// The next frame.
    ///
    /// # Errors
    /// When there is none.
    pub fn next(&mut self, stream: &mut impl Read) -> Result<(Flags, Vec<u8>), Ended> {
        loop {
            match next(&self.inbox, HEARD_BYTES_MAX) {
                Ok(Next::Frame(frame)) => {
                    let (bytes, found) = (frame.bytes, (frame.flags, frame.payload.to_vec()));
                    self.inbox.drain(..bytes);
                    return Ok(found);
                }
                Ok(Next::More { .. }) => {}
                Err(error) => return Err(untrue(error)),
            }
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer) {
                Ok(0) => return Err(Ended::Gone),
                Ok(bytes) => self.inbox.extend_from_slice(&buffer[..bytes]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(ended(&error)),
            }
        }
    }

    /// The next frame of the handshake, which is of this type or a FAREWELL.
    fn expect(&mut self, stream: &mut impl Read, kind: Type) -> Result<Vec<u8>, Ended> {
        let (flags, payload) = self.next(stream)?;
        match Head::from_flags(flags).map(|head| head.kind) {
            Ok(found) if found == kind => Ok(payload),
            Ok(Type::Farewell) => {
                let farewell = Farewell::decode(&payload).map_err(untrue)?;
                Err(Ended::Farewell(farewell.code, farewell.text.to_owned()))
            }
            other => Err(Ended::Untrue(format!("{other:?} instead of {kind:?}"))),
        }
    }
}

fn say(stream: &mut impl Write, bytes: &[u8]) -> Result<(), Ended> {
    stream.write_all(bytes).and_then(|()| stream.flush()).map_err(|error| ended(&error))
}

fn ended(error: &io::Error) -> Ended {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Ended::Silent,
        _ => Ended::Gone,
    }
}

fn untrue(error: impl fmt::Display) -> Ended {
    Ended::Untrue(error.to_string())
}
