//! Who may log what.
//! `Record` -> `Admitted`: the record and the facility that it belongs to.
//! Invariant: nothing unsigned or wrongly signed passes to a facility with a secret.
//! Leaves out: TLS, where a certificate has been checked before the first byte.

use std::sync::Arc;

use wire::v1::Record;

use crate::config::facility::{Facility, Table};
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
}

impl GateError {
    /// The counter of this reason.
    pub fn counter(&self) -> Counter {
        match self {
            GateError::AppUnknown(_) => Counter::AppUnknown,
            GateError::SignatureMissing(_) => Counter::SignatureMissing,
            GateError::SignatureBad(_) => Counter::SignatureBad,
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
    pub fn admit<'a>(&'a mut self, record: Record<'a>) -> Result<Admitted<'a>, GateError> {
        let facility = match self.recall(&record) {
            true => self.found.as_ref(),
            false => self.look_up(&record),
        };
        let Some(facility) = facility else {
            let shown = record.app_id.chars().take(QUOTE_CHARS_MAX + 1);
            return Err(GateError::AppUnknown(shown.collect()));
        };
        if let Some(key) = &facility.key {
            let name = || format!("{}:{}", facility.app, facility.module);
            match record.signature {
                None => return Err(GateError::SignatureMissing(name())),
                Some(signature) if !key.verify(&record.signed(), signature) => {
                    return Err(GateError::SignatureBad(name()));
                }
                Some(_) => {}
            }
        }
        Ok(Admitted { facility, record })
    }
    /// Is it the same application and module as last time?
    fn recall(&self, record: &Record<'_>) -> bool {
        self.found.is_some() && self.app == record.app_id && self.module == record.module
    }

    fn look_up(&mut self, record: &Record<'_>) -> Option<&Arc<Facility>> {
        let facility = self.table.find(record.app_id, record.module)?;
        // A name longer than this is not worth keeping, and must not be kept
        // in part: another message could then be taken for this one.
        if record.app_id.len() + record.module.len() > NAMES_BYTES_MAX {
            self.found = None;
            return Some(facility);
        }
        self.app.clear();
        self.app.push_str(record.app_id);
        self.module.clear();
        self.module.push_str(record.module);
        self.found = Some(Arc::clone(facility));
        self.found.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use std::path::Path;

    const CONF: &str = "[a]\nrotate = daily\nbackup_count = 1\nsecret = s\n\
                        [a:open]\nrotate = daily\nbackup_count = 1\nsecret =\n";

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
        assert!(gate.admit(record("", Some(signature))).is_ok());
        assert!(matches!(gate.admit(record("", None)), Err(GateError::SignatureMissing(_))));
        assert!(matches!(
            gate.admit(record("x", Some(signature))),
            Err(GateError::SignatureBad(_))
        ));
        let other = Record { app_id: "b", ..record("", Some(signature)) };
        assert!(matches!(gate.admit(other), Err(GateError::AppUnknown(_))));
    }

    #[test]
    fn what_was_found_for_one_module_is_not_taken_for_another() {
        let mut gate = gate();
        let long = format!("open.{}", "x".repeat(NAMES_BYTES_MAX));
        for open in ["open", &long, "open.x"] {
            assert!(gate.admit(record(open, None)).is_ok(), "{open}");
            for signed in ["", "opened", "x"] {
                assert!(gate.admit(record(signed, None)).is_err(), "{signed:?} after {open}");
            }
        }
    }
}
