//! A certificate authority: its files, its certificate, its key.
//! Folder and prefix -> `Ca`, be it a new one, or one that the original's
//! scripts or OpenSSL made.
//! Invariant: a `Ca`'s key belongs to its certificate, and TLS libraries of
//! today accept what it signs.
//! Leaves out: what it signs; see [`crate::issue`] and [`crate::revocation`].

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Version};

use crate::files::{self, FileError};
use crate::limits::{
    BACKDATE_S, CA_COMMON_NAME_PREFIX, CA_DAYS, PEM_BYTES_MAX, RSA_BITS_MAX, RSA_BITS_MIN,
};
use crate::name::{Domain, shell_word};
use crate::pkcs8;
use crate::serial::Serial;

/// `dnQualifier` of X.520: tells apart what has the same name otherwise.
const DN_QUALIFIER: [u64; 4] = [2, 5, 4, 46];

/// How much of its serial number a new CA has in its name.
const QUALIFIER_DIGITS: usize = 8;

/// The prefix of a CA's files where none is given, as the original had it.
pub const PREFIX: &str = "loghog";

/// Why there is no CA to work with.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// One of its files.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is in none of the places.
    #[error("no CA found: looked for {}; make one with `loghog-server-cert`, or say where it is: `loghog-client-cert NAME CA-PATH [CA-NAME]`, `loghog-server-cert --renew --ca-name CA-NAME`", list(.looked_for))]
    NotFound {
        /// The files looked for.
        looked_for: Vec<PathBuf>,
    },
    /// Only one half of it is there.
    #[error(
        "{missing} is missing beside {present}; put it back, or make a new CA with `{}`",
        new_ca(.prefix)
    )]
    Half {
        /// The half that is not there.
        missing: PathBuf,
        /// The half that is.
        present: PathBuf,
        /// Prefix of the CA.
        prefix: String,
    },
    /// There is no certificate in the certificate's file.
    #[error("{path}: no certificate in it (a PEM block `BEGIN CERTIFICATE`)")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// There is no key in the key's file.
    #[error(
        "{path}: no private key in it (a PEM block `BEGIN PRIVATE KEY` or `BEGIN RSA PRIVATE KEY`)"
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is under a pass phrase.
    #[error(
        "{path} is encrypted; decrypt it first: `openssl pkey -in {path} -out PLAIN`, then put PLAIN in its place"
    )]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// A form or a kind of key that ring cannot use.
    #[error("{path}: cannot use this key: {reason}")]
    UnusableKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// An RSA key of a size that is out of use.
    #[error(
        "{path} has an RSA key of {bits} bits (the original's scripts made 1024); TLS libraries of today take {RSA_BITS_MIN} to {RSA_BITS_MAX}; make a new CA with `{}` and issue every client's certificate again",
        new_ca(.prefix)
    )]
    RsaSize {
        /// The certificate's file.
        path: PathBuf,
        /// Size of the modulus.
        bits: usize,
        /// Prefix of the CA.
        prefix: String,
    },
    /// Key and certificate are strangers.
    #[error(
        "{key} is not the key of {cert}; put the right one back, or make a new CA with --force"
    )]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        cert: PathBuf,
    },
    /// It may not sign certificates.
    #[error("{path} is not the certificate of a CA: {reason}")]
    NotACa {
        /// The file.
        path: PathBuf,
        /// What says so.
        reason: &'static str,
    },
    /// It has ended.
    #[error(
        "{path} ended on {until}; make a new CA with `{}` and issue every client's certificate again",
        new_ca(.prefix)
    )]
    Ended {
        /// The file.
        path: PathBuf,
        /// When.
        until: Timestamp,
        /// Prefix of the CA.
        prefix: String,
    },
    /// rcgen or the system's randomness failed us.
    #[error("cannot make a certificate: {0}")]
    Making(String),
}

