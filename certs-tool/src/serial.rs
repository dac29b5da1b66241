//! The number that tells two certificates of one CA apart.
//! Random bytes, DER bytes or hexadecimal text <-> `Serial`.
//! Invariant: one number has one `Serial`, however it was padded.
//! Leaves out: who has which serial; that is [`crate::index`].

use std::fmt;
use std::str::FromStr;

use ring::rand::{SecureRandom, SystemRandom};

/// Octets of a new serial: random, so that it cannot be foretold (CA/Browser
/// Forum BR 7.1 asks for at least 64 random bits), and under the 20 that RFC 5280 allows.
const NEW_BYTES: usize = 16;

/// Longest serial that is read, in octets: RFC 5280 allows 20, old tools wrote
/// a few more.
const BYTES_MAX: usize = 32;

/// A certificate's serial number, big-endian, without leading zeros.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Vec<u8>);

/// A text that is no serial number.
#[derive(Debug, thiserror::Error)]
#[error("not a serial number in hexadecimal")]
pub struct BadSerial;

impl Serial {
    /// A new random serial. `None` when the system has no randomness to give.
    #[must_use]
    pub fn random() -> Option<Self> {
        let mut bytes = [0_u8; NEW_BYTES];
        SystemRandom::new().fill(&mut bytes).ok()?;
        // The top bit clear and the next one set: a positive DER integer of
        // always the same length, so that every tool prints it alike.
        bytes[0] = (bytes[0] & 0x3f) | 0x40;
        Some(Self(bytes.to_vec()))
    }

    /// The serial with these big-endian octets.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Self(bytes[zeros..].to_vec())
    }

    /// Its big-endian octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return out.write_str("00");
        }
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl FromStr for Serial {
    type Err = BadSerial;

    fn from_str(text: &str) -> Result<Self, BadSerial> {
        let digits = text.as_bytes();
        if digits.is_empty() || !digits.len().is_multiple_of(2) || digits.len() > 2 * BYTES_MAX {
            return Err(BadSerial);
        }
        let bytes = digits
            .chunks(2)
            .map(|pair| {
                let pair = std::str::from_utf8(pair).map_err(|_| BadSerial)?;
                // from_str_radix would take a sign.
                if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    return Err(BadSerial);
                }
                u8::from_str_radix(pair, 16).map_err(|_| BadSerial)
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self::from_bytes(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_serials_are_positive_and_differ() {
        let one = Serial::random().unwrap();
        let two = Serial::random().unwrap();
        assert_ne!(one, two);
        assert_eq!(one.as_bytes().len(), NEW_BYTES);
        assert!(one.as_bytes()[0] < 0x80);
    }

    #[test]
    fn padding_makes_no_difference() {
        assert_eq!(Serial::from_bytes(&[0, 0, 0xab]), Serial::from_bytes(&[0xab]));
        assert_eq!("00ab".parse::<Serial>().unwrap(), Serial::from_bytes(&[0xab]));
    }

    #[test]
    fn text_comes_back_as_it_went() {
        for bytes in [&[][..], &[1], &[0x7f, 0, 0xff]] {
            let serial = Serial::from_bytes(bytes);
            assert_eq!(serial.to_string().parse::<Serial>().unwrap(), serial);
        }
    }

    #[test]
    fn what_is_not_hexadecimal_is_refused() {
        for text in ["", "a", "+1", "xy", "0x12", &"aa".repeat(BYTES_MAX + 1)] {
            assert!(text.parse::<Serial>().is_err(), "{text}");
        }
    }
}
