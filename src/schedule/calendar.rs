//! Cron expression and zone to instants, daylight saving included. Takes the time as an argument
//! and must never ask a clock.
//!
//! Which instants are due:
//!
//! - An expression with a wildcard in its hours or minutes (`*`, `*/15`, or every value spelled
//!   out) goes by the clock on the wall as it shows: whenever the reading matches. Through the
//!   repeated hour of autumn `*/15 * * * *` therefore keeps its quarters of a real hour, and
//!   readings that spring skips are not run.
//! - Any other expression names fixed wall times. Each is due once: the first time that the clock
//!   shows it, or, where the clock skips it, at the first instant after the gap. Two that fall in
//!   one gap are one run. The gap may be a whole day (Samoa had no 30 December 2011): a run too
//!   many does no harm, a monthly or yearly one that never comes does.
//!
//! This is the distinction that Vixie cron and cronie make (cronie's cron(8), daylight saving
//! time).

use chrono::{DateTime, Datelike, MappedLocalTime, Months, NaiveDate, NaiveDateTime, NaiveTime};
use chrono::{TimeDelta, TimeZone, Timelike, Utc};

use crate::config::{Cron, Schedule};
use crate::zone::Zone;

/// A date that has not come within so many years never comes: 29 February on a given weekday is at
/// most 40 years away (over a century year that is no leap year).
const HORIZON_YEARS: i32 = 41;

/// The first due instant strictly after `after`; `None` when there is none (`never`, 30 February).
pub fn next(schedule: &Schedule, zone: Zone, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let cron = schedule.cron()?;
    let follows_the_clock = cron.has_any_time();
    // Due instants are whole seconds, so the fraction of `after` does not matter.
    let here = DateTime::from_timestamp(after.timestamp(), 0)?.with_timezone(&zone);
    let wall = here.naive_local();
    // In the first pass of a repeated hour, the clock is about to show up to `again` of what it has
    // shown.
    let again = match zone.from_local_datetime(&wall) {
        MappedLocalTime::Ambiguous(first, second) if follows_the_clock && first == here => second - first,
        _ => TimeDelta::zero(),
    };
    let second = TimeDelta::seconds(1);
    let mut soonest: Option<DateTime<Utc>> = None;
    let mut from = wall.checked_sub_signed(again)?.checked_add_signed(second)?;
    while let Some(reading) = first_match(cron, from) {
        let [first, again] = instants(zone, reading, follows_the_clock);
        let later = [first, again].into_iter().flatten().filter(|&at| at > here.to_utc()).min();
        soonest = [soonest, later].into_iter().flatten().min();
        // Past `wall`, later readings have later instants.
        if reading > wall && later.is_some() {
            break;
        }
        from = reading.checked_add_signed(second)?;
    }
    soonest
}

/// The latest due instant in `(after, until]`, for runs that were missed; `None` when there is
/// none.
pub fn latest(
    schedule: &Schedule,
    zone: Zone,
    after: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let until = DateTime::from_timestamp(until.timestamp(), 0)?;
    let mut due = next(schedule, zone, after).filter(|&at| at <= until)?;
    // Bisects: `due` is due, and nothing is due in `(barren, until]`.
    let mut barren = until;
    while due < barren {
        let middle = due + TimeDelta::seconds((barren - due).num_seconds() / 2);
        match next(schedule, zone, middle).filter(|&at| at <= barren) {
            Some(at) => due = at,
            None => barren = middle,
        }
    }
    Some(due)
}

/// The instants at which a matching reading of the clock is due: two in a repeated hour, if it
/// counts twice.
fn instants(zone: Zone, reading: NaiveDateTime, follows_the_clock: bool) -> [Option<DateTime<Utc>>; 2] {
    let found = match zone.from_local_datetime(&reading) {
        MappedLocalTime::Single(at) => [Some(at), None],
        MappedLocalTime::Ambiguous(first, second) => [Some(first), follows_the_clock.then_some(second)],
        MappedLocalTime::None if follows_the_clock => [None, None],
        MappedLocalTime::None => [zone.end_of_gap(reading).map(|end| end.with_timezone(&zone)), None],
    };
    found.map(|at| at.map(|at| at.to_utc()))
}

/// The first reading at or after `from` that matches, in the calendar alone.
fn first_match(cron: &Cron, from: NaiveDateTime) -> Option<NaiveDateTime> {
    let opening = first_time(cron, NaiveTime::MIN)?;
    let mut date = from.date();
    let last_year = date.year() + HORIZON_YEARS;
    while date.year() <= last_year {
        if !cron.has_month(date.month()) {
            date = first_of_next_month(date)?;
            continue;
        }
        if cron.has_date(date) {
            let time = if date == from.date() { first_time(cron, from.time()) } else { Some(opening) };
            if let Some(time) = time {
                return Some(date.and_time(time));
            }
        }
        date = date.succ_opt()?;
    }
    None
}

fn first_of_next_month(date: NaiveDate) -> Option<NaiveDate> {
    date.with_day(1)?.checked_add_months(Months::new(1))
}

/// The first time of day at or after `from` that matches.
fn first_time(cron: &Cron, from: NaiveTime) -> Option<NaiveTime> {
    let (h, m, s) = (from.hour(), from.minute(), from.second());
    for hour in (h..24).filter(|&hour| cron.has_hour(hour)) {
        let minutes = if hour == h { m..60 } else { 0..60 };
        for minute in minutes.filter(|&minute| cron.has_minute(minute)) {
            let mut seconds = if (hour, minute) == (h, m) { s..60 } else { 0..60 };
            if let Some(second) = seconds.find(|&second| cron.has_second(second)) {
                return NaiveTime::from_hms_opt(hour, minute, second);
            }
        }
    }
    None
}
