//! The only room that asks what time it is.
//! Nothing -> a `Stamp`: an instant, and how it is written at the head of a line.
//! Invariant: a stamp is always 26 characters of local time.
//! Leaves out: time zones by name, schedules (`pipeline::rotate::schedule`).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Length of a stamp, in bytes: `2026-11-20 12:00:00.123456`.
pub const STAMP_BYTES: usize = 26;

/// Length of an offset from UTC, in bytes: `+01:00`.
pub const OFFSET_BYTES: usize = 6;

/// A moment as lines show it: local time, six digits below the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    at: Timestamp,
    text: [u8; STAMP_BYTES],
    offset: [u8; OFFSET_BYTES],
}

impl Stamp {
    /// How `at` is written in `zone`. Years beyond 0000 to 9999 do not occur
    /// in a `Timestamp` that a computer's clock yields; they are shown modulo
    /// ten thousand.
    pub fn new(at: Timestamp, zone: &TimeZone) -> Stamp {
        let offset = zone.to_offset(at);
        let local = offset.to_datetime(at);
        let mut text = *b"0000-00-00 00:00:00.000000";
        let micros = local.subsec_nanosecond() / 1000;
        put(&mut text, 0, 4, i32::from(local.year()));
        put(&mut text, 5, 2, i32::from(local.month()));
        put(&mut text, 8, 2, i32::from(local.day()));
        put(&mut text, 11, 2, i32::from(local.hour()));
        put(&mut text, 14, 2, i32::from(local.minute()));
        put(&mut text, 17, 2, i32::from(local.second()));
        put(&mut text, 20, 6, micros);
        Stamp { at, text, offset: offset_text(offset.seconds()) }
    }

    /// The moment itself.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The 26 characters.
    pub fn as_bytes(&self) -> &[u8; STAMP_BYTES] {
        &self.text
    }

    /// What local time was ahead of UTC, as RFC 3339 has it: `+01:00`.
    pub fn offset_bytes(&self) -> &[u8; OFFSET_BYTES] {
        &self.offset
    }

    /// The 26 characters as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or("")
    }
}

/// A clock and the time zone that it is read in.
#[derive(Clone, Debug)]
pub struct Clock {
    zone: TimeZone,
    hands: Hands,
}

#[derive(Clone, Debug)]
enum Hands {
    System,
    /// Microseconds since 1970; somebody else moves them.
    Set(Arc<AtomicI64>),
}

impl Clock {
    /// The system's clock, in the zone that TZ or /etc/localtime names at
    /// this moment.
    pub fn system() -> Clock {
        Clock { zone: TimeZone::system(), hands: Hands::System }
    }

    /// A clock that stands still until it is [`set`](Clock::set), together
    /// with its clones: for tests.
    pub fn standing(at: Timestamp, zone: TimeZone) -> Clock {
        let hands = Hands::Set(Arc::new(AtomicI64::new(at.as_microsecond())));
        Clock { zone, hands }
    }

    /// Sets a clock that stands. The system's clock is not ours to set.
    pub fn set(&self, at: Timestamp) {
        if let Hands::Set(hands) = &self.hands {
            hands.store(at.as_microsecond(), Ordering::Relaxed);
        }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        match &self.hands {
            Hands::System => Timestamp::now(),
            Hands::Set(hands) => {
                Timestamp::from_microsecond(hands.load(Ordering::Relaxed)).unwrap_or_default()
            }
        }
    }

    /// Now, as lines show it.
    pub fn stamp(&self) -> Stamp {
        Stamp::new(self.now(), &self.zone)
    }

    /// The time zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }
}

/// To the minute: no zone has had seconds since 1972.
fn offset_text(seconds: i32) -> [u8; OFFSET_BYTES] {
    let mut text = *b"+00:00";
    if seconds < 0 {
        text[0] = b'-';
    }
    let minutes = seconds.abs() / 60;
    put(&mut text, 1, 2, minutes / 60);
    put(&mut text, 4, 2, minutes % 60);
    text
}

/// Writes `value` with `width` decimal digits from `start` on.
fn put(text: &mut [u8], start: usize, width: usize, value: i32) {
    let mut rest = value.unsigned_abs();
    for place in text.iter_mut().skip(start).take(width).rev() {
        *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn six_digits_stand_even_on_the_full_second() {
        let stamp = Stamp::new("2026-11-20T12:00:00Z".parse().unwrap(), &TimeZone::UTC);
        assert_eq!(stamp.as_str(), "2026-11-20 12:00:00.000000");
    }

    #[test]
    fn an_offset_has_a_sign_hours_and_minutes() {
        for (seconds, expected) in
            [(0, "+00:00"), (3_600, "+01:00"), (-12_600, "-03:30"), (20_700, "+05:45")]
        {
            let zone = TimeZone::fixed(jiff::tz::Offset::from_seconds(seconds).unwrap());
            let stamp = Stamp::new("2026-11-20T12:00:00Z".parse().unwrap(), &zone);
            assert_eq!(stamp.offset_bytes(), expected.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn a_stamp_is_what_strftime_prints(micros in 0_i64..4_000_000_000_000_000) {
            let at = Timestamp::from_microsecond(micros).unwrap();
            let zone = TimeZone::fixed(jiff::tz::offset(5));
            let expected = at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S.%6f").to_string();
            let stamp = Stamp::new(at, &zone);
            prop_assert_eq!(stamp.as_str(), expected);
        }
    }
}
