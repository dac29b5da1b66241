//! Makes what a client needs of what a builder was told.
//! A `Builder` -> routes, bounds and terms, or why not.
//! Invariant: names, addresses and bounds are checked; certificates are read; nobody is called.
//! Leaves out: the client itself.

use std::borrow::Cow;
use std::sync::Arc;

use wire::limits::{DATAGRAM_BYTES_MAX, FRAME_BYTES_MAX};
use wire::signature::Key;

use super::{Builder, Compression, Error, PORT, PORT_TLS, Protocol, Transport};
use crate::connect::{Route, Routes, Way};
use crate::limits::{
    QUEUE_BYTES_MIN, RECORD_BYTES_MAX, SPOOL_BYTES_MIN, SPOOL_FILE_BYTES, WINDOW_BYTES,
};
use crate::queue::Bounds;
use crate::spool::SpoolBounds;
use crate::v2::{Fallback, SpoolPlace, Terms};

impl Builder {
    pub(super) fn speaks_v2(&self) -> Result<bool, Error> {
        match (&self.transport, self.protocol) {
            (Transport::Udp, Protocol::V2) => Err(Error::NoDatagrams),
            (Transport::Udp, _) if self.spool.is_some() => Err(Error::NoDatagrams),
            (Transport::Udp, _) => Ok(false),
            (_, protocol) => Ok(protocol != Protocol::V1 || self.spool.is_some()),
        }
    }

    pub(super) fn terms(&self, hostname: &str, routes: &Arc<Routes>) -> Result<Terms, Error> {
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

    pub(super) fn routes(&self) -> Result<Routes, Error> {
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

    pub(super) fn bounds(&self) -> Result<Bounds, Error> {
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

pub(super) fn machine_name() -> Result<String, Error> {
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
}
