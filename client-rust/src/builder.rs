//! What a program says to get a client.
//! Calls on a `Builder` -> a `Logger`, a `Client`, or every reason why not.
//! Invariant: what is built can be used; names and files were checked, the network was not.
//! Leaves out: defaults that are limits (`limits`).

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use log::{LevelFilter, Record};
use wire::limits::{DATAGRAM_BYTES_MAX, FRAME_BYTES_MAX};
use wire::signature::Key;

use crate::client::{Client, Settings};
use crate::connect::{Route, Routes, Way};
use crate::limits::{
    FLUSH_LIMIT, PREFER_AGAIN, QUEUE_BYTES, QUEUE_BYTES_MIN, QUEUE_MESSAGES, RECORD_BYTES_MAX,
    SPOOL_BYTES, SPOOL_BYTES_MIN, SPOOL_FILE_BYTES, WINDOW_BYTES,
};
use crate::logger::{Format, Guard, Logger};
use crate::queue::Bounds;
use crate::spool::SpoolBounds;
use crate::tls::{Tls, TlsError};
use crate::v2::{Fallback, SpoolPlace, Terms};

/// Where a server listens for TCP and UDP, unless told otherwise.
pub const PORT: u16 = 5566;

/// Where a server listens for TLS, unless told otherwise.
pub const PORT_TLS: u16 = 5577;

/// How the messages travel.
#[derive(Clone, Debug, Default)]
pub enum Transport {
    /// One connection, in the clear.
    #[default]
    Tcp,
    /// One datagram a message, in the clear. Longer messages than fit into a
    /// datagram (65,507 bytes with all around them) are lost, counted as too
    /// large; others may get lost on the way, which nobody can count.
    Udp,
    /// One connection, encrypted, with certificates on both sides.
    Tls(Tls),
}

/// Which protocol is spoken over TCP and TLS. UDP knows only v1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Version 1: no acknowledgements; every server understands it.
    #[default]
    V1,
    /// Version 2 where the server knows it. One that ends the connection at our
    /// greeting, or does not answer it within three seconds, gets version 1 on
    /// the next connection. With a spool nobody gets version 1.
    Auto,
    /// Version 2 and nothing else: messages are numbered, sent in batches, and
    /// kept until the server has acknowledged them as safe.
    V2,
}

/// How messages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// zlib: each message by itself in v1, each batch in v2.
    Zlib,
    /// zstd: faster, and shorter. A v1 server gets zlib instead.
    Zstd,
}

