//! Integers and strings of payloads.
//! Bytes -> values, one after another; and back.
//! Invariant: a value has one encoding only; nothing is copied or allocated by reading.
//! Leaves out: what the values mean.
//!
//! Integers are LEB128 in their shortest form, signed ones are zigzagged first
//! (as in Protocol Buffers); a string is the number of its bytes, then UTF-8.

/// Why bytes are not the values that were expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The payload ends inside of a value.
    #[error("the payload ends inside of a value")]
    Truncated,
    /// An integer is longer than its shortest form.
    #[error("an integer is not in its shortest form")]
    NotShortest,
    /// An integer has more than 64 bits.
    #[error("an integer has more than 64 bits")]
    TooLarge,
    /// A string is longer than allowed at this place.
    #[error("a string of {bytes} bytes was announced, {bytes_max} are allowed")]
    StringTooLong {
        /// Announced size.
        bytes: u64,
        /// Allowed size.
        bytes_max: usize,
    },
    /// A string is not UTF-8.
    #[error("a string is not utf-8")]
    NotUtf8,
    /// Bytes are left over behind the last value.
    #[error("{bytes} bytes are left over behind the last value")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// The unread rest of a payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: payload }
    }

    /// An integer; one byte is by far the most frequent length.
    #[inline]
    pub(crate) fn integer(&mut self) -> Result<u64, CodecError> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_integer(),
        }
    }

    fn long_integer(&mut self) -> Result<u64, CodecError> {
        let mut value = 0;
        for place in 0..10 {
            let byte = self.byte()?;
            if place == 9 && byte > 1 {
                return Err(CodecError::TooLarge);
            }
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return if byte == 0 { Err(CodecError::NotShortest) } else { Ok(value) };
            }
        }
        Err(CodecError::TooLarge)
    }

    /// A signed integer: 0, -1, 1, -2 ... are sent as 0, 1, 2, 3 ...
    #[inline]
    pub(crate) fn signed(&mut self) -> Result<i64, CodecError> {
        let sent = self.integer()?;
        Ok((sent >> 1).cast_signed() ^ -(sent & 1).cast_signed())
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, CodecError> {
        let (byte, rest) = self.rest.split_first().ok_or(CodecError::Truncated)?;
        self.rest = rest;
        Ok(*byte)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(CodecError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    /// A string of at most `bytes_max`, borrowed from the payload.
    #[inline]
    pub(crate) fn string(&mut self, bytes_max: usize) -> Result<&'a str, CodecError> {
        let bytes = self.integer()?;
        let size = usize::try_from(bytes).unwrap_or(usize::MAX);
        if size > bytes_max {
            return Err(CodecError::StringTooLong { bytes, bytes_max });
        }
        let (string, rest) = self.rest.split_at_checked(size).ok_or(CodecError::Truncated)?;
        self.rest = rest;
        std::str::from_utf8(string).map_err(|_| CodecError::NotUtf8)
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), CodecError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(CodecError::Trailing { bytes }),
        }
    }
}

/// Most bytes of an integer.
pub(crate) const INTEGER_BYTES_MAX: usize = 10;

#[inline]
pub(crate) fn put_integer(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        let [low, ..] = value.to_le_bytes();
        out.push(low | 0x80);
        value >>= 7;
    }
    let [low, ..] = value.to_le_bytes();
    out.push(low);
}

#[inline]
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_integer(out, zigzag(value));
}

/// 0, -1, 1, -2 ... -> 0, 1, 2, 3 ...
#[inline]
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// How many bytes an integer has.
pub(crate) fn integer_bytes(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

#[inline]
pub(crate) fn put_string(out: &mut Vec<u8>, string: &str) {
    put_integer(out, string.len() as u64);
    out.extend_from_slice(string.as_bytes());
}

/// The longest beginning of `text` that has at most `bytes_max` bytes.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    end.and_then(|end| text.get(..end)).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn integer(bytes: &[u8]) -> Result<u64, CodecError> {
        let mut cursor = Cursor::new(bytes);
        let value = cursor.integer()?;
        cursor.end().map(|()| value)
    }

    #[test]
    fn an_integer_has_one_encoding_only() {
        assert_eq!(integer(&[0]), Ok(0));
        assert_eq!(integer(&[0x80, 0]), Err(CodecError::NotShortest));
        assert_eq!(integer(&[0x80]), Err(CodecError::Truncated));
        assert_eq!(integer(&[]), Err(CodecError::Truncated));
        assert_eq!(integer(&[[0xff; 9].as_slice(), &[1]].concat()), Ok(u64::MAX));
        assert_eq!(integer(&[[0xff; 9].as_slice(), &[2]].concat()), Err(CodecError::TooLarge));
        assert_eq!(integer(&[0xff; 11]), Err(CodecError::TooLarge));
        assert_eq!(integer(&[[0x80; 9].as_slice(), &[0]].concat()), Err(CodecError::NotShortest));
    }

    #[test]
    fn a_huge_string_is_refused_before_its_bytes_are_looked_at() {
        let mut bytes = Vec::new();
        put_integer(&mut bytes, u64::MAX);
        let refused = CodecError::StringTooLong { bytes: u64::MAX, bytes_max: 9 };
        assert_eq!(Cursor::new(&bytes).string(9), Err(refused));
        assert_eq!(Cursor::new(&bytes).string(usize::MAX), Err(CodecError::Truncated));
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!((cut("aé", 2), cut("aé", 3), cut("aé", 9), cut("é", 0)), ("a", "aé", "aé", ""));
    }

    proptest! {
        #[test]
        fn integers_come_back(value in any::<u64>(), shift in 0_u32..64, signed in any::<i64>()) {
            let (value, signed) = (value >> shift, signed >> shift);
            let mut bytes = Vec::new();
            put_integer(&mut bytes, value);
            prop_assert_eq!(bytes.len(), integer_bytes(value));
            prop_assert!(bytes.len() <= INTEGER_BYTES_MAX);
            put_signed(&mut bytes, signed);
            let mut cursor = Cursor::new(&bytes);
            prop_assert_eq!(cursor.integer(), Ok(value));
            prop_assert_eq!(cursor.signed(), Ok(signed));
            prop_assert_eq!(cursor.end(), Ok(()));
        }

        #[test]
        fn what_is_read_as_an_integer_is_how_it_would_be_written(
            bytes in prop::collection::vec(any::<u8>(), 0..12),
        ) {
            let mut cursor = Cursor::new(&bytes);
            if let Ok(value) = cursor.integer() {
                let mut again = Vec::new();
                put_integer(&mut again, value);
                prop_assert!(bytes.starts_with(&again));
            }
        }
    }
}
