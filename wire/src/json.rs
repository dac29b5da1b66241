//! Reads one JSON object (RFC 8259) without allocating.
//! Text -> its members, in order; a string stays where it is, escapes and all.
//! Invariant: what is accepted here is JSON, to the last byte, nested no deeper than a limit.
//! Leaves out: floating point values and nested ones; they are checked and passed over.
//!
//! serde_json would allocate for every string with an escape in it, which is
//! every traceback, and refuses the lone surrogates that Python sends. The
//! tests hold this reader against it.

use crate::limits::JSON_DEPTH_MAX;

/// Why a text is not a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonError {
    /// The text stops being JSON at this byte.
    Syntax { at: usize },
    /// JSON, but no object.
    NotAnObject,
    /// Nested deeper than [`JSON_DEPTH_MAX`].
    TooDeep,
}

/// A string as it stands between its quotes. An enum, because a flag beside
/// the text would leave a hole that is slow to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text<'a> {
    /// It means what it is.
    Plain(&'a str),
    /// It has escapes: see [`unescape`].
    Escaped(&'a str),
}

/// The value of a member, as far as a record needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Text(Text<'a>),
    Integer(i64),
    /// An integer outside of `i64`.
    HugeInteger,
    /// A number with a fraction or an exponent, a literal, an array, an object.
    Other,
}

/// Takes an object apart whose layout is known. Every step says whether the
/// text goes on as expected; if one does not, [`object`] is to read it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    rest: Reader<'a>,
}

impl<'a> Expected<'a> {
    pub(crate) fn new(text: &'a str) -> Expected<'a> {
        Expected { rest: Reader { text, at: 0 } }
    }

    /// Steps over `literal`.
    #[inline]
    pub(crate) fn literal(&mut self, literal: &str) -> Option<()> {
        let found = self.rest.bytes().starts_with(literal.as_bytes());
        self.rest.at += if found { literal.len() } else { 0 };
        found.then_some(())
    }

    /// Steps over a string.
    #[inline]
    pub(crate) fn text(&mut self) -> Option<Value<'a>> {
        self.rest.string().ok().map(Value::Text)
    }

    /// Steps over a number.
    #[inline]
    pub(crate) fn number(&mut self) -> Option<Value<'a>> {
        self.rest.number().ok()
    }

    /// Is there nothing more?
    pub(crate) fn end(self) -> Option<()> {
        (self.rest.at == self.rest.text.len()).then_some(())
    }
}

/// Calls `member` with each member of the object that `text` is.
pub(crate) fn object<'a>(
    text: &'a str,
    member: impl FnMut(Text<'a>, Value<'a>),
) -> Result<(), JsonError> {
    let mut reader = Reader { text, at: 0 };
    reader.white_space();
    if reader.peek() != Some(b'{') {
        reader.value(0)?;
        reader.end()?;
        return Err(JsonError::NotAnObject);
    }
    reader.members(1, member)?;
    reader.end()
}

/// Is `text` one JSON value of any kind, nested no deeper than an object's
/// members may be?
pub(crate) fn is_value(text: &str) -> bool {
    let mut reader = Reader { text, at: 0 };
    reader.white_space();
    reader.value(0).is_ok() && reader.end().is_ok()
}

/// Appends what a string with escapes means to `out`. Lone surrogates, which
/// have no meaning in UTF-8, become U+FFFD.
pub(crate) fn unescape(escaped: &str, out: &mut String) {
    let mut rest = escaped;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut chars = escape.chars();
        let decoded = match chars.next() {
            Some('u') => {
                let (decoded, digits_left) = unicode_escape(chars.as_str());
                rest = digits_left;
                out.push(decoded);
                continue;
            }
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some(itself) => itself,
            None => break,
        };
        out.push(decoded);
        rest = chars.as_str();
    }
    out.push_str(rest);
}

/// Decodes the digits behind `\u`, and a second escape when the two are a
/// surrogate pair.
fn unicode_escape(digits: &str) -> (char, &str) {
    let Some((first, rest)) = four_hex_digits(digits) else {
        return (char::REPLACEMENT_CHARACTER, "");
    };
    if let Some(plain) = char::from_u32(first) {
        return (plain, rest);
    }
    let second = rest.strip_prefix("\\u").and_then(four_hex_digits);
    match second {
        Some((low @ 0xdc00..=0xdfff, rest)) if first < 0xdc00 => {
            let code = 0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00);
            (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), rest)
        }
        _ => (char::REPLACEMENT_CHARACTER, rest),
    }
}

fn four_hex_digits(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}

