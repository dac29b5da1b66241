//! The command `loghog` at work.
//! Arguments and input -> how it ended, and what it said.
//! Invariant: a command ends with the test that began it.
//! Leaves out: what is right (`tests/command*.rs`).

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::binaries::binary;
use crate::{DEADLINE, Daemon, Scenario, wait_until};

/// What the daemon of these tests takes.
pub const FACILITIES: &str = "[app]\nrotate = daily\nbackup_count = 9\n\
                              [app:json]\nrotate = daily\nbackup_count = 9\nformat = json\n\
                              [signed]\nrotate = daily\nbackup_count = 9\nsecret = my-big-secret\n";

/// A daemon with them.
pub fn start() -> Daemon {
    Scenario::new().fast_disk().facilities(FACILITIES).start()
}

/// A folder for a spool, or a file.
pub fn folder() -> TempDir {
    tempfile::Builder::new().prefix("loghog-command-").tempdir().expect("a folder")
}

/// A command that goes to this server.
pub fn loghog(what: &str, target: &str, server: SocketAddr) -> Command {
    let mut command = bare(what, target);
    command.args(["--server", &server.to_string()]);
    command
}

/// A command that is told nothing of a server.
pub fn bare(what: &str, target: &str) -> Command {
    let mut command = Command::new(binary("loghog"));
    command.args([what, target, "--hostname", "h"]);
    prepared(command)
}

/// The same command as a shell's, which does this first.
pub fn behind(script: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(command.get_program()).args(command.get_args());
    prepared(shell)
}

/// The same command with signals as a terminal has them: whoever runs the tests in the
/// background may have them ignored, and that is inherited.
pub fn attended(command: &Command) -> Command {
    let mut env = Command::new("env");
    env.arg("--default-signal=HUP,INT").arg(command.get_program()).args(command.get_args());
    prepared(env)
}

fn prepared(mut command: Command) -> Command {
    command.env_remove("LOGHOG_SECRET").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// An address at which nobody listens.
pub fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound")
}

/// Runs it with this input to its end.
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = Running::start(command);
    child.write(input);
    child.finish()
}

/// It ended with this code, and said this on standard error.
#[track_caller]
pub fn assert_ended(output: &Output, code: i32, said: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(said), "{said:?} is not in {stderr:?}");
}

/// A command at work; it ends with the test.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts it, with a pipe as its input.
    pub fn start(command: &mut Command) -> Running {
        Running(command.stdin(Stdio::piped()).spawn().expect("the command can be executed"))
    }

    /// Gives it input.
    pub fn write(&mut self, input: &[u8]) {
        let stdin = self.0.stdin.as_mut().expect("piped");
        // One that is given its text as arguments does not read.
        let _ = stdin.write_all(input);
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// The end of the pipe that leads to it.
    pub fn take_input(&mut self) -> ChildStdin {
        self.0.stdin.take().expect("piped")
    }

    /// Waits until it has copied this to its standard output.
    #[track_caller]
    pub fn expect_copy(&mut self, text: &str) {
        let mut copied = vec![0; text.len()];
        self.0.stdout.as_mut().expect("piped").read_exact(&mut copied).expect("copied");
        assert_eq!(String::from_utf8_lossy(&copied), text);
    }

    /// Closes the end of the pipe that leads away from it.
    pub fn stop_listening(&mut self) {
        drop(self.0.stdout.take());
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).expect("a pid")), signal).expect("our child");
    }

    /// Ends its input, if it still has one, and waits for it.
    pub fn finish(mut self) -> Output {
        drop(self.0.stdin.take());
        let status = wait_until(DEADLINE, "the command has ended", || {
            self.0.try_wait().expect("our own child")
        });
        let mut output = Output { status, stdout: Vec::new(), stderr: Vec::new() };
        if let Some(mut stdout) = self.0.stdout.take() {
            stdout.read_to_end(&mut output.stdout).expect("readable");
        }
        self.0.stderr.take().expect("piped").read_to_end(&mut output.stderr).expect("readable");
        output
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail harmlessly when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
        if let (true, Some(mut stderr)) = (std::thread::panicking(), self.0.stderr.take()) {
            let mut said = String::new();
            let _ = stderr.read_to_string(&mut said);
            eprintln!("the command said:\n{said}");
        }
    }
}

/// Numbered lines of input.
pub fn lines(numbers: std::ops::Range<usize>) -> String {
    numbers.map(|number| format!("line {number}\n")).collect()
}

/// What becomes of the first `count` of them.
pub fn records(count: usize) -> Vec<String> {
    (0..count).map(|number| format!(" - h - line {number}")).collect()
}

/// Whether a file below this folder holds this text.
pub fn holds(folder: &Path, text: &str) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => holds(&entry.path(), text),
        _ => {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        }
    })
}
