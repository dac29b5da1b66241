//! The options of a target that is Apache Kafka.
//! A section as written -> typed options, or every problem.
//! Invariant: what is right here can be tried; a secret never prints itself.
//! Leaves out: connecting.

use super::Options;

/// The options of `type = kafka`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kafka {}

/// Reads them.
pub(super) fn read(_options: &mut Options<'_>) -> Kafka {
    Kafka {}
}
