//! A cron expression, parsed: five fields, six with seconds first, an `@` name, or `never`. Knows the text and
//! which instants of a calendar match; when that is next in a zone is `schedule::calendar`'s.

use std::fmt;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use super::cron_text::{self, Fault};

/// The names for expressions.
const NAMES: [&str; 5] = ["@hourly", "@daily", "@weekly", "@monthly", "@yearly"];

/// A cron expression. Equal when the texts are.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    cron: Option<Cron>,
    any_time: bool,
}

impl Schedule {
    /// Reads an expression. The error completes "the schedule …": `has a wrong minute: 60 is not from 0 to 59`.
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
        let plain = cron_text::read(pattern)?;
        let cron = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            .dom_and_dow(plain.both_days)
            .build()
            .parse(&plain.pattern)
            .map_err(|e| Fault { message: format!("cannot be read: {e}"), within: None })?;
        Ok(Self { text: text.trim().to_owned(), cron: Some(cron), any_time: plain.any_time })
    }

    /// The schedule that has no due time: the job runs only by hand.
    pub fn never() -> Self {
        Self { text: "never".to_owned(), cron: None, any_time: false }
    }

    /// The parsed expression; `None` is `never`.
    pub const fn cron(&self) -> Option<&Cron> {
        self.cron.as_ref()
    }

    /// Whether the minute or the hour has a `*`: cron then goes by elapsed time, and otherwise by the wall clock
    /// (crontab(5), the note on daylight saving).
    pub const fn has_any_time(&self) -> bool {
        self.any_time
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
    use chrono::{Datelike, NaiveDate, TimeZone, Utc};
    use proptest::prelude::*;

    /// The days of 2026 on which it fires at some time (2026 begins on a Thursday).
    fn days(text: &str) -> Vec<NaiveDate> {
        let cron = Schedule::parse(text).unwrap().cron().unwrap().clone();
        let start = Utc.with_ymd_and_hms(2025, 12, 31, 23, 59, 59).unwrap();
        let mut days: Vec<_> =
            cron.iter_after(start).map(|t| t.date_naive()).take_while(|d| d.year() == 2026).collect();
        days.dedup();
        days
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
        let cron = Schedule::parse("*/20 5 * * * *").unwrap().cron().unwrap().clone();
        let start = Utc.with_ymd_and_hms(2025, 12, 31, 23, 59, 59).unwrap();
        let times: Vec<String> = cron.iter_after(start).take(4).map(|t| t.format("%T").to_string()).collect();
        assert_eq!(times, ["00:05:00", "00:05:20", "00:05:40", "01:05:00"]);
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
        fn whatever_the_grammar_takes_croner_takes(
            fields in prop::collection::vec("\\*|\\*/[1-7]|[1-5](-[5-7](/[1-3])?)?|[1-6],[1-6]", 5..=6)
        ) {
            let text = fields.join(" ");
            match Schedule::parse(&text) {
                Ok(schedule) => prop_assert_eq!(schedule.to_string(), text),
                Err(fault) => prop_assert!(false, "{}: {}", text, fault.message),
            }
        }
    }
}
