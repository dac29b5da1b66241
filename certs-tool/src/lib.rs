//! The certificates of a LogHog installation: its CA, the server's
//! certificate, one for each client, and the list of revoked ones.
//!
//! A folder that holds a CA -> the same folder, with one more certificate or
//! revocation in it. The two commands, [`server`] and [`client`], tell the
//! whole story each on one page; the other modules are what they are made of.
//!
//! Invariant: nothing is handed out that the daemon would refuse, and no
//! private key is ever readable for others, not even for a moment.
//!
//! Leaves out: keys that live in hardware, intermediate CAs, OCSP.

#![forbid(unsafe_code)]

pub mod books;
pub mod ca;
pub mod client;
pub mod files;
pub mod index;
pub mod issue;
pub mod limits;
pub mod lock;
#[cfg(test)]
mod manual;
pub mod name;
pub mod owner;
pub mod pkcs8;
pub mod reissue;
pub mod revocation;
pub mod serial;
pub mod server;
pub mod top;
