//! Ships files onward, to each target at its own pace.
//! Files of facilities, as they stand in the log folder -> records or segments at a target, and a receipt.
//! Invariant: the receipt of a file is safe before any record of the next one leaves.
//! Whole segments may leave together; no receipt is noted before that of the one before.
//! Leaves out: what a protocol looks like (`kafka`, `s3`, `influxdb`); deletion (`trim`).
//!
//! The files are the buffer: nothing is kept in memory but what is on its way. A
//! stream of lines, which is a live file and the segments that it has become, is
//! shipped in the order of its lines, so that one mark tells how far it has come.

mod batch;
mod course;
mod crew;
mod dead;
mod destination;
pub mod influxdb;
mod json;
pub mod kafka;
pub mod limits;
mod mark;
mod notices;
mod pace;
mod ready;
mod receipts;
mod record;
mod run;
pub mod s3;
mod split;
mod status;
mod target;
mod template;
#[cfg(test)]
mod tests;

pub use batch::{Batch, Part};
pub use crew::{Asked, Shared, Shippers, try_out};
pub use mark::{Mark, Stream};
pub use notices::{Heard, Listener, Notices, Replay, Tail};
pub use receipts::{Aside, Receipts, State};
pub use record::{Reader as RecordReader, Record, Times as RecordTimes, host_of};
pub use split::{Message, Splitter};
pub use status::{Doing, Error, Status, Stopped};
pub use target::{
    Arrived, Bury, Limits, Records, Refused, Scope, Segments, Surroundings, Trouble, Whole,
};
pub use template::{Template, TemplateError, Values};
