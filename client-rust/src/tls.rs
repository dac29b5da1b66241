//! Certificates and what must be true of the server's.
//! PEM files -> a rustls configuration.
//! Invariant: the server's certificate is always checked against the CA, and its name unless told otherwise.
//! Leaves out: sockets (`connect`) and the conversation (`connection`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, InvalidMessage, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

/// The certificates of a TLS connection, as PEM files. They are read once, when
/// the client is built.
///
/// The server must show a certificate that the CA has signed, that is meant for
/// servers, and that is for the name or address given to the builder. The
/// original client looked at the CA only; to do the same, say
/// [`verify_name(false)`](Tls::verify_name).
#[derive(Clone, Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    ca: PathBuf,
    server_name: Option<String>,
    verify_name: bool,
}

impl Tls {
    /// `pemfile` holds our key and our certificate, as `loghog-client-cert`
    /// writes them; `ca` holds the certificate of the CA.
    pub fn new(pemfile: impl Into<PathBuf>, ca: impl Into<PathBuf>) -> Self {
        let pemfile = pemfile.into();
        Tls {
            key: pemfile.clone(),
            certificate: pemfile,
            ca: ca.into(),
            server_name: None,
            verify_name: true,
        }
    }

    /// The key, when it is in a file of its own.
    pub fn key(mut self, key: impl Into<PathBuf>) -> Self {
        self.key = key.into();
        self
    }

    /// The name that must be in the server's certificate, when it is not the
    /// host we connect to. It is also the name we ask for (SNI).
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Whether the server's name is checked; true unless told otherwise. Without
    /// it, whoever holds any server certificate of this CA can pass for the
    /// server.
    pub fn verify_name(mut self, verify: bool) -> Self {
        self.verify_name = verify;
        self
    }

    /// Reads the files. `host` is where we connect to.
    pub(crate) fn load(&self, host: &str) -> Result<Session, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(self.roots()?);
        let verifier: Arc<dyn ServerCertVerifier> = if self.verify_name {
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .map_err(|_| TlsError::Empty { what: "certificate", path: self.ca.clone() })?
        } else {
            Arc::new(AnyName { roots, provider: Arc::clone(&provider) })
        };
        let chain = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|source| read_error("private key", &self.key, source))?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(verifier)
                    .with_client_auth_cert(chain, key)
            })
            .map_err(|source| TlsError::Identity {
                path: self.certificate.clone(),
                remedy: remedy(&source),
                source,
            })?;
        // The server gives no tickets, and a child after a fork must not go on
        // with its parent's session.
        config.resumption = Resumption::disabled();
        let name = self.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| TlsError::ServerName { name: name.to_owned() })?;
        Ok(Session { config: Arc::new(config), name })
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca)? {
            roots.add(certificate).map_err(|source| TlsError::Identity {
                path: self.ca.clone(),
                remedy: remedy(&source),
                source,
            })?;
        }
        Ok(roots)
    }
}

/// What it takes to open a TLS connection to one server.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read, or is not PEM.
    #[error("cannot read a {what} from {}: {source}", path.display())]
    Read {
        /// What was looked for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file does not hold what it should.
    #[error("{} holds no {what} in PEM format", path.display())]
    Empty {
        /// What was looked for.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The file holds something that cannot be used.
    #[error("the certificate in {} cannot be used: {source}{remedy}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What to do about it, when known.
        remedy: &'static str,
        /// Why not.
        source: rustls::Error,
    },
    /// The name is neither a host's name nor an address.
    #[error("{name:?} cannot be the name of a TLS server; give its host name or address")]
    ServerName {
        /// The name.
        name: String,
    },
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |source| read_error("certificate", path, source);
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(read)?
        .collect::<Result<_, _>>()
        .map_err(read)?;
    if found.is_empty() {
        return Err(TlsError::Empty { what: "certificate", path: path.to_owned() });
    }
    Ok(found)
}

fn read_error(what: &'static str, path: &Path, error: pem::Error) -> TlsError {
    let path = path.to_owned();
    match error {
        pem::Error::NoItemsFound => TlsError::Empty { what, path },
        pem::Error::Io(source) => TlsError::Read { what, path, source },
        other => TlsError::Read { what, path, source: std::io::Error::other(other) },
    }
}

/// What to do about a TLS error; begins with a separator, or is empty.
pub(crate) fn remedy(error: &rustls::Error) -> &'static str {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage as BadMessage};
    match error {
        InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => {
            "; reissue it with loghog-server-cert for the name that clients connect to, or give \
              the name it is for as server name"
        }
        InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "; it is not from our CA: check the CA's file on both sides"
        }
        InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "; reissue it, or check the clock"
        }
        // webpki's name for it; rustls passes it on as text only.
        InvalidCertificate(CertificateError::Other(other))
            if format!("{other:?}").contains("UnsupportedCertVersion") =>
        {
            "; it is an X.509 v1 certificate, as the original's scripts made them: reissue it \
             with loghog-server-cert or loghog-client-cert"
        }
        AlertReceived(_) => "; the server refused us: its log says why",
        BadMessage(InvalidMessage::InvalidContentType) => {
            "; no TLS is spoken there: check the port, TLS has 5577 by default"
        }
        _ => "",
    }
}

/// Checks all of the server's certificate but its name.
#[derive(Debug)]
struct AnyName {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
