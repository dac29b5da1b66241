//! What a certificate says of its owner, in words for the log.
//! A parsed certificate, also a hostile one -> text.
//! Invariant: the text is one short printable line.
//! Leaves out: whether any of it is true.

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Name;

use crate::limits::{RSA_BITS_MIN, SERIAL_BYTES_MAX};
use crate::own_log::quote;

pub(super) fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate)
}

/// The common name, or else all there is.
pub(super) fn name(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|common| common.as_str().ok());
    match common {
        Some(common) => quote(common).to_string(),
        None => quote(&name.to_string()).to_string(),
    }
}

/// The serial number in hexadecimal, as `loghog-client-cert --list` and OpenSSL show it.
pub(super) fn serial(certificate: &X509Certificate<'_>) -> String {
    let bytes = certificate.raw_serial();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = bytes.iter().skip(zeros);
    let mut text: String =
        digits.clone().take(SERIAL_BYTES_MAX).map(|byte| format!("{byte:02x}")).collect();
    if digits.len() > SERIAL_BYTES_MAX {
        text.push_str("...");
    }
    text
}

/// The size of its RSA key if that is shorter than [`RSA_BITS_MIN`].
pub(super) fn short_rsa_bits(certificate: &X509Certificate<'_>) -> Option<usize> {
    let Ok(PublicKey::RSA(key)) = certificate.public_key().parsed() else {
        return None;
    };
    let mut modulus = key.modulus.iter().skip_while(|byte| **byte == 0);
    let zeros = modulus.clone().next().map_or(0, |first| first.leading_zeros() as usize);
    let bits = (modulus.by_ref().count() * 8).saturating_sub(zeros);
    (bits < RSA_BITS_MIN).then_some(bits)
}

/// The day of a time in a certificate, `2026-11-20`, in UTC.
pub(super) fn day(seconds: i64) -> String {
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    time.strftime("%Y-%m-%d").to_string()
}
