//! Certificates, good and bad.
//! LogHog's own commands (and openssl, rcgen for what they refuse to make) -> PEM files.
//! Invariant: each authority is made for one test and forgotten with it.
//! Leaves out: speaking TLS (`tls`).

use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

use crate::binaries::binary;

/// A certificate authority, with a certificate for a server on localhost.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
}

/// A client's certificate and key, in one PEM file.
#[derive(Debug)]
pub struct Identity {
    pem: PathBuf,
}

impl Authority {
    /// A new authority, by `loghog-server-cert`.
    pub fn new() -> Authority {
        Self::with(&["--san", "localhost", "--san", "127.0.0.1"])
    }

    /// The same with a server of this name, and by no address.
    pub fn for_server(name: &str) -> Authority {
        Self::with(&[name])
    }

    /// What the original's scripts left: an authority with an RSA key, whose certificate
    /// has none of today's extensions but the one that says what it is, and a server's
    /// certificate of X.509 version 1.
    pub fn of_the_original() -> Authority {
        let folder = tempfile::Builder::new().prefix("loghog-ca-").tempdir().expect("a folder");
        let authority = Authority { folder };
        let at = |name: &str| authority.folder().join(name);
        let config = "[req]\ndistinguished_name = dn\n[dn]\n[v3_ca]\n\
                      subjectKeyIdentifier = hash\nbasicConstraints = critical,CA:true\n";
        std::fs::write(at("openssl.cnf"), config).expect("a writable folder");
        let options = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=ca.loghog"];
        openssl(&options, |command| {
            command.args(["-days", "365000", "-extensions", "v3_ca", "-config"]);
            command.arg(at("openssl.cnf")).arg("-keyout").arg(at("loghog-ca.key"));
            command.arg("-out").arg(at("loghog-ca.cert"));
        })
        .expect("openssl makes authorities");
        authority.v1_client("loghog-server");
        authority
    }

    /// New certificates in the place of all of version 1, by `loghog-server-cert --reissue`.
    pub fn reissue(&self) {
        self.run("loghog-server-cert", &["--reissue"]);
    }

    fn with(arguments: &[&str]) -> Authority {
        let folder = tempfile::Builder::new().prefix("loghog-ca-").tempdir().expect("a folder");
        let authority = Authority { folder };
        authority.run("loghog-server-cert", arguments);
        authority
    }

    /// Where its files lie: `loghog-ca.cert` and so on.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The authority's own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder().join("loghog-ca.cert")
    }

    /// A certificate for a client, by `loghog-client-cert`.
    pub fn client(&self, name: &str) -> Identity {
        self.run("loghog-client-cert", &[name]);
        self.identity(name)
    }

    /// Revokes what a client has, by `loghog-client-cert --revoke`.
    pub fn revoke(&self, name: &str) {
        self.run("loghog-client-cert", &["--revoke", name]);
    }

    /// A new certificate for the server, by `loghog-server-cert --renew`.
    pub fn renew_server(&self) {
        self.run("loghog-server-cert", &["--renew"]);
    }

    /// A client's certificate that ended long ago.
    pub fn expired_client(&self, name: &str) -> Identity {
        let read = |file: &str| std::fs::read_to_string(self.folder().join(file)).expect("made");
        let ca_key = KeyPair::from_pem(&read("loghog-ca.key")).expect("a P-256 key");
        let issuer = Issuer::from_ca_cert_pem(&read("loghog-ca.cert"), ca_key).expect("a CA");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        let certificate = params.signed_by(&key, &issuer).expect("signed");
        let pem = self.folder().join(format!("{name}.pem"));
        std::fs::write(&pem, key.serialize_pem() + &certificate.pem()).expect("a writable folder");
        Identity { pem }
    }

    /// A client's certificate of X.509 version 1, as the original's scripts
    /// made them with openssl.
    pub fn v1_client(&self, name: &str) -> Identity {
        let at = |ending: &str| self.folder().join(format!("{name}.{ending}"));
        let (key, request, certificate) = (at("key"), at("csr"), at("crt"));
        let subject = format!("/CN={name}");
        let (ca, ca_key) = (self.certificate(), self.folder().join("loghog-ca.key"));
        openssl(&["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", &subject], |command| {
            command.arg("-keyout").arg(&key).arg("-out").arg(&request);
        })
        .expect("openssl makes requests");
        let sign = |options: &[&str]| {
            openssl(options, |command| {
                command.arg("-in").arg(&request).arg("-out").arg(&certificate);
                command.arg("-CA").arg(&ca).arg("-CAkey").arg(&ca_key);
            })
        };
        // Newer ones make version 1 only when told to, older ones do not know the word.
        sign(&["req", "-x509", "-x509v1", "-days", "30"])
            .or_else(|_| sign(&["x509", "-req", "-CAcreateserial", "-days", "30"]))
            .expect("openssl signs");
        let read = |path: &Path| std::fs::read_to_string(path).expect("openssl wrote it");
        std::fs::write(at("pem"), read(&key) + &read(&certificate)).expect("a writable folder");
        self.identity(name)
    }

    fn identity(&self, name: &str) -> Identity {
        Identity { pem: self.folder().join(format!("{name}.pem")) }
    }

    fn run(&self, name: &str, arguments: &[&str]) {
        let output = Command::new(binary(name))
            .args(arguments)
            .current_dir(self.folder())
            .output()
            .expect("it can be executed");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Identity {
    /// The PEM file with key and certificate.
    pub fn pem(&self) -> &Path {
        &self.pem
    }

    /// What the file held before `loghog-server-cert --reissue`.
    ///
    /// # Panics
    /// When nothing was kept.
    pub fn as_it_was(&self) -> Identity {
        let pem = self.pem.with_extension("pem.old");
        assert!(pem.exists(), "what was there is kept");
        Identity { pem }
    }

    /// The certificate, and those that come with it.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        let certificates = CertificateDer::pem_file_iter(&self.pem).expect("a PEM file");
        certificates.collect::<Result<_, _>>().expect("certificates")
    }

    /// The key.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_file(&self.pem).expect("a key in the PEM file")
    }
}

fn openssl(options: &[&str], more: impl FnOnce(&mut Command)) -> Result<(), String> {
    let mut command = Command::new("openssl");
    command.args(options);
    more(&mut command);
    let output = command.output().expect("openssl is installed");
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
