//! Both sides at once: who gets in, and what is said of the others.

use std::sync::Arc;

use rcgen::{DnType, DnValue, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
use rustls::client::ResolvesClientCert;
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SignatureScheme, SupportedProtocolVersion,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;

use super::{Ca, Pair, Site};
use crate::certs::{Refusal, RefusalKind, handshake};

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A client that trusts an authority and has, or has not, a certificate.
fn client(
    ca: &Ca,
    pair: Option<&Pair>,
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    match pair {
        None => builder.with_no_client_auth(),
        // Without rustls's own look at it: it would not show what is broken.
        Some(pair) => builder.with_client_cert_resolver(Arc::new(Shows(certified(pair)))),
    }
}

fn certified(pair: &Pair) -> Arc<CertifiedKey> {
    let cert = CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let key = ring::sign::any_supported_type(&key).unwrap();
    Arc::new(CertifiedKey::new(vec![cert], key))
}

/// Shows its certificate to everybody.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

async fn meet(server: Arc<ServerConfig>, client: ClientConfig) -> Result<(), Refusal> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let (done, _) = tokio::join!(handshake(server, ours), connector.connect(name, theirs));
    done.map(|_| ())
}

async fn meet_bytes(server: Arc<ServerConfig>, bytes: &[u8]) -> Refusal {
    let (ours, theirs) = UnixStream::pair().unwrap();
    assert_eq!(theirs.try_write(bytes).unwrap(), bytes.len());
    // Kept open for writing our way, so that the answer finds a reader.
    let theirs = theirs.into_std().unwrap();
    theirs.shutdown(std::net::Shutdown::Write).unwrap();
    handshake(server, ours).await.expect_err("these bytes are no handshake")
}

