//! Texts that come again and again: names of loggers, of levels, of threads.
//! A Python string -> its UTF-8, read once.
//! Invariant: a text is the one of the very object that was asked about.
//! Leaves out: strings that differ each time; texts with surrogates (`text`).

use std::borrow::Cow;
use std::sync::OnceLock;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::text::Text;

/// How many texts are remembered. Further ones are read each time: a program
/// logs with a few names, or with so many that none of them counts.
const TEXTS_MAX: usize = 8;

/// The longest text that is remembered, in bytes; a longer one is read each
/// time.
const TEXT_BYTES_MAX: usize = 128;

/// The first few that were asked about.
#[derive(Default)]
pub(crate) struct Known([Place; TEXTS_MAX]);

type Place = OnceLock<(Py<PyString>, Box<str>)>;

/// A text, remembered or read.
pub(crate) enum Found<'a, 'py> {
    Known(&'a str),
    Read(Text<'py>),
}

impl Known {
    pub(crate) fn get<'py>(&self, object: &Bound<'py, PyAny>) -> PyResult<Found<'_, 'py>> {
        for place in &self.0 {
            match place.get() {
                // It is held here, so nothing else can be where it is.
                Some((known, text)) if known.is(object) => return Ok(Found::Known(text)),
                Some(_) => {}
                None => return self.read(object, place),
            }
        }
        object.extract().map(Found::Read)
    }

    fn read<'py>(&self, object: &Bound<'py, PyAny>, place: &Place) -> PyResult<Found<'_, 'py>> {
        let text: Text<'_> = object.extract()?;
        // Only a `str` itself is the same for ever.
        if let Ok(string) = object.cast_exact::<PyString>()
            && let Some(utf8) = text.as_utf8().filter(|utf8| utf8.len() <= TEXT_BYTES_MAX)
        {
            // Another thread may have been quicker: then it is read once more. No
            // fork of Python's finds a place half taken: it takes the interpreter's
            // lock, or stops all other threads between their native calls.
            let _ = place.set((string.clone().unbind(), utf8.into()));
        }
        Ok(Found::Read(text))
    }
}

impl Found<'_, '_> {
    /// None when there are surrogates in it.
    pub(crate) fn as_utf8(&self) -> Option<Cow<'_, str>> {
        match self {
            Found::Known(text) => Some(Cow::Borrowed(text)),
            Found::Read(text) => text.as_utf8(),
        }
    }

    pub(crate) fn read(&self) -> PyResult<Cow<'_, str>> {
        match self {
            Found::Known(text) => Ok(Cow::Borrowed(text)),
            Found::Read(text) => text.read(),
        }
    }
}
