//! Answers `loghogd status`: how the running daemon is doing, and what came from each client.
//! A report, or accounts -> a page for people, or JSON.
//! Invariant: the first line says whether it is well; the exit code says so as well.
//! Leaves out: judging (`status::health`).

use std::time::Duration;

use indicatif::{HumanBytes, HumanDuration};

use super::running::{ask, not_understood, rundir};
use super::table::{self, Paint, number, paint, tame};
use super::{tell, tell_json};
use crate::cli::{EX_NO_MATCH, EX_OK, StatusArgs};
use crate::control::{Answer, Question};
use crate::ledger::Client;
use crate::stats::{Counter, Kind};
use crate::status::{Report, State};

/// Says how the daemon is doing.
pub fn status(args: &StatusArgs) -> u8 {
    let rundir = match rundir(&args.config, &args.overrides) {
        Ok(rundir) => rundir,
        Err(code) => return code,
    };
    let question = if args.loss { Question::Clients } else { Question::Status };
    match ask(&rundir, &question) {
        Ok(Answer::Status(report)) => {
            match args.json {
                true => tell_json(&report, false),
                false => tell(&page(&report).join("\n")),
            }
            if report.health.state == State::Failing { EX_NO_MATCH } else { EX_OK }
        }
        Ok(Answer::Clients(clients)) => {
            match args.json {
                true => tell_json(&clients, false),
                false => tell(&accounts(&clients)),
            }
            EX_OK
        }
        Ok(_) => not_understood(),
        Err(code) => code,
    }
}

/// A state in its colour.
pub(super) fn coloured(state: State) -> String {
    let colour = match state {
        State::Ready => Paint::Green,
        State::Degraded => Paint::Yellow,
        State::Failing => Paint::Red,
    };
    paint(colour, &state.to_string())
}

/// The first line: who it is, and whether it is well.
pub(super) fn head(report: &Report) -> String {
    let up = report.now.as_second() - report.started.as_second();
    let up = HumanDuration(Duration::from_secs(up.try_into().unwrap_or_default()));
    let (version, pid) = (&report.version, report.pid);
    format!("loghogd {version}: {}   up {up}, pid {pid}", coloured(report.health.state))
}

fn page(report: &Report) -> Vec<String> {
    let mut lines = vec![head(report)];
    for reason in &report.health.reasons {
        let word = match reason.state {
            State::Failing => paint(Paint::Red, &reason.code),
            _ => paint(Paint::Yellow, &reason.code),
        };
        lines.push(format!("  {word}: {}", reason.text));
    }
    let sum = |kind| {
        let of_kind = Counter::ALL.iter().filter(|counter| counter.kind() == kind);
        of_kind.map(|counter| report.counter(counter.name())).sum::<u64>()
    };
    let counter = |counter: Counter| report.counter(counter.name());
    let mut say = |name: &str, text: String| {
        lines.push(format!("{}{text}", paint(Paint::Bold, &format!("{name:<14}"))));
    };
    say("listening", report.listening.join(", "));
    let (connections, facilities) = (number(report.connections), number(report.facilities));
    say("connections", format!("{connections} open; {facilities} facilities in force"));
    let (records, refused) = (number(counter(Counter::Records)), sum(Kind::Refusal));
    let worst = match worst(report) {
        worst if worst.is_empty() => String::new(),
        worst => format!(" ({worst})"),
    };
    say("received", format!("{records} messages; refused {}{worst}", number(refused)));
    let (written, bytes) = (number(counter(Counter::Lines)), HumanBytes(counter(Counter::Bytes)));
    let files = number(report.open_files);
    say("written", format!("{written} messages, {bytes}; {files} files open"));
    say("lost", lost(report, sum(Kind::Loss)));
    say("syncs", syncs(report));
    let (turned, sealed) = (counter(Counter::FilesTurned), counter(Counter::SegmentsSealed));
    let trimmed = number(counter(Counter::SegmentsTrimmed));
    say(
        "segments",
        format!("{} turned, {} sealed, {trimmed} deleted", number(turned), number(sealed)),
    );
    let (queue, queue_max) = (HumanBytes(report.queue_bytes), HumanBytes(report.queue_bytes_max));
    say("queue", format!("{queue} of {queue_max}"));
    if let Some(disk) = &report.disk {
        let (free, total) = (HumanBytes(disk.free_bytes), HumanBytes(disk.total_bytes));
        let keeps = match disk.min_free_bytes {
            0 => String::new(),
            bytes => format!("; min_free keeps {}", HumanBytes(bytes)),
        };
        say("disk", format!("{free} of {total} free at {}{keeps}", disk.path));
    }
    for certificate in &report.certificates {
        let (whose, days) = (tame(&certificate.whose), certificate.days_left);
        say("certificate", format!("{whose}: {days} days left ({})", certificate.path));
    }
    for target in &report.targets {
        let backlog = match (target.backlog_segments, target.backlog_bytes) {
            (0, 0) => "nothing waits".to_owned(),
            (segments, bytes) => format!("{segments} segments ({}) wait", HumanBytes(bytes)),
        };
        let text = format!("{} ({}): {}, {backlog}", target.name, target.kind, target.state);
        say("target", text);
    }
    lines
}

