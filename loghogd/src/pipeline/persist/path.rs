//! Chooses the file of a record.
//! A facility and a host's name -> a path relative to the log directory.
//! Invariant: two hosts never share a file, and no host leaves its folder.
//! Leaves out: opening it; rotated names.
//!
//! ```text
//! APP/MODULE.log              the facility's one file
//! APP/HOST-MODULE.log         with file_per_host
//! APP/....log.YYYY-MM-DD-HH-MM-SS-ffffff(.bz2)   what it becomes; the longest name
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

/// What a name may grow by while its file is being written, in bytes.
const TEMPORARY_BYTES_ROOM: usize = 16;

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
