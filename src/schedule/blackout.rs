//! When a blackout begins and ends, as instants of a zone. Takes the time as an argument and must
//! never ask a clock.
//!
//! An instant is within a blackout when the clock on the wall shows a reading that is. Through a
//! repeated hour a window therefore holds twice, and one that lies in a gap of spring not at all.

use chrono::{DateTime, Offset as _, TimeDelta, TimeZone as _, Utc};

use crate::config::Blackout;
use crate::zone::Zone;

/// Where the windows of a week are all passed.
const A_WEEK: TimeDelta = TimeDelta::days(7);

/// Whether `at` is within.
pub fn holds(blackout: &Blackout, zone: Zone, at: DateTime<Utc>) -> bool {
    blackout.covers(at.with_timezone(&zone).naive_local())
}

/// When the blackout that holds at `at` ends; `None` where none does, or it never ends.
pub fn ends(blackout: &Blackout, zone: Zone, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    holds(blackout, zone, at).then(|| next_change(blackout, zone, at))?
}

/// The first instant after `at` from which on it is otherwise than at `at`.
pub fn next_change(blackout: &Blackout, zone: Zone, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let before = holds(blackout, zone, at);
    let horizon = at + A_WEEK + A_WEEK;
    let mut at = DateTime::from_timestamp(at.timestamp(), 0)?;
    while at < horizon {
        let local = at.with_timezone(&zone).naive_local();
        let minutes = blackout.minutes_to_edge(local)?;
        let into_minute = i64::from(chrono::Timelike::second(&local));
        let edge = at + TimeDelta::seconds(i64::from(minutes) * 60 - into_minute);
        // What the week says holds until the clock is put forward or back.
        at = shift_within(zone, at, edge).unwrap_or(edge);
        if holds(blackout, zone, at) != before {
            return Some(at);
        }
    }
    None
}

/// The first instant of `(from, to]` with another offset than `from`, if `to` has another one. Two
/// shifts within a week that undo each other are not known of any zone.
fn shift_within(zone: Zone, from: DateTime<Utc>, to: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let offset = |at: DateTime<Utc>| zone.offset_from_utc_datetime(&at.naive_utc()).fix();
    let old = offset(from);
    if offset(to) == old {
        return None;
    }
    let (mut same, mut other) = (from, to);
    while other - same > TimeDelta::seconds(1) {
        let middle = same + TimeDelta::seconds((other - same).num_seconds() / 2);
        if offset(middle) == old { same = middle } else { other = middle }
    }
    Some(other)
}
