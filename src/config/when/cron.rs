//! Which readings of a clock and dates of a calendar a cron expression matches, and on which days
//! that is, in words. Knows neither its text nor any zone.

use chrono::{Datelike as _, Days, NaiveDate};

/// The bit of the days of a month that stands for its last one, whichever that is.
pub(super) const LAST_DAY: u64 = 1 << 32;

/// In place of the number of a week: the last of a month.
pub(super) const LAST: u32 = 6;

/// In the order of their numbers, from Sunday on.
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// From the first on; of the number [`LAST`] the last.
const ORDINALS: [&str; 6] = ["first", "second", "third", "fourth", "fifth", "last"];

/// An expression: of each field, bit `n` is set where it has the value `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cron {
    pub(super) seconds: u64,
    pub(super) minutes: u64,
    pub(super) hours: u64,
    /// With [`LAST_DAY`].
    pub(super) days: u64,
    pub(super) months: u64,
    /// Sunday is 0. Those that count in one week of a month only have the bits of [`occurrence`].
    pub(super) weekdays: u64,
    /// Day of month AND day of week: so where either has a `*`, also with a step; OR where both are
    /// restricted (crontab(5), the note on days).
    pub(super) both_days: bool,
    /// Whether the minute or the hour has a `*`, also with a step, or all of its values: cron then
    /// goes by elapsed time, and otherwise by the wall clock (crontab(5), the note on daylight
    /// saving).
    pub(super) any_time: bool,
}

impl Cron {
    /// Whether it goes by elapsed time rather than naming fixed times of day.
    pub const fn has_any_time(&self) -> bool {
        self.any_time
    }

    /// Whether a second of the minute matches; bits beyond 59 never do.
    pub const fn has_second(&self, second: u32) -> bool {
        has(self.seconds, second)
    }

    /// Whether a minute of the hour matches.
    pub const fn has_minute(&self, minute: u32) -> bool {
        has(self.minutes, minute)
    }

    /// Whether an hour of the day matches.
    pub const fn has_hour(&self, hour: u32) -> bool {
        has(self.hours, hour)
    }

    /// Whether a month, counted from 1, matches.
    pub const fn has_month(&self, month: u32) -> bool {
        has(self.months, month)
    }

    /// Whether a date matches.
    pub fn has_date(&self, date: NaiveDate) -> bool {
        let (day, weekday) = (self.has_day(date), self.has_weekday(date));
        self.has_month(date.month()) && if self.both_days { day && weekday } else { day || weekday }
    }

    fn has_day(&self, date: NaiveDate) -> bool {
        has(self.days, date.day()) || self.days & LAST_DAY != 0 && is_within_the_last(date, 1)
    }

    fn has_weekday(&self, date: NaiveDate) -> bool {
        let weekday = date.weekday().num_days_from_sunday();
        let week = (date.day() - 1) / 7 + 1;
        has(self.weekdays, weekday)
            || self.weekdays & occurrence(weekday, week) != 0
            || self.weekdays & occurrence(weekday, LAST) != 0 && is_within_the_last(date, 7)
    }

    /// Whether it counts days from the end of a month, or weeks within one.
    pub(super) const fn has_places(&self) -> bool {
        self.days & LAST_DAY != 0 || self.weekdays >> 8 != 0
    }

    /// Its days of the month, in words: `days 1 to 7 and the last day`.
    pub(super) fn days_in_words(&self) -> String {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for day in (1..=31).filter(|day| has(self.days, *day)) {
            match runs.last_mut().filter(|run| run.1 + 1 == day) {
                Some(run) => run.1 = day,
                None => runs.push((day, day)),
            }
        }
        let of_run = |(first, last): (u32, u32)| match last - first {
            0 => vec![first.to_string()],
            1 => vec![first.to_string(), last.to_string()],
            _ => vec![format!("{first} to {last}")],
        };
        let mut words: Vec<String> = runs.iter().copied().flat_map(of_run).collect();
        let is_one = matches!(runs.as_slice(), [(first, last)] if first == last);
        if let Some(first) = words.first_mut() {
            *first = format!("{} {first}", if is_one { "day" } else { "days" });
        }
        words.extend((self.days & LAST_DAY != 0).then(|| "the last day".to_owned()));
        listed(&words)
    }

    /// Its days of the week, in words: `each Monday and the last Friday`.
    pub(super) fn weekdays_in_words(&self) -> String {
        let named = || (0..).zip(WEEKDAYS);
        let each: Vec<String> =
            named().filter(|(n, _)| has(self.weekdays, *n)).map(|(_, name)| name.to_owned()).collect();
        let mut words: Vec<String> =
            (!each.is_empty()).then(|| format!("each {}", listed(&each))).into_iter().collect();
        for (n, name) in named() {
            let weeks = (1..).zip(ORDINALS).filter(|(week, _)| self.weekdays & occurrence(n, *week) != 0);
            words.extend(weeks.map(|(_, ordinal)| format!("the {ordinal} {name}")));
        }
        listed(&words)
    }

    /// Its days of each week as an expression: `MON,FRI`.
    pub(super) fn weekdays_as_names(&self) -> String {
        let names = (0..).zip(WEEKDAYS).filter(|(n, _)| has(self.weekdays, *n));
        names.map(|(_, name)| name[..3].to_uppercase()).collect::<Vec<_>>().join(",")
    }

    /// Which week of a month its days are, if they are one; [`LAST`] where they are the last seven
    /// of a month with 31 days. Whoever writes them beside a weekday means that week's.
    pub(super) fn week(&self) -> Option<u32> {
        let of_week = |week: u32| 0b1111_1110 << ((week - 1) * 7);
        match self.days {
            days if days == of_week(4) << 3 => Some(LAST),
            days => (1..=4).find(|week| days == of_week(*week)),
        }
    }
}

/// The bit of a weekday in one week of a month, counted from 1, or in its [`LAST`].
pub(super) const fn occurrence(weekday: u32, week: u32) -> u64 {
    1 << (8 + weekday * LAST + week - 1)
}

/// Whether a date is one of the last `days` of its month.
fn is_within_the_last(date: NaiveDate, days: u64) -> bool {
    date.checked_add_days(Days::new(days)).is_none_or(|later| later.month() != date.month())
}

const fn has(set: u64, n: u32) -> bool {
    n < u64::BITS && set & (1 << n) != 0
}

/// `a, b and c`.
fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
