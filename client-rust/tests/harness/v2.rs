//! A small server that speaks v2, and misbehaves on demand.
//! Connections -> a list of durable messages by client id, each once.
//! Invariant: what is acknowledged is in the list; numbers of an id only go up.
//! Leaves out: files, facilities, several apps.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use wire::frame::{self, Flags, Next};
use wire::limits::FRAME_BYTES_MAX;
use wire::v2::batch::BatchReader;
use wire::v2::compress::{Compression, Compressions, Expander};
use wire::v2::frame::{Head, Type};
use wire::v2::handshake::{Challenge, ClientId, Hello, NONCE_BYTES, Welcome};
use wire::v2::report::{Ack, Code, Farewell, Refusal, Refused, Report};
use wire::v2::seal::{self, Opener, Sealer, write_plain};
use wire::v2::secret::{Secret, Transcript};

use super::PATIENCE;

/// One message as the server keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub number: u64,
    pub level: u8,
    pub logger: String,
    pub thread: String,
    pub process_id: u32,
    pub body: String,
    pub fields: Vec<(String, String)>,
    pub compression: Compression,
}

/// How the server behaves; may be changed while it runs.
#[derive(Clone, Default)]
pub struct Manners {
    pub secret: Option<String>,
    /// Where each connection is cut, by the bytes read from it; the later ones
    /// are not.
    pub cuts: Vec<usize>,
    /// Whether a connection that is cut still reads what came before.
    pub forgets: bool,
    /// Keeps messages, but says nothing.
    pub holds_acks: bool,
    /// An id of which nothing is synced: WELCOME says that it is taken, and
    /// nobody that it is safe.
    pub unsynced: Option<ClientId>,
    /// Acknowledges so many more than have come.
    pub boasts: u64,
    /// Does not read batches.
    pub is_deaf: bool,
    /// Says nothing, not even to HELLO.
    pub is_silent: bool,
    /// Ends every connection at HELLO.
    pub hangs_up: bool,
    /// Refuses all messages whose text begins with this.
    pub refuses: Option<String>,
    pub frame_bytes_max: Option<u32>,
    /// An id of which it has all up to this number.
    pub is_ahead: Option<(ClientId, u64)>,
}

#[derive(Default)]
pub struct State {
    pub manners: Manners,
    pub kept: HashMap<ClientId, Vec<Kept>>,
    /// In the order of arrival, over all ids.
    pub ids: Vec<ClientId>,
    pub hellos: usize,
    /// Of all HELLOs: who repeats one lets old frames of a server be repeated.
    nonces: HashSet<[u8; NONCE_BYTES]>,
    pub reports: Vec<Report>,
    pub v1_bodies: Vec<String>,
    pub farewells: usize,
    streams: Vec<TcpStream>,
    is_stopping: bool,
}

impl State {
    /// All messages of all ids; an id's in its order.
    pub fn bodies(&self) -> Vec<String> {
        let of = |id| self.kept.get(id).into_iter().flatten().map(|kept| kept.body.clone());
        self.ids.iter().flat_map(of).collect()
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

trait Io: Read + Write + Send {}
impl<T: Read + Write + Send> Io for T {}

pub struct Fake {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Fake {
    pub fn start() -> Self {
        Self::with(Manners::default())
    }

    pub fn with(manners: Manners) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), manners, None)
    }

    pub fn tls(config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::on(listener, Manners::default(), Some(config))
    }

    pub fn at(address: SocketAddr, manners: Manners) -> Self {
        Self::on(TcpListener::bind(address).unwrap(), manners, None)
    }

