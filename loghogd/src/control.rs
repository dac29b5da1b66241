//! Answers questions that are asked of the running daemon.
//! A line of JSON on a Unix socket in the run folder -> a line of JSON.
//! Invariant: only the daemon's user and root may ask; asking holds nobody up.
//! Leaves out: how answers look to people (`questions`).
//!
//! ```text
//! RUNDIR/loghogd.sock
//! {"ask":"ship"}                                     -> {"targets":[...]}
//! {"ask":"replay","target":"a","from":"...","to":"..."} -> {"segments":12} or {"error":"..."}
//! ```

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as Stream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as AsyncBufReader};
use tokio::net::{UnixListener, UnixStream};
use tracing::{debug, warn};

use crate::limits::{QUESTION_BYTES_MAX, QUESTION_TIME_MAX};
use crate::pipeline::ship::{Shippers, Status};

/// The socket's name in the run folder.
const NAME: &str = "loghogd.sock";

/// How long an answer may take that has to wait for a target.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
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
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Of all targets.
    Targets(Vec<Status>),
    /// So many segments are sent again.
    Segments(u64),
    /// It cannot be answered, and why.
    Error(String),
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
pub fn listen(rundir: &Path, shippers: &Arc<Mutex<Shippers>>) -> io::Result<()> {
    let path = path(rundir);
    let listener = match bind(&path) {
        Ok(listener) => listener,
        Err(error) => {
            warn!(
                "cannot listen on {}: {error}; loghogd ship has nobody to ask; see [main] rundir",
                path.display()
            );
            return Ok(());
        }
    };
    let shippers = Arc::clone(shippers);
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(answer(stream, Arc::clone(&shippers)));
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

/// What a daemon before has left is removed: its pidfile tells whether it still runs.
fn bind(path: &Path) -> io::Result<UnixListener> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn answer(mut stream: UnixStream, shippers: Arc<Mutex<Shippers>>) {
    let (reading, mut writing) = stream.split();
    let mut line = String::new();
    let mut reading = AsyncBufReader::new(reading.take(QUESTION_BYTES_MAX));
    let asked = tokio::time::timeout(QUESTION_TIME_MAX, reading.read_line(&mut line)).await;
    if !matches!(asked, Ok(Ok(1..))) {
        return;
    }
    let answered = tokio::task::spawn_blocking(move || match serde_json::from_str(&line) {
        Ok(question) => answer_to(&question, &shippers),
        Err(error) => Answer::Error(format!("that is no question: {error}")),
    });
    let answer = answered.await.unwrap_or_else(|_| Answer::Error("a fault of ours".to_owned()));
    let mut text = serde_json::to_vec(&answer).unwrap_or_default();
    text.push(b'\n');
    // Whoever has asked may have gone.
    let _ = tokio::time::timeout(QUESTION_TIME_MAX, writing.write_all(&text)).await;
}

pub(crate) fn answer_to(question: &Question, shippers: &Mutex<Shippers>) -> Answer {
    let locked = || shippers.lock().unwrap_or_else(PoisonError::into_inner);
    match question {
        Question::Ship => Answer::Targets(locked().statuses()),
        Question::Replay { target, from, to } => {
            let time = |text: &str| text.parse::<Timestamp>();
            let (from, to) = match (time(from), time(to)) {
                (Ok(from), Ok(to)) => (from, to),
                (Err(error), _) | (_, Err(error)) => return Answer::Error(error.to_string()),
            };
            // A reload and a stop need the lock as well: it is not held while we wait.
            let asked = locked().replay(target, from, to);
            match asked.map(|asked| asked.wait(ANSWER_TIME_MAX)) {
                Some(Ok(segments)) => Answer::Segments(segments),
                Some(Err(error)) => Answer::Error(error.to_string()),
                None => Answer::Error(format!(
                    "there is no target {target:.40} at work; see loghogd ship"
                )),
            }
        }
    }
}

/// Asks the daemon that has this run folder.
///
/// # Errors
/// When there is none, or when it does not answer.
pub fn ask(rundir: &Path, question: &Question) -> io::Result<Answer> {
    /// Longest answer: that of a thousand streams that stand still.
    const ANSWER_BYTES_MAX: u64 = 16 << 20;
    let mut stream = Stream::connect(path(rundir))?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX + QUESTION_TIME_MAX))?;
    stream.set_write_timeout(Some(QUESTION_TIME_MAX))?;
    let mut text = serde_json::to_vec(question).map_err(io::Error::other)?;
    text.push(b'\n');
    stream.write_all(&text)?;
    let mut line = String::new();
    BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_line(&mut line)?;
    serde_json::from_str(&line).map_err(io::Error::other)
}
