//! Numbers without a pattern, the same for the same seed.
//! A seed -> one number after another.
//! Invariant: two runs with one seed draw the same.
//! Leaves out: secrecy; nonces come from the system.

use std::time::{SystemTime, UNIX_EPOCH};

/// splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
/// Generators, 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Draws by this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Draws by `LOGHOG_SEED`, or by the time; says which seed it is.
    ///
    /// # Panics
    /// When `LOGHOG_SEED` is no number.
    pub fn from_environment() -> Random {
        Random::seeded_from_environment().1
    }

    /// The same, with the seed.
    ///
    /// # Panics
    /// When `LOGHOG_SEED` is no number.
    pub fn seeded_from_environment() -> (u64, Random) {
        let seed = match std::env::var("LOGHOG_SEED") {
            Ok(seed) => seed.parse().expect("LOGHOG_SEED is a number"),
            Err(_) => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(1, |since| u64::from(since.subsec_nanos()) ^ since.as_secs() << 30),
        };
        println!("LOGHOG_SEED={seed}");
        (seed, Random::new(seed))
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// One below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.draw() % end
    }

    /// Another series, for another actor.
    #[must_use]
    pub fn fork(&mut self) -> Random {
        Random::new(self.draw())
    }
}
