//! Whatever happens to the daemon, its clients, the way between them and the
//! disk: every message that a program was told is safe is in the files once, in
//! its order, and every other one is there once or was counted as dropped.
//!
//! Real programs log through the crate, the Python handler and the command;
//! `loghog_tests::proof::ledger` says what must hold of them. `docs/proof.md`
//! tells of a long run.
//!
//! `LOGHOG_CRASH_ROUNDS` sets how many events there are, `LOGHOG_CRASH_MESSAGES`
//! how many messages at least; `make test-crash` asks for many. `LOGHOG_SEED`
//! repeats a run as far as it can be repeated: what is drawn is the same then,
//! the moments at which it happens are nearly so. `LOGHOG_PROOF_REPORT` names a
//! file for the report.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use loghog_tests::certs::Authority;
use loghog_tests::disk::Disk;
use loghog_tests::proof::ledger::{Ledger, Order};
use loghog_tests::proof::program::{PATIENCE, SMALL_DISK, Surroundings};
use loghog_tests::proof::report::{Deeds, Figures};
use loghog_tests::proof::{Kind, Plan, Program};
use loghog_tests::proxy::{Trouble, Troubles};
use loghog_tests::random::Random;
use loghog_tests::scenario::fast_folder;
use loghog_tests::{Daemon, Scenario, Site, files, segments, wait_until};
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// Files that turn by size and are sealed while all that happens; one is
/// synced seldom.
const FACILITIES: &str = "[one]\nrotate = size\nmax_size = 2000000\nbackup_count = 1000000\n\
                          [one:a]\nrotate = size\nmax_size = 500000\nbackup_count = 1000000\n\
                          [one:b]\nrotate = size\nmax_size = 9000000\nbackup_count = 1000000\n\
                          flush_every = 1000\n\
                          [two]\nrotate = size\nmax_size = 1000000\nbackup_count = 1000000\n\
                          secret = my-big-secret\n\
                          [two:a]\nrotate = size\nmax_size = 4000000\nbackup_count = 1000000\n\
                          [three]\nrotate = size\nmax_size = 700000\nbackup_count = 1000000\n\
                          require = tls\n";

const FILES: [(&str, &[&str]); 3] =
    [("one", &["root", "a", "b"]), ("two", &["root", "a"]), ("three", &["root"])];

/// Room for the log files of ten million messages, of which few are sealed.
const DISK_BYTES: u64 = 4 << 30;

/// Room for a spool that may become full.
const SMALL_DISK_BYTES: u64 = 256 << 20;

/// From so many events on there is time to wait for a client that leaves the
/// server alone for a minute: somebody else seemed to have its id.
const EVENTS_OF_LONG_RUN: u64 = 200;

const ONE: &[(&str, &str)] = &[("", "root"), ("a", "a"), ("b", "b"), ("a.below", "a")];
const TWO: &[(&str, &str)] = &[("", "root"), ("a", "a"), ("elsewhere", "root")];
const SECRET: Option<&str> = Some("my-big-secret");

fn plans() -> Vec<Plan> {
    let usual = Plan {
        name: "rust",
        kind: Kind::Rust,
        app: "one",
        loggers: ONE,
        secret: None,
        compression: "",
        tls: false,
        spool: None,
        spool_bytes: 6 << 20,
        has_small_disk: false,
        queue: 100_000,
        waits: true,
        is_killed: true,
    };
    let signed = Plan { app: "two", loggers: TWO, secret: SECRET, ..usual };
    // Smaller than what it logs while nobody takes it.
    let sharing = Plan { spool: Some("shared"), spool_bytes: 4 << 20, ..signed };
    let dropping = Plan { queue: 1500, waits: false, is_killed: false, ..usual };
    let python = Plan { kind: Kind::Python, ..usual };
    let pipe = Plan { kind: Kind::Pipe, loggers: &[("b", "b")], ..usual };
    vec![
        Plan { name: "rust-spool", spool: Some("rust"), compression: "zlib", ..usual },
        Plan { name: "rust-bare", compression: "zstd", ..usual },
        // Each may send what the other has left behind.
        Plan { name: "rust-shared-1", compression: "zstd", ..sharing },
        Plan { name: "rust-shared-2", ..sharing },
        Plan {
            name: "rust-tls",
            app: "three",
            loggers: &[("", "root"), ("web", "root")],
            tls: true,
            spool: Some("tls"),
            compression: "zstd",
            ..usual
        },
        Plan { name: "rust-drops", ..dropping },
        Plan { name: "rust-tiny", spool: Some("tiny"), has_small_disk: true, ..dropping },
        Plan { name: "python-spool", spool: Some("python"), compression: "zstd", ..python },
        Plan { name: "python-bare", app: "two", loggers: TWO, secret: SECRET, ..python },
        Plan { name: "python-drops", kind: Kind::Python, ..dropping },
        Plan { name: "pipe-spool", spool: Some("pipe"), ..pipe },
        Plan { name: "pipe-bare", app: "two", loggers: &[("a", "a")], secret: SECRET, ..pipe },
    ]
}