impl From<rcgen::Error> for CaError {
    fn from(error: rcgen::Error) -> Self {
        Self::Making(error.to_string())
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The command that makes a new CA in the place of the one with this prefix.
#[must_use]
pub fn new_ca(prefix: &str) -> String {
    let ca_name = match prefix {
        PREFIX => String::new(),
        prefix => format!(" --ca-name {}", shell_word(prefix)),
    };
    format!("loghog-server-cert [DOMAIN] --force{ca_name}")
}

/// Where a CA's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    folder: PathBuf,
    prefix: String,
}

impl Files {
    /// The files of the CA with this prefix; the empty path is the current folder.
    #[must_use]
    pub fn new(folder: &Path, prefix: &str) -> Self {
        Self { folder: folder.to_owned(), prefix: prefix.to_owned() }
    }

    /// What their names begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Their folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        match self.folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => &self.folder,
        }
    }

    /// The CA's private key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.named("ca.key")
    }

    /// The CA's certificate, which every client gets.
    #[must_use]
    pub fn cert(&self) -> PathBuf {
        self.named("ca.cert")
    }

    /// The list of revoked certificates, which the daemon reads.
    #[must_use]
    pub fn crl(&self) -> PathBuf {
        self.named("ca.crl")
    }

    /// The list of issued certificates, which only this tool reads.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        self.named("ca.index")
    }

    /// The server's key and certificate.
    #[must_use]
    pub fn server(&self) -> PathBuf {
        self.named("server.pem")
    }

    fn named(&self, rest: &str) -> PathBuf {
        self.folder.join(format!("{}-{rest}", self.prefix))
    }

    /// The first of the folders that holds a CA's key.
    ///
    /// # Errors
    /// [`CaError`] when none does, or when one may not be looked into.
    pub fn find<'a>(
        folders: impl IntoIterator<Item = &'a Path>,
        prefix: &str,
    ) -> Result<Self, CaError> {
        let mut looked_for = Vec::new();
        for folder in folders {
            let files = Self::new(folder, prefix);
            if files::is_there(&files.key())? {
                return Ok(files);
            }
            looked_for.extend([files.key(), files.cert()]);
        }
        Err(CaError::NotFound { looked_for })
    }

    /// Key and certificate go together.
    fn check_whole(&self) -> Result<(), CaError> {
        let (key, cert) = (self.key(), self.cert());
        let prefix = self.prefix.clone();
        match (files::is_there(&key)?, files::is_there(&cert)?) {
            (true, true) => Ok(()),
            (true, false) => Err(CaError::Half { missing: cert, present: key, prefix }),
            (false, true) => Err(CaError::Half { missing: key, present: cert, prefix }),
            (false, false) => Err(CaError::NotFound { looked_for: vec![key, cert] }),
        }
    }
}

/// A CA's certificate: enough to tell what it has signed.
#[derive(Debug)]
pub struct CaCertificate {
    der: CertificateDer<'static>,
    /// When it ends.
    pub until: Timestamp,
    /// What TLS libraries that keep strictly to RFC 5280 (Python from 3.13 on) hold
    /// against it; LogHog does not.
    pub laxity: Option<&'static str>,
    /// How its key is called in what it signs; OpenSSL compares it.
    pub key_id: KeyIdMethod,
}

/// A CA that can sign.
#[derive(Debug)]
pub struct Ca {
    /// Its certificate.
    pub certificate: CaCertificate,
    /// Its name and its key, as rcgen wants them.
    pub issuer: Issuer<'static, KeyPair>,
}

/// The two files of a new CA.
#[derive(Debug)]
pub struct NewCaFiles {
    /// For [`Files::key`].
    pub key: String,
    /// For [`Files::cert`].
    pub cert: String,
}

impl CaCertificate {
    /// Reads the CA's certificate.
    ///
    /// # Errors
    /// [`CaError`] when it is absent or cannot be a CA's.
    pub fn open(files: &Files) -> Result<Self, CaError> {
        let path = files.cert();
        let pem = files::read(&path, PEM_BYTES_MAX)?;
        let der = CertificateDer::from_pem_slice(&pem)
            .map_err(|_| CaError::NoCertificate { path: path.clone() })?;
        let Ok((_, parsed)) = X509Certificate::from_der(&der) else {
            return Err(CaError::NoCertificate { path });
        };
        check(&parsed, &path, &files.prefix)?;
        Ok(Self {
            until: timestamp(parsed.validity().not_after),
            laxity: laxity(&parsed),
            key_id: key_id(&parsed),
            der,
        })
    }

