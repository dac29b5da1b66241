//! Checks whom we trust, and their revocation lists.
//! `Material` -> `RootCertStore`, or why it would turn clients away.
//! Invariant: a list that passes was signed by every authority of its issuer's name.
//! Leaves out: dates; they make warnings.

use rustls::RootCertStore;
use rustls::server::VerifierBuilderError;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::x509::X509Version;

use super::error::{CertsError, Role};
use super::files::Material;
use super::subject;
use crate::config::checked::TlsPaths;

pub(super) fn check(material: &Material, paths: &TlsPaths) -> Result<(), CertsError> {
    let authorities = parsed(material, paths)?;
    for authority in &authorities {
        // X.509 v1 has no extensions to say so; whoever trusts it has to know.
        if authority.version() == X509Version::V3 && !authority.is_ca() {
            let subject = subject::name(authority.subject());
            return Err(CertsError::NotAnAuthority { path: paths.cacert.clone(), subject });
        }
    }
    // One that is out of use harms nobody as long as there is another.
    let short: Option<Vec<usize>> = authorities.iter().map(subject::short_rsa_bits).collect();
    if let Some(bits) = short.and_then(|bits| bits.first().copied()) {
        return Err(CertsError::AuthorityKeyShort { path: paths.cacert.clone(), bits });
    }
    material.lists.iter().try_for_each(|list| check_list(list, &authorities, paths))
}

/// A list that rustls cannot verify makes it refuse every client of that
/// authority; it finds the list by the authority's name alone.
fn check_list(
    der: &[u8],
    authorities: &[X509Certificate<'_>],
    paths: &TlsPaths,
) -> Result<(), CertsError> {
    let path = paths.crl.clone().unwrap_or_default();
    let Ok((_, list)) = CertificateRevocationList::from_der(der) else {
        let what = "the revocation list in it is damaged";
        return Err(CertsError::Lacking { path, role: Role::Crl, what });
    };
    let mut namesakes = authorities.iter().filter(|authority| is_of(&list, authority)).peekable();
    let stranger = namesakes.peek().is_none()
        || namesakes.any(|authority| list.verify_signature(authority.public_key()).is_err());
    match stranger {
        true => Err(CertsError::ListOfAnother { path, issuer: subject::name(list.issuer()) }),
        false => Ok(()),
    }
}

/// Whether a list bears an authority's name.
pub(super) fn is_of(list: &CertificateRevocationList<'_>, authority: &X509Certificate<'_>) -> bool {
    list.issuer().as_raw() == authority.subject().as_raw()
}

pub(super) fn parsed<'a>(
    material: &'a Material,
    paths: &TlsPaths,
) -> Result<Vec<X509Certificate<'a>>, CertsError> {
    let parsed: Option<Vec<_>> =
        material.authorities.iter().map(|der| subject::parse(der)).collect();
    parsed.ok_or_else(|| damaged(paths))
}

pub(super) fn roots(material: &Material, paths: &TlsPaths) -> Result<RootCertStore, CertsError> {
    let mut roots = RootCertStore::empty();
    for authority in &material.authorities {
        roots.add(authority.clone()).map_err(|_| damaged(paths))?;
    }
    Ok(roots)
}

fn damaged(paths: &TlsPaths) -> CertsError {
    CertsError::Lacking {
        path: paths.cacert.clone(),
        role: Role::Cacert,
        what: "a certificate in it is damaged",
    }
}

/// Why rustls does not take the lists.
pub(super) fn list_refused(error: &VerifierBuilderError, paths: &TlsPaths) -> CertsError {
    CertsError::List { path: paths.crl.clone().unwrap_or_default(), reason: error.to_string() }
}
