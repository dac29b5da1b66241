//! What works today, but deserves a look.
//! The files of TLS and the time -> lines for the log.
//! Invariant: nothing here stops the daemon.
//! Leaves out: what does; see `CertsError`.

use std::fs;
use std::os::unix::fs::MetadataExt;

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::time::ASN1Time;

use super::error::CertsError;
use super::files::Material;
use super::{authority, identity, subject};
use crate::config::checked::TlsPaths;
use crate::limits::{AUTHORITY_WARNING_DAYS, CERTIFICATE_WARNING_DAYS};

const SECONDS_A_DAY: i64 = 86_400;

/// What the log should say of the certificates, at the start and after each
/// reload. Read again by whoever we are now: the user may have changed since
/// they were loaded.
pub fn warnings(paths: &TlsPaths) -> Vec<String> {
    warnings_at(paths, ASN1Time::now().timestamp())
}

/// `now` in seconds since 1970.
pub(super) fn warnings_at(paths: &TlsPaths, now: i64) -> Vec<String> {
    match look(paths, now) {
        Ok(warnings) => warnings,
        Err(error) => vec![format!("the certificates cannot be reloaded as they are: {error}")],
    }
}

fn look(paths: &TlsPaths, now: i64) -> Result<Vec<String>, CertsError> {
    let material = Material::read(paths)?;
    identity::check(&material, paths)?;
    authority::check(&material, paths)?;
    let authorities = authority::parsed(&material, paths)?;
    let mut warnings = Vec::new();
    of_own(&material, &authorities, paths, now, &mut warnings);
    for authority in &authorities {
        of_authority(authority, paths, now, &mut warnings);
    }
    of_lists(&material, &authorities, paths, now, &mut warnings);
    Ok(warnings)
}

fn of_own(
    material: &Material,
    authorities: &[X509Certificate<'_>],
    paths: &TlsPaths,
    now: i64,
    warnings: &mut Vec<String>,
) {
    let path = paths.pemfile.display();
    let renew = "renew it in that folder: loghog-server-cert --renew";
    if fs::metadata(&paths.pemfile).is_ok_and(|metadata| metadata.mode() & 0o004 != 0) {
        warnings.push(format!("{path}: everybody may read the private key; chmod 600 {path}"));
    }
    let Some(own) = material.chain.first().and_then(|der| subject::parse(der)) else {
        return;
    };
    if let Some(end) = end(&own, now, CERTIFICATE_WARNING_DAYS) {
        warnings.push(format!("{path}: the server's certificate {end}; {renew}"));
    }
    let begins = own.validity().not_before.timestamp();
    if now < begins {
        let day = subject::day(begins);
        warnings.push(format!(
            "{path}: the server's certificate begins only on {day}; look at the clock"
        ));
    }
    if !matches!(own.subject_alternative_name(), Ok(Some(_))) {
        warnings.push(format!("{path}: the server's certificate has no subjectAltName, so that clients of today refuse it; {renew}"));
    }
    let chain: Vec<_> = material.chain.iter().filter_map(|der| subject::parse(der)).collect();
    if !chain.iter().any(|one| authorities.iter().any(|authority| has_issued(authority, one))) {
        let cacert = paths.cacert.display();
        warnings.push(format!("{path}: the server's certificate is not from an authority in {cacert}; clients that trust only those refuse it"));
    }
}

fn of_authority(
    authority: &X509Certificate<'_>,
    paths: &TlsPaths,
    now: i64,
    warnings: &mut Vec<String>,
) {
    let path = paths.cacert.display();
    let name = subject::name(authority.subject());
    if let Some(end) = end(authority, now, AUTHORITY_WARNING_DAYS) {
        warnings.push(format!("{path}: the authority {name} {end}; make a new one with loghog-server-cert, and trust both until every client has a new certificate"));
    }
    if let Some(bits) = subject::short_rsa_bits(authority) {
        warnings.push(format!("{path}: the RSA key of the authority {name} has only {bits} bits, so that its clients are refused; give them new certificates with loghog-client-cert"));
    }
}

fn of_lists(
    material: &Material,
    authorities: &[X509Certificate<'_>],
    paths: &TlsPaths,
    now: i64,
    warnings: &mut Vec<String>,
) {
    let Some(path) = &paths.crl else {
        return;
    };
    let path = path.display();
    let parse = |der| CertificateRevocationList::from_der(der).ok().map(|(_, list)| list);
    let lists: Vec<_> = material.lists.iter().filter_map(|der| parse(der)).collect();
    for due in lists.iter().filter_map(CertificateRevocationList::next_update) {
        if due.timestamp() < now {
            let day = subject::day(due.timestamp());
            warnings.push(format!("{path}: the revocation list was due to be renewed by {day}; it still binds, but may be out of date; loghog-server-cert --renew"));
        }
    }
    for authority in authorities {
        if !lists.iter().any(|list| authority::is_of(list, authority)) {
            let name = subject::name(authority.subject());
            warnings.push(format!("{path}: no revocation list of the authority {name}, so that none of its certificates can be revoked; add it to this file"));
        }
    }
}

/// Where the end of a certificate is near or past: the words for it.
fn end(certificate: &X509Certificate<'_>, now: i64, warning_days: i64) -> Option<String> {
    let end = certificate.validity().not_after.timestamp();
    let day = subject::day(end);
    let days_left = end.saturating_sub(now).div_euclid(SECONDS_A_DAY);
    match days_left {
        ..0 => Some(format!("expired on {day}")),
        0 => Some(format!("expires within a day, on {day}")),
        _ if days_left < warning_days => Some(format!("expires in {days_left} days, on {day}")),
        _ => None,
    }
}

fn has_issued(authority: &X509Certificate<'_>, other: &X509Certificate<'_>) -> bool {
    authority.subject().as_raw() == other.issuer().as_raw()
        && other.verify_signature(Some(authority.public_key())).is_ok()
}
