//! The list of revoked certificates: `PREFIX-ca.crl`, a PEM `X509 CRL` (RFC 5280, section 5).
//! File -> `Revocations`; `Revocations` and `Ca` -> file.
//! Invariant: a serial that was on a list stays on the next one.
//! Leaves out: names; see [`crate::index`].
//!
//! A list is good until its CA ends. It is a file on the daemon's own disk,
//! rewritten at each revocation, so its age says nothing; a nearer end would
//! only turn every client away on the day that somebody forgot to renew it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateRevocationListParams, RevokedCertParams, SerialNumber};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::ca::{Ca, CaCertificate, CaError, asn1_time, timestamp};
use crate::files::{self, FileError};
use crate::limits::{BACKDATE_S, CRL_SECONDS_MIN, LIST_BYTES_MAX};
use crate::serial::Serial;

/// Why a revocation list cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is something else.
    #[error(
        "{path} is no revocation list (a PEM block `BEGIN X509 CRL`); move it away, and the next run makes a new one of what the index says"
    )]
    NotAList {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else's.
    #[error(
        "{path} was not signed by this CA; move it away, and the next run makes a new one of what the index says"
    )]
    OtherCa {
        /// The file.
        path: PathBuf,
    },
    /// Signing failed.
    #[error(transparent)]
    Ca(#[from] CaError),
}

/// What a revocation list says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocations {
    /// Each revoked serial, and since when it is.
    revoked: BTreeMap<Serial, Timestamp>,
    /// The list's own number, which only ever grows.
    number: u64,
}

impl Revocations {
    /// Reads a list, or `None` when there is none.
    ///
    /// # Errors
    /// [`RevocationError`] when the file is no list of this CA.
    pub fn open(path: &Path, ca: &CaCertificate) -> Result<Option<Self>, RevocationError> {
        let Some(pem) = files::read_if_there(path, LIST_BYTES_MAX)? else {
            return Ok(None);
        };
        let not_a_list = || RevocationError::NotAList { path: path.to_owned() };
        let der = CertificateRevocationListDer::from_pem_slice(&pem).map_err(|_| not_a_list())?;
        let (_, list) = CertificateRevocationList::from_der(&der).map_err(|_| not_a_list())?;
        if !ca.has_signed(&list) {
            return Err(RevocationError::OtherCa { path: path.to_owned() });
        }
        let revoked = list
            .iter_revoked_certificates()
            .map(|one| (Serial::from_bytes(one.raw_serial()), timestamp(one.revocation_date)))
            .collect();
        let number = list.crl_number().and_then(|number| u64::try_from(number).ok());
        Ok(Some(Self { revoked, number: number.unwrap_or(0) }))
    }

    /// Since when a serial is revoked.
    #[must_use]
    pub fn since(&self, serial: &Serial) -> Option<Timestamp> {
        self.revoked.get(serial).copied()
    }

    /// Adds a serial; one that is on the list already keeps its date.
    pub fn add(&mut self, serial: &Serial, since: Timestamp) {
        self.revoked.entry(serial.clone()).or_insert(since);
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Serial, &Timestamp)> {
        self.revoked.iter()
    }

    /// The file that says this, signed.
    ///
    /// # Errors
    /// [`CaError`] when the CA may not sign lists.
    pub fn sign(&self, ca: &Ca, now: Timestamp) -> Result<String, CaError> {
        let from = now - SignedDuration::from_secs(BACKDATE_S);
        let soonest = now + SignedDuration::from_secs(CRL_SECONDS_MIN);
        let until = ca.certificate.until.max(soonest);
        let revoked_certs = self.revoked.iter().map(revoked_cert).collect::<Result<_, _>>()?;
        // The clock goes into the number so that it grows even when the last list was lost.
        let clock = u64::try_from(now.as_second()).unwrap_or(0);
        let params = CertificateRevocationListParams {
            this_update: asn1_time(from)?.to_datetime(),
            next_update: asn1_time(until)?.to_datetime(),
            crl_number: SerialNumber::from(clock.max(self.number.saturating_add(1))),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: ca.certificate.key_id.clone(),
        };
        Ok(params.signed_by(&ca.issuer)?.pem()?)
    }
}

fn revoked_cert((serial, since): (&Serial, &Timestamp)) -> Result<RevokedCertParams, CaError> {
    Ok(RevokedCertParams {
        serial_number: serial.as_bytes().to_vec().into(),
        revocation_time: asn1_time(*since)?.to_datetime(),
        reason_code: None,
        invalidity_date: None,
    })
}
