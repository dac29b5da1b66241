//! Real services that LogHog ships to, each a private instance.
//! What `tools/` has fetched -> a running service on loopback, in a temporary folder.
//! Invariant: a service ends with the test that started it, by its own pid.
//! Leaves out: fetching them.

pub mod influxdb;
pub mod kafka;
pub mod s3;

use std::path::PathBuf;

use crate::golden;

/// A program that `tools/debian-programs` has fetched, for the service of this name.
///
/// # Panics
/// When it is not there.
#[track_caller]
pub fn fetched(service: &str, name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| golden::repository().join("target"), PathBuf::from);
    let path = target.join("services").join(service).join(name);
    assert!(path.is_file(), "{} is missing: run `make setup` first", path.display());
    path
}

/// What judges metrics and rules for Prometheus.
#[track_caller]
pub fn promtool() -> PathBuf {
    fetched("prometheus", "promtool")
}
