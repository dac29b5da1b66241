//! Signs and verifies v1 messages.
//! A secret and five fields -> 32 lower-case hex digits; with a signature -> yes or no.
//! Invariant: comparing takes the same time wherever two signatures differ.
//! Leaves out: which secret belongs to whom.
//!
//! The signature is HMAC-MD5 (RFC 2104) under the UTF-8 secret, over app_id,
//! module, stamp, nsecs and body, one after another without separators,
//! integers in decimal. The host's name is not covered: it can be forged.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;

/// Length of a signature, in hex digits.
pub const SIGNATURE_DIGITS: usize = 32;

/// A secret, kept as the keyed state of its HMAC so that no message pays for
/// the key schedule. Cheap to clone; never prints itself.
#[derive(Clone)]
pub struct Key(Hmac<Md5>);

impl Key {
    /// Takes the secret's UTF-8 bytes, of any length.
    pub fn new(secret: &[u8]) -> Key {
        match Hmac::<Md5>::new_from_slice(secret) {
            Ok(mac) => Key(mac),
            // RFC 2104 takes keys of every length; the crate's error type is
            // shared with algorithms that do not.
            Err(_) => unreachable!("HMAC takes keys of every length"),
        }
    }

    /// The signature of these fields, as hex digits.
    pub fn sign(&self, fields: &Signed<'_>) -> [u8; SIGNATURE_DIGITS] {
        let tag: [u8; SIGNATURE_DIGITS / 2] = self.mac(fields).finalize().into_bytes().into();
        to_hex(tag)
    }

    /// Is `signature` the one of these fields? In constant time.
    pub fn verify(&self, fields: &Signed<'_>, signature: &str) -> bool {
        match from_hex(signature.as_bytes()) {
            Some(tag) => self.mac(fields).verify_slice(&tag).is_ok(),
            None => false,
        }
    }

    fn mac(&self, fields: &Signed<'_>) -> Hmac<Md5> {
        let mut mac = self.0.clone();
        mac.update(fields.app_id.as_bytes());
        mac.update(fields.module.as_bytes());
        mac.update(Decimal::new(fields.stamp).digits());
        mac.update(Decimal::new(fields.nsecs).digits());
        mac.update(fields.body.as_bytes());
        mac
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// The fields that a v1 signature covers.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// Application.
    pub app_id: &'a str,
    /// Logger name as sent.
    pub module: &'a str,
    /// Seconds since 1970.
    pub stamp: i64,
    /// Nanoseconds.
    pub nsecs: i64,
    /// The formatted message.
    pub body: &'a str,
}

/// An integer in decimal, without an allocation.
#[derive(Clone, Copy)]
pub(crate) struct Decimal {
    digits: [u8; Decimal::DIGITS_MAX],
    start: usize,
}

impl Decimal {
    /// "-9223372036854775808" has 20 characters.
    const DIGITS_MAX: usize = 20;

    pub(crate) fn new(value: i64) -> Decimal {
        let mut digits = [0; Decimal::DIGITS_MAX];
        let mut start = Decimal::DIGITS_MAX;
        let mut rest = value.unsigned_abs();
        for (place, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            start = place;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if value < 0 {
            start = start.saturating_sub(1);
            if let Some(sign) = digits.get_mut(start) {
                *sign = b'-';
            }
        }
        Decimal { digits, start }
    }

    pub(crate) fn digits(&self) -> &[u8] {
        self.digits.get(self.start..).unwrap_or(&[])
    }
}

fn to_hex(tag: [u8; SIGNATURE_DIGITS / 2]) -> [u8; SIGNATURE_DIGITS] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    let mut hex = [0; SIGNATURE_DIGITS];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(tag) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    hex
}

fn from_hex(hex: &[u8]) -> Option<[u8; SIGNATURE_DIGITS / 2]> {
    let hex: &[u8; SIGNATURE_DIGITS] = hex.try_into().ok()?;
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut tag = [0; SIGNATURE_DIGITS / 2];
    for (byte, pair) in tag.iter_mut().zip(hex.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *byte = value(high)? << 4 | value(low)?;
    }
    Some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields<'a>(body: &'a str) -> Signed<'a> {
        Signed { app_id: "signed", module: "root", stamp: 1_358_363_502, nsecs: 120_430_000, body }
    }

    #[test]
    fn signatures_equal_those_of_the_original_client() {
        let key = Key::new(b"my-big-secret");
        assert_eq!(&key.sign(&fields("INFO - hello")), b"89cec7dc1ec0ebca65a78121dc3dcd38");
        assert!(key.verify(&fields("good"), "72ac5a4f1cac0fd477eccc9d4f42c74e"));
    }

    #[test]
    fn a_prefix_upper_case_or_another_secret_do_not_verify() {
        let key = Key::new(b"my-big-secret");
        for wrong in ["", "72ac5a4f1cac0fd477eccc9d4f42c74", "72AC5A4F1CAC0FD477ECCC9D4F42C74E"] {
            assert!(!key.verify(&fields("good"), wrong), "{wrong:?}");
        }
        assert!(!Key::new(b"other").verify(&fields("good"), "72ac5a4f1cac0fd477eccc9d4f42c74e"));
    }

    #[test]
    fn a_key_never_prints_its_secret() {
        assert_eq!(format!("{:?}", Key::new(b"my-big-secret")), "Key(..)");
    }

    proptest! {
        #[test]
        fn integers_print_as_decimal(value in any::<i64>()) {
            let printed = value.to_string();
            let decimal = Decimal::new(value);
            prop_assert_eq!(decimal.digits(), printed.as_bytes());
        }

        #[test]
        fn what_was_signed_verifies_and_a_changed_body_does_not(
            secret in proptest::collection::vec(any::<u8>(), 0..200), body in ".*",
        ) {
            let key = Key::new(&secret);
            let signature = String::from_utf8(key.sign(&fields(&body)).to_vec()).unwrap();
            prop_assert!(key.verify(&fields(&body), &signature));
            let changed = format!("{body}x");
            prop_assert!(!key.verify(&fields(&changed), &signature));
        }
    }
}
