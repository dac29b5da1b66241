//! A report as Prometheus reads it. Pure.
//! A report and the accounts of clients -> text, version 0.0.4 of Prometheus' exposition format.
//! Invariant: every counter is there with what it means; what a peer chose is escaped.
//! Leaves out: finding out.

use std::fmt::{self, Write as _};

use super::health::State;
use super::report::Report;
use crate::ledger::{Client, Counts};
use crate::pipeline::ship::{Doing, Status};
use crate::stats::{Counter, Kind};

/// What the answer calls itself.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Clients that have lines of their own, those with losses first; others are summed up.
const CLIENTS_MAX: usize = 1_000;

/// Writes it all down.
pub fn metrics(report: &Report, clients: &[Client]) -> String {
    let mut page = Page(String::with_capacity(64 << 10));
    of_the_daemon(report, &mut page);
    of_counters(report, &mut page);
    of_syncs(report, &mut page);
    of_targets(&report.targets, &mut page);
    of_clients(clients, &mut page);
    page.0
}

struct Page(String);

impl Page {
    /// Begins a family of samples.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // A string takes everything.
        let _ = write!(self.0, "# HELP loghog_{name} {help}\n# TYPE loghog_{name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl fmt::Display) {
        let _ = write!(self.0, "loghog_{name}");
        for (place, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"", if place == 0 { "{" } else { "," });
            for character in text.chars() {
                match character {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    control if control.is_control() => self.0.push('\u{FFFD}'),
                    other => self.0.push(other),
                }
            }
            self.0.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl fmt::Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }
}

fn of_the_daemon(report: &Report, page: &mut Page) {
    page.family("build_info", "gauge", "The version that runs; always 1.");
    page.sample("build_info", &[("version", &report.version)], 1);
    let started = report.started.as_millisecond() as f64 / 1e3;
    page.gauge("start_time_seconds", "When the daemon started, in seconds since 1970.", started);
    page.family("health", "gauge", "How well the daemon is: 1 at the state that holds.");
    for state in [State::Ready, State::Degraded, State::Failing] {
        let holds = u8::from(report.health.state == state);
        page.sample("health", &[("state", &state.to_string())], holds);
    }
    page.gauge("facilities", "Facilities in force.", report.facilities);
    page.gauge("connections_open", "Connections over TCP and TLS now.", report.connections);
    page.gauge("files_open", "Log files that are open now.", report.open_files);
    page.gauge("files_refusing", "Log files that cannot be written now.", report.refusing_files);
    page.gauge("queue_bytes", "What lines on their way to files take.", report.queue_bytes);
    let help = "At this much in the queue senders wait.";
    page.gauge("queue_bytes_max", help, report.queue_bytes_max);
    if let Some(disk) = &report.disk {
        let help = "The file system of the log folder.";
        page.gauge("disk_bytes", help, disk.total_bytes);
        let help = "What the daemon may still use of that file system.";
        page.gauge("disk_free_bytes", help, disk.free_bytes);
        let help = "What [main] min_free keeps free of it.";
        page.gauge("disk_min_free_bytes", help, disk.min_free_bytes);
    }
    if !report.certificates.is_empty() {
        let name = "certificate_days_left";
        page.family(name, "gauge", "Whole days until a certificate ends; negative when it has.");
        for certificate in &report.certificates {
            let labels = [("whose", certificate.whose.as_str()), ("path", &certificate.path)];
            page.sample(name, &labels, certificate.days_left);
        }
    }
}

fn of_counters(report: &Report, page: &mut Page) {
    for counter in Counter::ALL.iter().filter(|counter| counter.kind() != Kind::Refusal) {
        let name = format!("{}_total", counter.name());
        page.family(&name, "counter", counter.help());
        page.sample(&name, &[], report.counter(counter.name()));
    }
    page.family("refused_total", "counter", "What was not let in, by reason.");
    for counter in Counter::ALL.iter().filter(|counter| counter.kind() == Kind::Refusal) {
        let reason = [("reason", counter.name())];
        page.sample("refused_total", &reason, report.counter(counter.name()));
    }
}

