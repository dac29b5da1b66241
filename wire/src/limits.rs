//! Every limit of the wire, with its unit, its reason and what happens at it.

/// Longest frame payload on a stream, in bytes, before and after inflating.
///
/// A longer one is refused from its header alone, before memory is taken;
/// a payload that inflates beyond it is dropped at this size.
pub const FRAME_BYTES_MAX: u32 = 1 << 20;

/// Longest payload of a UDP datagram over IPv4, in bytes (RFC 768, RFC 791):
/// 65,535 less 20 bytes of IP header and 8 of UDP header.
pub const DATAGRAM_BYTES_MAX: u32 = 65_507;

/// How deep arrays and objects may nest in a payload. A deeper one is
/// refused, so that no input can make a reader recurse without end.
pub const JSON_DEPTH_MAX: u32 = 128;

const _: () = assert!(DATAGRAM_BYTES_MAX <= FRAME_BYTES_MAX);
