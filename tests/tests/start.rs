//! Starting: exit codes, errors that name the thing and the remedy, going
//! into the background, and one daemon a log folder.

use std::fs::Permissions;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use loghog_tests::binaries::binary;
use loghog_tests::frames::frame;
use loghog_tests::process::is_alive;
use loghog_tests::{DEADLINE, Scenario, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User, chown, getsid};

#[test]
fn a_daemon_that_ships_nothing_keeps_nothing_for_it() {
    let daemon = Scenario::new().start();
    assert!(!daemon.log_dir().join(".loghogd/ship").exists());
}

#[test]
fn exit_codes_tell_usage_from_configuration() {
    let site = Scenario::new().site();
    let config = site.config_file();
    let code = |arguments: &[&str]| run(arguments, &config).status.code();
    assert_eq!(code(&["--version"]), Some(0));
    assert_eq!(code(&["--help"]), Some(0));
    assert_eq!(code(&["--check-config"]), Some(0));
    assert_eq!(code(&["check-config"]), Some(0));
    assert_eq!(code(&["explain", "plain"]), Some(0));
    assert_eq!(code(&["explain", "nobody"]), Some(1));
    assert_eq!(code(&["--no-such-option"]), Some(64));
    assert_eq!(code(&["no-such-question"]), Some(64));
    assert_eq!(code(&["schedule", "0 0 30 2 *"]), Some(78));
    site.set_facilities("[plain]\nrotate = never\nbackup_count = 1\n");
    assert_eq!(code(&["check-config"]), Some(78));
    assert_eq!(code(&[]), Some(78));
    assert_eq!(run(&[], Path::new("/nowhere/loghogd.conf")).status.code(), Some(78));
}

#[test]
fn a_wrong_configuration_is_told_with_every_line_and_remedy() {
    let site = Scenario::new().site();
    site.set_facilities("[plain]\nrotate = never\nbackup_count = many\n\n[plain:../web]\n");
    let output = run(&[], &site.config_file());
    let said = String::from_utf8(output.stderr).unwrap();
    for line in ["facilities.conf:2: ", "facilities.conf:3: ", "facilities.conf:5: "] {
        assert!(said.contains(line), "{line:?} is not in {said}");
    }
}

#[test]
fn a_port_in_use_is_named_with_its_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let scenario = Scenario::new().option("server", "listen_ipv4", &address);
    let stopped = scenario.site().try_start().expect_err("the port is taken");
    assert_eq!(stopped.status.code(), Some(78));
    assert!(stopped.said.contains(&address), "{}", stopped.said);
    assert!(stopped.said.contains("another program listens there"), "{}", stopped.said);
}

#[test]
fn a_log_folder_that_cannot_be_written_is_named_with_its_remedy() {
    let site = Scenario::new().site();
    let log_dir = site.log_dir();
    std::fs::remove_dir(&log_dir).unwrap();
    std::fs::write(&log_dir, "a file in its place").unwrap();
    let stopped = site.try_start().expect_err("a file is no folder");
    assert_eq!(stopped.status.code(), Some(78));
    let shown = log_dir.to_string_lossy().into_owned();
    assert!(stopped.said.contains(&shown) && stopped.said.contains("logdir"), "{}", stopped.said);
}

#[test]
fn root_gives_its_rights_away_and_says_what_the_user_lacks() {
    let user = a_user();
    let site = Scenario::new().option("main", "user", &user.name);
    let site = site.option("log", "filename", "../work/own.log").site();
    open_to_all(site.folder());
    for below in ["run", "work"] {
        chown(&site.folder().join(below), Some(user.uid), Some(user.gid)).unwrap();
    }
    std::fs::set_permissions(site.log_dir(), Permissions::from_mode(0o555)).unwrap();
    let stopped = site.try_start().expect_err("the log folder is not theirs to write");
    assert_eq!(stopped.status.code(), Some(78));
    let lacks = format!("{} cannot write to {}", user.name, stopped.site.log_dir().display());
    assert!(stopped.said.contains(&lacks) && stopped.said.contains("chown"), "{}", stopped.said);

    let site = stopped.site;
    std::fs::set_permissions(site.log_dir(), Permissions::from_mode(0o755)).unwrap();
    chown(&site.log_dir(), Some(user.uid), Some(user.gid)).unwrap();
    let daemon = site.start();
    let status = read(Path::new(&format!("/proc/{}/status", daemon.pid())));
    let ids = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
    let theirs = user.uid.to_string();
    assert!(ids.split_whitespace().skip(1).all(|id| id == theirs), "{ids}");
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    socket.write_all(&frame("plain", "", "h", "as somebody else")).unwrap();
    daemon.wait_for_records("plain/root.log", 1);
    let written = std::fs::metadata(daemon.log_dir().join("plain/root.log")).unwrap();
    assert_eq!((written.uid(), written.mode() & 0o007), (user.uid.as_raw(), 0));
    // What only root may read is read before; on a reload the user must be able to.
    assert!(daemon.reload().contains("reloaded"));
    assert!(daemon.stop().status.success());
}

