//! The services that loghogd ships to: the real ones, a private one for each test.
//! What `tools/` has brought -> a running service on free ports of loopback.
//! Invariant: none outlives the test, even if that is killed.
//! Leaves out: getting them (`tools/kafka` and its like).

pub mod kafka;