#[test]
fn what_programs_were_told_is_safe_is_there_once_whatever_happens() {
    let (events, messages) = (asked("LOGHOG_CRASH_ROUNDS", 25), asked("LOGHOG_CRASH_MESSAGES", 1));
    let mut world = World::begin(events);
    while world.event_count() < events || world.safe() < messages {
        world.wait_for_progress(messages / events);
        world.let_go_on();
        world.tell_progress();
        std::thread::sleep(Duration::from_micros(world.random.below(20_000)));
        world.make_trouble();
    }
    let figures = world.end();
    println!("{}", figures.text());
    if let Some(file) = std::env::var_os("LOGHOG_PROOF_REPORT") {
        std::fs::write(file, figures.page()).expect("LOGHOG_PROOF_REPORT is writable");
    }
}

/// Everything that takes part.
struct World {
    random: Random,
    seed: u64,
    is_long: bool,
    programs: Vec<Program>,
    daemon: Option<Daemon>,
    /// By program: whether it is away, and until when.
    away: Vec<Option<Away>>,
    round: u64,
    deeds: Deeds,
    begun: Instant,
    small_disk: Arc<Disk>,
    // Last: who needs them ends first.
    _authority: Authority,
    _folder: TempDir,
}

#[derive(Clone, Copy, Debug)]
enum Away {
    /// Frozen or dead, until this round.
    Until(u64),
    /// It was asked to end, and then begins anew.
    Ending,
}

impl World {
    fn begin(events: u64) -> World {
        let (seed, mut random) = Random::seeded_from_environment();
        let authority = Authority::new();
        let scenario = Scenario::new().facilities(FACILITIES).tls(&authority);
        let scenario = scenario.option("compressor", "level", "0").tiny_disk(DISK_BYTES);
        let daemon = scenario.fast_disk().start();
        // A spool is synced every second: where that costs nothing.
        let folder = TempDir::with_prefix_in("loghog-proof-", fast_folder());
        let folder = folder.expect("a writable folder");
        let at = folder.path().join(SMALL_DISK);
        std::fs::create_dir(&at).expect("a writable folder");
        let small_disk = Arc::new(Disk::mount(&at, SMALL_DISK_BYTES));
        let around = Surroundings {
            folder: folder.path().to_owned(),
            pemfile: authority.client("web-1").pem().to_owned(),
            cacert: authority.certificate(),
            small_disk: Arc::clone(&small_disk),
        };
        let programs: Vec<Program> =
            plans().into_iter().map(|plan| Program::new(plan, &around, random.fork())).collect();
        let mut world = World {
            random,
            seed,
            is_long: events >= EVENTS_OF_LONG_RUN,
            daemon: Some(daemon),
            away: vec![None; programs.len()],
            programs,
            round: 0,
            deeds: Deeds::default(),
            begun: Instant::now(),
            small_disk,
            _authority: authority,
            _folder: folder,
        };
        world.lead_to_daemon();
        world.programs.iter_mut().for_each(Program::start);
        world
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("there is one between two events")
    }

    fn lead_to_daemon(&mut self) {
        let daemon = self.daemon();
        for program in &self.programs {
            program.way.lead_to(if program.plan.tls { daemon.tls() } else { daemon.tcp() });
        }
    }

