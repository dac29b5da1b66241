//! Files that must not load, each with its own complaint.

use std::fs;

use rcgen::IsCa;

use super::{Ca, CertsError, Site};

#[test]
fn missing_files_name_themselves_and_the_command_that_makes_them() {
    let ca = Ca::new("a");
    for name in ["server.pem", "ca.cert", "ca.crl"] {
        let site = Site::with(&ca.server(|_| {}).pem(), &ca.pem, Some(&ca.list(&[])));
        site.config();
        fs::remove_file(site.path(name)).unwrap();
        let (error, text) = site.complaint();
        assert!(matches!(error, CertsError::Missing { .. }), "{text}");
        assert!(text.contains(name) && text.contains("loghog-server-cert"), "{text}");
    }
}

#[test]
fn folders_pipes_and_endless_files_are_not_read() {
    let ca = Ca::new("a");
    let site = Site::new(&ca);
    fs::remove_file(site.path("ca.cert")).unwrap();
    nix::unistd::mkfifo(&site.path("ca.cert"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(site.complaint().0, CertsError::Irregular { .. }));

    let site = Site::new(&ca);
    fs::File::create(site.path("ca.cert")).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(site.complaint().0, CertsError::TooLong { .. }));
}

#[test]
fn files_without_what_they_should_hold_say_what_is_missing() {
    let ca = Ca::new("a");
    let server = ca.server(|_| {});
    let list = ca.list(&[]);
    for (pemfile, cacert, crl, what) in [
        (&*server.cert, &*ca.pem, None, "no private key"),
        (&*server.key, &*ca.pem, None, "no certificate"),
        (&*server.pem(), "", None, "no certificate"),
        (&*server.pem(), &*server.key, None, "no certificate"),
        (&*server.pem(), &*ca.pem, Some(&*ca.pem), "no revocation list"),
        (&*server.pem(), &*ca.pem, Some("-----BEGIN NONSENSE-----\n"), "damaged"),
        (&*server.pem(), &*ca.pem.replace("\nMI", "\n%%"), None, "damaged"),
        (&*server.pem(), &*ca.pem, Some(&*list.replace("\nMI", "\n%%")), "damaged"),
    ] {
        let (error, text) = Site::with(pemfile, cacert, crl).complaint();
        assert!(matches!(error, CertsError::Lacking { .. }), "{text}");
        assert!(text.contains(what), "{what}: {text}");
    }
}

#[test]
fn an_encrypted_key_says_how_to_decrypt_it() {
    let site = Site::new(&Ca::new("a"));
    site.openssl(&["pkcs8", "-topk8", "-in", "server.pem", "-passout", "pass:x", "-out", "e.key"]);
    fs::rename(site.path("e.key"), site.path("server.pem")).unwrap();
    let (error, text) = site.complaint();
    assert!(matches!(error, CertsError::Encrypted { .. }), "{text}");
}

#[test]
fn a_key_of_another_certificate_is_noticed() {
    let ca = Ca::new("a");
    let (one, two) = (ca.server(|_| {}), ca.server(|_| {}));
    let (error, text) = Site::with(&(one.key + &two.cert), &ca.pem, None).complaint();
    assert!(matches!(error, CertsError::Mismatch { .. }), "{text}");
}

#[test]
fn the_originals_server_certificate_gets_the_command_that_renews_it() {
    let site = Site::new(&Ca::new("a"));
    site.make_original_ca("2048");
    let old = site.make_original_leaf("server.loghog", "2048", None);
    let (error, text) = Site::with(&old.pem(), &site.read("old-ca.cert"), None).complaint();
    assert!(matches!(error, CertsError::OwnVersion { .. }), "{text}");
    assert!(text.contains("loghog-server-cert --reissue"), "{text}");

    let short = site.make_original_leaf("server.loghog", "1024", Some("subjectAltName=DNS:a"));
    let (error, text) = Site::with(&short.pem(), &site.read("old-ca.cert"), None).complaint();
    assert!(matches!(error, CertsError::OwnKeyShort { bits: 1024, .. }), "{text}");
    assert!(text.contains("loghog-server-cert --renew"), "{text}");
}

#[test]
fn every_usual_form_of_key_is_read() {
    let site = Site::new(&Ca::new("a"));
    site.make_original_ca("2048");
    let pkcs1 = site.make_original_leaf("localhost", "2048", Some("subjectAltName=DNS:localhost"));
    assert!(pkcs1.key.contains("BEGIN RSA PRIVATE KEY"));
    // The original put the certificate first.
    Site::with(&(pkcs1.cert.clone() + &pkcs1.key), &site.read("old-ca.cert"), None).config();
    site.openssl(&["pkcs8", "-topk8", "-nocrypt", "-in", "leaf.key", "-out", "8.key"]);
    Site::with(&(site.read("8.key") + &pkcs1.cert), &site.read("old-ca.cert"), None).config();
}

#[test]
fn a_leaf_does_not_pass_for_an_authority() {
    let ca = Ca::new("a");
    let client = ca.client("web-1", 2);
    let (error, text) = Site::with(&ca.server(|_| {}).pem(), &client.cert, None).complaint();
    assert!(matches!(error, CertsError::NotAnAuthority { .. }), "{text}");
    assert!(text.contains("\"web-1\""), "{text}");

    let plain = Ca::with("plain", |params| params.is_ca = IsCa::ExplicitNoCa);
    let (error, _) = Site::with(&ca.server(|_| {}).pem(), &plain.pem, None).complaint();
    assert!(matches!(error, CertsError::NotAnAuthority { .. }));
}

#[test]
fn an_authority_with_a_short_key_is_refused_unless_there_is_another() {
    let ca = Ca::new("a");
    let site = Site::new(&ca);
    site.make_original_ca("1024");
    let old = site.read("old-ca.cert");
    let (error, text) = Site::with(&ca.server(|_| {}).pem(), &old, None).complaint();
    assert!(matches!(error, CertsError::AuthorityKeyShort { bits: 1024, .. }), "{text}");
    assert!(text.contains("loghog-server-cert --force"), "{text}");
    Site::with(&ca.server(|_| {}).pem(), &(old + &ca.pem), None).config();
}

#[test]
fn a_revocation_list_of_another_authority_is_refused_even_under_the_same_name() {
    let (ca, other, namesake) = (Ca::new("a"), Ca::new("b"), Ca::new("a"));
    let pemfile = ca.server(|_| {}).pem();
    for stranger in [&other, &namesake] {
        let site = Site::with(&pemfile, &ca.pem, Some(&stranger.list(&[])));
        let (error, text) = site.complaint();
        assert!(matches!(error, CertsError::ListOfAnother { .. }), "{text}");
        assert!(text.contains("loghog-server-cert --renew"), "{text}");
    }
    // Trusted side by side, they need names of their own: rustls finds a list by name.
    Site::with(&pemfile, &(ca.pem.clone() + &other.pem), Some(&other.list(&[]))).config();
    let both = Site::with(&pemfile, &(ca.pem.clone() + &namesake.pem), Some(&ca.list(&[])));
    assert!(matches!(both.complaint().0, CertsError::ListOfAnother { .. }));
}
