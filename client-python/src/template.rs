//! Formats records as Python's own formatter does, without running its code.
//! What a `logging.Formatter` puts together, a `LogRecord` -> the same text, or none.
//! Invariant: the text is the one that the formatter itself would have made; in doubt there is none.
//! Leaves out: times, exceptions, anything but plain texts (`logging` makes those).

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyType};

use crate::known::{Found, Known};
use crate::text::Text;

/// A formatter's format, taken apart: `%(levelname)s - %(message)s`.
#[pyclass(frozen, module = "loghog._loghog")]
pub(crate) struct Template {
    /// What the formatter had: its attributes, and of these its
    /// `logging.PercentStyle`, with this format.
    formatter: Py<PyDict>,
    formatter_len: usize,
    style: Py<PyAny>,
    format: Py<PyString>,
    pieces: Vec<Piece>,
    /// `logging.LogRecord`: others may have a `getMessage` of their own.
    record_type: Py<PyType>,
    /// The attributes of a record that nobody has added any to, in their order:
    /// new, with its message, and with its time as well.
    attributes: [Py<PyList>; 3],
    /// What these attributes were, of the records so far.
    pieces_known: Known,
    loggers_known: Known,
    threads_known: Known,
}

enum Piece {
    Literal(String),
    Message,
    /// Another attribute of the record.
    Attribute(Py<PyString>),
}

/// A record that a template fits, not formatted yet.
pub(crate) struct Plain<'py> {
    pub(crate) attributes: Bound<'py, PyDict>,
    message: Bound<'py, PyString>,
    arguments: Bound<'py, PyAny>,
}

#[pymethods]
impl Template {
    /// `None` for a format that does more than put texts together.
    #[staticmethod]
    fn of(
        formatter: &Bound<'_, PyAny>,
        record_type: &Bound<'_, PyType>,
        attributes: Vec<String>,
    ) -> PyResult<Option<Template>> {
        let py = formatter.py();
        let style = formatter.getattr(intern!(py, "_style"))?;
        let formatter = formatter.getattr(intern!(py, "__dict__"))?.cast_into::<PyDict>()?;
        let format = style.getattr(intern!(py, "_fmt"))?;
        let Ok(format) = format.cast_into_exact::<PyString>() else { return Ok(None) };
        let Ok(text) = format.extract::<String>() else { return Ok(None) };
        let Some(pieces) = pieces(py, &text) else { return Ok(None) };
        // What formatters leave in a record, and in which order.
        let left: [&[&str]; 3] = [&[], &["message"], &["message", "asctime"]];
        let attributes = left.map(|left| {
            let names = attributes.iter().map(String::as_str).chain(left.iter().copied());
            PyList::new(py, names.map(|name| PyString::intern(py, name)).collect::<Vec<_>>())
        });
        let [new, with_message, with_time] = attributes;
        Ok(Some(Template {
            formatter_len: formatter.len(),
            formatter: formatter.unbind(),
            style: style.unbind(),
            format: format.unbind(),
            pieces,
            record_type: record_type.clone().unbind(),
            attributes: [new?.unbind(), with_message?.unbind(), with_time?.unbind()],
            pieces_known: Known::default(),
            loggers_known: Known::default(),
            threads_known: Known::default(),
        }))
    }
}

