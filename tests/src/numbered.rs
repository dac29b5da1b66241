//! A client that loses nothing and repeats nothing, by the rules of docs/protocol.md.
//! An address that may lead anywhere -> numbered messages, kept until they are safe.
//! Invariant: only what was acknowledged is forgotten; what is resent is what was sent.
//! Leaves out: a spool; the thread does not die.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wire::v2::compress::{Compression, Compressor};
use wire::v2::frame::{Head, Type};
use wire::v2::report::{Code, Farewell};

use crate::random::Random;
use crate::session::{Ended, Heard, Session, Who, batch, record};
use crate::wait::DEADLINE;

/// How many messages may be kept; then no new ones are made.
const HELD_MAX: u64 = 3_000;

/// How long a client waits for an answer until it takes the way for dead. Some
/// are more patient than others.
const PATIENCE_MS: std::ops::Range<u64> = 120..400;

/// Pause before the next attempt to connect.
const PAUSE: Duration = Duration::from_millis(3);

/// Who a client is, and what it does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its id, and a part of each message.
    pub id: u8,
    /// Its application.
    pub app: &'static str,
    /// Its application's secret.
    pub secret: Option<&'static str>,
    /// The loggers that its messages go to, in turn.
    pub loggers: &'static [&'static str],
}

/// A client at work.
#[derive(Debug)]
pub struct Numbered {
    told: Arc<Told>,
    thread: JoinHandle<Done>,
}

#[derive(Debug, Default)]
struct Told {
    finish: AtomicBool,
    durable: AtomicU64,
    /// None beyond this one is made, unless it is 0.
    up_to: AtomicU64,
}

/// What a client has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Messages, each of which was acknowledged at last.
    pub messages: u64,
    /// How many were sent, resent ones included, whether they arrived or not.
    pub sent: u64,
    /// Sessions that came as far as WELCOME.
    pub sessions: u64,
}

/// The client as its thread sees it.
struct Worker {
    plan: Plan,
    who: Who,
    random: Random,
    told: Arc<Told>,
    compressor: Compressor,
    /// All up to this one are safe, and forgotten.
    durable: u64,
    next_number: u64,
    done: Done,
    progress: Instant,
}

impl Plan {
    /// The logger of a message.
    pub fn logger(&self, number: u64) -> &'static str {
        let place = Random::new(number ^ u64::from(self.id) << 48).below(self.loggers.len() as u64);
        self.loggers[usize::try_from(place).expect("a place in a slice")]
    }

    /// What a message says. Its length differs, and its end shows.
    pub fn body(&self, number: u64) -> String {
        let letters = Random::new(number).below(200);
        let filling = "x".repeat(usize::try_from(letters).expect("few"));
        format!("client {} number {number} {filling}; end.", self.id)
    }

    /// The number of a message by its body.
    ///
    /// # Panics
    /// When it is not exactly what was sent.
    #[track_caller]
    pub fn number(&self, body: &str) -> u64 {
        let behind = body.strip_prefix(&format!("client {} number ", self.id));
        let digits = behind.and_then(|behind| behind.split(' ').next());
        let number = digits.and_then(|digits| digits.parse().ok());
        let number = number.unwrap_or_else(|| panic!("no message of client {}: {body}", self.id));
        assert_eq!(body, self.body(number), "a message is not whole");
        number
    }

    /// The host that it says it is on.
    pub fn host(&self) -> String {
        format!("host-{}", self.id)
    }
}

impl Numbered {
    /// Begins; whatever ends a connection, it comes back.
    pub fn start(plan: Plan, address: SocketAddr, random: Random) -> Numbered {
        let told = Arc::new(Told::default());
        let mut who = Who::new(plan.id, plan.app).host(&plan.host());
        who.secret = plan.secret.map(str::to_owned);
        let mut worker = Worker {
            plan,
            who,
            random,
            told: Arc::clone(&told),
            compressor: Compressor::new(),
            durable: 0,
            next_number: 1,
            done: Done::default(),
            progress: Instant::now(),
        };
        let thread = std::thread::spawn(move || worker.run(address));
        Numbered { told, thread }
    }

    /// All up to this message are acknowledged.
    pub fn durable(&self) -> u64 {
        self.told.durable.load(Ordering::Relaxed)
    }

    /// Lets it make no messages beyond this one, until it is told another one.
    pub fn pause_behind(&self, number: u64) {
        self.told.up_to.store(number, Ordering::Relaxed);
    }

    /// Is it still at work? It ends early only by a panic.
    pub fn is_at_work(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Lets it make no more messages; does not wait for the others.
    pub fn ask_to_finish(&self) {
        self.told.finish.store(true, Ordering::Relaxed);
    }

    /// Waits until all its messages are acknowledged.
    ///
    /// # Panics
    /// When that takes too long, or the server has said what it must not.
    pub fn finish(self) -> Done {
        self.ask_to_finish();
        self.thread.join().expect("the client has met no contradiction")
    }
}

impl Worker {
    fn run(&mut self, address: SocketAddr) -> Done {
        while !self.is_finished() {
            let stalled = self.progress.elapsed();
            assert!(stalled < 2 * DEADLINE, "no progress behind {} for {stalled:?}", self.durable);
            if let Some(mut session) = self.greet(address) {
                self.talk(&mut session);
            } else {
                std::thread::sleep(PAUSE);
            }
        }
        self.done.messages = self.durable;
        self.done
    }

