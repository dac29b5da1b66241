//! A file cannot be written: its senders are held back, others go on, the own
//! log says which file, why, and what to do, and the daemon goes on by itself
//! with nothing lost and nothing doubled.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use loghog_tests::frames::frame;
use loghog_tests::load::{Load, assert_gapless, numbers, send_numbers};
use loghog_tests::process::descriptors;
use loghog_tests::{DEADLINE, Daemon, Scenario, Site, segments, wait_until};

/// Files that turn often, so that folders are worked in all the time.
const FACILITIES: &str = "[sick]\nrotate = size\nmax_size = 200000\nbackup_count = 100000\n\
                          [well]\nrotate = size\nmax_size = 200000\nbackup_count = 100000\n\
                          [hosts]\nrotate = daily\nbackup_count = 1\nfile_per_host = yes\n";

/// Waits until a load's messages do not move any more.
fn wait_until_held_back(load: &Load) {
    let mut before = 0;
    wait_until(DEADLINE, "the sender is held back", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = load.messages();
        (now == std::mem::replace(&mut before, now)).then_some(())
    });
}

/// A connection that was there before the trouble, and what it has sent.
struct Others {
    socket: TcpStream,
    messages: u64,
}

impl Others {
    fn connect(daemon: &Daemon) -> Others {
        Others { socket: TcpStream::connect(daemon.tcp()).unwrap(), messages: 0 }
    }

    /// It goes on.
    fn go_on(&mut self, daemon: &Daemon) {
        let before = daemon.stats()["lines"];
        send_numbers(&mut self.socket, "well", "", self.messages..self.messages + 100);
        self.messages += 100;
        daemon.wait_for_count("lines", before + 100);
    }
}

/// Everything that was sent is in the files of an application.
fn assert_all_there(site: &Site, app: &str, messages: u64) {
    let numbers = numbers(&segments::records(&site.log_dir().join(app), "root"));
    assert_gapless(&numbers);
    assert_eq!(u64::try_from(numbers.len()).unwrap(), messages);
}

#[test]
fn a_folder_in_the_place_of_a_live_file_holds_its_senders_back_until_it_is_gone() {
    let site = Scenario::new().facilities(FACILITIES).fast_disk().site();
    let obstacle = site.log_dir().join("sick/root.log");
    fs::create_dir_all(&obstacle).unwrap();
    let daemon = site.start();
    let mut others = Others::connect(&daemon);
    let load = Load::start(daemon.tcp(), "sick", "");
    let said = daemon.wait_until_it_said("sick/root.log");
    assert!(said.contains("ERROR") && said.contains("move away"), "{said}");
    wait_until_held_back(&load);
    others.go_on(&daemon);
    assert!(daemon.stats()["write_retries"] > 0);
    load.ask_to_stop();
    fs::remove_dir(&obstacle).unwrap();
    let sent = load.wait();
    assert!(!sent.cut_off);
    daemon.wait_until_it_said("can be written again");
    daemon.wait_for_count("lines", sent.messages + others.messages);
    let stopped = daemon.stop();
    assert!(stopped.status.success(), "{}", stopped.said);
    assert_all_there(&stopped.site, "sick", sent.messages);
    assert_all_there(&stopped.site, "well", others.messages);
}

#[test]
fn a_folder_that_was_removed_is_made_anew_and_others_go_on() {
    let daemon = Scenario::new().facilities(FACILITIES).fast_disk().start();
    let load = Load::start(daemon.tcp(), "sick", "");
    let mut others = Others::connect(&daemon);
    daemon.wait_for_count("files_turned", 3);
    let (folder, removed) = (daemon.log_dir().join("sick"), daemon.log_dir().join("removed"));
    // In one step: rm -r may be overtaken by the daemon.
    fs::rename(&folder, daemon.site().folder().join("removed")).unwrap();
    wait_until(DEADLINE, "the folder is there again", || {
        folder.join("root.log").exists().then_some(())
    });
    assert!(!removed.exists());
    others.go_on(&daemon);
    let sent = load.stop();
    assert!(!sent.cut_off);
    daemon.wait_for_count("lines", sent.messages + others.messages);
    let stopped = daemon.stop();
    let removed = stopped.site.folder().join("removed");
    let mut all = segments::records(&removed, "root");
    all.extend(segments::records(&stopped.site.log_dir().join("sick"), "root"));
    let numbers = numbers(&all);
    assert_gapless(&numbers);
    assert_eq!(u64::try_from(numbers.len()).unwrap(), sent.messages);
    assert_all_there(&stopped.site, "well", others.messages);
}

