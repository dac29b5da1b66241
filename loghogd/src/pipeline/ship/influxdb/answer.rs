//! Says what an answer of the server means. Pure.
//! Status, head and body -> taken, refused, too large, later, or a stop with its remedy.
//! Invariant: only 204 means that points are there; nothing that may heal is given up.
//! Leaves out: asking (`server`); finding out whose lines were refused (`super`).
//!
//! (`https://docs.influxdata.com/influxdb/v1/tools/api/#write-http-endpoint`,
//! `https://docs.influxdata.com/influxdb/v2/api/#operation/PostWrite`)

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::limits::REASON_CHARS_MAX;
use crate::pipeline::ship::Trouble;
use crate::pipeline::ship::limits::ASKED_PAUSE_MAX;

/// What the server has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The status.
    pub(super) status: u16,
    /// The head `Retry-After`.
    pub(super) retry_after: Option<String>,
    /// The head `Location`.
    pub(super) location: Option<String>,
    /// Of the body, what was read.
    pub(super) body: Vec<u8>,
}

/// Whom we have asked, and for what, to tell what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// `InfluxDB at http://localhost:8086`.
    pub(super) place: String,
    /// `the database "logs"`.
    pub(super) room: String,
    /// How one is made.
    pub(super) make: String,
    /// The options that say who we are: `user and password`.
    pub(super) login: &'static str,
    /// Who may write, as its administrators say it.
    pub(super) permit: String,
}

/// What it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// All points are there.
    Taken,
    /// Some lines were refused, for this reason. Others are there, or not.
    Refused {
        /// In the server's words.
        reason: String,
        /// How many points, if it says so.
        dropped: Option<usize>,
    },
    /// So much at once is too much.
    TooLarge,
    /// Another trouble.
    Trouble(Trouble),
}

impl Answer {
    /// What it means to somebody who wrote points.
    pub(super) fn meaning(&self, asked: &Asked) -> Meaning {
        let words = Said::read(&self.body);
        let whole = match &words {
            Some(words) => words.text().to_owned(),
            None => String::from_utf8_lossy(&self.body).into_owned(),
        };
        let reason = cut(whole.trim());
        let place = &asked.place;
        let said = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let stop = |what: String, remedy: String| Meaning::Trouble(Trouble::stop(what, remedy));
        let later = |what: String| Meaning::Trouble(Trouble::Later { what, pause: self.pause() });
        match self.status {
            204 => Meaning::Taken,
            // Whoever it is would have taken nothing.
            200..=299 => stop(
                format!("{place} has answered {} where InfluxDB says 204", self.status),
                "write into url where InfluxDB answers".to_owned(),
            ),
            300..=399 => stop(
                format!(
                    "{place} sends us elsewhere ({}){}",
                    self.status,
                    self.location.as_ref().map(|to| format!(": {}", cut(to))).unwrap_or_default()
                ),
                "write into url where it answers itself".to_owned(),
            ),
            // Others who say it are none.
            400 | 422 if words.is_some() => refused(asked, whole.trim(), reason),
            401 => stop(
                format!("{place} does not know who we are{said}"),
                format!("put {} right", asked.login),
            ),
            403 => stop(
                format!("{place} does not let us write into {}{said}", asked.room),
                asked.permit.clone(),
            ),
            404 => stop(format!("{place} has no {}{said}", bare(&asked.room)), asked.make.clone()),
            413 => Meaning::TooLarge,
            429 => later(format!("{place} wants less at a time (429){said}")),
            // It is a fault of the configuration, whatever the status says.
            500.. if reason.contains("retention policy not found") => stop(
                format!("{place} has no such retention policy{said}"),
                "create it, or put retention_policy right".to_owned(),
            ),
            408 | 500.. => later(format!("{place} has a fault of its own ({}){said}", self.status)),
            other => stop(
                format!("{place} has answered {other}{said}"),
                "write into url where InfluxDB answers, and its version into version".to_owned(),
            ),
        }
    }

    /// How long the server wants us to wait. A date is passed over: our own pauses are
    /// good enough.
    fn pause(&self) -> Option<Duration> {
        let seconds = self.retry_after.as_ref()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds).min(ASKED_PAUSE_MAX))
    }
}

/// Lines were refused; or all of them, because something is full. `whole` is what the
/// server says, with names and values of lines in the middle: what it means stands at its
/// beginning and its end, `partial write: REASON dropped=3`.
fn refused(asked: &Asked, whole: &str, reason: String) -> Meaning {
    let partial = whole.split_once("partial write: ").map(|(_, partial)| partial);
    for quota in ["max-series-per-database", "max-values-per-tag"] {
        if partial.is_some_and(|partial| partial.starts_with(quota)) {
            let what = format!("{} takes no further series: {reason}", asked.place);
            let remedy = format!("raise {quota} in its configuration, or remove old series");
            return Meaning::Trouble(Trouble::stop(what, remedy));
        }
    }
    let dropped = partial.and_then(|partial| partial.rsplit_once(" dropped="));
    // None at all means that it counts something else.
    let dropped = dropped.and_then(|(_, count)| count.parse().ok()).filter(|&count| count > 0);
    Meaning::Refused { reason, dropped }
}

/// What the versions say of an error: 1 and 3 `error`, 2 `message`.
#[derive(Deserialize)]
struct Said {
    #[serde(alias = "message")]
    error: String,
    #[serde(default, deserialize_with = "lines")]
    data: Vec<Line>,
}

/// InfluxDB 3 says of each line what is wrong with it.
#[derive(Deserialize)]
struct Line {
    error_message: String,
}

/// What else may stand there differs.
fn lines<'de, D: Deserializer<'de>>(data: D) -> Result<Vec<Line>, D::Error> {
    let data = serde_json::Value::deserialize(data)?;
    Ok(Vec::deserialize(data).unwrap_or_default())
}

impl Said {
    fn read(body: &[u8]) -> Option<Said> {
        serde_json::from_slice(body).ok()
    }

    fn text(&self) -> &str {
        match self.data.as_slice() {
            [line] => &line.error_message,
            _ => &self.error,
        }
    }
}

/// On one line, and not longer than a reader likes.
fn cut(text: &str) -> String {
    let mut cut = String::new();
    for (taken, character) in text.chars().enumerate() {
        if taken == REASON_CHARS_MAX {
            cut.push_str("...");
            break;
        }
        cut.push(if character.is_control() { ' ' } else { character });
    }
    cut
}

fn bare(room: &str) -> &str {
    room.strip_prefix("the ").unwrap_or(room)
}

#[cfg(test)]
mod tests;
