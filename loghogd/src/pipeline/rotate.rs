//! When and how an open file becomes a closed segment.
//! A live file and the time -> a `Segment`.
//! Invariant: each line is in one segment; segments are in the order of their names.
//! Leaves out: writing (`persist`, which turns its files by these rules), compression and deletion.
//!
//! ```text
//! schedule  pure: when a schedule comes next
//! due       which files turn now
//! alarm     wakes the writer then
//! name      pure: what files are called
//! turn      the one step: a rename
//! recover   pure: what a folder says is left to do
//! ```

pub mod alarm;
pub mod due;
pub mod name;
pub mod recover;
pub mod schedule;
pub mod turn;
