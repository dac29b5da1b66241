//! How often a test kills, freezes and starts again.
//! `LOGHOG_CRASH_ROUNDS` -> a number.
//! Invariant: unless it is set, a test does as many as it can in some seconds.
//! Leaves out: what a round is.

/// How many rounds there are; `usual` unless the environment asks for others.
///
/// # Panics
/// When `LOGHOG_CRASH_ROUNDS` is no number.
pub fn rounds(usual: usize) -> usize {
    match std::env::var("LOGHOG_CRASH_ROUNDS") {
        Ok(rounds) => rounds.parse().expect("LOGHOG_CRASH_ROUNDS is a number"),
        Err(_) => usual,
    }
}
