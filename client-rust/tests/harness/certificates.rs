//! Certificates for the tests, made on the spot.
//! Names -> PEM files in a temporary folder.
//! Invariant: each authority is a CA of its own.
//! Leaves out: everything that `loghog-server-cert` does beyond.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    pub ca: PathBuf,
}

impl Authority {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = named("Test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let ca = folder.path().join("ca.cert");
        std::fs::write(&ca, certificate.pem()).unwrap();
        Authority { issuer: Issuer::new(params, key), folder, ca }
    }

    /// Key and certificate of a client, in one file.
    pub fn client(&self, name: &str) -> PathBuf {
        self.leaf(name, &[], ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A server that asks for a certificate from this CA.
    pub fn server(&self, names: &[&str]) -> Arc<ServerConfig> {
        let pemfile = self.leaf("server", names, ExtendedKeyUsagePurpose::ServerAuth);
        self.config(&pemfile, self)
    }

    /// The same, but it takes clients of another CA.
    pub fn server_for(&self, names: &[&str], clients: &Authority) -> Arc<ServerConfig> {
        let pemfile = self.leaf("server", names, ExtendedKeyUsagePurpose::ServerAuth);
        self.config(&pemfile, clients)
    }

    /// A server that shows a client's certificate.
    pub fn impostor(&self, names: &[&str]) -> Arc<ServerConfig> {
        let pemfile = self.leaf("impostor", names, ExtendedKeyUsagePurpose::ClientAuth);
        self.config(&pemfile, self)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn leaf(&self, name: &str, san: &[&str], purpose: ExtendedKeyUsagePurpose) -> PathBuf {
        let mut params = named(name);
        let san = san.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        params.subject_alt_names = CertificateParams::new(san).unwrap().subject_alt_names;
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let pemfile = self.path(&format!("{name}.pem"));
        std::fs::write(&pemfile, key.serialize_pem() + &certificate.pem()).unwrap();
        pemfile
    }

    fn config(&self, pemfile: &Path, clients: &Authority) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&clients.ca).unwrap()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .unwrap();
        let chain = vec![CertificateDer::from_pem_file(pemfile).unwrap()];
        let key = PrivateKeyDer::from_pem_file(pemfile).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .unwrap();
        config.send_tls13_tickets = 0;
        Arc::new(config)
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
