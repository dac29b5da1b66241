//! Stops the process after each single step of writing, turning, sealing and
//! trimming, in every order, and looks at what the next process finds.
//!
//! A plan of what writers, sealer and trimmer do one after the other (and in
//! the middle of each other) runs on a disk in memory, until the process dies
//! at a step of the plan's choice: before it, after it, or in the middle of a
//! write; by kill -9, or with the power. The next process takes over, and then
//! every line that was in the kernel (for a kill) or synced (for a power
//! failure) is there once, in order, and there is no stray file.

mod faults;
mod numbered;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use flate2::read::MultiGzDecoder;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::claims::Claims;
use super::cold::Call;
use super::persist::live::Form;
use super::persist::rounds::Settings;
use super::rotate::name::Name;
use super::seal::{Compressor, Queue, Sealer, whole_members};
use super::ship::Receipts;
use super::tally::kept::Tallies;
use super::test_writer::{SETTINGS, TestWriter};
use super::trim::Trimmer;
use crate::clock::Clock;
use crate::config::checked::Format;
use crate::config::{self, Table};
use crate::disk::Disk;
use crate::disk::simulated::{Cut, Restart, Simulated};

const CONF: &str = "[due]\nrotate = hourly\nbackup_count = 1000\n\
                    [sized]\nrotate = size\nmax_size = 300\nbackup_count = 1000\nflush_every = 50\n\
                    [kept]\nrotate = hourly\nmax_size = 200\nbackup_count = 3\n";

const APPS: [&str; 3] = ["due", "sized", "kept"];

/// What happens next.
#[derive(Clone, Debug)]
enum Action {
    /// So many messages for one application, of which some have two lines.
    Send { app: usize, messages: u8 },
    /// The writer does what is due.
    Round,
    /// Time passes, in minutes; once in a while the clock goes back instead.
    Wait { minutes: i16 },
    /// The sealer looks, and seals a segment; in its middle other things happen.
    Seal { meanwhile: Vec<Action> },
    /// The trimmer does what is due.
    Trim,
    /// SIGHUP.
    Reload,
}

fn action() -> impl Strategy<Value = Action> {
    let simple = prop_oneof![
        4 => (0..APPS.len(), 1..8_u8).prop_map(|(app, messages)| Action::Send { app, messages }),
        4 => Just(Action::Round),
        3 => prop_oneof![5 => 1..200_i16, 1 => -400..0_i16].prop_map(|minutes| Action::Wait { minutes }),
        1 => Just(Action::Trim),
        1 => Just(Action::Reload),
    ];
    let meanwhile = proptest::collection::vec(simple.clone(), 0..4);
    prop_oneof![4 => simple, 1 => meanwhile.prop_map(|meanwhile| Action::Seal { meanwhile })]
}

/// A process: the rooms, and what they hold in memory.
struct Process {
    disk: Simulated,
    now: Instant,
    table: Arc<Table>,
    writer: TestWriter,
    sealer: Arc<Sealer>,
    queue: Queue,
    trimmer: Trimmer,
}

/// What was sent to each application, and how much of it must be found.
#[derive(Clone, Debug, Default)]
struct Sent {
    messages: Vec<String>,
    /// So many were in the kernel before the stop.
    written: usize,
    /// So many were safe.
    synced: usize,
}

fn table() -> Table {
    config::read_facilities(CONF.as_bytes(), Path::new("facilities.conf")).unwrap()
}

impl Process {
    fn start(disk: Simulated, clock: Clock, form: Form) -> Process {
        Process::start_with(table(), disk, clock, form)
    }

    fn start_with(table: Table, disk: Simulated, clock: Clock, form: Form) -> Process {
        let table = Arc::new(table);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let settings = Settings { open_files_max: 2, hosts_max: 10, form, ..SETTINGS };
        let now = Instant::now();
        let mut writer = TestWriter::new(Arc::clone(&shared), clock, settings);
        writer.rounds.adopt(&table, now);
        let sealer = Arc::new(Sealer {
            disk: shared,
            table: Arc::new(ArcSwap::new(Arc::clone(&table))),
            compressor: Mutex::new(Compressor::with_threads(Format::Gzip, 1, 1, || ())),
            claims: Claims::new(),
            tallies: Tallies::none(),
            zone: TimeZone::UTC,
            stats: Arc::clone(&writer.stats),
        });
        let zone = writer.clock.zone().clone();
        let trimmer =
            Trimmer::new(None, zone, Arc::clone(&writer.stats), Receipts::none(), Tallies::none());
        Process { disk, now, table, writer, sealer, queue: Queue::default(), trimmer }
    }

