//! Messages as clients send them.
//! Fields -> the bytes of a v1 frame.
//! Invariant: what comes out is right, unless its name says otherwise.
//! Leaves out: sockets.

use std::io::Write as _;

use wire::frame::{Flags, header};
use wire::signature::Key;
use wire::v1::{EncodeScratch, Record, encode};

/// The sender's time in every message: the daemon writes its own.
const STAMP: i64 = 1_358_363_502;

/// An unsigned message.
pub fn frame(app: &str, module: &str, host: &str, body: &str) -> Vec<u8> {
    encoded(app, module, host, body, None, false)
}

/// A message signed with `secret`.
pub fn signed(secret: &str, app: &str, module: &str, host: &str, body: &str) -> Vec<u8> {
    encoded(app, module, host, body, Some(&Key::new(secret.as_bytes())), false)
}

/// An unsigned message in a zlib stream.
pub fn compressed(app: &str, module: &str, host: &str, body: &str) -> Vec<u8> {
    encoded(app, module, host, body, None, true)
}

/// A frame with this payload, whatever it is.
pub fn raw(payload: &[u8]) -> Vec<u8> {
    with_flags(payload, Flags(0))
}

/// A frame that says that its payload is a zlib stream.
pub fn raw_zlib(payload: &[u8]) -> Vec<u8> {
    with_flags(payload, Flags::ZLIB)
}

/// A zlib stream of these bytes.
pub fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("a Vec takes everything");
    encoder.finish().expect("a Vec takes everything")
}

fn with_flags(payload: &[u8], flags: Flags) -> Vec<u8> {
    let size = u32::try_from(payload.len()).expect("a payload below 4 GiB");
    [&header(size, flags)[..], payload].concat()
}

fn encoded(
    app_id: &str,
    module: &str,
    hostname: &str,
    body: &str,
    key: Option<&Key>,
    zlib: bool,
) -> Vec<u8> {
    let record = Record {
        app_id,
        module,
        hostname,
        body,
        stamp: STAMP,
        nsecs: 120_430_000,
        signature: None,
    };
    let mut out = Vec::new();
    encode(&record, key, zlib, &mut EncodeScratch::default(), &mut out).expect("a frame that fits");
    out
}
