//! The command `loghog` and the ways to a server: TLS, both protocols, several
//! servers.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use loghog_tests::certs::{Authority, Identity};
use loghog_tests::command::{
    FACILITIES, Running, assert_ended, bare, loghog, nobody, records, run, start,
};
use loghog_tests::{DEADLINE, Scenario, wait_until};

#[test]
fn tls_needs_the_right_name_and_the_right_authority_on_both_sides() {
    let authority = Authority::for_server("logs.example.org");
    let other = Authority::for_server("logs.example.org");
    let (ours, theirs) = (authority.client("web01"), other.client("web01"));
    let daemon = Scenario::new().fast_disk().facilities(FACILITIES).tls(&authority).start();
    let ends = |identity: &Identity, ca: &Authority, name: &[&str], code: i32, said: &str| {
        let mut command = loghog("send", "app", daemon.tls());
        command.arg("--tls").arg("--pem").arg(identity.pem()).arg("--ca").arg(ca.certificate());
        let timeout = if code == 0 { "30" } else { "2" };
        command.args(["--timeout", timeout]).args(name).arg("line 0");
        assert_ended(&run(&mut command, b""), code, said);
    };
    let name = ["--server-name", "logs.example.org"];
    ends(&ours, &authority, &name, 0, "");
    ends(&ours, &authority, &[], 0, "");
    ends(&ours, &authority, &["--server-name", "other.example.org"], 75, "as server name");
    ends(&ours, &other, &name, 75, "it is not from our CA");
    ends(&theirs, &authority, &name, 75, "the server refused us");
    ends(&ours, &authority, &["--server-name", "no name"], 64, "cannot be the name");
    assert_eq!(daemon.records("app/root.log"), [" - h - line 0", " - h - line 0"]);
}

#[test]
fn both_protocols_reach_the_daemon() {
    let daemon = start();
    for (number, protocol) in ["1", "auto", "2"].into_iter().enumerate() {
        let mut command = loghog("send", "app", daemon.tcp());
        command.args(["--protocol", protocol, &format!("line {number}")]);
        assert_ended(&run(&mut command, b""), 0, "");
        // Version 1 says only that it was handed over.
        daemon.wait_for_records("app/root.log", number + 1);
    }
    assert_eq!(daemon.records("app/root.log"), records(3));
}

#[test]
fn a_server_that_never_answers_gets_version_1_where_that_is_allowed() {
    let server = Silent::start();
    let begin = |protocol: &str| {
        let mut command = loghog("send", "app", server.address);
        Running::start(command.args(["--timeout", "4.5", "--protocol", protocol, "hello"]))
    };
    let (auto, strict) = (begin("auto"), begin("2"));
    assert_ended(&auto.finish(), 0, "");
    assert_ended(&strict.finish(), 75, "does the server know protocol 2?");
    let what = "version 1 has arrived once";
    let got = wait_until(DEADLINE, what, || Some(server.heard()).filter(|got| !got.is_empty()));
    assert_eq!(got, ["hello"]);
}

#[test]
fn of_several_servers_the_first_that_is_there_takes_everything() {
    let (first, second) = (start(), start());
    let send = |servers: [SocketAddr; 2], text: &str| {
        let mut command = bare("send", "app");
        for server in servers {
            command.args(["--server", &server.to_string()]);
        }
        run(command.args(["--timeout", "2", text]), b"")
    };
    assert_ended(&send([nobody(), second.tcp()], "line 0"), 0, "");
    assert_ended(&send([first.tcp(), second.tcp()], "line 0"), 0, "");
    assert_ended(&send([nobody(), nobody()], "line 1"), 75, "may be lost");
    for daemon in [first, second] {
        assert_eq!(daemon.records("app/root.log"), records(1));
    }
}

/// A server that says nothing, as one that knows only version 1.
struct Silent {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    thread: Option<JoinHandle<()>>,
}

impl Silent {
    fn start() -> Silent {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let heard = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let theirs = Arc::clone(&heard);
        let thread = std::thread::spawn(move || {
            let mut readers = Vec::new();
            for mut stream in listener.incoming().flatten() {
                let heard = Arc::clone(&theirs);
                let mut first = [0];
                // The one that ends it says nothing.
                if !matches!(stream.read(&mut first), Ok(1)) {
                    break;
                }
                readers.push(std::thread::spawn(move || {
                    let mut bytes = first.to_vec();
                    let _ = stream.read_to_end(&mut bytes);
                    heard.lock().expect("nobody panics with it").push(bytes);
                }));
            }
            readers.into_iter().for_each(|reader| reader.join().expect("it reads to the end"));
        });
        Silent { address, heard, thread: Some(thread) }
    }

    /// The bodies of version 1 that have come.
    fn heard(&self) -> Vec<String> {
        let mut scratch = wire::v1::Scratch::default();
        let heard = self.heard.lock().expect("nobody panics with it");
        let payloads = heard.iter().filter_map(|bytes| bytes.get(8..));
        let mut bodies = Vec::new();
        for payload in payloads {
            if let Ok(record) = wire::v1::decode(payload, &mut scratch) {
                bodies.push(record.body.to_owned());
            }
        }
        bodies
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        drop(TcpStream::connect(self.address));
        let joined = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || joined.is_none_or(|joined| joined.is_ok()));
    }
}
