//! The client as a layer of the `tracing` crate.

#![cfg(feature = "tracing")]

mod harness;

use std::fmt;

use harness::PATIENCE;
use harness::certificates::Authority;
use harness::v2::{Fake, Kept};
use log::LevelFilter;
use loghog::{Builder, Guard, Layer, Protocol, Transport, builder};
use tracing_subscriber::layer::SubscriberExt;

fn layer(server: &Fake) -> (Layer, Guard) {
    of(builder("app").address(server.address.to_string()))
}

fn of(builder: Builder) -> (Layer, Guard) {
    builder.level(LevelFilter::Debug).protocol(Protocol::V2).layer().unwrap()
}

/// All that has come.
fn kept(server: &Fake, guard: &Guard) -> Vec<Kept> {
    assert!(guard.client().flush(PATIENCE));
    server.read(|state| state.kept.values().next().unwrap().clone())
}

fn fields(kept: &Kept) -> Vec<(&str, &str)> {
    let mut fields: Vec<_> =
        kept.fields.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    fields.sort();
    fields
}

/// Says this, and logs while it is formatted.
struct Chatty(&'static str);

impl fmt::Debug for Chatty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tracing::info!("formatting");
        f.write_str(self.0)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot save")]
struct Failed(#[source] std::io::Error);

#[test]
fn an_event_travels_with_the_fields_of_its_spans() {
    let server = Fake::start();
    let (layer, guard) = layer(&server);
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        let outer =
            tracing::info_span!("request", id = 7, user = "ada", late = tracing::field::Empty);
        outer.record("late", true);
        let _outer = outer.enter();
        let _inner = tracing::info_span!("query", id = 8).entered();
        tracing::warn!(target: "a::b", rows = u64::MAX, user = "bob", "slow {}", 1);
        tracing::debug!("seen");
        tracing::trace!("not seen");
    });
    let kept = kept(&server, &guard);
    assert_eq!(kept.len(), 2);
    assert_eq!(
        (kept[0].level, kept[0].logger.as_str(), kept[0].body.as_str()),
        (30, "a.b", "slow 1")
    );
    let expected = [
        ("id", "Int(8)"),
        ("late", "Bool(true)"),
        ("rows", "Json(\"18446744073709551615\")"),
        ("span", "Text(\"request:query\")"),
        ("user", "Text(\"bob\")"),
    ];
    assert_eq!(fields(&kept[0]), expected);
}

#[test]
fn what_is_recorded_later_counts_for_what_comes_behind_it_in_every_inner_span() {
    let server = Fake::start();
    let (layer, guard) = layer(&server);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        use tracing::field::Empty;
        let outer = tracing::info_span!("outer", id = 1, state = Empty);
        let inner = outer.in_scope(|| tracing::debug_span!("inner", state = Empty));
        inner.in_scope(|| tracing::error!("first"));
        outer.record("state", "open");
        // Formatting it logs, in the span that is being recorded.
        inner.in_scope(|| inner.record("state", tracing::field::debug(Chatty("shut"))));
        inner.in_scope(|| tracing::info!(id = true, "second"));
        outer.in_scope(|| tracing::info!("third"));
        outer.record("id", 2);
        tracing::info!(parent: &inner, "fourth");
        tracing::info!("fifth");
    });
    let kept = kept(&server, &guard);
    let said = |text: &str| {
        let one = kept.iter().find(|kept| kept.body == text).unwrap();
        (one.level, fields(one))
    };
    let (both, outer) = (("span", "Text(\"outer:inner\")"), ("span", "Text(\"outer\")"));
    assert_eq!(said("first"), (40, vec![("id", "Int(1)"), both]));
    let open = ("state", "Text(\"open\")");
    assert_eq!(said("formatting"), (20, vec![("id", "Int(1)"), both, open]));
    let shut = ("state", "Text(\"shut\")");
    assert_eq!(said("second"), (20, vec![("id", "Bool(true)"), both, shut]));
    assert_eq!(said("third"), (20, vec![("id", "Int(1)"), outer, open]));
    assert_eq!(said("fourth"), (20, vec![("id", "Int(2)"), both, shut]));
    assert_eq!(said("fifth"), (20, vec![]));
}

#[test]
fn an_error_comes_with_its_causes() {
    let server = Fake::start();
    let (layer, guard) = layer(&server);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let failed = Failed(std::io::Error::other("disk full"));
        tracing::error!(error = &failed as &dyn std::error::Error, other = ?failed, "oh");
    });
    let kept = kept(&server, &guard);
    let fields = fields(&kept[0]);
    assert_eq!(fields[0], ("error", "Text(\"cannot save: disk full\")"));
    assert!(fields[1].1.contains("Failed("), "{fields:?}");
}

#[test]
fn the_log_crate_comes_by_way_of_tracing_and_the_clients_own_libraries_do_not() {
    let authority = Authority::new();
    let server = Fake::tls(authority.server(&["localhost"]));
    let tls = loghog::Tls::new(authority.client("web"), &authority.ca);
    let with = builder("app").address("localhost").port(server.address.port());
    let (layer, guard) = of(with.transport(Transport::Tls(tls)));
    // For all threads: rustls logs in that of the client.
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::set_global_default(subscriber).unwrap();
    tracing_log::LogTracer::init().unwrap();
    log::info!(target: "shop::pay", "paid");
    let kept = kept(&server, &guard);
    // The server is in this process as well, with threads of its own.
    let ours: Vec<_> = kept.iter().filter(|one| !one.logger.starts_with("rustls.server")).collect();
    let got: Vec<_> = ours.iter().map(|one| (&*one.logger, &*one.body, one.level)).collect();
    assert_eq!(got, [("shop.pay", "paid", 20)]);
    assert_eq!(fields(ours[0]), []);
}
