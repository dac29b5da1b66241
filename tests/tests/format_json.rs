//! With `format = json` a file holds one object a line, with all that was
//! sent; it turns, is sealed and is taken over after a restart as any other.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;

use loghog_tests::frames::frame;
use loghog_tests::segments::{self, assert_nothing_else, wait_until_sealed};
use loghog_tests::{DEADLINE, Scenario, wait_until};
use serde_json::Value;

/// What a line has, in this order.
const MEMBERS: [&str; 6] = ["received", "sent", "host", "app", "logger", "message"];

/// The objects of a text, one a line.
#[track_caller]
fn objects(text: &str) -> Vec<Value> {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is torn");
    let object = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    text.lines().map(object).collect()
}

/// How a segment is named whose first line this is.
fn name_of(first: &Value) -> String {
    let received = first["received"].as_str().unwrap();
    let local = received.get(..26).unwrap();
    format!("root.log.{}", local.replace(['T', ':', '.'], "-"))
}

#[test]
fn what_was_sent_is_read_back_by_any_reader_of_json() {
    let facilities = "[plain]\nrotate = daily\nbackup_count = 9\nformat = json\n\
                      [plain:web]\nrotate = daily\nbackup_count = 9\n\
                      [plain:old]\nrotate = daily\nbackup_count = 9\nformat = text\n";
    let daemon = Scenario::new().facilities(facilities).zone("Asia/Kathmandu").start();
    let bodies =
        ["hello", "boom\nTraceback:\r\n\t\"x\"\\\n", "\u{1b}[31m\u{0}\u{85}", "", "ж\u{2028}"];
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    for body in bodies {
        socket.write_all(&frame("plain", "web.requests", "h\"1", body)).unwrap();
    }
    socket.write_all(&frame("plain", "", "", "to the root")).unwrap();
    socket.write_all(&frame("plain", "old", "h", "as ever")).unwrap();
    let stats = daemon.wait_for_count("lines", bodies.len() as u64 + 2);
    assert_eq!(stats["records"], stats["lines"]);
    let site = daemon.stop().site;

    let text = fs::read_to_string(site.log_dir().join("plain/web.log")).unwrap();
    let objects_of_web = objects(&text);
    assert_eq!(objects_of_web.len(), bodies.len());
    for (object, body) in objects_of_web.iter().zip(bodies) {
        let mut names: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        let mut expected = MEMBERS;
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(object["message"], body);
        assert_eq!(object["host"], "h\"1");
        assert_eq!(object["app"], "plain");
        assert_eq!(object["logger"], "web.requests");
        assert_eq!(object["sent"], "2013-01-16T19:11:42.120430000Z");
        assert!(object["received"].as_str().unwrap().ends_with("+05:45"), "{object}");
    }
    assert!(!text.chars().any(|shown| shown.is_control() && shown != '\n'));
    let root = objects(&fs::read_to_string(site.log_dir().join("plain/root.log")).unwrap());
    assert_eq!((&root[0]["host"], &root[0]["logger"]), (&Value::from(""), &Value::from("")));
    assert_eq!(site.records("plain/old.log"), [" - h - as ever"]);
}

#[test]
fn files_turn_by_size_and_are_sealed_and_are_named_by_their_first_line() {
    const MESSAGES: usize = 2_000;
    const MAX_SIZE: usize = 20_000;
    let facilities = format!(
        "[plain]\nrotate = size\nmax_size = {MAX_SIZE}\nbackup_count = 5000\nformat = json\n"
    );
    let site = Scenario::new().facilities(&facilities).site();
    let send = |daemon: &loghog_tests::Daemon, from: usize| {
        let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
        for number in from..from + MESSAGES {
            let body = format!("number {number}\nand more");
            socket.write_all(&frame("plain", "", "h", &body)).unwrap();
        }
        daemon.wait_for_count("lines", MESSAGES as u64);
    };
    let daemon = site.start();
    send(&daemon, 0);
    // The file that was begun before a restart is named by what it says.
    let daemon = daemon.stop().site.start();
    send(&daemon, MESSAGES);
    let turned = usize::try_from(daemon.stats()["files_turned"]).unwrap();
    let folder = daemon.log_dir().join("plain");
    wait_until(DEADLINE, "the last line is there", || {
        let live = fs::read_to_string(folder.join("root.log")).unwrap_or_default();
        live.contains(&format!("number {}\\n", 2 * MESSAGES - 1)).then_some(())
    });
    wait_until_sealed(&folder, "root", turned);
    let site = daemon.stop().site;

    let folder = site.log_dir().join("plain");
    assert_nothing_else(&folder, &["root"]);
    let (mut all, mut before) = (Vec::new(), String::new());
    for name in segments::names(&folder, "root") {
        let text = segments::read(&folder.join(&name));
        assert!(text.len() <= MAX_SIZE, "{name} holds {} bytes", text.len());
        let objects = objects(&text);
        if segments::is_segment(&name, "root") {
            let (named, first) = (name.trim_end_matches(".xz"), name_of(&objects[0]));
            // Where that is taken, a microsecond behind the one before.
            let behind = before >= first && *named > *before;
            assert!(named == first || behind, "{name} behind {before} begins with {}", objects[0]);
            before = named.to_owned();
        }
        all.extend(objects);
    }
    let expected: Vec<String> =
        (0..2 * MESSAGES).map(|number| format!("number {number}\nand more")).collect();
    let messages: Vec<&str> =
        all.iter().map(|object| object["message"].as_str().unwrap()).collect();
    assert_eq!(messages, expected);
}
