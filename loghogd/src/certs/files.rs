//! Reads the PEM files that TLS needs.
//! Paths -> `Material`, still as DER.
//! Invariant: no file costs more memory than its limit, and none makes us wait.
//! Leaves out: whether it fits together; see `identity` and `authority`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use nix::unistd::{User, geteuid};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::error::{CertsError, Role};
use crate::config::checked::TlsPaths;
use crate::limits::{CERTIFICATES_BYTES_MAX, REVOCATIONS_BYTES_MAX};

/// What the files hold.
#[derive(Debug)]
pub(super) struct Material {
    /// The server's certificate, then those between it and its authority.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// The server's key.
    pub(super) key: PrivateKeyDer<'static>,
    /// Whom we trust; at least one.
    pub(super) authorities: Vec<CertificateDer<'static>>,
    /// Their revocation lists.
    pub(super) lists: Vec<CertificateRevocationListDer<'static>>,
}

impl Material {
    pub(super) fn read(paths: &TlsPaths) -> Result<Material, CertsError> {
        let pemfile = read(&paths.pemfile, Role::Pemfile, CERTIFICATES_BYTES_MAX)?;
        let cacert = read(&paths.cacert, Role::Cacert, CERTIFICATES_BYTES_MAX)?;
        let lists = match &paths.crl {
            Some(path) => {
                let crl = read(path, Role::Crl, REVOCATIONS_BYTES_MAX)?;
                items(&crl, path, Role::Crl, "no revocation list in it (BEGIN X509 CRL)")?
            }
            None => Vec::new(),
        };
        let no_certificate = "no certificate in it (BEGIN CERTIFICATE)";
        Ok(Material {
            key: key(&pemfile, &paths.pemfile)?,
            chain: items(&pemfile, &paths.pemfile, Role::Pemfile, no_certificate)?,
            authorities: items(&cacert, &paths.cacert, Role::Cacert, no_certificate)?,
            lists,
        })
    }
}

/// All blocks of one kind; at least one.
fn items<T: PemObject>(
    bytes: &[u8],
    path: &Path,
    role: Role,
    what: &'static str,
) -> Result<Vec<T>, CertsError> {
    let lacking = |what| CertsError::Lacking { path: path.to_owned(), role, what };
    let items: Result<Vec<T>, pem::Error> = T::pem_slice_iter(bytes).collect();
    match items {
        Ok(items) if items.is_empty() => Err(lacking(what)),
        Ok(items) => Ok(items),
        Err(_) => Err(lacking("a PEM block in it is damaged")),
    }
}

fn key(bytes: &[u8], path: &Path) -> Result<PrivateKeyDer<'static>, CertsError> {
    let path = path.to_owned();
    match PrivateKeyDer::from_pem_slice(bytes) {
        Ok(key) => Ok(key),
        Err(_) if bytes.windows(9).any(|part| part == b"ENCRYPTED") => {
            Err(CertsError::Encrypted { path })
        }
        Err(_) => Err(CertsError::Lacking {
            path,
            role: Role::Pemfile,
            what: "no private key in it (BEGIN PRIVATE KEY)",
        }),
    }
}

fn read(path: &Path, role: Role, bytes_max: u64) -> Result<Vec<u8>, CertsError> {
    // Asked before opening: opening a pipe would wait for a writer.
    let metadata = fs::metadata(path).map_err(|source| fault(path, role, source))?;
    if !metadata.is_file() {
        return Err(CertsError::Irregular { path: path.to_owned(), role });
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(|source| fault(path, role, source))?;
    if bytes.len() as u64 > bytes_max {
        return Err(CertsError::TooLong { path: path.to_owned(), role, bytes_max });
    }
    Ok(bytes)
}

fn fault(path: &Path, role: Role, source: io::Error) -> CertsError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => CertsError::Missing { path, role },
        io::ErrorKind::PermissionDenied => CertsError::Denied { path, user: user() },
        _ => CertsError::System { path, source },
    }
}

/// Who we are, by name if we have one.
fn user() -> String {
    let id = geteuid();
    let named = User::from_uid(id).ok().flatten();
    named.map_or_else(|| id.to_string(), |user| user.name)
}
