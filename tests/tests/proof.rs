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
use std::time::{Duration, Instant};

use loghog_tests::certs::Authority;
use loghog_tests::proof::ledger::{Ledger, Order};
use loghog_tests::proof::program::{PATIENCE, Place};
use loghog_tests::proof::report::{Deeds, Figures};
use loghog_tests::proof::{Kind, Plan, Program};
use loghog_tests::proxy::{Trouble, Troubles};
use loghog_tests::random::Random;
use loghog_tests::scenario::fast_folder;
use loghog_tests::segments::{self, assert_nothing_else};
use loghog_tests::{Daemon, Scenario, Site, files, wait_until};
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
        queue: 100_000,
        waits: true,
        is_killed: true,
    };
    let signed = Plan { app: "two", loggers: TWO, secret: SECRET, ..usual };
    let python = Plan { kind: Kind::Python, ..usual };
    let pipe = Plan { kind: Kind::Pipe, loggers: &[("b", "b")], ..usual };
    vec![
        Plan { name: "rust-spool", spool: Some("rust"), compression: "zlib", ..usual },
        Plan { name: "rust-bare", compression: "zstd", ..usual },
        // Each may send what the other has left behind.
        Plan { name: "rust-shared-1", spool: Some("shared"), compression: "zstd", ..signed },
        Plan { name: "rust-shared-2", spool: Some("shared"), ..signed },
        Plan {
            name: "rust-tls",
            app: "three",
            loggers: &[("", "root"), ("web", "root")],
            tls: true,
            spool: Some("tls"),
            compression: "zstd",
            ..usual
        },
        Plan { name: "rust-drops", queue: 1500, waits: false, is_killed: false, ..usual },
        Plan { name: "python-spool", spool: Some("python"), compression: "zstd", ..python },
        Plan { name: "python-bare", app: "two", loggers: TWO, secret: SECRET, ..python },
        Plan { name: "python-drops", queue: 1000, waits: false, is_killed: false, ..python },
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
        std::thread::sleep(Duration::from_micros(world.random.below(20_000)));
        world.make_trouble();
    }
    let figures = world.end();
    println!("{}", figures.text());
    if let Some(file) = std::env::var_os("LOGHOG_PROOF_REPORT") {
        std::fs::write(file, figures.page(INTRODUCTION)).expect("LOGHOG_PROOF_REPORT is writable");
    }
}

/// Everything that takes part.
struct World {
    random: Random,
    seed: u64,
    is_long: bool,
    programs: Vec<Program>,
    daemon: Option<Daemon>,
    /// By program: until that round it is frozen, or dead.
    away: Vec<Option<u64>>,
    round: u64,
    deeds: Deeds,
    begun: Instant,
    // Last: who needs it ends first.
    _authority: Authority,
    folder: TempDir,
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
        let place = Place {
            folder: folder.path().to_owned(),
            pemfile: authority.client("web-1").pem().to_owned(),
            cacert: authority.certificate(),
        };
        let programs: Vec<Program> =
            plans().into_iter().map(|plan| Program::new(plan, &place, random.fork())).collect();
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
            _authority: authority,
            folder,
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

    /// Waits until so many more messages are known to be safe, at least one.
    fn wait_for_progress(&mut self, more: u64) {
        let goal = self.safe() + more.max(1);
        wait_until(PATIENCE, "more messages are safe", || (self.safe() >= goal).then_some(()));
    }

