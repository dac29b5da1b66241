//! A client and a server over TLS: who trusts whom.

mod harness;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use harness::certificates::Authority;
use harness::{PATIENCE, Server, balanced, bodies, eventually, say};
use loghog::{Builder, Client, Error, Tls, TlsError, Transport, builder};

fn with(server: &Server, host: &str, tls: Tls) -> Builder {
    builder("app")
        .address(host)
        .port(server.address.port())
        .transport(Transport::Tls(tls))
        .hostname("web01")
}

fn client(server: &Server, host: &str, tls: Tls) -> Client {
    with(server, host, tls).build_client().unwrap()
}

/// Sends one message and returns why it did not get through.
fn refusal(server: &Server, client: &Client) -> String {
    say(client, "secret");
    eventually("the attempt fails", || client.stats().failures > 0);
    let failures = client.take_failures();
    assert!(server.received().is_empty());
    assert!(!client.close(std::time::Duration::ZERO));
    failures[0].clone()
}

#[test]
fn both_sides_prove_themselves_and_messages_arrive_in_order() {
    let authority = Authority::new();
    let server = Server::tls(authority.server(&["localhost"]));
    let client = client(&server, "localhost", Tls::new(authority.client("web"), &authority.ca));
    (0..20_000).for_each(|number| say(&client, &number.to_string()));
    assert!(client.close(PATIENCE));
    let received = server.wait_for(20_000);
    let expected: Vec<_> = (0..20_000).map(|number: u32| number.to_string()).collect();
    assert_eq!(bodies(&received), expected);
    assert_eq!(balanced(&client).written, 20_000);
}

#[test]
fn an_address_is_checked_like_a_name() {
    let authority = Authority::new();
    let server = Server::tls(authority.server(&["127.0.0.1"]));
    let client = client(&server, "127.0.0.1", Tls::new(authority.client("web"), &authority.ca));
    say(&client, "hello");
    server.wait_for(1);
}

#[test]
fn a_certificate_for_another_name_is_refused_with_the_remedy() {
    let authority = Authority::new();
    let server = Server::tls(authority.server(&["logs.example.org"]));
    let client = client(&server, "localhost", Tls::new(authority.client("web"), &authority.ca));
    let why = refusal(&server, &client);
    assert!(why.contains("localhost") && why.contains("loghog-server-cert"), "{why}");
}

#[test]
fn a_certificate_without_any_name_is_refused() {
    let authority = Authority::new();
    let server = Server::tls(authority.server(&[]));
    let client = client(&server, "localhost", Tls::new(authority.client("web"), &authority.ca));
    refusal(&server, &client);
}

#[test]
fn the_servers_name_may_be_given() {
    let authority = Authority::new();
    let server = Server::tls(authority.server(&["logs.example.org"]));
    let tls = Tls::new(authority.client("web"), &authority.ca).server_name("logs.example.org");
    let client = client(&server, "127.0.0.1", tls);
    say(&client, "hello");
    server.wait_for(1);
}

#[test]
fn the_name_may_go_unchecked_as_in_the_original() {
    let authority = Authority::new();
    let server = Server::tls(authority.server(&[]));
    let tls = Tls::new(authority.client("web"), &authority.ca).verify_name(false);
    let client = client(&server, "127.0.0.1", tls);
    say(&client, "hello");
    server.wait_for(1);
}

#[test]
fn without_the_name_the_ca_is_still_checked() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = Server::tls(theirs.server_for(&["localhost"], &ours));
    let tls = Tls::new(ours.client("web"), &ours.ca).verify_name(false);
    let why = refusal(&server, &client(&server, "localhost", tls));
    assert!(why.contains("not from our CA"), "{why}");
}

#[test]
fn a_client_of_the_same_ca_cannot_pass_for_the_server() {
    let authority = Authority::new();
    let server = Server::tls(authority.impostor(&["localhost"]));
    let tls = Tls::new(authority.client("web"), &authority.ca).verify_name(false);
    refusal(&server, &client(&server, "localhost", tls));
}

