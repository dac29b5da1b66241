//! Who may log what.
//! `Record` -> `Admitted`: the record and the facility that it belongs to.
//! Invariant: nothing passes to a facility with a secret whose sender has not shown that he knows it.
//! Leaves out: certificates and the proofs of sessions, which come before the first record.

use std::sync::Arc;

use wire::v1::Record;

use crate::config::facility::{Facility, Secret, Table};
use crate::limits::QUOTE_CHARS_MAX;
use crate::own_log::quote;
use crate::stats::Counter;

/// Longest application and module together that are remembered, in bytes.
const NAMES_BYTES_MAX: usize = 512;

/// A record that may be written.
#[derive(Clone, Copy, Debug)]
pub struct Admitted<'a> {
    /// Where it belongs.
    pub facility: &'a Arc<Facility>,
    /// What it says.
    pub record: Record<'a>,
}

/// How a record came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// In which protocol.
    pub protocol: Protocol,
    /// Over TLS.
    pub tls: bool,
}

/// A version of the wire protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The original's; each message is signed, or none is.
    V1,
    /// Acknowledged; a session proves its secret once.
    V2,
}

/// Why a record may not be written. The peer's fault, or its operator's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// No facility of that name.
    #[error("application {} has no facility; add its section to facilities.conf and send SIGHUP", quote(.0))]
    AppUnknown(String),
    /// A facility with a secret, a message without a signature.
    #[error("a message for facility {0} is not signed; set the client's secret")]
    SignatureMissing(String),
    /// A facility with a secret, a message signed with another one.
    #[error(
        "a message for facility {0} is signed with another secret; set the client's secret to the facility's"
    )]
    SignatureBad(String),
    /// A facility with a secret, a session that has not proved it.
    #[error(
        "facility {0} has another secret than the session has proved; name this module when the session begins, or give it its root facility's secret"
    )]
    SecretOther(String),
    /// A facility that requires v2, a v1 message.
    #[error(
        "facility {0} requires protocol v2 and the message came over v1; use a client of today with protocol 2, or take v2 out of the facility's `require`"
    )]
    ProtocolTooOld(String),
    /// A facility that requires TLS, a message over plain TCP or UDP.
    #[error(
        "facility {0} requires TLS and the message came without; let the client connect to the port for TLS, or take tls out of the facility's `require`"
    )]
    TlsMissing(String),
}

impl GateError {
    /// The counter of this reason.
    pub fn counter(&self) -> Counter {
        match self {
            GateError::AppUnknown(_) => Counter::AppUnknown,
            GateError::SignatureMissing(_) | GateError::SecretOther(_) => Counter::SignatureMissing,
            GateError::SignatureBad(_) => Counter::SignatureBad,
            GateError::ProtocolTooOld(_) => Counter::ProtocolTooOld,
            GateError::TlsMissing(_) => Counter::TlsMissing,
        }
    }
}

/// The facilities in force, and the one found last: senders repeat themselves.
#[derive(Debug)]
pub struct Gate {
    table: Arc<Table>,
    found: Option<Arc<Facility>>,
    /// What `found` was found for; meaningless without it.
    app: String,
    module: String,
}

impl Gate {
    /// A gate that knows the facilities of `table`.
    pub fn new(table: Arc<Table>) -> Gate {
        Gate { table, found: None, app: String::new(), module: String::new() }
    }

    /// Follows `table` from now on.
    pub fn follow(&mut self, table: &Arc<Table>) {
        if !Arc::ptr_eq(&self.table, table) {
            *self = Gate::new(Arc::clone(table));
        }
    }

    /// Finds the record's facility and checks its signature.
    ///
    /// # Errors
    /// Why it may not pass.
    pub fn admit<'a>(
        &'a mut self,
        record: Record<'a>,
        way: Way,
    ) -> Result<Admitted<'a>, GateError> {
        let facility = self.enter(record.app_id, record.module, way)?;
        if let Some(key) = &facility.key {
            match record.signature {
                None => return Err(GateError::SignatureMissing(name(facility))),
                Some(signature) if !key.verify(&record.signed(), signature) => {
                    return Err(GateError::SignatureBad(name(facility)));
                }
                Some(_) => {}
            }
        }
        Ok(Admitted { facility, record })
    }

    /// Finds the facility of a record that came in a session, which is
    /// authentic already: its sender has proved that he knows
    /// `session_secret`, if there is one. A facility without a secret takes
    /// the records of every session.
    ///
    /// # Errors
    /// Why it may not pass.
    pub fn admit_in_session(
        &mut self,
        app: &str,
        module: &str,
        session_secret: Option<&Secret>,
        way: Way,
    ) -> Result<&Arc<Facility>, GateError> {
        let facility = self.enter(app, module, way)?;
        match &facility.secret {
            Some(secret) if session_secret != Some(secret) => {
                Err(GateError::SecretOther(name(facility)))
            }
            _ => Ok(facility),
        }
    }

    /// Finds a facility that may be reached in this way.
    fn enter(&mut self, app: &str, module: &str, way: Way) -> Result<&Arc<Facility>, GateError> {
        let facility = match self.recall(app, module) {
            true => self.found.as_ref(),
            false => self.look_up(app, module),
        };
        let Some(facility) = facility else {
            let shown = app.chars().take(QUOTE_CHARS_MAX + 1);
            return Err(GateError::AppUnknown(shown.collect()));
        };
        if facility.require.v2 && way.protocol == Protocol::V1 {
            return Err(GateError::ProtocolTooOld(name(facility)));
        }
        if facility.require.tls && !way.tls {
            return Err(GateError::TlsMissing(name(facility)));
        }
        Ok(facility)
    }

    /// Is it the same application and module as last time?
    fn recall(&self, app: &str, module: &str) -> bool {
        self.found.is_some() && self.app == app && same(&self.module, module)
    }

    fn look_up(&mut self, app: &str, module: &str) -> Option<&Arc<Facility>> {
        let facility = self.table.find(app, module)?;
        // A name longer than this is not worth keeping, and must not be kept
        // in part: another message could then be taken for this one.
        if app.len() + module.len() > NAMES_BYTES_MAX {
            self.found = None;
            return Some(facility);
        }
        self.app.clear();
        self.app.push_str(app);
        self.module.clear();
        self.module.push_str(module);
        self.found = Some(Arc::clone(facility));
        self.found.as_ref()
    }
}

