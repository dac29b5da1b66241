//! Chooses the file of a record.
//! A facility and a host's name -> a path relative to the log directory.
//! Invariant: two hosts never share a file, and no host leaves its folder.
//! Leaves out: opening it; rotated names.
//!
//! ```text
//! APP/MODULE.log              the facility's one file
//! APP/HOST-MODULE.log         with file_per_host
//! APP/....log.YYYY-MM-DD-HH-MM-SS-ffffff(.bz2)   what it becomes
//!     ... .part or .damaged.9999999              and that, unfinished or set aside: the longest names
//! ```
//! HOST is percent-encoded: every byte outside of `A-Z a-z 0-9 . _ -`, and a
//! dot at its beginning, becomes `%` and two upper-case hex digits.

use crate::config::facility::Facility;

/// Longest name of a file or folder, in bytes (NAME_MAX of Linux's file systems).
pub const COMPONENT_BYTES_MAX: usize = 255;

/// Longest `MODULE` or `HOST-MODULE`, in bytes: what follows it must fit,
/// and so must the name under which a file is being written.
pub const STEM_BYTES_MAX: usize = COMPONENT_BYTES_MAX
    - LIVE_SUFFIX.len()
    - ".YYYY-MM-DD-HH-MM-SS-ffffff".len()
    - ".bz2".len()
    - TEMPORARY_BYTES_ROOM;

/// What a module with a file for each host leaves to the encoded host, in
/// bytes: as long as a host's name may be on Linux (HOST_NAME_MAX).
pub const HOST_BYTES_ROOM: usize = 64;

/// What a segment's name may grow by while it is being written, or when it is
/// set aside, in bytes. `rotate::name` asserts that its names fit.
pub(crate) const TEMPORARY_BYTES_ROOM: usize = 16;

/// The end of a live file's name.
pub const LIVE_SUFFIX: &str = ".log";

const _: () = assert!(HOST_BYTES_ROOM + 1 < STEM_BYTES_MAX);

/// Why a host cannot have a file. The peer's fault; the record is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostRefused {
    /// The facility keeps a file for each host, and the record names none.
    #[error(
        "the record names no host, but its facility keeps a file for each; set the client's host name"
    )]
    Empty,
    /// The encoded name does not fit into a file's name.
    #[error("the host's name is too long for a file's name; shorten the client's host name")]
    TooLong,
}

/// Writes the path of the live file, relative to the log directory, into
/// `out`, which is cleared first. The host matters only with `file_per_host`.
pub fn live_file(facility: &Facility, host: &str, out: &mut String) -> Result<(), HostRefused> {
    out.clear();
    if !facility.file_per_host {
        out.push_str(&facility.live_path);
        return Ok(());
    }
    if host.is_empty() {
        return Err(HostRefused::Empty);
    }
    out.push_str(&facility.app);
    out.push('/');
    let stem_bytes_max = out.len() + STEM_BYTES_MAX;
    // Each byte of the host takes one byte or three, so no more than this
    // many can fit; a longer name is not worth encoding.
    if host.len() > STEM_BYTES_MAX {
        return Err(HostRefused::TooLong);
    }
    encode(host, out);
    out.push('-');
    out.push_str(&facility.module);
    if out.len() > stem_bytes_max {
        return Err(HostRefused::TooLong);
    }
    out.push_str(LIVE_SUFFIX);
    Ok(())
}

/// Is this what [`live_file`] can make of some host?
pub(crate) fn can_be_host(encoded: &str) -> bool {
    let plain = |byte: u8| is_plain(byte) || byte == b'%';
    !encoded.is_empty() && !encoded.starts_with('.') && encoded.bytes().all(plain)
}

fn encode(host: &str, out: &mut String) {
    for (place, byte) in host.bytes().enumerate() {
        if is_plain(byte) && !(place == 0 && byte == b'.') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(hex_digit(byte >> 4));
            out.push(hex_digit(byte & 15));
        }
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn hex_digit(nibble: u8) -> char {
    char::from(if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read_facilities;
    use proptest::prelude::*;
    use std::path::Path;
    use std::sync::Arc;

    /// The facility `[a:web]`, with a file for each host or with one for all.
    fn facility(file_per_host: bool) -> Arc<Facility> {
        let yes = if file_per_host { "yes" } else { "no" };
        let section = "rotate = daily\nbackup_count = 1\n";
        let text = format!("[DEFAULT]\nfile_per_host = {yes}\n[a]\n{section}[a:web]\n{section}");
        let table = read_facilities(text.as_bytes(), Path::new("facilities.conf")).unwrap();
        Arc::clone(table.find("a", "web").unwrap())
    }

    fn file(facility: &Facility, host: &str) -> Result<String, HostRefused> {
        let mut out = "left over".to_owned();
        live_file(facility, host, &mut out).map(|()| out)
    }

    #[test]
    fn plain_hosts_are_written_as_they_are_and_others_encoded() {
        for (host, name) in [
            ("web-1.example.org", "a/web-1.example.org-web.log"),
            ("..", "a/%2E.-web.log"),
            (".hidden", "a/%2Ehidden-web.log"),
            ("../../etc/passwd", "a/%2E.%2F..%2Fetc%2Fpasswd-web.log"),
            ("50%", "a/50%25-web.log"),
            ("a b\n", "a/a%20b%0A-web.log"),
            ("h\u{f6}st", "a/h%C3%B6st-web.log"),
        ] {
            assert_eq!(file(&facility(true), host).as_deref(), Ok(name));
        }
    }

    #[test]
    fn one_file_for_all_hosts_takes_any_host() {
        let facility = facility(false);
        for host in ["", "h", &"x".repeat(10_000)] {
            assert_eq!(file(&facility, host).as_deref(), Ok("a/web.log"));
        }
    }

    #[test]
    fn hosts_that_are_empty_or_too_long_have_no_file() {
        let facility = facility(true);
        assert_eq!(file(&facility, ""), Err(HostRefused::Empty));
        let longest = STEM_BYTES_MAX - "-web".len();
        assert!(file(&facility, &"x".repeat(longest)).is_ok());
        for host in ["x".repeat(longest + 1), "\u{f6}".repeat(longest / 2), "x".repeat(1 << 20)] {
            assert_eq!(file(&facility, &host), Err(HostRefused::TooLong));
        }
    }

    proptest! {
        #[test]
        fn a_file_is_one_safe_component_with_room_for_its_later_names(host in "\\PC{1,20}|.{1,80}") {
            let Ok(path) = file(&facility(true), &host) else { return Ok(()) };
            let name = path.strip_prefix("a/").unwrap();
            let longest = format!("{name}.2026-11-20-12-00-00-123456.bz2");
            prop_assert!(longest.len() + TEMPORARY_BYTES_ROOM <= COMPONENT_BYTES_MAX);
            prop_assert!(!name.starts_with('.') && !name.contains('/'));
            prop_assert!(name.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert!(can_be_host(name.strip_suffix("-web.log").unwrap()));
        }

        #[test]
        fn two_hosts_never_share_a_file(one in ".{1,20}", other in ".{1,20}") {
            prop_assume!(one != other);
            prop_assert_ne!(file(&facility(true), &one).unwrap(), file(&facility(true), &other).unwrap());
        }

        // Names made of what encodings are made of, where a slip would show.
        #[test]
        fn hosts_that_look_encoded_do_not_meet_those_that_are(
            one in "[.%2EF-]{1,6}", other in "[.%2EF-]{1,6}",
        ) {
            prop_assume!(one != other);
            prop_assert_ne!(file(&facility(true), &one), file(&facility(true), &other));
        }
    }
}
