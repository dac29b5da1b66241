//! Notes the certificate that a peer shows, so that a refusal can name it.
//! A handshake -> its outcome, and what was shown.
//! Invariant: who gets in is decided by rustls alone; this only looks on.
//! Leaves out: the words; see `refusal`.

use std::cell::Cell;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

tokio::task_local! {
    /// rustls calls the verifier from within the poll that drives the
    /// handshake, so each handshake has a note of its own.
    static NOTE: Cell<Option<Shown>>;
}

/// A peer's certificate.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) leaf: CertificateDer<'static>,
    /// It passed; what went wrong, if anything did, came later.
    pub(super) is_trusted: bool,
}

/// Drives a handshake, and also returns what the peer has shown in it.
pub(super) async fn watch<F: Future>(handshake: F) -> (F::Output, Option<Shown>) {
    let watched = async {
        let output = handshake.await;
        (output, NOTE.with(Cell::take))
    };
    NOTE.scope(Cell::new(None), watched).await
}

/// A verifier that takes notes.
#[derive(Debug)]
pub(super) struct Watching(Arc<dyn ClientCertVerifier>);

impl Watching {
    pub(super) fn new(verifier: Arc<dyn ClientCertVerifier>) -> Watching {
        Watching(verifier)
    }
}

impl ClientCertVerifier for Watching {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.0.verify_client_cert(end_entity, intermediates, now);
        let shown = Shown { leaf: end_entity.clone().into_owned(), is_trusted: verified.is_ok() };
        // Outside of `watch` nobody asks for the note.
        let _ = NOTE.try_with(|note| note.set(Some(shown)));
        verified
    }

    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