    fn act(&mut self, action: &Action, sent: &mut [Sent; APPS.len()]) {
        match action {
            Action::Send { app, messages } => self.send(*app, *messages, &mut sent[*app]),
            Action::Round => self.round(sent),
            Action::Wait { minutes } => {
                let at =
                    self.writer.clock.now() + jiff::SignedDuration::from_mins((*minutes).into());
                self.writer.clock.set(at);
                self.disk.set_now(at);
                self.now += Duration::from_millis(700);
            }
            Action::Trim => self.trim(),
            Action::Reload => self.writer.rounds.reload(&self.table.clone(), self.now),
            Action::Seal { .. } => unreachable!("sealing needs all of the process"),
        }
    }

    fn send(&mut self, app: usize, messages: u8, sent: &mut Sent) {
        let first = sent.messages.len();
        let bodies: Vec<String> = (first..first + usize::from(messages))
            .map(|number| match number % 5 {
                4 => format!("{number}\nand a second line of it"),
                _ => number.to_string(),
            })
            .collect();
        let shown: Vec<&str> = bodies.iter().map(String::as_str).collect();
        let stamp = self.writer.send(&self.table, APPS[app], "h", &shown);
        let line = |body: &String| format!("{stamp} - h - {}\n", body.replace('\n', "\n\t"));
        sent.messages.extend(bodies.iter().map(line));
    }

    fn round(&mut self, sent: &mut [Sent; APPS.len()]) {
        loop {
            self.writer.rounds.round(self.now, false);
            if self.disk.has_stopped() {
                return;
            }
            if !self.writer.rounds.has_more(self.now, false) {
                break;
            }
        }
        for (app, sent) in APPS.iter().zip(sent) {
            sent.written = sent.messages.len();
            if self.writer.rounds.is_synced(&format!("{app}/root.log")) {
                sent.synced = sent.written;
            }
        }
    }

    fn look(&mut self, all: bool) {
        let folders = APPS.iter().map(|app| (*app).into()).collect();
        self.sealer.look(&Call { folders, room: false, all }, &mut self.queue);
    }

    fn trim(&mut self) {
        let at = self.writer.clock.now();
        self.trimmer.trim(&self.disk, &self.table, &self.sealer.claims, at, None);
    }
}

/// Seals one segment; what happens meanwhile happens between two of its steps.
fn seal(process: &mut Process, meanwhile: &[Action], sent: &mut [Sent; APPS.len()]) {
    process.look(false);
    let mut queue = std::mem::take(&mut process.queue);
    let far = process.now + Duration::from_secs(3600);
    let sealer = Arc::clone(&process.sealer);
    let rest = RefCell::new((process, sent, meanwhile.iter()));
    let go_on = || {
        let (process, sent, meanwhile) = &mut *rest.borrow_mut();
        if let Some(action) = meanwhile.next() {
            process.act(action, sent);
        }
        true
    };
    let _ = sealer.seal_next(&mut queue, far, &go_on);
    let (process, sent, meanwhile) = rest.into_inner();
    process.queue = queue;
    for action in meanwhile {
        process.act(action, sent);
    }
}

fn run(process: &mut Process, plan: &[Action], sent: &mut [Sent; APPS.len()]) {
    for action in plan {
        match action {
            Action::Seal { meanwhile } => seal(process, meanwhile, sent),
            action => process.act(action, sent),
        }
        if process.disk.has_stopped() {
            return;
        }
    }
}

/// All that is on the disk of an application, in the order of the names.
fn content(disk: &Simulated, app: &str) -> String {
    let mut parts = BTreeMap::new();
    for name in disk.names(app).unwrap() {
        let bytes = disk.content(app, &name).unwrap();
        let (place, gzip) = match Name::read(&name) {
            Name::Segment(segment) => (Some(segment.began), segment.format.is_some()),
            Name::Live { gzip, .. } => (None, gzip),
            stray => panic!("{name} is a stray file: {stray:?}"),
        };
        let text = match gzip {
            // A torn end stays until the file is opened to write to it.
            false if place.is_none() => whole_lines(&String::from_utf8(bytes).unwrap()).to_owned(),
            false => String::from_utf8(bytes).unwrap(),
            true => {
                let whole = whole_members(&*bytes).unwrap().bytes;
                let whole = if place.is_none() { &bytes[..whole as usize] } else { &*bytes };
                let mut text = String::new();
                if !whole.is_empty() {
                    MultiGzDecoder::new(whole).read_to_string(&mut text).unwrap();
                }
                text
            }
        };
        // The live file comes last.
        let doubled = parts.insert((place.is_none(), place), text);
        assert_eq!(doubled, None, "{name} is there in two forms");
    }
    parts.into_values().collect()
}

fn whole_lines(text: &str) -> &str {
    &text[..text.rfind('\n').map_or(0, |end| end + 1)]
}