    /// How many messages programs know to be safe.
    fn safe(&mut self) -> u64 {
        self.programs.iter_mut().map(Program::look).sum()
    }

    fn troubles(&self) -> Troubles {
        let mut all = Troubles::default();
        self.programs.iter().for_each(|program| all += program.way.troubles());
        all
    }

    fn event_count(&self) -> u64 {
        self.deeds.total() + self.troubles().total()
    }

    /// A long run says every so often how far it is.
    fn tell_progress(&mut self) {
        if self.round.is_multiple_of(50) {
            let (events, safe, took) = (self.event_count(), self.safe(), self.begun.elapsed());
            println!("{events} events, {safe} messages are safe, after {} s", took.as_secs());
        }
    }

    /// Waits until so many more messages are known to be safe, at least one.
    fn wait_for_progress(&mut self, more: u64) {
        let goal = self.safe() + more.max(1);
        wait_until(PATIENCE, "more messages are safe", || (self.safe() >= goal).then_some(()));
    }

    /// Those who have been away for long enough come back.
    fn let_go_on(&mut self) {
        self.round += 1;
        for (program, away) in self.programs.iter_mut().zip(&mut self.away) {
            let is_back = match away {
                None => false,
                Some(Away::Until(round)) => *round <= self.round,
                Some(Away::Ending) => program.has_ended(),
            };
            if is_back {
                *away = None;
                match program.is_running() {
                    true => program.signal(Signal::SIGCONT),
                    false => program.start(),
                }
            }
        }
    }

    fn make_trouble(&mut self) {
        match self.random.below(100) {
            0..17 => self.kill_daemon(),
            17..27 => self.freeze_daemon(),
            27..32 => self.stop_daemon(),
            32..39 => self.fill_disk(),
            39..42 => self.fill_spool(),
            42..57 => self.kill_program(),
            57..63 => self.freeze_program(),
            63..67 => self.end_program(),
            67..92 => self.trouble_way(),
            _ => self.let_overtake(),
        }
    }

    fn nap(&mut self, ms_max: u64) {
        std::thread::sleep(Duration::from_millis(self.random.below(ms_max)));
    }

    fn restart(&mut self, site: Site) {
        self.daemon = Some(site.start());
        self.lead_to_daemon();
    }

    fn kill_daemon(&mut self) {
        let site = self.daemon.take().expect("there is one").kill();
        self.deeds.daemon_kills += 1;
        // Nobody is there for a moment, or for a longer one.
        let ms = if self.random.below(4) == 0 { 600 } else { 30 };
        self.nap(ms);
        self.restart(site);
        if self.random.below(3) == 0 {
            // Once more when all come back with what they hold.
            self.nap(300);
            self.kill_daemon();
        }
    }

    fn freeze_daemon(&mut self) {
        self.daemon().signal(Signal::SIGSTOP);
        self.deeds.daemon_freezes += 1;
        self.nap(500);
        match self.random.below(4) {
            0 => self.kill_daemon(),
            // In the middle of what has come meanwhile.
            1 => {
                self.daemon().signal(Signal::SIGCONT);
                std::thread::sleep(Duration::from_micros(self.random.below(10_000)));
                self.kill_daemon();
            }
            _ => self.daemon().signal(Signal::SIGCONT),
        }
    }

    fn stop_daemon(&mut self) {
        let stopped = self.daemon.take().expect("there is one").stop();
        assert!(stopped.status.success(), "{}", stopped.said);
        self.deeds.daemon_stops += 1;
        self.restart(stopped.site);
    }

    fn fill_disk(&mut self) {
        let bytes = self.random.below(256 << 10);
        self.daemon().site().disk().leave_free(bytes);
        self.deeds.disk_fills += 1;
        self.nap(700);
        if self.random.below(3) > 0 {
            return self.daemon().site().disk().free();
        }
        let site = self.daemon.take().expect("there is one").kill();
        self.deeds.daemon_kills += 1;
        // It may start on a full disk, or say why not.
        match site.try_start() {
            Ok(daemon) => {
                daemon.site().disk().free();
                self.daemon = Some(daemon);
                self.lead_to_daemon();
            }
            Err(stopped) => {
                assert!(stopped.said.contains("No space left"), "{}", stopped.said);
                stopped.site.disk().free();
                self.restart(stopped.site);
            }
        }
    }

