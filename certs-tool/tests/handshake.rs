//! What the commands make, in the hands of rustls: both sides verified, as the daemon does.

mod common;

use std::fs;
use std::io;
use std::sync::Arc;

use common::Workshop;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, RootCertStore, ServerConfig,
    ServerConnection, SupportedProtocolVersion,
};

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(workshop: &Workshop) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(workshop.path("loghog-ca.cert")).unwrap()).unwrap();
    Arc::new(roots)
}

fn identity(
    workshop: &Workshop,
    pem: &str,
) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let path = workshop.path(pem);
    let certs = CertificateDer::pem_file_iter(&path).unwrap().map(Result::unwrap).collect();
    (certs, PrivateKeyDer::from_pem_file(&path).unwrap())
}

fn server(workshop: &Workshop) -> ServerConnection {
    let mut verifier = WebPkiClientVerifier::builder_with_provider(roots(workshop), provider());
    if let Ok(pem) = fs::read(workshop.path("loghog-ca.crl")) {
        verifier =
            verifier.with_crls([CertificateRevocationListDer::from_pem_slice(&pem).unwrap()]);
    }
    let (certs, key) = identity(workshop, "loghog-server.pem");
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(certs, key)
        .unwrap();
    ServerConnection::new(Arc::new(config)).unwrap()
}

fn client(
    trusts: &Workshop,
    owner: &Workshop,
    pem: &str,
    version: &'static SupportedProtocolVersion,
) -> ClientConnection {
    let (certs, key) = identity(owner, pem);
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots(trusts))
        .with_client_auth_cert(certs, key)
        .unwrap();
    ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap()
}

/// Hands one side's bytes to the other. `true`: there were some.
fn carry<A, B>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
) -> Result<bool, rustls::Error>
where
    A: rustls::SideData,
    B: rustls::SideData,
{
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = io::Cursor::new(&bytes);
    while (rest.position() as usize) < bytes.len() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(!bytes.is_empty())
}

/// Returns the server's complaint, if it has one.
fn handshake(
    mut client: ClientConnection,
    mut server: ServerConnection,
) -> Result<(), rustls::Error> {
    loop {
        let there = carry(&mut client, &mut server)?;
        let back = carry(&mut server, &mut client)?;
        if !there && !back {
            assert!(!client.is_handshaking() && !server.is_handshaking());
            return Ok(());
        }
    }
}

#[test]
fn a_pair_agrees_in_both_versions() {
    let workshop = Workshop::with_ca();
    workshop.client_cert(&["web-1"]);
    for version in [&TLS12, &TLS13] {
        handshake(client(&workshop, &workshop, "web-1.pem", version), server(&workshop)).unwrap();
    }
}

#[test]
fn a_pair_under_the_originals_ca_agrees_in_both_versions() {
    for traditional in [true, false] {
        let workshop = Workshop::new();
        workshop.make_original_ca("2048", traditional);
        workshop.server_cert(&["--renew"]);
        workshop.client_cert(&["web-1"]);
        for version in [&TLS12, &TLS13] {
            handshake(client(&workshop, &workshop, "web-1.pem", version), server(&workshop))
                .unwrap();
        }
        workshop.client_cert(&["--revoke", "web-1"]);
        let refusal =
            handshake(client(&workshop, &workshop, "web-1.pem", &TLS13), server(&workshop));
        assert_eq!(refusal.unwrap_err(), rustls::CertificateError::Revoked.into());
    }
}

#[test]
fn a_revoked_client_is_refused() {
    let workshop = Workshop::with_ca();
    workshop.client_cert(&["web-1"]);
    workshop.client_cert(&["web-2"]);
    workshop.client_cert(&["--revoke", "web-1"]);
    for version in [&TLS12, &TLS13] {
        let refusal =
            handshake(client(&workshop, &workshop, "web-1.pem", version), server(&workshop));
        assert_eq!(refusal.unwrap_err(), rustls::CertificateError::Revoked.into());
        handshake(client(&workshop, &workshop, "web-2.pem", version), server(&workshop)).unwrap();
    }
}

#[test]
fn a_client_of_another_ca_is_refused() {
    let workshop = Workshop::with_ca();
    let other = Workshop::with_ca();
    other.client_cert(&["web-1"]);
    for version in [&TLS12, &TLS13] {
        let refusal = handshake(client(&workshop, &other, "web-1.pem", version), server(&workshop));
        assert!(matches!(refusal.unwrap_err(), rustls::Error::InvalidCertificate(_)));
    }
}

#[test]
fn the_servers_certificate_does_not_serve_as_a_clients() {
    let workshop = Workshop::with_ca();
    let refusal =
        handshake(client(&workshop, &workshop, "loghog-server.pem", &TLS13), server(&workshop));
    let refusal = refusal.unwrap_err();
    assert!(
        matches!(
            refusal,
            rustls::Error::InvalidCertificate(
                rustls::CertificateError::InvalidPurposeContext { .. }
            )
        ),
        "{refusal}"
    );
}