/// Are the names equal? An empty one is not compared: an empty `String` points
/// to no memory, and processors with AVX-512 take a hundred nanoseconds to find
/// out that they need not read there.
pub(crate) fn same(one: &str, other: &str) -> bool {
    one.len() == other.len() && (one.is_empty() || one == other)
}

/// How a facility is named in a complaint.
fn name(facility: &Facility) -> String {
    format!("{}:{}", facility.app, facility.module)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use std::path::Path;

    const CONF: &str = "[a]\nrotate = daily\nbackup_count = 1\nsecret = s\n\
                        [a:open]\nrotate = daily\nbackup_count = 1\nsecret =\n\
                        [a:other]\nrotate = daily\nbackup_count = 1\nsecret = t\n\
                        [a:open.new]\nrotate = daily\nbackup_count = 1\nsecret =\nrequire = v2\n\
                        [a:open.safe]\nrotate = daily\nbackup_count = 1\nsecret =\nrequire = tls\n\
                        [a:both]\nrotate = daily\nbackup_count = 1\nrequire = v2, tls\n";
    const V1: Way = Way { protocol: Protocol::V1, tls: false };
    const V1_TLS: Way = Way { protocol: Protocol::V1, tls: true };
    const V2: Way = Way { protocol: Protocol::V2, tls: false };
    const V2_TLS: Way = Way { protocol: Protocol::V2, tls: true };

    fn gate() -> Gate {
        let table = config::read_facilities(CONF.as_bytes(), Path::new("facilities.conf"));
        Gate::new(Arc::new(table.unwrap()))
    }

    fn record<'a>(module: &'a str, signature: Option<&'a str>) -> Record<'a> {
        Record { app_id: "a", module, hostname: "h", body: "b", stamp: 1, nsecs: 2, signature }
    }

    #[test]
    fn a_facility_with_a_secret_admits_only_its_signature() {
        let mut gate = gate();
        let signature = wire::signature::Key::new(b"s").sign(&record("", None).signed());
        let signature = std::str::from_utf8(&signature).unwrap();
        assert!(gate.admit(record("", Some(signature)), V1).is_ok());
        assert!(matches!(gate.admit(record("", None), V1), Err(GateError::SignatureMissing(_))));
        assert!(matches!(
            gate.admit(record("x", Some(signature)), V1),
            Err(GateError::SignatureBad(_))
        ));
        let other = Record { app_id: "b", ..record("", Some(signature)) };
        assert!(matches!(gate.admit(other, V1), Err(GateError::AppUnknown(_))));
    }

    #[test]
    fn what_was_found_for_one_module_is_not_taken_for_another() {
        let mut gate = gate();
        let long = format!("open.{}", "x".repeat(NAMES_BYTES_MAX));
        for open in ["open", &long, "open.x"] {
            assert!(gate.admit(record(open, None), V1).is_ok(), "{open}");
            for signed in ["", "opened", "x"] {
                assert!(gate.admit(record(signed, None), V1).is_err(), "{signed:?} after {open}");
            }
        }
    }

    #[test]
    fn what_a_facility_requires_is_asked_of_every_record() {
        let mut gate = gate();
        for (module, way, refused) in [
            ("open", V1, None),
            ("open.new", V1, Some(Counter::ProtocolTooOld)),
            ("open.new.x", V1_TLS, Some(Counter::ProtocolTooOld)),
            ("open.new", V2, None),
            ("open.safe", V1, Some(Counter::TlsMissing)),
            ("open.safe", V1_TLS, None),
            ("open.safe", V2, Some(Counter::TlsMissing)),
            ("open.safe", V2_TLS, None),
            // Whether it is signed is not even looked at.
            ("both", V1_TLS, Some(Counter::ProtocolTooOld)),
            ("both", V2, Some(Counter::TlsMissing)),
        ] {
            let secret = Some(Secret::new(b"s"));
            let outcome = match way.protocol {
                Protocol::V1 => gate.admit(record(module, None), way).map(drop),
                Protocol::V2 => gate.admit_in_session("a", module, secret.as_ref(), way).map(drop),
            };
            let counter = outcome.err().map(|error| error.counter());
            assert_eq!(counter, refused, "{module} {way:?}");
        }
    }

    #[test]
    fn a_session_reaches_what_has_its_secret_or_none() {
        let mut gate = gate();
        let (right, other) = (Secret::new(b"s"), Secret::new(b"t"));
        for (module, secret, reached) in [
            ("", Some(&right), true),
            ("x", Some(&right), true),
            ("other", Some(&right), false),
            ("other", Some(&other), true),
            ("", Some(&other), false),
            ("", None, false),
            ("open", Some(&other), true),
            ("open", None, true),
        ] {
            let outcome = gate.admit_in_session("a", module, secret, V2);
            assert_eq!(outcome.is_ok(), reached, "{module:?} {secret:?}");
            if let Err(error) = outcome {
                assert_eq!(error.counter(), Counter::SignatureMissing);
            }
        }
        let unknown = gate.admit_in_session("b", "", Some(&right), V2);
        assert!(matches!(unknown, Err(GateError::AppUnknown(_))));
    }
}
