//! The two books of a CA: whom it has given certificates, and which of them it
//! has revoked.
//! Files -> `Books` -> files.
//! Invariant: what either book calls revoked is revoked; losing one of them
//! lets nobody in again.
//! Leaves out: the forms of the books; see [`crate::index`] and [`crate::revocation`].

use crate::ca::{Ca, CaCertificate, CaError, Files};
use crate::files::{self, Audience, Existing, FileError};
use crate::index::{Entry, Index};
use crate::limits::LIST_BYTES_MAX;
use crate::revocation::{RevocationError, Revocations};

use jiff::Timestamp;

/// Both books of one CA.
#[derive(Debug)]
pub struct Books {
    /// Whom it has given certificates.
    pub index: Index,
    /// Which of them are revoked.
    pub revocations: Revocations,
}

impl Books {
    /// Reads both; a missing one counts as empty.
    ///
    /// # Errors
    /// [`RevocationError`] when a file cannot be read or is another CA's.
    pub fn open(files: &Files, ca: &CaCertificate) -> Result<Self, RevocationError> {
        let mut index = open_index(files)?;
        let mut revocations = Revocations::open(&files.crl(), ca)?.unwrap_or_default();
        for entry in index.entries() {
            if let Some(since) = entry.revoked {
                revocations.add(&entry.serial, since);
            }
        }
        for (serial, since) in revocations.iter() {
            index.revoke(serial, *since);
        }
        Ok(Self { index, revocations })
    }

    /// Writes both, first the one that the daemon reads.
    ///
    /// # Errors
    /// [`RevocationError`]; running it again does the rest.
    pub fn save(&self, files: &Files, ca: &Ca, now: Timestamp) -> Result<(), RevocationError> {
        let list = self.revocations.sign(ca, now)?;
        // Everybody may read it: the daemon does, under its own user.
        files::publish(&files.crl(), list.as_bytes(), Audience::Everybody, Existing::Replace)?;
        save_index(files, &self.index)?;
        Ok(())
    }
}

/// Notes a certificate that is about to be handed out. Before, not after: one
/// that nobody noted could not be revoked by its owner's name.
///
/// # Errors
/// [`CaError::File`] when the index cannot be read or written.
pub fn record(files: &Files, entry: Entry) -> Result<(), CaError> {
    let mut index = open_index(files)?;
    index.push(entry);
    Ok(save_index(files, &index)?)
}

fn open_index(files: &Files) -> Result<Index, FileError> {
    let bytes = files::read_if_there(&files.index(), LIST_BYTES_MAX)?;
    Ok(bytes.map_or_else(Index::new, |bytes| Index::parse(&String::from_utf8_lossy(&bytes))))
}

fn save_index(files: &Files, index: &Index) -> Result<(), FileError> {
    let text = index.to_string();
    files::publish(&files.index(), text.as_bytes(), Audience::Owner, Existing::Replace)
}
