//! How a column tells the time, as conditions in SQL: which rows hold a date at all, and which are older than the
//! cutoff. Pure text; one definition serves finding the format out, counting and deleting.
//!
//! A value counts as a date only when it is beyond doubt one. The ranges of the numeric formats do not overlap, so
//! that a column of seconds is never read as milliseconds; dates before 1900 (numbers: before 1973) are taken for
//! the marks that programs use for "no date". Whatever is no date is never old.

use chrono::{DateTime, Days, TimeDelta, Utc};
use rusqlite::types::Value;

use crate::config::DateFormat;

/// All formats, as they are tried.
pub(super) const FORMATS: [DateFormat; 4] =
    [DateFormat::Iso, DateFormat::UnixSeconds, DateFormat::UnixMilliseconds, DateFormat::JulianDay];

/// 1973-03-03 to 5138-11-16 in seconds; a thousand times as much in milliseconds.
const SECONDS: (f64, f64) = (1e8, 1e11);

/// 1900-01-01 and 9999-12-31 as julian days.
const JULIAN_DAYS: (f64, f64) = (2_415_020.5, 5_373_484.5);

/// Julian day of 1970-01-01 00:00 UTC.
const UNIX_EPOCH: f64 = 2_440_587.5;

/// The earliest text that is taken for a date.
const FIRST_DAY: &str = "1900-01-01";

/// Local time is ahead of UTC by at most this (Pacific/Kiritimati), the most that SQLite reads as an offset.
const LARGEST_OFFSET: TimeDelta = TimeDelta::hours(14);

/// The word for a format in the configuration and in reports.
pub(super) const fn word(format: DateFormat) -> &'static str {
    match format {
        DateFormat::Iso => "iso",
        DateFormat::UnixSeconds => "unix_seconds",
        DateFormat::UnixMilliseconds => "unix_milliseconds",
        DateFormat::JulianDay => "julian_day",
    }
}

/// A condition: `column` (an SQL expression) holds a date of this format. Never NULL.
pub(super) fn readable(format: DateFormat, column: &str) -> String {
    let number = |(first, last): (f64, f64)| {
        format!("(typeof({column}) IN ('integer', 'real') AND {column} >= {first:?} AND {column} < {last:?})")
    };
    match format {
        // SQLite reads the 31st of February as the 3rd of March; here it is no date. It also reads `now`, times
        // without a day and bare numbers; the pattern keeps those out.
        DateFormat::Iso => format!(
            "(typeof({column}) = 'text' AND {column} GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*' \
             AND {column} >= '{FIRST_DAY}' \
             AND date(substr({column}, 1, 10), '+0 days') IS substr({column}, 1, 10) \
             AND julianday({column}) IS NOT NULL)"
        ),
        DateFormat::UnixSeconds => number(SECONDS),
        DateFormat::UnixMilliseconds => number((SECONDS.0 * 1e3, SECONDS.1 * 1e3)),
        DateFormat::JulianDay => number(JULIAN_DAYS),
    }
}

/// What is old in one column: the format and the instant before which a row may go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Age {
    pub(super) format: DateFormat,
    pub(super) cutoff: DateTime<Utc>,
}

impl Age {
    /// A condition: `column` holds a date before the cutoff. Never NULL, and never true of what is no date.
    ///
    /// A date without a time is a whole day (in UTC), and old when that day had ended by the cutoff's day.
    pub(super) fn old(&self, column: &str) -> String {
        let readable = readable(self.format, column);
        let before = match self.format {
            DateFormat::Iso => format!(
                "julianday({column}) < julianday(CASE WHEN length({column}) = 10 THEN '{}' ELSE '{}' END)",
                self.cutoff.format("%Y-%m-%d"),
                self.cutoff.format("%Y-%m-%dT%H:%M:%S%.3f"),
            ),
            DateFormat::UnixSeconds | DateFormat::UnixMilliseconds | DateFormat::JulianDay => {
                format!("{column} < {:?}", self.number())
            }
        };
        format!("({readable} AND {before})")
    }

    /// An expression: 0 where `column` holds no date, 1 a date that stays, 2 an old one.
    pub(super) fn verdict(&self, column: &str) -> String {
        format!(
            "CASE WHEN {} THEN 2 WHEN {} THEN 1 ELSE 0 END",
            self.old(column),
            readable(self.format, column)
        )
    }

    /// In the binary order of the column, no old row lies before this value. For walking an index.
    pub(super) fn first(&self) -> Value {
        match self.format {
            DateFormat::Iso => Value::Text(FIRST_DAY.to_owned()),
            DateFormat::UnixSeconds => Value::Real(SECONDS.0),
            DateFormat::UnixMilliseconds => Value::Real(SECONDS.0 * 1e3),
            DateFormat::JulianDay => Value::Real(JULIAN_DAYS.0),
        }
    }

