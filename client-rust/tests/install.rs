//! The client as a logger of the `log` crate. Only one test installs it: a
//! program has one logger.

mod harness;

use harness::certificates::Authority;
use std::time::{SystemTime, UNIX_EPOCH};

use harness::{Server, bodies, eventually};
use log::{Level, LevelFilter, Log, Record};
use loghog::{Error, Tls, Transport, builder};

/// Shows its number, and logs while it is being formatted.
struct Chatty(u32);

impl std::fmt::Display for Chatty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        log::warn!(target: "app::inner", "formatting {}", self.0);
        write!(f, "{}", self.0)
    }
}

/// What was said in threads with a name: the test's own, and the sender if it
/// were heard. The server's rustls, in a thread without one, logs here too.
fn said(server: &Server) -> Vec<String> {
    let received = server.received();
    bodies(&received).iter().filter_map(|body| body.strip_prefix('+')).map(Into::into).collect()
}

#[test]
fn a_program_logs_and_what_the_sender_logs_is_not_sent() {
    let authority = Authority::new();
    let server = Server::tls(authority.server(&["localhost"]));
    let with = |level| {
        builder("app")
            .address("localhost")
            .port(server.address.port())
            .transport(Transport::Tls(Tls::new(authority.client("web"), &authority.ca)))
            .level(level)
    };
    let with = |level| {
        with(level).format(|out, record| {
            let thread = std::thread::current();
            let mark = if thread.name().is_some() { "+" } else { "-" };
            write!(out, "{mark}{} {}: {}", record.level(), record.target(), record.args())
        })
    };
    // At this level rustls says much about every handshake, on both sides.
    let guard = with(LevelFilter::Trace).install().unwrap();
    assert!(matches!(with(LevelFilter::Info).install(), Err(Error::Installed(_))));

    log::trace!(target: "app::web::auth", "first");
    log::info!(target: "app", "second {}", Chatty(7));
    log::logger().flush();
    eventually("the first three arrive", || said(&server).len() >= 3);
    assert_eq!(
        said(&server),
        ["TRACE app::web::auth: first", "WARN app::inner: formatting 7", "INFO app: second 7",]
    );
    let modules = server.received().into_iter().map(|received| received.module);
    let modules: Vec<_> = modules.filter(|module| module.starts_with("app")).collect();
    assert_eq!(modules, ["app.web.auth", "app.inner", "app"]);

    (0..1_000).for_each(|number| log::debug!("{number}"));
    drop(guard);
    eventually("the guard has sent what was left", || said(&server).len() == 1_003);
    log::info!("after the end");
}

#[test]
fn a_logger_says_level_message_and_pairs_and_when() {
    let server = Server::tcp();
    let logger = builder("app").address(server.address.to_string()).build().unwrap();
    let pairs = [("user", "ada")];
    let record = |level| {
        Record::builder()
            .level(level)
            .target("a::b")
            .args(format_args!("hello"))
            .key_values(&pairs)
            .build()
    };
    logger.log(&record(Level::Debug));
    logger.log(&record(Level::Warn));
    logger.flush();
    let received = server.wait_for(1).remove(0);
    assert_eq!(received.body, "WARN - hello user=ada");
    assert_eq!(received.module, "a.b");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(received.stamp.abs_diff(now.try_into().unwrap()) < 60);
}
