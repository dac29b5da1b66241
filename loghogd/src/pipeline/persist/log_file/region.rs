//! Regions: what is written to a file as a whole or not at all.
//! Parcels with numbered messages -> a plan for the journal; a licence -> bytes in the file.
//! Invariant: nothing is written that the journal does not know of, and nothing behind what is in doubt.
//! Leaves out: when to plan and to sync (`rounds`), and what the journal makes of it.

use std::io;

use super::{Desk, LogFile, Parcel};
use crate::pipeline::persist::clients::Receipt;
use crate::pipeline::persist::journal::{self, Intent, Place};
use crate::pipeline::persist::live::{self, Form};
use crate::pipeline::persist::messages::messages_in;
use crate::pipeline::rotate::name::Segment;
use crate::stats::Counter;

/// A region of the file that may be written, as a whole or not at all.
pub(super) struct Licence {
    /// So many bytes of what waits.
    pub(super) bytes: usize,
    /// What they are in the file, where that is something else.
    pub(super) member: Option<Vec<u8>>,
    /// Where they go, as the journal has it.
    pub(super) place: Option<Place>,
}

/// What has to be done before a file with numbered messages is written.
pub(in crate::pipeline::persist) enum Plan {
    /// The journal has to know of this.
    Intend(Intent),
    /// It has to turn.
    Turn,
}

impl LogFile {
    /// Has it to be planned what is written next?
    pub(in crate::pipeline::persist) fn needs_plan(&self) -> bool {
        self.numbered > 0 && self.licence.is_none()
    }

    /// Decides what is written next, where numbered messages are among what
    /// waits. They are written once the journal knows of it.
    ///
    /// # Errors
    /// What the system says.
    pub(in crate::pipeline::persist) fn plan(&mut self, desk: &mut Desk<'_>) -> io::Result<Plan> {
        self.refuse_if_doubtful()?;
        self.look(desk);
        self.open(desk)?;
        let fitting = self.fitting(desk);
        if fitting == 0 {
            return Ok(Plan::Turn);
        }
        self.begin(desk);
        let (bytes, member) = match desk.form {
            Form::Plain => (fitting, None),
            Form::Gzip { .. } => match self.member(fitting, desk)? {
                Some((bytes, member)) => (bytes, Some(member)),
                None => return Ok(Plan::Turn),
            },
        };
        let Some(open) = &self.open else { return Err(io::ErrorKind::NotFound.into()) };
        let began = match self.began {
            Some(began) => began,
            None => live::began(&*open.file, desk.form, desk.zone)?,
        };
        self.began = Some(began);
        let segment = Segment { live: self.live.clone(), began, format: desk.form.format() };
        let place = match &member {
            Some(member) => {
                journal::place(&self.folder, &segment, open.id, self.bytes, &[member.as_slice()])
            }
            None => {
                let region: Vec<&[u8]> = self.region(bytes).collect();
                journal::place(&self.folder, &segment, open.id, self.bytes, &region)
            }
        };
        let receipts = self.receipts_for(bytes);
        receipts.iter().for_each(Receipt::set_out);
        // A region at the same place takes the place of the one before.
        self.void = None;
        self.licence = Some(Licence { bytes, member, place: Some(place.clone()) });
        Ok(Plan::Intend(Intent { place, receipts }))
    }

    /// Nothing of what there is a licence for will be written.
    pub(in crate::pipeline::persist) fn revoke(&mut self) {
        let Some(licence) = self.licence.take() else { return };
        if licence.place.is_some() {
            self.receipts_for(licence.bytes).iter().for_each(Receipt::turn_back);
            self.void = licence.place;
        }
    }

    /// Lets the journal know of a region that was given up, once it is cut off
    /// and does not come back.
    pub(super) fn report_void(&mut self, desk: &mut Desk<'_>) -> io::Result<()> {
        let Some(void) = self.void.clone() else { return Ok(()) };
        self.open(desk)?;
        self.open.as_ref().map_or(Ok(()), |open| open.file.sync())?;
        desk.journal.void(&void)?;
        self.void = None;
        Ok(())
    }

