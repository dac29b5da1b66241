//! Lets the daemon's clock stand where a test wants it.
//! A time to wait -> a time zone in which it is midnight then.
//! Invariant: nobody waits longer for midnight than he wants to.
//! Leaves out: real zones and their daylight saving time; schedules have golden cases for that.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// A value of TZ (tzset(3)) whose clock shows midnight after `wait`, to a
/// second; and when that is.
pub fn midnight_in(wait: Duration) -> (String, SystemTime) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    let midnight = (now + wait).as_secs();
    // POSIX counts west of Greenwich: 00:00 there is `offset` o'clock here.
    let offset = midnight % DAY_SECONDS;
    let (sign, offset) = match offset > DAY_SECONDS / 2 {
        true => ("-", DAY_SECONDS - offset),
        false => ("", offset),
    };
    let (hours, minutes, seconds) = (offset / 3600, offset / 60 % 60, offset % 60);
    let zone = format!("<LOG>{sign}{hours:02}:{minutes:02}:{seconds:02}");
    (zone, UNIX_EPOCH + Duration::from_secs(midnight))
}
