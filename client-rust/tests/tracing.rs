//! The client as a layer of the `tracing` crate.

#![cfg(feature = "tracing")]

mod harness;

use harness::PATIENCE;
use harness::v2::Fake;
use log::LevelFilter;
use loghog::{Protocol, builder};
use tracing_subscriber::layer::SubscriberExt;

#[test]
fn an_event_travels_with_the_fields_of_its_spans() {
    let server = Fake::start();
    let with = builder("app").address(server.address.to_string()).level(LevelFilter::Debug);
    let (layer, guard) = with.protocol(Protocol::V2).layer().unwrap();
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
    assert!(guard.client().flush(PATIENCE));
    let kept = server.read(|state| state.kept.values().next().unwrap().clone());
    assert_eq!(kept.len(), 2);
    assert_eq!(
        (kept[0].level, kept[0].logger.as_str(), kept[0].body.as_str()),
        (30, "a.b", "slow 1")
    );
    let mut fields = kept[0].fields.clone();
    fields.sort();
    let expected = [
        ("id", "Int(8)"),
        ("late", "Bool(true)"),
        ("rows", "Json(\"18446744073709551615\")"),
        ("span", "Text(\"request:query\")"),
        ("user", "Text(\"bob\")"),
    ];
    assert_eq!(fields, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
}
