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
//! queue               messages that wait at most
//! waits               whether it logs only as fast as it is acknowledged
//! diary               the file for its diary, see `account`
//! ```

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::account::{Account, Diary};
use super::pipe::Feeder;
use crate::binaries::{binary, python};
use crate::golden;
use crate::proxy::Proxy;
use crate::random::Random;
use crate::wait::wait_until;

/// Longer than a client leaves a server alone that has ended its session for
/// another one of the same id, and longer than it bears one without an answer.
pub const PATIENCE: Duration = Duration::from_secs(180);

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
    /// How many messages may wait in it.
    pub queue: usize,
    /// Whether it logs no faster than it is acknowledged, and so drops nothing.
    pub waits: bool,
    /// Whether it may be killed.
    pub is_killed: bool,
}

/// Where programs work.
#[derive(Clone, Debug)]
pub struct Place {
    /// For plans, diaries, spools and what is said on standard error.
    pub folder: PathBuf,
    /// Key and certificate, and the authority's certificate.
    pub pemfile: PathBuf,
    /// See `pemfile`.
    pub cacert: PathBuf,
}

/// A program, at work or between two runs.
#[derive(Debug)]
pub struct Program {
    /// What it is like.
    pub plan: Plan,
    /// Its way to the daemon.
    pub way: Proxy,
    place: Place,
    accounts: Vec<Account>,
    running: Option<Running>,
    random: Random,
}

#[derive(Debug)]
struct Running {
    child: Child,
    voice: Voice,
}

/// How a run tells what it does.
#[derive(Debug)]
enum Voice {
    Diary(Diary),
    Feeder(Feeder),
}

impl Program {
    /// A program that has not been started yet.
    pub fn new(plan: Plan, place: &Place, random: Random) -> Program {
        let way = Proxy::start_calm();
        let place = place.clone();
        Program { plan, way, place, accounts: Vec::new(), running: None, random }
    }

    /// Begins the next run.
    pub fn start(&mut self) {
        assert!(self.running.is_none(), "{} is running", self.plan.name);
        let run = u32::try_from(self.accounts.len() + 1).expect("few");
        self.accounts.push(Account::default());
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
        self.running = Some(Running { child, voice });
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
            let ended = running.child.try_wait().expect("our own child");
            assert!(ended.is_none(), "{} has ended: {ended:?}", self.plan.name);
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
        drop(running.child.stdin.take());
        if let Voice::Feeder(feeder) = &running.voice {
            feeder.ask_to_finish();
        }
    }

    /// Waits for the end that was asked for. Whether all that it has said is
    /// known to be safe.
    ///
    /// # Panics
    /// When it does not end.
    pub fn finish(&mut self) -> bool {
        self.ask_to_finish();
        let mut running = self.running.take().expect("it runs");
        let status = wait_until(PATIENCE, &format!("{} has ended", self.plan.name), || {
            running.child.try_wait().expect("our own child")
        });
        self.settle(running.voice);
        let account = self.accounts.last_mut().expect("it has run");
        if self.plan.kind == Kind::Pipe && status.success() {
            account.durable.push((account.logged, 0));
            account.is_done = true;
        }
        assert!(status.success() || is_unsafe(status), "{}: {status}", self.plan.name);
        account.is_done
    }

    /// What it says on standard error since the beginning.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.said_file()).unwrap_or_default()
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
            "pemfile": plan.tls.then_some(&self.place.pemfile),
            "cacert": plan.tls.then_some(&self.place.cacert),
            "compression": plan.compression,
            "spool": self.spool(),
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
        command.args(["--server", &server, "--timeout", "60"]);
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
        self.plan.spool.map(|name| self.file(&format!("spool-{name}")))
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
        Path::new(&self.place.folder).join(name)
    }
}

/// The command says so when messages are neither acknowledged nor in its spool.
fn is_unsafe(status: ExitStatus) -> bool {
    status.code() == Some(75)
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
