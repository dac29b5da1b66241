//! The dialect, case by case, and that no bytes can break the reader.

use super::*;
use crate::config::Problem;
use proptest::prelude::*;
use std::path::Path;

fn read_all(text: &[u8]) -> (Raw, Vec<Problem>) {
    let mut problems = Problems::of(Path::new("x.conf"));
    let raw = read(text, &mut problems);
    (raw, problems.into_vec())
}

/// The value of `option` in `[s]`, after reading without a problem.
fn value(text: &str, option: &str) -> String {
    let (raw, problems) = read_all(text.as_bytes());
    assert_eq!(problems, []);
    let section = raw.sections().iter().find(|section| section.name == "s");
    raw.find(section, option).unwrap().entry.value.clone()
}

/// The line and the kind of the only problem.
fn problem(text: &[u8]) -> (Option<u32>, Kind) {
    let (_, problems) = read_all(text);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    (problems[0].line, problems[0].kind)
}

#[test]
fn a_semicolon_after_white_space_begins_a_comment() {
    assert_eq!(value("[s] ; c\na = b;c ; d", "a"), "b;c");
    assert_eq!(value("[s]\na = b\t;c", "a"), "b");
    assert_eq!(value("[s]\na =;b", "a"), ";b");
    assert_eq!(value("[s]\na = b #c", "a"), "b #c");
    assert_eq!(value("[s ; t]\n[s]\na = b", "a"), "b");
}

#[test]
fn deeper_lines_go_on_with_a_value_even_if_they_look_like_something_else() {
    let text = "[s]\na = [::1],\n  [::2]:77\n  b = c ; d\n\n  # e\n  f\ng = h\n";
    assert_eq!(value(text, "a"), "[::1],\n[::2]:77\nb = c\nf");
    assert_eq!(value(text, "g"), "h");
    assert_eq!(value("[s]\n  a = 1\n  b = 2\n", "b"), "2");
    assert_eq!(value("[s]\n  a = 1\n    x\n b = 2\n", "b"), "2");
}

#[test]
fn lines_may_end_as_on_windows_and_begin_with_a_byte_order_mark() {
    let text = "\u{feff}[s]\r\na = b\r\n  c\r\n";
    assert_eq!(value(text, "a"), "b\nc");
}

#[test]
fn defaults_hold_where_a_section_says_nothing() {
    let text = "[s]\na = 1\n[DEFAULT]\na = 2\nb = 3\n";
    assert_eq!(value(text, "a"), "1");
    assert_eq!(value(text, "b"), "3");
    let (raw, _) = read_all(text.as_bytes());
    assert_eq!(raw.line_of("s", "b"), Some(5));
    assert_eq!(raw.sections().len(), 1);
}

#[test]
fn what_comes_twice_is_refused_with_its_line() {
    assert_eq!(problem(b"[s]\na = 1\nA: 2\n"), (Some(3), Kind::Duplicate));
    assert_eq!(problem(b"[s]\n[t]\n[ s ]\na = 1\n"), (Some(3), Kind::Duplicate));
}

#[test]
fn what_is_no_ini_file_is_refused_at_its_first_line() {
    assert_eq!(problem(b"\n\0\x01\x02\na = b\n"), (Some(2), Kind::Syntax));
    assert_eq!(problem(b"a = b\nc = d\n"), (Some(1), Kind::Syntax));
    assert_eq!(problem(b"[s]\na = 1\n[\na = 2\n"), (Some(3), Kind::Syntax));
    assert_eq!(problem(b"[s]\n= 1\n"), (Some(2), Kind::Syntax));
    assert_eq!(problem(b"[s]\na\n"), (Some(2), Kind::Syntax));
}

#[test]
fn bytes_that_are_no_utf_8_matter_outside_of_comments_only() {
    assert_eq!(problem(b"# \xfc\n[s]\na = \xfc\nb = c ; \xfc\n"), (Some(3), Kind::Syntax));
    assert_eq!(problem("[s]\na = \u{a0}b\n".as_bytes()), (Some(2), Kind::Syntax));
}

#[test]
fn no_message_repeats_a_value() {
    let text = "[s]\nsecret hush\nsecret = hush\nsecret = hush\n[s]\n= hush\nhush\u{a0}\n";
    let (_, problems) = read_all(text.as_bytes());
    assert!(!problems.is_empty() && !format!("{problems:?}").contains("hush"));
    let (raw, _) = read_all(b"[s]\nsecret = hush\n");
    assert!(!format!("{raw:?}").contains("hush"));
}

#[test]
fn sections_options_problems_and_bytes_are_bounded() {
    let sections: String = (0..=SECTIONS_MAX).map(|n| format!("[{n}]\n")).collect();
    assert_eq!(problem(sections.as_bytes()).1, Kind::TooLarge);
    let options: String = (0..=OPTIONS_MAX).map(|n| format!("{n}=\n")).collect();
    assert_eq!(problem(format!("[s]\n{options}").as_bytes()).1, Kind::TooLarge);
    let file = vec![b'\n'; usize::try_from(FILE_BYTES_MAX).unwrap() + 1];
    assert_eq!(problem(&file), (None, Kind::TooLarge));
    let (_, problems) = read_all(format!("[s]\n{}", "x\n".repeat(10_000)).as_bytes());
    assert_eq!(problems.len(), crate::config::limits::PROBLEMS_MAX + 1);
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        values in proptest::collection::btree_map("[a-z][a-z_ ]{0,8}[a-z]", "[!-:<-~]([ -:<-~]{0,20}[!-:<-~])?", 1..8),
    ) {
        let text: String = values.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        prop_assume!(!values.keys().any(|key| key.starts_with("rem ")));
        for (key, expected) in values {
            let expected = if expected == "\"\"" { String::new() } else { expected };
            prop_assert_eq!(value(&format!("[s]\n{text}"), &key), expected);
        }
    }

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(
        prop_oneof![Just(b'\n'), Just(b'['), Just(b']'), Just(b'='), Just(b' '), any::<u8>()], 0..200,
    )) {
        read_all(&bytes);
    }
}
