//! New certificates in the place of those that TLS libraries of today refuse.
//! A folder with a CA and the files that it was used for -> the same files, fit for use.
//! Invariant: a file is the old one or the new one, the old one stays beside it, and
//! nobody gets a certificate who had none of this CA, or was shut out.
//! Leaves out: the server's file; see [`crate::server`].
//!
//! The original's scripts left `NAME.pem` of every client beside the CA: an X.509 v1
//! certificate, then its key.

use std::ffi::OsString;
use std::fmt::{self, Write};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Version;

use crate::books::{self, Books};
use crate::ca::{self, Ca, CaCertificate, Files, timestamp};
use crate::files::{self, Audience, Existing, FileError};
use crate::index::Kind;
use crate::issue::{Issued, Wanted, sans_of};
use crate::limits::{OLD_FILES_MAX, PEM_BYTES_MAX, RSA_BITS_MAX, RSA_BITS_MIN, SAN_COUNT_MAX};
use crate::name::{Name, San, shell_word};
use crate::serial::Serial;

/// What a file is called when another has taken its place.
const OLD_SUFFIX: &str = ".old";

/// Why a certificate is refused today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is X.509 v1 (or v2), without extensions.
    Version,
    /// Its RSA key is of a size that is out of use, in bits.
    RsaSize(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version => out.write_str("X.509 v1"),
            Self::RsaSize(bits) => write!(out, "an RSA key of {bits} bits"),
        }
    }
}

/// What is wrong with a certificate in the eyes of TLS libraries of today.
#[must_use]
pub fn fault_of(certificate: &X509Certificate<'_>) -> Option<Fault> {
    if certificate.version() != X509Version::V3 {
        return Some(Fault::Version);
    }
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&key.key_size()) => {
            Some(Fault::RsaSize(key.key_size()))
        }
        _ => None,
    }
}

/// What to do with a file.
#[derive(Debug)]
enum Verdict {
    /// It holds a client's certificate that is refused today.
    Reissue(Box<Client>),
    /// It stays as it is, for this reason.
    Stays(String),
}

/// A client that needs a new certificate.
#[derive(Debug)]
struct Client {
    name: Name,
    sans: Vec<San>,
    fault: Fault,
    /// Its key, if that is good enough.
    key: Option<KeyPair>,
}

/// A client's file, read and judged.
#[derive(Debug)]
struct Looked {
    path: PathBuf,
    bytes: Vec<u8>,
    client: Box<Client>,
}

/// All that is to be done about the clients; nothing was changed to know it.
#[derive(Debug)]
pub struct Plan {
    clients: Vec<Looked>,
    stay: String,
}

