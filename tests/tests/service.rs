//! What a service manager and a kernel do with the daemon: it says how far it is, takes
//! sockets that are open already, and can do no more than it has to.

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use loghog_tests::binaries::{binary, python};
use loghog_tests::certs::Authority;
use loghog_tests::frames::frame;
use loghog_tests::{DEADLINE, Daemon, Scenario, Site, process, wait_until};
use nix::sys::signal::Signal;

/// A manager that listens.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn new(folder: &Path) -> Manager {
        let socket = UnixDatagram::bind(folder.join("notify")).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Manager { socket }
    }

    fn hear(&self) -> String {
        let mut buffer = [0; 1024];
        let bytes = self.socket.recv(&mut buffer).expect("the daemon says something");
        String::from_utf8(buffer[..bytes].to_vec()).unwrap()
    }
}

/// Starts the daemon with these in its environment.
fn start_with(site: Site, environment: &[(&str, &str)]) -> Daemon {
    site.environment(environment).start()
}

#[test]
fn a_service_manager_hears_how_far_the_daemon_is() {
    let site = Scenario::new().site();
    let manager = Manager::new(site.folder());
    let socket = site.folder().join("notify");
    let daemon = start_with(site, &[("NOTIFY_SOCKET", socket.to_str().unwrap())]);
    assert_eq!(manager.hear(), "READY=1\n");
    daemon.signal(Signal::SIGHUP);
    let reloading = manager.hear();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(manager.hear(), "READY=1\n");
    daemon.stop();
    assert_eq!(manager.hear(), "STOPPING=1\n");
}

#[test]
fn a_watchdog_hears_that_the_daemon_is_alive_as_often_as_it_wants() {
    let site = Scenario::new().site();
    let manager = Manager::new(site.folder());
    let socket = site.folder().join("notify");
    let environment = [("NOTIFY_SOCKET", socket.to_str().unwrap()), ("WATCHDOG_USEC", "20000")];
    let _daemon = start_with(site, &environment);
    let said: Vec<String> = (0..4).map(|_| manager.hear()).collect();
    assert!(said.contains(&"READY=1\n".to_owned()), "{said:?}");
    assert!(said.iter().filter(|said| *said == "WATCHDOG=1\n").count() >= 3, "{said:?}");
}

/// Opens TCP and UDP sockets of one port and becomes the daemon, which finds them at the
/// descriptors 3 and 4, as sd_listen_fds(3) has it; and one that it does not name at 5.
const PASS_ON: &str = r#"
import os, socket, sys
tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
tcp.bind(("127.0.0.1", int(sys.argv[1])))
tcp.listen()
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", int(sys.argv[1])))
other = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
other.bind(("127.0.0.1", 0))
other.listen()
for place, one in enumerate((tcp, udp, other), 103):
    os.dup2(one.fileno(), place)
for place in (3, 4, 5):
    os.dup2(place + 100, place, inheritable=True)
    os.close(place + 100)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = "3"
os.execv(sys.argv[2], sys.argv[2:])
"#;

#[test]
fn sockets_that_the_manager_has_opened_are_served_and_others_are_not() {
    // Whoever takes the port between these two lines would fail the test.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let site = Scenario::new().option("server", "listen_ipv4", &format!("127.0.0.1:{port}")).site();
    let mut opener = Command::new(python());
    opener.args(["-c", PASS_ON, &port.to_string()]).arg(binary("loghogd"));
    let daemon = site.behind(opener).start();
    assert_eq!(daemon.tcp().port(), port);
    let said = daemon.wait_until_it_said("the service manager listens on tcp 127.0.0.1:");
    assert!(said.contains("nobody is served there"), "{said}");
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    socket.write_all(&frame("plain", "", "h", "one")).unwrap();
    daemon.wait_for_records("plain/root.log", 1);
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.send_to(&frame("plain", "", "h", "two"), daemon.udp()).unwrap();
    daemon.wait_for_records("plain/root.log", 2);
}

#[test]
fn a_daemon_that_has_nothing_to_do_is_not_woken() {
    let daemon = Scenario::new().option("status", "listen", "127.0.0.1:0").start();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    socket.write_all(&frame("plain", "", "h", "one")).unwrap();
    daemon.wait_for_records("plain/root.log", 1);
    // What it has begun it ends; then it is as still as a stone.
    wait_until(DEADLINE, "nothing wakes it for three seconds", || {
        let before = process::wake_ups(daemon.pid());
        std::thread::sleep(Duration::from_secs(3));
        (process::wake_ups(daemon.pid()) == before).then_some(())
    });
}

fn status_of(daemon: &Daemon, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn the_daemon_can_gain_no_rights() {
    let daemon = Scenario::new().start();
    assert_eq!(status_of(&daemon, "NoNewPrivs:"), "1");
}

#[test]
fn the_daemon_reads_and_writes_in_its_own_folders_only() {
    let has_landlock = has_landlock();
    for confine in ["yes", "no"] {
        let authority = Authority::new();
        let site = Scenario::new().tls(&authority).option("main", "confine", confine).site();
        let daemon = site.start();
        let elsewhere = tempfile::tempdir().unwrap();
        // A file that becomes a link out of the folder: it is another folder's file.
        let crl = daemon.site().folder().join("etc/loghog-ca.crl");
        std::fs::rename(&crl, elsewhere.path().join("ca.crl")).unwrap();
        symlink(elsewhere.path().join("ca.crl"), &crl).unwrap();
        let own_log = daemon.site().own_log_file();
        std::fs::remove_file(&own_log).unwrap();
        symlink(elsewhere.path().join("own.log"), &own_log).unwrap();
        let said = daemon.reload_certificates();
        match confine {
            "yes" if has_landlock => {
                daemon.wait_until_it_said("confined to its own folders");
                assert!(said.contains("if it is a link, let it stay in its folder"), "{said}");
                assert!(!elsewhere.path().join("own.log").exists());
            }
            "yes" => drop(daemon.wait_until_it_said("this kernel has no Landlock")),
            _ => {
                daemon.wait_until_it_said("[main] confine = no");
                assert!(said.contains("reloaded the certificates"), "{said}");
                assert!(elsewhere.path().join("own.log").exists());
            }
        }
    }
}

/// Does this kernel have Landlock? It says so where it lists its security modules, and
/// where it does not say, the daemon's own word is all there is.
fn has_landlock() -> bool {
    let daemon = Scenario::new().start();
    wait_until(DEADLINE, "it says how far it is confined", || {
        let said = daemon.said();
        said.contains("confined").then(|| !said.contains("no Landlock"))
    })
}
