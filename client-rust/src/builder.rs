//! What a program says to get a client.
//! Calls on a `Builder` -> a `Logger`, a `Client`, or every reason why not.
//! Invariant: what is built can be used; names and files were checked, the network was not.
//! Leaves out: defaults that are limits (`limits`).

mod check;
mod choices;
mod error;

use std::fmt::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use log::{LevelFilter, Record};
use wire::signature::Key;

use self::check::machine_name;
pub use self::choices::{Compression, PORT, PORT_TLS, Protocol, Transport};
pub use self::error::Error;
use crate::client::{Client, Settings};
use crate::limits::{FLUSH_LIMIT, PREFER_AGAIN, QUEUE_BYTES, QUEUE_MESSAGES, SPOOL_BYTES};
use crate::logger::{Format, Guard, Logger};

/// Begins to build a client for an application, by the name under which the
/// server's `facilities.conf` lists it.
pub fn builder(app: impl Into<String>) -> Builder {
    Builder {
        app: app.into(),
        addresses: vec!["localhost".into()],
        port: None,
        transport: Transport::default(),
        secret: None,
        compression: Compression::None,
        protocol: Protocol::default(),
        spool: None,
        spool_bytes: SPOOL_BYTES,
        prefer_again: PREFER_AGAIN,
        hostname: None,
        queue_bytes: QUEUE_BYTES,
        queue_messages: QUEUE_MESSAGES,
        outage_messages: None,
        level: LevelFilter::Info,
        format: None,
        flush_limit: FLUSH_LIMIT,
    }
}

/// A client to be; see [`builder`].
#[derive(Clone)]
pub struct Builder {
    app: String,
    addresses: Vec<String>,
    port: Option<u16>,
    transport: Transport,
    secret: Option<Vec<u8>>,
    compression: Compression,
    protocol: Protocol,
    spool: Option<PathBuf>,
    spool_bytes: u64,
    prefer_again: Duration,
    hostname: Option<String>,
    queue_bytes: usize,
    queue_messages: usize,
    outage_messages: Option<usize>,
    level: LevelFilter,
    format: Option<Arc<Format>>,
    flush_limit: Duration,
}

