//! Answers `loghogd top`: who sends how much, again and again.
//! Two looks at the accounts of clients -> messages a second by application and host.
//! Invariant: it asks once in a while; the daemon does no work for it meanwhile.
//! Leaves out: counting (`ledger`).

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::Path;
use std::thread;
use std::time::Instant;

use indicatif::HumanBytes;

use super::running::{ask, not_understood, rundir};
use super::status::head;
use super::table::{self, Paint, number, paint, tame, whole};
use super::{tell, tell_json};
use crate::cli::{EX_OK, TopArgs};
use crate::control::{Answer, Question};
use crate::ledger::{Client, Counts};
use crate::stats::Counter;
use crate::status::Report;

/// Rows that are shown when nobody says how high the terminal is.
const ROWS: usize = 20;
/// Lines above and below the rows.
const FRAME: usize = 7;

/// Shows who sends how much, until interrupted.
pub fn top(args: &TopArgs) -> u8 {
    let rundir = match rundir(&args.config, &args.overrides) {
        Ok(rundir) => rundir,
        Err(code) => return code,
    };
    let mut before = match look(&rundir) {
        Ok(look) => look,
        Err(code) => return code,
    };
    let mut shown = 0;
    while args.count.is_none_or(|count| shown < count) {
        thread::sleep(args.every);
        let now = match look(&rundir) {
            Ok(look) => look,
            Err(code) => return code,
        };
        let rows = rates(&before, &now);
        match args.json {
            true => tell_json(&rows, false),
            false => show(&before, &now, &rows),
        }
        before = now;
        shown += 1;
    }
    EX_OK
}

/// What was seen at some moment.
struct Look {
    at: Instant,
    report: Report,
    clients: Vec<Client>,
}

fn look(rundir: &Path) -> Result<Look, u8> {
    let Answer::Status(report) = ask(rundir, &Question::Status)? else {
        return Err(not_understood());
    };
    let Answer::Clients(clients) = ask(rundir, &Question::Clients)? else {
        return Err(not_understood());
    };
    Ok(Look { at: Instant::now(), report: *report, clients })
}

/// What an application on a host sends.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
struct Row {
    app: String,
    host: String,
    /// Messages a second.
    received_a_second: f64,
    /// Refusals a second.
    refused_a_second: f64,
    /// Since the daemon started.
    #[serde(flatten)]
    all: Counts,
}

/// By application and host, whatever the address; who sends most comes first.
fn rates(before: &Look, now: &Look) -> Vec<Row> {
    let by_name = |clients: &[Client]| {
        let mut sums: HashMap<(String, String), Counts> = HashMap::new();
        for client in clients {
            let name = (client.app.clone(), client.host.clone());
            sums.entry(name).or_default().add(client.counts);
        }
        sums
    };
    let earlier = by_name(&before.clients);
    let seconds = now.at.duration_since(before.at).as_secs_f64().max(0.001);
    let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
    let row = |((app, host), all): ((String, String), Counts)| {
        let name = (app, host);
        let before = earlier.get(&name).copied().unwrap_or_default();
        Row {
            received_a_second: rate(all.received, before.received),
            refused_a_second: rate(all.refused, before.refused),
            all,
            app: name.0,
            host: name.1,
        }
    };
    let mut rows: Vec<Row> = by_name(&now.clients).into_iter().map(row).collect();
    rows.sort_by(|one, other| {
        let busy = |row: &Row| row.received_a_second + row.refused_a_second;
        busy(other)
            .total_cmp(&busy(one))
            .then(other.all.received.cmp(&one.all.received))
            .then_with(|| (&one.app, &one.host).cmp(&(&other.app, &other.host)))
    });
    rows
}

fn show(before: &Look, now: &Look, rows: &[Row]) {
    let is_terminal = std::io::stdout().is_terminal();
    let height = terminal_rows().filter(|_| is_terminal).unwrap_or(ROWS + FRAME);
    let seconds = now.at.duration_since(before.at).as_secs_f64().max(0.001);
    let rate = |counter: Counter| {
        let value = |look: &Look| look.report.counter(counter.name());
        whole(value(now).saturating_sub(value(before)) as f64 / seconds)
    };
    let mut lines = vec![head(&now.report)];
    if let Some(reason) = now.report.health.reasons.first() {
        lines.push(format!("  {}: {}", reason.code, reason.text));
    }
    lines.push(format!(
        "{} messages/s, {}/s written, {} syncs/s; {} connections; queue {}",
        number(rate(Counter::Records)),
        HumanBytes(rate(Counter::Bytes)),
        number(rate(Counter::Syncs)),
        number(now.report.connections),
        HumanBytes(now.report.queue_bytes),
    ));
    lines.push(String::new());
    let head = ["MESSAGES/s", "REFUSED/s", "APP", "HOST", "RECEIVED", "REFUSED"];
    let room = height.saturating_sub(FRAME).max(1);
    let cells = rows.iter().take(room).map(|row| {
        [
            number(whole(row.received_a_second)),
            number(whole(row.refused_a_second)),
            tame(&row.app),
            tame(&row.host),
            number(row.all.received),
            number(row.all.refused),
        ]
    });
    let mut table = table::lines(&head, cells, &[0, 1, 4, 5]).into_iter();
    lines.extend(table.next().map(|head| paint(Paint::Bold, &head)));
    lines.extend(table);
    if rows.len() > room {
        lines.push(format!("... and {} more", number((rows.len() - room) as u64)));
    }
    // Home, each line with what was right of it erased, then what was below (ECMA-48).
    match is_terminal {
        true => tell(&format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\n"))),
        false => tell(&lines.join("\n")),
    }
}

/// How many lines the terminal has.
fn terminal_rows() -> Option<usize> {
    let (rows, _) = console::Term::stdout().size_checked()?;
    Some(usize::from(rows)).filter(|rows| *rows > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    fn client(address: u32, host: &str, app: &str, received: u64) -> Client {
        Client {
            address: Some(IpAddr::V4(Ipv4Addr::from(address))),
            host: host.to_owned(),
            app: app.to_owned(),
            counts: Counts::received(received),
            kernel_dropped: 0,
            first: None,
            last: None,
        }
    }

    fn look(at: Instant, clients: Vec<Client>) -> Look {
        let report = crate::status::report::tests::report();
        Look { at, report, clients }
    }

    #[test]
    fn rates_are_by_application_and_host_and_the_busiest_comes_first() {
        let begin = Instant::now();
        let before = look(begin, vec![client(1, "h", "a", 100), client(1, "h", "b", 5)]);
        let clients = vec![
            client(1, "h", "a", 110),
            client(2, "h", "a", 10),
            client(1, "h", "b", 205),
            client(1, "new", "a", 2),
        ];
        let now = look(begin + Duration::from_secs(2), clients);
        let rows = rates(&before, &now);
        let shown: Vec<_> = rows
            .iter()
            .map(|row| (&*row.app, &*row.host, row.received_a_second, row.all.received))
            .collect();
        let expected = [("b", "h", 100.0, 205), ("a", "h", 10.0, 120), ("a", "new", 1.0, 2)];
        assert_eq!(shown, expected);
    }
}