/// The commonest reasons for refusals.
fn worst(report: &Report) -> String {
    let refusals = Counter::ALL.iter().filter(|counter| counter.kind() == Kind::Refusal);
    let mut refusals: Vec<(u64, &str)> =
        refusals.map(|counter| (report.counter(counter.name()), counter.name())).collect();
    refusals.retain(|(times, _)| *times > 0);
    refusals.sort_unstable_by(|one, other| other.cmp(one));
    let words = refusals.iter().take(4).map(|(times, name)| format!("{name} {}", number(*times)));
    words.collect::<Vec<_>>().join(", ")
}

fn lost(report: &Report, sum: u64) -> String {
    if sum == 0 {
        return "nothing".to_owned();
    }
    let losses = Counter::ALL.iter().filter(|counter| counter.kind() == Kind::Loss);
    let losses = losses.filter_map(|counter| match report.counter(counter.name()) {
        0 => None,
        times => Some(format!("{} {}", counter.name(), number(times))),
    });
    let words = losses.collect::<Vec<_>>().join(", ");
    format!("{}; whose: loghogd status --loss", paint(Paint::Yellow, &words))
}

fn syncs(report: &Report) -> String {
    let syncs = &report.syncs;
    let millis = |seconds: Option<f64>| match seconds {
        Some(seconds) => format!("within {} ms", seconds * 1e3),
        None => "beyond 10 s".to_owned(),
    };
    match syncs.count {
        0 => "none yet".to_owned(),
        count => format!(
            "{}; half of them {}, 99 % {}",
            number(count),
            millis(syncs.median_seconds),
            millis(syncs.p99_seconds)
        ),
    }
}

fn accounts(clients: &[Client]) -> String {
    if clients.is_empty() {
        return "nobody has sent anything yet".to_owned();
    }
    let head = [
        "ADDRESS",
        "HOST",
        "APP",
        "RECEIVED",
        "REFUSED",
        "GAPS",
        "DROPPED",
        "KERNEL",
        "LAST HEARD",
    ];
    let rows = clients.iter().map(|client| {
        let counts = &client.counts;
        [
            client.address.map_or_else(|| "-".to_owned(), |address| address.to_string()),
            tame(&client.host),
            tame(&client.app),
            number(counts.received),
            number(counts.refused),
            number(counts.gaps),
            number(counts.dropped),
            number(client.kernel_dropped),
            client.last.map_or_else(|| "-".to_owned(), |last| format!("{last:.0}")),
        ]
    });
    let mut lines = table::lines(&head, rows, &[3, 4, 5, 6, 7]);
    for (line, client) in lines.iter_mut().skip(1).zip(clients) {
        if client.has_loss() {
            *line = paint(Paint::Yellow, line);
        }
    }
    lines.push(String::new());
    lines.push(
        "GAPS: numbers that never came here; DROPPED: what clients say they dropped; KERNEL: \
         datagrams of anybody that the kernel dropped meanwhile"
            .to_owned(),
    );
    lines.join("\n")
}
