//! Why a handshake failed, in words for the log.
//! rustls's error and the peer's certificate -> `Refusal`.
//! Invariant: whatever the peer sent, a refusal is one short printable line.
//! Leaves out: the peer's address, which the caller knows.

use std::borrow::Cow;
use std::{fmt, io};

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};
use x509_parser::certificate::X509Certificate;
use x509_parser::x509::X509Version;

use super::shown::Shown;
use super::subject;
use crate::own_log::quote;

/// What went wrong, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// A certificate was refused or missing: the peer's by us, or ours by the peer.
    Certificate,
    /// The peer does not speak TLS, or none that we do.
    Protocol,
    /// The connection ended in the middle.
    Io,
}

/// Why a peer did not get in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For counting.
    pub kind: RefusalKind,
    /// Whose certificate, and what is wrong.
    pub reason: String,
    /// What to do about it.
    pub remedy: Option<Cow<'static, str>>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

impl Refusal {
    pub(super) fn new(error: &io::Error, shown: Option<&Shown>) -> Refusal {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) => of_tls(error, shown),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                refusal(RefusalKind::Io, "the peer hung up in the middle of the TLS handshake", "")
            }
            None => refusal(RefusalKind::Io, format!("in the TLS handshake: {error}"), ""),
        }
    }
}

/// An empty remedy is none.
fn refusal(
    kind: RefusalKind,
    reason: impl Into<String>,
    remedy: impl Into<Cow<'static, str>>,
) -> Refusal {
    let remedy = remedy.into();
    let remedy = (!remedy.is_empty()).then_some(remedy);
    Refusal { kind, reason: reason.into(), remedy }
}

fn of_tls(error: &Error, shown: Option<&Shown>) -> Refusal {
    match error {
        Error::NoCertificatesPresented => refusal(
            RefusalKind::Certificate,
            "the peer showed no certificate",
            "make it one with loghog-client-cert NAME, and set it as the client's pemfile",
        ),
        Error::InvalidCertificate(error) => of_certificate(error, shown),
        Error::InvalidCertRevocationList(error) => refusal(
            RefusalKind::Certificate,
            format!("{}: the revocation list cannot be used: {error:?}", whose(shown)),
            "sign it again in the authority's folder: loghog-server-cert --renew",
        ),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => refusal(
            RefusalKind::Protocol,
            "what the peer sent is not TLS",
            "this is a TLS port: set the client up for TLS, or send it to default_port",
        ),
        Error::PeerIncompatible(why) => refusal(
            RefusalKind::Protocol,
            format!("the peer speaks no TLS that we do: {why:?}"),
            "its TLS library has to know TLS 1.2 or 1.3 with ECDHE",
        ),
        other => refusal(RefusalKind::Protocol, quote(&other.to_string()).to_string(), ""),
    }
}

/// The peer is the one who refuses.
fn of_alert(alert: AlertDescription) -> Refusal {
    use AlertDescription::{
        BadCertificate, CertificateExpired, CertificateRevoked, CertificateUnknown, UnknownCA,
        UnsupportedCertificate,
    };
    match alert {
        BadCertificate
        | CertificateExpired
        | CertificateRevoked
        | CertificateUnknown
        | UnknownCA
        | UnsupportedCertificate => refusal(
            RefusalKind::Certificate,
            format!("the peer refuses our certificate: {alert:?}"),
            "its cacert has to be the authority of our pemfile, and it has to call us by a name in that certificate",
        ),
        _ => refusal(RefusalKind::Protocol, format!("the peer broke off: {alert:?}"), ""),
    }
}

fn of_certificate(error: &CertificateError, shown: Option<&Shown>) -> Refusal {
    let leaf = shown.and_then(|shown| subject::parse(&shown.leaf));
    let is_trusted = shown.is_some_and(|shown| shown.is_trusted);
    let (what, remedy) = verdict(error, leaf.as_ref(), is_trusted);
    refusal(RefusalKind::Certificate, format!("{}: {what}", whose(shown)), remedy)
}

/// What is wrong with a certificate, and what to do.
fn verdict(
    error: &CertificateError,
    leaf: Option<&X509Certificate<'_>>,
    is_trusted: bool,
) -> (Cow<'static, str>, Cow<'static, str>) {
    let owner = owner(leaf);
    let reissue = format!("reissue it with: loghog-client-cert {owner} --force");
    // Before all else: rustls has no word for it.
    if leaf.is_some_and(|leaf| leaf.version() != X509Version::V3) {
        let what = "it is X.509 v1, as the original's scripts made them, and no longer safe";
        let remedy = format!(
            "reissue it with: loghog-client-cert {owner} --force, or all that lie in the \
             authority's folder with: loghog-server-cert --reissue"
        );
        return (what.into(), remedy.into());
    }
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            (format!("it expired on {}", day(not_after.as_secs())).into(), reissue.into())
        }
        CertificateError::NotValidYetContext { not_before, .. } => (
            format!("it begins only on {}", day(not_before.as_secs())).into(),
            "compare the clocks of both hosts".into(),
        ),
        CertificateError::Revoked => {
            ("it is revoked".into(), format!("if its owner may log again, {reissue}").into())
        }
        CertificateError::UnknownIssuer => (
            "it is not from our authority".into(),
            format!("{reissue}, or add its authority to the file in cacert").into(),
        ),
        CertificateError::BadSignature if !is_trusted => (
            "it is from another authority, though of our authority's name".into(),
            format!("{reissue}, or add its authority to the file in cacert").into(),
        ),
        CertificateError::BadSignature => (
            "the peer has not proved that it has its key".into(),
            "the client's pemfile has to hold a certificate and the key of that certificate".into(),
        ),
        CertificateError::InvalidPurposeContext { .. } => (
            "it is not for clients".into(),
            "the client has to show one of its own, made by loghog-client-cert".into(),
        ),
        _ => match leaf.and_then(subject::short_rsa_bits) {
            Some(bits) => (format!("its RSA key has only {bits} bits").into(), reissue.into()),
            None => of_rare(error, reissue),
        },
    }
}

fn of_rare(error: &CertificateError, reissue: String) -> (Cow<'static, str>, Cow<'static, str>) {
    let what = match error {
        CertificateError::BadEncoding => "it is damaged".into(),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it was signed in a way that is out of use, such as SHA-1".into()
        }
        other => quote(&other.to_string()).to_string().into(),
    };
    (what, reissue.into())
}

/// `the certificate of "web-1" (serial 5f2a, from "ca.loghog")`.
fn whose(shown: Option<&Shown>) -> String {
    match shown.and_then(|shown| subject::parse(&shown.leaf)) {
        Some(leaf) => format!(
            "the certificate of {} (serial {}, from {})",
            subject::name(leaf.subject()),
            subject::serial(&leaf),
            subject::name(leaf.issuer()),
        ),
        None => "the peer's certificate".to_owned(),
    }
}

/// The owner's name as an argument of a command, where it can be one.
fn owner(leaf: Option<&X509Certificate<'_>>) -> String {
    let name = leaf.and_then(|leaf| leaf.subject().iter_common_name().next());
    let name = name.and_then(|name| name.as_str().ok()).unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fits = (1..=64).contains(&name.len()) && name.bytes().all(is_plain);
    match fits && !name.starts_with(['-', '.']) {
        true => name.to_owned(),
        false => "NAME".to_owned(),
    }
}

fn day(seconds: u64) -> String {
    subject::day(i64::try_from(seconds).unwrap_or(i64::MAX))
}
