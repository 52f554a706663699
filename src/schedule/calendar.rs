//! Cron expression and zone to instants, daylight saving included. Takes the time as an argument and must
//! never ask a clock.
//!
//! Which instants are due:
//!
//! - An expression with a wildcard in its hours or minutes (`*`, `*/15`, or every value spelled out) goes by
//!   the clock on the wall as it shows: whenever the reading matches. Through the repeated hour of autumn
//!   `*/15 * * * *` therefore keeps its quarters of a real hour, and readings that spring skips are not run.
//! - Any other expression names fixed wall times. Each is due once: the first time that the clock shows it,
//!   or, where the clock skips it, at the first instant after the gap. Two that fall in one gap are one run.
//!   The gap may be a whole day (Samoa had no 30 December 2011): a run too many does no harm, a monthly or
//!   yearly one that never comes does.
//!
//! This is the distinction that Vixie cron and cronie make (cronie's cron(8), daylight saving time).
//!
//! Croner matches dates and times of day. Its own search for the next instant is not used: within the second
//! pass of a repeated hour it answers with the first, which has gone by; it calls an expression fixed only where
//! each field is a single value (`30 2,14 * * *` loses its run in spring); it gives up in a gap longer than two
//! hours; and it walks to the year 5000 to find that 30 February never comes.

use chrono::{DateTime, Datelike, MappedLocalTime, Months, NaiveDate, NaiveDateTime, NaiveTime};
use chrono::{TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::{GapInfo, Tz};
use croner::Cron;

use crate::config::Schedule;

/// A date that has not come within so many years never comes: 29 February on a given weekday is at most
/// 40 years away (over a century year that is no leap year).
const HORIZON_YEARS: i32 = 41;

/// The first due instant strictly after `after`; `None` when there is none (`never`, 30 February).
pub fn next(schedule: &Schedule, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let cron = schedule.cron()?;
    let follows_the_clock = follows_the_clock(schedule, cron);
    // Due instants are whole seconds, so the fraction of `after` does not matter.
    let here = DateTime::from_timestamp(after.timestamp(), 0)?.with_timezone(&zone);
    let wall = here.naive_local();
    // In the first pass of a repeated hour, the clock is about to show up to `again` of what it has shown.
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

/// The latest due instant in `(after, until]`, for runs that were missed; `None` when there is none.
pub fn latest(
    schedule: &Schedule,
    zone: Tz,
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

/// Whether the expression goes by elapsed time rather than naming fixed times of day.
fn follows_the_clock(schedule: &Schedule, cron: &Cron) -> bool {
    schedule.has_any_time() || cron.pattern.hours.is_all_set() || cron.pattern.minutes.is_all_set()
}

/// The instants at which a matching reading of the clock is due: two in a repeated hour, if it counts twice.
fn instants(zone: Tz, reading: NaiveDateTime, follows_the_clock: bool) -> [Option<DateTime<Utc>>; 2] {
    let found = match zone.from_local_datetime(&reading) {
        MappedLocalTime::Single(at) => [Some(at), None],
        MappedLocalTime::Ambiguous(first, second) => [Some(first), follows_the_clock.then_some(second)],
        MappedLocalTime::None if follows_the_clock => [None, None],
        MappedLocalTime::None => [GapInfo::new(&reading, &zone).and_then(|gap| gap.end), None],
    };
    found.map(|at| at.map(|at| at.to_utc()))
}

/// The first reading at or after `from` that matches, in the calendar alone.
fn first_match(cron: &Cron, from: NaiveDateTime) -> Option<NaiveDateTime> {
    let pattern = &cron.pattern;
    let opening = first_time(cron, NaiveTime::MIN)?;
    let mut date = from.date();
    let last_year = date.year() + HORIZON_YEARS;
    while date.year() <= last_year {
        if !pattern.month_match(date.month()).unwrap_or(false) {
            date = first_of_next_month(date)?;
            continue;
        }
        if pattern.day_match(date.year(), date.month(), date.day()).unwrap_or(false) {
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
    let pattern = &cron.pattern;
    let hours = (h..24).filter(|&hour| pattern.hour_match(hour).unwrap_or(false));
    for hour in hours {
        let minutes = if hour == h { m..60 } else { 0..60 };
        for minute in minutes.filter(|&minute| pattern.minute_match(minute).unwrap_or(false)) {
            let mut seconds = if (hour, minute) == (h, m) { s..60 } else { 0..60 };
            if let Some(second) = seconds.find(|&second| pattern.second_match(second).unwrap_or(false)) {
                return NaiveTime::from_hms_opt(hour, minute, second);
            }
        }
    }
    None
}
