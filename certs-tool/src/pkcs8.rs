//! Wraps an old RSA key (PKCS#1, "BEGIN RSA PRIVATE KEY") as PKCS#8, the only
//! form that ring reads.
//! DER of an RSAPrivateKey -> DER of a PrivateKeyInfo (RFC 5208, section 5):
//!
//! ```text
//! SEQUENCE { INTEGER 0, SEQUENCE { OID rsaEncryption, NULL }, OCTET STRING { key } }
//! ```
//!
//! Invariant: the key's own bytes are not touched.
//! Leaves out: looking into the key; ring does that.

/// Version 0 and the algorithm `rsaEncryption` (1.2.840.113549.1.1.1) with NULL parameters.
const VERSION_AND_ALGORITHM: [u8; 18] = [
    0x02, 0x01, 0x00, // version
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01,
    0x01, // rsaEncryption
    0x05, 0x00, // no parameters
];

const TAG_SEQUENCE: u8 = 0x30;
const TAG_OCTET_STRING: u8 = 0x04;

/// The key as PKCS#8.
#[must_use]
pub fn from_pkcs1(key: &[u8]) -> Vec<u8> {
    let mut octets = header(TAG_OCTET_STRING, key.len());
    octets.extend_from_slice(key);

    let mut whole = header(TAG_SEQUENCE, VERSION_AND_ALGORITHM.len() + octets.len());
    whole.extend_from_slice(&VERSION_AND_ALGORITHM);
    whole.append(&mut octets);
    whole
}

/// A DER tag with its length, in the shortest form as DER demands (X.690, 10.1).
fn header(tag: u8, length_bytes: usize) -> Vec<u8> {
    let big_endian = length_bytes.to_be_bytes();
    let zeros = big_endian.iter().take_while(|byte| **byte == 0).count();
    let digits = &big_endian[zeros..];
    match digits {
        [] => vec![tag, 0],
        [short @ 0..=0x7f] => vec![tag, *short],
        _ => {
            // At most eight digits, so the cast below cannot lose anything.
            let mut out = vec![tag, 0x80 | digits.len() as u8];
            out.extend_from_slice(digits);
            out
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        assert_eq!(header(4, 0), [4, 0]);
        assert_eq!(header(4, 0x7f), [4, 0x7f]);
        assert_eq!(header(4, 0x80), [4, 0x81, 0x80]);
        assert_eq!(header(4, 0xff), [4, 0x81, 0xff]);
        assert_eq!(header(4, 0x100), [4, 0x82, 1, 0]);
        assert_eq!(header(4, 0x1_0000), [4, 0x83, 1, 0, 0]);
    }

    #[test]
    fn the_wrapped_key_is_there_whole() {
        for size in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x1234] {
            let key = vec![0xa5; size];
            let wrapped = from_pkcs1(&key);
            assert!(wrapped.ends_with(&key));
            assert_eq!(wrapped[0], TAG_SEQUENCE);
        }
    }
}
