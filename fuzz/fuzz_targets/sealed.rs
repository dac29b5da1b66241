//! Reads arbitrary bytes as a sealed file, and as a live file of members.
//! A byte for the format, and a file -> its text's length, or what is wrong.
//! Invariant: no file costs unbounded memory; what can be read looks whole;
//! what is found whole stays so when the rest is cut off.
//! Leaves out: whether the text is right (the checksums of the formats).

#![no_main]

use std::cell::Cell;

use libfuzzer_sys::fuzz_target;
use loghogd::config::checked::Format;
use loghogd::pipeline::seal::{Compressor, VerifyError, looks_whole, whole_members};

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, file)) = bytes.split_first() else { return };
    let format = match first % 4 {
        0 => Format::Xz,
        1 => Format::Gzip,
        2 => Format::Bzip2,
        _ => Format::Zstd,
    };
    let looks_whole = looks_whole(file, format).expect("memory can be read");
    // A few bytes can become gigabytes: not all of them need be seen.
    let steps = Cell::new(0);
    let go_on = || steps.replace(steps.get() + 1) < 200;
    let mut compressor = Compressor::with_threads(format, 6, 2, || {});
    match compressor.verify(file, format, &go_on) {
        // A gzip member may lie about its length where only we look; zeros may
        // stand behind an .xz stream.
        Ok(_) => assert!(looks_whole || format == Format::Gzip || file.ends_with(&[0; 4])),
        Err(VerifyError::Lost) => panic!("a thread is lost"),
        Err(_) => {}
    }
    let whole = whole_members(file).expect("memory can be read");
    let end = usize::try_from(whole.bytes).expect("within the file");
    let again = whole_members(&file[..end]).expect("memory can be read");
    assert_eq!((again.bytes, again.members), (whole.bytes, whole.members));
});