    fn is_finished(&self) -> bool {
        self.told.finish.load(Ordering::Relaxed) && self.durable + 1 == self.next_number
    }

    fn patience(&mut self) -> Duration {
        let spread = PATIENCE_MS.end - PATIENCE_MS.start;
        Duration::from_millis(PATIENCE_MS.start + self.random.below(spread))
    }

    fn greet(&mut self, address: SocketAddr) -> Option<Session<TcpStream>> {
        let stream = TcpStream::connect(address).ok()?;
        let patience = self.patience();
        stream.set_read_timeout(Some(patience)).ok()?;
        stream.set_write_timeout(Some(patience)).ok()?;
        stream.set_nodelay(true).ok()?;
        let holds = self.durable + 1 < self.next_number;
        let first_held = if holds { self.durable + 1 } else { 0 };
        let who = self.who.clone().holding(first_held, self.next_number);
        match Session::greet(stream, &who) {
            Ok(session) => Some(session),
            Err(Ended::Gone | Ended::Silent) => None,
            Err(Ended::Farewell(Code::Stopping | Code::Busy | Code::Evicted, _)) => None,
            Err(other) => panic!("client {} is not welcome: {other:?}", self.plan.id),
        }
    }

    /// Until something ends it.
    fn talk(&mut self, session: &mut Session<TcpStream>) {
        self.done.sessions += 1;
        let (durable, taken) = (session.welcome.durable, session.welcome.taken);
        assert!(durable >= self.durable, "{durable} is less than what was acknowledged");
        assert!(taken < self.next_number, "{taken} was never sent");
        self.settle(durable);
        let mut position = taken + 1;
        let (patience, mut heard) = (self.patience(), Instant::now());
        loop {
            self.make();
            if self.is_finished() {
                return say_done(session);
            }
            let idle = position == self.next_number;
            if !idle {
                // A batch may be cut off; then the connection is as good as dead.
                match self.send(session, position) {
                    Some(next) => position = next,
                    None => return,
                }
            }
            let wait = Duration::from_millis(if idle { 10 } else { 1 });
            session.stream().set_read_timeout(Some(wait)).expect("a socket");
            match session.hear() {
                Some(Heard::Ack(number)) => {
                    assert!(number > self.durable, "an acknowledgement goes back to {number}");
                    assert!(number < position.max(taken + 1), "{number} was never sent");
                    self.settle(number);
                    heard = Instant::now();
                }
                Some(Heard::Refused(code, first, messages)) => {
                    panic!("{messages} messages were refused, the first is {first}: {code:?}");
                }
                Some(Heard::Farewell(Code::Stopping | Code::Busy | Code::Evicted, _)) => return,
                Some(Heard::Farewell(code, text)) => {
                    panic!("the server complains: {code:?} {text}")
                }
                Some(Heard::Gone) => return,
                None if self.durable + 1 < position && heard.elapsed() > patience => return,
                None => {}
            }
            if self.durable + 1 == position {
                heard = Instant::now();
            }
        }
    }

    fn settle(&mut self, number: u64) {
        if number > self.durable {
            self.progress = Instant::now();
        }
        self.durable = number;
        self.told.durable.store(number, Ordering::Relaxed);
    }

    /// The program logs some more.
    fn make(&mut self) {
        let held = self.next_number - self.durable - 1;
        let up_to = self.told.up_to.load(Ordering::Relaxed);
        let may = up_to == 0 || self.next_number <= up_to;
        if may && held < HELD_MAX && !self.told.finish.load(Ordering::Relaxed) {
            self.next_number += self.random.below(60);
        }
    }

    /// Sends a batch from this number on; gives the number behind it.
    fn send(&mut self, session: &mut Session<TcpStream>, first: u64) -> Option<u64> {
        let end = self.next_number.min(first + 1 + self.random.below(300));
        let bodies: BTreeMap<u64, String> =
            (first..end).map(|number| (number, self.plan.body(number))).collect();
        let records: Vec<_> =
            bodies.iter().map(|(&number, body)| record(self.plan.logger(number), body)).collect();
        let payload = batch(first, &records);
        self.done.sent += end - first;
        let compression = [Compression::None, Compression::Zlib, Compression::Zstd]
            [self.random.below(3) as usize];
        let mut shorter = Vec::new();
        let sent = match self.compressor.compress(compression, &payload, &mut shorter) {
            Ok(()) => session.say_with(Head { kind: Type::Batch, compression }, &shorter),
            Err(_) => session.say(Type::Batch, &payload),
        };
        sent.ok().map(|()| end)
    }
}

/// Nothing is held; whether the server hears it does not matter.
fn say_done(session: &mut Session<TcpStream>) {
    let payload = Farewell { code: Code::Done, text: "" }.encode();
    let _ = session.say(Type::Farewell, &payload);
}