/// Looks at every `*.pem` beside the CA, but for the server's.
///
/// # Errors
/// A file or the folder that cannot be read.
pub fn plan(files: &Files, ca: &CaCertificate, now: Timestamp) -> anyhow::Result<Plan> {
    let books = Books::open(files, ca)?;
    let is_revoked = |serial: &Serial| books.revocations.since(serial).is_some();
    let mut plan = Plan { clients: Vec::new(), stay: String::new() };
    for path in pem_files(files)? {
        let bytes = match files::read(&path, PEM_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error @ (FileError::Irregular { .. } | FileError::TooLong { .. })) => {
                writeln!(plan.stay, "left {}: {error}", path.display())?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match judge(&path, &bytes, ca, is_revoked, now) {
            Verdict::Reissue(client) => plan.clients.push(Looked { path, bytes, client }),
            Verdict::Stays(why) => writeln!(plan.stay, "left {}: {why}", path.display())?,
        }
    }
    Ok(plan)
}

/// The files that may be clients', in the order of their names.
fn pem_files(files: &Files) -> Result<Vec<PathBuf>, FileError> {
    let folder = files.folder();
    let fault = |source| FileError::System { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(fault)? {
        // Without the folder: it is the current one.
        let path = PathBuf::from(entry.map_err(fault)?.file_name());
        if path.extension().is_some_and(|end| end == "pem") && path != files.server() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn judge(
    path: &Path,
    bytes: &[u8],
    ca: &CaCertificate,
    is_revoked: impl Fn(&Serial) -> bool,
    now: Timestamp,
) -> Verdict {
    let stays = |why: &str| Verdict::Stays(why.to_owned());
    let Ok(der) = CertificateDer::from_pem_slice(bytes) else {
        return stays("no certificate in it (a PEM block `BEGIN CERTIFICATE`)");
    };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else {
        return stays("the certificate in it is damaged");
    };
    if certificate.subject().as_raw() == certificate.issuer().as_raw() || certificate.is_ca() {
        return stays("the certificate of a CA");
    }
    if !ca.has_issued(&certificate) {
        return stays("its certificate is not from this CA");
    }
    let Some(fault) = fault_of(&certificate) else {
        return stays("its certificate is in order");
    };
    if is_revoked(&Serial::from_bytes(certificate.raw_serial())) {
        return stays("its certificate is revoked");
    }
    let common_name = certificate.subject().iter_common_name().next();
    let common_name = common_name.and_then(|name| name.as_str().ok()).unwrap_or_default();
    let name: Name = match common_name.parse() {
        Ok(name) => name,
        Err(error) => {
            return Verdict::Stays(format!("its name `{}`: {error}", common_name.escape_debug()));
        }
    };
    let until = timestamp(certificate.validity().not_after);
    if until <= now {
        return Verdict::Stays(format!(
            "its certificate ended on {}; if its owner may log again: `loghog-client-cert {} --force`",
            until.strftime("%Y-%m-%d"),
            shell_word(name.as_str()),
        ));
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    if stem.ends_with("-server") && *stem != *name.as_str() {
        return stays("by its name it is a server's of another CA; see --ca-name");
    }
    let mut sans: Vec<San> = common_name.parse().into_iter().collect();
    for san in sans_of(&certificate) {
        if !sans.contains(&san) && sans.len() < SAN_COUNT_MAX {
            sans.push(san);
        }
    }
    let key =
        ca::key_of(bytes, path).ok().filter(|key| ca::is_key_of(key, certificate.public_key()));
    Verdict::Reissue(Box::new(Client { name, sans, fault, key }))
}

impl Plan {
    /// Makes the new certificates, one file after the other. A run that was ended in the
    /// middle is taken up by the next: what is done then is in order.
    ///
    /// # Errors
    /// The file concerned; those before it are done.
    pub fn carry_out(
        self,
        files: &Files,
        ca: &Ca,
        days: u32,
        now: Timestamp,
        told: &mut String,
    ) -> anyhow::Result<()> {
        told.push_str(&self.stay);
        for Looked { path, bytes, client } in self.clients {
            let Client { name, sans, fault, key } = *client;
            let exposed = fs::metadata(&path).is_ok_and(|metadata| metadata.mode() & 0o004 != 0);
            let which = if key.is_some() { "the key that it had" } else { "a new key" };
            let keeps_key = key.is_some();
            let wanted = Wanted { name, kind: Kind::Client, sans, days };
            let issued = match key {
                Some(key) => ca.issue_for(key, wanted, now)?,
                None => ca.issue(wanted, now)?,
            };
            let old = replace(files, &path, &bytes, &issued)?;
            let (name, until) = (issued.entry.name.as_str(), issued.entry.until);
            writeln!(
                told,
                "made {}, key and certificate of {name}, until {}, with {which}; what was there \
                 ({fault}) is in {}",
                path.display(),
                until.strftime("%Y-%m-%d"),
                old.display(),
            )?;
            if issued.cut_short {
                writeln!(told, "note: it ends with its CA, sooner than asked for")?;
            }
            if keeps_key && exposed {
                writeln!(
                    told,
                    "note: everybody on this machine could read its key; if somebody may have, give \
                     it another: `loghog-client-cert {} --force`",
                    shell_word(name),
                )?;
            }
        }
        Ok(())
    }

    /// How many clients have to be given a new file.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// None has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

/// Puts what was issued in the place of what is in the file, and returns what that is
/// called now.
///
/// # Errors
/// The file concerned; running it again does the rest.
pub fn replace(
    files: &Files,
    path: &Path,
    bytes: &[u8],
    issued: &Issued,
) -> anyhow::Result<PathBuf> {
    let old = keep(path, bytes)?;
    books::record(files, issued.entry.clone())?;
    files::publish(path, issued.pem.as_bytes(), Audience::Owner, Existing::Replace)?;
    Ok(old)
}

/// Writes a file's bytes beside it, under a name that is free or has them already.
fn keep(path: &Path, bytes: &[u8]) -> Result<PathBuf, FileError> {
    let mut last = None;
    for number in 1..=OLD_FILES_MAX {
        let mut name = OsString::from(path);
        name.push(OLD_SUFFIX);
        if number > 1 {
            name.push(format!(".{number}"));
        }
        let old = PathBuf::from(name);
        match files::publish(&old, bytes, Audience::Owner, Existing::Keep) {
            Ok(()) => return Ok(old),
            // A run that was ended in the middle has kept it.
            Err(FileError::Exists { .. })
                if files::read(&old, PEM_BYTES_MAX).is_ok_and(|kept| kept == bytes) =>
            {
                return Ok(old);
            }
            Err(error @ FileError::Exists { .. }) => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| FileError::Exists { path: path.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_kept_once_however_often_a_run_was_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.pem");
        let first = keep(&path, b"one").unwrap();
        assert_eq!(first, folder.path().join("web.pem.old"));
        assert_eq!(keep(&path, b"one").unwrap(), first);
        let second = keep(&path, b"two").unwrap();
        assert_eq!(second, folder.path().join("web.pem.old.2"));
        assert_eq!(fs::read(&first).unwrap(), b"one");
        assert_eq!(fs::metadata(&second).unwrap().mode() & 0o777, 0o600);
    }
}
