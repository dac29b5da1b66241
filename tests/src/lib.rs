//! Runs LogHog's real binaries as their users do, and reads what they leave.
//! A `Scenario` -> a running `Daemon` -> its files, its own log, its counters.
//! Invariant: nothing outlives a test, neither a process nor a file nor a port.
//! Leaves out: what is right. That stands in `tests/tests/`, one scenario a file.
//!
//! A test waits for conditions, each with a deadline; it never sleeps for luck.

pub mod batches;
pub mod binaries;
pub mod certs;
pub mod command;
pub mod daemon;
pub mod disk;
pub mod fake_http;
pub mod files;
pub mod frames;
pub mod golden;
pub mod honest;
pub mod literals;
pub mod load;
pub mod numbered;
pub mod process;
pub mod proof;
pub mod proxy;
pub mod random;
pub mod rounds;
pub mod scenario;
pub mod segments;
pub mod services;
pub mod session;
pub mod tls;
pub mod wait;
pub mod zone;

pub use daemon::{Daemon, Site, Stopped};
pub use rounds::rounds;
pub use scenario::Scenario;
pub use wait::{DEADLINE, wait_until};
