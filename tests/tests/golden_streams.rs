//! Frames arrive whole however the network cuts the stream that carries them.

use std::collections::{BTreeMap, HashMap};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use loghog_tests::golden::{self, text};
use loghog_tests::{DEADLINE, Daemon, Scenario, wait_until};
use serde_json::Value;
use socket2::SockRef;

/// Records of each file, in order.
type Files = BTreeMap<String, Vec<String>>;

#[test]
fn every_golden_stream_gives_its_messages_in_order() {
    golden::check_each(&golden::cases("streams.json"), |case| {
        golden::assert_understood(
            case,
            &["name", "description", "steps", "expected", "connection"],
        );
        let daemon = Scenario::new().start();
        let mut sockets = take_steps(&daemon, case["steps"].as_array().unwrap());
        let right = answers(&case["expected"]);
        // The connections are still open: no message waits for their end.
        wait_until(DEADLINE, "the messages are written", || {
            right.iter().any(|files| files_of(&daemon, files) == *files).then_some(())
        });
        if case["connection"] == "closed by server" {
            for socket in sockets.values_mut() {
                assert_closed(socket);
            }
        }
        drop(sockets);
        let stopped = daemon.stop();
        let at_the_end = |files: &Files| -> Files {
            files.keys().map(|file| (file.clone(), stopped.site.records(file))).collect()
        };
        assert!(right.iter().any(|files| at_the_end(files) == *files), "more came at the end");
    });
}

fn take_steps(daemon: &Daemon, steps: &[Value]) -> HashMap<u64, TcpStream> {
    let mut sockets = HashMap::new();
    for step in steps {
        golden::assert_understood(
            step,
            &["conn", "chunk_hex", "pause_ms", "shutdown_write", "close", "reset"],
        );
        let number = step["conn"].as_u64().unwrap();
        let socket: &mut TcpStream = sockets.entry(number).or_insert_with(|| {
            let socket = TcpStream::connect(daemon.tcp()).unwrap();
            socket.set_nodelay(true).unwrap();
            socket
        });
        if step.get("chunk_hex").is_some() {
            // A connection that the daemon has closed takes no more: that is the case's point.
            let _ = socket.write_all(&golden::bytes(text(step, "chunk_hex")));
        }
        if let Some(pause_ms) = step["pause_ms"].as_u64() {
            std::thread::sleep(Duration::from_millis(pause_ms));
        }
        if step["shutdown_write"] == true {
            socket.shutdown(Shutdown::Write).unwrap();
        }
        if step["reset"] == true {
            SockRef::from(&*socket).set_linger(Some(Duration::ZERO)).unwrap();
        }
        if step["reset"] == true || step["close"] == true {
            sockets.remove(&number);
        }
    }
    sockets
}

/// The right answers: the expected one, and perhaps another.
fn answers(expected: &Value) -> Vec<Files> {
    golden::assert_understood(expected, &["messages", "also_allowed", "check_before_close"]);
    let answer = |messages: &Value| {
        let mut files = Files::new();
        for message in messages.as_array().expect("an array of messages") {
            let suffix = text(message, "line_suffix").to_owned();
            files.entry(text(message, "file").to_owned()).or_default().push(suffix);
        }
        files
    };
    let mut answers = vec![answer(&expected["messages"])];
    answers.extend(expected.get("also_allowed").map(answer));
    answers
}

fn files_of(daemon: &Daemon, like: &Files) -> Files {
    like.keys().map(|file| (file.clone(), daemon.records(file))).collect()
}

fn assert_closed(socket: &mut TcpStream) {
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    match socket.read(&mut [0]) {
        Ok(bytes) => assert_eq!(bytes, 0, "the daemon wrote to a v1 connection"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "still open"),
    }
}
