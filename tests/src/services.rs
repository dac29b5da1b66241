//! Real services that LogHog ships to, each a private instance.
//! What `tools/` has fetched -> a running service on loopback, in a temporary folder.
//! Invariant: a service ends with the test that started it, by its own pid.
//! Leaves out: fetching them.

pub mod influxdb;
pub mod kafka;
pub mod s3;
