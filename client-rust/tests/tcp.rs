//! A client and a server over TCP: order, outages, bounds and limits.

mod harness;

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use harness::{
    PATIENCE, Reserved, Server, Unanswered, balanced, bodies, client_without_server, eventually,
    say,
};
use loghog::{Builder, Client, Message, builder};
use wire::signature::{Key, Signed};

fn for_server(server: &Server) -> Builder {
    builder("app").address(server.address.to_string()).hostname("web01")
}

fn client(server: &Server) -> Client {
    for_server(server).build_client().unwrap()
}

#[test]
fn a_message_arrives_with_every_field() {
    let server = Server::tcp();
    let client = client(&server);
    let body = "INFO - \"q\" \\ tab\t ünïcode \u{1f600}\nsecond line";
    client.send(&Message { module: "web.auth", stamp: 1_353_836_302, nsecs: 999_999_999, body });
    let received = server.wait_for(1).remove(0);
    assert_eq!(received.app, "app");
    assert_eq!(received.module, "web.auth");
    assert_eq!(received.hostname, "web01");
    assert_eq!((received.stamp, received.nsecs), (1_353_836_302, 999_999_999));
    assert_eq!(received.body, body);
    assert_eq!((received.signature, received.zlib), (None, false));
}

#[test]
fn a_secret_signs_and_compression_compresses() {
    let server = Server::tcp();
    let client = for_server(&server).secret("s3cret").compression(true).build_client().unwrap();
    say(&client, "hello");
    let received = server.wait_for(1).remove(0);
    assert!(received.zlib);
    let signed = Signed {
        app_id: "app",
        module: "web",
        stamp: received.stamp,
        nsecs: received.nsecs,
        body: "hello",
    };
    assert!(Key::new(b"s3cret").verify(&signed, &received.signature.unwrap()));
}

#[test]
fn many_threads_log_and_each_ones_order_is_kept() {
    const THREADS: usize = 8;
    const EACH: usize = 5_000;
    let server = Server::tcp();
    let client = client(&server);
    thread::scope(|scope| {
        for number in 0..THREADS {
            let client = &client;
            scope.spawn(move || (0..EACH).for_each(|at| say(client, &format!("{number} {at}"))));
        }
    });
    assert!(client.flush(PATIENCE));
    let received = server.wait_for(THREADS * EACH);
    for number in 0..THREADS {
        let prefix = format!("{number} ");
        let of_thread: Vec<usize> = bodies(&received)
            .iter()
            .filter_map(|body| body.strip_prefix(&prefix)?.parse().ok())
            .collect();
        assert_eq!(of_thread, (0..EACH).collect::<Vec<_>>());
    }
    let stats = balanced(&client);
    assert_eq!((stats.written, stats.reconnects), ((THREADS * EACH) as u64, 0));
}

#[test]
fn a_server_that_restarts_gets_what_was_logged_meanwhile() {
    let server = Server::tcp();
    let address = server.address;
    let client = client(&server);
    say(&client, "before");
    server.wait_for(1);
    drop(server);
    (0..10).for_each(|number| say(&client, &format!("meanwhile {number}")));
    eventually("the outage is noticed", || client.stats().failures > 1);
    let server = Server::tcp_at(address);
    say(&client, "after");
    let received = server.wait_for(11);
    assert_eq!(bodies(&received)[0], "meanwhile 0");
    assert_eq!(bodies(&received)[10], "after");
    let stats = balanced(&client);
    assert_eq!((stats.reconnects, stats.dropped.total()), (1, 0));
}

#[test]
fn during_an_outage_the_oldest_are_dropped_and_counted() {
    let nobody = Reserved::new();
    let client = builder("app")
        .address(nobody.address.to_string())
        .outage_messages(10)
        .build_client()
        .unwrap();
    say(&client, "0");
    eventually("the outage is known", || client.stats().failures >= 2);
    (1..100).for_each(|number| say(&client, &number.to_string()));
    assert_eq!(client.stats().queued, 10);
    let server = nobody.open();
    assert!(client.flush(PATIENCE));
    let expected: Vec<_> = (90..100).map(|number: i32| number.to_string()).collect();
    assert_eq!(bodies(&server.wait_for(10)), expected);
    let stats = balanced(&client);
    assert_eq!((stats.written, stats.dropped.queue_full), (10, 90));
}

#[test]
fn a_hundred_thousand_calls_without_a_server_never_wait() {
    let (client, _nobody) = client_without_server();
    let started = Instant::now();
    (0..100_000).for_each(|_| say(&client, "into the void, a line as long as many a line is"));
    // 50 microseconds a call would be a hundred times too slow.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    balanced(&client);
}