    /// Whether this CA has issued the certificate.
    #[must_use]
    pub fn has_issued(&self, certificate: &X509Certificate<'_>) -> bool {
        self.parsed().is_some_and(|ca| {
            certificate.issuer().as_raw() == ca.subject().as_raw()
                && certificate.verify_signature(Some(ca.public_key())).is_ok()
        })
    }

    /// Whether this CA has signed the revocation list.
    #[must_use]
    pub fn has_signed(&self, list: &CertificateRevocationList<'_>) -> bool {
        self.parsed().is_some_and(|ca| {
            list.issuer().as_raw() == ca.subject().as_raw()
                && list.verify_signature(ca.public_key()).is_ok()
        })
    }

    fn parsed(&self) -> Option<X509Certificate<'_>> {
        X509Certificate::from_der(&self.der).ok().map(|(_, parsed)| parsed)
    }
}

impl Ca {
    /// A new CA.
    ///
    /// # Errors
    /// [`CaError::Making`] when the system has no randomness.
    pub fn create(domain: &Domain, now: Timestamp) -> Result<(Self, NewCaFiles), CaError> {
        let until = now + SignedDuration::from_hours(24 * i64::from(CA_DAYS));
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        date(&mut params, now - SignedDuration::from_secs(BACKDATE_S), until)?;
        let serial = new_serial()?;
        params.distinguished_name = subject(domain, &serial)?;
        params.serial_number = Some(serial.as_bytes().to_vec().into());
        // It signs servers and clients, and no further CA.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

        let cert = params.self_signed(&key)?;
        let new = NewCaFiles { key: key.serialize_pem(), cert: cert.pem() };
        let key_id = KeyIdMethod::PreSpecified(params.key_identifier(&key));
        let certificate = CaCertificate { der: cert.into(), until, laxity: None, key_id };
        Ok((Self { certificate, issuer: Issuer::new(params, key) }, new))
    }

    /// Reads a CA's certificate and key.
    ///
    /// # Errors
    /// [`CaError`] with the file and the remedy.
    pub fn open(files: &Files, now: Timestamp) -> Result<Self, CaError> {
        files.check_whole()?;
        let certificate = CaCertificate::open(files)?;
        if certificate.until <= now {
            return Err(CaError::Ended {
                path: files.cert(),
                until: certificate.until,
                prefix: files.prefix.clone(),
            });
        }
        let key = key_pair(&files.key())?;
        if !certificate.parsed().is_some_and(|parsed| is_key_of(&key, parsed.public_key())) {
            return Err(CaError::Mismatch { key: files.key(), cert: files.cert() });
        }
        let issuer = Issuer::from_ca_cert_der(&certificate.der, key)?;
        Ok(Self { certificate, issuer })
    }
}

/// Two CAs of one domain have to have different names: whoever trusts both, as
/// while moving from one to the other, looks them up by name, and so do
/// revocation lists.
fn subject(domain: &Domain, serial: &Serial) -> Result<DistinguishedName, CaError> {
    let mut digits = serial.to_string();
    digits.truncate(QUALIFIER_DIGITS);
    let mut subject = DistinguishedName::new();
    let name = format!("{CA_COMMON_NAME_PREFIX}{}", domain.as_str());
    subject.push(DnType::CommonName, name);
    let digits = DnValue::PrintableString(digits.as_str().try_into()?);
    subject.push(DnType::CustomDnType(DN_QUALIFIER.to_vec()), digits);
    Ok(subject)
}

