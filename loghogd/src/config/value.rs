//! Reads single values: yes or no, counts, sizes, ages.
//! The text of an option -> a typed value, or what is wrong and what is right.
//! Invariant: no partial reading; `10 apples` is no number.
//! Leaves out: which option it is, and defaults.

use super::limits::AGE_DAYS_MAX;
use super::problem::{Kind, shown};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Why a value was refused, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What kind of problem it is.
    pub kind: Kind,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub remedy: String,
}

impl Refused {
    /// A value that the option cannot take.
    pub(crate) fn new(message: impl Into<String>, remedy: impl Into<String>) -> Refused {
        Refused { kind: Kind::BadValue, message: message.into(), remedy: remedy.into() }
    }
}

/// `1 yes true on` or `0 no false off`, in any case, as Python's getboolean.
pub fn yes_or_no(text: &str) -> Result<bool, Refused> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" => Ok(false),
        _ => Err(Refused::new(format!("{} is neither yes nor no", shown(text)), "write yes or no")),
    }
}

/// A whole number within `range`, in decimal digits.
pub fn count(text: &str, range: RangeInclusive<u64>) -> Result<u64, Refused> {
    match digits(text.trim()) {
        Some(count) if range.contains(&count) => Ok(count),
        _ => Err(Refused::new(
            format!("{} is no whole number from {} to {}", shown(text), range.start(), range.end()),
            "write decimal digits only, such as 14",
        )),
    }
}

/// A number of bytes within `range`: plain, or with a unit. `k`, `M`, `G`,
/// `T` and `KiB`, `MiB`, ... count in 1,024 as logrotate does, `kB`, `MB`,
/// ... in 1,000; in any case, with or without a blank before.
pub fn size(text: &str, range: RangeInclusive<u64>) -> Result<u64, Refused> {
    let trimmed = text.trim();
    let digits_end =
        trimmed.find(|c: char| !c.is_ascii_digit() && c != '+').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits_end);
    let bytes = digits(number)
        .zip(unit_bytes(unit.trim_start()))
        .and_then(|(number, unit)| number.checked_mul(unit));
    match bytes {
        Some(bytes) if range.contains(&bytes) => Ok(bytes),
        Some(bytes) => Err(Refused::new(
            format!("{bytes} bytes are not within {} to {}", range.start(), range.end()),
            "choose a size within these bounds",
        )),
        None => Err(Refused::new(
            format!("{} is no size", shown(text)),
            "write a number of bytes, or one with a unit: 500000, 10M, 16 MiB, 1 GiB",
        )),
    }
}

/// An age of at most [`AGE_DAYS_MAX`] days: a number of days, or one with a
/// unit: `s`, `m` (minutes), `h`, `d` or `w`, with or without a blank before.
pub fn age(text: &str) -> Result<Duration, Refused> {
    let trimmed = text.trim();
    let digits_end = trimmed.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits_end);
    let unit_secs = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "" | "d" => DAY_SECS,
        "w" => 7 * DAY_SECS,
        _ => 0,
    };
    match digits(number.trim_end()).filter(|_| unit_secs > 0) {
        Some(number) if number <= AGE_DAYS_MAX * DAY_SECS / unit_secs => {
            Ok(Duration::from_secs(number * unit_secs))
        }
        Some(_) => Err(Refused::new(
            format!("{} is longer than {AGE_DAYS_MAX} days", shown(text)),
            "write 0 where there is to be no limit",
        )),
        None => Err(Refused::new(
            format!("{} is no age", shown(text)),
            "write a number of days, or one with the unit s, m, h, d or w: 30, 30d, 12h",
        )),
    }
}

/// An age as a person reads it, in the largest unit that leaves no rest.
pub fn shown_age(age: Duration) -> String {
    let seconds = age.as_secs();
    let units = [("days", DAY_SECS), ("hours", 3_600), ("minutes", 60)];
    let unit = units.iter().find(|(_, secs)| seconds > 0 && seconds.is_multiple_of(*secs));
    let (unit, secs) = unit.unwrap_or(&("seconds", 1));
    format!("{} {unit}", seconds / secs)
}

const DAY_SECS: u64 = 86_400;

fn digits(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

fn unit_bytes(unit: &str) -> Option<u64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_units_in_1024_and_si_units_in_1000() {
        let any = 0..=u64::MAX;
        for (text, bytes) in [
            ("0", 0),
            ("500", 500),
            ("+5", 5),
            ("10M", 10 << 20),
            ("16 MiB", 16 << 20),
            ("1gib", 1 << 30),
            ("2 kB", 2_000),
            (" 3K ", 3 << 10),
        ] {
            assert_eq!(size(text, any.clone()), Ok(bytes), "{text}");
        }
        for text in ["", "M", "-1", "1.5M", "10 X", "1_0", "99999999999T", "10M5", "++1"] {
            assert!(size(text, any.clone()).is_err(), "{text}");
        }
    }

    #[test]
    fn ages_are_days_unless_a_unit_says_otherwise() {
        for (text, seconds, shown) in [
            ("0", 0, "0 seconds"),
            ("30", 30 * 86_400, "30 days"),
            (" 30d ", 30 * 86_400, "30 days"),
            ("2 w", 14 * 86_400, "14 days"),
            ("36h", 36 * 3_600, "36 hours"),
            ("5m", 300, "5 minutes"),
            ("90s", 90, "90 seconds"),
            ("36500d", 36_500 * 86_400, "36500 days"),
        ] {
            assert_eq!(age(text), Ok(Duration::from_secs(seconds)), "{text}");
            assert_eq!(shown_age(Duration::from_secs(seconds)), shown, "{text}");
        }
        let too_long = ["36501", "99999999999w", "18446744073709551615s"];
        let nonsense = ["", "d", "-1", "1.5d", "30M", "30 D", "1y", "1d12h", "1_0", "5 5"];
        for text in too_long.iter().chain(&nonsense) {
            assert!(age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_are_whole_decimal_numbers_within_bounds() {
        assert_eq!(count("014", 1..=100), Ok(14));
        for text in ["0", "101", "-1", "1_0", "0x10", "many", "", "5 5", "99999999999999999999"] {
            assert!(count(text, 1..=100).is_err(), "{text}");
        }
    }
}
