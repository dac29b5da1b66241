//! Whatever is refused counts once, under its reason, and nothing unsigned
//! reaches a facility with a secret.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream, UdpSocket};

use loghog_tests::frames::{compressed, deflated, frame, raw, raw_zlib, signed};
use loghog_tests::{Daemon, Scenario};

/// Refused frames that leave their connection open, each with its reason.
fn refused_frames() -> Vec<(&'static str, Vec<u8>)> {
    let object = |fields: &str| raw(format!("{{{fields}}}").as_bytes());
    let record = |version: &str, stamp: &str| {
        object(&format!(
            "\"version\": {version}, \"app_id\": \"plain\", \"module\": \"\", \"stamp\": {stamp}, \
             \"nsecs\": 0, \"hostname\": \"h\", \"body\": \"b\""
        ))
    };
    vec![
        ("zlib_invalid", raw_zlib(b"no zlib stream")),
        ("zlib_too_long", raw_zlib(&deflated(&vec![b' '; 2 << 20]))),
        ("message_empty", raw_zlib(&deflated(b""))),
        ("not_utf8", raw(b"{\"\xff\": 1}")),
        ("not_json", raw(b"nonsense")),
        ("json_too_deep", object(&format!("\"x\": {}{}", "[".repeat(500), "]".repeat(500)))),
        ("not_an_object", raw(b"[1, 2]")),
        ("field_missing", object("\"version\": 1")),
        ("field_wrong_type", record("1", "\"now\"")),
        ("number_out_of_range", record("1", "9223372036854775808")),
        ("version_unknown", record("3", "0")),
        ("app_unknown", frame("nobody", "", "h", "b")),
        ("signature_missing", frame("signed", "", "h", "b")),
        ("signature_bad", signed("not the secret", "signed", "", "h", "b")),
        ("host_empty", frame("hosts", "", "", "b")),
        ("host_too_long", frame("hosts", "", &"h".repeat(300), "b")),
        ("hosts_too_many", frame("hosts", "", "third", "b")),
    ]
}

#[test]
fn every_refusal_counts_once_under_its_reason() {
    let daemon = Scenario::new().option("main", "max_hosts", "2").start();
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    for host in ["first", "second"] {
        socket.write_all(&frame("hosts", "", host, "b")).unwrap();
    }
    // Another number of each, so that none can stand for another.
    let mut expected = Vec::new();
    for (times, (reason, bytes)) in (1..).zip(refused_frames()) {
        for _ in 0..times {
            socket.write_all(&bytes).unwrap();
        }
        expected.push((reason, times));
    }
    let frames: u64 = expected.iter().map(|(_, times)| times).sum::<u64>() + 2;
    for _ in 0..20 {
        end(&daemon, &[0xff; 8]);
    }
    expected.push(("frame_too_long", 20));
    for _ in 0..21 {
        end(&daemon, &frame("plain", "", "h", "cut")[..20]);
    }
    expected.push(("connection_cut", 21));
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..22 {
        udp.send_to(&frame("plain", "", "h", "cut")[..20], daemon.udp()).unwrap();
    }
    expected.push(("frame_truncated", 22));

    for (reason, times) in &expected {
        daemon.wait_for_count(reason, *times);
    }
    drop(socket);
    let stopped = daemon.stop();
    let stats = stopped.stats();
    let passed = ["connections", "frames", "records", "lines", "bytes", "syncs"];
    for (name, value) in stats.iter().filter(|(name, _)| !passed.contains(&name.as_str())) {
        let times = expected.iter().find(|(reason, _)| reason == name).map_or(0, |found| found.1);
        assert_eq!(*value, times, "{name}");
    }
    // That there is no room for one more host shows only at the disk.
    let records = 2 + stats["hosts_too_many"];
    assert_eq!((stats["records"], stats["lines"], stats["frames"]), (records, 2, frames));
    assert_eq!(stats["connections"], 1 + 20 + 21);
}

#[test]
fn only_what_is_signed_with_its_own_secret_reaches_a_signed_facility() {
    let daemon = Scenario::new().start();
    let good = |module: &str, secret: &str, body: &str| signed(secret, "signed", module, "h", body);
    let secrets = [("root", "my-big-secret"), ("web", "my-big-secret"), ("api", "other-secret")];
    let mut stream = Vec::new();
    for (module, secret) in secrets {
        for wrong in ["", "my-big-secre", "my-big-secret ", "my-big-secret", "other-secret"] {
            if wrong != secret {
                stream.extend(good(module, wrong, "FORGED"));
            }
        }
        for name in [module.to_owned(), format!("{module}.below"), format!("root.{module}")] {
            stream.extend(frame("signed", &name, "h", "FORGED"));
            stream.extend(compressed("signed", &name, "h", "FORGED"));
        }
        // A signature belongs to its message: to its body, and to its module.
        let sound = String::from_utf8(good(module, secret, "sound!")[8..].to_vec()).unwrap();
        stream.extend(raw(sound.replace("sound!", "FORGED").as_bytes()));
        stream.extend(good(module, secret, &format!("right {module}")));
    }
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    socket.write_all(&stream).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.send_to(&frame("signed", "", "h", "FORGED"), daemon.udp()).unwrap();
    udp.send_to(&good("root", "my-big-secret", "right by UDP"), daemon.udp()).unwrap();

    daemon.wait_for_records("signed/root.log", 2);
    daemon.wait_for_records("signed/api.log", 1);
    let stopped = daemon.stop();
    let mut root = stopped.site.records("signed/root.log");
    root.sort();
    assert_eq!(root, [" - h - right by UDP", " - h - right root"]);
    assert_eq!(stopped.site.records("signed/web.log"), [" - h - right web"]);
    assert_eq!(stopped.site.records("signed/api.log"), [" - h - right api"]);
    assert_eq!(stopped.stats()["records"], 4);
}

/// Sends bytes on a connection of their own, and waits for its end.
fn end(daemon: &Daemon, bytes: &[u8]) {
    let mut socket = TcpStream::connect(daemon.tcp()).unwrap();
    socket.write_all(bytes).unwrap();
    // The daemon may have closed its side already.
    let _ = socket.shutdown(Shutdown::Write);
    let _ = socket.read(&mut [0]);
}
