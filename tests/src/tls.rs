//! Speaks TLS to the daemon.
//! An address, an authority, an identity -> an encrypted connection, or why not.
//! Invariant: no wait for the daemon is without an end.
//! Leaves out: certificates (`certs`).

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::certs::Identity;
use crate::wait::DEADLINE;

/// An encrypted connection.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Both versions that the daemon speaks.
pub const VERSIONS: &[&SupportedProtocolVersion] =
    &[&rustls::version::TLS12, &rustls::version::TLS13];

/// Connects and ends its part of the handshake. Under TLS 1.3 the daemon may
/// still refuse the certificate after that: see [`is_refused`].
///
/// # Errors
/// When the handshake fails.
pub fn connect(
    address: SocketAddr,
    authority: &Path,
    identity: Option<&Identity>,
) -> io::Result<TlsStream> {
    connect_with(address, authority, identity, VERSIONS)
}

/// The same with these versions of TLS.
///
/// # Errors
/// When the handshake fails.
pub fn connect_with(
    address: SocketAddr,
    authority: &Path,
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> io::Result<TlsStream> {
    let mut stream = begin(address, authority, identity, versions)?;
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Connects, and shakes hands such that the first `bytes` leave in one
/// segment with the end of the handshake.
///
/// # Errors
/// When the handshake fails.
pub fn connect_saying(
    address: SocketAddr,
    authority: &Path,
    identity: &Identity,
    bytes: &[u8],
) -> io::Result<TlsStream> {
    let mut stream = begin(address, authority, Some(identity), VERSIONS)?;
    while stream.conn.is_handshaking() {
        while stream.conn.wants_write() {
            stream.conn.write_tls(&mut stream.sock)?;
        }
        stream.conn.read_tls(&mut stream.sock)?;
        stream.conn.process_new_packets().map_err(io::Error::other)?;
    }
    stream.conn.writer().write_all(bytes)?;
    let mut segment = Vec::new();
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut segment)?;
    }
    stream.sock.write_all(&segment)?;
    Ok(stream)
}

/// Everything but the handshake.
fn begin(
    address: SocketAddr,
    authority: &Path,
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> io::Result<TlsStream> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_file(authority).expect("the authority's certificate");
    roots.add(root).expect("the authority's certificate");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions that ring has")
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            // Looked at by nobody but the daemon, so that a bad one is shown too.
            let key = ring::sign::any_supported_type(&identity.key()).expect("a sound key");
            let shown = CertifiedKey::new(identity.chain(), key);
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
        }
    };
    let name = "localhost".try_into().expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a sound configuration");
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(DEADLINE))?;
    Ok(StreamOwned::new(connection, socket))
}

/// Did the daemon refuse this side's certificate?
pub fn is_refused(connected: io::Result<TlsStream>) -> bool {
    let Ok(mut stream) = connected else { return true };
    // The daemon never writes: whatever ends this wait is its refusal.
    match stream.read(&mut [0]) {
        Ok(bytes) => bytes == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}
