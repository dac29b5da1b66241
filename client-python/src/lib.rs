//! The native half of the Python handler.
//! Calls from Python -> the client in the `loghog` crate.
//! Invariant: every wait happens without the interpreter's lock; no thread of ours ever calls into Python.
//! Leaves out: everything that Python does as well (`python/loghog/handler.py`).

#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap
)]

mod fields;
mod known;
mod template;
mod text;

use std::path::PathBuf;
use std::time::Duration;

use loghog::{
    Compression, Error, Message, Protocol, Record, Tls, TlsError, Transport, builder, limits,
};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::fields::Fields;
use crate::known::Found;
use crate::template::Template;
use crate::text::Text;

/// A wait looks this often for a Ctrl-C.
const SIGNAL_SLICE: Duration = Duration::from_millis(50);

/// Bytes that each message of `max_buffer_size` may count on, where the
/// client's own bound on bytes would hold fewer.
const MESSAGE_BYTES: usize = 1 << 10;

/// One application's way to one server.
#[pyclass(frozen, module = "loghog._loghog")]
struct Client {
    inner: loghog::Client,
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (app, hosts, port, *, transport, protocol, secret, compression, hostname, max_buffer_size, spool_dir=None, spool_bytes=None, pemfile=None, cacert=None, server_hostname=None, check_hostname=true))]
    #[expect(clippy::too_many_arguments, reason = "one for each of Python's, by keyword")]
    fn new(
        app: Text<'_>,
        hosts: Vec<String>,
        port: u16,
        transport: &str,
        protocol: &str,
        secret: Option<Vec<u8>>,
        compression: &str,
        hostname: Text<'_>,
        max_buffer_size: usize,
        spool_dir: Option<PathBuf>,
        spool_bytes: Option<u64>,
        pemfile: Option<PathBuf>,
        cacert: Option<PathBuf>,
        server_hostname: Option<String>,
        check_hostname: bool,
    ) -> PyResult<Self> {
        let transport = match (transport, pemfile, cacert) {
            ("tcp", None, None) => Transport::Tcp,
            ("udp", None, None) => Transport::Udp,
            ("tls", Some(pemfile), Some(cacert)) => {
                let tls = Tls::new(pemfile, cacert).verify_name(check_hostname);
                Transport::Tls(match server_hostname {
                    Some(name) => tls.server_name(name),
                    None => tls,
                })
            }
            _ => return Err(PyValueError::new_err("certificates and transport do not fit")),
        };
        let queue_bytes = max_buffer_size.saturating_mul(MESSAGE_BYTES);
        let mut builder = builder(app.read()?)
            .addresses(hosts)
            .port(port)
            .transport(transport)
            .protocol(protocol_of(protocol)?)
            .secret(secret.unwrap_or_default())
            .compression(compression_of(compression)?)
            .spool_bytes(spool_bytes.unwrap_or(limits::SPOOL_BYTES))
            .hostname(hostname.read()?)
            // While the server can be reached a burst is bounded in bytes only,
            // as the original was not bounded at all then.
            .queue_messages(usize::MAX)
            .queue_bytes(queue_bytes.max(limits::QUEUE_BYTES));
        builder = match spool_dir {
            // What waits is on its way into the spool: a burst during an outage
            // is bounded in bytes only as well.
            Some(dir) => builder.spool(dir),
            None => builder.outage_messages(max_buffer_size),
        };
        Ok(Client { inner: builder.build_client().map_err(raised)? })
    }

    /// Queues one message. Never waits for the network.
    fn send(&self, module: Text<'_>, created: f64, msecs: f64, body: Text<'_>) -> PyResult<()> {
        self.send_v1(&module.read()?, created, msecs, &body.read()?);
        Ok(())
    }

    /// Queues one message with all that is known of it. Never waits for the
    /// network. `exception` is the text that ends `body` where there is one;
    /// what is odd in level, process or fields costs itself alone.
    #[expect(clippy::too_many_arguments, reason = "what a LogRecord has")]
    fn send_record(
        &self,
        logger: Text<'_>,
        created: f64,
        level: &Bound<'_, PyAny>,
        thread: Text<'_>,
        process: &Bound<'_, PyAny>,
        body: Text<'_>,
        exception: Option<Text<'_>>,
        fields: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        let body = body.read()?;
        let exception = exception.as_ref().map(Text::read).transpose()?;
        let fields = Fields::read(fields);
        self.inner.send_record(&Record {
            time_ns: nanoseconds(created),
            level: level_of(level),
            logger: &logger.read()?,
            thread: &thread.read()?,
            process_id: process.extract().unwrap_or(0),
            body: &body,
            exception_at: exception.filter(|text| !text.is_empty()).and_then(|t| body.rfind(&*t)),
            fields: &fields.as_wire(),
        });
        Ok(())
    }

    /// Formats and queues a whole record, in one call; false when it does not
    /// fit the template, and nothing has happened yet. `fields` knows the fields
    /// of a record, and is asked when it `has_own` or the record brings some;
    /// none: protocol 1. Never waits for the network.
    fn log(
        &self,
        record: &Bound<'_, PyAny>,
        template: &Bound<'_, Template>,
        fields: Option<&Bound<'_, PyAny>>,
        has_own: bool,
    ) -> PyResult<bool> {
        let (py, template) = (record.py(), template.get());
        let Some(plain) = template.fit(record)? else { return Ok(false) };
        let known = |name| plain.attributes.get_item(name);
        let (Some(name), Some(created)) =
            (known(intern!(py, "name"))?, known(intern!(py, "created"))?)
        else {
            return Ok(false);
        };
        let Ok(created) = created.extract::<f64>() else { return Ok(false) };
        let Some(fields) = fields else {
            let msecs = known(intern!(py, "msecs"))?.and_then(|msecs| msecs.extract().ok());
            let Some(msecs) = msecs else { return Ok(false) };
            let body = template.write(&plain)?;
            self.send_v1(&template.logger(&name)?.read()?, created, msecs, &body);
            return Ok(true);
        };
        let body = template.write(&plain)?;
        let name = template.logger(&name)?;
        let thread = match known(intern!(py, "threadName"))? {
            Some(name) if !name.is_none() && name.is_truthy()? => Some(template.thread(&name)?),
            _ => None,
        };
        let thread = thread.as_ref().map(Found::read).transpose()?;
        let level = known(intern!(py, "levelno"))?;
        let process = known(intern!(py, "process"))?;
        let asked = match (template.has_extra(&plain), has_own) {
            (true, _) => Some(intern!(py, "of")),
            (false, true) => Some(intern!(py, "without_extra")),
            (false, false) => None,
        };
        let fields = match asked {
            Some(name) => Fields::read(fields.call_method1(name, (record,))?.cast::<PyDict>()?),
            None => Fields::default(),
        };
        self.inner.send_record(&Record {
            time_ns: nanoseconds(created),
            level: level.map_or(0, |level| level_of(&level)),
            logger: &name.read()?,
            thread: thread.as_deref().unwrap_or_default(),
            process_id: process.and_then(|process| process.extract().ok()).unwrap_or(0),
            body: &body,
            exception_at: None,
            fields: &fields.as_wire(),
        });
        Ok(true)
    }

    /// Waits until all that was sent before is in the kernel's hands, in
    /// protocol 2 safe with the server; false when it is not within so many
    /// seconds.
    fn flush(&self, py: Python<'_>, limit: f64, unreachable_limit: f64) -> PyResult<bool> {
        let flush = self.inner.begin_flush(seconds(limit), seconds(unreachable_limit));
        loop {
            // The flush is made and dropped under the interpreter's lock, and
            // waited for without it.
            if let Some(done) = py.detach(|| flush.wait(SIGNAL_SLICE)) {
                return Ok(done);
            }
            py.check_signals()?;
        }
    }

    /// Ends the thread and the connection, and waits at most so many seconds
    /// for both; what still waits then is lost and counted, or stays in the
    /// spool.
    fn close(&self, py: Python<'_>, limit: f64) {
        py.detach(|| self.inner.close(seconds(limit)));
    }

    /// What became of the messages so far.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.inner.stats();
        let dict = PyDict::new(py);
        dict.set_item("enqueued", stats.enqueued)?;
        dict.set_item("written", stats.written)?;
        dict.set_item("written_bytes", stats.written_bytes)?;
        dict.set_item("queued", stats.queued)?;
        dict.set_item("dropped_queue_full", stats.dropped.queue_full)?;
        dict.set_item("dropped_spool_full", stats.dropped.spool_full)?;
        dict.set_item("dropped_spool_failed", stats.dropped.spool_failed)?;
        dict.set_item("dropped_too_large", stats.dropped.too_large)?;
        dict.set_item("dropped_closed", stats.dropped.closed)?;
        dict.set_item("reconnects", stats.reconnects)?;
        dict.set_item("failures", stats.failures)?;
        dict.set_item("sent", stats.sent)?;
        dict.set_item("resent", stats.resent)?;
        dict.set_item("acknowledged", stats.acknowledged)?;
        dict.set_item("refused", stats.refused)?;
        dict.set_item("spooled", stats.spooled)?;
        dict.set_item("spool_bytes", stats.spool_bytes)?;
        dict.set_item("damaged", stats.damaged)?;
        dict.set_item("failovers", stats.failovers)?;
        dict.set_item("last_failure", self.inner.last_failure())?;
        Ok(dict)
    }

    /// The newest failures as text; each is returned once.
    fn take_failures(&self) -> Vec<String> {
        self.inner.take_failures()
    }

    /// In a child, after a fork: the client to use there, and the parent's
    /// socket to close there. Takes no lock.
    fn inherited(&self) -> (Client, Option<i32>) {
        let inherited = self.inner.inherited();
        (Client { inner: inherited.client }, inherited.socket)
    }
}

