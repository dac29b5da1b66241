//! The configuration: raw text -> checked values, every problem with file
//! and line.

pub mod checked;
pub mod facility;
pub mod raw;
