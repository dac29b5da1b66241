//! Reads arbitrary bytes as a file's name in a log folder, and as the first
//! line of a log file.
//! Bytes -> what the file is, when it began.
//! Invariant: what is read as ours is written again as it was; a name that is
//! not exactly ours is foreign, and so never touched.
//! Leaves out: whose file it is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loghogd::pipeline::rotate::name::{Began, Name};

fuzz_target!(|bytes: &[u8]| {
    if let Some(began) = Began::from_stamp(bytes) {
        assert_eq!(Began::from_datetime(began.to_datetime()), began);
        assert!(began.next().is_none_or(|next| next.to_string() > began.to_string()));
        let stamp = began.to_string();
        assert_eq!(stamp.len(), 26, "{stamp}");
        // Only the digits are the line's, and all of them.
        let digits =
            |text: &[u8]| -> Vec<u8> { text.iter().copied().filter(u8::is_ascii_digit).collect() };
        let line = if bytes.get(19) == Some(&b'.') { &bytes[..26] } else { &bytes[..19] };
        assert!(digits(stamp.as_bytes()).starts_with(&digits(line)));
    }
    let Ok(name) = std::str::from_utf8(bytes) else { return };
    let written = match Name::read(name) {
        Name::Live { stem, gzip } => format!("{stem}.log{}", if gzip { ".gz" } else { "" }),
        Name::Segment(segment) => {
            assert_eq!(format!("{}.log", segment.stem()), *segment.live);
            segment.to_string()
        }
        Name::Unfinished(segment) => segment.unfinished(),
        Name::Damaged(damaged) => damaged.to_string(),
        Name::Foreign => return,
    };
    assert_eq!(written, name);
    assert!(!name.starts_with('.') && !name.contains('/') && !name.chars().any(char::is_control));
});
