//! Certificates, good and bad, in the hands of both sides.

mod handshake;
mod load;
mod warn;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::ServerConfig;
use tempfile::TempDir;

use super::{CertsError, server_config, warnings::warnings_at};
use crate::config::checked::TlsPaths;

/// 2026-11-20 12:00:00 UTC, for what depends on a date.
const NOW: i64 = 1_795_176_000;

/// An authority.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A key and its certificate.
#[derive(Clone)]
struct Pair {
    key: String,
    cert: String,
}

/// A folder with the daemon's files.
struct Site {
    folder: TempDir,
    paths: TlsPaths,
}

impl Ca {
    fn new(name: &str) -> Ca {
        Ca::with(name, |_| {})
    }

    fn with(name: &str, more: impl FnOnce(&mut CertificateParams)) -> Ca {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        more(&mut params);
        let pem = params.self_signed(&key).unwrap().pem();
        Ca { issuer: Issuer::new(params, key), pem }
    }

    fn client(&self, name: &str, serial: u64) -> Pair {
        self.leaf(name, serial, ExtendedKeyUsagePurpose::ClientAuth, |_| {})
    }

    fn server(&self, more: impl FnOnce(&mut CertificateParams)) -> Pair {
        self.leaf("localhost", 1, ExtendedKeyUsagePurpose::ServerAuth, more)
    }

    fn leaf(
        &self,
        name: &str,
        serial: u64,
        purpose: ExtendedKeyUsagePurpose,
        more: impl FnOnce(&mut CertificateParams),
    ) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![purpose];
        more(&mut params);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Pair { key: key.serialize_pem(), cert: cert.pem() }
    }

    fn list(&self, serials: &[u64]) -> String {
        self.list_due(2030, serials)
    }

    /// A revocation list that was to be renewed at the beginning of that year.
    fn list_due(&self, year: i32, serials: &[u64]) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2001, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2000, 1, 1),
            next_update: date_time_ymd(year, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

impl Pair {
    fn pem(&self) -> String {
        format!("{}{}", self.key, self.cert)
    }
}

impl Site {
    fn new(ca: &Ca) -> Site {
        Site::with(&ca.server(|_| {}).pem(), &ca.pem, None)
    }

    fn with(pemfile: &str, cacert: &str, crl: Option<&str>) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let paths = TlsPaths {
            pemfile: write("server.pem", pemfile),
            cacert: write("ca.cert", cacert),
            crl: crl.map(|crl| write("ca.crl", crl)),
        };
        Site { folder, paths }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self) -> Arc<ServerConfig> {
        server_config(&self.paths).unwrap()
    }

    /// Why it does not load; the file and a remedy are always in it.
    fn complaint(&self) -> (CertsError, String) {
        let error = server_config(&self.paths).expect_err("it must not load");
        let text = error.to_string();
        assert!(text.contains(self.folder.path().to_str().unwrap()), "which file? {text}");
        (error, text)
    }

    fn warnings(&self, now: i64) -> Vec<String> {
        warnings_at(&self.paths, now)
    }

    /// Runs OpenSSL in the folder, for what rcgen rightly refuses to make.
    fn openssl(&self, args: &[&str]) {
        let output = Command::new("openssl")
            .args(args)
            .current_dir(self.folder.path())
            .output()
            .expect("openssl is installed");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// What the original's scripts did: a CA with a key of this size.
    fn make_original_ca(&self, bits: &str) {
        self.openssl(&["genrsa", "-traditional", "-out", "old-ca.key", bits]);
        self.openssl(&[
            "req",
            "-x509",
            "-new",
            "-key",
            "old-ca.key",
            "-subj",
            "/CN=ca.loghog",
            "-days",
            "365000",
            "-addext",
            "basicConstraints=critical,CA:true",
            "-out",
            "old-ca.cert",
        ]);
    }

    /// A leaf under that CA; X.509 v1 unless there are extensions.
    fn make_original_leaf(&self, name: &str, bits: &str, extensions: Option<&str>) -> Pair {
        let subject = format!("/CN={name}");
        self.openssl(&["genrsa", "-traditional", "-out", "leaf.key", bits]);
        self.openssl(&["req", "-new", "-key", "leaf.key", "-subj", &subject, "-out", "leaf.req"]);
        let mut args = vec![
            "x509",
            "-req",
            "-in",
            "leaf.req",
            "-days",
            "365000",
            "-CA",
            "old-ca.cert",
            "-CAkey",
            "old-ca.key",
            "-CAcreateserial",
            "-out",
            "leaf.cert",
        ];
        if let Some(extensions) = extensions {
            fs::write(self.path("leaf.ext"), extensions).unwrap();
            args.extend(["-extfile", "leaf.ext"]);
        }
        self.openssl(&args);
        Pair { key: self.read("leaf.key"), cert: self.read("leaf.cert") }
    }
}