    /// Those who have been away for long enough come back.
    fn let_go_on(&mut self) {
        self.round += 1;
        for (program, away) in self.programs.iter_mut().zip(&mut self.away) {
            if away.take_if(|until| *until <= self.round).is_some() {
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
            32..41 => self.fill_disk(),
            41..60 => self.kill_program(),
            60..67 => self.freeze_program(),
            67..71 => self.end_program(),
            71..96 => self.trouble_way(),
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
    }

    fn freeze_daemon(&mut self) {
        self.daemon().signal(Signal::SIGSTOP);
        self.deeds.daemon_freezes += 1;
        self.nap(500);
        if self.random.below(3) == 0 {
            self.kill_daemon();
        } else {
            self.daemon().signal(Signal::SIGCONT);
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
            rounds @ 1.. => self.away[at] = Some(self.round + rounds),
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
        self.away[at] = Some(self.round + 1 + self.random.below(3));
    }

    fn end_program(&mut self) {
        // Others need the server for it, which may take long.
        let Some(at) = self.draw_program(|plan| plan.kind == Kind::Pipe) else { return };
        self.programs[at].finish();
        self.deeds.program_ends += 1;
        self.begin_again(at);
    }

    fn trouble_way(&mut self) {
        let Some(at) = self.draw_program(|_| true) else { return };
        let random = &mut self.random;
        let mut up_to = |ms| Duration::from_millis(1 + random.below(ms));
        let troubles = [
            Trouble::Cut,
            Trouble::Hole(up_to(900)),
            Trouble::Delay(up_to(500)),
            Trouble::Late(up_to(500)),
        ];
        let trouble = troubles[usize::try_from(random.below(4)).expect("few")];
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
        let waits_little = |plan: &Plan| plan.secret.is_some() || plan.spool.is_none();
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
        self.finish_programs();
        let took = self.begun.elapsed();
        let daemon = self.daemon.take().expect("there is one");
        let folder = daemon.log_dir();
        for (app, stems) in FILES {
            for stem in stems {
                segments::wait_until_sealed(&folder.join(app), stem, 0);
            }
            assert_nothing_else(&folder.join(app), stems);
        }
        let stopped = daemon.stop();
        assert!(stopped.status.success(), "{}", stopped.said);
        let stats = stopped.stats();
        assert_eq!((stats["segments_damaged"], stats["lines_lost"]), (0, 0));
        let own_log = std::fs::read_to_string(stopped.site.own_log_file()).expect("readable");
        let refusals = own_log.matches("make room").count() as u64;

        let checking = Instant::now();
        let programs = self.programs.iter().map(|program| (program.plan, program.accounts()));
        let mut ledger = Ledger::new(programs);
        let files = read_all(&folder_of(&stopped.site), &mut ledger);
        let sums = ledger.judge().unwrap_or_else(|faults| {
            let kept = self.folder.path().display();
            panic!("LOGHOG_SEED={}, {kept}: {faults}", self.seed)
        });
        let (seed, checking_took) = (self.seed, checking.elapsed());
        Figures { seed, deeds, troubles, refusals, sums, files, took, checking_took }
    }

    /// All come back, and end when all that they hold is safe.
    fn finish_programs(&mut self) {
        for (program, away) in self.programs.iter_mut().zip(&mut self.away) {
            program.way.calm();
            match (away.take(), program.is_running()) {
                (Some(_), true) => program.signal(Signal::SIGCONT),
                (_, false) => program.start(),
                _ => {}
            }
        }
        // A run that ends at once has nothing that is behind what earlier ones left.
        self.wait_for_progress(1);
        self.programs.iter_mut().for_each(Program::ask_to_finish);
        for program in &mut self.programs {
            assert!(program.finish(), "{} is not told that all is safe", program.plan.name);
        }
    }
}

fn folder_of(site: &Site) -> std::path::PathBuf {
    site.log_dir_outside()
}

/// Reads every file in the order of its segments; how many they were.
fn read_all(folder: &Path, ledger: &mut Ledger<'_>) -> usize {
    let mut count = 0;
    for (app, stems) in FILES {
        for stem in stems {
            let mut order = Order::default();
            for name in segments::names(&folder.join(app), stem) {
                let text = segments::read(&folder.join(app).join(name));
                for record in files::records(&text) {
                    ledger.note((app, stem), &mut order, &record);
                }
                count += 1;
            }
        }
    }
    count
}

fn asked(variable: &str, usual: u64) -> u64 {
    match std::env::var(variable) {
        Ok(number) => number.parse().unwrap_or_else(|_| panic!("{variable} is no number")),
        Err(_) => usual,
    }
}

const INTRODUCTION: &str = "# The proof\n";
