//! stub
use crate::disk::DiskFile;
use std::io::{self, Write};
/// x
pub fn member(lines: &[u8], level: u32, out: &mut Vec<u8>) {
    let mut e = flate2::write::GzEncoder::new(out, flate2::Compression::new(level));
    let _ = e.write_all(lines);
    let _ = e.finish();
}
/// x
pub struct Whole {
    /// x
    pub bytes: u64,
}
/// x
pub fn whole_members(file: &dyn DiskFile) -> io::Result<Whole> {
    Ok(Whole { bytes: file.facts()?.bytes })
}
