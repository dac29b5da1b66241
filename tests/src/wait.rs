//! Waits for conditions.
//! A question asked again and again -> its answer, or a panic that says what was awaited.
//! Invariant: no wait is without an end.
//! Leaves out: what to do meanwhile.

use std::time::{Duration, Instant};

/// Long enough for anything that works, even on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Pause between two questions.
const PAUSE: Duration = Duration::from_millis(2);

/// Asks until there is an answer.
///
/// # Panics
/// When there is none before the deadline.
#[track_caller]
pub fn wait_until<T>(deadline: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} in vain until {what}");
        std::thread::sleep(PAUSE);
    }
}
