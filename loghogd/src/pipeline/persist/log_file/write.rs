//! Writes what waits for a file.
//! Parcels of lines -> bytes in the live file, plain or as members of a gzip file.
//! Invariant: a message is written to its end, into one segment, before the next one begins.
//! Leaves out: numbered messages, which are written region by region (`region`).

use std::io::{self, IoSlice};

use super::region::Licence;
use super::{Desk, LogFile, Parcel};
use crate::limits::GZIP_MEMBER_BYTES_MAX;
use crate::pipeline::persist::live::Form;
use crate::pipeline::persist::messages::{message_end, messages_in, whole_messages};
use crate::pipeline::rotate::name::Began;
use crate::pipeline::seal::member as member_of;
use crate::stats::Counter;

impl LogFile {
    /// Writes what waits, up to what belongs into the next segment. False
    /// when something does: the file has to turn first.
    ///
    /// # Errors
    /// What the system says; what was not written still waits.
    pub(in crate::pipeline::persist) fn write(&mut self, desk: &mut Desk<'_>) -> io::Result<bool> {
        self.refuse_if_doubtful()?;
        if let Some(licence) = self.licence.take() {
            return self.write_licensed(licence, desk).map(|()| true);
        }
        if self.numbered > 0 {
            return Ok(true);
        }
        self.look(desk);
        self.open(desk)?;
        while !self.parcels.is_empty() {
            let bytes = self.fitting(desk);
            if bytes == 0 {
                return Ok(false);
            }
            self.begin(desk);
            match desk.form {
                Form::Plain => self.write_plain(bytes, desk)?,
                Form::Gzip { .. } => {
                    if !self.write_gzip(bytes, desk)? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Before the first line of an empty file.
    pub(super) fn begin(&mut self, desk: &Desk<'_>) {
        if self.bytes == 0 {
            let first =
                self.parcels.front().and_then(|first| first.section.bytes.get(self.written..));
            self.began = first.and_then(Began::from_stamp);
            self.since = Some(desk.beginning);
        }
    }

    /// How many bytes of what waits belong into the live file: whole messages,
    /// received before it was due, up to its largest size. A message longer
    /// than that has a segment of its own.
    pub(super) fn fitting(&self, desk: &Desk<'_>) -> usize {
        if self.turn_again_at.is_some_and(|again_at| desk.now < again_at) {
            // It cannot turn: better too much in one file than nothing written.
            return self.parcels.iter().map(|p| p.section.bytes.len()).sum::<usize>()
                - self.written;
        }
        let due = self.due.filter(|&due| due <= desk.at && self.bytes > 0);
        let room = self.bytes_max().saturating_sub(self.bytes);
        let mut room = match desk.form {
            // How long lines are when they are compressed shows only then.
            Form::Gzip { .. } if room > 0 => usize::MAX,
            _ => usize::try_from(room).unwrap_or(usize::MAX),
        };
        let mut fitting = 0;
        for (place, parcel) in self.parcels.iter().enumerate() {
            let bytes = &parcel.section.bytes;
            let skip = if place == 0 { self.written } else { 0 };
            // A message of which a part is written is completed, whatever its length.
            let begun =
                if whole_messages(bytes, skip) == skip { skip } else { message_end(bytes, skip) };
            if due.is_some_and(|due| parcel.section.at >= due) {
                return fitting + begun - skip;
            }
            if bytes.len() - skip <= room {
                fitting += bytes.len() - skip;
                room -= bytes.len() - skip;
                continue;
            }
            let mut end = whole_messages(bytes, skip.saturating_add(room)).max(begun);
            if fitting + end == skip && self.bytes == 0 {
                end = message_end(bytes, skip);
            }
            return fitting + end - skip;
        }
        fitting
    }

    /// Hands so many bytes to the kernel, as many as fit with one call.
    pub(super) fn write_plain(&mut self, bytes: usize, desk: &Desk<'_>) -> io::Result<()> {
        /// Linux takes no more than 1024 (IOV_MAX).
        const SLICES_MAX: usize = 64;
        let Some(open) = &mut self.open else { return Err(io::ErrorKind::NotFound.into()) };
        let (mut skip, mut rest, mut used) = (self.written, bytes, 0);
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        for (slice, parcel) in slices.iter_mut().zip(&self.parcels) {
            let bytes = parcel.section.bytes.get(std::mem::take(&mut skip)..).unwrap_or_default();
            let bytes = bytes.get(..rest).unwrap_or(bytes);
            *slice = IoSlice::new(bytes);
            rest -= bytes.len();
            used += 1;
            if rest == 0 {
                break;
            }
        }
        match open.file.write_vectored(slices.get(..used).unwrap_or(&slices)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(bytes) => {
                desk.stats.add(Counter::Bytes, bytes as u64);
                self.written += bytes;
                self.bytes += bytes as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        self.release_written(desk);
        Ok(())
    }

    /// Makes one member of a gzip file of at most so many bytes of what waits,
    /// and says of how many. None when it does not fit: the file has to turn
    /// first.
    pub(super) fn member(
        &self,
        bytes: usize,
        desk: &mut Desk<'_>,
    ) -> io::Result<Option<(usize, Vec<u8>)>> {
        /// What a member adds to lines that become no smaller, and more.
        const OVERHEAD_BYTES: u64 = 1 << 10;
        let room = self.bytes_max().saturating_sub(self.bytes).saturating_sub(OVERHEAD_BYTES);
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(GZIP_MEMBER_BYTES_MAX);
        let mut lines = desk.spares.take();
        let mut skip = self.written;
        for parcel in &self.parcels {
            let bytes_max = bytes.min(room).saturating_sub(lines.len());
            let rest = parcel.section.bytes.get(std::mem::take(&mut skip)..).unwrap_or_default();
            match rest.get(..bytes_max) {
                None => lines.extend_from_slice(rest),
                Some(_) => {
                    let mut end = whole_messages(rest, bytes_max);
                    if end + lines.len() == 0 {
                        end = message_end(rest, 0);
                    }
                    lines.extend_from_slice(rest.get(..end).unwrap_or_default());
                    break;
                }
            }
        }
        let mut member = desk.spares.take();
        member_of(desk.press, &lines, &mut member)?;
        let taken = lines.len();
        desk.spares.put_back(lines);
        let may_turn = self.turn_again_at.is_none_or(|again_at| desk.now >= again_at);
        let too_much = self.bytes.saturating_add(member.len() as u64) > self.bytes_max();
        if self.bytes > 0 && too_much && may_turn {
            desk.spares.put_back(member);
            return Ok(None);
        }
        Ok(Some((taken, member)))
    }

    /// Writes so many bytes as one member of a gzip file, or none of it.
    /// False when it does not fit: the file has to turn first.
    pub(super) fn write_gzip(&mut self, bytes: usize, desk: &mut Desk<'_>) -> io::Result<bool> {
        let Some((bytes, member)) = self.member(bytes, desk)? else { return Ok(false) };
        let licence = Licence { bytes, member: Some(member), place: None };
        self.write_licensed(licence, desk).map(|()| true)
    }

    /// Lets go of the parcels that are written, and of their room.
    pub(super) fn release_written(&mut self, desk: &Desk<'_>) {
        self.unsynced_since.get_or_insert(desk.now);
        while let Some(first) = self.parcels.front() {
            if self.written < first.section.bytes.len() {
                break;
            }
            self.written -= first.section.bytes.len();
            let Some(Parcel { section, room: _ }) = self.parcels.pop_front() else { break };
            desk.stats.add(Counter::Lines, section.messages);
            self.messages_unsynced += section.messages;
            self.numbered -= usize::from(section.receipt.is_some());
            self.receipts.extend(section.receipt);
            desk.spares.put_back(section.bytes);
        }
        // A region may end within a parcel; the rest belongs into the next segment.
        if self.written > 0
            && let Some(Parcel { section, .. }) = self.parcels.front_mut()
            && let Some(receipt) = &mut section.receipt
        {
            let left = messages_in(&section.bytes, section.bytes.len())
                - messages_in(&section.bytes, self.written);
            let done = receipt.messages().saturating_sub(left);
            if done > 0 {
                self.receipts.push(receipt.take_front(done));
            }
        }
    }
}
