//! CAs that the original's scripts made go on working.

mod common;

use std::fs;

use common::{Workshop, fail};
use loghog_certs::pkcs8;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs1KeyDer, PrivatePkcs8KeyDer};

#[test]
fn its_ca_signs_clients_in_either_form_of_key() {
    for traditional in [true, false] {
        let workshop = Workshop::new();
        workshop.make_original_ca("2048", traditional);
        let begin = if traditional { "BEGIN RSA PRIVATE KEY" } else { "BEGIN PRIVATE KEY" };
        assert!(workshop.read("loghog-ca.key").contains(begin));
        workshop.client_cert(&["web-1"]);
        let args = ["verify", "-purpose", "sslclient", "-CAfile", "loghog-ca.cert", "web-1.pem"];
        assert!(workshop.openssl(&args).contains("OK"));
    }
}

#[test]
fn one_command_replaces_its_v1_server_certificate() {
    let workshop = Workshop::new();
    workshop.make_original_ca("2048", true);
    workshop.make_original_leaf("server.loghog", "loghog-server.pem");
    let ca = workshop.read("loghog-ca.cert");
    workshop.server_cert(&["--renew"]);
    assert_eq!(workshop.read("loghog-ca.cert"), ca);
    let said = workshop.openssl(&["x509", "-in", "loghog-server.pem", "-noout", "-text"]);
    assert!(said.contains("Version: 3") && said.contains("DNS:loghog"), "{said}");

    // From here on it has books, so that clients can be revoked.
    workshop.client_cert(&["web-1"]);
    workshop.client_cert(&["--revoke", "web-1"]);
    let crl = workshop.openssl(&[
        "crl",
        "-in",
        "loghog-ca.crl",
        "-CAfile",
        "loghog-ca.cert",
        "-noout",
        "-text",
    ]);
    assert!(crl.contains("Revoked Certificates"), "{crl}");
}

#[test]
fn its_ca_of_another_domain_is_found_by_its_file_names() {
    let workshop = Workshop::new();
    workshop.make_original_ca("2048", true);
    workshop.make_original_leaf("example.org", "example.org-server.pem");
    for half in ["key", "cert"] {
        let name = |prefix: &str| workshop.path(&format!("{prefix}-ca.{half}"));
        fs::rename(name("loghog"), name("example.org")).unwrap();
    }
    let complaint = fail(&mut workshop.server(&["--renew"]), 1);
    let remedy = "`loghog-server-cert --renew --ca-name example.org`";
    for part in ["loghog-ca.cert", "example.org-ca.cert", remedy] {
        assert!(complaint.contains(part), "{part} is not in {complaint}");
    }
    let ca = workshop.read("example.org-ca.cert");
    let told = workshop.server_cert(&["logs.example.org", "--renew", "--ca-name", "example.org"]);
    assert!(told.contains("loghog-client-cert NAME . example.org"), "{told}");
    assert_eq!(workshop.read("example.org-ca.cert"), ca);
    assert!(workshop.files().iter().all(|name| !name.starts_with("loghog-")));
    let said = workshop.openssl(&["x509", "-in", "example.org-server.pem", "-noout", "-text"]);
    assert!(said.contains("Version: 3") && said.contains("DNS:logs.example.org"), "{said}");
    let args = ["verify", "-CAfile", "example.org-ca.cert", "example.org-server.pem"];
    assert!(workshop.openssl(&args).contains("OK"));
}

#[test]
fn its_v1_clients_can_be_revoked_by_their_file() {
    let workshop = Workshop::new();
    workshop.make_original_ca("2048", true);
    workshop.make_original_leaf("web-1", "web-1.pem");
    workshop.client_cert(&["--revoke", "web-1"]);
    assert_eq!(workshop.client_cert(&["--list"]).matches("revoked 20").count(), 1);
}

#[test]
fn a_ca_with_a_key_out_of_use_says_what_to_do() {
    for traditional in [true, false] {
        let workshop = Workshop::new();
        workshop.make_original_ca("1024", traditional);
        let complaint = fail(&mut workshop.client(&["web-1"]), 1);
        for part in ["1024", "`loghog-server-cert [DOMAIN] --force`", "loghog-ca.cert"] {
            assert!(complaint.contains(part), "{part} is not in {complaint}");
        }
        fail(&mut workshop.server(&["--renew"]), 1);
        assert!(!workshop.path("web-1.pem").exists());
    }
}

#[test]
fn an_old_ec_key_says_how_to_convert_it_and_works_then() {
    let workshop = Workshop::new();
    workshop.make_original_ca("2048", true);
    workshop.openssl(&[
        "ecparam",
        "-name",
        "prime256v1",
        "-genkey",
        "-noout",
        "-out",
        "loghog-ca.key",
    ]);
    workshop.openssl(&[
        "req",
        "-config",
        "openssl.cnf",
        "-subj",
        "/CN=mine/O=a/OU=b/C=DE",
        "-new",
        "-x509",
        "-days",
        "9",
        "-extensions",
        "v3_ca",
        "-key",
        "loghog-ca.key",
        "-out",
        "loghog-ca.cert",
    ]);
    let complaint = fail(&mut workshop.client(&["web-1"]), 1);
    assert!(complaint.contains("openssl pkey -in loghog-ca.key"), "{complaint}");
    workshop.openssl(&["pkey", "-in", "loghog-ca.key", "-out", "new.key"]);
    fs::rename(workshop.path("new.key"), workshop.path("loghog-ca.key")).unwrap();
    workshop.client_cert(&["web-1"]);
}

#[test]
fn a_ca_that_has_ended_is_not_signed_with() {
    let workshop = Workshop::new();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = date_time_ymd(2020, 1, 1);
    fs::write(workshop.path("loghog-ca.key"), key.serialize_pem()).unwrap();
    fs::write(workshop.path("loghog-ca.cert"), params.self_signed(&key).unwrap().pem()).unwrap();
    let complaint = fail(&mut workshop.client(&["web-1"]), 1);
    assert!(complaint.contains("ended on 2020-01-01"), "{complaint}");
}

#[test]
fn our_pkcs8_is_what_openssl_writes() {
    let workshop = Workshop::new();
    for bits in ["512", "1024", "2048", "3072"] {
        workshop.openssl(&["genrsa", "-traditional", "-out", "old.key", bits]);
        workshop.openssl(&["pkcs8", "-topk8", "-nocrypt", "-in", "old.key", "-out", "new.key"]);
        let old = PrivatePkcs1KeyDer::from_pem_slice(workshop.read("old.key").as_bytes()).unwrap();
        let new = PrivatePkcs8KeyDer::from_pem_slice(workshop.read("new.key").as_bytes()).unwrap();
        assert_eq!(pkcs8::from_pkcs1(old.secret_pkcs1_der()), new.secret_pkcs8_der());
    }
}