#[test]
fn a_server_of_another_ca_is_refused() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = Server::tls(theirs.server_for(&["localhost"], &ours));
    let tls = Tls::new(ours.client("web"), &ours.ca);
    let why = refusal(&server, &client(&server, "localhost", tls));
    assert!(why.contains("not from our CA"), "{why}");
}

#[test]
fn a_server_that_refuses_us_is_noticed_before_anything_is_lost() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = Server::tls(ours.server_for(&["localhost"], &theirs));
    let client = client(&server, "localhost", Tls::new(ours.client("web"), &ours.ca));
    let why = refusal(&server, &client);
    assert!(why.contains("the server refused us"), "{why}");
    assert_eq!(balanced(&client).written, 0);
}

#[test]
fn a_port_without_tls_is_named_as_such() {
    let authority = Authority::new();
    let server = Server::talkative(b"220 hello, this is no TLS\r\n");
    let client = client(&server, "localhost", Tls::new(authority.client("web"), &authority.ca));
    say(&client, "secret");
    eventually("the attempt fails", || client.stats().failures > 0);
    let why = client.take_failures().remove(0);
    assert!(why.contains("no TLS is spoken there"), "{why}");
}

#[test]
fn a_server_that_restarts_is_shaken_hands_with_again() {
    let authority = Authority::new();
    let server = Server::tls(authority.server(&["localhost"]));
    let port = server.address.port();
    let client = client(&server, "localhost", Tls::new(authority.client("web"), &authority.ca));
    say(&client, "before");
    server.wait_for(1);
    drop(server);
    let server = Server::tls_at(port, authority.server(&["localhost"]));
    say(&client, "after");
    assert_eq!(bodies(&server.wait_for(1)), ["after"]);
    assert_eq!(client.stats().reconnects, 1);
}

#[test]
fn a_key_may_stand_in_a_file_of_its_own() {
    let authority = Authority::new();
    let server = Server::tls(authority.server(&["localhost"]));
    let both = std::fs::read_to_string(authority.client("web")).unwrap();
    let (key, certificate) = both.split_at(both.find("-----BEGIN CERTIFICATE").unwrap());
    std::fs::write(authority.path("key"), key).unwrap();
    std::fs::write(authority.path("cert"), certificate).unwrap();
    let tls = Tls::new(authority.path("cert"), &authority.ca);
    let error = with(&server, "localhost", tls.clone()).build_client().unwrap_err();
    let is_empty = matches!(error, Error::Tls(TlsError::Empty { what: "private key", .. }));
    assert!(is_empty, "{error}");
    let client = client(&server, "localhost", tls.key(authority.path("key")));
    say(&client, "hello");
    server.wait_for(1);
}

#[test]
fn a_key_of_another_certificate_is_refused_when_the_client_is_built() {
    let authority = Authority::new();
    let server = Server::tls(authority.server(&["localhost"]));
    let tls = Tls::new(authority.client("web"), &authority.ca).key(authority.client("mail"));
    let error = with(&server, "localhost", tls).build_client().unwrap_err();
    assert!(error.to_string().contains("web.pem"), "{error}");
}

#[test]
fn a_handshake_fed_byte_by_byte_can_be_stopped() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = Authority::new();
    let client = builder("app")
        .address(listener.local_addr().unwrap().to_string())
        .transport(Transport::Tls(Tls::new(authority.client("web"), &authority.ca)))
        .build_client()
        .unwrap();
    say(&client, "lost");
    let (mut stream, _) = listener.accept().unwrap();
    assert!(stream.read(&mut [0; 4096]).unwrap() > 0, "its greeting");
    // The begin of a TLS record that takes minutes to come.
    stream.write_all(&[22, 3, 3, 64, 0]).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    thread::scope(|scope| {
        let closing = scope.spawn(|| client.close(Duration::ZERO));
        eventually("the client hangs up", || {
            stream.write_all(&[0]).is_err() || matches!(stream.read(&mut [0; 4096]), Ok(0))
        });
        assert!(!closing.join().unwrap());
    });
    assert_eq!(balanced(&client).dropped.closed, 1);
}