fn of_syncs(report: &Report, page: &mut Page) {
    let syncs = &report.syncs;
    page.family("sync_seconds", "histogram", "How long syncs of log files took.");
    for (bound, count) in &syncs.up_to {
        page.sample("sync_seconds_bucket", &[("le", &bound.to_string())], count);
    }
    page.sample("sync_seconds_bucket", &[("le", "+Inf")], syncs.count);
    page.sample("sync_seconds_sum", &[], syncs.seconds);
    page.sample("sync_seconds_count", &[], syncs.count);
}

/// A figure of each target or client.
type Figure<T> = (&'static str, &'static str, &'static str, fn(&T) -> u64);

fn of_targets(targets: &[Status], page: &mut Page) {
    if targets.is_empty() {
        return;
    }
    const FIGURES: [Figure<Status>; 7] = [
        ("ship_backlog_segments", "gauge", "Closed segments that a target has not got.", |t| {
            t.backlog_segments
        }),
        (
            "ship_backlog_bytes",
            "gauge",
            "Bytes of these, and of live files that it follows.",
            |t| t.backlog_bytes,
        ),
        ("ship_records_total", "counter", "Messages that have arrived there.", |t| t.records),
        ("ship_bytes_total", "counter", "Bytes of log files that have arrived there.", |t| t.bytes),
        ("ship_segments_total", "counter", "Segments that have arrived there.", |t| t.segments),
        ("ship_dead_letters_now", "gauge", "Records that it will never take.", |t| t.dead),
        ("ship_retries_by_target_total", "counter", "Attempts that were repeated.", |t| t.retries),
    ];
    for (name, kind, help, figure) in FIGURES {
        page.family(name, kind, help);
        for target in targets {
            let labels = [("target", target.name.as_str()), ("type", &target.kind)];
            page.sample(name, &labels, figure(target));
        }
    }
    let name = "ship_state";
    page.family(name, "gauge", "What a target does: 1 at the state that holds.");
    for target in targets {
        for state in
            [Doing::Connecting, Doing::Idle, Doing::Shipping, Doing::Retrying, Doing::Stopped]
        {
            let labels = [("target", target.name.as_str()), ("state", &state.to_string())];
            page.sample(name, &labels, u8::from(target.state == state));
        }
    }
}

fn of_clients(clients: &[Client], page: &mut Page) {
    const FIGURES: [Figure<Client>; 5] = [
        ("client_received_total", "counter", "Messages of a client that passed the gate.", |c| {
            c.counts.received
        }),
        ("client_refused_total", "counter", "What was refused of a client.", |c| c.counts.refused),
        (
            "client_gaps_total",
            "counter",
            "Numbered messages of a client that never came here.",
            |c| c.counts.gaps,
        ),
        ("client_dropped_by_it_total", "counter", "Messages that a client has dropped.", |c| {
            c.counts.dropped
        }),
        (
            "client_kernel_dropped_total",
            "counter",
            "Datagrams that the kernel dropped while a client sent some.",
            |c| c.kernel_dropped,
        ),
    ];
    let (shown, rest) = clients.split_at(clients.len().min(CLIENTS_MAX));
    let mut others = Client {
        address: None,
        host: "(others)".to_owned(),
        app: String::new(),
        counts: Counts::default(),
        kernel_dropped: 0,
        first: None,
        last: None,
    };
    for client in rest.iter().chain(shown.iter().filter(|client| client.address.is_none())) {
        others.counts.add(client.counts);
    }
    let named = || shown.iter().filter(|client| client.address.is_some());
    for (name, kind, help, figure) in FIGURES {
        page.family(name, kind, help);
        for client in named().chain([&others]) {
            let address = client.address.map_or_else(String::new, |address| address.to_string());
            let labels = [("address", &*address), ("host", &client.host), ("app", &client.app)];
            page.sample(name, &labels, figure(client));
        }
    }
}
