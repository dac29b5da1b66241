//! Checks the server's own key and certificate.
//! `Material` -> nothing, or why clients would refuse us.
//! Invariant: what passes can be shown to a TLS library of today.
//! Leaves out: dates; they make warnings.

use std::path::Path;

use rustls::InconsistentKeys;
use x509_parser::x509::X509Version;

use super::error::{CertsError, Role};
use super::files::Material;
use super::subject;
use crate::config::checked::TlsPaths;

pub(super) fn check(material: &Material, paths: &TlsPaths) -> Result<(), CertsError> {
    let path = || paths.pemfile.clone();
    let Some(own) = material.chain.first().and_then(|der| subject::parse(der)) else {
        return Err(CertsError::Lacking {
            path: path(),
            role: Role::Pemfile,
            what: "the certificate in it is damaged",
        });
    };
    if own.version() != X509Version::V3 {
        return Err(CertsError::OwnVersion { path: path() });
    }
    match subject::short_rsa_bits(&own) {
        Some(bits) => Err(CertsError::OwnKeyShort { path: path(), bits }),
        None => Ok(()),
    }
}

/// Why rustls does not take the key and the certificate.
pub(super) fn refused(error: rustls::Error, path: &Path) -> CertsError {
    let path = path.to_owned();
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            CertsError::Mismatch { path }
        }
        other => CertsError::OwnKey { path, reason: other.to_string() },
    }
}
