//! Reads the options of a facility.
//! An option as written -> its typed value, or what is wrong and what is right.
//! Invariant: nobody switches protection off by a comment in the wrong place.
//! Leaves out: where a value is taken from when it is not there (`read`).

use super::{LineFormat, Require, Rotate, Secret};
use crate::config::problem::{Kind, shown};
use crate::config::raw::{Found, on_one_line};
use crate::config::value::{self, Refused};
use crate::pipeline::rotate::schedule::Schedule;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A schedule, or `size`; `schedules` are those read so far.
pub(super) fn rotation(
    found: Found<'_>,
    schedules: &mut HashMap<String, Schedule>,
) -> Result<Rotate, Refused> {
    let expression = on_one_line(&found.entry.value);
    if expression.trim() == "size" {
        return Ok(Rotate::Size);
    }
    if let Some(schedule) = schedules.get(&*expression) {
        return Ok(Rotate::Schedule(schedule.clone()));
    }
    let schedule = Schedule::parse(&expression).map_err(|error| Refused {
        kind: Kind::BadSchedule,
        message: error.to_string(),
        remedy: "write hourly, daily, weekly, monthly, yearly, size, \
                 or minute, hour, day, month and weekday such as: 30 4 * * 1-5"
            .to_owned(),
    })?;
    schedules.insert(expression.into_owned(), schedule.clone());
    Ok(Rotate::Schedule(schedule))
}

pub(super) fn positive(found: Found<'_>) -> Result<u32, Refused> {
    let count = value::count(&found.entry.value, 1..=u64::from(u32::MAX))?;
    // Within the range of u32, as just checked.
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

pub(super) fn bytes(found: Found<'_>) -> Result<Option<u64>, Refused> {
    value::size(&found.entry.value, 0..=u64::MAX).map(Some)
}

pub(super) fn max_age(found: Found<'_>) -> Result<Option<Duration>, Refused> {
    value::age(&found.entry.value).map(Some)
}

pub(super) fn yes_or_no(found: Found<'_>) -> Result<bool, Refused> {
    value::yes_or_no(&found.entry.value)
}

/// A secret; none when it is empty.
pub(super) fn secret(found: Found<'_>) -> Result<Option<Secret>, Refused> {
    not_commented_out(
        found,
        "choose a secret that does not begin with `;`; \
         to switch signing off, write `secret =` and nothing else",
    )?;
    let secret = found.entry.value.as_bytes();
    Ok((!secret.is_empty()).then(|| Secret::new(secret)))
}

pub(super) fn require(found: Found<'_>) -> Result<Require, Refused> {
    not_commented_out(found, "to require nothing, write `require =` and nothing else")?;
    Require::parse(&on_one_line(&found.entry.value))
}

pub(super) fn format(found: Found<'_>) -> Result<LineFormat, Refused> {
    let text = found.entry.value.trim();
    LineFormat::ALL
        .into_iter()
        .find(|format| format.name() == text)
        .ok_or_else(|| Refused::new(format!("{} is no format", shown(text)), "write text or json"))
}

/// The names of targets, parted by commas; whether there are such is told later.
pub(super) fn targets(found: Found<'_>) -> Result<Arc<[Box<str>]>, Refused> {
    not_commented_out(found, "to ship nothing, write `ship =` and nothing else")?;
    let text = on_one_line(&found.entry.value);
    let mut names: Vec<Box<str>> = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if names.iter().any(|other| **other == *name) {
            return Err(Refused::new(
                format!("{} is named twice", shown(name)),
                "name each target once",
            ));
        }
        names.push(name.into());
    }
    Ok(names.into())
}

/// A value that a comment swallows looks like one that is empty on purpose.
fn not_commented_out(found: Found<'_>, remedy: &str) -> Result<(), Refused> {
    match found.entry.commented_out {
        true => {
            let message = "all of the value is a comment, because `;` follows white space";
            Err(Refused::new(message, remedy))
        }
        false => Ok(()),
    }
}
