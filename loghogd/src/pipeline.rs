//! The road. Joins the rooms with bounded channels; the only place that
//! knows neighbours.

pub mod accept;
pub mod decode;
pub mod gate;
pub mod persist;
pub mod rotate;
