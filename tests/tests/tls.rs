//! Over TLS only peers with a good certificate get in, and the own log says
//! of each other one who it was, why, and what to do.

use std::io::Write as _;
use std::time::Duration;

use loghog_tests::certs::{Authority, Identity};
use loghog_tests::frames::frame;
use loghog_tests::tls::{TlsStream, connect, connect_saying, connect_with, is_refused};
use loghog_tests::{Daemon, Scenario};
use rustls::version::{TLS12, TLS13};

#[test]
fn both_versions_with_a_good_certificate_get_in_and_get_no_tickets() {
    let authority = Authority::new();
    let client = authority.client("web-1");
    let daemon = Scenario::new().tls(&authority).start();
    for (number, version) in [&TLS12, &TLS13].into_iter().enumerate() {
        let ca = authority.certificate();
        let mut stream = connect_with(daemon.tls(), &ca, Some(&client), &[version]).unwrap();
        assert_eq!(stream.conn.protocol_version(), Some(version.version));
        log(&mut stream, &format!("number {number}"));
        daemon.wait_for_records("plain/root.log", number + 1);
        // The original's client takes a readable socket for a closed one.
        assert_eq!(stream.conn.tls13_tickets_received(), 0);
        stream.sock.set_nonblocking(true).unwrap();
        let silent = stream.sock.peek(&mut [0]).unwrap_err();
        assert_eq!(silent.kind(), std::io::ErrorKind::WouldBlock, "the daemon wrote something");
    }
    let stats = daemon.stop().stats();
    assert_eq!((stats["records"], stats["certificate_refused"]), (2, 0));
}

#[test]
fn no_message_waits_inside_tls_for_the_next_one() {
    let authority = Authority::new();
    let client = authority.client("web-1");
    let daemon = Scenario::new().tls(&authority).start();
    let ca = authority.certificate();
    for count in 1..=20 {
        let first = frame("plain", "", "h", "said with the end of the handshake");
        let _open = connect_saying(daemon.tls(), &ca, &client, &first).unwrap();
        daemon.wait_for_records("plain/root.log", count);
    }
    // The end of a long message and a short one come in one record.
    let mut stream = connect(daemon.tls(), &ca, Some(&client)).unwrap();
    let long = frame("plain", "web", "h", &"long ".repeat(10_000));
    let short = frame("plain", "web", "h", "short");
    let (begin, end) = long.split_at(long.len() - 1000);
    for count in 1..=5 {
        stream.write_all(begin).unwrap();
        stream.flush().unwrap();
        // Long enough for the daemon to have read it, mostly.
        std::thread::sleep(Duration::from_millis(50));
        stream.write_all(&[end, &short].concat()).unwrap();
        stream.flush().unwrap();
        daemon.wait_for_records("plain/web.log", 2 * count);
    }
}

#[test]
fn every_bad_certificate_is_refused_and_named() {
    let authority = Authority::new();
    let other = Authority::new();
    let good = authority.client("good");
    let expired = authority.expired_client("long-gone");
    let v1 = authority.v1_client("from-2015");
    let revoked = authority.client("lost-laptop");
    authority.revoke("lost-laptop");
    let stranger = other.client("stranger");
    let daemon = Scenario::new().tls(&authority).start();

    let refused: [(Option<&Identity>, &[&str]); 5] = [
        (None, &["certificate"]),
        (Some(&expired), &["expired"]),
        // X.509 v1, with the remedy in the same line.
        (Some(&v1), &["v1", "loghog-client-cert", "loghog-server-cert --reissue"]),
        (Some(&revoked), &["revoked"]),
        (Some(&stranger), &["authority"]),
    ];
    for (count, (identity, words)) in (1..).zip(refused) {
        let mark = daemon.mark();
        for version in [&TLS12, &TLS13] {
            let ca = authority.certificate();
            let connected = connect_with(daemon.tls(), &ca, identity, &[version]);
            assert!(is_refused(connected), "{identity:?} got in");
        }
        daemon.wait_for_count("certificate_refused", 2 * count);
        // Complaints of one peer about one thing are summed up; only the
        // first of them is sure to be there in words.
        if count == 1 {
            let said = daemon.wait_until_it_said_since(mark, "certificate_refused");
            assert!(said.contains("127.0.0.1:"), "the peer is named: {said}");
        }
        assert_said_in_a_fresh_daemon(&authority, identity, words);
    }
    let ca = authority.certificate();
    log(&mut connect(daemon.tls(), &ca, Some(&good)).unwrap(), "good");
    daemon.wait_for_records("plain/root.log", 1);
    let stats = daemon.stop().stats();
    assert_eq!((stats["certificate_refused"], stats["records"]), (10, 1));
}

