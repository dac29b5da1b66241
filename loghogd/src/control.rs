//! Answers questions that are asked of the running daemon.
//! A line of JSON on a Unix socket in the run folder -> a line of JSON.
//! Invariant: only the daemon's user and root may ask, for answers may show messages; asking holds nobody up.
//! Leaves out: how answers look to people (`questions`).
//!
//! ```text
//! RUNDIR/loghogd.sock
//! {"ask":"ship"}                                     -> {"targets":[...]}
//! {"ask":"replay","target":"a","from":"...","to":"..."} -> {"segments":12} or {"error":"..."}
//! {"ask":"status"}                                   -> {"status":{...}}
//! {"ask":"clients"}                                  -> {"clients":[...]}
//! {"ask":"tap","app":"a"}                            -> "looking", then a line for each message
//! ```

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream as Stream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as AsyncBufReader,
};
use tokio::net::unix::WriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tracing::{debug, warn};

use crate::ledger::Client;
use crate::limits::{QUESTION_BYTES_MAX, QUESTION_TIME_MAX};
use crate::local_socket;
use crate::pipeline::ship::{Shippers, Status};
use crate::pipeline::tap::{Looking, Wanted};
use crate::status::{Report, Rooms};

/// The socket's name in the run folder.
const NAME: &str = "loghogd.sock";

/// How long an answer may take that has to wait for a target.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Longest answer, in bytes: that of ten thousand clients, or of a thousand streams that
/// stand still.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// How long one who looks at messages may take to read one.
const TAP_WRITE_TIME_MAX: Duration = Duration::from_secs(60);

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Question {
    /// How are the targets doing?
    Ship,
    /// Send again what was received between two times (RFC 3339).
    Replay {
        /// The target.
        target: String,
        /// From this time on.
        from: String,
        /// Before this one.
        to: String,
    },
    /// How is the daemon doing?
    Status,
    /// What came from each client?
    Clients,
    /// Show messages as they pass.
    Tap(Wanted),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Of all targets.
    Targets(Vec<Status>),
    /// So many segments are sent again.
    Segments(u64),
    /// How the daemon is doing.
    Status(Box<Report>),
    /// What came from each client.
    Clients(Vec<Client>),
    /// Lines with messages follow: see [`Passing`].
    Looking,
    /// It cannot be answered, and why.
    Error(String),
}

/// What one who looks at messages is told, a line of JSON each.
#[derive(Clone, Debug, PartialEq)]
pub enum Passing {
    /// A message, as a facility with `format = json` has it in its file.
    Message(String),
    /// So many were not shown, because they came too fast.
    Missed(u64),
}

/// How messages that were missed are told.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Missed {
    missed: u64,
}

/// Where the daemon listens that has this run folder.
pub fn path(rundir: &Path) -> PathBuf {
    rundir.join(NAME)
}

/// Listens from now on. When that cannot be, the daemon runs without; the own log says
/// why.
///
/// # Errors
/// When what is listened to cannot be waited for.
pub fn listen(rundir: &Path, rooms: &Arc<Rooms>) -> io::Result<()> {
    let path = path(rundir);
    let bound = local_socket::bind(&path, 0o600).and_then(UnixListener::from_std);
    let listener = match bound {
        Ok(listener) => listener,
        Err(error) => {
            warn!(
                "cannot listen on {}: {error}; loghogd status, ship and tap have nobody to ask; \
                 see [main] rundir",
                path.display()
            );
            return Ok(());
        }
    };
    let rooms = Arc::clone(rooms);
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(answer(stream, Arc::clone(&rooms)));
                }
                Err(error) => {
                    debug!("cannot accept a question: {error}");
                    tokio::time::sleep(crate::limits::ACCEPT_PAUSE).await;
                }
            }
        }
    });
    Ok(())
}

async fn answer(mut stream: UnixStream, rooms: Arc<Rooms>) {
    let (reading, mut writing) = stream.split();
    let mut line = String::new();
    let mut reading = AsyncBufReader::new(reading.take(QUESTION_BYTES_MAX));
    let asked = tokio::time::timeout(QUESTION_TIME_MAX, reading.read_line(&mut line)).await;
    if !matches!(asked, Ok(Ok(1..))) {
        return;
    }
    let question = match serde_json::from_str(&line) {
        Ok(Question::Tap(wanted)) => match rooms.taps.look(wanted) {
            Ok(looking) => return show(&mut reading, &mut writing, looking).await,
            Err(error) => Err(error.to_string()),
        },
        Ok(question) => Ok(question),
        Err(error) => Err(format!("that is no question: {error}")),
    };
    let answer = match question {
        Ok(question) => {
            let answered = tokio::task::spawn_blocking(move || answer_to(&question, &rooms));
            answered.await.unwrap_or_else(|_| Answer::Error("a fault of ours".to_owned()))
        }
        Err(error) => Answer::Error(error),
    };
    // Whoever has asked may have gone.
    let _ = say(&mut writing, &answer).await;
}