    /// Likewise no old row lies at this value, an SQL literal, or behind it.
    pub(super) fn end(&self) -> String {
        match self.format {
            DateFormat::Iso => (self.cutoff + LARGEST_OFFSET + Days::new(1)).format("'%Y-%m-%d'").to_string(),
            DateFormat::UnixSeconds | DateFormat::UnixMilliseconds | DateFormat::JulianDay => {
                format!("{:?}", self.number())
            }
        }
    }

    /// The cutoff as a number of the format.
    fn number(&self) -> f64 {
        let millis = self.cutoff.timestamp_millis() as f64;
        match self.format {
            DateFormat::Iso | DateFormat::UnixSeconds => millis / 1e3,
            DateFormat::UnixMilliseconds => millis,
            DateFormat::JulianDay => UNIX_EPOCH + millis / 86_400_000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::FixedOffset;
    use proptest::prelude::*;
    use rusqlite::Connection;
    use rusqlite::types::ToSql;

    fn verdict(age: Age, value: &dyn ToSql) -> i64 {
        let connection = Connection::open_in_memory().unwrap();
        let sql = format!("SELECT {} FROM (SELECT ?1 AS c)", age.verdict("c"));
        connection.query_row(&sql, [value], |row| row.get(0)).unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn age(format: DateFormat) -> Age {
        Age { format, cutoff: at("2025-11-23T02:00:00Z") }
    }

    #[test]
    fn a_day_is_old_only_when_it_lies_before_the_day_of_the_cutoff() {
        assert_eq!(verdict(age(DateFormat::Iso), &"2025-11-22"), 2);
        assert_eq!(verdict(age(DateFormat::Iso), &"2025-11-23"), 1);
    }

    #[test]
    fn what_is_no_date_beyond_doubt_is_never_old() {
        let texts = [
            "",
            "now",
            "n/a",
            "2020",
            "12:00",
            "2020-1-2",
            "2020-02-31",
            "2020-13-01",
            "0000-00-00",
            "0001-01-01T00:00:00Z",
            "2020-01-01x",
            "20200101",
            "2020-01-01 10:00 UTC",
            "1500000000",
        ];
        for text in texts {
            assert_eq!(verdict(age(DateFormat::Iso), &text), 0, "{text}");
            assert_eq!(verdict(age(DateFormat::UnixSeconds), &text), 0, "{text}");
        }
        for format in FORMATS {
            assert_eq!(verdict(age(format), &rusqlite::types::Null), 0);
            assert_eq!(verdict(age(format), &b"2020-01-01".as_slice()), 0);
            assert_eq!(verdict(age(format), &0), 0);
            assert_eq!(verdict(age(format), &-1), 0);
        }
    }

    #[test]
    fn a_number_is_a_date_in_one_format_only() {
        for (number, format) in [
            (1_500_000_000.0, DateFormat::UnixSeconds),
            (1_500_000_000_000.0, DateFormat::UnixMilliseconds),
            (2_457_948.6, DateFormat::JulianDay),
        ] {
            let read: Vec<_> = FORMATS.into_iter().filter(|f| verdict(age(*f), &number) != 0).collect();
            assert_eq!(read, [format]);
            assert_eq!(verdict(age(format), &number), 2);
        }
    }

    /// An instant of the years 1990 to 2100, a cutoff, an offset in quarter hours, and a way to write.
    fn cases() -> impl Strategy<Value = (i64, i64, i32, usize)> {
        let millis = 631_152_000_000i64..4_102_444_800_000;
        (millis.clone(), millis, -56i32..=56, 0usize..6)
    }

    proptest! {
        #[test]
        fn a_text_is_old_exactly_when_its_instant_lies_before_the_cutoff(
            (instant, cutoff, quarters, way) in cases(), near in -3_000i64..3_000, is_near: bool,
        ) {
            let cutoff = DateTime::from_timestamp_millis(cutoff).unwrap();
            let instant = if is_near { cutoff.timestamp_millis() + near } else { instant };
            let age = Age { format: DateFormat::Iso, cutoff };
            let utc = DateTime::from_timestamp_millis(instant).unwrap();
            let local = utc.with_timezone(&FixedOffset::east_opt(quarters * 900).unwrap());
            let (text, precision) = match way {
                0 => (utc.format("%Y-%m-%d %H:%M:%S").to_string(), 1_000),
                1 => (utc.format("%Y-%m-%dT%H:%M:%SZ").to_string(), 1_000),
                2 => (utc.format("%Y-%m-%d %H:%M:%S%.3f").to_string(), 1),
                3 => (local.format("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string(), 1),
                4 => (local.format("%Y-%m-%d %H:%M:%S%:z").to_string(), 1_000),
                _ => (utc.format("%Y-%m-%d %H:%M").to_string(), 60_000),
            };
            let written = instant - instant.rem_euclid(precision);
            let expected = if written < cutoff.timestamp_millis() { 2 } else { 1 };
            prop_assert_eq!(verdict(age, &text), expected, "{}", text);
            let (Value::Text(first), end) = (age.first(), age.end()) else { panic!() };
            let end = end.trim_matches('\'');
            prop_assert!(expected == 1 || (first <= text && text.as_str() < end), "{} lies outside", text);
        }
    }
}
