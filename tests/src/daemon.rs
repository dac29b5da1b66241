//! Runs `loghogd`.
//! A `Site` -> a running `Daemon` -> the `Site` again, with what was left there.
//! Invariant: a daemon ends with the test that started it, by its own pid.
//! Leaves out: what is in its configuration (`scenario`).

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::binaries::binary;
use crate::disk::Disk;
use crate::files;
use crate::process;
use crate::wait::{DEADLINE, wait_until};

/// The daemon's counters, by name.
pub type Stats = BTreeMap<String, u64>;

/// A folder in which a daemon can be started, again and again.
#[derive(Debug)]
pub struct Site {
    folder: TempDir,
    arguments: Vec<String>,
    zone: Option<String>,
    /// The log folder's own disk.
    disk: Option<Disk>,
    environment: Vec<(String, String)>,
    /// What becomes the daemon; its command line follows.
    opener: Option<Command>,
}

impl Site {
    pub(crate) fn new(
        parent: &Path,
        arguments: Vec<String>,
        zone: Option<String>,
        tiny_disk_bytes: Option<u64>,
    ) -> Site {
        let folder = tempfile::Builder::new().prefix("loghog-").tempdir_in(parent);
        let folder = folder.expect("a writable folder for temporary files");
        for below in ["etc", "log", "run", "work"] {
            std::fs::create_dir(folder.path().join(below)).expect("a writable temp folder");
        }
        let disk = tiny_disk_bytes.map(|bytes| Disk::mount(&folder.path().join("log"), bytes));
        Site { folder, arguments, zone, disk, environment: Vec::new(), opener: None }
    }

    /// Starts the daemon with these in its environment.
    #[must_use]
    pub fn environment(mut self, environment: &[(&str, &str)]) -> Site {
        let owned = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        self.environment = owned.collect();
        self
    }

    /// Starts another program, which becomes the daemon: its command line ends with the
    /// daemon's program.
    #[must_use]
    pub fn behind(mut self, opener: Command) -> Site {
        self.opener = Some(opener);
        self
    }

    /// The folder of everything.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The log folder, as the daemon calls it.
    pub fn log_dir(&self) -> PathBuf {
        self.folder().join("log")
    }

    /// The log folder as it is found from here.
    pub fn log_dir_outside(&self) -> PathBuf {
        let inside = self.log_dir();
        self.disk.as_ref().map_or(inside.clone(), |disk| disk.outside(&inside))
    }

    /// The log folder's own disk.
    ///
    /// # Panics
    /// When it has none.
    #[track_caller]
    pub fn disk(&self) -> &Disk {
        self.disk.as_ref().expect("a scenario with a tiny disk")
    }

    /// `loghogd.conf`.
    pub fn config_file(&self) -> PathBuf {
        self.folder().join("etc/loghogd.conf")
    }

    /// `facilities.conf`.
    pub fn facilities_file(&self) -> PathBuf {
        self.folder().join("etc/facilities.conf")
    }

    /// The own log, `[log] filename`.
    pub fn own_log_file(&self) -> PathBuf {
        self.folder().join("own.log")
    }

    /// The records of a log file, none when there is no such file.
    ///
    /// # Panics
    /// When it holds anything but whole records.
    #[track_caller]
    pub fn records(&self, file: &str) -> Vec<String> {
        files::records(&read_if_there(&self.log_dir_outside().join(file)))
    }

    /// Replaces `facilities.conf`; a running daemon sees it when it reloads.
    pub fn set_facilities(&self, text: &str) {
        std::fs::write(self.facilities_file(), text).expect("a writable site");
    }

    /// Puts the certificates and the revocation list of a folder in place.
    pub fn install_certificates(&self, folder: &Path) {
        for file in ["loghog-server.pem", "loghog-ca.cert", "loghog-ca.crl"] {
            if folder.join(file).exists() {
                std::fs::copy(folder.join(file), self.folder().join("etc").join(file))
                    .expect("a writable site");
            }
        }
    }

    /// The command that starts the daemon of this site.
    pub fn command(&self) -> Command {
        let mut command = match (&self.disk, &self.opener) {
            (Some(disk), _) => disk.enter(self.folder(), &binary("loghogd")),
            (None, Some(opener)) => {
                let mut command = Command::new(opener.get_program());
                command.args(opener.get_args());
                command
            }
            (None, None) => Command::new(binary("loghogd")),
        };
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.arg("--config").arg(self.config_file()).args(&self.arguments);
        command.current_dir(self.folder()).stdin(Stdio::null());
        if let Some(zone) = &self.zone {
            command.env("TZ", zone);
        }
        command
    }

