//! Hours of the week in which nothing heavy starts: `["08:00-18:00 Mon-Fri"]`. Knows the text and
//! which readings of the clock on the wall it covers; which instants those are in a zone is
//! `schedule::blackout`'s.

use std::fmt;

use chrono::{Datelike as _, NaiveDate, NaiveDateTime, Timelike as _, Weekday};

use super::cron_text::Fault;
use crate::config::Schedule;

/// Minutes of a day, and of a week from Monday on.
const DAY: u32 = 24 * 60;
const WEEK: u32 = 7 * DAY;

/// In the order of [`Weekday::num_days_from_monday`].
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Windows of every week. Equal when they cover the same minutes and are written alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blackout {
    windows: Vec<String>,
    /// Minutes of the week, ends excluded; sorted, none touches another.
    covered: Vec<(u32, u32)>,
}

impl Blackout {
    /// Adds a window: `HH:MM-HH:MM`, and the days on which it begins where that is not every day.
    /// One that ends no later than it begins ends on the next day. The error completes "the window
    /// …".
    pub fn add(&mut self, text: &str) -> Result<(), Fault> {
        let text = text.trim();
        let (hours, days) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let (from, to) =
            hours.split_once('-').ok_or_else(|| fault("is not written HH:MM-HH:MM", hours, text))?;
        let (begin, end) = (minute(from, text)?, minute(to, text)?);
        if begin == DAY {
            return Err(fault("begins at 24:00: write 00:00 and the next day", from, text));
        }
        if begin == end {
            return Err(fault("is empty: the whole day is 00:00-24:00", hours, text));
        }
        let length = if begin < end { end - begin } else { end + DAY - begin };
        for day in self::days(days.trim(), text)? {
            let start = day * DAY + begin;
            self.covered.push((start, (start + length).min(WEEK)));
            if start + length > WEEK {
                self.covered.push((0, start + length - WEEK));
            }
        }
        self.covered.sort_unstable();
        self.covered =
            self.covered.drain(..).fold(Vec::new(), |mut merged: Vec<(u32, u32)>, (start, end)| {
                match merged.last_mut().filter(|last| start <= last.1) {
                    Some(last) => last.1 = last.1.max(end),
                    None => merged.push((start, end)),
                }
                merged
            });
        self.windows.push(text.to_owned());
        Ok(())
    }

    /// Whether there is no window.
    pub const fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Whether nothing is left of the week.
    pub fn is_always(&self) -> bool {
        self.covered == [(0, WEEK)]
    }

    /// Whether it covers this reading of the clock.
    pub fn covers(&self, reading: NaiveDateTime) -> bool {
        let minute = minute_of_week(reading);
        self.covered.iter().any(|&(start, end)| (start..end).contains(&minute))
    }

    /// Minutes from the one that this reading is in to the next at whose beginning a window begins
    /// or ends; `None` where none ever does.
    pub fn minutes_to_edge(&self, reading: NaiveDateTime) -> Option<u32> {
        let minute = minute_of_week(reading);
        let wraps = self.covers_minute(0) && self.covers_minute(WEEK - 1);
        let edges = self.covered.iter().flat_map(|&(start, end)| [start, end % WEEK]);
        let edges = edges.filter(|&edge| edge != 0 || !wraps);
        edges.map(|edge| (edge + WEEK - minute - 1) % WEEK + 1).min()
    }

    fn covers_minute(&self, minute: u32) -> bool {
        self.covered.iter().any(|&(start, end)| (start..end).contains(&minute))
    }