    /// Long enough for the client to notice; it looks again later.
    fn fill_spool(&mut self) {
        let bytes = self.random.below(64 << 10);
        self.small_disk.leave_free(bytes);
        self.deeds.spool_fills += 1;
        self.nap(400);
        self.small_disk.free();
    }

    /// One of those who are there.
    fn draw_program(&mut self, is_meant: impl Fn(&Plan) -> bool) -> Option<usize> {
        let there: Vec<usize> = (0..self.programs.len())
            .filter(|at| self.away[*at].is_none() && is_meant(&self.programs[*at].plan))
            .collect();
        let place = self.random.below(there.len().max(1) as u64);
        there.get(usize::try_from(place).expect("few")).copied()
    }

    fn kill_program(&mut self) {
        let Some(at) = self.draw_program(|plan| plan.is_killed) else { return };
        self.programs[at].kill();
        self.deeds.program_kills += 1;
        self.begin_again(at);
    }

    /// At once, or some rounds later.
    fn begin_again(&mut self, at: usize) {
        match self.random.below(4) {
            rounds @ 1.. => self.away[at] = Some(Away::Until(self.round + rounds)),
            0 => self.programs[at].start(),
        }
    }

    fn freeze_program(&mut self) {
        let Some(at) = self.draw_program(|_| true) else { return };
        self.programs[at].signal(Signal::SIGSTOP);
        self.deeds.program_freezes += 1;
        if self.random.below(3) == 0 && self.programs[at].plan.is_killed {
            self.nap(300);
            self.programs[at].kill();
            self.deeds.program_kills += 1;
            return self.begin_again(at);
        }
        self.away[at] = Some(Away::Until(self.round + 1 + self.random.below(3)));
    }

    fn end_program(&mut self) {
        let Some(at) = self.draw_program(|_| true) else { return };
        self.programs[at].ask_to_finish();
        self.deeds.program_ends += 1;
        self.away[at] = Some(Away::Ending);
    }

    fn trouble_way(&mut self) {
        let Some(at) = self.draw_program(|_| true) else { return };
        let (random, is_long) = (&mut self.random, self.is_long);
        // Longer than a client bears it, where there is time for that.
        let is_endless = is_long && random.below(4) == 0;
        let mut up_to = |ms| Duration::from_millis(1 + random.below(ms));
        let troubles = [
            Trouble::Cut,
            Trouble::Hole(if is_endless { PATIENCE } else { up_to(900) }),
            Trouble::Delay(up_to(500)),
            Trouble::Late(up_to(500)),
        ];
        // A greeting that is late can do what one that was overtaken does.
        let is_patient = is_long || self.programs[at].plan.secret.is_some();
        let kinds = if is_patient { 4 } else { 3 };
        let trouble = troubles[usize::try_from(random.below(kinds)).expect("few")];
        let to_client = random.below(3) == 0;
        // There is less to tell to a client.
        let behind = random.below(if to_client { 300 } else { 20_000 });
        self.programs[at].way.order(trouble, to_client, behind);
    }

    /// The next connection reaches the daemon after one that is made later: the
    /// program loses patience, or is killed and begins anew.
    fn let_overtake(&mut self) {
        // Without a secret anybody can end the session of another; the client
        // then leaves the server alone for a minute.
        let is_long = self.is_long;
        let waits_little =
            |plan: &Plan| plan.secret.is_some() || (plan.spool.is_none() && plan.is_killed);
        let Some(at) = self.draw_program(|plan| is_long || waits_little(plan)) else { return };
        let behind = Duration::from_millis(self.random.below(300));
        let program = &mut self.programs[at];
        program.way.order(Trouble::Overtaken(behind), false, 0);
        if program.plan.is_killed {
            program.kill();
            program.start();
            self.nap(400);
            self.programs[at].kill();
            self.programs[at].start();
            self.deeds.program_kills += 2;
        }
    }