impl Client {
    fn send_v1(&self, module: &str, created: f64, msecs: f64, body: &str) {
        self.inner.send(&Message {
            module,
            stamp: whole(created),
            nsecs: u32::try_from(whole((msecs * 1e6).clamp(0.0, 999_999_999.0))).unwrap_or(0),
            body,
        });
    }
}

fn level_of(level: &Bound<'_, PyAny>) -> u8 {
    level.extract().map_or(0, |level: i64| u8::try_from(level.clamp(0, 255)).unwrap_or(0))
}

fn protocol_of(name: &str) -> PyResult<Protocol> {
    match name {
        "1" => Ok(Protocol::V1),
        "2" => Ok(Protocol::V2),
        "auto" => Ok(Protocol::Auto),
        _ => Err(PyValueError::new_err(format!("protocol is {name:?}"))),
    }
}

fn compression_of(name: &str) -> PyResult<Compression> {
    match name {
        "none" => Ok(Compression::None),
        "zlib" => Ok(Compression::Zlib),
        "zstd" => Ok(Compression::Zstd),
        _ => Err(PyValueError::new_err(format!("compression is {name:?}"))),
    }
}

/// To the microsecond: a float of today has no more.
fn nanoseconds(seconds: f64) -> i64 {
    whole((seconds * 1e6).round()).saturating_mul(1_000)
}

/// Rounded towards zero and stopped at the ends, as int() does and the wire
/// demands; 0 of what is not a number.
#[expect(clippy::cast_possible_truncation, reason = "that is what is wanted")]
fn whole(number: f64) -> i64 {
    number as i64
}

fn seconds(seconds: f64) -> Duration {
    // Negative and not a number: no time at all. Too large: for ever.
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

fn raised(error: Error) -> PyErr {
    match &error {
        // OSError makes of the number the class that fits: FileNotFoundError.
        Error::Tls(TlsError::Read { path, source, .. }) if source.raw_os_error().is_some() => {
            PyOSError::new_err((source.raw_os_error(), source.to_string(), path.clone()))
        }
        _ => PyValueError::new_err(error.to_string()),
    }
}

// Nothing here counts on the interpreter's lock: a `Client` does not change, what
// is behind it has locks of its own, and the dict of fields belongs to its caller.
#[pymodule(gil_used = false)]
mod _loghog {
    #[pymodule_export]
    use super::Client;
    #[pymodule_export]
    use super::Template;

    /// The wheel's version.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