fn messages(text: &str) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        match messages.last_mut() {
            Some(message) if line.starts_with('\t') => message.push_str(line),
            _ => messages.push(line.to_owned()),
        }
    }
    messages
}

/// Is what is left after a stop all that had to be there, once, in order?
fn check(app: &str, found: &[String], sent: &Sent, how: Restart) -> Result<(), TestCaseError> {
    let all = &sent.messages;
    let place = |message: &String| all.iter().position(|sent| sent.starts_with(message.as_str()));
    // Of the first segments some may have been deleted, where that is the rule.
    let first = found.first().and_then(place).filter(|_| app == "kept").unwrap_or(0);
    let mut next = first;
    for message in found {
        let Some(at) = place(message).filter(|&at| at >= next) else {
            return Err(TestCaseError::fail(format!("{app}: {message:?} is not in its place")));
        };
        let skipped = at > next;
        let torn = all[at] != *message;
        let bound = if how == Restart::Killed { sent.written } else { sent.synced };
        // A message of two lines can be torn between them by a stop in the
        // middle of its write; lines are whole in any case.
        prop_assert!(!torn || at >= bound, "{app}: {message:?} is torn");
        prop_assert!(
            !skipped || next >= bound && how != Restart::Killed,
            "{app}: {next} is missing"
        );
        next = at + 1;
    }
    let bound = if how == Restart::Killed { sent.written } else { sent.synced };
    prop_assert!(next >= bound, "{app}: only {next} of {bound} messages are there");
    Ok(())
}

/// Takes over what a stop has left, and does all that there is to do.
fn recover(process: &mut Process, sent: &mut [Sent; APPS.len()]) {
    process.round(sent);
    process.look(true);
    let mut queue = std::mem::take(&mut process.queue);
    while process.sealer.seal_next(&mut queue, process.now, &|| true).is_some() {}
    process.trim();
}

fn survives(
    plan: &[Action],
    stops: &[(usize, Cut)],
    how: Restart,
    form: Form,
) -> Result<(), TestCaseError> {
    let zone = TimeZone::get("Europe/Paris").unwrap();
    let clock = Clock::standing("2026-10-25T00:10:00Z".parse().unwrap(), zone);
    let mut disk = Simulated::new();
    disk.set_now(clock.now());
    let mut sent: [Sent; APPS.len()] = Default::default();
    for (place, &(step, cut)) in stops.iter().enumerate() {
        disk.stop_at(step, cut);
        let mut process = Process::start(disk.clone(), clock.clone(), form);
        if place > 0 {
            recover(&mut process, &mut sent.clone());
        }
        if !disk.has_stopped() {
            run(&mut process, if place == 0 { plan } else { &[] }, &mut sent);
        }
        disk = disk.restart(how);
        disk.set_now(clock.now());
    }
    let mut process = Process::start(disk.clone(), clock.clone(), form);
    recover(&mut process, &mut sent.clone());
    for (app, sent) in APPS.iter().zip(&sent) {
        check(app, &messages(&content(&disk, app)), sent, how)?;
    }
    // What comes then stands behind it.
    for (app, sent) in APPS.iter().zip(&mut sent) {
        let before = content(&disk, app);
        process.send(APPS.iter().position(|other| other == app).unwrap(), 2, sent);
        process.writer.rounds.round(process.now, false);
        while process.writer.rounds.has_more(process.now, false) {
            process.writer.rounds.round(process.now, false);
        }
        let fresh = sent.messages[sent.messages.len() - 2..].concat();
        prop_assert_eq!(content(&disk, app), before + &fresh);
    }
    Ok(())
}

fn cut() -> impl Strategy<Value = Cut> {
    prop_oneof![Just(Cut::Before), Just(Cut::After), (0..400_usize).prop_map(Cut::Amid)]
}

fn stops() -> impl Strategy<Value = Vec<(usize, Cut)>> {
    proptest::collection::vec((0..120_usize, cut()), 1..3)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn a_kill_after_any_step_loses_and_doubles_nothing(
        plan in proptest::collection::vec(action(), 1..24),
        stops in stops(),
        gzip in any::<bool>(),
    ) {
        let form = if gzip { Form::Gzip { level: 1 } } else { Form::Plain };
        survives(&plan, &stops, Restart::Killed, form)?;
    }

    #[test]
    fn a_power_failure_after_any_step_takes_nothing_that_was_synced(
        plan in proptest::collection::vec(action(), 1..24),
        stops in stops(),
        gzip in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let form = if gzip { Form::Gzip { level: 1 } } else { Form::Plain };
        survives(&plan, &stops, Restart::PowerLost(seed), form)?;
    }
}