#[derive(Clone, Copy, Debug)]
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn members(
        &mut self,
        depth: u32,
        mut member: impl FnMut(Text<'a>, Value<'a>),
    ) -> Result<(), JsonError> {
        self.expect(b'{')?;
        self.white_space();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.white_space();
            let name = self.string()?;
            self.white_space();
            self.expect(b':')?;
            self.white_space();
            member(name, self.value(depth)?);
            self.white_space();
            if self.take(b'}') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    fn value(&mut self, depth: u32) -> Result<Value<'a>, JsonError> {
        match self.peek() {
            Some(b'"') => Ok(Value::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'{') => {
                self.members(deeper(depth)?, pass_over)?;
                Ok(Value::Other)
            }
            Some(b'[') => {
                self.elements(deeper(depth)?)?;
                Ok(Value::Other)
            }
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => Err(self.syntax()),
        }
    }

    fn elements(&mut self, depth: u32) -> Result<(), JsonError> {
        self.expect(b'[')?;
        self.white_space();
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.white_space();
            self.value(depth)?;
            self.white_space();
            if self.take(b']') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    fn literal(&mut self, literal: &str) -> Result<Value<'a>, JsonError> {
        let rest = self.text.get(self.at..).unwrap_or("");
        if !rest.starts_with(literal) {
            return Err(self.syntax());
        }
        self.at += literal.len();
        Ok(Value::Other)
    }

    /// Everything up to the closing quote, its escapes checked, not decoded.
    fn string(&mut self) -> Result<Text<'a>, JsonError> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain_bytes(self.bytes());
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                _ => return Err(self.syntax()),
            }
            escaped = true;
        }
        let raw = self.text.get(start..self.at).unwrap_or("");
        self.at += 1;
        Ok(if escaped { Text::Escaped(raw) } else { Text::Plain(raw) })
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        self.expect(b'\\')?;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                match self.bytes().first_chunk::<4>() {
                    Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => self.at += 4,
                    _ => return Err(self.syntax()),
                }
            }
            _ => return Err(self.syntax()),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Value<'a>, JsonError> {
        let negative = self.take(b'-');
        let integer = if self.take(b'0') { Some(0) } else { self.digits()? };
        let mut whole = true;
        if self.take(b'.') {
            whole = false;
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            whole = false;
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        if !whole {
            return Ok(Value::Other);
        }
        // Counted downwards, because i64 reaches one further there.
        let value = if negative { integer } else { integer.and_then(i64::checked_neg) };
        Ok(value.map_or(Value::HugeInteger, Value::Integer))
    }

    /// One digit or more: their value, negated; none when it is too large.
    fn digits(&mut self) -> Result<Option<i64>, JsonError> {
        let start = self.at;
        let mut value = Some(0_i64);
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            let digit = i64::from(digit - b'0');
            value = value.and_then(|value| value.checked_mul(10)?.checked_sub(digit));
            self.at += 1;
        }
        if self.at == start { Err(self.syntax()) } else { Ok(value) }
    }

    fn white_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn end(&mut self) -> Result<(), JsonError> {
        self.white_space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.syntax()) }
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.take(byte) { Ok(()) } else { Err(self.syntax()) }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or(&[])
    }

    fn syntax(&self) -> JsonError {
        JsonError::Syntax { at: self.at }
    }
}

/// How many bytes it is to the first quote, backslash or control character.
fn plain_bytes(bytes: &[u8]) -> usize {
    /// Most strings of a record are shorter than this; for them a call that
    /// prepares wide registers is not worth its while.
    const SHORT_BYTES: usize = 32;
    let mut at = 0;
    while at < SHORT_BYTES {
        let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) else { break };
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or(&[]);
    let length = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
    let plain = rest.get(..length).unwrap_or(rest);
    // Without branches, so that the compiler looks at many bytes at a time.
    let control = plain.iter().fold(false, |found, &byte| found | (byte < 0x20));
    let control = if control { plain.iter().position(|&byte| byte < 0x20) } else { None };
    at + control.unwrap_or(length)
}

/// Marks, among eight bytes, a quote, a backslash or a control character by
/// its highest bit. Bytes behind the first one marked may be marked wrongly
/// (Bit Twiddling Hacks, "Determine if a word has a byte less than n").
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    let is_zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = is_zero(word ^ (ONES * b'"' as u64));
    let backslash = is_zero(word ^ (ONES * b'\\' as u64));
    (control | quote | backslash) & HIGHS
}

fn pass_over(_: Text<'_>, _: Value<'_>) {}

