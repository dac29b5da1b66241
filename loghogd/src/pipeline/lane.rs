//! The working set that connections share, one at a time.
//! Bytes -> lines in a batch, and what was counted and refused on the way.
//! Invariant: there are a fixed number of lanes, so memory does not grow with connections.
//! Leaves out: waiting for bytes, sockets and files.

use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit};
use wire::frame::{self, Frame, Next};
use wire::v2::compress::Expander;

use super::decode::{DecodeError, Decoder};
use super::gate::{Gate, GateError, Protocol, Way};
use super::persist::held::Hold;
use super::persist::{Batch, PersistError, Pushed};
use crate::clock::Stamp;
use crate::config::facility::Table;
use crate::ledger::{Counts, Tally};
use crate::limits::{CHUNK_BYTES, TURN_BYTES_MAX};
use crate::stats::Counter;

/// All lanes. Whoever wants one waits in line; nobody is turned away.
#[derive(Debug)]
pub(super) struct Lanes {
    free: Semaphore,
    lanes: Vec<Mutex<Lane>>,
}

/// Buffers and readers for one connection at work.
#[derive(Debug)]
pub(super) struct Lane {
    /// Where a chunk is read to.
    pub(super) buffer: Vec<u8>,
    /// What carries it on.
    pub(super) works: Works,
    /// Empty room for a frame that comes in parts. It goes with the connection
    /// that sends it, and comes back when the frame is whole: to take it from
    /// the system for each frame costs more than all else that is done to it.
    pub(super) spare: Vec<u8>,
}

/// A lane in use; free again when dropped.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    // In this order: the lane is free before its permit is.
    pub(super) lane: MutexGuard<'a, Lane>,
    _permit: SemaphorePermit<'a>,
}

impl Lanes {
    pub(super) fn new(works: impl Iterator<Item = Works>) -> Lanes {
        let lane =
            |works| Mutex::new(Lane { buffer: vec![0; CHUNK_BYTES], works, spare: Vec::new() });
        let lanes: Vec<_> = works.map(lane).collect();
        Lanes { free: Semaphore::new(lanes.len()), lanes }
    }

    pub(super) async fn take(&self) -> Taken<'_> {
        loop {
            // There is a free lane for each permit; the semaphore is never closed.
            let Ok(permit) = self.free.acquire().await else { continue };
            if let Some(lane) = self.lanes.iter().find_map(|lane| lane.try_lock().ok()) {
                return Taken { lane, _permit: permit };
            }
        }
    }
}

/// Carries frames through decode and gate into a batch.
#[derive(Debug)]
pub(super) struct Works {
    decoder: Decoder,
    pub(super) gate: Gate,
    pub(super) batch: Batch,
    /// Who has sent what.
    pub(super) tally: Tally,
    /// Inflates batches of the second protocol, to this buffer.
    pub(super) expander: Expander,
    pub(super) expanded: Vec<u8>,
    done: Done,
    /// Of the file that the frame at hand waits for.
    hold: Option<Hold>,
}

/// What was done since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) frames: u64,
    pub(super) records: u64,
    pub(super) refused: Vec<Refused>,
}

impl Done {
    /// How many refusals there were for this reason.
    pub(super) fn refused_for(&self, counter: Counter) -> u64 {
        let of_it = self.refused.iter().filter(|refused| refused.counter == counter);
        of_it.map(|refused| refused.number).sum()
    }
}

/// Refusals for one reason, and the first of them in words.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) counter: Counter,
    pub(super) number: u64,
    pub(super) detail: String,
}

/// Why carrying stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// The rest is part of a frame.
    More,
    /// The batch has to be handed over first.
    BatchFull,
    /// It is somebody else's turn; there may be more whole frames.
    Turn,
    /// The next frame is for a file that refuses: see [`Works::take_hold`].
    Held,
    /// The rest can never be a frame, nor can what may follow it.
    Broken,
}

impl Pause {
    /// Can what is left be carried on without reading more?
    pub(super) fn leaves_frames(self) -> bool {
        matches!(self, Pause::Turn | Pause::Held)
    }
}

impl Works {
    pub(super) fn new(table: Arc<Table>, batch: Batch, tally: Tally) -> Works {
        let (decoder, gate) = (Decoder::default(), Gate::new(table));
        let (expander, expanded) = (Expander::new(), Vec::new());
        let done = Done::default();
        Works { decoder, gate, batch, tally, expander, expanded, done, hold: None }
    }

    /// Follows these facilities from now on.
    pub(super) fn follow(&mut self, table: &Arc<Table>) {
        self.gate.follow(table);
    }

    /// Carries frame after frame. Returns how many bytes they were, and why
    /// it stopped.
    pub(super) fn carry(
        &mut self,
        bytes: &[u8],
        stamp: &Stamp,
        way: Way,
        payload_bytes_max: u32,
    ) -> (usize, Pause) {
        let (mut consumed, mut turn_bytes) = (0, 0);
        loop {
            if self.batch.is_full() {
                return (consumed, Pause::BatchFull);
            }
            if turn_bytes >= TURN_BYTES_MAX {
                return (consumed, Pause::Turn);
            }
            match frame::next(bytes.get(consumed..).unwrap_or(&[]), payload_bytes_max) {
                Ok(Next::More { .. }) => return (consumed, Pause::More),
                Ok(Next::Frame(frame)) => {
                    let inflated_bytes = self.step(&frame, stamp, way, payload_bytes_max);
                    if self.hold.is_some() {
                        return (consumed, Pause::Held);
                    }
                    consumed += frame.bytes;
                    turn_bytes += frame.bytes + inflated_bytes;
                }
                Err(error) => {
                    self.tally.count("", "", Counts::refused(1));
                    self.refuse(DecodeError::from(error).into());
                    return (consumed, Pause::Broken);
                }
            }
        }
    }

