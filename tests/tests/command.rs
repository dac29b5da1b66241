//! The command `loghog` with the real daemon: what it reads reaches the file,
//! whatever ends in the middle, and its exit code says whether it did.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use loghog_tests::binaries::binary;
use loghog_tests::proxy::Proxy;
use loghog_tests::random::Random;
use loghog_tests::{DEADLINE, Daemon, Scenario, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

const FACILITIES: &str = "[app]\nrotate = daily\nbackup_count = 9\n\
                          [app:json]\nrotate = daily\nbackup_count = 9\nformat = json\n\
                          [signed]\nrotate = daily\nbackup_count = 9\nsecret = my-big-secret\n";

fn start() -> Daemon {
    Scenario::new().fast_disk().facilities(FACILITIES).start()
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("loghog-command-").tempdir().expect("a folder")
}

/// A command that goes to this server.
fn loghog(what: &str, target: &str, server: SocketAddr) -> Command {
    let mut command = Command::new(binary("loghog"));
    command.args([what, target, "--hostname", "h", "--server", &server.to_string()]);
    command.env_remove("LOGHOG_SECRET").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// An address at which nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound")
}

/// Runs it with this input to its end.
fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = Running::start(command);
    child.write(input);
    child.finish()
}

#[track_caller]
fn assert_ended(output: &Output, code: i32, said: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(said), "{said:?} is not in {stderr:?}");
}

/// A command at work; it ends with the test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Running {
        Running(command.stdin(Stdio::piped()).spawn().expect("the command can be executed"))
    }

    fn write(&mut self, input: &[u8]) {
        let stdin = self.0.stdin.as_mut().expect("piped");
        // One that is given its text as arguments does not read.
        let _ = stdin.write_all(input);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).expect("a pid")), signal).expect("our child");
    }

    /// Ends its input and waits for it.
    fn finish(mut self) -> Output {
        drop(self.0.stdin.take());
        let status = wait_until(DEADLINE, "the command has ended", || {
            self.0.try_wait().expect("our own child")
        });
        let mut output = Output { status, stdout: Vec::new(), stderr: Vec::new() };
        self.0.stdout.take().expect("piped").read_to_end(&mut output.stdout).expect("readable");
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

fn lines(numbers: std::ops::Range<usize>) -> String {
    numbers.map(|number| format!("line {number}\n")).collect()
}

fn records(count: usize) -> Vec<String> {
    (0..count).map(|number| format!(" - h - line {number}")).collect()
}

/// Whether a file below this folder holds this text.
fn holds(folder: &Path, text: &str) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => holds(&entry.path(), text),
        _ => {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        }
    })
}

#[test]
fn arguments_are_one_message_and_input_is_one_a_line() {
    let daemon = start();
    let mut command = loghog("send", "app", daemon.tcp());
    assert_ended(&run(command.args(["backup", "finished"]), b""), 0, "");
    let mut command = loghog("send", "app", daemon.tcp());
    assert_ended(&run(&mut command, b"one\n\ntwo \xff\nthree"), 0, "");
    // Acknowledged means synced: nothing is waited for.
    let expected =
        [" - h - backup finished", " - h - one", " - h - ", " - h - two \u{fffd}", " - h - three"];
    assert_eq!(daemon.records("app/root.log"), expected);
}