    /// Whether it covers every reading at which a schedule fires, of which there must be one.
    pub(in crate::config) fn covers_all_of(&self, schedule: &Schedule) -> bool {
        let Some(cron) = schedule.cron().filter(|_| !self.is_empty()) else { return false };
        let fires = |minute: u32| cron.has_hour(minute / 60) && cron.has_minute(minute % 60);
        let times: Vec<u32> = (0..DAY).filter(|&minute| fires(minute)).collect();
        let open = |day: Weekday| {
            let first = day.num_days_from_monday() * DAY;
            times.iter().any(|time| !self.covers_minute(first + time))
        };
        let may_start: Vec<Weekday> =
            (0..7).filter_map(|n| Weekday::try_from(n).ok()).filter(|d| open(*d)).collect();
        // After 28 years dates fall on the same days of the week again, but for a century year that
        // is no leap year.
        let dates =
            NaiveDate::from_ymd_opt(2001, 1, 1).into_iter().flat_map(|day| day.iter_days().take(28 * 366));
        let mut on_open_days = dates.filter(|date| may_start.contains(&date.weekday()));
        !on_open_days.any(|date| cron.has_date(date))
    }
}

impl fmt::Display for Blackout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.windows.join(", "))
    }
}

fn minute_of_week(reading: NaiveDateTime) -> u32 {
    reading.weekday().num_days_from_monday() * DAY + reading.hour() * 60 + reading.minute()
}

/// A fault at `part`, which is a part of `text`.
fn fault(message: &str, part: &str, text: &str) -> Fault {
    let start = part.as_ptr().addr().saturating_sub(text.as_ptr().addr());
    Fault { message: message.to_owned(), within: Some(start..start + part.len()) }
}

