//! A client program, run after run.
//! A `Plan` -> a process that logs over a way of its own; its end -> the next run.
//! Invariant: it is signalled by its own process id, and ends with the test.
//! Leaves out: when something happens to it (the scenario).
//!
//! Programs of the test's own are started with a file of JSON:
//!
//! ```text
//! name, run, seed     who it is; the host's name is its name
//! app, loggers        where its messages go, in turn
//! port, secret        the server on localhost
//! pemfile, cacert     for TLS, or null
//! compression         "zlib", "zstd" or ""
//! spool               a folder, or null
//! spool_bytes         how large it becomes
//! queue               messages that wait at most
//! waits               whether it logs only as fast as it is acknowledged
//! diary               the file for its diary, see `account`
//! ```

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::account::{Account, Diary};
use super::pipe::Feeder;
use crate::binaries::{binary, python};
use crate::disk::Disk;
use crate::files;
use crate::golden;
use crate::proxy::Proxy;
use crate::random::Random;

/// Longer than a client leaves a server alone that has ended its session for
/// another one of the same id, and longer than it bears one without an answer.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The folder of the small disk, below that of the programs.
pub const SMALL_DISK: &str = "small-disk";

/// What kind of program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Over the crate `loghog`.
    Rust,
    /// Over the handler for `logging`.
    Python,
    /// The command `loghog pipe`.
    Pipe,
}

/// What a program is like.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Its name; it travels as the host's.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its application.
    pub app: &'static str,
    /// Its loggers, each with the stem of its file. A pipe has one.
    pub loggers: &'static [(&'static str, &'static str)],
    /// Its application's secret.
    pub secret: Option<&'static str>,
    /// `zlib`, `zstd` or nothing.
    pub compression: &'static str,
    /// Whether it comes over TLS.
    pub tls: bool,
    /// The name of its spool. Programs that give the same one share it.
    pub spool: Option<&'static str>,
    /// How large it becomes; its files are a quarter of that. A pipe chooses
    /// for itself.
    pub spool_bytes: u64,
    /// Whether the disk of the spool may become full. What waits in memory then
    /// would end with the program before what came later: it is not killed.
    pub has_small_disk: bool,
    /// How many messages may wait in it.
    pub queue: usize,
    /// Whether it logs no faster than it is acknowledged, and so drops nothing.
    pub waits: bool,
    /// Whether it may be killed.
    pub is_killed: bool,
}

/// Where programs work.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// For plans, diaries, spools and what is said on standard error.
    pub folder: PathBuf,
    /// Key and certificate, and the authority's certificate.
    pub pemfile: PathBuf,
    /// See `pemfile`.
    pub cacert: PathBuf,
    /// For the spools that may find no room; it is mounted below `folder`.
    pub small_disk: Arc<Disk>,
}

/// A program, at work or between two runs.
#[derive(Debug)]
pub struct Program {
    /// What it is like.
    pub plan: Plan,
    /// Its way to the daemon.
    pub way: Proxy,
    around: Surroundings,
    accounts: Vec<Account>,
    running: Option<Running>,
    /// Where what the last run says begins, among all that was said.
    said_before: usize,
    random: Random,
}

#[derive(Debug)]
struct Running {
    child: Child,
    voice: Voice,
    is_ending: bool,
}

/// How a run tells what it does.
#[derive(Debug)]
enum Voice {
    Diary(Diary),
    Feeder(Feeder),
}

impl Program {
    /// A program that has not been started yet.
    pub fn new(plan: Plan, around: &Surroundings, random: Random) -> Program {
        let (way, around) = (Proxy::start_calm(), around.clone());
        let accounts = Vec::new();
        Program { plan, way, around, accounts, running: None, said_before: 0, random }
    }

    /// Begins the next run.
    pub fn start(&mut self) {
        assert!(self.running.is_none(), "{} is running", self.plan.name);
        let run = u32::try_from(self.accounts.len() + 1).expect("few");
        self.accounts.push(Account::default());
        self.said_before = std::fs::read(self.said_file()).map_or(0, |said| said.len());
        let mut command = match self.plan.kind {
            Kind::Pipe => self.pipe_command(),
            _ => self.own_command(run),
        };
        command.stdin(Stdio::piped()).stdout(self.stderr()).stderr(self.stderr());
        let mut child = command.spawn().expect("it can be executed");
        let voice = match self.plan.kind {
            Kind::Pipe => {
                let stdin = child.stdin.take().expect("piped");
                Voice::Feeder(Feeder::start(stdin, self.plan.name, run, self.random.fork()))
            }
            _ => Voice::Diary(Diary::new(self.diary(run))),
        };
        self.running = Some(Running { child, voice, is_ending: false });
    }

    /// Whether a run is at work, frozen ones among them.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Its runs so far.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// Reads what it has told since. How many messages it knows to be safe, in
    /// all its runs.
    ///
    /// # Panics
    /// When it has ended, though nobody wanted that.
    pub fn look(&mut self) -> u64 {
        if let (Some(running), Some(account)) = (&mut self.running, self.accounts.last_mut()) {
            if !running.is_ending {
                let ended = running.child.try_wait().expect("our own child");
                assert!(ended.is_none(), "{} has ended: {ended:?}", self.plan.name);
            }
            match &mut running.voice {
                Voice::Diary(diary) => diary.read(account),
                Voice::Feeder(feeder) => account.announced = feeder.announced(),
            }
        }
        self.accounts.iter().map(Account::told).sum()
    }

    /// Stops it from working, or lets it go on.
    pub fn signal(&self, signal: Signal) {
        let running = self.running.as_ref().expect("it runs");
        let pid = Pid::from_raw(i32::try_from(running.child.id()).expect("a pid"));
        kill(pid, signal).expect("our own child");
    }

