//! When and how an open file becomes a closed segment.

pub mod name;
pub mod schedule;
