//! Seals one segment, step by step, and puts it in the place of the plain one.
//! A plain segment -> a sealed one, or why there is none.
//! Invariant: the plain file goes when the sealed one is safe and was compared, and not before.
//! Leaves out: which segment, and when it is tried again.

use std::io::{self, Read, Write};

use nix::errno::Errno;
use tracing::{debug, warn};

use super::compress::{CompressError, Plain, Sum};
use super::verify::VerifyError;
use super::{Sealer, Segment, limits};
use crate::config::checked::Format;
use crate::disk::{self, DiskFile, Facts};
use crate::limits::{SEAL_SYNC_BYTES, TALLY_PLAIN_BYTES_MIN};
use crate::pipeline::tally::Counting;
use crate::pipeline::tally::kept::{Kept, hex};
use crate::stats::Counter;

/// How sealing a segment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is sealed.
    Sealed,
    /// It is not there any more.
    Gone,
    /// It could not be read, and was set aside.
    SetAside,
}

/// Why a segment is not sealed yet.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The disk refused something.
    #[error("{name}: {source}; {}", disk::remedy(source))]
    Disk {
        /// The file's name.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// What was read back is not what was written.
    #[error("{name}: what is read back is not what was written; look after the disk")]
    NotTheSame {
        /// The file's name.
        name: String,
    },
    /// Somebody writes to a file that should be closed.
    #[error("it changes while it is being read; see who writes to it")]
    Changing,
    /// The daemon stops.
    #[error("stopped")]
    Stopped,
}

impl Sealer {
    /// Seals a segment. There may be a sealed file of it already, from an
    /// attempt before.
    ///
    /// # Errors
    /// When the disk refuses; the plain file is still there then.
    pub fn seal(
        &self,
        folder: &str,
        segment: &Segment,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Outcome, SealError> {
        let _claim = self.claims.claim(folder, segment);
        let name = segment.to_string();
        let mut plain = match self.disk.open(folder, &name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Outcome::Gone),
            other => other.map_err(|source| failed(&name, source))?,
        };
        for format in self.twins(folder, segment)? {
            if self.is_twin(folder, &mut *plain, segment, format, go_on)? {
                self.disk.sync_folder(folder).map_err(|source| failed(&name, source))?;
                self.remove_plain(folder, &name)?;
                return Ok(Outcome::Sealed);
            }
            self.set_aside(
                folder,
                &segment.sealed(format),
                "it differs from the plain one beside it",
            );
            plain = self.disk.open(folder, &name).map_err(|source| failed(&name, source))?;
        }
        let sealed = segment.sealed(self.compressor().format());
        let part = sealed.unfinished();
        let counting = self.counting(folder, segment);
        let kept = match self.write(folder, &mut *plain, &name, &part, counting, go_on) {
            Ok(kept) => kept,
            Err(Fault::Unreadable(error)) => {
                self.discard(folder, &part);
                self.set_aside(folder, segment, &format!("it cannot be read: {error}"));
                return Ok(Outcome::SetAside);
            }
            Err(Fault::Other(error)) => {
                self.discard(folder, &part);
                return Err(error);
            }
        };
        if let Some(kept) = kept {
            self.keep(folder, &sealed, &kept);
        }
        let publish = || {
            self.disk.rename(folder, &part, &sealed.to_string())?;
            self.disk.sync_folder(folder)
        };
        publish().map_err(|source| {
            self.discard(folder, &part);
            failed(&part, source)
        })?;
        self.remove_plain(folder, &name)?;
        self.stats.add(Counter::SegmentsSealed, 1);
        debug!("sealed {}", self.shown(folder, &sealed.to_string()));
        Ok(Outcome::Sealed)
    }

    /// Counts what is in a segment, where somebody ships it as it is.
    fn counting(&self, folder: &str, segment: &Segment) -> Option<Counting> {
        let owner = self.table.load().owner(folder, segment.stem()).cloned()?;
        self.tallies.are_of_use(&owner).then(|| Counting::new(self.zone.clone()))
    }

