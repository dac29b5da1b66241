//! Being built.

pub mod path;
