//! Real client programs that number their messages, and what becomes of these.
//! Plans -> programs at work -> what they were told, held against the files.
//! Invariant: what a program was told it has written down itself, before anybody could kill it.
//! Leaves out: what happens to them meanwhile; that is for the scenario.
//!
//! ```text
//! message   the text of a message, by program, run and number
//! account   what a run of a program has done and was told: its diary
//! program   a program that is started, frozen, killed, and started again
//! pipe      the same of the command `loghog pipe`, which keeps no diary
//! ledger    what is in the files, held against all accounts
//! report    the page that tells of it
//! ```
//!
//! A **run** is a program from its start to its end, by its own will or not.
//! Each numbers its messages anew, from 1.

pub mod account;
pub mod ledger;
pub mod message;
pub mod pipe;
pub mod program;
pub mod report;

pub use account::Account;
pub use ledger::{Ledger, Sums};
pub use program::{Kind, Plan, Program};