/// `08:30` as a minute of the day; 24:00 is the end of one.
fn minute(time: &str, text: &str) -> Result<u32, Fault> {
    let number = |digits: &str| {
        (digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
    };
    let read = || {
        let (hour, minute) = time.split_once(':')?;
        Some(number(hour)? * 60 + number(minute).filter(|minute: &u32| *minute < 60)?)
    };
    read()
        .filter(|minute| *minute <= DAY)
        .ok_or_else(|| fault(&format!("has a wrong time, `{time}`: times are 00:00 to 24:00"), time, text))
}

/// `Mon-Fri` or `Sat,Sun` as numbers of days; nothing is every day.
fn days(list: &str, text: &str) -> Result<Vec<u32>, Fault> {
    let number = |name: &str| {
        let at = (0_u32..).zip(DAYS).find(|(_, day)| day.eq_ignore_ascii_case(name));
        at.map(|(n, _)| n).ok_or_else(|| {
            fault(&format!("has a wrong day, `{name}`: days are {}", DAYS.join(", ")), name, text)
        })
    };
    if list.is_empty() {
        return Ok((0..7).collect());
    }
    let mut days = Vec::new();
    for part in list.split(',').map(str::trim) {
        match part.split_once('-') {
            None => days.push(number(part)?),
            Some((from, to)) => {
                let (from, to) = (number(from.trim())?, number(to.trim())?);
                days.extend((0..=(to + 7 - from) % 7).map(|n| (from + n) % 7));
            }
        }
    }
    Ok(days)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use proptest::prelude::*;

    fn blackout(windows: &[&str]) -> Blackout {
        let mut blackout = Blackout::default();
        for window in windows {
            blackout.add(window).unwrap();
        }
        blackout
    }

    /// 2026-11-23 is a Monday.
    fn monday() -> NaiveDateTime {
        NaiveDate::from_ymd_opt(2026, 11, 23).unwrap().and_hms_opt(0, 0, 0).unwrap()
    }

    fn on(day: i64, time: &str) -> NaiveDateTime {
        let (hour, minute) = time.split_once(':').unwrap();
        let minutes = hour.parse::<i64>().unwrap() * 60 + minute.parse::<i64>().unwrap();
        monday() + TimeDelta::minutes(day * i64::from(DAY) + minutes)
    }

    #[test]
    fn a_window_holds_on_its_days_from_its_first_minute_to_before_its_last() {
        let work = blackout(&["08:00-18:00 Mon-Fri"]);
        assert!(!work.covers(on(0, "07:59")) && work.covers(on(0, "08:00")));
        assert!(work.covers(on(4, "17:59")) && !work.covers(on(4, "18:00")));
        assert!(!work.covers(on(5, "12:00")));
        let list = blackout(&["12:00-13:00 sat,Sun"]);
        assert_eq!((0..7).filter(|day| list.covers(on(*day, "12:30"))).collect::<Vec<_>>(), [5, 6]);
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let night = blackout(&["22:00-06:00 Fri-Sun"]);
        assert!(!night.covers(on(4, "05:00")) && night.covers(on(4, "23:00")));
        // Of the Sunday, into the Monday.
        assert!(
            night.covers(on(0, "05:59")) && !night.covers(on(0, "06:00")) && !night.covers(on(0, "22:00"))
        );
    }

    #[test]
    fn days_that_touch_are_one_window() {
        let weekend = blackout(&["00:00-24:00 Sat,Sun"]);
        assert_eq!(weekend.minutes_to_edge(on(5, "12:00")), Some(36 * 60));
        assert_eq!(weekend.minutes_to_edge(on(0, "00:00")), Some(5 * DAY));
        let over = blackout(&["00:00-24:00 Sun", "00:00-24:00 Mon"]);
        assert_eq!(over.minutes_to_edge(on(6, "23:00")), Some(25 * 60));
        let always = blackout(&["06:00-18:00", "18:00-06:00"]);
        assert!(always.is_always() && !over.is_always());
        assert_eq!(always.minutes_to_edge(on(3, "03:00")), None);
    }

    #[test]
    fn a_wrong_window_says_which_part_and_what_is_possible() {
        for (text, part, message) in [
            ("08:00", "08:00", "is not written HH:MM-HH:MM"),
            ("08:00-25:00", "25:00", "has a wrong time, `25:00`: times are 00:00 to 24:00"),
            ("8-18", "8", "has a wrong time, `8`: times are 00:00 to 24:00"),
            ("08:60-18:00", "08:60", "has a wrong time, `08:60`: times are 00:00 to 24:00"),
            ("24:00-06:00", "24:00", "begins at 24:00: write 00:00 and the next day"),
            ("08:00-08:00", "08:00-08:00", "is empty: the whole day is 00:00-24:00"),
            (
                "08:00-18:00 Mon-Freitag",
                "Freitag",
                "has a wrong day, `Freitag`: days are Mon, Tue, Wed, Thu, Fri, Sat, Sun",
            ),
            ("08:00-18:00 Mon,", "", "has a wrong day, ``: days are Mon, Tue, Wed, Thu, Fri, Sat, Sun"),
        ] {
            let fault = Blackout::default().add(text).unwrap_err();
            assert_eq!((fault.message.as_str(), &text[fault.within.unwrap()]), (message, part), "{text}");
        }
    }

    #[test]
    fn a_schedule_that_only_fires_within_is_told_from_one_that_does_not() {
        let work = blackout(&["08:00-18:00 Mon-Fri"]);
        let covers = |text: &str| work.covers_all_of(&Schedule::parse(text).unwrap());
        assert!(covers("0 12 * * MON-FRI") && covers("*/5 9-17 * * 2") && covers("30 30 9 * * MON"));
        assert!(!covers("0 12 * * *") && !covers("0 18 * * MON") && !covers("@hourly") && !covers("never"));
        // Some year the 13th is a Saturday.
        assert!(!covers("0 12 13 * *"));
        assert!(!Blackout::default().covers_all_of(&Schedule::parse("* * * * *").unwrap()));
    }

    proptest! {
        #[test]
        fn the_next_edge_is_where_the_naive_walk_over_minutes_finds_it(
            windows in prop::collection::vec((0..DAY, 1..=DAY, 0..7_usize, 0..7_usize), 0..4), minute in 0..WEEK,
        ) {
            let mut blackout = Blackout::default();
            for (begin, end, first, last) in windows {
                let text = format!("{:02}:{:02}-{:02}:{:02} {}-{}", begin / 60, begin % 60, end / 60, end % 60,
                    DAYS[first], DAYS[last]);
                prop_assert_eq!(blackout.add(&text).is_err(), begin == end);
            }
            let at = |minute: u32| monday() + TimeDelta::minutes(i64::from(minute));
            let naive = (1..=WEEK).find(|n| blackout.covers(at(minute + n)) != blackout.covers(at(minute + n - 1)));
            prop_assert_eq!(blackout.minutes_to_edge(at(minute)), naive);
        }
    }
}
