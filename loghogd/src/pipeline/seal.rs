//! stub
pub mod member;
