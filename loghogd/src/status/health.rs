//! Is the daemon well? Pure.
//! A report -> ready, or what is wrong.
//! Invariant: what another server would do better is `failing`; what somebody has to look at is `degraded`.
//! Leaves out: finding out.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::report::Report;
use crate::limits::CERTIFICATE_WARNING_DAYS;
use crate::pipeline::ship::Doing;
use crate::stats::Counter;

/// How well the daemon is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// In a word.
    pub state: State,
    /// What is wrong, the worst first.
    pub reasons: Vec<Reason>,
}

/// In a word. The worst comes last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// All is well.
    #[default]
    Ready,
    /// Messages are taken and written, but somebody should look.
    Degraded,
    /// Messages are not taken, or not written, or not safe.
    Failing,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// How bad it is.
    pub state: State,
    /// A word for programs.
    pub code: String,
    /// What it is and what to do, for people.
    pub text: String,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Ready => "ready",
            State::Degraded => "degraded",
            State::Failing => "failing",
        })
    }
}

/// Judges a report. `is_recent` tells whether a counter of losses has grown of late.
pub fn judge(report: &Report, is_stopping: bool, is_recent: &dyn Fn(Counter) -> bool) -> Health {
    let mut reasons = Vec::new();
    let mut say = |state, code: &str, text: String| {
        reasons.push(Reason { state, code: code.to_owned(), text });
    };
    if is_stopping {
        say(State::Failing, "stopping", "the daemon stops".to_owned());
    }
    if let Some((path, why)) = report.refusing.first() {
        let more = match report.refusing_files {
            ..=1 => String::new(),
            files => format!(", and {} files more", files - 1),
        };
        let text = format!("{path} cannot be written: {why}{more}; who sends to it waits");
        say(State::Failing, "file_refuses", text);
    }
    if is_recent(Counter::SyncFailures) {
        let text = "a log file could not be synced within the last minute; see the own log";
        say(State::Failing, "sync_failures", text.to_owned());
    }
    of_certificates(report, &mut say);
    of_disk(report, &mut say);
    for (counter, code, what) in [
        (
            Counter::UdpDroppedByKernel,
            "udp_dropped",
            "the kernel dropped datagrams within the last minute; raise net.core.rmem_max, or send over TCP",
        ),
        (
            Counter::UdpDroppedHeld,
            "udp_dropped_held",
            "datagrams were dropped within the last minute because their file could not be written",
        ),
        (
            Counter::ClientDropped,
            "client_dropped",
            "a client said within the last minute that it has dropped messages; see loghogd status --loss",
        ),
    ] {
        if is_recent(counter) {
            say(State::Degraded, code, what.to_owned());
        }
    }
    for target in &report.targets {
        let what = || target.last_error.as_ref().map_or("no reason given", |error| &error.what);
        match target.state {
            Doing::Stopped => {
                let text = format!("target {} stands still: {}", target.name, what());
                say(State::Degraded, "target_stopped", text);
            }
            Doing::Retrying => {
                let text = format!("target {} meets trouble: {}", target.name, what());
                say(State::Degraded, "target_retrying", text);
            }
            Doing::Connecting | Doing::Idle | Doing::Shipping => {}
        }
        for stream in &target.stopped {
            let text =
                format!("target {}: {} stands still: {}", target.name, stream.stream, stream.what);
            say(State::Degraded, "stream_stopped", text);
        }
    }
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.state));
    let state = reasons.first().map_or(State::Ready, |reason| reason.state);
    Health { state, reasons }
}

fn of_certificates(report: &Report, say: &mut dyn FnMut(State, &str, String)) {
    for certificate in &report.certificates {
        let (whose, path, days) = (&certificate.whose, &certificate.path, certificate.days_left);
        let renew = "loghog-server-cert --renew makes a new one";
        if days < 0 {
            let text = format!(
                "{path}: the certificate of {whose} has ended: nobody can connect over TLS; {renew}"
            );
            say(State::Failing, "certificate_ended", text);
        } else if days < CERTIFICATE_WARNING_DAYS {
            let text = format!("{path}: the certificate of {whose} ends in {days} days; {renew}");
            say(State::Degraded, "certificate_ends", text);
        }
    }
}

