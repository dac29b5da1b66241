//! What is known of a spool beside its records.
//! `State` -> a few lines of text; text -> the same, or nothing, or a newer version.
//! Invariant: a text that is not wholly as it was written says nothing.
//! Leaves out: the file (`folder`).
//!
//! ```text
//! loghog-spool 1
//! begun 68719476737
//! acknowledged 24309
//! dropped 2 190              a reason of the protocol and how many; only where there are any
//! crc32 9ae0daaf             of all that stands before
//! ```

use flate2::Crc;

/// The layout of the whole folder. A folder of another one is left alone.
pub(crate) const VERSION: u64 = 1;

/// No state is longer.
pub(super) const BYTES_MAX: u64 = 4096;

/// Why messages were dropped, as the protocol counts them: 1 to this.
pub(crate) const REASONS: usize = 6;

const TITLE: &str = "loghog-spool ";

/// The numbers that outlast a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// The first number that its last user may have given.
    pub(crate) begun: u64,
    /// All up to this one are safe elsewhere.
    pub(crate) acknowledged: u64,
    /// Messages that were dropped, by reason, and no server knows of it.
    pub(crate) unreported: [u64; REASONS],
}

/// What a text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    State(State),
    /// Nothing: it is damaged.
    Nothing,
    /// It may be well, but is not for us.
    Newer {
        version: u64,
    },
}

impl State {
    pub(super) fn to_text(self) -> String {
        let mut text = format!("{TITLE}{VERSION}\nbegun {}\n", self.begun);
        text.push_str(&format!("acknowledged {}\n", self.acknowledged));
        for (reason, messages) in (1..).zip(self.unreported).filter(|(_, messages)| *messages > 0) {
            text.push_str(&format!("dropped {reason} {messages}\n"));
        }
        with_crc(&text)
    }

    pub(super) fn from_text(text: &str) -> Read {
        let Some((body, sum)) = text.split_at_checked(text.len().saturating_sub(15)) else {
            return Read::Nothing;
        };
        if sum != format!("crc32 {:08x}\n", crc32(body)) {
            return Read::Nothing;
        }
        let mut lines = body.lines();
        let title = lines.next().and_then(|line| line.strip_prefix(TITLE));
        match title.and_then(|version| version.parse().ok()) {
            Some(VERSION) => {}
            Some(version) => return Read::Newer { version },
            None => return Read::Nothing,
        }
        let mut state = State::default();
        for line in lines {
            let mut words = line.split(' ');
            let name = words.next();
            let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
            match (name, number(), number()) {
                (Some("begun"), Some(begun), None) => state.begun = begun,
                (Some("acknowledged"), Some(number), None) => state.acknowledged = number,
                (Some("dropped"), Some(reason), Some(messages)) => {
                    let place =
                        usize::try_from(reason).ok().and_then(|reason| reason.checked_sub(1));
                    if let Some(known) = place.and_then(|place| state.unreported.get_mut(place)) {
                        *known = messages;
                    }
                }
                _ => return Read::Nothing,
            }
        }
        Read::State(state)
    }
}

/// A whole text of these lines.
pub(super) fn with_crc(lines: &str) -> String {
    format!("{lines}crc32 {:08x}\n", crc32(lines))
}

fn crc32(text: &str) -> u32 {
    let mut crc = Crc::new();
    crc.update(text.as_bytes());
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: State = State { begun: 7, acknowledged: u64::MAX, unreported: [0, 9, 0, 0, 0, 1] };

    #[test]
    fn what_was_written_is_read() {
        for state in [State::default(), STATE] {
            assert_eq!(State::from_text(&state.to_text()), Read::State(state));
        }
        assert!((STATE.to_text().len() as u64) < BYTES_MAX);
    }

    #[test]
    fn any_other_text_says_nothing() {
        let text = STATE.to_text();
        for at in 0..text.len() {
            assert_eq!(State::from_text(&text[..at]), Read::Nothing, "cut at {at}");
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let altered = String::from_utf8(bytes).unwrap();
            assert_eq!(State::from_text(&altered), Read::Nothing, "altered at {at}");
        }
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        let text = with_crc("loghog-spool 2\nanything else\n");
        assert_eq!(State::from_text(&text), Read::Newer { version: 2 });
    }
}
