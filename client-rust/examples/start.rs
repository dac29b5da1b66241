//! The Rust program of docs/start.md, as it stands there; a test compares the two and
//! runs this one.

use loghog::{Protocol, Tls, Transport};

fn main() -> Result<(), loghog::Error> {
    let _guard = loghog::builder("my-app")
        .address("localhost")
        .transport(Transport::Tls(Tls::new("certs/my-laptop.pem", "certs/loghog-ca.cert")))
        .protocol(Protocol::V2)
        .spool("spool")
        .install()?;

    log::warn!(target: "shop::stock", order = 4711; "hello from Rust");
    Ok(())
}