async fn say(writing: &mut WriteHalf<'_>, what: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(what).unwrap_or_default();
    text.push(b'\n');
    tokio::time::timeout(QUESTION_TIME_MAX, writing.write_all(&text)).await?
}

/// Shows messages until whoever looks has gone.
async fn show(
    reading: &mut (impl AsyncBufRead + Unpin),
    writing: &mut WriteHalf<'_>,
    mut looking: Looking,
) {
    if say(writing, &Answer::Looking).await.is_err() {
        return;
    }
    let mut rest = String::new();
    loop {
        let line = tokio::select! {
            line = looking.next() => line,
            // Nothing more is asked: this is the end.
            _ = reading.read_line(&mut rest) => return,
        };
        let Some(line) = line else { return };
        // One who does not read for long may as well have gone.
        let shown = tokio::time::timeout(TAP_WRITE_TIME_MAX, writing.write_all(&line)).await;
        let missed = looking.take_missed();
        if !matches!(shown, Ok(Ok(())))
            || (missed > 0 && say(writing, &Missed { missed }).await.is_err())
        {
            return;
        }
    }
}

fn answer_to(question: &Question, rooms: &Rooms) -> Answer {
    match question {
        Question::Ship => Answer::Targets(locked(&rooms.shippers).statuses()),
        Question::Replay { target, from, to } => replay(&rooms.shippers, target, from, to),
        Question::Status => Answer::Status(Box::new(rooms.report())),
        Question::Clients => Answer::Clients(rooms.clients()),
        Question::Tap(_) => Answer::Error("a fault of ours".to_owned()),
    }
}

/// Sends again what was received between two times. A reload and a stop need the shippers
/// as well: they are not held while a busy target is waited for.
pub(crate) fn replay(shippers: &Mutex<Shippers>, target: &str, from: &str, to: &str) -> Answer {
    let time = |text: &str| text.parse::<Timestamp>();
    let (from, to) = match (time(from), time(to)) {
        (Ok(from), Ok(to)) => (from, to),
        (Err(error), _) | (_, Err(error)) => return Answer::Error(error.to_string()),
    };
    let asked = locked(shippers).replay(target, from, to);
    match asked.map(|asked| asked.wait(ANSWER_TIME_MAX)) {
        Some(Ok(segments)) => Answer::Segments(segments),
        Some(Err(error)) => Answer::Error(error.to_string()),
        None => Answer::Error(format!("there is no target {target:.40} at work; see loghogd ship")),
    }
}

fn locked(shippers: &Mutex<Shippers>) -> MutexGuard<'_, Shippers> {
    shippers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks the daemon that has this run folder.
///
/// # Errors
/// When there is none, or when it does not answer.
pub fn ask(rundir: &Path, question: &Question) -> io::Result<Answer> {
    let stream = put(rundir, question)?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX + QUESTION_TIME_MAX))?;
    read_answer(&mut BufReader::new(stream.take(ANSWER_BYTES_MAX)))
}

/// Looks at messages as they pass, until this is dropped.
///
/// # Errors
/// When there is no daemon, or when it does not let us; [`io::ErrorKind::InvalidInput`]
/// with what it says then.
pub fn look(
    rundir: &Path,
    wanted: &Wanted,
) -> io::Result<impl Iterator<Item = io::Result<Passing>> + use<>> {
    let mut reading = BufReader::new(put(rundir, &Question::Tap(wanted.clone()))?);
    match read_answer(&mut (&mut reading).take(ANSWER_BYTES_MAX))? {
        Answer::Looking => {}
        Answer::Error(why) => return Err(io::Error::new(io::ErrorKind::InvalidInput, why)),
        _ => return Err(io::Error::other("it answers something else")),
    }
    Ok(reading.lines().map(|line| {
        let line = line?;
        Ok(match serde_json::from_str(&line) {
            Ok(Missed { missed }) => Passing::Missed(missed),
            Err(_) => Passing::Message(line),
        })
    }))
}

fn put(rundir: &Path, question: &Question) -> io::Result<Stream> {
    let mut stream = Stream::connect(path(rundir))?;
    stream.set_write_timeout(Some(QUESTION_TIME_MAX))?;
    let mut text = serde_json::to_vec(question).map_err(io::Error::other)?;
    text.push(b'\n');
    stream.write_all(&text)?;
    Ok(stream)
}

fn read_answer(reading: &mut impl BufRead) -> io::Result<Answer> {
    let mut line = String::new();
    reading.read_line(&mut line)?;
    serde_json::from_str(&line).map_err(io::Error::other)
}