#[test]
fn level_and_fields_travel_beside_the_text() {
    let daemon = start();
    let mut command = loghog("send", "app:json", daemon.tcp());
    command.args(["--level", "error", "--field", "disk=sda 1", "--", "-full-"]);
    assert_ended(&run(&mut command, b""), 0, "");
    let text = fs::read_to_string(daemon.log_dir().join("app/json.log")).expect("written");
    let line: serde_json::Value = serde_json::from_str(&text).expect("one object");
    let text = line.to_string();
    for part in ["-full-", "\"sda 1\"", "ERROR"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn lines_that_begin_with_white_space_belong_to_the_message_before() {
    let daemon = start();
    let mut command = loghog("pipe", "app", daemon.tcp());
    let input = b"Traceback:\n  line 1\n\tline 2\nnext\n";
    let output = run(command.args(["--multiline", "--tee"]), input);
    assert_ended(&output, 0, "");
    assert_eq!(output.stdout, input);
    assert_eq!(daemon.stop().stats()["records"], 2);
}

#[test]
fn a_message_that_nobody_takes_is_told_by_the_exit_code() {
    let mut command = loghog("send", "app", nobody());
    let output = run(command.args(["--timeout", "0.3", "lost"]), b"");
    assert_ended(&output, 75, "1 of 1 messages are not acknowledged");
    assert_ended(&output, 75, "give --spool");

    let daemon = start();
    let output = run(loghog("send", "unheard", daemon.tcp()).args(["--timeout", "1", "x"]), b"");
    assert_ended(&output, 75, "loghog: ");
}

#[test]
fn wrong_usage_and_wrong_files_have_codes_of_their_own() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "\n").expect("a writable folder");
    let file = file.to_str().expect("a plain path");
    let ends = |options: &[&str], code, said: &str| {
        let mut command = loghog("send", "app", nobody());
        assert_ended(&run(command.args(options).arg("x"), b""), code, said);
    };
    ends(&["--loud"], 64, "--loud");
    ends(&["--server", "host:99999"], 64, "is no address");
    ends(&["--spool", file, "--protocol", "1"], 64, "spool");
    ends(&["--secret-file", "/nonexistent"], 78, "/nonexistent");
    ends(&["--secret-file", file], 78, "holds no secret");
    ends(&["--tls", "--pem", file, "--ca", file], 78, "PEM");
    ends(&["--spool", file], 78, "spool");
}

#[test]
fn a_secret_comes_from_a_file_or_the_environment_and_a_wrong_one_is_told() {
    let daemon = start();
    let folder = folder();
    let file = folder.path().join("secret");
    fs::write(&file, "my-big-secret\n").expect("a writable folder");
    let mut command = loghog("send", "signed", daemon.tcp());
    // The file is preferred.
    command.arg("--secret-file").arg(&file).env("LOGHOG_SECRET", "other").arg("file");
    assert_ended(&run(&mut command, b""), 0, "");
    let mut command = loghog("send", "signed", daemon.tcp());
    assert_ended(&run(command.env("LOGHOG_SECRET", "my-big-secret").arg("variable"), b""), 0, "");
    let mut command = loghog("send", "signed", daemon.tcp());
    command.env("LOGHOG_SECRET", "wrong-and-hidden").args(["--timeout", "1", "x"]);
    let output = run(&mut command, b"");
    assert_ended(&output, 75, "secret");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("wrong-and-hidden"));
    assert_eq!(daemon.records("signed/root.log"), [" - h - file", " - h - variable"]);
}

#[test]
fn a_spool_keeps_what_a_server_that_is_away_cannot_take() {
    let folder = folder();
    let mut command = loghog("send", "app", nobody());
    let output = run(command.arg("--spool").arg(folder.path()), lines(0..3).as_bytes());
    assert_ended(&output, 0, "3 messages stay in");
    let daemon = start();
    let mut command = loghog("send", "app", daemon.tcp());
    assert_ended(&run(command.arg("--spool").arg(folder.path()).arg("line 3"), b""), 0, "");
    assert_eq!(daemon.wait_for_records("app/root.log", 4), records(4));
}

#[test]
fn a_pipe_loses_nothing_when_the_daemon_is_killed_in_the_middle() {
    survive_kills(|_, _| {});
}

#[test]
fn a_pipe_with_a_spool_loses_nothing_either() {
    survive_kills(|command, folder| {
        command.arg("--spool").arg(folder);
    });
}

fn survive_kills(options: impl FnOnce(&mut Command, &Path)) {
    const PART: usize = 2_000;
    const KILLS: usize = 8;
    let (proxy, folder) = (Proxy::start(Random::from_environment()), folder());
    proxy.calm();
    let mut daemon = start();
    proxy.lead_to(daemon.tcp());
    let mut command = loghog("pipe", "app", proxy.address());
    options(command.args(["--timeout", "30"]), folder.path());
    let mut pipe = Running::start(&mut command);
    for part in 0..KILLS {
        pipe.write(lines(part * PART..part * PART + PART / 2).as_bytes());
        daemon.wait_for_records("app/root.log", part * PART + 1);
        let site = daemon.kill();
        pipe.write(lines(part * PART + PART / 2..part * PART + PART).as_bytes());
        daemon = site.start();
        proxy.lead_to(daemon.tcp());
    }
    assert_ended(&pipe.finish(), 0, "");
    assert_eq!(daemon.records("app/root.log"), records(KILLS * PART));
}