    /// Lets everything come to its end, and reads the files.
    fn end(mut self) -> Figures {
        let (deeds, troubles) = (self.deeds, self.troubles());
        let troubled = self.begun.elapsed();
        self.finish_programs();
        let took = self.begun.elapsed();
        println!("calm after {} s, ended after {} s", troubled.as_secs(), took.as_secs());
        let daemon = self.daemon.take().expect("there is one");
        let stopped = daemon.stop();
        assert!(stopped.status.success(), "{}", stopped.said);
        let stats = stopped.stats();
        assert_eq!((stats["segments_damaged"], stats["lines_lost"]), (0, 0));
        assert_nothing_is_set_aside(&stopped.site.log_dir_outside());
        let own_log = std::fs::read_to_string(stopped.site.own_log_file()).expect("readable");
        let said = |text| own_log.matches(text).count() as u64;
        let (refusals, cut_off) = (said("make room"), said("which were being written at the stop"));

        let checking = Instant::now();
        let programs = self.programs.iter().map(|program| (program.plan, program.accounts()));
        let mut ledger = Ledger::new(programs);
        let (files, sealed) = read_all(&stopped.site.log_dir_outside(), &mut ledger);
        let sums = ledger.judge().unwrap_or_else(|faults| panic!("{faults}"));
        let (seed, checking_took) = (self.seed, checking.elapsed());
        Figures {
            seed,
            deeds,
            troubles,
            refusals,
            cut_off,
            sums,
            files,
            sealed,
            took,
            checking_took,
        }
    }

    /// All come back, and end when all that they hold is safe.
    fn finish_programs(&mut self) {
        for (program, away) in self.programs.iter_mut().zip(&mut self.away) {
            program.way.calm();
            if let Some(Away::Until(_)) = away.take() {
                match program.is_running() {
                    true => program.signal(Signal::SIGCONT),
                    false => program.start(),
                }
            }
        }
        for program in self.programs.iter_mut().filter(|program| program.is_running()) {
            program.ask_to_finish();
        }
        for program in &mut self.programs {
            let what = format!("{} has ended, and left nothing", program.plan.name);
            wait_until(2 * PATIENCE, &what, || {
                let has_ended = program.has_ended();
                let has_left_something = has_ended && program.has_left_something();
                if has_left_something {
                    program.start();
                    program.ask_to_finish();
                }
                (has_ended && !has_left_something).then_some(())
            });
        }
        for program in &mut self.programs {
            let what = format!("the spool of {} is empty", program.plan.name);
            wait_until(2 * PATIENCE, &what, || {
                if !program.has_ended() {
                    return None;
                }
                let is_empty = !program.has_spooled_messages();
                if !is_empty {
                    program.start();
                    program.ask_to_finish();
                }
                is_empty.then_some(())
            });
        }
    }
}

/// Reads every file in the order of its segments; how many they were, and
/// how many of them sealed.
fn read_all(folder: &Path, ledger: &mut Ledger<'_>) -> (usize, usize) {
    let mut count = (0, 0);
    for (app, stems) in FILES {
        for stem in stems {
            let mut order = Order::default();
            for name in segments::names(&folder.join(app), stem) {
                let text = segments::read(&folder.join(app).join(&name));
                for record in files::records(&text) {
                    ledger.note((app, stem), &mut order, &record);
                }
                count.0 += 1;
                count.1 += usize::from(segments::is_sealed(&name));
            }
        }
    }
    count
}

/// What is not whole would be. On a busy machine not all is sealed by now, and
/// something may be on its way.
fn assert_nothing_is_set_aside(folder: &Path) {
    let names = files::tree(folder);
    let damaged: Vec<&String> = names.iter().filter(|name| name.contains(".damaged")).collect();
    assert!(damaged.is_empty(), "{damaged:?}");
}

fn asked(variable: &str, usual: u64) -> u64 {
    match std::env::var(variable) {
        Ok(number) => number.parse().unwrap_or_else(|_| panic!("{variable} is no number")),
        Err(_) => usual,
    }
}
