//! How far back the backups of a place reach under its policy, in words: of ten hourly ones nobody
//! should find out in the second week. Pure: the time is an argument. Must never look at what is
//! there.

use crate::zone::Zone;
use chrono::{DateTime, TimeDelta, Utc};

use crate::config::{Keep, Schedule};
use crate::schedule::calendar;
use crate::words;

/// Firings of a schedule that are followed; more of them take as much longer.
const FOLLOWED: u32 = 400;

/// What a policy keeps, and how far back that is: `the last 10, 7 daily: 7 days back`.
pub fn in_words(keep: &Keep, schedule: &Schedule, zone: Zone, now: DateTime<Utc>) -> String {
    let rules = [
        (keep.hourly, "hourly"),
        (keep.daily, "daily"),
        (keep.weekly, "weekly"),
        (keep.monthly, "monthly"),
        (keep.yearly, "yearly"),
    ];
    let last = (keep.last > 0).then(|| format!("the last {}", keep.last));
    let periods =
        rules.into_iter().filter(|(count, _)| *count > 0).map(|(count, of)| format!("{count} {of}"));
    let kept: Vec<String> = last.into_iter().chain(periods).collect();
    let reach = match span(keep, schedule, zone, now) {
        Some(span) => format!("{} back", rounded(span)),
        None => String::from("as far back as you make them by hand"),
    };
    format!("{}: {reach}", kept.join(", "))
}

/// The longest of what the keys keep. What is made more seldom than a key counts reaches further, by
/// as much as nobody knows before.
fn span(keep: &Keep, schedule: &Schedule, zone: Zone, now: DateTime<Utc>) -> Option<TimeDelta> {
    let periods = [
        TimeDelta::hours(keep.hourly.into()),
        TimeDelta::days(keep.daily.into()),
        TimeDelta::weeks(keep.weekly.into()),
        // A year is twelve of them.
        TimeDelta::days(i64::from(keep.monthly) * 365 / 12),
        TimeDelta::days(i64::from(keep.yearly) * 365),
    ];
    let longest = periods.into_iter().max().filter(|longest| !longest.is_zero());
    longest.max(of_last(keep.last, schedule, zone, now))
}

fn of_last(count: u32, schedule: &Schedule, zone: Zone, now: DateTime<Utc>) -> Option<TimeDelta> {
    if count == 0 {
        return None;
    }
    let followed = count.min(FOLLOWED);
    let first = calendar::next(schedule, zone, now)?;
    let mut at = first;
    for _ in 0..followed {
        at = calendar::next(schedule, zone, at)?;
    }
    Some((at - first) * i32::try_from(count / followed).unwrap_or(i32::MAX))
}

fn rounded(span: TimeDelta) -> String {
    let hours = (span.num_minutes() + 30) / 60;
    let plural = |count: i64, one: &str, many: &str| words::plural(count.unsigned_abs(), one, many);
    match hours {
        0 => plural(span.num_minutes(), "minute", "minutes"),
        1..48 => plural(hours, "hour", "hours"),
        48..1440 => plural(hours / 24, "day", "days"),
        // Sixty days and more.
        1440..17520 => plural((hours / 24 * 12 + 180) / 365, "month", "months"),
        _ => plural(hours / 24 / 365, "year", "years"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(keep: Keep, schedule: &str) -> String {
        let now = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        in_words(&keep, &Schedule::parse(schedule).unwrap(), Zone::UTC, now)
    }

    const NONE: Keep = Keep { last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 };

    #[test]
    fn what_a_policy_keeps_is_said_with_how_far_back_it_reaches() {
        let all = Keep { last: 10, hourly: 24, daily: 7, weekly: 4, monthly: 12, yearly: 0 };
        assert_eq!(
            said(all, "@hourly"),
            "the last 10, 24 hourly, 7 daily, 4 weekly, 12 monthly: 12 months back"
        );
        let last = Keep { last: 10, ..NONE };
        assert_eq!(said(last, "@hourly"), "the last 10: 10 hours back");
        assert_eq!(said(last, "*/5 * * * *"), "the last 10: 1 hour back");
        assert_eq!(said(last, "@daily"), "the last 10: 10 days back");
        assert_eq!(said(last, "never"), "the last 10: as far back as you make them by hand");
        assert_eq!(said(Keep { last: 4000, ..NONE }, "@hourly"), "the last 4000: 5 months back");
        assert_eq!(said(Keep { daily: 7, ..last }, "never"), "the last 10, 7 daily: 7 days back");
        assert_eq!(said(Keep { yearly: 5, ..NONE }, "@hourly"), "5 yearly: 5 years back");
    }
}