#[test]
fn a_folder_without_permission_holds_its_senders_back_until_it_is_given() {
    const NOBODY: &str = "nobody";
    let is_root = nix::unistd::geteuid().is_root();
    let scenario = Scenario::new().facilities(FACILITIES).fast_disk();
    let site = match is_root {
        // Nothing is forbidden to root: the daemon gives its rights away.
        true => scenario.option("main", "user", NOBODY).site(),
        false => scenario.site(),
    };
    if is_root {
        let mut command = Command::new("chown");
        assert!(command.args(["-R", NOBODY]).arg(site.folder()).status().unwrap().success());
    }
    let daemon = site.start();
    let load = Load::start(daemon.tcp(), "sick", "");
    let mut others = Others::connect(&daemon);
    daemon.wait_for_count("files_turned", 3);
    let permit = |mode| {
        let folder = daemon.log_dir().join("sick");
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
    };
    permit(0o000);
    // Soon the live file is full: it has to turn, and cannot. What is open is
    // written to, beyond its size; unless the folder was closed just between a
    // turn and the next line.
    let said = daemon.wait_until_it_said("sick/root.log: Permission denied");
    assert!(said.contains("ERROR") && said.contains("give the daemon's user permission"), "{said}");
    if said.contains("cannot turn") {
        let lines = daemon.stats()["lines"];
        daemon.wait_for_count("lines", lines + 10_000);
    }
    // Once it is closed, it cannot be opened either.
    daemon.reload();
    let said = daemon.wait_until_it_said("cannot write");
    assert!(said.contains("sick/root.log: Permission denied"), "{said}");
    wait_until_held_back(&load);
    others.go_on(&daemon);
    load.ask_to_stop();
    permit(0o750);
    let sent = load.wait();
    assert!(!sent.cut_off);
    daemon.wait_for_count("lines", sent.messages + others.messages);
    let stopped = daemon.stop();
    assert!(stopped.status.success(), "{}", stopped.said);
    assert_all_there(&stopped.site, "sick", sent.messages);
    assert_all_there(&stopped.site, "well", others.messages);
}

#[test]
fn a_file_system_that_became_read_only_holds_senders_back_until_it_is_writable() {
    let daemon = Scenario::new().facilities(FACILITIES).fast_disk().tiny_disk(256 << 20).start();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    send_numbers(&mut socket, "sick", "", 0..5000);
    daemon.wait_for_count("lines", 5000);
    let folder = daemon.log_dir();
    // It cannot become read-only while files are open for writing: a reload
    // closes them, and whoever seals comes to an end.
    daemon.reload();
    segments::wait_until_sealed(&folder.join("sick"), "root", 0);
    daemon.site().disk().remount("ro");
    let load = Load::start(daemon.tcp(), "well", "");
    let said = daemon.wait_until_it_said("well");
    assert!(said.contains("ERROR") && said.contains("for writing"), "{said}");
    wait_until_held_back(&load);
    assert!(daemon.stats()["write_retries"] > 0);
    load.ask_to_stop();
    daemon.site().disk().remount("rw");
    let sent = load.wait();
    assert!(!sent.cut_off);
    daemon.wait_until_it_said("can be written again");
    daemon.wait_for_count("lines", 5000 + sent.messages);
    for (app, messages) in [("sick", 5000), ("well", sent.messages)] {
        let numbers = numbers(&segments::records_when_sealed(&folder.join(app), "root"));
        assert_gapless(&numbers);
        assert_eq!(u64::try_from(numbers.len()).unwrap(), messages);
    }
    assert!(daemon.stop().status.success());
}

#[test]
fn without_descriptors_files_take_turns_and_nobody_is_lost() {
    const HOSTS: usize = 20;
    let daemon = Scenario::new().facilities(FACILITIES).fast_disk().start();
    let mut others = Others::connect(&daemon);
    let mut hosts = TcpStream::connect(daemon.tcp()).unwrap();
    let mut log_of_each = |body: &str| {
        for host in 0..HOSTS {
            hosts.write_all(&frame("hosts", "", &format!("h{host:02}"), body)).unwrap();
        }
    };
    let all_have = |count: usize| {
        for host in 0..HOSTS {
            daemon.wait_for_records(&format!("hosts/h{host:02}-root.log"), count);
        }
    };
    let limit = |files: usize| {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &daemon.pid().to_string(), &format!("--nofile={files}:")]);
        assert!(command.status().unwrap().success());
    };
    others.go_on(&daemon);
    // Room for some of the files.
    let descriptors_before = descriptors(daemon.pid());
    limit(descriptors_before + 8);
    log_of_each("one");
    all_have(1);
    others.go_on(&daemon);
    // Room for none.
    limit(8);
    log_of_each("two");
    let said = daemon.wait_until_it_said("limit of open files");
    assert!(said.contains("ERROR") && said.contains("hosts/h"), "{said}");
    limit(1024);
    all_have(2);
    others.go_on(&daemon);
    let stopped = daemon.stop();
    assert!(stopped.status.success(), "{}", stopped.said);
    assert_eq!(stopped.site.records("hosts/h07-root.log"), [" - h07 - one", " - h07 - two"]);
    assert_all_there(&stopped.site, "well", others.messages);
}
