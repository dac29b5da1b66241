//! Fields of a message while it is being put together.
//! Keys and values -> a list that outlives what they were read from.
//! Invariant: a key stands there once; the value put last counts.
//! Leaves out: where they come from (`logger`, `layer`).

use std::borrow::Cow;

use wire::v2::batch::{Field, Value};

/// Keys of a program's own code need no copy.
type Key = Cow<'static, str>;

/// A value of its own.
#[derive(Clone, Debug)]
pub(crate) enum Owned {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Json(String),
}

impl Owned {
    fn as_wire(&self) -> Value<'_> {
        match self {
            Owned::Bool(value) => Value::Bool(*value),
            Owned::Int(value) => Value::Int(*value),
            Owned::Float(value) => Value::Float(*value),
            Owned::Text(text) => Value::Text(text),
            Owned::Json(text) => Value::Json(text),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(Vec<(Key, Owned)>);

impl Fields {
    pub(crate) fn put(&mut self, key: impl Into<Key>, value: Owned) {
        let key = key.into();
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => self.0.push((key, value)),
        }
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn put_all(&mut self, others: &Fields) {
        for (key, value) in &others.0 {
            self.put(key.clone(), value.clone());
        }
    }

    pub(crate) fn as_wire(&self) -> Vec<Field<'_>> {
        self.0.iter().map(|(key, value)| Field { key, value: value.as_wire() }).collect()
    }
}