    /// Starts the daemon and waits until it is ready.
    ///
    /// # Panics
    /// When it ends instead.
    #[track_caller]
    pub fn start(self) -> Daemon {
        match self.try_start() {
            Ok(daemon) => daemon,
            Err(stopped) => {
                panic!("the daemon ended ({}) with:\n{}", stopped.status, stopped.said)
            }
        }
    }

    /// Starts the daemon and waits until it is ready.
    ///
    /// # Errors
    /// What is left when it ends instead.
    // `Stopped` is large, and no hot path goes through a test.
    #[allow(clippy::result_large_err)]
    #[track_caller]
    pub fn try_start(self) -> Result<Daemon, Stopped> {
        let stderr = File::create(self.folder().join("stderr")).expect("a writable site");
        let mut command = self.command();
        command.stdout(stderr.try_clone().expect("a descriptor")).stderr(stderr);
        let child = command.spawn().expect("the daemon can be executed");
        let mut daemon = Daemon { site: Some(self), child, listening: Vec::new() };
        let start = Instant::now();
        let ended = wait_until(DEADLINE, "the daemon is ready", || {
            let ended = daemon.child.try_wait().expect("our own child");
            match ended {
                Some(status) => Some(Some(status)),
                None => daemon.said().lines().any(|line| message(line) == "ready").then_some(None),
            }
        });
        if let Some(status) = ended {
            return Err(daemon.leave(status, start.elapsed()));
        }
        daemon.listening = daemon.said().lines().filter_map(listening).collect();
        Ok(daemon)
    }
}

/// A daemon that was ready, until `stop` or `kill`.
#[derive(Debug)]
pub struct Daemon {
    /// There until the site is handed back.
    site: Option<Site>,
    child: Child,
    listening: Vec<(String, SocketAddr)>,
}

/// What a daemon left when it ended.
#[derive(Debug)]
pub struct Stopped {
    /// Its folder.
    pub site: Site,
    /// How it ended.
    pub status: ExitStatus,
    /// How long that took since it was asked to.
    pub took: Duration,
    /// What it said in the foreground, from its start on.
    pub said: String,
}

impl Daemon {
    /// The first address for plain TCP.
    pub fn tcp(&self) -> SocketAddr {
        self.address("tcp")
    }

    /// The first address for UDP.
    pub fn udp(&self) -> SocketAddr {
        self.address("udp")
    }

    /// The first address for TLS.
    pub fn tls(&self) -> SocketAddr {
        self.address("tls")
    }

    /// The address of the status page.
    pub fn status(&self) -> SocketAddr {
        self.address("status")
    }

    /// All addresses, each with `tcp`, `udp` or `tls`.
    pub fn listening(&self) -> &[(String, SocketAddr)] {
        &self.listening
    }

    fn address(&self, protocol: &str) -> SocketAddr {
        let found = self.listening.iter().find(|(of, _)| of == protocol);
        found.unwrap_or_else(|| panic!("the daemon does not listen on {protocol}")).1
    }

    /// The daemon's folder.
    pub fn site(&self) -> &Site {
        self.site.as_ref().expect("the site is there while the daemon runs")
    }

    /// The daemon's pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The log folder as it is found from here.
    pub fn log_dir(&self) -> PathBuf {
        self.site().log_dir_outside()
    }

    /// The whole records of a log file as it is now. The last one may still
    /// be on its way; it is left out.
    #[track_caller]
    pub fn records(&self, file: &str) -> Vec<String> {
        let text = read_if_there(&self.log_dir().join(file));
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        files::records(&text[..whole])
    }

    /// Waits until a log file holds so many records, and gives them.
    #[track_caller]
    pub fn wait_for_records(&self, file: &str, count: usize) -> Vec<String> {
        let what = format!("{file} holds {count} records");
        wait_until(DEADLINE, &what, || Some(self.records(file)).filter(|all| all.len() >= count))
    }

    /// What the daemon said in the foreground since it started.
    pub fn said(&self) -> String {
        read_if_there(&self.site().folder().join("stderr"))
    }

    /// Waits until the daemon's own log has a line with this text, and gives
    /// the line.
    #[track_caller]
    pub fn wait_until_it_said(&self, text: &str) -> String {
        self.wait_until_it_said_since(0, text)
    }