impl Template {
    /// `None` when only the formatter itself knows what becomes of the record.
    pub(crate) fn fit<'py>(&self, record: &Bound<'py, PyAny>) -> PyResult<Option<Plain<'py>>> {
        let py = record.py();
        if !record.get_type().is(&self.record_type) || !self.is_as_it_was(py)? {
            return Ok(None);
        }
        let attributes = record.getattr(intern!(py, "__dict__"))?.cast_into::<PyDict>()?;
        for name in [intern!(py, "exc_info"), intern!(py, "exc_text"), intern!(py, "stack_info")] {
            if attributes.get_item(name)?.is_none_or(|value| value.is_truthy().unwrap_or(true)) {
                return Ok(None);
            }
        }
        for piece in &self.pieces {
            if let Piece::Attribute(name) = piece
                && text(&attributes, name.bind(py))?.is_none()
            {
                return Ok(None);
            }
        }
        let Some(message) = text(&attributes, intern!(py, "msg"))? else { return Ok(None) };
        let Some(arguments) = attributes.get_item(intern!(py, "args"))? else { return Ok(None) };
        Ok(Some(Plain { attributes, message, arguments }))
    }

    /// Whether the formatter still does what it did when it was taken apart.
    fn is_as_it_was(&self, py: Python<'_>) -> PyResult<bool> {
        let formatter = self.formatter.bind(py);
        let style = formatter.get_item(intern!(py, "_style"))?;
        Ok(formatter.len() == self.formatter_len
            && style.is_some_and(|style| style.is(&self.style))
            && self.style.bind(py).getattr(intern!(py, "_fmt"))?.is(&self.format))
    }

    /// The text; raises what the formatter would. As the formatter does, it
    /// leaves the message in the record.
    pub(crate) fn write(&self, plain: &Plain<'_>) -> PyResult<String> {
        let py = plain.attributes.py();
        let message = match plain.arguments.is_truthy()? {
            true => plain.message.as_any().rem(&plain.arguments)?,
            false => plain.message.clone().into_any(),
        };
        plain.attributes.set_item(intern!(py, "message"), message)?;
        match self.put_together(&plain.attributes)? {
            Some(text) => Ok(text),
            // What an argument has made of the message or the record may be
            // anything, and half of a pair may stand in each of two texts.
            None => {
                let text = self.format.bind(py).as_any().rem(&plain.attributes)?;
                Ok(text.extract::<Text<'_>>()?.read()?.into_owned())
            }
        }
    }

    /// `None` when they are not all plain texts.
    fn put_together(&self, attributes: &Bound<'_, PyDict>) -> PyResult<Option<String>> {
        let py = attributes.py();
        let mut out = String::with_capacity(128);
        for piece in &self.pieces {
            let found = match piece {
                Piece::Literal(text) => {
                    out.push_str(text);
                    continue;
                }
                Piece::Message => match text(attributes, intern!(py, "message"))? {
                    Some(message) => Found::Read(message.extract()?),
                    None => return Ok(None),
                },
                Piece::Attribute(name) => match text(attributes, name.bind(py))? {
                    Some(value) => self.pieces_known.get(value.as_any())?,
                    None => return Ok(None),
                },
            };
            match found.as_utf8() {
                Some(text) => out.push_str(&text),
                None => return Ok(None),
            }
        }
        Ok(Some(out))
    }

    /// Whether somebody has added to a record, by `extra` or otherwise; also in
    /// doubt, as when its attributes stand in another order.
    pub(crate) fn has_extra(&self, plain: &Plain<'_>) -> bool {
        let (py, attributes) = (plain.attributes.py(), &plain.attributes);
        let count = attributes.len();
        let Some(usual) = self.attributes.iter().find(|usual| usual.bind(py).len() == count) else {
            return true;
        };
        // In one step, which mostly compares where strings lie.
        !attributes.keys().eq(usual).unwrap_or(false)
    }

    /// The name of a record's logger.
    pub(crate) fn logger<'py>(&self, name: &Bound<'py, PyAny>) -> PyResult<Found<'_, 'py>> {
        self.loggers_known.get(name)
    }

    /// The name of a record's thread.
    pub(crate) fn thread<'py>(&self, name: &Bound<'py, PyAny>) -> PyResult<Found<'_, 'py>> {
        self.threads_known.get(name)
    }
}

/// An attribute that is a `str` and nothing else.
fn text<'py>(
    attributes: &Bound<'py, PyDict>,
    name: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyString>>> {
    let value = attributes.get_item(name)?;
    Ok(value.and_then(|value| value.cast_into_exact::<PyString>().ok()))
}

/// Takes a format apart; `None` when there is anything in it but `%(name)s`.
fn pieces(py: Python<'_>, format: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some((before, behind)) = rest.split_once('%') {
        if !before.is_empty() {
            pieces.push(Piece::Literal(before.to_owned()));
        }
        let (name, behind) = behind.strip_prefix('(')?.split_once(")s")?;
        // Python counts brackets.
        if name.contains(['(', ')']) {
            return None;
        }
        pieces.push(match name {
            "message" => Piece::Message,
            // The formatter writes the time here, once for each record.
            "asctime" => return None,
            _ => Piece::Attribute(PyString::intern(py, name).unbind()),
        });
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest.to_owned()));
    }
    Some(pieces)
}