#[test]
fn what_only_root_may_read_is_read_before_root_is_dropped_for_good() {
    let user = a_user();
    let authority = loghog_tests::certs::Authority::new();
    let client = authority.client("web-1");
    let site = Scenario::new().tls(&authority).option("main", "user", &user.name);
    // Landlock would see to a part of this.
    let site = site.option("main", "confine", "no");
    let site = site.option("log", "filename", "../work/own.log").site();
    open_to_all(site.folder());
    for below in ["run", "work"] {
        chown(&site.folder().join(below), Some(user.uid), Some(user.gid)).unwrap();
    }
    chown(&site.log_dir(), Some(user.uid), Some(user.gid)).unwrap();
    let pemfile = site.folder().join("etc/loghog-server.pem");
    let key = std::fs::metadata(&pemfile).unwrap();
    let whoever_starts_it = Uid::effective().as_raw();
    assert_eq!((key.uid(), key.mode() & 0o7777), (whoever_starts_it, 0o600));

    let daemon = site.start();
    let status = read(Path::new(&format!("/proc/{}/status", daemon.pid())));
    let of = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let (uid, gid) = (user.uid.to_string(), user.gid.to_string());
    assert_eq!(of("Uid:"), vec![uid; 4]);
    assert_eq!(of("Gid:"), vec![gid; 4]);
    let mut groups = Command::new("id").args(["-G", &user.name]).output().unwrap().stdout;
    groups.retain(|byte| *byte != b'\n');
    let mut theirs: Vec<String> =
        String::from_utf8(groups).unwrap().split(' ').map(str::to_owned).collect();
    theirs.sort();
    let mut ours = of("Groups:");
    ours.sort();
    assert_eq!(ours, theirs, "none of root's groups is left");
    assert_eq!(of("NoNewPrivs:"), ["1"], "no program could give rights back");
    for capabilities in ["CapEff:", "CapPrm:"] {
        assert_eq!(of(capabilities), ["0000000000000000"], "{capabilities}");
    }
    let ca = authority.certificate();
    let mut stream = loghog_tests::tls::connect(daemon.tls(), &ca, Some(&client)).unwrap();
    stream.write_all(&frame("plain", "", "h", "under a key of root's")).unwrap();
    stream.flush().unwrap();
    daemon.wait_for_records("plain/root.log", 1);
    assert!(daemon.stop().status.success());
}

#[test]
fn missing_certificates_are_named_with_their_remedy() {
    let authority = loghog_tests::certs::Authority::new();
    let site = Scenario::new().tls(&authority).site();
    std::fs::remove_file(site.folder().join("etc/loghog-server.pem")).unwrap();
    let stopped = site.try_start().expect_err("there is no certificate");
    assert_eq!(stopped.status.code(), Some(78));
    assert!(stopped.said.contains("loghog-server.pem"), "{}", stopped.said);
    assert!(stopped.said.contains("loghog-server-cert"), "the remedy: {}", stopped.said);
}

#[test]
fn a_log_folder_takes_one_daemon() {
    let first = Scenario::new().start();
    let second = first.site().command().output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(78), "{said}");
    assert!(said.contains("loghogd.pid") && said.contains("stop it first"), "{said}");

    // With another pid file they would still meet in the log folder.
    let other = first.site().command().args(["--pid", "other.pid"]).output().unwrap();
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert_eq!(other.status.code(), Some(78), "{said}");
    assert!(said.contains(&*first.site().log_dir().to_string_lossy()), "{said}");

    let mut socket = TcpStream::connect(first.tcp()).unwrap();
    socket.write_all(&frame("plain", "", "h", "undisturbed")).unwrap();
    first.wait_for_records("plain/root.log", 1);
    assert!(first.stop().status.success());
}

