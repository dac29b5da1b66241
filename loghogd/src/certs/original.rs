//! Which certificates are as the original's scripts made them.
//! The files of TLS -> what TLS libraries of today hold against them.
//! Invariant: looks only, also at what a start would refuse.
//! Leaves out: clients' certificates, which are with the clients.

use x509_parser::x509::X509Version;

use super::error::{CertsError, Role};
use super::files::Material;
use super::subject;
use crate::config::checked::TlsPaths;

/// A certificate of the original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Old {
    /// Which file it is in.
    pub role: Role,
    /// Its owner, in quotes.
    pub name: String,
    /// It is X.509 v1.
    pub is_v1: bool,
    /// The size of its RSA key, in bits, if that is too short.
    pub short_bits: Option<usize>,
    /// A start fails because of it.
    pub is_refused: bool,
}

/// The server's certificate and its authorities, as far as they are old.
///
/// # Errors
/// When they cannot be read.
pub fn of_the_original(paths: &TlsPaths) -> Result<Vec<Old>, CertsError> {
    let material = Material::read(paths)?;
    let own = material.chain.first().into_iter().map(|der| (Role::Pemfile, der));
    let all = own.chain(material.authorities.iter().map(|der| (Role::Cacert, der)));
    let parsed = all.filter_map(|(role, der)| Some((role, subject::parse(der)?)));
    let looked = parsed.map(|(role, certificate)| Old {
        role,
        name: subject::name(certificate.subject()),
        is_v1: certificate.version() != X509Version::V3,
        short_bits: subject::short_rsa_bits(&certificate),
        is_refused: role == Role::Pemfile,
    });
    let mut looked: Vec<Old> = looked.collect();
    // One short authority harms nobody as long as there is another.
    let is_sound = |old: &Old| old.role == Role::Cacert && old.short_bits.is_none();
    let has_sound = looked.iter().any(is_sound);
    for authority in looked.iter_mut().filter(|old| old.role == Role::Cacert) {
        authority.is_refused = !has_sound;
    }
    looked.retain(|old| old.is_v1 || old.short_bits.is_some());
    Ok(looked)
}
