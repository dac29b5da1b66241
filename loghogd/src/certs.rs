//! Certificates: whom we trust, what we show, and why a peer was refused.
//! PEM files -> `ServerConfig`; a connection -> a TLS stream or a `Refusal`.
//! Invariant: a peer gets in only with a certificate that our authority has issued and not revoked, and that has not ended.
//! Leaves out: making certificates (loghog-server-cert, loghog-client-cert), and how long a handshake may take.

mod authority;
mod ends;
mod error;
mod files;
mod identity;
mod original;
mod refusal;
mod shown;
mod subject;
#[cfg(test)]
mod tests;
mod warnings;

pub use ends::{End, ends};
pub use error::{CertsError, Role};
pub use original::{Old, of_the_original};
pub use refusal::{Refusal, RefusalKind};
pub use warnings::warnings;

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::checked::TlsPaths;
use files::Material;
use shown::Watching;

/// What the TLS ports speak: TLS 1.2 and 1.3, both sides verified, nothing
/// remembered of a connection that is over.
///
/// # Errors
/// The file that is at fault, and the remedy.
pub fn server_config(paths: &TlsPaths) -> Result<Arc<ServerConfig>, CertsError> {
    let material = Material::read(paths)?;
    identity::check(&material, paths)?;
    authority::check(&material, paths)?;
    build(material, paths)
}

/// Shakes hands with a peer that has connected to a TLS port.
///
/// # Errors
/// Who was refused, why, and what to do about it.
pub async fn handshake<S>(config: Arc<ServerConfig>, stream: S) -> Result<TlsStream<S>, Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (done, leaf) = shown::watch(TlsAcceptor::from(config).accept(stream)).await;
    done.map_err(|error| Refusal::new(&error, leaf.as_ref()))
}

fn build(material: Material, paths: &TlsPaths) -> Result<Arc<ServerConfig>, CertsError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(&material, paths, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(CertsError::Rustls)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(material.chain, material.key)
        .map_err(|error| identity::refused(error, &paths.pemfile))?;
    // The original's client takes a socket that has something to read for a
    // closed one: after the handshake the server never says anything.
    config.send_tls13_tickets = 0;
    // A resumed session would skip the look at the revocation list.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

fn verifier(
    material: &Material,
    paths: &TlsPaths,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<Watching>, CertsError> {
    let roots = Arc::new(authority::roots(material, paths)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
        .with_crls(material.lists.iter().cloned())
        // Of the authorities in `cacert`, some may keep no list: the warnings
        // name them. One that keeps a list is held to it.
        .allow_unknown_revocation_status();
    let verifier = builder.build().map_err(|error| authority::list_refused(&error, paths))?;
    Ok(Arc::new(Watching::new(verifier)))
}