fn of_disk(report: &Report, say: &mut dyn FnMut(State, &str, String)) {
    /// A hundredth: what most file systems keep for root is more.
    const LOW_PARTS: u64 = 100;
    let Some(disk) = &report.disk else { return };
    let (path, free) = (&disk.path, disk.free_bytes >> 20);
    if disk.free_bytes < disk.min_free_bytes {
        let keeps = disk.min_free_bytes >> 20;
        let text = format!(
            "{path}: {free} MiB are free, and [main] min_free keeps {keeps} MiB: senders wait until there is room"
        );
        say(State::Failing, "min_free", text);
    } else if disk.free_bytes < disk.total_bytes / LOW_PARTS {
        let text = format!("{path}: only {free} MiB are free; make room, or set [main] min_free");
        say(State::Degraded, "disk_low", text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::ship::{Error, Status, Stopped};
    use crate::status::report::tests::report;
    use crate::status::report::{Certificate, Disk};
    use jiff::Timestamp;

    fn codes(health: &Health) -> Vec<(State, &str)> {
        health.reasons.iter().map(|reason| (reason.state, reason.code.as_str())).collect()
    }

    fn target(state: Doing) -> Status {
        let last_error = Some(Error { at: String::new(), what: "no bucket".to_owned() });
        Status { state, last_error, ..Status::new("t", "s3") }
    }

    #[test]
    fn a_daemon_of_which_nothing_is_wrong_is_ready() {
        let health = judge(&report(), false, &|_| false);
        assert_eq!(health, Health { state: State::Ready, reasons: Vec::new() });
    }

    #[test]
    fn what_another_server_would_do_better_is_failing() {
        let mut full = report();
        full.refusing = vec![("a/root.log".to_owned(), "no space left".to_owned())];
        full.refusing_files = 3;
        let health = judge(&full, true, &|counter| counter == Counter::SyncFailures);
        assert_eq!(
            codes(&health),
            ["stopping", "file_refuses", "sync_failures"].map(|code| (State::Failing, code))
        );
        assert_eq!(
            health.reasons[1].text,
            "a/root.log cannot be written: no space left, and 2 files more; who sends to it waits"
        );
        let mut short = report();
        let disk = |free_bytes, min_free_bytes| {
            Some(Disk { path: "/l".to_owned(), total_bytes: 1000, free_bytes, min_free_bytes })
        };
        short.disk = disk(9, 10);
        assert_eq!(codes(&judge(&short, false, &|_| false)), [(State::Failing, "min_free")]);
        short.disk = disk(9, 0);
        assert_eq!(codes(&judge(&short, false, &|_| false)), [(State::Degraded, "disk_low")]);
        short.disk = disk(10, 0);
        assert_eq!(codes(&judge(&short, false, &|_| false)), []);
    }

    #[test]
    fn what_somebody_has_to_look_at_is_degraded_and_the_worst_comes_first() {
        let mut bad = report();
        bad.targets = vec![target(Doing::Stopped), target(Doing::Retrying), target(Doing::Idle)];
        bad.targets[2].stopped =
            vec![Stopped { stream: "a/web".to_owned(), what: "mismatch".to_owned() }];
        let certificate = |days_left| Certificate {
            whose: "server".to_owned(),
            path: "/c".to_owned(),
            ends: Timestamp::UNIX_EPOCH,
            days_left,
        };
        bad.certificates = vec![certificate(31), certificate(29), certificate(-1)];
        let health = judge(&bad, false, &|counter| counter == Counter::ClientDropped);
        assert_eq!(
            codes(&health),
            [
                (State::Failing, "certificate_ended"),
                (State::Degraded, "certificate_ends"),
                (State::Degraded, "client_dropped"),
                (State::Degraded, "target_stopped"),
                (State::Degraded, "target_retrying"),
                (State::Degraded, "stream_stopped"),
            ]
        );
        assert_eq!(health.state, State::Failing);
        assert_eq!(health.reasons[3].text, "target t stands still: no bucket");
    }
}
