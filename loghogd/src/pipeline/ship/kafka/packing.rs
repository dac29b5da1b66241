//! How records are packed for the brokers. Pure.
//! Batches that were refused or have arrived -> how large the next ones are.
//! Invariant: what is refused as a batch is tried in smaller ones, down to single records.
//! Leaves out: making a producer that packs so (`client`).
//!
//! A topic with a low limit refuses batches of the usual size. So they become small, and
//! grow again slowly: most often it was one record that was too large, and small batches
//! cost throughput. Each further refusal doubles what has to arrive before they grow.

use crate::pipeline::ship::limits::{
    KAFKA_GROW_BYTES, KAFKA_GROW_BYTES_MAX, KAFKA_SMALL_BATCH_BYTES, KAFKA_USUAL_BATCH_BYTES,
};

/// How records are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// Each for itself, so that one which is refused takes no other with it.
    Single,
    /// In batches of so many bytes.
    Small(usize),
    /// In batches as large as librdkafka makes them.
    Full,
}

/// Chooses the packing.
#[derive(Debug)]
pub(super) struct Packer {
    packing: Packing,
    /// Records among which there is one that Kafka refuses.
    suspects: usize,
    /// Bytes that have arrived since the packing changed.
    arrived_bytes: usize,
    /// How many there have to be before batches grow.
    grow_bytes: usize,
}

impl Default for Packer {
    fn default() -> Packer {
        Packer {
            packing: Packing::Full,
            suspects: 0,
            arrived_bytes: 0,
            grow_bytes: KAFKA_GROW_BYTES,
        }
    }
}

impl Packer {
    /// How the next ones are packed.
    pub(super) fn packing(&self) -> Packing {
        self.packing
    }

    /// Kafka has refused something of so many records.
    pub(super) fn refused(&mut self, records: usize) {
        let before = self.packing;
        self.turn_to(match before {
            // The first time batches may have been too large, not a record.
            Packing::Full => Packing::Small(KAFKA_SMALL_BATCH_BYTES),
            Packing::Small(bytes) if bytes > KAFKA_SMALL_BATCH_BYTES => {
                Packing::Small(KAFKA_SMALL_BATCH_BYTES)
            }
            Packing::Small(_) | Packing::Single => Packing::Single,
        });
        if before != Packing::Single && self.packing != Packing::Single {
            self.grow_bytes = (self.grow_bytes * 2).min(KAFKA_GROW_BYTES_MAX);
        }
        self.suspects = records;
    }

    /// So much has arrived. True when what comes next is packed in another way.
    pub(super) fn arrived(&mut self, records: usize, bytes: usize) -> bool {
        match self.packing {
            Packing::Full => false,
            Packing::Single => {
                self.suspects = self.suspects.saturating_sub(records);
                if self.suspects == 0 {
                    self.turn_to(Packing::Small(KAFKA_SMALL_BATCH_BYTES));
                }
                self.suspects == 0
            }
            Packing::Small(batch) => {
                self.arrived_bytes = self.arrived_bytes.saturating_add(bytes);
                if self.arrived_bytes < self.grow_bytes {
                    return false;
                }
                let larger = batch * 2;
                self.turn_to(match larger < KAFKA_USUAL_BATCH_BYTES {
                    true => Packing::Small(larger),
                    false => Packing::Full,
                });
                true
            }
        }
    }

    fn turn_to(&mut self, packing: Packing) {
        (self.packing, self.arrived_bytes) = (packing, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes arrive until batches have the usual size again.
    fn bytes_until_full(packer: &mut Packer) -> usize {
        const PORTION: usize = 1 << 20;
        let mut portions = 0;
        while packer.packing() != Packing::Full {
            let before = packer.packing();
            portions += 1;
            assert_eq!(packer.arrived(100, PORTION), packer.packing() != before);
        }
        portions * PORTION
    }

    #[test]
    fn batches_get_smaller_until_the_record_is_found_and_grow_again_slowly() {
        let mut packer = Packer::default();
        assert!(!packer.arrived(1_000, 1 << 20));
        packer.refused(1_000);
        let small = Packing::Small(KAFKA_SMALL_BATCH_BYTES);
        assert_eq!(packer.packing(), small);
        packer.refused(1_000);
        assert_eq!(packer.packing(), Packing::Single);
        assert!(!packer.arrived(900, 1 << 10) && packer.arrived(100, 1 << 10));
        assert_eq!(packer.packing(), small);
        let first = bytes_until_full(&mut packer);
        assert!(first > KAFKA_GROW_BYTES);
        // A topic whose limit is low for good is asked ever more seldom.
        packer.refused(1_000);
        let second = bytes_until_full(&mut packer);
        assert_eq!(second, 2 * first);
        for _ in 0..40 {
            packer.refused(1_000);
            assert_eq!(packer.packing(), small);
            packer.turn_to(Packing::Full);
        }
        assert_eq!(packer.grow_bytes, KAFKA_GROW_BYTES_MAX);
    }

    #[test]
    fn batches_that_have_grown_too_large_become_small_at_once() {
        let mut packer = Packer::default();
        packer.refused(1_000);
        while packer.packing() == Packing::Small(KAFKA_SMALL_BATCH_BYTES) {
            packer.arrived(1_000, 1 << 20);
        }
        assert_eq!(packer.packing(), Packing::Small(2 * KAFKA_SMALL_BATCH_BYTES));
        packer.refused(1_000);
        assert_eq!(packer.packing(), Packing::Small(KAFKA_SMALL_BATCH_BYTES));
    }
}