#[test]
fn a_server_that_does_not_read_never_blocks_the_program() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = builder("app")
        .address(listener.local_addr().unwrap().to_string())
        .queue_messages(100)
        .build_client()
        .unwrap();
    let body = "x".repeat(100_000);
    let started = Instant::now();
    while client.stats().dropped.queue_full < 100 {
        say(&client, &body);
        assert!(started.elapsed() < PATIENCE, "{:?}", client.stats());
    }
    let flushing = Instant::now();
    assert!(!client.flush(Duration::from_millis(300)));
    assert!(!client.close(Duration::from_millis(300)));
    assert!(flushing.elapsed() < Duration::from_secs(5), "{:?}", flushing.elapsed());
    eventually("the rest is counted", || client.stats().queued == 0);
    assert!(balanced(&client).dropped.closed > 0);
}

#[test]
fn flush_without_a_server_gives_up_in_time() {
    let (client, _nobody) = client_without_server();
    say(&client, "lost");
    let started = Instant::now();
    assert!(!client.flush(Duration::from_millis(400)));
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(5), "{took:?}");
    assert!(client.flush(Duration::ZERO) == (client.stats().queued == 0));
}

#[test]
fn flush_ends_a_pause_so_that_a_server_just_back_gets_all() {
    let (client, nobody) = client_without_server();
    say(&client, "patient");
    // By now the pauses are longer than the whole rest of this test takes.
    eventually("several attempts failed", || client.stats().failures >= 4);
    let server = nobody.open();
    assert!(client.flush(PATIENCE));
    assert_eq!(bodies(&server.wait_for(1)), ["patient"]);
}

#[test]
fn closing_sends_all_and_later_messages_are_counted() {
    let server = Server::tcp();
    let client = client(&server);
    (0..1_000).for_each(|number| say(&client, &number.to_string()));
    assert!(client.close(PATIENCE));
    assert!(client.close(PATIENCE), "again");
    say(&client, "late");
    assert_eq!(server.wait_for(1_000).len(), 1_000);
    let stats = balanced(&client);
    assert_eq!((stats.written, stats.dropped.closed), (1_000, 1));
}

#[test]
fn closing_without_a_server_takes_a_second_not_the_whole_limit() {
    let (client, _nobody) = client_without_server();
    say(&client, "lost");
    let started = Instant::now();
    assert!(!client.close(PATIENCE));
    assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
    assert_eq!(balanced(&client).dropped.closed, 1);
}

#[test]
fn closing_takes_no_longer_than_told_though_the_sender_is_connecting() {
    let unanswered = Unanswered::new();
    let clients: Vec<_> = (0..30)
        .map(|_| builder("app").address(unanswered.address.to_string()).build_client().unwrap())
        .collect();
    clients.iter().for_each(|client| say(client, "lost"));
    let started = Instant::now();
    assert!(clients.iter().all(|client| !client.close(Duration::ZERO)));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    clients.iter().for_each(|client| assert_eq!(balanced(client).dropped.closed, 1));
}

#[test]
fn a_client_just_dropped_still_sends_what_it_has() {
    let server = Server::tcp();
    let client = client(&server);
    (0..1_000).for_each(|number| say(&client, &number.to_string()));
    drop(client);
    server.wait_for(1_000);
}

#[test]
fn a_client_that_never_sent_has_nothing_to_wait_for() {
    let (client, _nobody) = client_without_server();
    assert!(client.flush(PATIENCE));
    assert!(client.close(PATIENCE));
    assert_eq!(client.stats(), loghog::Stats::default());
}

#[test]
fn a_message_longer_than_a_frame_is_counted_and_the_next_one_goes() {
    let server = Server::tcp();
    let client = client(&server);
    say(&client, &"x".repeat(1 << 20));
    say(&client, "short");
    assert_eq!(bodies(&server.wait_for(1)), ["short"]);
    assert_eq!(balanced(&client).dropped.too_large, 1);
    assert!(client.take_failures()[0].contains("1048"), "says how long it was");
}

#[test]
fn a_name_with_several_addresses_is_tried_to_the_end() {
    // Most often `localhost` is ::1 first; this server is not there.
    let server = Server::tcp();
    let client =
        builder("app").address("localhost").port(server.address.port()).build_client().unwrap();
    say(&client, "found");
    server.wait_for(1);
}

#[test]
fn what_a_server_says_is_passed_over() {
    let server = Server::talkative(b"220 hello, this is not a LogHog server\r\n");
    let client = client(&server);
    for number in 1..=3 {
        say(&client, "on and on");
        server.wait_for(number);
    }
    assert_eq!(client.stats().reconnects, 0);
    assert!(client.close(PATIENCE));
}

#[test]
fn a_server_that_takes_connections_and_drops_them_is_not_hammered() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client =
        builder("app").address(listener.local_addr().unwrap().to_string()).build_client().unwrap();
    let mut accepted = Vec::new();
    while accepted.len() < 5 {
        say(&client, "anybody there?");
        listener.set_nonblocking(true).unwrap();
        if let Ok((stream, _)) = listener.accept() {
            drop(stream);
            accepted.push(Instant::now());
        }
        thread::sleep(Duration::from_millis(1));
    }
    // Two at once, then pauses of at least 0.15, 0.3 seconds.
    let took = accepted[4] - accepted[0];
    assert!(took > Duration::from_millis(400), "{took:?}");
}