impl Builder {
    /// The server: `host`, `host:port`, an IPv4 address, an IPv6 address with
    /// or without brackets, or `[address]:port`. `localhost` unless told
    /// otherwise.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.addresses = vec![address.into()];
        self
    }

    /// Several servers, in order of preference. When one cannot be reached, the
    /// next is tried; a v2 session goes back to a better one when that is there
    /// again. A server has each message once; after a change two servers may
    /// have the same ones.
    pub fn addresses<A: Into<String>>(mut self, addresses: impl IntoIterator<Item = A>) -> Self {
        self.addresses = addresses.into_iter().map(Into::into).collect();
        self
    }

    /// How long after a failover a better server is tried again, and again; a
    /// minute unless told otherwise.
    pub fn prefer_again(mut self, after: Duration) -> Self {
        self.prefer_again = after;
        self
    }

    /// Which protocol is spoken; version 1 unless told otherwise.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// A folder in which messages are kept until the server has acknowledged
    /// them: they outlast a crash of the program, and the next one that is
    /// given the same folder and application sends them. Any number of
    /// processes may share it. The protocol is version 2 then.
    ///
    /// What is written there is in the kernel's hands at once, and synced to
    /// the disk every second: a power failure may take the last second. The
    /// client's thread starts when the client is built. A disk that is full or
    /// refuses never holds up the program: messages wait in memory then.
    pub fn spool(mut self, dir: impl Into<PathBuf>) -> Self {
        self.spool = Some(dir.into());
        self
    }

    /// How many bytes each process may keep in the spool; 1 GiB unless told
    /// otherwise. Beyond, what is in it stays, and newer messages wait in
    /// memory, where the oldest are dropped when that is full as well.
    pub fn spool_bytes(mut self, bytes: u64) -> Self {
        self.spool_bytes = bytes;
        self
    }

    /// The server's port, where the address does not say it: 5566, and 5577
    /// for TLS, unless told otherwise.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// How the messages travel; TCP unless told otherwise.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// The secret shared with the server, to sign every message. An empty one
    /// is none.
    pub fn secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.secret = Some(secret.as_ref().to_vec()).filter(|secret| !secret.is_empty());
        self
    }

    /// How messages are compressed; not at all unless told otherwise. `true` is
    /// zlib.
    pub fn compression(mut self, compression: impl Into<Compression>) -> Self {
        self.compression = compression.into();
        self
    }

    /// The host name that the messages carry; the machine's unless told
    /// otherwise.
    pub fn hostname(mut self, hostname: impl Into<String>) -> Self {
        self.hostname = Some(hostname.into()).filter(|hostname| !hostname.is_empty());
        self
    }

    /// How many bytes of messages may wait; 16 MiB unless told otherwise.
    /// Beyond, the oldest are dropped.
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// How many messages may wait; 100,000 unless told otherwise. Beyond, the
    /// oldest are dropped.
    pub fn queue_messages(mut self, messages: usize) -> Self {
        self.queue_messages = messages;
        self
    }

    /// How many messages may wait while the server cannot be reached; as many
    /// as at other times unless told otherwise.
    pub fn outage_messages(mut self, messages: usize) -> Self {
        self.outage_messages = Some(messages);
        self
    }

    /// The most verbose level that is sent; `Info` unless told otherwise.
    pub fn level(mut self, level: LevelFilter) -> Self {
        self.level = level;
        self
    }

    /// What a message's text is. Unless told otherwise it is
    /// `LEVEL - message key=value` in v1, and the message alone in v2, where
    /// level and key-values travel beside it; [`level_and_message`] is the
    /// former. The time and the host need not be in it: the server writes them.
    ///
    /// [`level_and_message`]: crate::level_and_message
    pub fn format<F>(mut self, format: F) -> Self
    where
        F: Fn(&mut dyn Write, &Record<'_>) -> fmt::Result + Send + Sync + 'static,
    {
        self.format = Some(Arc::new(format));
        self
    }

    /// How long `Log::flush` and the [`Guard`] wait; five seconds unless told
    /// otherwise.
    pub fn flush_limit(mut self, limit: Duration) -> Self {
        self.flush_limit = limit;
        self
    }

    /// Makes the client the logger of the whole program, and `level` the most
    /// verbose that the `log` crate lets pass.
    pub fn install(self) -> Result<Guard, Error> {
        let logger = self.build()?;
        let guard = Guard { client: Arc::clone(&logger.client), limit: logger.flush_limit };
        let level = logger.level;
        log::set_boxed_logger(Box::new(logger))?;
        log::set_max_level(level);
        Ok(guard)
    }

    /// A logger that is not installed: to use it beside others.
    pub fn build(self) -> Result<Logger, Error> {
        Ok(Logger {
            client: Arc::new(self.build_client()?),
            level: self.level,
            format: self.format,
            flush_limit: self.flush_limit,
        })
    }

    /// A layer for the `tracing` crate, and the guard to keep in `main`. Events
    /// are sent up to the builder's `level`; its `format` is not used.
    ///
    /// ```no_run
    /// use tracing_subscriber::layer::SubscriberExt;
    /// use tracing_subscriber::util::SubscriberInitExt;
    ///
    /// # fn main() -> Result<(), loghog::Error> {
    /// let (layer, _guard) = loghog::builder("my-app").protocol(loghog::Protocol::V2).layer()?;
    /// tracing_subscriber::registry().with(layer).init();
    /// tracing::info!(user = "ada", "hello");
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "tracing")]
    pub fn layer(self) -> Result<(crate::Layer, Guard), Error> {
        let client = Arc::new(self.build_client()?);
        let guard = Guard { client: Arc::clone(&client), limit: self.flush_limit };
        Ok((crate::Layer { client, level: self.level }, guard))
    }

    /// The client alone, for programs that do not use the `log` crate.
    pub fn build_client(&self) -> Result<Client, Error> {
        if self.app.is_empty() {
            return Err(Error::NoApp);
        }
        let hostname = match &self.hostname {
            Some(hostname) => hostname.clone(),
            None => machine_name()?,
        };
        let routes = Arc::new(self.routes()?);
        let bounds = self.bounds()?;
        let v2 = match self.speaks_v2()? {
            true => Some(Arc::new(self.terms(&hostname, &routes)?)),
            false => None,
        };
        let client = Client::new(Arc::new(Settings {
            app: self.app.clone(),
            hostname,
            key: self.secret.as_deref().map(Key::new),
            zlib: self.compression != Compression::None,
            routes,
            bounds,
            v2,
        }));
        if self.spool.is_some() {
            client.resume();
        }
        Ok(client)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("app", &self.app)
            .field("addresses", &self.addresses)
            .field("transport", &self.transport)
            .field("signed", &self.secret.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Tls;

    #[test]
    fn what_is_wrong_is_said_before_anything_is_sent() {
        assert!(matches!(builder("").build(), Err(Error::NoApp)));
        let small = builder("app").queue_bytes(100).build();
        assert!(matches!(small, Err(Error::QueueTooSmall { .. })));
        assert!(matches!(
            builder("app").queue_messages(0).build(),
            Err(Error::QueueTooSmall { .. })
        ));
        assert!(matches!(builder("app").address("a:b").build(), Err(Error::Address { .. })));
        let tls = Tls::new("/nonexistent/web.pem", "/nonexistent/ca.cert");
        let error = builder("app").transport(Transport::Tls(tls)).build().unwrap_err();
        assert!(error.to_string().contains("/nonexistent/ca.cert"), "{error}");
    }

    #[test]
    fn a_secret_is_never_shown() {
        let builder = builder("app").secret("hunter2");
        let client = builder.build_client().unwrap();
        assert!(!format!("{builder:?} {client:?}").contains("hunter2"));
    }
}
