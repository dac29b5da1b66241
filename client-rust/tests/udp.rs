//! A client and a server over UDP.

mod harness;

use harness::{PATIENCE, UdpServer, balanced, bodies, eventually, say};
use loghog::{Client, Transport, builder};

fn client(address: impl ToString) -> Client {
    builder("app")
        .address(address.to_string())
        .transport(Transport::Udp)
        .secret("s3cret")
        .build_client()
        .unwrap()
}

#[test]
fn each_message_travels_in_a_datagram_of_its_own() {
    let server = UdpServer::start();
    let client = client(server.address);
    (0..20).for_each(|number| say(&client, &number.to_string()));
    assert!(client.flush(PATIENCE));
    let received = server.wait_for(20);
    assert_eq!(bodies(&received)[19], "19");
    assert!(received.iter().all(|received| received.signature.is_some()));
    assert_eq!(balanced(&client).written, 20);
}

#[test]
fn a_message_that_no_datagram_holds_is_counted() {
    let server = UdpServer::start();
    let client = client(server.address);
    say(&client, &"x".repeat(65_507));
    say(&client, &"y".repeat(65_000));
    assert_eq!(server.wait_for(1)[0].body.len(), 65_000);
    assert_eq!(balanced(&client).dropped.too_large, 1);
}

#[test]
fn messages_wait_while_nobody_listens() {
    let address = UdpServer::start().address;
    let client = client(address);
    say(&client, "first");
    eventually("the refusal is noticed", || client.stats().failures >= 2);
    say(&client, "second");
    let server = UdpServer::at(address);
    assert!(client.flush(PATIENCE));
    assert_eq!(bodies(&server.wait_for(2)), ["first", "second"]);
    let stats = balanced(&client);
    assert_eq!((stats.dropped.total(), stats.reconnects), (0, 0));
}

#[test]
fn a_server_that_went_away_loses_nothing_that_came_later() {
    let server = UdpServer::start();
    let address = server.address;
    let client = client(address);
    say(&client, "heard");
    server.wait_for(1);
    drop(server);
    // The kernel refuses each of these, and says so with the next.
    for number in 0..5 {
        say(&client, &format!("unheard {number}"));
        let failures = client.stats().failures;
        if number == 0 {
            eventually("the refusal is noticed", || client.stats().failures > failures);
        }
    }
    let server = UdpServer::at(address);
    assert!(client.flush(PATIENCE));
    assert_eq!(bodies(&server.wait_for(5))[0], "unheard 0");
}

#[test]
fn a_name_with_several_addresses_is_tried_to_the_end() {
    let server = UdpServer::start();
    let client = client(format!("localhost:{}", server.address.port()));
    say(&client, "found");
    server.wait_for(1);
    assert_eq!(balanced(&client).dropped.total(), 0);
}