fn deeper(depth: u32) -> Result<u32, JsonError> {
    if depth >= JSON_DEPTH_MAX { Err(JsonError::TooDeep) } else { Ok(depth + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members(text: &str) -> Result<Vec<(String, String)>, JsonError> {
        let mut seen = Vec::new();
        let meaning = |text| {
            let mut decoded = String::new();
            match text {
                Text::Plain(text) => decoded.push_str(text),
                Text::Escaped(text) => unescape(text, &mut decoded),
            }
            decoded
        };
        object(text, |name, value| {
            let value = match value {
                Value::Text(text) => meaning(text),
                other => format!("{other:?}"),
            };
            seen.push((meaning(name), value));
        })?;
        Ok(seen)
    }

    #[test]
    fn surrogate_pairs_join_and_lone_ones_are_replaced() {
        let text = r#"{"a": "\ud83d\ude00 \udc80 \ud83d \ud83dx \ud83d\u0041 \ud83d\ud83d\ude00"}"#;
        let expected = "\u{1f600} \u{fffd} \u{fffd} \u{fffd}x \u{fffd}A \u{fffd}\u{1f600}";
        assert_eq!(members(text), Ok(vec![("a".into(), expected.into())]));
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested =
            |depth: usize| format!("{{\"x\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
        let limit = JSON_DEPTH_MAX as usize;
        assert!(members(&nested(limit - 1)).is_ok());
        assert_eq!(members(&nested(limit)), Err(JsonError::TooDeep));
        assert_eq!(members(&nested(100_000)), Err(JsonError::TooDeep));
    }

    #[test]
    fn other_json_is_not_an_object_and_other_text_is_not_json() {
        for text in ["true", "[1, {}]", "\"text\"", " 1.5e3 "] {
            assert_eq!(members(text), Err(JsonError::NotAnObject), "{text}");
        }
        for text in [
            "",
            "{",
            "{}}",
            "{} x",
            "{'a': 1}",
            "{\"a\": 01}",
            "{\"a\": 1.}",
            "{\"a\": NaN}",
            "{\"a\" 1}",
            "{\"a\": 1,}",
            "{\"a\": \"\\x\"}",
            "{\"a\": \"\\u12g4\"}",
            "{\"a\": \"\n\"}",
            "{\"a",
            "{\"a\\",
        ] {
            assert!(matches!(members(text), Err(JsonError::Syntax { .. })), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_first_special_byte_is_found_wherever_it_stands(
            bytes in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), any::<u8>(), b'a'..=b'z'], 0..100),
            plain in 0..80_usize,
        ) {
            let bytes = [vec![b'x'; plain], bytes].concat();
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20);
            prop_assert_eq!(plain_bytes(&bytes), bytes.iter().position(special).unwrap_or(bytes.len()));
        }
    }

    /// Texts that are often, but not always, JSON objects.
    fn near_json() -> impl Strategy<Value = String> {
        let token = prop_oneof![
            Just("{".to_owned()),
            Just("}".to_owned()),
            Just("[".to_owned()),
            Just("]".to_owned()),
            Just(",".to_owned()),
            Just(":".to_owned()),
            Just(" ".to_owned()),
            Just("\"a\"".to_owned()),
            Just("null".to_owned()),
            Just("tru".to_owned()),
            Just("-0".to_owned()),
            Just("\"".to_owned()),
            Just("\\ud800".to_owned()),
            Just("\\n".to_owned()),
            "-?[0-9]{1,22}(\\.[0-9])?([eE][+-]?[0-9])?",
            "\"[a-z\\\\\"u0-9]{0,6}\"",
        ];
        prop_oneof![
            proptest::collection::vec(token.clone(), 0..12).prop_map(|tokens| tokens.concat()),
            proptest::collection::vec(token, 1..4)
                .prop_map(|tokens| format!("{{\"k\": {}}}", tokens.concat())),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn agrees_with_serde_json_on_what_is_an_object(text in near_json()) {
            let ours = members(&text).is_ok();
            let theirs: Result<serde_json::Value, _> = serde_json::from_str(&text);
            match theirs {
                Ok(value) => prop_assert_eq!(ours, value.is_object(), "{}", text),
                // serde_json alone refuses lone surrogates and numbers beyond f64.
                Err(error) if error.to_string().contains("surrogate")
                    || error.to_string().contains("hex escape")
                    || error.to_string().contains("out of range") => {}
                Err(_) => prop_assert!(!ours, "{}", text),
            }
        }

        #[test]
        fn strings_mean_what_serde_json_says(body in ".*", name in "[a-z\"\\\\\n]{0,5}") {
            let text = serde_json::to_string(&serde_json::json!({ name.clone(): body.clone() })).unwrap();
            prop_assert_eq!(members(&text), Ok(vec![(name, body)]));
        }

        #[test]
        fn arbitrary_text_ends_in_a_value(text in ".*") {
            let _ = members(&text);
        }
    }
}
