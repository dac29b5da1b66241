//! Answers `loghogd ship`: how the targets are doing; and sends again what is asked for.
//! The running daemon's answer -> a table, progress bars or JSON.
//! Invariant: asking changes nothing; `replay` says how much it is.
//! Leaves out: shipping (`pipeline::ship`).

use std::io::IsTerminal;
use std::path::Path;
use std::thread;
use std::time::Duration;

use indicatif::{HumanBytes, HumanDuration, MultiProgress, ProgressBar, ProgressStyle};

use super::running::{ask, not_understood, rundir};
use super::table::{self, whole};
use super::{tell, tell_error, tell_json};
use crate::cli::{EX_NO_MATCH, EX_OK, ReplayArgs, ShipArgs};
use crate::control::{Answer, Question};
use crate::pipeline::ship::{Doing, Status};

/// How often it is asked anew while somebody watches.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// Says how the targets are doing.
pub fn ship(args: &ShipArgs) -> u8 {
    let rundir = match rundir(&args.config, &args.overrides) {
        Ok(rundir) => rundir,
        Err(code) => return code,
    };
    let statuses = match statuses(&rundir) {
        Ok(statuses) => statuses,
        Err(code) => return code,
    };
    if args.json {
        tell_json(&statuses, false);
    } else if statuses.is_empty() {
        tell("nothing is shipped: loghogd.conf has no section [ship:NAME]");
    } else if args.watch && std::io::stderr().is_terminal() {
        return watch(&rundir, statuses);
    } else {
        tell(&shown(&statuses));
    }
    EX_OK
}

/// Sends again what was received between two times.
pub fn replay(args: &ReplayArgs) -> u8 {
    let rundir = match rundir(&args.config, &args.overrides) {
        Ok(rundir) => rundir,
        Err(code) => return code,
    };
    let question = Question::Replay {
        target: args.target.clone(),
        from: args.from.to_string(),
        to: args.to.to_string(),
    };
    match ask(&rundir, &question) {
        Ok(Answer::Segments(segments)) if args.json => {
            tell_json(&serde_json::json!({ "segments": segments }), false);
        }
        Ok(Answer::Segments(0)) => {
            tell_error(
                "loghogd: nothing that was received then has been shipped there and still is here",
            );
            return EX_NO_MATCH;
        }
        Ok(Answer::Segments(segments)) => {
            tell(&format!("{segments} segments are sent again to {}", args.target));
        }
        Ok(Answer::Error(why)) => {
            tell_error(&format!("loghogd: {why}"));
            return EX_NO_MATCH;
        }
        Ok(_) => return not_understood(),
        Err(code) => return code,
    }
    EX_OK
}

fn statuses(rundir: &Path) -> Result<Vec<Status>, u8> {
    match ask(rundir, &Question::Ship)? {
        Answer::Targets(statuses) => Ok(statuses),
        _ => Err(not_understood()),
    }
}

/// A table for people, and what is the matter below it.
fn shown(statuses: &[Status]) -> String {
    let head = ["TARGET", "TYPE", "STATE", "BACKLOG", "OLDEST", "RECORDS/s", "BYTES/s", "DEAD"];
    let rows = statuses.iter().map(|status| {
        let backlog = match status.backlog_segments {
            0 => HumanBytes(status.backlog_bytes).to_string(),
            segments => format!("{segments} ({})", HumanBytes(status.backlog_bytes)),
        };
        [
            status.name.clone(),
            status.kind.clone(),
            status.state.to_string(),
            backlog,
            status.oldest.clone().unwrap_or_else(|| "-".to_owned()),
            format!("{:.0}", status.records_a_second),
            HumanBytes(whole(status.bytes_a_second)).to_string(),
            status.dead.to_string(),
        ]
    });
    let mut lines = table::lines(&head, rows, &[]);
    for status in statuses {
        if let Some(error) = &status.last_error {
            lines.push(format!("{}: at {}: {}", status.name, error.at, error.what));
        }
        for stopped in &status.stopped {
            lines.push(format!(
                "{}: {} stands still: {}",
                status.name, stopped.stream, stopped.what
            ));
        }
    }
    lines.join("\n")
}

/// A bar for each target: what has arrived since somebody looks, of what there is.
fn watch(rundir: &Path, first: Vec<Status>) -> u8 {
    let bars = MultiProgress::new();
    let style =
        ProgressStyle::with_template("{prefix:12} {bar:30} {bytes}/{total_bytes} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
    let shown: Vec<(ProgressBar, u64)> = first
        .iter()
        .map(|status| {
            let bar = bars.add(ProgressBar::new(status.backlog_bytes));
            bar.set_style(style.clone());
            bar.set_prefix(status.name.clone());
            (bar, status.bytes)
        })
        .collect();
    let mut statuses = first;
    loop {
        for (status, (bar, before)) in statuses.iter().zip(&shown) {
            let arrived = status.bytes.saturating_sub(*before);
            bar.set_length(arrived + status.backlog_bytes);
            bar.set_position(arrived);
            bar.set_message(in_short(status));
        }
        thread::sleep(WATCH_EVERY);
        statuses = match self::statuses(rundir) {
            Ok(statuses) => statuses,
            Err(code) => return code,
        };
    }
}

fn in_short(status: &Status) -> String {
    let left = status.backlog_bytes as f64 / status.bytes_a_second;
    match (status.state, &status.last_error) {
        (Doing::Retrying | Doing::Stopped, Some(error)) => {
            format!("{}: {}", status.state, error.what)
        }
        (Doing::Shipping, _) if left.is_finite() => format!(
            "{:.0} records/s, {} left",
            status.records_a_second,
            HumanDuration(Duration::from_secs(whole(left)))
        ),
        (state, _) => state.to_string(),
    }
}