    /// Before anybody can see the sealed file, so that who ships it finds it.
    fn keep(&self, folder: &str, sealed: &Segment, kept: &Kept) {
        if let Err(error) = self.tallies.put(folder, sealed, kept) {
            warn!(
                "cannot keep what is in {}: {error}; {}; it is read once more when it is shipped",
                self.shown(folder, &sealed.to_string()),
                disk::remedy(&error)
            );
        }
    }

    /// Writes the sealed file under its temporary name, and reads it back. Returns what
    /// is to be kept of it, if anything.
    fn write(
        &self,
        folder: &str,
        plain: &mut dyn DiskFile,
        name: &str,
        part: &str,
        counting: Option<Counting>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Kept>, Fault> {
        let other = |name: &str| {
            let name = name.to_owned();
            move |source| Fault::Other(SealError::Disk { name, source })
        };
        let facts = plain.facts().map_err(other(name))?;
        // Or a power failure could take from the plain file what the sealed
        // one has, and they would seem to differ.
        plain.sync().map_err(other(name))?;
        self.disk.remove(folder, part).map_err(other(part))?;
        let mut out = self.disk.create(folder, part).map_err(other(part))?;
        let mut compressor = self.compressor();
        let counting = counting.filter(|_| facts.bytes >= TALLY_PLAIN_BYTES_MIN);
        let sealed_sum = counting.is_some().then(Sum::new);
        let mut steadily = Steadily { file: &mut *out, unsynced_bytes: 0, sum: sealed_sum };
        let mut counted = Counted { plain, counting };
        let written = match compressor.compress(&mut counted, &mut steadily, go_on) {
            Ok(written) => written,
            Err(CompressError::Stopped) => return Err(Fault::Other(SealError::Stopped)),
            Err(CompressError::Read(error)) => return Err(Fault::of_reading(name, error)),
            Err(CompressError::Write(error)) => return Err(other(part)(error)),
            Err(CompressError::Failed(why)) => return Err(other(part)(io::Error::other(why))),
        };
        let sealed = steadily.sum.map(Sum::plain);
        let tally = counted.counting.map(Counting::finish);
        // What it takes on the disk may change by itself.
        let known = |facts: Facts| (facts.id, facts.bytes, facts.modified);
        let after = plain.facts().map_err(other(name))?;
        if written.plain.bytes != facts.bytes || known(after) != known(facts) {
            return Err(Fault::Other(SealError::Changing));
        }
        out.set_modified(facts.modified).map_err(other(part))?;
        out.sync().map_err(other(part))?;
        // What is read back is to come from the disk, not from memory.
        out.forget();
        drop(out);
        let back = self.disk.open(folder, part).map_err(other(part))?;
        let format = compressor.format();
        match compressor.verify(&*back, format, go_on) {
            Ok(read) if read == written.plain => {}
            Err(VerifyError::Stopped) => return Err(Fault::Other(SealError::Stopped)),
            Err(VerifyError::Read(error)) => return Err(other(part)(error)),
            _ => return Err(Fault::Other(SealError::NotTheSame { name: part.to_owned() })),
        }
        back.forget();
        plain.forget();
        self.stats.add(Counter::SealedPlainBytes, written.plain.bytes);
        self.stats.add(Counter::SealedBytes, written.sealed_bytes);
        let kept = tally.zip(sealed).map(|(tally, sealed)| Kept {
            sealed_bytes: sealed.bytes,
            sealed_sha256: hex(&sealed.checksum),
            tally,
        });
        Ok(kept)
    }

    /// Is the sealed file what the plain one is?
    fn is_twin(
        &self,
        folder: &str,
        plain: &mut dyn DiskFile,
        segment: &Segment,
        format: Format,
        go_on: &dyn Fn() -> bool,
    ) -> Result<bool, SealError> {
        let name = segment.sealed(format).to_string();
        let sealed = self.disk.open(folder, &name).map_err(|source| failed(&name, source))?;
        let found = match self.compressor().verify(&*sealed, format, go_on) {
            Ok(found) => found,
            Err(VerifyError::Stopped) => return Err(SealError::Stopped),
            Err(VerifyError::Read(source)) => return Err(failed(&name, source)),
            Err(_) => return Ok(false),
        };
        match digest(plain, go_on) {
            Ok(Some(expected)) if expected == found => {
                // Whoever made it may not have.
                sealed.sync().map(|()| true).map_err(|source| failed(&name, source))
            }
            Ok(Some(_)) => Ok(false),
            Ok(None) => Err(SealError::Stopped),
            // Nothing goes that has not been compared.
            Err(source) => Err(failed(&segment.to_string(), source)),
        }
    }

    /// The formats in which there seems to be a sealed file of it.
    fn twins(&self, folder: &str, segment: &Segment) -> Result<Vec<Format>, SealError> {
        let mut twins = Vec::new();
        for format in Format::ALL {
            let name = segment.sealed(format).to_string();
            match self.disk.facts(folder, &name) {
                Ok(found) => twins.extend(found.map(|_| format)),
                Err(source) => return Err(failed(&name, source)),
            }
        }
        Ok(twins)
    }

    /// The sealed file is safe: the plain one goes.
    fn remove_plain(&self, folder: &str, name: &str) -> Result<(), SealError> {
        let removed = self.disk.remove(folder, name);
        removed.map_err(|source| failed(name, source))
    }

    /// Takes a seal that came to nothing away; what remains goes at the next start.
    fn discard(&self, folder: &str, part: &str) {
        if let Err(error) = self.disk.remove(folder, part) {
            warn!("cannot remove {}: {error}", self.shown(folder, part));
        }
    }
}

/// What went wrong in writing a sealed file, by blame.
enum Fault {
    /// The plain one is damaged.
    Unreadable(io::Error),
    Other(SealError),
}

impl Fault {
    /// Of a disk that fails we know that trying again does not help.
    fn of_reading(name: &str, error: io::Error) -> Fault {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EIO | Errno::EUCLEAN | Errno::EBADMSG) => Fault::Unreadable(error),
            _ => Fault::Other(failed(name, error)),
        }
    }
}

