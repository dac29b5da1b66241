//! Tells JSON from what is none.
//! Text -> whether every common reader takes it, to its last byte.
//! Invariant: what passes is read the same as a part of a line.
//! Leaves out: what it says.
//!
//! serde_json's `IgnoredAny` would be too kind: it takes lone surrogates,
//! numbers beyond a double, and any depth, at which other readers give up.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

/// Deepest nesting of arrays and objects. Deeper text is no JSON to us:
/// readers have limits from about a hundred on.
pub(super) const DEPTH_MAX: usize = 64;

/// Is it one JSON value?
pub(super) fn is_json(text: &str) -> bool {
    let mut reader = serde_json::Deserializer::from_str(text);
    Part { depth: 0 }.deserialize(&mut reader).and_then(|()| reader.end()).is_ok()
}

/// A value inside of so many others. What it is does not matter.
#[derive(Clone, Copy)]
struct Part {
    depth: usize,
}

impl Part {
    fn below<E: Error>(self) -> Result<Part, E> {
        match self.depth < DEPTH_MAX {
            true => Ok(Part { depth: self.depth + 1 }),
            false => Err(E::custom("nested too deep")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Part {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let part = self.below()?;
        while items.next_element_seed(part)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let part = self.below()?;
        while members.next_entry_seed(part, part)?.is_some() {}
        Ok(())
    }
}
