//! The options of a target that is Amazon S3.
//! A section as written -> typed options, or every problem.
//! Invariant: what is right here can be tried; a secret never prints itself.
//! Leaves out: connecting.

use super::Options;

/// The options of `type = s3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {}

/// Reads them.
pub(super) fn read(_options: &mut Options<'_>) -> S3 {
    S3 {}
}
