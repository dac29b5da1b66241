//! The text of a numbered message.
//! Program, run and number -> a text and a logger, and back.
//! Invariant: the same for the same three, in Rust and in `tests/programs/proof.py`.
//! Leaves out: who sends it.

/// What a message is known by: the run of its program, and its number in it.
pub type Place = (u32, u64);

/// What a message says. Its length differs, and its end shows.
pub fn body(program: &str, (run, number): Place) -> String {
    let filling = "x".repeat(usize::try_from(number * 7919 % 97).expect("few"));
    format!("{program} run {run} number {number} {filling}; end.")
}

/// The program of a message by its text.
pub fn program(text: &str) -> Option<&str> {
    text.split_once(" run ").map(|(program, _)| program)
}

/// The place of a message by its text; none when that is not exactly what was
/// sent.
pub fn place(program: &str, text: &str) -> Option<Place> {
    let mut words = text.strip_prefix(program)?.split(' ').skip(1);
    let mut value = |name| words.next().filter(|word| *word == name).and_then(|_| words.next());
    let (run, number) = (value("run")?.parse().ok()?, value("number")?.parse().ok()?);
    (body(program, (run, number)) == text).then_some((run, number))
}

/// The logger of a message.
pub fn logger<T>(loggers: &[T], number: u64) -> &T {
    &loggers[usize::try_from(number % loggers.len() as u64).expect("a place in a slice")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_was_altered_has_no_place() {
        let text = body("web", (3, 41));
        assert_eq!(place("web", &text), Some((3, 41)));
        assert_eq!(place("web", &text.replace("41", "42")), None);
        assert_eq!(place("web", &text[..text.len() - 1]), None);
        assert_eq!(place("we", &text), None);
    }
}
