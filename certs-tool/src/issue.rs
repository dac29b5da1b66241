//! Issues a server's or a client's certificate, with its key.
//! `Wanted` and `Ca` -> `Issued`.
//! Invariant: X.509 v3 with a P-256 key or the one that its owner has, inside the life of its CA, and
//! checked against the CA's certificate before it is handed out.
//! Leaves out: where it is written, and who has it; see [`crate::index`].

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::ca::{Ca, CaError, date, new_serial};
use crate::index::{Entry, Kind};
use crate::limits::BACKDATE_S;
use crate::name::{Name, San};

/// What a certificate shall say.
#[derive(Debug)]
pub struct Wanted {
    /// Whose it is.
    pub name: Name,
    /// What it is for.
    pub kind: Kind,
    /// Under which names its owner can be reached.
    pub sans: Vec<San>,
    /// How long it lives, from now.
    pub days: u32,
}

/// A new certificate.
#[derive(Debug)]
pub struct Issued {
    /// Its key, then the certificate: the whole PEM file.
    pub pem: String,
    /// Its line in the index.
    pub entry: Entry,
    /// Its CA ends before its days are over, so it ends with the CA.
    pub cut_short: bool,
}

impl Ca {
    /// Issues a certificate, with a new key.
    ///
    /// # Errors
    /// [`CaError`] when it cannot be made, or comes out so that nobody would accept it.
    pub fn issue(&self, wanted: Wanted, now: Timestamp) -> Result<Issued, CaError> {
        self.issue_for(KeyPair::generate()?, wanted, now)
    }

    /// Issues a certificate for a key that its owner has.
    ///
    /// # Errors
    /// As [`Ca::issue`].
    pub fn issue_for(
        &self,
        key: KeyPair,
        wanted: Wanted,
        now: Timestamp,
    ) -> Result<Issued, CaError> {
        let from = now - SignedDuration::from_secs(BACKDATE_S);
        let asked_for = now + SignedDuration::from_hours(24 * i64::from(wanted.days));
        let until = asked_for.min(self.certificate.until);
        let serial = new_serial()?;

        let mut params = CertificateParams::default();
        date(&mut params, from, until)?;
        params.serial_number = Some(serial.as_bytes().to_vec().into());
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, wanted.name.as_str());
        params.subject_alt_names = wanted.sans.iter().map(san_type).collect::<Result<_, _>>()?;
        params.is_ca = IsCa::ExplicitNoCa;
        // A key signs; it never encrypts, also an RSA key (RFC 8446, 4.4.2.2).
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match wanted.kind {
            Kind::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Kind::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.use_authority_key_identifier_extension = true;

        let cert = params.signed_by(&key, &self.issuer)?;
        self.check(cert.der())?;
        Ok(Issued {
            pem: key.serialize_pem() + &cert.pem(),
            entry: Entry {
                serial,
                kind: wanted.kind,
                from,
                until,
                revoked: None,
                name: wanted.name,
            },
            cut_short: until < asked_for,
        })
    }

    /// A CA's name that rcgen does not write exactly as it was read would make
    /// a certificate that nobody can trace to its CA.
    fn check(&self, der: &[u8]) -> Result<(), CaError> {
        let sound = X509Certificate::from_der(der)
            .is_ok_and(|(_, certificate)| self.certificate.has_issued(&certificate));
        if sound {
            return Ok(());
        }
        Err(CaError::Making(
            "the new certificate does not fit to its CA's; make a new CA with `loghog-server-cert --force`"
                .into(),
        ))
    }
}

fn san_type(san: &San) -> Result<SanType, CaError> {
    Ok(match san {
        San::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
        San::Ip(address) => SanType::IpAddress(*address),
    })
}

/// The names in a certificate; others than host names and addresses are left out.
#[must_use]
pub fn sans_of(certificate: &X509Certificate<'_>) -> Vec<San> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    extension.value.general_names.iter().filter_map(san_of).collect()
}

fn san_of(name: &GeneralName<'_>) -> Option<San> {
    match name {
        GeneralName::DNSName(name) => name.parse().ok(),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(|bytes| San::Ip(bytes.into()));
            v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(|bytes| San::Ip(bytes.into()))).ok()
        }
        _ => None,
    }
}
