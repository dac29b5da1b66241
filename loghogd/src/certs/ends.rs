//! When certificates end.
//! The files of TLS -> each certificate that binds us, with its last moment.
//! Invariant: nothing here stops the daemon.
//! Leaves out: what the own log says of it (`warnings`).

use std::path::PathBuf;

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;

use super::error::CertsError;
use super::files::Material;
use super::{authority, subject};
use crate::config::checked::TlsPaths;

/// A certificate that ends some day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Whose it is: `server`, or `authority` with its name.
    pub whose: String,
    /// Its file.
    pub path: PathBuf,
    /// Its last moment.
    pub at: Timestamp,
}

/// The end of the server's certificate, and of each authority's.
///
/// # Errors
/// When they cannot be read.
pub fn ends(paths: &TlsPaths) -> Result<Vec<End>, CertsError> {
    let material = Material::read(paths)?;
    let own = material.chain.first().and_then(|der| subject::parse(der));
    let own = own.map(|own| end("server".to_owned(), &own, paths.pemfile.clone()));
    let authorities = authority::parsed(&material, paths)?;
    let of_authority = |authority: &X509Certificate<'_>| {
        let whose = format!("authority {}", subject::name(authority.subject()));
        end(whose, authority, paths.cacert.clone())
    };
    Ok(own.into_iter().chain(authorities.iter().map(of_authority)).collect())
}

fn end(whose: String, certificate: &X509Certificate<'_>, path: PathBuf) -> End {
    let seconds = certificate.validity().not_after.timestamp();
    End { whose, path, at: Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX) }
}
