//! Reads the five fields of a schedule strictly.
//! Text -> the set of values of each field.
//! Invariant: whatever crontab(5) does not define is refused, never guessed.
//! Leaves out: whether such a date exists.
//!
//! ```text
//! field   = item {"," item}
//! item    = "*" ["/" step] | value | value "-" value ["/" step]
//! value   = decimal digits | jan .. dec | sun .. sat
//! ```

use super::ScheduleError;
use std::ops::RangeInclusive;

/// The five fields.
pub(super) struct Fields {
    pub(super) minute: Field,
    pub(super) hour: Field,
    pub(super) day: Field,
    pub(super) month: Field,
    /// 0 is Sunday; 7 has become 0.
    pub(super) weekday: Field,
}

/// One field.
pub(super) struct Field {
    /// Bit n stands for the value n.
    values: u64,
    /// It was written with `*` first, which is not the same as having every
    /// value: the rules of days and of DST depend on it.
    pub(super) starts_with_star: bool,
}

/// What a field can be.
struct Rule {
    name: &'static str,
    range: RangeInclusive<u32>,
    names: &'static [&'static str],
    /// The value of the first name.
    first_name: u32,
}

const MINUTE: Rule = Rule { name: "minute", range: 0..=59, names: &[], first_name: 0 };
const HOUR: Rule = Rule { name: "hour", range: 0..=23, names: &[], first_name: 0 };
const DAY: Rule = Rule { name: "day", range: 1..=31, names: &[], first_name: 0 };
const MONTH: Rule = Rule {
    name: "month",
    range: 1..=12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    first_name: 1,
};
const WEEKDAY: Rule = Rule {
    name: "weekday",
    range: 0..=7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    first_name: 0,
};

impl Fields {
    pub(super) fn parse(expression: &str) -> Result<Fields, ScheduleError> {
        let fields: Vec<&str> = expression.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(match fields.len() {
                0 => ScheduleError::Empty,
                count => ScheduleError::FieldCount(count),
            });
        };
        let mut weekday = Field::parse(weekday, &WEEKDAY)?;
        if weekday.contains(7) {
            weekday.values = weekday.values & !(1 << 7) | 1;
        }
        Ok(Fields {
            minute: Field::parse(minute, &MINUTE)?,
            hour: Field::parse(hour, &HOUR)?,
            day: Field::parse(day, &DAY)?,
            month: Field::parse(month, &MONTH)?,
            weekday,
        })
    }
}

impl Field {
    /// The values in rising order.
    pub(super) fn values(&self) -> impl Iterator<Item = u32> {
        (0..64).filter(|&value| self.contains(value))
    }

    fn contains(&self, value: u32) -> bool {
        self.values & 1 << value != 0
    }

    fn parse(text: &str, rule: &Rule) -> Result<Field, ScheduleError> {
        let mut values = 0;
        for item in text.split(',') {
            values |= rule.item(item).map_err(|fault| ScheduleError::Field {
                field: rule.name,
                text: text.to_owned(),
                fault,
            })?;
        }
        Ok(Field { values, starts_with_star: text.starts_with('*') })
    }
}

impl Rule {
    /// The values of an item as bits, or what is wrong with it.
    fn item(&self, item: &str) -> Result<u64, String> {
        let (span, step) = match item.split_once('/') {
            Some((span, step)) => (span, Some(self.step(step)?)),
            None => (item, None),
        };
        let range = if span == "*" {
            self.range.clone()
        } else if let Some((from, to)) = span.split_once('-') {
            self.value(from)?..=self.value(to)?
        } else {
            let value = self.value(span)?;
            if step.is_some() {
                return Err(format!("a step needs a range, such as {span}-{}/5", self.range.end()));
            }
            value..=value
        };
        if range.is_empty() {
            return Err(format!("the range {span} goes backwards"));
        }
        Ok(range.step_by(step.unwrap_or(1)).fold(0, |bits, value| bits | 1 << value))
    }

    fn step(&self, text: &str) -> Result<usize, String> {
        match number(text) {
            Some(0) => Err("a step of 0 leads nowhere".to_owned()),
            // A step beyond the range means its first value, as in `*/90`.
            Some(step) => Ok(usize::try_from(step).unwrap_or(usize::MAX)),
            None => Err(format!("{text:?} is no step; write decimal digits")),
        }
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        let (from, to) = (self.range.start(), self.range.end());
        match number(text) {
            Some(value) if self.range.contains(&value) => return Ok(value),
            Some(_) => return Err(format!("{text} is not within {from} to {to}")),
            None => {}
        }
        let named = (self.first_name..)
            .zip(self.names)
            .find_map(|(value, name)| name.eq_ignore_ascii_case(text).then_some(value));
        named.ok_or_else(|| match self.names {
            [] => format!("{text:?} is no number from {from} to {to}"),
            [first, .., last] | [first @ last] => {
                format!(
                    "{text:?} is neither a number from {from} to {to} nor one of {first} .. {last}"
                )
            }
        })
    }
}

/// Decimal digits; values beyond u32 count as the largest.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}
