//! Proves a secret to the other side, and derives the keys of a session.
//! A secret and both sides' first words -> proofs and keys.
//! Invariant: a secret never prints itself; proofs are compared in constant time.
//! Leaves out: which secret belongs to whom, and where nonces come from.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Size of a proof, and of a MAC, in bytes.
pub const TAG_BYTES: usize = 32;

/// Every label is of its own length or differs early: none begins another.
const CLIENT_PROOF: &[u8] = b"LogHog2 client";
const SERVER_PROOF: &[u8] = b"LogHog2 server";
const KEY_TO_SERVER: &[u8] = b"LogHog2 to server";
const KEY_TO_CLIENT: &[u8] = b"LogHog2 to client";

/// A secret, kept as the keyed state of its HMAC. Cheap to clone; never
/// prints itself.
#[derive(Clone)]
pub struct Secret(Keyed);

impl Secret {
    /// Takes the secret's UTF-8 bytes, of any length.
    pub fn new(secret: &[u8]) -> Secret {
        Secret(Keyed::new(secret))
    }

    /// The client's proof: the payload of PROOF.
    pub fn prove(&self, transcript: &Transcript) -> [u8; TAG_BYTES] {
        self.0.tag(&[CLIENT_PROOF, &transcript.0])
    }

    /// Is `payload` the client's proof? In constant time.
    pub fn verify_proof(&self, transcript: &Transcript, payload: &[u8]) -> bool {
        self.0.verify(&[CLIENT_PROOF, &transcript.0], payload)
    }

    /// The server's proof, over the numbers of its WELCOME as well: nobody on
    /// the way can tell a client that messages are safe.
    pub(crate) fn welcome(&self, transcript: &Transcript, numbers: &[u8]) -> [u8; TAG_BYTES] {
        self.0.tag(&[SERVER_PROOF, &transcript.0, numbers])
    }

    pub(crate) fn verify_welcome(
        &self,
        transcript: &Transcript,
        numbers: &[u8],
        proof: &[u8],
    ) -> bool {
        self.0.verify(&[SERVER_PROOF, &transcript.0, numbers], proof)
    }

    /// The keys of the direction to the server, and of that to the client.
    pub(crate) fn keys(&self, transcript: &Transcript) -> (Keyed, Keyed) {
        let [to_server, to_client] = self.raw_keys(transcript);
        (Keyed::new(&to_server), Keyed::new(&to_client))
    }

    pub(crate) fn raw_keys(&self, transcript: &Transcript) -> [[u8; TAG_BYTES]; 2] {
        [KEY_TO_SERVER, KEY_TO_CLIENT].map(|label| self.0.tag(&[label, &transcript.0]))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What both sides have said before anything is proven, as a hash. Their
/// nonces make it a new one for every session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transcript([u8; 32]);

impl Transcript {
    /// Takes the payloads of HELLO and CHALLENGE as they were sent.
    pub fn new(hello: &[u8], challenge: &[u8]) -> Transcript {
        let mut hash = Sha256::new();
        hash.update(hello);
        hash.update(challenge);
        Transcript(hash.finalize().into())
    }

    /// The hash itself.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// An HMAC-SHA256 (RFC 2104) that has taken its key and nothing else.
#[derive(Clone)]
pub(crate) struct Keyed(Hmac<Sha256>);

impl Keyed {
    fn new(key: &[u8]) -> Keyed {
        match Hmac::<Sha256>::new_from_slice(key) {
            Ok(mac) => Keyed(mac),
            // RFC 2104 takes keys of every length; the crate's error type is
            // shared with algorithms that do not.
            Err(_) => unreachable!("HMAC takes keys of every length"),
        }
    }

    pub(crate) fn tag(&self, parts: &[&[u8]]) -> [u8; TAG_BYTES] {
        self.over(parts).finalize().into_bytes().into()
    }

    pub(crate) fn verify(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        self.over(parts).verify_slice(tag).is_ok()
    }

    fn over(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac
    }
}

impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyed(..)")
    }
}
