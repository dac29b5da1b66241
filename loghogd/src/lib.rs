//! LogHog's daemon, room by room. `pipeline` is the road that a message
//! takes; `daemon` builds it; `config` says how.

#![forbid(unsafe_code)]

pub mod certs;
pub mod cli;
pub mod clock;
pub mod complaints;
pub mod config;
pub mod connections;
pub mod control;
pub mod daemon;
pub mod disk;
pub mod ledger;
pub mod limits;
pub mod local_socket;
pub mod own_log;
pub mod pipeline;
pub mod questions;
pub mod stats;
pub mod status;
