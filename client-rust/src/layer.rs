//! The layer for the `tracing` crate.
//! An event and the spans around it -> a `Record` with fields.
//! Invariant: logging neither waits nor fails, and what the sender's libraries say is not sent.
//! Leaves out: the queue and all behind it (`client`).

use std::error::Error;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::SystemTime;

use log::LevelFilter;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as SpanRecord};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Scope};
use wire::v2::batch::Record;

use crate::client::Client;
use crate::fields::{Fields, Owned};
use crate::logger::since_1970;
use crate::{send, text};

/// A [`tracing_subscriber::Layer`] that sends events to a LogHog server; see
/// [`Builder::layer`](crate::Builder::layer).
///
/// The target of an event, `::` written as `.`, is the module that the server
/// looks for among its facilities. Its message is the text; its other fields,
/// and those of all spans around it, travel beside. Where a key stands in
/// several, the event counts before the spans, and an inner span before an outer
/// one. The field `span` names the spans, outermost first: `request:query`.
///
/// An error is sent with those that caused it: `cannot save: disk full`. What
/// comes from the `log` crate by way of `tracing-log` has its own target as the
/// module. To send less than to other layers, give this one a filter.
#[derive(Clone, Debug)]
pub struct Layer {
    pub(crate) client: Arc<Client>,
    pub(crate) level: LevelFilter,
}

impl Layer {
    /// The client below: counters, `flush` with a limit, `close`.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

/// The fields of a span, kept with it.
struct OfSpan(Fields);

impl<S> tracing_subscriber::Layer<S> for Layer
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut Taken::fields(&mut fields));
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(OfSpan(fields.into_shared()));
        }
    }

    fn on_record(&self, id: &Id, values: &SpanRecord<'_>, context: Context<'_, S>) {
        // Formatting may log, and so read the span: not under its lock.
        let mut fields = Fields::default();
        values.record(&mut Taken::fields(&mut fields));
        if let Some(span) = context.span(id)
            && let Some(OfSpan(known)) = span.extensions_mut().get_mut()
        {
            known.put_all(&fields.into_shared());
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        if send::is_sender() || !self.takes(metadata) {
            return;
        }
        let mut fields = Fields::default();
        if let Some(scope) = context.event_scope(event) {
            put_spans(scope, &mut fields);
        }
        let mut text = text::take();
        let mut taken = Taken {
            body: Some(&mut text),
            is_foreign: metadata.target() == LOG_TARGET,
            ..Taken::fields(&mut fields)
        };
        event.record(&mut taken);
        let target = taken.target.take();
        let target = target.as_deref().unwrap_or(metadata.target());
        let body_end = text.len();
        let is_dotted = text::put_module(target, &mut text) > 0;
        let (body, module) = text.split_at_checked(body_end).unwrap_or((&text, ""));
        let (stamp, nsecs) = since_1970(SystemTime::now());
        let thread = std::thread::current();
        let record = Record {
            time_ns: stamp.saturating_mul(1_000_000_000).saturating_add(i64::from(nsecs)),
            level: level_number(*metadata.level()),
            logger: if is_dotted { module } else { target },
            thread: thread.name().unwrap_or_default(),
            process_id: self.client.process_id(),
            body,
            exception_at: None,
            fields: &fields.as_wire(),
        };
        self.client.submit(&record, true);
        text::give_back(text);
    }
}

impl Layer {
    fn takes(&self, metadata: &Metadata<'_>) -> bool {
        let level = match *metadata.level() {
            Level::ERROR => LevelFilter::Error,
            Level::WARN => LevelFilter::Warn,
            Level::INFO => LevelFilter::Info,
            Level::DEBUG => LevelFilter::Debug,
            Level::TRACE => LevelFilter::Trace,
        };
        level <= self.level
    }
}

/// Puts the fields of all spans, the innermost last, and their names.
fn put_spans<S>(scope: Scope<'_, S>, fields: &mut Fields)
where
    S: for<'lookup> LookupSpan<'lookup>,
{
    let mut names = String::new();
    for span in scope.from_root() {
        if !names.is_empty() {
            names.push(':');
        }
        names.push_str(span.name());
        if let Some(OfSpan(of_span)) = span.extensions().get() {
            fields.put_all(of_span);
        }
    }
    fields.put("span", Owned::Text(names));
}

/// Python's number of a level; it has none below DEBUG, 10.
fn level_number(level: Level) -> u8 {
    match level {
        Level::TRACE => 5,
        Level::DEBUG => 10,
        Level::INFO => 20,
        Level::WARN => 30,
        Level::ERROR => 40,
    }
}

/// What `tracing-log` gives all events that come from the `log` crate.
const LOG_TARGET: &str = "log";

/// Takes values as fields, and the message as the text, if there is to be one.
struct Taken<'a> {
    fields: &'a mut Fields,
    body: Option<&'a mut String>,
    /// Where it comes from, if it came by way of the `log` crate.
    target: Option<String>,
    /// It comes from the `log` crate: what `tracing-log` adds is no field.
    is_foreign: bool,
}

impl<'a> Taken<'a> {
    fn fields(fields: &'a mut Fields) -> Self {
        Taken { fields, body: None, target: None, is_foreign: false }
    }

    fn put(&mut self, field: &Field, value: Owned) {
        if !(self.is_foreign && field.name().starts_with("log.")) {
            self.fields.put(field.name(), value);
        }
    }

    fn text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if let (Some(body), "message") = (&mut self.body, field.name()) {
            return write(body, value);
        }
        let mut text = String::new();
        write(&mut text, value);
        match self.is_foreign && field.name() == "log.target" {
            true => self.target = Some(text),
            false => self.put(field, Owned::Text(text)),
        }
    }
}

/// A value that cannot be formatted costs itself, not what stands before.
fn write(out: &mut String, value: fmt::Arguments<'_>) {
    if out.write_fmt(value).is_err() {
        out.push_str(" (the rest could not be formatted)");
    }
}

/// An error, and what caused it.
struct Chain<'a>(&'a (dyn Error + 'static));

/// No error has more causes; one that is its own would have no end.
const CAUSES_MAX: usize = 32;

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let causes = std::iter::successors(self.0.source(), |error| (**error).source());
        causes.take(CAUSES_MAX).try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl Visit for Taken<'_> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Owned::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Owned::Int(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.put(field, Owned::Int(value)),
            Err(_) => self.put(field, Owned::Json(value.to_string())),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Owned::Float(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.text(field, format_args!("{}", Chain(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }
}