/// In both versions a client is refused with these words.
#[track_caller]
fn assert_refused(
    site: &Site,
    client: impl Fn(&'static SupportedProtocolVersion) -> ClientConfig,
    words: &[&str],
) {
    for version in BOTH {
        let refusal = run(meet(site.config(), client(version))).expect_err("it got in");
        assert_eq!(refusal.kind, RefusalKind::Certificate, "{refusal}");
        let said = refusal.to_string();
        for word in words {
            assert!(said.contains(word), "{word:?} is not in: {said}");
        }
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_client_of_our_authority_gets_in() {
    let ca = Ca::new("a");
    let pair = ca.client("web-1", 2);
    let site = Site::with(&ca.server(|_| {}).pem(), &ca.pem, Some(&ca.list(&[3])));
    for version in BOTH {
        run(meet(site.config(), client(&ca, Some(&pair), version))).unwrap();
    }
}

#[test]
fn nothing_is_remembered_of_a_connection() {
    let ca = Ca::new("a");
    let pair = ca.client("web-1", 2);
    let config = Site::new(&ca).config();
    assert_eq!(config.send_tls13_tickets, 0);
    assert_eq!(config.max_early_data_size, 0);
    for version in BOTH {
        // One client, with its memory, twice.
        let connector = TlsConnector::from(Arc::new(client(&ca, Some(&pair), version)));
        for _ in 0..2 {
            let (ours, theirs) = run(async {
                let (ours, theirs) = UnixStream::pair().unwrap();
                let name = ServerName::try_from("localhost").unwrap();
                tokio::join!(handshake(config.clone(), ours), connector.connect(name, theirs))
            });
            let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
            assert_eq!(ours.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
            assert_eq!(theirs.get_ref().1.tls13_tickets_received(), 0);
        }
    }
}

#[test]
fn a_revoked_client_is_refused_and_named() {
    let ca = Ca::new("a");
    let pair = ca.client("web-1", 0xabcd);
    let site = Site::with(&ca.server(|_| {}).pem(), &ca.pem, Some(&ca.list(&[0xabcd])));
    let words = ["the certificate of \"web-1\" (serial abcd, from \"a\"): it is revoked"];
    assert_refused(&site, |version| client(&ca, Some(&pair), version), &words);
}

#[test]
fn a_list_that_is_overdue_still_binds() {
    let ca = Ca::new("a");
    let pair = ca.client("web-1", 2);
    let list = ca.list_due(2002, &[2]);
    let site = Site::with(&ca.server(|_| {}).pem(), &ca.pem, Some(&list));
    assert_refused(&site, |version| client(&ca, Some(&pair), version), &["revoked"]);
    let other = ca.client("web-2", 3);
    run(meet(site.config(), client(&ca, Some(&other), &TLS13))).unwrap();
}

#[test]
fn clients_of_an_authority_without_a_list_get_in() {
    let (ca, other) = (Ca::new("a"), Ca::new("b"));
    let both = ca.pem.clone() + &other.pem;
    let site = Site::with(&ca.server(|_| {}).pem(), &both, Some(&ca.list(&[2])));
    let theirs = other.client("web-2", 2);
    run(meet(site.config(), client(&ca, Some(&theirs), &TLS13))).unwrap();
    let ours = ca.client("web-1", 2);
    assert_refused(&site, |version| client(&ca, Some(&ours), version), &["revoked"]);
}

#[test]
fn strangers_are_refused_whatever_their_authority_is_called() {
    let ca = Ca::new("a");
    let site = Site::new(&ca);
    for (other, word) in
        [("b", "not from our authority"), ("a", "another authority, though of our")]
    {
        let pair = Ca::new(other).client("web-1", 2);
        let words = [word, "loghog-client-cert web-1"];
        assert_refused(&site, |version| client(&ca, Some(&pair), version), &words);
    }
}

#[test]
fn dates_are_told() {
    let ca = Ca::new("a");
    let site = Site::new(&ca);
    let purpose = ExtendedKeyUsagePurpose::ClientAuth;
    let past =
        ca.leaf("web-1", 2, purpose.clone(), |params| params.not_after = date_time_ymd(2020, 1, 1));
    let words = ["it expired on 2020-01-01", "loghog-client-cert web-1"];
    assert_refused(&site, |version| client(&ca, Some(&past), version), &words);
    let future =
        ca.leaf("web-1", 2, purpose, |params| params.not_before = date_time_ymd(4000, 1, 1));
    let words = ["begins only on 4000-01-01", "clocks"];
    assert_refused(&site, |version| client(&ca, Some(&future), version), &words);
}

#[test]
fn a_servers_certificate_and_none_at_all_are_refused() {
    let ca = Ca::new("a");
    let site = Site::new(&ca);
    let server = ca.server(|_| {});
    assert_refused(&site, |version| client(&ca, Some(&server), version), &["not for clients"]);
    assert_refused(
        &site,
        |version| client(&ca, None, version),
        &["no certificate", "loghog-client-cert NAME"],
    );
}

#[test]
fn a_certificate_without_its_key_is_refused() {
    let ca = Ca::new("a");
    let mut pair = ca.client("web-1", 2);
    pair.key = KeyPair::generate().unwrap().serialize_pem();
    assert_refused(
        &Site::new(&ca),
        |version| client(&ca, Some(&pair), version),
        &["\"web-1\"", "not proved"],
    );
}

#[test]
fn what_the_originals_scripts_made_gets_the_remedy() {
    let ca = Ca::new("a");
    let site = Site::new(&ca);
    site.make_original_ca("2048");
    let trusted = Site::with(&ca.server(|_| {}).pem(), &(site.read("old-ca.cert") + &ca.pem), None);
    let v1 = site.make_original_leaf("web-1", "2048", None);
    let words = [
        "\"web-1\"",
        "X.509 v1",
        "reissue it with: loghog-client-cert web-1 --force",
        "loghog-server-cert --reissue",
    ];
    assert_refused(&trusted, |version| client(&ca, Some(&v1), version), &words);

    // An odd name is not put into a command.
    let odd = site.make_original_leaf("$(reboot)", "2048", None);
    let words = ["\"$(reboot)\"", "loghog-client-cert NAME"];
    assert_refused(&trusted, |version| client(&ca, Some(&odd), version), &words);

    site.openssl(&["genrsa", "-out", "sha1.key", "2048"]);
    site.openssl(&["req", "-new", "-key", "sha1.key", "-subj", "/CN=web-2", "-out", "leaf.req"]);
    std::fs::write(site.path("leaf.ext"), "extendedKeyUsage=clientAuth").unwrap();
    site.openssl(&[
        "x509",
        "-req",
        "-sha1",
        "-in",
        "leaf.req",
        "-CA",
        "old-ca.cert",
        "-CAkey",
        "old-ca.key",
        "-CAcreateserial",
        "-extfile",
        "leaf.ext",
        "-out",
        "sha1.cert",
    ]);
    let sha1 = Pair { key: site.read("sha1.key"), cert: site.read("sha1.cert") };
    assert_refused(
        &trusted,
        |version| client(&ca, Some(&sha1), version),
        &["SHA-1", "loghog-client-cert web-2"],
    );
}

#[test]
fn hostile_names_stay_one_short_printable_line() {
    let ca = Ca::new("a");
    let other = Ca::new("evil\nWARNING - all is well");
    let purpose = ExtendedKeyUsagePurpose::ClientAuth;
    for name in ["a\nb\x1b[2J\0", &"x".repeat(20_000), "\u{202e}txt", "\"; rm -rf /"] {
        let pair = other.leaf(name, u64::MAX, purpose.clone(), |params| {
            params.distinguished_name.push(DnType::OrganizationName, DnValue::from("\n"));
        });
        let said = run(meet(Site::new(&ca).config(), client(&ca, Some(&pair), &TLS13)))
            .unwrap_err()
            .to_string();
        assert!(said.chars().count() < 600, "{} characters", said.chars().count());
        assert!(
            said.chars().all(|letter| !letter.is_control() && letter != '\u{202e}'),
            "{said:?}"
        );
    }
}

#[test]
fn a_client_that_refuses_us_says_so() {
    let (ca, other) = (Ca::new("a"), Ca::new("b"));
    let pair = ca.client("web-1", 2);
    let words = ["the peer refuses our certificate", "cacert"];
    assert_refused(&Site::new(&ca), |version| client(&other, Some(&pair), version), &words);
}

#[test]
fn bytes_that_are_not_tls_are_told_from_old_tls_and_from_silence() {
    let config = Site::new(&Ca::new("a")).config();
    run(async {
        for bytes in [&b"\0\0\0\x10\0\0\0\0{\"version\": 1}\n\n"[..], b"GET / HTTP/1.0\r\n\r\n"] {
            let refusal = meet_bytes(config.clone(), bytes).await;
            assert_eq!(refusal.kind, RefusalKind::Protocol, "{refusal}");
            assert!(refusal.to_string().contains("this is a TLS port"), "{refusal}");
        }

        // A ClientHello of TLS 1.0: one cipher, no extensions.
        let mut hello = vec![0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 1];
        hello.extend([7; 32]);
        hello.extend([0, 0, 2, 0, 0x2f, 1, 0]);
        let refusal = meet_bytes(config.clone(), &hello).await;
        assert_eq!(refusal.kind, RefusalKind::Protocol, "{refusal}");
        assert!(refusal.to_string().contains("TLS 1.2"), "{refusal}");

        let refusal = meet_bytes(config.clone(), &hello[..9]).await;
        assert_eq!(refusal.kind, RefusalKind::Io, "{refusal}");
    });
}

#[test]
fn handshakes_at_the_same_time_do_not_mix_up_their_peers() {
    let ca = Ca::new("a");
    let other = Ca::new("b");
    let config = Site::new(&ca).config();
    run(async {
        let mut meetings = Vec::new();
        for number in 0..20 {
            let pair = other.client(&format!("web-{number}"), number);
            let meeting = meet(config.clone(), client(&ca, Some(&pair), BOTH[number as usize % 2]));
            meetings.push((number, tokio::spawn(meeting)));
        }
        for (number, meeting) in meetings {
            let said = meeting.await.unwrap().unwrap_err().to_string();
            assert!(said.contains(&format!("\"web-{number}\"")), "{number}: {said}");
        }
    });
}
