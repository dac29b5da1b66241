//! Reads single values: yes or no, counts, sizes, schedules.
//! The text of an option -> a typed value, or what is wrong and what is right.
//! Invariant: no partial reading; `10 apples` is no number.
//! Leaves out: which option it is, and defaults.

use super::problem::{Kind, shown};
use std::ops::RangeInclusive;

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
    fn counts_are_whole_decimal_numbers_within_bounds() {
        assert_eq!(count("014", 1..=100), Ok(14));
        for text in ["0", "101", "-1", "1_0", "0x10", "many", "", "5 5", "99999999999999999999"] {
            assert!(count(text, 1..=100).is_err(), "{text}");
        }
    }
}
