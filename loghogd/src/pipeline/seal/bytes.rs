//! Files as what they are to this room: bytes that can be read anywhere.
//! A place in a file -> the bytes there.
//! Invariant: what is missing is an error here, and never a short answer.
//! Leaves out: names, and changing anything.

use std::io;

use crate::disk::DiskFile;

/// Bytes that can be read anywhere.
pub trait ReadAt {
    /// Fills `buffer` with what stands from `offset` on, as far as there is
    /// something; returns how many bytes that were.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// How many there are.
    ///
    /// # Errors
    /// What the system says.
    fn bytes(&self) -> io::Result<u64>;
}

impl<F: DiskFile + ?Sized> ReadAt for F {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        DiskFile::read_at(self, buffer, offset)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.facts()?.bytes)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let here = self.get(from..).unwrap_or_default();
        let bytes = here.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(here) {
            *to = *from;
        }
        Ok(bytes)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// A file and its length, which stays what it was at the beginning.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a> {
    file: &'a dyn ReadAt,
    pub(super) end: u64,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(file: &'a dyn ReadAt) -> io::Result<Bytes<'a>> {
        Ok(Bytes { file, end: file.bytes()? })
    }

    /// So many bytes from there; none where the file ends before.
    pub(super) fn array<const BYTES: usize>(&self, at: u64) -> io::Result<Option<[u8; BYTES]>> {
        let mut array = [0; BYTES];
        if !self.has(at, BYTES as u64) {
            return Ok(None);
        }
        let bytes = self.file.read_at(&mut array, at)?;
        if bytes < BYTES { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(Some(array)) }
    }

    /// So many bytes from there, as long as they are.
    pub(super) fn vec(&self, at: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut vec = vec![0; bytes];
        if self.file.read_at(&mut vec, at)? < bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(vec)
    }

    /// Fills the buffer from there, as far as there is something.
    pub(super) fn some<'b>(&self, at: u64, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
        let left = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let buffer = buffer.get_mut(..wanted).unwrap_or_default();
        if self.file.read_at(buffer, at)? < wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(buffer)
    }

    /// Does the file go on for so many bytes from there?
    pub(super) fn has(&self, at: u64, bytes: u64) -> bool {
        at.checked_add(bytes).is_some_and(|end| end <= self.end)
    }
}

/// `&F` as a trait object, for an `F` without a size as well.
pub(super) struct Whole<'a, F: ?Sized>(pub(super) &'a F);

impl<F: ReadAt + ?Sized> ReadAt for Whole<'_, F> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn bytes(&self) -> io::Result<u64> {
        self.0.bytes()
    }
}
