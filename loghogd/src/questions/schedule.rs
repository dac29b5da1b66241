//! Answers `loghogd schedule EXPR`.
//! An expression, a zone, an instant -> the next times it is due.
//! Invariant: always a JSON array of RFC 3339 times, or nothing and a reason.
//! Leaves out: files and facilities; no configuration is needed.

use super::{tell_error, tell_json};
use crate::cli::{EX_CONFIG, EX_OK, ScheduleArgs};
use crate::pipeline::rotate::schedule::Schedule;
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

/// Says when a schedule is due.
pub fn schedule(args: &ScheduleArgs) -> u8 {
    let schedule = match Schedule::parse(&args.expression) {
        Ok(schedule) => schedule,
        Err(error) => {
            tell_error(&error.to_string());
            return EX_CONFIG;
        }
    };
    let zone = args.zone.clone().unwrap_or_else(TimeZone::system);
    let after = args.after.unwrap_or_else(Timestamp::now);
    let next = |after: &Timestamp| schedule.next_after(*after, &zone);
    let times: Vec<String> = std::iter::successors(next(&after), next)
        .take(args.count)
        .map(|due| rfc_3339(due, &zone))
        .collect();
    tell_json(&times, !args.json);
    EX_OK
}

/// Local time with its offset. RFC 3339 has offsets in whole minutes; those
/// of old local mean times are cut to that, the instant stays.
fn rfc_3339(at: Timestamp, zone: &TimeZone) -> String {
    let seconds = zone.to_offset(at).seconds();
    let minutes = Offset::from_seconds(seconds - seconds % 60).unwrap_or(Offset::UTC);
    let local = at.to_zoned(TimeZone::fixed(minutes));
    local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}