#[test]
fn what_a_killed_daemon_leaves_does_not_keep_the_next_from_starting() {
    let daemon = Scenario::new().start();
    let pidfile = daemon.site().folder().join("run/loghogd.pid");
    assert_eq!(read(&pidfile), format!("{}\n", daemon.pid()));
    let site = daemon.kill();
    assert!(pidfile.exists());
    let daemon = site.start();
    assert_eq!(read(&pidfile), format!("{}\n", daemon.pid()));
    daemon.stop();
    assert!(!pidfile.exists(), "a stop cleans up");
}

#[test]
fn a_pidfile_that_names_another_program_now_is_taken_over_and_that_program_left_alone() {
    // It ends when nobody holds its input any more, also if this fails.
    let mut other = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    for left in [format!("{}\n", other.id()), "no number".to_owned(), "4194304999\n".repeat(9)] {
        let site = Scenario::new().site();
        let pidfile = site.folder().join("run/loghogd.pid");
        std::fs::create_dir_all(pidfile.parent().unwrap()).unwrap();
        std::fs::write(&pidfile, left).unwrap();
        let daemon = site.start();
        assert_eq!(read(&pidfile), format!("{}\n", daemon.pid()));
        daemon.stop();
        assert!(!pidfile.exists(), "a stop cleans up");
    }
    assert!(other.try_wait().unwrap().is_none(), "nobody touched it");
    // Closes its input first.
    assert!(other.wait().unwrap().success());
}

#[test]
fn in_the_background_it_returns_when_it_is_ready_and_leaves_the_session() {
    let site = Scenario::new().argument("--daemon").site();
    let output = site.command().output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let background = Background::of(&read(&site.folder().join("run/loghogd.pid")));

    // No waiting here: it was ready before the command returned.
    let own_log = read(&site.own_log_file());
    let (_, behind) = own_log.split_once("listening on tcp ").expect("it listens");
    let mut socket = TcpStream::connect(behind.lines().next().unwrap()).unwrap();
    socket.write_all(&frame("plain", "", "h", "in the background")).unwrap();
    wait_until(DEADLINE, "the message is written", || {
        (!site.records("plain/root.log").is_empty()).then_some(())
    });
    assert_eq!(getsid(Some(background.0)).unwrap(), background.0, "a session of its own");
    for descriptor in 0..3 {
        let link = format!("/proc/{}/fd/{descriptor}", background.0);
        assert_eq!(std::fs::read_link(link).unwrap(), Path::new("/dev/null"));
    }
    kill(background.0, Signal::SIGTERM).unwrap();
    wait_until(DEADLINE, "it has stopped", || (!background.is_alive()).then_some(()));
}

#[test]
fn a_failed_start_in_the_background_is_told_in_the_foreground() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let site =
        Scenario::new().argument("--daemon").option("server", "listen_ipv4", &address).site();
    let output = site.command().output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&address));
}

#[test]
fn it_is_ready_in_no_time() {
    let site = Scenario::new().site();
    let start = Instant::now();
    let daemon = site.start();
    // The promise is 50 ms for a release build on an idle machine.
    assert!(start.elapsed() < Duration::from_secs(1), "ready after {:?}", start.elapsed());
    daemon.stop();
}

fn run(arguments: &[&str], config: &Path) -> Output {
    Command::new(binary("loghogd")).args(arguments).arg("--config").arg(config).output().unwrap()
}

/// Whom to become: somebody else if we are root, else whoever we are.
fn a_user() -> User {
    let user = match Uid::effective().is_root() {
        true => User::from_name("nobody"),
        false => User::from_uid(Uid::effective()),
    };
    user.unwrap().expect("a user")
}

/// Lets every user pass through a folder.
fn open_to_all(folder: &Path) {
    std::fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A daemon that is not our child; it ends with the test all the same.
struct Background(Pid);

impl Background {
    fn of(pidfile: &str) -> Background {
        Background(Pid::from_raw(pidfile.trim().parse().expect("a pid")))
    }

    fn is_alive(&self) -> bool {
        is_alive(u32::try_from(self.0.as_raw()).expect("a pid"))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.is_alive() {
            let _ = kill(self.0, Signal::SIGKILL);
        }
    }
}