    /// The same, among what was said behind a mark ([`Daemon::mark`]).
    #[track_caller]
    pub fn wait_until_it_said_since(&self, mark: usize, text: &str) -> String {
        let what = format!("the daemon says {text:?}");
        wait_until(DEADLINE, &what, || {
            let said = self.said();
            let fresh = said.get(mark..).unwrap_or("");
            let whole = fresh.rfind('\n').map_or("", |end| &fresh[..end]);
            whole.lines().find(|line| line.contains(text)).map(str::to_owned)
        })
    }

    /// Marks where the daemon's own log ends now.
    pub fn mark(&self) -> usize {
        self.said().len()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a pid"));
        kill(pid, signal).expect("the daemon is our child");
    }

    /// Asks the daemon to load its configuration anew, and waits until it
    /// says how that went; gives that line.
    #[track_caller]
    pub fn reload(&self) -> String {
        let mark = self.mark();
        self.signal(Signal::SIGHUP);
        self.wait_until_it_said_since(mark, " reload")
    }

    /// The same for the certificates, which the daemon loads anew as well.
    #[track_caller]
    pub fn reload_certificates(&self) -> String {
        let mark = self.mark();
        self.signal(Signal::SIGHUP);
        self.wait_until_it_said_since(mark, "certificates")
    }

    /// Asks for the counters.
    #[track_caller]
    pub fn stats(&self) -> Stats {
        let mark = self.mark();
        self.signal(Signal::SIGUSR1);
        counters(&self.wait_until_it_said_since(mark, " stats "))
    }

    /// Waits until a counter has at least this value.
    #[track_caller]
    pub fn wait_for_count(&self, name: &str, value: u64) -> Stats {
        wait_until(DEADLINE, &format!("{name} is {value}"), || {
            Some(self.stats()).filter(|stats| stats[name] >= value)
        })
    }

    /// The most memory that the daemon ever took, in bytes.
    pub fn rss_bytes_peak(&self) -> u64 {
        process::rss_bytes_peak(self.pid())
    }

    /// Asks the daemon to stop and waits until it has.
    #[track_caller]
    pub fn stop(self) -> Stopped {
        self.stop_with(Signal::SIGTERM)
    }

    /// Stops the daemon by this signal.
    #[track_caller]
    pub fn stop_with(mut self, signal: Signal) -> Stopped {
        let start = Instant::now();
        self.signal(signal);
        let status = wait_until(DEADLINE, "the daemon has stopped", || {
            self.child.try_wait().expect("our own child")
        });
        self.leave(status, start.elapsed())
    }

    /// Ends the daemon without warning (SIGKILL).
    pub fn kill(mut self) -> Site {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
        self.site.take().expect("the site is there while the daemon runs")
    }

    fn leave(mut self, status: ExitStatus, took: Duration) -> Stopped {
        let said = self.said();
        let site = self.site.take().expect("the site is there while the daemon runs");
        Stopped { site, status, took, said }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail harmlessly when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(site) = &self.site
            && std::thread::panicking()
        {
            let said = read_if_there(&site.folder().join("stderr"));
            let (stats, mut said): (Vec<&str>, Vec<&str>) =
                said.lines().partition(|line| line.contains(" - stats "));
            said.drain(..said.len().saturating_sub(80));
            said.extend(stats.last());
            eprintln!("the daemon's own log ends with:\n{}", said.join("\n"));
        }
    }
}

impl Stopped {
    /// The counters at the end.
    #[track_caller]
    pub fn stats(&self) -> Stats {
        let last = self.said.lines().rev().find(|line| line.contains(" stats "));
        counters(last.expect("the daemon sums up when it stops"))
    }
}

/// The message of a line of the own log, behind its stamp and level.
pub fn message(line: &str) -> &str {
    line.splitn(3, " - ").nth(2).unwrap_or("")
}

fn listening(line: &str) -> Option<(String, SocketAddr)> {
    let (protocol, behind) = message(line).strip_prefix("listening on ")?.split_once(' ')?;
    let address = behind.split_whitespace().next()?.trim_end_matches(',');
    Some((protocol.to_owned(), address.parse().ok()?))
}

#[track_caller]
fn counters(line: &str) -> Stats {
    let (_, pairs) = line.split_once(" stats ").expect("a line of counters");
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').expect("name=value");
        (name.to_owned(), value.parse().expect("a number"))
    };
    pairs.split_whitespace().map(pair).collect()
}

fn read_if_there(path: &Path) -> String {
    match std::fs::read(path) {
        Ok(bytes) => String::from_utf8(bytes).expect("what the daemon writes is UTF-8"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => panic!("{}: {error}", path.display()),
    }
}
