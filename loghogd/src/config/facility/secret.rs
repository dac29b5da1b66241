//! A secret as it was configured.
//! Bytes -> a value that can be compared and handed on.
//! Invariant: it never prints itself; comparing takes the same time wherever two differ.
//! Leaves out: what is signed or proved with it (`wire`).

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;

/// What the senders of a facility have to know. A clone shares the bytes.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Takes the secret's UTF-8 bytes.
    pub fn new(secret: &[u8]) -> Secret {
        Secret(secret.into())
    }

    /// The bytes, to make a key of.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// In a time that depends on the lengths only.
impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        // What a module inherits is the same bytes, and most often asked.
        Arc::ptr_eq(&self.0, &other.0) || bool::from(self.0.ct_eq(&other.0))
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_equals_the_same_bytes_and_no_others() {
        let secret = Secret::new(b"my-big-secret");
        assert_eq!(secret, secret.clone());
        assert_eq!(secret, Secret::new(b"my-big-secret"));
        for other in [&b""[..], b"my-big-secre", b"my-big-secret ", b"My-big-secret"] {
            assert_ne!(secret, Secret::new(other));
        }
    }

    #[test]
    fn a_secret_never_prints_itself() {
        assert_eq!(format!("{:?}", Secret::new(b"my-big-secret")), "Secret(..)");
    }
}
