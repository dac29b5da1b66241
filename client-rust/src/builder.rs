//! What a program says to get a client.
//! Calls on a `Builder` -> a `Logger`, a `Client`, or every reason why not.
//! Invariant: what is built can be used; names and files were checked, the network was not.
//! Leaves out: defaults that are limits (`limits`).

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use log::{LevelFilter, Record};
use wire::limits::{DATAGRAM_BYTES_MAX, FRAME_BYTES_MAX};
use wire::signature::Key;

use crate::client::{Client, Settings};
use crate::connect::{Route, Way};
use crate::limits::{FLUSH_LIMIT, QUEUE_BYTES, QUEUE_BYTES_MIN, QUEUE_MESSAGES};
use crate::logger::{Format, Guard, Logger, level_and_message};
use crate::queue::Bounds;
use crate::tls::{Tls, TlsError};

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
        address: "localhost".into(),
        port: None,
        transport: Transport::default(),
        secret: None,
        compression: false,
        hostname: None,
        queue_bytes: QUEUE_BYTES,
        queue_messages: QUEUE_MESSAGES,
        outage_messages: None,
        level: LevelFilter::Info,
        format: Arc::new(level_and_message),
        flush_limit: FLUSH_LIMIT,
    }
}

/// A client to be; see [`builder`].
#[derive(Clone)]
pub struct Builder {
    app: String,
    address: String,
    port: Option<u16>,
    transport: Transport,
    secret: Option<Vec<u8>>,
    compression: bool,
    hostname: Option<String>,
    queue_bytes: usize,
    queue_messages: usize,
    outage_messages: Option<usize>,
    level: LevelFilter,
    format: Arc<Format>,
    flush_limit: Duration,
}

impl Builder {
    /// The server: `host`, `host:port`, an IPv4 address, an IPv6 address with
    /// or without brackets, or `[address]:port`. `localhost` unless told
    /// otherwise.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = address.into();
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

    /// Whether messages are compressed, each by itself; they are not unless
    /// told otherwise.
    pub fn compression(mut self, compression: bool) -> Self {
        self.compression = compression;
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

    /// What a message's text is; `LEVEL - message key=value` unless told
    /// otherwise. The time and the host need not be in it: the server writes
    /// them.
    pub fn format<F>(mut self, format: F) -> Self
    where
        F: Fn(&mut dyn Write, &Record<'_>) -> fmt::Result + Send + Sync + 'static,
    {
        self.format = Arc::new(format);
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

    /// The client alone, for programs that do not use the `log` crate.
    pub fn build_client(&self) -> Result<Client, Error> {
        if self.app.is_empty() {
            return Err(Error::NoApp);
        }
        let hostname = match &self.hostname {
            Some(hostname) => hostname.clone(),
            None => machine_name()?,
        };
        Ok(Client::new(Arc::new(Settings {
            app: self.app.clone(),
            hostname,
            key: self.secret.as_deref().map(Key::new),
            zlib: self.compression,
            route: Arc::new(self.route()?),
            bounds: self.bounds()?,
        })))
    }

    fn route(&self) -> Result<Route, Error> {
        let (host, port) = split_address(&self.address)
            .ok_or_else(|| Error::Address { address: self.address.clone() })?;
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
            .field("address", &self.address)
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
