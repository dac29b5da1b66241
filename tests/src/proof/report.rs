//! The page that tells of a run of the proof.
//! Figures -> Markdown.
//! Invariant: no figure is typed by hand.
//! Leaves out: who asks for it.

use std::time::Duration;

use super::ledger::Sums;
use crate::proxy::Troubles;

/// What does not change from run to run.
const INTRODUCTION: &str = include_str!("introduction.md");

/// What was done to daemon, programs and disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deeds {
    /// kill -9 of the daemon, and a new start.
    pub daemon_kills: u64,
    /// SIGSTOP of the daemon, and later SIGCONT or kill -9.
    pub daemon_freezes: u64,
    /// SIGTERM of the daemon, and a new start.
    pub daemon_stops: u64,
    /// The disk of the log folder became full, and later empty again.
    pub disk_fills: u64,
    /// The same of the disk of a spool.
    pub spool_fills: u64,
    /// kill -9 of a program, and a new start.
    pub program_kills: u64,
    /// SIGSTOP of a program, and later SIGCONT or kill -9.
    pub program_freezes: u64,
    /// A program ended by itself, and started anew.
    pub program_ends: u64,
}

/// All that is told.
#[derive(Clone, Debug)]
pub struct Figures {
    /// What the run was drawn by.
    pub seed: u64,
    /// What was done.
    pub deeds: Deeds,
    /// What happened on the way.
    pub troubles: Troubles,
    /// How often the daemon said that a file refuses its lines.
    pub refusals: u64,
    /// How often it cut off what had been written in part when it was killed.
    pub cut_off: u64,
    /// What was found.
    pub sums: Sums,
    /// Log files and segments that were read.
    pub files: usize,
    /// Of these, how many were sealed.
    pub sealed: usize,
    /// How long it took until all was calm.
    pub took: Duration,
    /// How long reading the files took.
    pub checking_took: Duration,
}

impl Deeds {
    /// All together.
    pub fn total(&self) -> u64 {
        self.daemon_kills
            + self.daemon_freezes
            + self.daemon_stops
            + self.disk_fills
            + self.spool_fills
            + self.program_kills
            + self.program_freezes
            + self.program_ends
    }
}

impl Figures {
    /// Everything that happened, by kind.
    fn events(&self) -> [(&'static str, u64); 13] {
        let Figures { deeds, troubles, .. } = self;
        [
            ("daemon: kill -9, and a new start", deeds.daemon_kills),
            ("daemon: SIGSTOP, later SIGCONT or kill -9", deeds.daemon_freezes),
            ("daemon: SIGTERM, and a new start", deeds.daemon_stops),
            ("disk of the log folder: full, later free again", deeds.disk_fills),
            ("disk of a spool: full, later free again", deeds.spool_fills),
            ("program: kill -9, and a new start", deeds.program_kills),
            ("program: SIGSTOP, later SIGCONT or kill -9", deeds.program_freezes),
            ("program: its own end, and a new start", deeds.program_ends),
            ("way: cut at some byte", troubles.cuts),
            ("way: all swallowed, later cut", troubles.holes),
            ("way: delayed", troubles.delays),
            ("way: over for the client, what it had sent arrives later", troubles.late),
            ("way: overtaken by a connection made later", troubles.overtaken),
        ]
    }

    /// How many events there were.
    pub fn event_count(&self) -> u64 {
        self.deeds.total() + self.troubles.total()
    }

    /// Name and value of each figure, as rows of a table.
    fn rows(&self) -> Vec<(String, String)> {
        let Figures { sums, .. } = self;
        let mut rows: Vec<(String, String)> = Vec::new();
        let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
        for (event, count) in self.events() {
            row(event, thousands(count));
        }
        row("events", thousands(self.event_count()));
        row("the daemon found the disk full", thousands(self.refusals));
        row("the daemon cut off what a kill had left half written", thousands(self.cut_off));
        row("messages in the files, each once", thousands(sums.messages));
        row("of these, known to be safe to their programs", thousands(sums.durable));
        row("messages dropped and counted", thousands(sums.dropped));
        row("messages that ended with programs that were killed, at most", thousands(sums.ended));
        row(
            "the most of these in one run of a program with a spool",
            thousands(sums.ended_with_spool_max),
        );
        row("messages sent again", thousands(sums.resent));
        row("runs of programs", thousands(sums.runs));
        row("connections behind the first of a run", thousands(sums.reconnects));
        row("files read", thousands(self.files as u64));
        row("of these, sealed by then", thousands(self.sealed as u64));
        row("duration", format!("{} s", self.took.as_secs()));
        row("reading all files", format!("{} s", self.checking_took.as_secs()));
        row("LOGHOG_SEED", self.seed.to_string());
        rows
    }

    /// For the test's output.
    pub fn text(&self) -> String {
        self.rows().iter().map(|(name, value)| format!("{value:>20}  {name}\n")).collect()
    }

    /// The page.
    pub fn page(&self) -> String {
        let rows = self.rows();
        let rows: String =
            rows.iter().map(|(name, value)| format!("| {name} | {value} |\n")).collect();
        format!("{INTRODUCTION}\n| what | how many |\n| --- | ---: |\n{rows}")
    }
}

/// `1,234,567`
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
