//! What a Python program knows of a message beside its text.
//! A dict of plain values, and JSON as bytes -> the fields of a record.
//! Invariant: never raises; what cannot be a field is left out, what is too long is cut.
//! Leaves out: what becomes JSON and what text (`python/loghog/fields.py`).

use loghog::{Field, Value};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyString};

use crate::text::Text;

/// The longest text or JSON of one field, in bytes: what the wire takes as
/// JSON. Longer text is cut, longer JSON becomes text and is cut, so that a
/// careless `extra` does not cost the message.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// The most bytes of all keys and values together: a quarter of the longest
/// record, so that there is room for a text. Fields that do not fit are left
/// out.
const FIELDS_BYTES_MAX: usize = 256 << 10;

/// Fields on their way from Python.
#[derive(Default)]
pub(crate) struct Fields(Vec<(String, Owned)>);

enum Owned {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Json(String),
}

impl Fields {
    pub(crate) fn read(dict: &Bound<'_, PyDict>) -> Self {
        let mut left = FIELDS_BYTES_MAX;
        let mut fields = Vec::with_capacity(dict.len());
        for (key, value) in dict {
            let Some((key, value)) = text(&key).zip(Owned::read(&value)) else { continue };
            let Some(room) = left.checked_sub(key.len() + value.bytes()) else { continue };
            left = room;
            fields.push((key, value));
        }
        Fields(fields)
    }

    pub(crate) fn as_wire(&self) -> Vec<Field<'_>> {
        self.0.iter().map(|(key, value)| Field { key, value: value.as_wire() }).collect()
    }
}

impl Owned {
    fn read(value: &Bound<'_, PyAny>) -> Option<Owned> {
        if value.is_none() {
            return Some(Owned::Null);
        }
        // In Python a bool is an int as well.
        if let Ok(value) = value.cast::<PyBool>() {
            return Some(Owned::Bool(value.is_true()));
        }
        if value.is_instance_of::<PyInt>() {
            return value.extract().ok().map(Owned::Int);
        }
        if let Ok(value) = value.cast::<PyFloat>() {
            return Some(Owned::Float(value.value()));
        }
        if value.is_instance_of::<PyString>() {
            return text(value).map(Owned::Text);
        }
        let json = std::str::from_utf8(value.cast::<PyBytes>().ok()?.as_bytes()).ok()?;
        match cut(json) {
            whole if whole.len() == json.len() => Some(Owned::Json(json.to_owned())),
            beginning => Some(Owned::Text(beginning.to_owned())),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Owned::Text(text) | Owned::Json(text) => text.len(),
            Owned::Null | Owned::Bool(_) | Owned::Int(_) | Owned::Float(_) => size_of::<i64>(),
        }
    }

    fn as_wire(&self) -> Value<'_> {
        match self {
            Owned::Null => Value::Null,
            Owned::Bool(value) => Value::Bool(*value),
            Owned::Int(value) => Value::Int(*value),
            Owned::Float(value) => Value::Float(*value),
            Owned::Text(text) => Value::Text(text),
            Owned::Json(text) => Value::Json(text),
        }
    }
}

fn text(object: &Bound<'_, PyAny>) -> Option<String> {
    let text = object.extract::<Text<'_>>().ok()?;
    text.read().ok().map(|text| cut(&text).to_owned())
}

/// The longest beginning that a field may have.
fn cut(text: &str) -> &str {
    let shortened = || (0..VALUE_BYTES_MAX).rev().find_map(|end| text.get(..end));
    text.get(..VALUE_BYTES_MAX.min(text.len())).or_else(shortened).unwrap_or_default()
}
