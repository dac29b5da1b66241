//! Python's strings as UTF-8.
//! A `str`, or anything that `str()` takes -> text.
//! Invariant: surrogates never raise; a pair becomes its character, a lone one U+FFFD.
//! Leaves out: what the text says.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// A string from Python, not looked at yet.
pub(crate) struct Text<'py> {
    string: Bound<'py, PyString>,
    /// Its UTF-8, where it has one.
    utf8: Option<Bound<'py, PyBytes>>,
}

impl<'a, 'py> FromPyObject<'a, 'py> for Text<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let string = match object.cast::<PyString>() {
            Ok(string) => string.to_owned(),
            Err(_) => object.str()?,
        };
        let utf8 = string.encode_utf8().ok();
        Ok(Text { string, utf8 })
    }
}

impl Text<'_> {
    /// None when there are surrogates in it.
    pub(crate) fn as_utf8(&self) -> Option<Cow<'_, str>> {
        self.utf8.as_ref().map(|utf8| String::from_utf8_lossy(utf8.as_bytes()))
    }

    pub(crate) fn read(&self) -> PyResult<Cow<'_, str>> {
        match self.as_utf8() {
            Some(utf8) => Ok(utf8),
            None => self.mended().map(Cow::Owned),
        }
    }

    /// What the daemon makes of the surrogates that the original client sends
    /// as escapes in JSON.
    fn mended(&self) -> PyResult<String> {
        let utf16 = self.string.call_method1("encode", ("utf-16-le", "surrogatepass"))?;
        let utf16 = utf16.cast_into::<PyBytes>()?;
        let (units, _) = utf16.as_bytes().as_chunks();
        let units = units.iter().map(|unit| u16::from_le_bytes(*unit));
        Ok(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
    }
}
