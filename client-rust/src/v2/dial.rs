//! Finds a server, in a thread of its own.
//! Routes in order of preference -> a session with the first that has one for us.
//! Invariant: each route is tried once; the bell rings when there is an answer.
//! Leaves out: when to dial (`engine`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use wire::v2::handshake::{ClientId, Hello, NONCE_BYTES};
use wire::v2::limits::NAME_BYTES_MAX;

use super::Terms;
use super::session::{Session, SessionError, greet};
use super::stream::Stream;
use crate::bell::Bell;
use crate::connect::{ConnectError, Route};
use crate::connection::{Connection, Lost};
use crate::queue::Queue;
use crate::record;
use crate::send;
use crate::socket::Slot;

/// Why no server has a session for us.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("{0}")]
    Connect(#[from] ConnectError),
    #[error("{peer}: {source}")]
    Session { peer: SocketAddr, source: SessionError },
    #[error("there is no server to try")]
    Nobody,
    #[error("no random numbers for a nonce: the system has none")]
    Random,
    #[error("stopped while connecting")]
    Stopped,
    #[error("cannot start the thread that connects: {0}")]
    Thread(io::Error),
}

/// Who answered.
#[derive(Debug)]
pub(super) enum Answer {
    V2(Box<Session>),
    V1(Connection),
}

#[derive(Debug)]
pub(super) struct Answered {
    /// Place of the route among all.
    pub(super) route: usize,
    pub(super) answer: Answer,
}

/// Whom to try, and what to say.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) terms: Arc<Terms>,
    pub(super) id: [u8; 16],
    pub(super) first_held: u64,
    pub(super) next_number: u64,
    /// Places of routes, in the order in which they are tried.
    pub(super) routes: Vec<usize>,
    pub(super) slot: Arc<Slot>,
}

/// An answer to come.
#[derive(Debug)]
pub(super) struct Dialing(Receiver<Result<Answered, DialError>>);

impl Dialing {
    pub(super) fn begin(call: Call, queue: Arc<Queue>, bell: Bell) -> Dialing {
        let (answer, dialing) = channel();
        let failed = answer.clone();
        let started = send::spawn(move || {
            // Nobody listens any more: the session ends with this.
            let _ = answer.send(call.make(&|| queue.is_over()));
            bell.ring();
        });
        if let Err(error) = started {
            let _ = failed.send(Err(DialError::Thread(error)));
        }
        Dialing(dialing)
    }

    /// None: not yet.
    pub(super) fn answer(&self) -> Option<Result<Answered, DialError>> {
        match self.0.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(DialError::Nobody)),
        }
    }
}

impl Call {
    fn make(&self, is_over: &dyn Fn() -> bool) -> Result<Answered, DialError> {
        let mut failure = DialError::Nobody;
        for place in &self.routes {
            let Some(route) = self.terms.routes.get(*place) else { continue };
            match self.try_route(route, is_over) {
                Ok(answer) => return Ok(Answered { route: *place, answer }),
                Err(DialError::Connect(ConnectError::Stopped)) => return Err(DialError::Stopped),
                Err(DialError::Session { source: SessionError::Lost(Lost::Stopped), .. }) => {
                    return Err(DialError::Stopped);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn try_route(&self, route: &Route, is_over: &dyn Fn() -> bool) -> Result<Answer, DialError> {
        let connection = route.open(&self.slot, 0, is_over)?;
        let peer = connection.peer();
        let failed = |source| DialError::Session { peer, source };
        let Some(stream) = Stream::of(connection) else { return Err(DialError::Nobody) };
        let mut nonce = [0; NONCE_BYTES];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut nonce)
            .map_err(|_| DialError::Random)?;
        let host = self.terms.hostname.as_str();
        let hello = Hello {
            client_id: ClientId(self.id),
            nonce,
            app: &self.terms.app,
            host: record::cut(host, NAME_BYTES_MAX),
            module: "",
            first_held: self.first_held,
            next_number: self.next_number,
        };
        let (secret, compression) = (self.terms.secret.as_ref(), self.terms.compression);
        match greet(stream, &hello, secret, compression, is_over) {
            Ok(session) => Ok(Answer::V2(Box::new(session))),
            Err(error) if error.may_be_v1() && self.terms.fallback.is_some() => {
                Ok(Answer::V1(route.open(&self.slot, 0, is_over)?))
            }
            Err(error) => Err(failed(error)),
        }
    }
}
