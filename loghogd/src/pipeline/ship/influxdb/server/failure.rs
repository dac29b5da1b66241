//! Says why there was no answer.
//! An error of the HTTP client -> a trouble with its remedy.
//! Invariant: whatever it is may heal, and is tried again.
//! Leaves out: answers that say no (`answer`).

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustls::CertificateError;

use crate::pipeline::ship::Trouble;

/// Where it happens.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) url: Box<str>,
    pub(super) cacert: Option<PathBuf>,
    pub(super) timeout: Duration,
}

impl Place {
    /// What is in the way.
    pub(super) fn trouble(&self, error: &reqwest::Error) -> Trouble {
        let url = &self.url;
        Trouble::later(match tls_error(error) {
            Some(rustls::Error::InvalidCertificate(fault)) => {
                format!("the certificate of InfluxDB at {url} {}", self.certificate(&fault))
            }
            Some(other) => format!("InfluxDB at {url} does not speak TLS as we do: {other}"),
            None if error.is_timeout() && error.is_connect() => format!(
                "InfluxDB at {url} cannot be reached: nothing came back in time; look whether it runs, and for firewalls"
            ),
            None if error.is_timeout() => format!(
                "InfluxDB at {url} has not answered within {} s; where that is its normal pace, raise timeout or lower batch_points",
                self.timeout.as_secs()
            ),
            None if error.is_connect() => format!(
                "InfluxDB at {url} cannot be reached: {}; look whether it runs, and whether url is right",
                root_cause(error)
            ),
            None => format!("InfluxDB at {url} has broken off: {}", root_cause(error)),
        })
    }

    /// What is wrong with its certificate.
    fn certificate(&self, fault: &CertificateError) -> String {
        let trusted = match &self.cacert {
            Some(path) => path.display().to_string(),
            None => "the system's list".to_owned(),
        };
        match fault {
            CertificateError::UnknownIssuer => format!(
                "is signed by nobody in {trusted}; write into cacert the file of the authority that has signed it"
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "is for another name; write into url a name that it is for, or renew it".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "has expired; renew it".to_owned()
            }
            other => format!("is not good: {}", rustls::Error::from(other.clone())),
        }
    }
}

/// The deepest error: those above it only say that there is one.
pub(super) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut deepest = String::new();
    walk(error, &mut |error| {
        deepest = error.to_string();
        false
    });
    deepest
}

/// What TLS has to do with it.
fn tls_error(error: &(dyn Error + 'static)) -> Option<rustls::Error> {
    let mut found = None;
    walk(error, &mut |error| {
        found = error.downcast_ref::<rustls::Error>().cloned();
        found.is_some()
    });
    found
}

/// Goes from an error to what has caused it, until `look` has seen enough.
fn walk(error: &(dyn Error + 'static), look: &mut dyn FnMut(&(dyn Error + 'static)) -> bool) {
    let mut at = Some(error);
    while let Some(error) = at {
        if look(error) {
            return;
        }
        // An error of `io` steps over the one that is inside of it.
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        at = match inside {
            Some(inside) => Some(inside as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
}
