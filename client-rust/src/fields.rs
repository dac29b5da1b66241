//! Fields of a message while it is being put together.
//! Keys and values -> a list that outlives what they were read from.
//! Invariant: a key stands there once; the value put last counts.
//! Leaves out: where they come from (`logger`, `layer`).

use std::borrow::Cow;
#[cfg(feature = "tracing")]
use std::sync::Arc;

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
    /// The same for a value that goes with many messages.
    #[cfg(feature = "tracing")]
    Shared(Arc<str>),
    Json(String),
}

impl Owned {
    fn as_wire(&self) -> Value<'_> {
        match self {
            Owned::Bool(value) => Value::Bool(*value),
            Owned::Int(value) => Value::Int(*value),
            Owned::Float(value) => Value::Float(*value),
            Owned::Text(text) => Value::Text(text),
            #[cfg(feature = "tracing")]
            Owned::Shared(text) => Value::Text(text),
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

    /// The same fields, with texts that are cheap to clone.
    #[cfg(feature = "tracing")]
    pub(crate) fn into_shared(mut self) -> Fields {
        for (_, value) in &mut self.0 {
            if let Owned::Text(text) = value {
                *value = Owned::Shared(Arc::from(text.as_str()));
            }
        }
        self
    }

    pub(crate) fn as_wire(&self) -> Vec<Field<'_>> {
        self.0.iter().map(|(key, value)| Field { key, value: value.as_wire() }).collect()
    }
}