impl From<bool> for Compression {
    /// `true` is zlib.
    fn from(compression: bool) -> Self {
        if compression { Compression::Zlib } else { Compression::None }
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No application.
    #[error("the application has no name; give the one that the server's facilities.conf lists")]
    NoApp,
    /// An address that is none.
    #[error("{address:?} is no address; write host, host:port, or [address]:port for IPv6")]
    Address {
        /// As it was given.
        address: String,
    },
    /// A queue that holds nothing.
    #[error("the queue is too small; it needs room for one message, and for {bytes_min} bytes")]
    QueueTooSmall {
        /// The least that works, in bytes.
        bytes_min: usize,
    },
    /// A spool that holds hardly anything.
    #[error("the spool is too small; it needs {bytes_min} bytes")]
    SpoolTooSmall {
        /// The least that works, in bytes.
        bytes_min: u64,
    },
    /// No server.
    #[error("there is no server; give at least one address")]
    NoAddress,
    /// Version 2 cannot be spoken over UDP.
    #[error("acknowledgements and spools need a connection; use TCP or TLS instead of UDP")]
    NoDatagrams,
    /// Certificates that cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The machine does not know its name.
    #[error("cannot find out this machine's host name: {source}; give one with hostname()")]
    Hostname {
        /// Why not.
        source: std::io::Error,
    },
    /// The program has a logger already.
    #[error("the log crate has a logger already; install only one")]
    Installed(#[from] log::SetLoggerError),
}

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

    fn speaks_v2(&self) -> Result<bool, Error> {
        match (&self.transport, self.protocol) {
            (Transport::Udp, Protocol::V2) => Err(Error::NoDatagrams),
            (Transport::Udp, _) if self.spool.is_some() => Err(Error::NoDatagrams),
            (Transport::Udp, _) => Ok(false),
            (_, protocol) => Ok(protocol != Protocol::V1 || self.spool.is_some()),
        }
    }

    fn terms(&self, hostname: &str, routes: &Arc<Routes>) -> Result<Terms, Error> {
        use wire::v2::compress::Compression as Wire;
        if self.spool_bytes < SPOOL_BYTES_MIN {
            return Err(Error::SpoolTooSmall { bytes_min: SPOOL_BYTES_MIN });
        }
        let bounds = SpoolBounds {
            bytes: self.spool_bytes,
            file_bytes: SPOOL_FILE_BYTES.min(self.spool_bytes / 4),
        };
        let falls_back = self.protocol == Protocol::Auto && self.spool.is_none();
        Ok(Terms {
            app: self.app.clone(),
            hostname: hostname.to_owned(),
            secret: self.secret.as_deref().map(wire::v2::secret::Secret::new),
            compression: match self.compression {
                Compression::None => Wire::None,
                Compression::Zlib => Wire::Zlib,
                Compression::Zstd => Wire::Zstd,
            },
            routes: Arc::clone(routes),
            spool: self.spool.clone().map(|dir| SpoolPlace { dir, bounds }),
            window_bytes: self.queue_bytes.min(WINDOW_BYTES),
            prefer_again: self.prefer_again,
            fallback: falls_back.then(|| Fallback {
                key: self.secret.as_deref().map(Key::new),
                zlib: self.compression != Compression::None,
            }),
        })
    }

    fn routes(&self) -> Result<Routes, Error> {
        if self.addresses.is_empty() {
            return Err(Error::NoAddress);
        }
        self.addresses
            .iter()
            .map(|address| self.route(address))
            .collect::<Result<_, _>>()
            .map(Routes)
    }

    fn route(&self, address: &str) -> Result<Route, Error> {
        let (host, port) =
            split_address(address).ok_or_else(|| Error::Address { address: address.to_owned() })?;
        let (way, default_port) = match &self.transport {
            Transport::Tcp => (Way::Tcp, PORT),
            Transport::Udp => (Way::Udp, PORT),
            Transport::Tls(tls) => (Way::Tls(tls.load(&host)?), PORT_TLS),
        };
        let port = port.or(self.port).unwrap_or(default_port);
        Ok(Route { host: host.into_owned(), port, way })
    }

    fn bounds(&self) -> Result<Bounds, Error> {
        let outage_messages = self.outage_messages.unwrap_or(self.queue_messages);
        if self.queue_bytes < QUEUE_BYTES_MIN || self.queue_messages == 0 || outage_messages == 0 {
            return Err(Error::QueueTooSmall { bytes_min: QUEUE_BYTES_MIN });
        }
        let frame_bytes = match self.transport {
            Transport::Udp => DATAGRAM_BYTES_MAX as usize,
            _ if self.speaks_v2()? => RECORD_BYTES_MAX,
            _ => FRAME_BYTES_MAX as usize + wire::frame::HEADER_BYTES,
        };
        Ok(Bounds {
            bytes: self.queue_bytes,
            messages: self.queue_messages,
            outage_messages,
            frame_bytes,
        })
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

/// Host and port; None when it is neither. A host with several colons is an
/// IPv6 address.
fn split_address(address: &str) -> Option<(Cow<'_, str>, Option<u16>)> {
    let (host, port) = if let Some(bracketed) = address.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']')?;
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return None,
        }
    } else {
        match address.split_once(':') {
            Some((_, rest)) if rest.contains(':') => (address, None),
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        }
    };
    let port = port.map(str::parse).transpose().ok()?;
    let is_host = !host.is_empty() && !host.contains(char::is_whitespace);
    is_host.then_some((Cow::Borrowed(host), port))
}

fn machine_name() -> Result<String, Error> {
    let name =
        nix::unistd::gethostname().map_err(|errno| Error::Hostname { source: errno.into() })?;
    Ok(name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_in_every_usual_spelling() {
        let split = |address| split_address(address).map(|(host, port)| (host.into_owned(), port));
        let is = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(split("logs"), is("logs", None));
        assert_eq!(split("logs:1"), is("logs", Some(1)));
        assert_eq!(split("10.0.0.1:65535"), is("10.0.0.1", Some(65535)));
        assert_eq!(split("::1"), is("::1", None));
        assert_eq!(split("[::1]"), is("::1", None));
        assert_eq!(split("[fe80::1%eth0]:5"), is("fe80::1%eth0", Some(5)));
        for bad in ["", ":1", "logs:", "logs:65536", "logs:x", "[::1", "[::1]x", "a b", "[]:1"] {
            assert_eq!(split(bad), None, "{bad:?}");
        }
    }

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