#[test]
fn without_server_and_spool_reading_stops_and_nothing_is_dropped() {
    const LINES: usize = 20_000;
    let proxy = Proxy::start(Random::from_environment());
    proxy.calm();
    let mut command = loghog("pipe", "app", proxy.address());
    let mut pipe = Running::start(command.args(["--timeout", "30"]));
    // More than it may hold.
    let long = "x".repeat(1000);
    let text: String = (0..LINES).map(|number| format!("{number} {long}\n")).collect();
    let mut stdin = pipe.0.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()).expect("read"));
    let pid = pipe.0.id();
    let stderr = pipe.0.stderr.as_mut().expect("piped");
    // Word of trouble while there is no room: it has stopped.
    let mut said = [0; 64];
    assert!(stderr.read(&mut said).expect("readable") > 0);
    assert!(!writer.is_finished(), "all was taken while nobody was there");
    assert!(loghog_tests::process::rss_bytes_peak(pid) < 64 << 20);
    let daemon = start();
    proxy.lead_to(daemon.tcp());
    writer.join().expect("the writer is heard to its end");
    assert_ended(&pipe.finish(), 0, "");
    let records = daemon.records("app/root.log");
    assert_eq!(records.len(), LINES);
    let in_order = |(number, record): (usize, &String)| {
        record.starts_with(&format!(" - h - {number} ")) && record.ends_with(&long)
    };
    assert!(records.iter().enumerate().all(in_order));
}

#[test]
fn a_pipe_that_was_killed_is_made_good_by_the_next_with_its_spool() {
    const LINES: usize = 10_000;
    let folder = folder();
    let mut command = loghog("pipe", "app", nobody());
    let mut pipe = Running::start(command.arg("--spool").arg(folder.path()));
    pipe.write(lines(0..LINES).as_bytes());
    let last = format!("line {}", LINES - 1);
    wait_until(DEADLINE, "all is in the spool", || holds(folder.path(), &last).then_some(()));
    pipe.signal(Signal::SIGKILL);
    assert_eq!(pipe.finish().status.code(), None);
    let daemon = start();
    let mut command = loghog("pipe", "app", daemon.tcp());
    let output = run(command.arg("--spool").arg(folder.path()), b"line 10000\n");
    assert_ended(&output, 0, "");
    assert_eq!(daemon.wait_for_records("app/root.log", LINES + 1), records(LINES + 1));
}

#[test]
fn a_signal_ends_the_reading_and_what_was_read_arrives() {
    let daemon = start();
    for (number, signal) in [Signal::SIGTERM, Signal::SIGINT].into_iter().enumerate() {
        let mut pipe = Running::start(loghog("pipe", "app", daemon.tcp()).arg("--tee"));
        pipe.write(format!("line {number}\nunfinished").as_bytes());
        // What was copied was read.
        let mut copied = vec![0; "line 0\nunfinished".len()];
        pipe.0.stdout.as_mut().expect("piped").read_exact(&mut copied).expect("copied");
        pipe.signal(signal);
        let stdin = pipe.0.stdin.take();
        assert_ended(&pipe.finish(), 0, "");
        drop(stdin);
    }
    let expected = ["line 0", "unfinished", "line 1", "unfinished"].map(|l| format!(" - h - {l}"));
    assert_eq!(daemon.records("app/root.log"), expected);
}

#[test]
fn a_line_that_is_too_long_is_cut_and_said_so() {
    let daemon = start();
    let line = "x".repeat(200_000);
    let output = run(&mut loghog("pipe", "app", daemon.tcp()), line.as_bytes());
    assert_ended(&output, 0, "cut into several");
    let records = daemon.records("app/root.log");
    let text: String = records.iter().map(|record| &record[" - h - ".len()..]).collect();
    assert_eq!((records.len(), text), (4, line));
}
