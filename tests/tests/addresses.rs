//! Each address that the configuration lists is listened on, over IPv4 and
//! IPv6, and a plain one takes TCP and UDP on the same port.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream, UdpSocket};

use loghog_tests::certs::Authority;
use loghog_tests::frames::frame;
use loghog_tests::{Scenario, tls};

#[test]
fn several_addresses_of_both_families_take_messages() {
    let authority = Authority::new();
    let client = authority.client("web-1");
    let daemon = Scenario::new()
        .tls(&authority)
        .option("server", "listen_ipv4", "127.0.0.1:0, 127.0.0.2, localhost:0")
        .option("server", "listen_ipv6", "[::1]:0")
        .option("server", "listen_ipv4_ssl", "127.0.0.1, 127.0.0.3:0")
        .option("server", "listen_ipv6_ssl", "[::1]")
        .option("server", "default_port", "0")
        .option("server", "default_port_ssl", "0")
        .start();
    let of = |protocol: &str| -> Vec<SocketAddr> {
        let all = daemon.listening().iter().filter(|(of, _)| of == protocol);
        all.map(|(_, address)| *address).collect()
    };
    assert_eq!(of("tcp").len(), 4);
    assert_eq!(of("udp"), of("tcp"), "TCP and UDP share their ports");
    assert_eq!(of("tls").len(), 3);

    let mut expected = Vec::new();
    for (protocol, address) in daemon.listening() {
        let body = format!("{protocol} {address}");
        let message = frame("plain", "", "h", &body);
        match protocol.as_str() {
            "tcp" => TcpStream::connect(address).unwrap().write_all(&message).unwrap(),
            "udp" => {
                let any = if address.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
                UdpSocket::bind(any).unwrap().send_to(&message, address).map(drop).unwrap();
            }
            _ => {
                let authority = authority.certificate();
                let mut stream = tls::connect(*address, &authority, Some(&client)).unwrap();
                stream.write_all(&message).unwrap();
                stream.flush().unwrap();
            }
        }
        expected.push(format!(" - h - {body}"));
    }
    let mut records = daemon.wait_for_records("plain/root.log", expected.len());
    records.sort();
    expected.sort();
    assert_eq!(records, expected);
}

#[test]
fn an_ipv6_address_for_all_leaves_ipv4_alone() {
    let daemon = Scenario::new()
        .without("server", "listen_ipv4")
        .option("server", "listen_ipv4", "")
        .option("server", "listen_ipv6", "[::]:0")
        .start();
    let port = daemon.tcp().port();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody asked for IPv4");
    let mut socket = TcpStream::connect(("::1", port)).unwrap();
    socket.write_all(&frame("plain", "", "h", "over IPv6")).unwrap();
    daemon.wait_for_records("plain/root.log", 1);
}