/// A plain file, of which it is counted what is in it.
struct Counted<'a> {
    plain: &'a mut dyn DiskFile,
    counting: Option<Counting>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.plain.read(buffer)?;
        if let Some(counting) = &mut self.counting {
            counting.add(buffer.get(..read).unwrap_or_default());
        }
        Ok(read)
    }
}

/// Syncs a file while it is being written: one sync of all of it at the end
/// could take long, and nobody can interrupt it.
struct Steadily<'a> {
    file: &'a mut dyn DiskFile,
    unsynced_bytes: usize,
    /// Of what was written, where somebody wants to know.
    sum: Option<Sum>,
}

impl Write for Steadily<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        if let Some(sum) = &mut self.sum {
            sum.add(bytes.get(..written).unwrap_or_default());
        }
        self.unsynced_bytes += written;
        if self.unsynced_bytes >= SEAL_SYNC_BYTES {
            self.file.sync()?;
            self.unsynced_bytes = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What a plain file is known by; none when it is time to stop.
fn digest(plain: &mut dyn DiskFile, go_on: &dyn Fn() -> bool) -> io::Result<Option<Plain>> {
    let mut sum = Sum::new();
    let mut slice = vec![0; limits::SLICE_BYTES];
    while go_on() {
        match plain.read(&mut slice) {
            Ok(0) => return Ok(Some(sum.plain())),
            Ok(bytes) => sum.add(slice.get(..bytes).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn failed(name: &str, source: io::Error) -> SealError {
    SealError::Disk { name: name.to_owned(), source }
}