    /// So many bytes of what waits.
    fn region(&self, bytes: usize) -> impl Iterator<Item = &[u8]> {
        let (mut skip, mut rest) = (self.written, bytes);
        self.parcels.iter().map_while(move |parcel| {
            let bytes = parcel.section.bytes.get(std::mem::take(&mut skip)..).unwrap_or_default();
            let bytes = bytes.get(..rest).unwrap_or(bytes);
            rest -= bytes.len();
            (!bytes.is_empty()).then_some(bytes)
        })
    }

    /// The receipts for so many bytes of what waits, which are whole messages.
    fn receipts_for(&self, bytes: usize) -> Vec<Receipt> {
        let (mut skip, mut rest) = (self.written, bytes);
        let mut receipts = Vec::new();
        for Parcel { section, .. } in &self.parcels {
            let from = std::mem::take(&mut skip);
            let here = rest.min(section.bytes.len() - from);
            rest -= here;
            if let Some(receipt) = &section.receipt {
                receipts.push(match from + here == section.bytes.len() {
                    true => receipt.clone(),
                    false => receipt
                        .front(messages_in(section.bytes.get(from..).unwrap_or_default(), here)),
                });
            }
            if rest == 0 {
                break;
            }
        }
        receipts
    }

    /// Writes what there is a licence for, as a whole or not at all.
    pub(super) fn write_licensed(&mut self, licence: Licence, desk: &Desk<'_>) -> io::Result<()> {
        let before = self.bytes;
        let Some(open) = &mut self.open else {
            self.licence = Some(licence);
            self.revoke();
            return Err(io::ErrorKind::NotFound.into());
        };
        let written = match &licence.member {
            Some(member) => open.file.write_all(member).map(|()| member.len()),
            None => {
                let (mut skip, mut rest, mut outcome) = (self.written, licence.bytes, Ok(()));
                for parcel in &self.parcels {
                    let bytes =
                        parcel.section.bytes.get(std::mem::take(&mut skip)..).unwrap_or_default();
                    let bytes = bytes.get(..rest).unwrap_or(bytes);
                    rest -= bytes.len();
                    outcome = open.file.write_all(bytes);
                    if rest == 0 || outcome.is_err() {
                        break;
                    }
                }
                outcome.map(|()| licence.bytes)
            }
        };
        let written = match written {
            Ok(written) => written as u64,
            Err(error) => {
                // If it cannot be cut off now, it is when the file is opened next.
                if open.file.set_len(before).is_err() {
                    self.open = None;
                    self.cut_to = Some(before);
                }
                self.licence = Some(licence);
                self.revoke();
                return Err(error);
            }
        };
        desk.stats.add(Counter::Bytes, written);
        self.bytes += written;
        self.written += licence.bytes;
        self.last_region = licence.place.or(self.last_region.take());
        if let Some(member) = licence.member {
            desk.spares.put_back(member);
        }
        self.release_written(desk);
        Ok(())
    }

    pub(super) fn refuse_if_doubtful(&self) -> io::Result<()> {
        match self.is_doubtful {
            true => Err(io::Error::other("what was written to it before could not be synced")),
            false => Ok(()),
        }
    }

    /// After a sync that failed, the kernel may have dropped what it could not
    /// write, and the next sync succeeds all the same: what counts is what can
    /// be read.
    pub(super) fn look_again(&self, desk: &Desk<'_>) -> io::Result<()> {
        let file = desk.disk.open_live(&self.folder, &desk.form.name(&self.live))?.file;
        file.sync()?;
        match &self.last_region {
            Some(place) if !journal::holds(&*file, place)? => Err(io::Error::other(
                "what was written last is not there; restart loghogd, and those who sent it send \
                 it again",
            )),
            _ => Ok(()),
        }
    }
}