#[test]
fn what_the_originals_scripts_made_gets_in_once_it_is_reissued() {
    let authority = Authority::of_the_original();
    let client = authority.v1_client("web-1");
    authority.reissue();
    let daemon = Scenario::new().tls(&authority).start();
    for (number, version) in [&TLS12, &TLS13].into_iter().enumerate() {
        let ca = authority.certificate();
        let mut stream = connect_with(daemon.tls(), &ca, Some(&client), &[version]).unwrap();
        log(&mut stream, "from a client of the original");
        daemon.wait_for_records("plain/root.log", number + 1);
    }
    let old = client.as_it_was();
    assert!(is_refused(connect(daemon.tls(), &authority.certificate(), Some(&old))));
    let stats = daemon.stop().stats();
    assert_eq!((stats["records"], stats["certificate_refused"]), (2, 1));
}

#[test]
fn plain_bytes_on_the_tls_port_are_refused() {
    let authority = Authority::new();
    let daemon = Scenario::new().tls(&authority).start();
    let mut socket = std::net::TcpStream::connect(daemon.tls()).unwrap();
    socket.write_all(&frame("plain", "", "h", "in the clear")).unwrap();
    daemon.wait_for_count("tls_protocol", 1);
    let stats = daemon.stop().stats();
    assert_eq!((stats["tls_protocol"], stats["records"]), (1, 0));
}

#[test]
fn new_certificates_and_revocations_bind_after_a_reload() {
    let authority = Authority::new();
    let client = authority.client("web-1");
    let daemon = Scenario::new().tls(&authority).start();
    let ca = authority.certificate();
    let mut open = connect(daemon.tls(), &ca, Some(&client)).unwrap();
    log(&mut open, "before");
    daemon.wait_for_records("plain/root.log", 1);
    let server = |stream: &TlsStream| stream.conn.peer_certificates().unwrap()[0].clone();
    let old_server = server(&open);

    authority.renew_server();
    authority.revoke("web-1");
    daemon.site().install_certificates(authority.folder());
    let said = daemon.reload_certificates();
    assert!(said.contains("reloaded"), "{said}");
    assert!(is_refused(connect(daemon.tls(), &ca, Some(&client))), "it is revoked now");
    log(&mut open, "an open connection goes on");
    daemon.wait_for_records("plain/root.log", 2);
    let second = authority.client("web-2");
    let fresh = connect(daemon.tls(), &ca, Some(&second)).unwrap();
    assert_ne!(server(&fresh), old_server, "the server shows its new certificate");

    // Another authority altogether: its clients get in, the others do not.
    let other = Authority::new();
    daemon.site().install_certificates(other.folder());
    assert!(daemon.reload_certificates().contains("reloaded"));
    let theirs = other.client("theirs");
    log(&mut connect(daemon.tls(), &other.certificate(), Some(&theirs)).unwrap(), "theirs");
    daemon.wait_for_records("plain/root.log", 3);
    assert!(is_refused(connect(daemon.tls(), &other.certificate(), Some(&second))));
}

#[test]
fn broken_certificates_are_reported_and_the_old_stay_in_force() {
    let authority = Authority::new();
    let client = authority.client("web-1");
    let daemon = Scenario::new().tls(&authority).start();
    for file in ["loghog-server.pem", "loghog-ca.cert", "loghog-ca.crl"] {
        let path = daemon.site().folder().join("etc").join(file);
        std::fs::write(&path, "-----BEGIN NONSENSE-----\n").unwrap();
        let said = daemon.reload_certificates();
        assert!(said.contains("reload failed") && said.contains(file), "{said}");
        let ca = authority.certificate();
        log(&mut connect(daemon.tls(), &ca, Some(&client)).unwrap(), file);
        daemon.site().install_certificates(authority.folder());
    }
    daemon.wait_for_records("plain/root.log", 3);
}

fn log(stream: &mut TlsStream, body: &str) {
    stream.write_all(&frame("plain", "", "h", body)).unwrap();
    stream.flush().unwrap();
}

/// A daemon that has not complained yet says why it refuses this peer.
fn assert_said_in_a_fresh_daemon(
    authority: &Authority,
    identity: Option<&Identity>,
    words: &[&str],
) {
    let daemon: Daemon = Scenario::new().tls(authority).start();
    assert!(is_refused(connect(daemon.tls(), &authority.certificate(), identity)));
    let said = daemon.wait_until_it_said("certificate_refused");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}
