//! A facility that requires v2 or TLS takes nothing that came otherwise; each
//! refusal is counted, and the own log says what to do.

use std::io::Write as _;
use std::net::{TcpStream, UdpSocket};

use loghog_tests::Scenario;
use loghog_tests::certs::Authority;
use loghog_tests::frames::{frame, signed};
use loghog_tests::tls::connect;

const FACILITIES: &str = "[open]\nrotate = daily\nbackup_count = 9\n\
                          [safe]\nrotate = daily\nbackup_count = 9\nrequire = tls\nsecret = s\n\
                          [new]\nrotate = daily\nbackup_count = 9\nrequire = v2\n\
                          [both]\nrotate = daily\nbackup_count = 9\nrequire = v2, tls\n";

#[test]
fn what_comes_otherwise_than_required_is_refused_and_counted() {
    let authority = Authority::new();
    let client = authority.client("web-1");
    let daemon = Scenario::new().tls(&authority).facilities(FACILITIES).start();
    let messages = |how: &str| {
        let unsigned = ["open", "new", "both"].map(|app| frame(app, "x", "h", how));
        [unsigned.concat(), signed("s", "safe", "x", "h", how)].concat()
    };
    let mut tcp = TcpStream::connect(daemon.tcp()).unwrap();
    tcp.write_all(&messages("plain")).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.send_to(&signed("s", "safe", "x", "h", "datagram"), daemon.udp()).unwrap();
    udp.send_to(&frame("new", "x", "h", "datagram"), daemon.udp()).unwrap();
    let mut tls = connect(daemon.tls(), &authority.certificate(), Some(&client)).unwrap();
    tls.write_all(&messages("TLS")).unwrap();
    tls.flush().unwrap();

    daemon.wait_for_count("frames", 10);
    assert_eq!(daemon.wait_for_records("safe/root.log", 1), [" - h - TLS"]);
    daemon.wait_for_records("open/root.log", 2);
    let said = daemon.wait_until_it_said("protocol_too_old: ");
    assert!(said.contains("requires protocol v2") && said.contains("`require`"), "{said}");
    let said = daemon.wait_until_it_said("tls_missing: ");
    assert!(said.contains("safe:root") && said.contains("port for TLS"), "{said}");
    let stats = daemon.stop().stats();
    assert_eq!((stats["records"], stats["lines"]), (3, 3));
    // Whatever else is required, an old protocol is the reason told.
    assert_eq!((stats["protocol_too_old"], stats["tls_missing"]), (5, 2));
}

#[test]
fn a_reload_that_requires_tls_where_nobody_listens_for_it_changes_nothing() {
    let daemon = Scenario::new().facilities("[a]\nrotate = daily\nbackup_count = 9\n").start();
    daemon.site().set_facilities("[a]\nrotate = daily\nbackup_count = 9\nrequire = tls\n");
    let said = daemon.reload();
    assert!(said.contains("reload failed") && said.contains("facilities.conf:4: "), "{said}");
    TcpStream::connect(daemon.tcp()).unwrap().write_all(&frame("a", "", "h", "as before")).unwrap();
    assert_eq!(daemon.wait_for_records("a/root.log", 1), [" - h - as before"]);
}
