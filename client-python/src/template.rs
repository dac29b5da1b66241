//! Formats records as Python's own formatter does, without running its code.
//! What a `logging.Formatter` puts together, a `LogRecord` -> the same text, or none.
//! Invariant: the text is the one that the formatter itself would have made; in doubt there is none.
//! Leaves out: times, exceptions, anything but plain texts (`logging` makes those).

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyType};

use crate::text::Text;

/// A formatter's format, taken apart: `%(levelname)s - %(message)s`.
#[pyclass(frozen, module = "loghog._loghog")]
pub(crate) struct Template {
    /// The `logging.PercentStyle`, and the format that it had.
    style: Py<PyAny>,
    format: Py<PyString>,
    pieces: Vec<Piece>,
    /// `logging.LogRecord`: others may have a `getMessage` of their own.
    record_type: Py<PyType>,
    /// How many attributes a record has that nobody has added any to.
    attributes: usize,
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
    /// Whether somebody has added to it, by `extra` or otherwise.
    pub(crate) has_extra: bool,
    message: Bound<'py, PyString>,
    arguments: Bound<'py, PyAny>,
}

#[pymethods]
impl Template {
    /// `None` for a format that does more than put texts together.
    #[staticmethod]
    fn of(
        style: &Bound<'_, PyAny>,
        record_type: &Bound<'_, PyType>,
        attributes: usize,
    ) -> PyResult<Option<Template>> {
        let format = style.getattr(intern!(style.py(), "_fmt"))?;
        let Ok(format) = format.cast_into_exact::<PyString>() else { return Ok(None) };
        let Ok(text) = format.extract::<String>() else { return Ok(None) };
        Ok(pieces(format.py(), &text).map(|pieces| Template {
            style: style.clone().unbind(),
            format: format.unbind(),
            pieces,
            record_type: record_type.clone().unbind(),
            attributes,
        }))
    }
}

impl Template {
    /// `None` when only the formatter itself knows what becomes of the record.
    pub(crate) fn fit<'py>(&self, record: &Bound<'py, PyAny>) -> PyResult<Option<Plain<'py>>> {
        let py = record.py();
        let format = self.style.bind(py).getattr(intern!(py, "_fmt"))?;
        if !record.get_type().is(&self.record_type) || !format.is(&self.format) {
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
        // What formatters leave in a record.
        let mut count = attributes.len();
        for name in [intern!(py, "message"), intern!(py, "asctime")] {
            count -= usize::from(attributes.contains(name)?);
        }
        let has_extra = count != self.attributes;
        Ok(Some(Plain { attributes, has_extra, message, arguments }))
    }

    /// The text; raises what the formatter would. As the formatter does, it
    /// leaves the message in the record.
    pub(crate) fn write(&self, plain: &Plain<'_>) -> PyResult<String> {
        let py = plain.attributes.py();
        let message = match plain.arguments.is_truthy()? {
            true => plain.message.as_any().rem(&plain.arguments)?,
            false => plain.message.clone().into_any(),
        };
        plain.attributes.set_item(intern!(py, "message"), &message)?;
        let message: Text<'_> = message.extract()?;
        let message = message.read()?;
        let mut out = String::with_capacity(message.len() + 32);
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Message => out.push_str(&message),
                Piece::Attribute(name) => {
                    let value = plain.attributes.as_any().get_item(name.bind(py))?;
                    out.push_str(&value.extract::<Text<'_>>()?.read()?);
                }
            }
        }
        Ok(out)
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