/// A certificate that may sign others, with a key that is still in use.
fn check(parsed: &X509Certificate<'_>, path: &Path, prefix: &str) -> Result<(), CaError> {
    let not_a_ca = |reason| CaError::NotACa { path: path.to_owned(), reason };
    // X.509 v1 has no extensions to say so; whoever trusts it has to know.
    if parsed.version() == X509Version::V3 && !parsed.is_ca() {
        return Err(not_a_ca("its basic constraints do not say `CA:TRUE`"));
    }
    if parsed.key_usage().ok().flatten().is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(not_a_ca("its key usage leaves out `keyCertSign`"));
    }
    if let Ok(PublicKey::RSA(key)) = parsed.public_key().parsed() {
        let bits = key.key_size();
        if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
            return Err(CaError::RsaSize { path: path.to_owned(), bits, prefix: prefix.into() });
        }
    }
    Ok(())
}

/// RFC 5280, 4.2.1.3 and 4.2.1.9: a CA says that it is one, and that it signs.
fn laxity(parsed: &X509Certificate<'_>) -> Option<&'static str> {
    if parsed.version() != X509Version::V3 {
        return Some("is X.509 v1");
    }
    matches!(parsed.key_usage(), Ok(None)).then_some("does not say what its key is for")
}

fn key_id(parsed: &X509Certificate<'_>) -> KeyIdMethod {
    let written =
        parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
    written.map_or(KeyIdMethod::Sha256, KeyIdMethod::PreSpecified)
}

fn key_pair(path: &Path) -> Result<KeyPair, CaError> {
    key_of(&files::read(path, PEM_BYTES_MAX)?, path)
}

/// The key in a PEM file that was read from `path`.
///
/// # Errors
/// [`CaError`] when there is none, or none that can be used.
pub fn key_of(pem: &[u8], path: &Path) -> Result<KeyPair, CaError> {
    if pem.windows(9).any(|window| window == b"ENCRYPTED") {
        return Err(CaError::Encrypted { path: path.to_owned() });
    }
    let unusable =
        |reason: &str| CaError::UnusableKey { path: path.to_owned(), reason: reason.into() };
    let pkcs8 = match PrivateKeyDer::from_pem_slice(pem) {
        Ok(PrivateKeyDer::Pkcs8(key)) => key,
        Ok(PrivateKeyDer::Pkcs1(key)) => {
            PrivatePkcs8KeyDer::from(pkcs8::from_pkcs1(key.secret_pkcs1_der()))
        }
        Ok(_) => {
            return Err(unusable(&format!(
                "it is in the form `EC PRIVATE KEY`; convert it: `openssl pkey -in {} -out NEW`, then put NEW in its place",
                path.display()
            )));
        }
        Err(_) => return Err(CaError::NoKey { path: path.to_owned() }),
    };
    KeyPair::try_from(&pkcs8).map_err(|_| {
        unusable("it is no RSA key of 2048 to 4096 bits, and no EC key on P-256, P-384 or Ed25519")
    })
}

/// Whether a certificate is for this key.
#[must_use]
pub fn is_key_of(key: &KeyPair, public: &SubjectPublicKeyInfo<'_>) -> bool {
    public.subject_public_key.data == key.public_key_raw()
}

/// A new random serial number.
///
/// # Errors
/// [`CaError::Making`] when the system has no randomness.
pub fn new_serial() -> Result<Serial, CaError> {
    Serial::random().ok_or_else(|| CaError::Making("the system gives no random numbers".into()))
}

/// Sets a certificate's life.
///
/// # Errors
/// [`CaError::Making`] past the year 9999.
pub fn date(
    params: &mut CertificateParams,
    from: Timestamp,
    until: Timestamp,
) -> Result<(), CaError> {
    params.not_before = asn1_time(from)?.to_datetime();
    params.not_after = asn1_time(until)?.to_datetime();
    Ok(())
}

/// A time as certificates write it.
///
/// # Errors
/// [`CaError::Making`] past the year 9999.
pub fn asn1_time(time: Timestamp) -> Result<ASN1Time, CaError> {
    ASN1Time::from_timestamp(time.as_second()).map_err(|error| CaError::Making(error.to_string()))
}

/// A time as certificates write it -> ours.
#[must_use]
pub fn timestamp(time: ASN1Time) -> Timestamp {
    // Both reach to the year 9999.
    Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::MAX)
}
