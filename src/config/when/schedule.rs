//! A cron expression, parsed: five fields, six with seconds first, an `@` name, or `never`. Knows
//! the text and which instants of a calendar match; when that is next in a zone is
//! `schedule::calendar`'s.

use std::fmt;

use super::cron::Cron;
use super::cron_text::{self, Fault};

/// The names for expressions.
const NAMES: [&str; 5] = ["@hourly", "@daily", "@weekly", "@monthly", "@yearly"];

/// A cron expression. Equal when the texts are.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    cron: Option<Cron>,
}

impl Schedule {
    /// Reads an expression. The error completes "the schedule …":
    /// `has a wrong minute: 60 is not from 0 to 59`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let pattern = match text.trim() {
            "never" => return Ok(Self::never()),
            "@hourly" => "0 * * * *",
            "@daily" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" => "0 0 1 1 *",
            name if name.starts_with('@') => {
                let message =
                    format!("`{name}` is not known: @hourly, @daily, @weekly, @monthly and @yearly are");
                return Err(Fault { message, within: None });
            }
            bare if NAMES.iter().any(|name| name[1..].eq_ignore_ascii_case(bare)) => {
                let message = format!(
                    "must be a schedule, not {bare:?}: did you mean \"@{}\"?",
                    bare.to_ascii_lowercase()
                );
                return Err(Fault { message, within: None });
            }
            _ => text,
        };
        Ok(Self { text: text.trim().to_owned(), cron: Some(cron_text::read(pattern)?) })
    }

    /// The schedule that has no due time: the job runs only by hand.
    pub fn never() -> Self {
        Self { text: "never".to_owned(), cron: None }
    }

    /// The parsed expression; `None` is `never`.
    pub const fn cron(&self) -> Option<&Cron> {
        self.cron.as_ref()
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Datelike, NaiveDate};
    use croner::parser::{CronParser, Seconds};
    use proptest::prelude::*;

    /// The days of 2026 on which it fires at some time (2026 begins on a Thursday).
    fn days(text: &str) -> Vec<NaiveDate> {
        let schedule = Schedule::parse(text).unwrap();
        all_days(|date| schedule.cron().unwrap().has_date(date))
    }

    fn all_days(keep: impl Fn(NaiveDate) -> bool) -> Vec<NaiveDate> {
        let start = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
        start.iter_days().take_while(|d| d.year() == 2026).filter(|d| keep(*d)).collect()
    }

    #[test]
    fn day_of_month_and_day_of_week_are_alternatives_when_both_are_given() {
        let friday = |d: NaiveDate| d.weekday() == chrono::Weekday::Fri;
        assert_eq!(days("0 0 13 * FRI"), all_days(|d| d.day() == 13 || friday(d)));
        assert_eq!(days("0 0 13 * *"), all_days(|d| d.day() == 13));
        assert_eq!(days("0 0 * * FRI"), all_days(friday));
        assert_eq!(days("0 0 */2 * FRI"), all_days(|d| d.day() % 2 == 1 && friday(d)));
    }

    #[test]
    fn sunday_is_0_and_7_and_the_end_of_a_range() {
        let weekend = all_days(|d| d.weekday().number_from_monday() > 5);
        let sundays = all_days(|d| d.weekday().number_from_monday() == 7);
        assert_eq!(days("0 0 * * 0"), sundays);
        assert_eq!(days("0 0 * * 7"), sundays);
        assert_eq!(days("@weekly"), sundays);
        assert_eq!(days("0 0 * * */7"), sundays);
        assert_eq!(days("0 0 * * SAT-SUN"), weekend);
        assert_eq!(days("0 0 * * 6-7"), weekend);
    }

    #[test]
    fn seconds_come_first_in_six_fields() {
        let schedule = Schedule::parse("*/20 5 * * * *").unwrap();
        let cron = schedule.cron().unwrap();
        let of = |has: fn(&Cron, u32) -> bool| (0..60).filter(|n| has(cron, *n)).collect::<Vec<_>>();
        assert_eq!((of(Cron::has_second), of(Cron::has_minute)), (vec![0, 20, 40], vec![5]));
    }

    #[test]
    fn never_has_no_cron_and_unknown_names_are_refused() {
        assert!(Schedule::parse("never").unwrap().cron().is_none());
        assert!(Schedule::parse("@reboot").unwrap_err().message.contains("@hourly"));
        assert!(Schedule::parse("@HOURLY").is_err());
        assert!(Schedule::parse("hourly").unwrap_err().message.contains("did you mean \"@hourly\"?"));
    }

    proptest! {
        #[test]
        fn what_the_grammar_takes_matches_as_in_croner(
            mut fields in prop::collection::vec("\\*|\\*/[1-7]|[1-5](-[5-7](/[1-3])?)?|[1-6],[1-6]", 5..=6),
            last_day in prop::option::of("L|L,[1-9]|[1-3][01],L"),
            weekday in prop::option::of("[0-6]#[1-5]|[0-6]L|[0-6]#L|[0-6]#[1-5],[0-7]|(MON|tue|SUN)(#[1-5]|#L)"),
        ) {
            // In a week of a month, croner does not know Sunday as 7.
            let at = fields.len();
            fields[at - 3] = last_day.unwrap_or(fields[at - 3].clone());
            fields[at - 1] = weekday.unwrap_or(fields[at - 1].clone());
            let text = fields.join(" ");
            let schedule = match Schedule::parse(&text) {
                Ok(schedule) => schedule,
                Err(fault) if fault.message.contains("no date has both") => return Ok(()),
                Err(fault) => return Err(TestCaseError::fail(format!("{text}: {}", fault.message))),
            };
            prop_assert_eq!(schedule.to_string(), text.clone());
            let cron = schedule.cron().unwrap();
            // A star with a step is a star to crontab(5), and a restriction to croner.
            let is_star = |field: &str| field.contains('*');
            let both = fields[fields.len() - 3..].iter().step_by(2).any(|field| is_star(field));
            let model = CronParser::builder().seconds(Seconds::Optional).dom_and_dow(both).build();
            let model = model.parse(&text).unwrap().pattern;
            for n in 0..60 {
                prop_assert_eq!(cron.has_second(n), model.second_match(n).unwrap(), "second {} of {}", n, text);
                prop_assert_eq!(cron.has_minute(n), model.minute_match(n).unwrap(), "minute {} of {}", n, text);
            }
            for n in 0..24 {
                prop_assert_eq!(cron.has_hour(n), model.hour_match(n).unwrap(), "hour {} of {}", n, text);
            }
            for date in all_days(|_| true) {
                let matches = model.month_match(date.month()).unwrap()
                    && model.day_match(date.year(), date.month(), date.day()).unwrap();
                prop_assert_eq!(cron.has_date(date), matches, "{} of {}", date, text);
            }
        }
    }
}
