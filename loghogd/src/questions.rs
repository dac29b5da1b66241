//! Answers questions about the configuration and the running daemon, and exits.
//! What was asked -> text or JSON on stdout, complaints on stderr, an exit code.
//! Invariant: no answer repeats a secret, and asking changes nothing.
//! Leaves out: how the daemon is asked (`control`).

mod archive;
mod check;
mod explain;
mod original;
mod running;
mod schedule;
mod ship;
mod status;
mod surroundings;
mod table;
mod tap;
mod top;

pub use archive::archive;
pub use check::check_config;
pub use explain::explain;
pub use schedule::schedule;
pub use ship::{replay, ship};
pub use status::status;
pub use tap::tap;
pub use top::top;

use crate::config::Problem;
use std::io::Write;

/// Writes every problem to stderr.
pub fn complain(problems: &[Problem]) {
    let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
    tell_error(&text.join("\n"));
}

/// Writes a line to stderr. Nobody is left to tell when that fails.
pub fn tell_error(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes a line to stdout. A reader who has gone away, as `head` does, has
/// read enough.
fn tell(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Writes JSON to stdout.
fn tell_json(value: &impl serde::Serialize, pretty: bool) {
    let text =
        if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    match text {
        Ok(text) => tell(&text),
        // Our fault alone: the answers are plain structures.
        Err(error) => tell_error(&format!("loghogd: the answer cannot be written: {error}")),
    }
}