    /// Ends the run without warning (SIGKILL).
    pub fn kill(&mut self) {
        let mut running = self.running.take().expect("it runs");
        running.child.kill().expect("our own child");
        running.child.wait().expect("our own child");
        self.settle(running.voice);
    }

    /// Asks the run to end by itself, without waiting.
    pub fn ask_to_finish(&mut self) {
        let running = self.running.as_mut().expect("it runs");
        running.is_ending = true;
        drop(running.child.stdin.take());
        if let Voice::Feeder(feeder) = &running.voice {
            feeder.ask_to_finish();
        }
    }

    /// Whether the end that was asked for has come.
    ///
    /// # Panics
    /// When it came, and the run does not know that all is safe.
    pub fn has_ended(&mut self) -> bool {
        let Some(running) = &mut self.running else { return true };
        let Some(status) = running.child.try_wait().expect("our own child") else { return false };
        let running = self.running.take().expect("it ran");
        self.settle(running.voice);
        let said = self.said();
        let account = self.accounts.last_mut().expect("it has run");
        if self.plan.kind == Kind::Pipe && (status.success() || only_earlier_ones_are_lost(&said)) {
            account.durable.push((account.logged, 0));
            account.is_done = true;
        }
        let name = self.plan.name;
        assert!(account.is_done, "{name} is not told that all is safe: {status}");
        true
    }

    /// Whether the run that ended last has left messages in the spool, for the
    /// next one to send. Only the command does not wait for them.
    pub fn has_left_something(&self) -> bool {
        self.said().lines().next_back().is_some_and(|line| line.contains(" stay in "))
    }

    /// Whether there are messages in its spool. A run ends when its own are
    /// safe; what several have left there takes several to send.
    pub fn has_spooled_messages(&self) -> bool {
        let Some(spool) = self.spool().filter(|spool| spool.exists()) else { return false };
        files::tree(&spool).iter().any(|name| name.ends_with(".log"))
    }

    /// What the last run has said on standard error.
    fn said(&self) -> String {
        let said = std::fs::read_to_string(self.said_file()).unwrap_or_default();
        said.get(self.said_before..).unwrap_or_default().to_owned()
    }

    fn settle(&mut self, voice: Voice) {
        let account = self.accounts.last_mut().expect("it has run");
        match voice {
            Voice::Diary(mut diary) => diary.read(account),
            Voice::Feeder(feeder) => (account.announced, account.logged) = feeder.finish(),
        }
    }

    fn own_command(&mut self, run: u32) -> Command {
        let plan = &self.plan;
        let file = self.file(&format!("{}-{run}.json", plan.name));
        let loggers: Vec<&str> = plan.loggers.iter().map(|(logger, _)| *logger).collect();
        let text = json!({
            "name": plan.name,
            "run": run,
            "seed": self.random.draw() >> 1,
            "app": plan.app,
            "loggers": loggers,
            "port": self.way.address().port(),
            "secret": plan.secret,
            "pemfile": plan.tls.then_some(&self.around.pemfile),
            "cacert": plan.tls.then_some(&self.around.cacert),
            "compression": plan.compression,
            "spool": self.spool(),
            "spool_bytes": plan.spool_bytes,
            "queue": plan.queue,
            "waits": plan.waits,
            "diary": self.diary(run),
        });
        std::fs::write(&file, text.to_string()).expect("a writable folder");
        let mut command = match plan.kind {
            Kind::Python => {
                let mut command = Command::new(python());
                command.arg(golden::repository().join("tests/programs/proof.py"));
                command
            }
            _ if plan.has_small_disk => {
                self.around.small_disk.enter(&self.around.folder, &binary("proof_program"))
            }
            _ => Command::new(binary("proof_program")),
        };
        command.arg(file);
        command
    }

    fn pipe_command(&self) -> Command {
        let plan = &self.plan;
        let [(logger, _)] = plan.loggers else { panic!("a pipe has one logger") };
        let server = format!("localhost:{}", self.way.address().port());
        let mut command = Command::new(binary("loghog"));
        command.args(["pipe", &format!("{}:{logger}", plan.app), "--hostname", plan.name]);
        command.args(["--server", &server, "--timeout", "120"]);
        if let Some(spool) = self.spool() {
            command.arg("--spool").arg(spool);
        }
        match plan.secret {
            Some(secret) => command.env("LOGHOG_SECRET", secret),
            None => command.env_remove("LOGHOG_SECRET"),
        };
        command
    }

    fn spool(&self) -> Option<PathBuf> {
        let below = if self.plan.has_small_disk { SMALL_DISK } else { "" };
        self.plan.spool.map(|name| self.around.folder.join(below).join(format!("spool-{name}")))
    }

    fn diary(&self, run: u32) -> PathBuf {
        self.file(&format!("{}-{run}.diary", self.plan.name))
    }

    fn said_file(&self) -> PathBuf {
        self.file(&format!("{}.stderr", self.plan.name))
    }

    fn stderr(&self) -> File {
        let file = OpenOptions::new().append(true).create(true).open(self.said_file());
        file.expect("a writable folder")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.around.folder.join(name)
    }
}

/// An entry of the spool that kill -9 has cut in the middle is told by the next
/// run, whose own messages are safe.
fn only_earlier_ones_are_lost(said: &str) -> bool {
    let last = said.lines().next_back();
    last.is_some_and(|line| line.contains("the spool gave back") && line.ends_with("damaged"))
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            // Both fail harmlessly when it has ended already.
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
        if std::thread::panicking() {
            let said = self.said();
            let last: Vec<&str> = said.lines().rev().take(5).collect();
            eprintln!("{} in run {}: {last:?}", self.plan.name, self.accounts.len());
        }
    }
}
