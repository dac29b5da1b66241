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

/// A string as it stands between its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text<'a> {
    pub(crate) raw: &'a str,
    pub(crate) escaped: bool,
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

/// Calls `member` with each member of the object that `text` is.
pub(crate) fn object<'a>(
    text: &'a str,
    mut member: impl FnMut(Text<'a>, Value<'a>),
) -> Result<(), JsonError> {
    let mut reader = Reader { text, at: 0 };
    reader.white_space();
    if reader.peek() != Some(b'{') {
        reader.value(0)?;
        reader.end()?;
        return Err(JsonError::NotAnObject);
    }
    reader.members(1, &mut member)?;
    reader.end()
}

/// Appends what the string `text` means to `out`. Lone surrogates, which have
/// no meaning in UTF-8, become U+FFFD.
pub(crate) fn unescape(text: Text<'_>, out: &mut String) {
    let mut rest = text.raw;
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

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn members(
        &mut self,
        depth: u32,
        member: &mut dyn FnMut(Text<'a>, Value<'a>),
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
                self.members(deeper(depth)?, &mut |_, _| ())?;
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
            let rest = self.bytes();
            let Some(length) = memchr::memchr2(b'"', b'\\', rest) else {
                self.at = self.text.len();
                return Err(self.syntax());
            };
            let plain = rest.get(..length).unwrap_or(rest);
            // Branch-free, so that the compiler checks many bytes at a time.
            if plain.iter().fold(false, |found, &byte| found | (byte < 0x20)) {
                return Err(self.syntax());
            }
            self.at += length;
            if self.take(b'"') {
                let raw = self.text.get(start..self.at - 1).unwrap_or("");
                return Ok(Text { raw, escaped });
            }
            escaped = true;
            self.escape()?;
        }
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
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        let end = self.at;
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
        match self.text.get(start..end).unwrap_or("").parse() {
            Ok(integer) => Ok(Value::Integer(integer)),
            Err(_) => Ok(Value::HugeInteger),
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let count = self.bytes().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(self.syntax()) } else { Ok(()) }
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

fn deeper(depth: u32) -> Result<u32, JsonError> {
    if depth >= JSON_DEPTH_MAX { Err(JsonError::TooDeep) } else { Ok(depth + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members(text: &str) -> Result<Vec<(String, String)>, JsonError> {
        let mut seen = Vec::new();
        object(text, |name, value| {
            let mut decoded = String::new();
            unescape(name, &mut decoded);
            let value = match value {
                Value::Text(text) => {
                    let mut decoded = String::new();
                    unescape(text, &mut decoded);
                    decoded
                }
                other => format!("{other:?}"),
            };
            seen.push((decoded, value));
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
