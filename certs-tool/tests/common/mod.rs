//! A folder of its own for each test, with both commands and OpenSSL at hand.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of this")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// What OpenSSL's shipped configuration has for `-extensions v3_ca`. Written
/// out, because the configuration of the machine may differ.
const V3_CA: &str = "[req]\ndistinguished_name = dn\n[dn]\n[v3_ca]\n\
    subjectKeyIdentifier = hash\n\
    authorityKeyIdentifier = keyid:always,issuer\n\
    basicConstraints = critical,CA:true\n";

pub struct Workshop(TempDir);

impl Workshop {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A folder with a CA and a server certificate of ours.
    pub fn with_ca() -> Self {
        let workshop = Self::new();
        workshop.server_cert(&[]);
        workshop
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().mode() & 0o7777
    }

    /// The names of all files in it, sorted.
    pub fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.0.path());
        for name in ["SUDO_UID", "SUDO_GID", "SUDO_USER"] {
            command.env_remove(name);
        }
        command
    }

    pub fn server(&self, args: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_loghog-server-cert"));
        command.args(args);
        command
    }

    pub fn client(&self, args: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_loghog-client-cert"));
        command.args(args);
        command
    }

    /// Runs it, and returns what it printed.
    #[track_caller]
    pub fn server_cert(&self, args: &[&str]) -> String {
        succeed(&mut self.server(args))
    }

    /// Runs it, and returns what it printed.
    #[track_caller]
    pub fn client_cert(&self, args: &[&str]) -> String {
        succeed(&mut self.client(args))
    }

    #[track_caller]
    pub fn openssl(&self, args: &[&str]) -> String {
        succeed(self.command("openssl").args(args))
    }

    /// A certificate's common name and its other names, as `CN = a: DNS:a, DNS:b`.
    #[track_caller]
    pub fn names(&self, pem: &str) -> String {
        let args = ["x509", "-in", pem, "-noout", "-subject", "-ext", "subjectAltName"];
        let said = self.openssl(&args);
        let line = |number| said.lines().nth(number).unwrap_or_default().trim();
        format!("{}: {}", line(0).trim_start_matches("subject="), line(2))
    }

    /// What OpenSSL says to a certificate under the strictest rules that it has,
    /// which are also those of Python 3.13.
    pub fn verify(&self, purpose: &str, prefix: &str, pem: &str) -> Output {
        let ca = format!("{prefix}-ca.cert");
        let crl = format!("{prefix}-ca.crl");
        let mut command = self.command("openssl");
        command.args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile", &ca]);
        if self.path(&crl).exists() {
            command.args(["-crl_check", "-CRLfile", &crl]);
        }
        command.arg(pem).output().unwrap()
    }

    #[track_caller]
    pub fn assert_verifies(&self, purpose: &str, prefix: &str, pem: &str) {
        let output = self.verify(purpose, prefix, pem);
        assert!(output.status.success(), "{}", text(&output));
    }

    /// The CA as the original's script makes it: an RSA key, PKCS#1 with
    /// `traditional` and PKCS#8 without, and a v3 certificate for a thousand years.
    pub fn make_original_ca(&self, bits: &str, traditional: bool) {
        fs::write(self.path("openssl.cnf"), V3_CA).unwrap();
        let mut key = vec!["genrsa", "-out", "loghog-ca.key"];
        if traditional {
            key.push("-traditional");
        }
        key.push(bits);
        self.openssl(&key);
        self.openssl(&[
            "req",
            "-config",
            "openssl.cnf",
            "-subj",
            "/CN=ca.loghog",
            "-new",
            "-x509",
            "-days",
            "365000",
            "-extensions",
            "v3_ca",
            "-key",
            "loghog-ca.key",
            "-out",
            "loghog-ca.cert",
        ]);
    }

    /// A CA of which not even the certificate has extensions.
    pub fn make_v1_ca(&self) {
        self.make_original_ca("2048", true);
        let subject = ["-subj", "/CN=ca.loghog", "-key", "loghog-ca.key"];
        let request = ["req", "-new", "-config", "openssl.cnf", "-out", "ca.req"];
        self.openssl(&[&request[..], &subject[..]].concat());
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            "ca.req",
            "-signkey",
            "loghog-ca.key",
            "-days",
            "365000",
            "-out",
            "loghog-ca.cert",
        ]);
        fs::remove_file(self.path("ca.req")).unwrap();
    }

    /// A leaf as the original's script makes it: X.509 v1, certificate before key.
    pub fn make_original_leaf(&self, common_name: &str, pem: &str) {
        self.make_leaf(common_name, pem, "2048", &[]);
    }

    /// The same with a key of this size, and with other options of `openssl x509 -req`.
    pub fn make_leaf(&self, common_name: &str, pem: &str, bits: &str, options: &[&str]) {
        self.openssl(&["genrsa", "-out", "leaf.key", bits]);
        // A slash would part two attributes.
        let subject = format!("/CN={}", common_name.replace('/', r"\/"));
        self.openssl(&[
            "req",
            "-config",
            "openssl.cnf",
            "-subj",
            &subject,
            "-new",
            "-key",
            "leaf.key",
            "-out",
            "leaf.req",
        ]);
        let mut sign = vec![
            "x509",
            "-req",
            "-in",
            "leaf.req",
            "-CA",
            "loghog-ca.cert",
            "-CAkey",
            "loghog-ca.key",
            "-CAcreateserial",
            "-out",
            pem,
        ];
        if !options.contains(&"-days") {
            sign.extend(["-days", "365000"]);
        }
        sign.extend(options);
        self.openssl(&sign);
        let both = self.read(pem) + &self.read("leaf.key");
        fs::write(self.path(pem), both).unwrap();
        for leftover in ["leaf.key", "leaf.req", "loghog-ca.srl"] {
            let _ = fs::remove_file(self.path(leftover));
        }
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }
}

#[track_caller]
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs what has to fail with this code, and returns what it complains about.
#[track_caller]
pub fn fail(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {}", text(&output));
    String::from_utf8(output.stderr).unwrap()
}

pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