    fn on(listener: TcpListener, manners: Manners, tls: Option<Arc<ServerConfig>>) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        shared.state.lock().unwrap().manners = manners;
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared, tls.as_ref())
        });
        Fake { address, shared, accepting: Some(accepting) }
    }

    pub fn change(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.shared.state.lock().unwrap().manners);
        self.shared.news.notify_all();
    }

    pub fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.shared.state.lock().unwrap())
    }

    /// Waits until it holds.
    pub fn until(&self, what: &str, mut holds: impl FnMut(&State) -> bool) {
        let state = self.shared.state.lock().unwrap();
        let (state, timeout) =
            self.shared.news.wait_timeout_while(state, PATIENCE, |state| !holds(state)).unwrap();
        let count = state.bodies().len();
        assert!(!timeout.timed_out(), "never came true: {what}; {count} messages came");
    }

    /// Waits until so many messages are durable; all texts.
    pub fn wait_for(&self, count: usize) -> Vec<String> {
        self.until(&format!("{count} messages"), |state| state.bodies().len() >= count);
        self.read(State::bodies)
    }

    /// Loses the power, and with it what was not synced.
    pub fn lose_power(&self) {
        let mut state = self.shared.state.lock().unwrap();
        let lost = state.manners.unsynced.take().expect("something is not synced");
        state.kept.entry(lost).or_default().clear();
        drop(state);
        self.cut_all();
    }

    /// Cuts all connections there are.
    pub fn cut_all(&self) {
        for stream in self.shared.state.lock().unwrap().streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap().is_stopping = true;
        self.shared.news.notify_all();
        let _ = TcpStream::connect(self.address);
        self.cut_all();
        let joined = self.accepting.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || joined.is_none_or(|joined| joined.is_ok()));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, tls: Option<&Arc<ServerConfig>>) {
    let mut readers = Vec::new();
    for (number, stream) in listener.incoming().enumerate() {
        let stream = stream.unwrap();
        let cut = {
            let mut state = shared.state.lock().unwrap();
            if state.is_stopping {
                break;
            }
            state.streams.push(stream.try_clone().unwrap());
            state.manners.cuts.get(number).copied()
        };
        let shared = Arc::clone(shared);
        let tls = tls.cloned();
        readers.push(std::thread::spawn(move || {
            let socket = stream.try_clone().unwrap();
            let stream: Box<dyn Io> = match tls {
                None => Box::new(stream),
                Some(config) => {
                    Box::new(StreamOwned::new(ServerConnection::new(config).unwrap(), stream))
                }
            };
            Talk { stream, socket, shared, stage: Stage::New, left: cut.unwrap_or(usize::MAX) }
                .run();
        }));
    }
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

#[allow(clippy::large_enum_variant, reason = "there is one a connection")]
enum Stage {
    New,
    Challenged { id: ClientId, settled: u64, transcript: Transcript },
    Open { id: ClientId, sealer: Sealer, opener: Opener, next: Option<u64>, taken: u64 },
    V1,
}

struct Talk {
    stream: Box<dyn Io>,
    socket: TcpStream,
    shared: Arc<Shared>,
    stage: Stage,
    /// Bytes that are read before the connection is cut.
    left: usize,
}

impl Talk {
    fn run(mut self) {
        let mut bytes = Vec::new();
        let mut chunk = [0; 65_536];
        loop {
            if !self.may_read() {
                break;
            }
            let room = chunk.len().min(self.left.max(1));
            let Ok(read @ 1..) = self.stream.read(&mut chunk[..room]) else { break };
            let is_cut = read >= self.left;
            self.left -= read.min(self.left);
            bytes.extend_from_slice(&chunk[..read]);
            if is_cut && self.shared.state.lock().unwrap().manners.forgets {
                break;
            }
            let mut start = 0;
            while let Ok(Next::Frame(frame)) = frame::next(&bytes[start..], FRAME_BYTES_MAX + 32) {
                start += frame.bytes;
                let payload = frame.payload.to_vec();
                if !self.hear(frame.flags, &payload) {
                    let _ = self.socket.shutdown(Shutdown::Both);
                    return;
                }
            }
            bytes.drain(..start);
            if is_cut {
                break;
            }
        }
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Waits while the server is deaf.
    fn may_read(&self) -> bool {
        let state = self.shared.state.lock().unwrap();
        let is_open = matches!(self.stage, Stage::Open { .. });
        let waits = |state: &mut State| is_open && state.manners.is_deaf && !state.is_stopping;
        let state = self.shared.news.wait_while(state, waits).unwrap();
        !state.is_stopping
    }

    fn tell(&mut self, kind: Type, payload: &[u8]) {
        let mut bytes = Vec::new();
        match &mut self.stage {
            Stage::Open { sealer, .. } => {
                sealer.write(&mut bytes, Head::plain(kind), payload).unwrap();
            }
            _ => write_plain(&mut bytes, Head::plain(kind), payload).unwrap(),
        }
        let _ = self.stream.write_all(&bytes);
    }

    fn hear(&mut self, flags: Flags, sent: &[u8]) -> bool {
        let manners = self.shared.state.lock().unwrap().manners.clone();
        match std::mem::replace(&mut self.stage, Stage::V1) {
            Stage::New if sent.starts_with(&wire::v2::frame::MAGIC) => self.greeted(sent, &manners),
            Stage::New | Stage::V1 => {
                let mut scratch = wire::v1::Scratch::default();
                let record = wire::v1::decode(sent, &mut scratch).unwrap();
                self.shared.state.lock().unwrap().v1_bodies.push(record.body.to_owned());
                self.shared.news.notify_all();
                true
            }
            Stage::Challenged { id, settled, transcript } => {
                assert_eq!(Head::from_flags(flags), Ok(Head::plain(Type::Proof)));
                let secret = Secret::new(manners.secret.unwrap().as_bytes());
                if secret.verify_proof(&transcript, sent) {
                    self.welcome(id, settled, Some(&secret), &transcript);
                    return true;
                }
                self.tell(
                    Type::Farewell,
                    &Farewell { code: Code::WrongProof, text: "no" }.encode(),
                );
                false
            }
            Stage::Open { id, sealer, mut opener, next, taken } => {
                let (head, payload) = opener.open(flags, sent).unwrap();
                self.stage = Stage::Open { id, sealer, opener, next, taken };
                self.said(head, payload, &manners)
            }
        }
    }

    fn greeted(&mut self, sent: &[u8], manners: &Manners) -> bool {
        let hello = Hello::decode(sent).unwrap();
        let mut state = self.shared.state.lock().unwrap();
        state.hellos += 1;
        let is_fresh = state.nonces.insert(hello.nonce);
        drop(state);
        assert!(is_fresh, "a client has used a nonce twice");
        self.shared.news.notify_all();
        if manners.is_silent {
            self.stage = Stage::New;
            return true;
        }
        if manners.hangs_up {
            return false;
        }
        let challenge = Challenge {
            nonce: [9; 32],
            needs_proof: manners.secret.is_some(),
            frame_bytes_max: manners.frame_bytes_max.unwrap_or(FRAME_BYTES_MAX),
            records_max: 16_384,
            compressions: Compressions::ALL,
        };
        let payload = challenge.encode();
        let transcript = Transcript::new(sent, &payload);
        self.tell(Type::Challenge, &payload);
        if challenge.needs_proof {
            let (id, settled) = (hello.client_id, hello.settled());
            self.stage = Stage::Challenged { id, settled, transcript };
        } else {
            self.welcome(hello.client_id, hello.settled(), None, &transcript);
        }
        true
    }

    fn welcome(
        &mut self,
        id: ClientId,
        settled: u64,
        secret: Option<&Secret>,
        transcript: &Transcript,
    ) {
        let (durable, taken) = {
            let mut state = self.shared.state.lock().unwrap();
            if !state.ids.contains(&id) {
                state.ids.push(id);
            }
            let last = state.kept.entry(id).or_default().last().map_or(0, |kept| kept.number);
            let ahead = state.manners.is_ahead.filter(|(whom, _)| *whom == id);
            let taken = last.max(settled).max(ahead.map_or(0, |(_, number)| number));
            (if state.manners.unsynced == Some(id) { settled } else { taken }, taken)
        };
        let welcome = Welcome { durable, taken };
        let payload = welcome.encode(secret.map(|secret| (secret, transcript)));
        self.tell(Type::Welcome, &payload);
        let (sealer, opener) = seal::server(secret, transcript);
        self.stage = Stage::Open { id, sealer, opener, next: None, taken };
    }

    fn said(&mut self, head: Head, payload: &[u8], manners: &Manners) -> bool {
        match head.kind {
            Type::Batch => {
                let durable = self.keep(head, payload, manners);
                let Stage::Open { id, .. } = &self.stage else { panic!("no session") };
                if !manners.holds_acks && manners.unsynced != Some(*id) {
                    self.tell(Type::Ack, &Ack { durable: durable + manners.boasts }.encode());
                }
                true
            }
            Type::Report => {
                let report = Report::decode(payload).unwrap();
                self.shared.state.lock().unwrap().reports.push(report);
                self.shared.news.notify_all();
                true
            }
            Type::Farewell => {
                self.shared.state.lock().unwrap().farewells += 1;
                self.shared.news.notify_all();
                false
            }
            other => panic!("a client sent {other:?}"),
        }
    }

    /// Keeps what is new of a batch; the durable number.
    fn keep(&mut self, head: Head, payload: &[u8], manners: &Manners) -> u64 {
        let Stage::Open { id, next, taken, .. } = &mut self.stage else { panic!("no session") };
        let id = *id;
        let mut out = Vec::new();
        let max = manners.frame_bytes_max.unwrap_or(FRAME_BYTES_MAX) as usize;
        let plain = Expander::new().expand(head.compression, payload, max, &mut out).unwrap();
        let mut reader = BatchReader::new(plain, 16_384).unwrap();
        match next {
            Some(next) => assert_eq!(reader.next_number(), *next, "batches have no gaps"),
            None => assert!(reader.next_number() <= *taken + 1, "a session goes on behind taken"),
        }
        let mut state = self.shared.state.lock().unwrap();
        let mut refused = Vec::new();
        let mut durable = state.kept[&id].last().map_or(0, |kept| kept.number);
        while let Some((number, record)) = reader.next_record().unwrap() {
            if number <= durable {
                continue;
            }
            durable = number;
            if manners.refuses.as_ref().is_some_and(|start| record.body.starts_with(start)) {
                refused.push(number);
            }
            let kept = Kept {
                number,
                level: record.level,
                logger: record.logger.into(),
                thread: record.thread.into(),
                process_id: record.process_id,
                body: record.body.into(),
                fields: record
                    .fields
                    .iter()
                    .map(|field| (field.key.into(), format!("{:?}", field.value)))
                    .collect(),
                compression: head.compression,
            };
            state.kept.get_mut(&id).unwrap().push(kept);
        }
        drop(state);
        *next = Some(reader.next_number());
        for number in refused {
            let refused =
                Refused { messages: 1, first: number, code: Refusal::NoFacility, text: "no room" };
            self.tell(Type::Refused, &refused.encode());
        }
        self.shared.news.notify_all();
        durable
    }
}