    /// Carries the one frame of a datagram, which is dropped when its file
    /// refuses. Returns how many bytes were read and inflated for it.
    pub(super) fn carry_datagram(
        &mut self,
        datagram: &[u8],
        stamp: &Stamp,
        datagram_bytes_max: u32,
        payload_bytes_max: u32,
    ) -> usize {
        match frame::datagram(datagram, datagram_bytes_max) {
            Ok(frame) => {
                let way = Way { protocol: Protocol::V1, tls: false };
                let inflated_bytes = self.step(&frame, stamp, way, payload_bytes_max);
                if self.hold.take().is_some() {
                    self.done.frames += 1;
                    self.refuse(Refusal::Held);
                }
                datagram.len() + inflated_bytes
            }
            Err(error) => {
                self.tally.count("", "", Counts::refused(1));
                self.refuse(DecodeError::from(error).into());
                datagram.len()
            }
        }
    }

    /// Has something been refused since it was last asked?
    pub(super) fn has_refused(&self) -> bool {
        !self.done.refused.is_empty()
    }

    /// Why carrying has stopped, when that was because of a file.
    pub(super) fn take_hold(&mut self) -> Option<Hold> {
        self.hold.take()
    }

    /// What was done since it was last asked.
    pub(super) fn take_done(&mut self) -> Done {
        self.tally.flush();
        std::mem::take(&mut self.done)
    }

    /// Carries one frame. Returns how many bytes it inflated to.
    fn step(
        &mut self,
        frame: &Frame<'_>,
        stamp: &Stamp,
        way: Way,
        payload_bytes_max: u32,
    ) -> usize {
        self.done.frames += 1;
        let outcome = carry_frame(
            &mut self.decoder,
            &mut self.gate,
            (&mut self.batch, &mut self.tally),
            frame,
            stamp,
            way,
            payload_bytes_max,
        );
        match outcome {
            Ok(Carried::Nothing) => {}
            Ok(Carried::Record(Pushed::Taken)) => self.done.records += 1,
            // As if nobody had looked at it yet.
            Ok(Carried::Record(Pushed::Held(hold))) => {
                self.done.frames -= 1;
                self.hold = Some(hold);
            }
            Err(error) => self.refuse(error),
        }
        if frame.flags.is_zlib() { self.decoder.inflated_bytes() } else { 0 }
    }

    fn refuse(&mut self, error: Refusal) {
        let counter = error.counter();
        match self.done.refused.iter_mut().find(|refused| refused.counter == counter) {
            Some(refused) => refused.number += 1,
            None => {
                let detail = error.to_string();
                self.done.refused.push(Refused { counter, number: 1, detail });
            }
        }
    }
}

/// The road of one message: bytes -> record -> admitted -> line.
fn carry_frame(
    decoder: &mut Decoder,
    gate: &mut Gate,
    (batch, tally): (&mut Batch, &mut Tally),
    frame: &Frame<'_>,
    stamp: &Stamp,
    way: Way,
    payload_bytes_max: u32,
) -> Result<Carried, Refusal> {
    let payload_bytes_max = usize::try_from(payload_bytes_max).unwrap_or(usize::MAX);
    let record = match decoder.record(frame, payload_bytes_max) {
        Ok(Some(record)) => record,
        Ok(None) => return Ok(Carried::Nothing),
        Err(error) => {
            tally.count("", "", Counts::refused(1));
            return Err(error.into());
        }
    };
    let (host, app) = (record.hostname, record.app_id);
    let pushed = match gate.admit(record, way) {
        Ok(admitted) => batch.push(stamp, &admitted).map_err(Refusal::from),
        Err(error) => Err(error.into()),
    };
    match &pushed {
        Ok(Pushed::Taken) => tally.count(host, app, Counts::received(1)),
        Ok(Pushed::Held(_)) => {}
        // What is no application of ours may be any text.
        Err(Refusal::Gate(GateError::AppUnknown(_))) => tally.count(host, "", Counts::refused(1)),
        Err(_) => tally.count(host, app, Counts::refused(1)),
    }
    Ok(Carried::Record(pushed?))
}

/// What was in a frame that nobody refused.
enum Carried {
    Nothing,
    Record(Pushed),
}

/// Why a frame has no line: the refusal of one of the rooms.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Gate(#[from] GateError),
    #[error(transparent)]
    Persist(#[from] PersistError),
    /// Of a datagram only; a stream is held back.
    #[error("its file cannot be written now; over TCP it would wait")]
    Held,
}

impl Refusal {
    fn counter(&self) -> Counter {
        match self {
            Refusal::Decode(error) => error.counter(),
            Refusal::Gate(error) => error.counter(),
            Refusal::Persist(error) => error.counter(),
            Refusal::Held => Counter::UdpDroppedHeld,
        }
    }
}
