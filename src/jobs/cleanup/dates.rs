//! How a column tells the time, as conditions in SQL: which rows hold a date at all, and which are
//! older than the cutoff. Pure text; one definition serves finding the format out, counting and
//! deleting.
//!
//! A value counts as a date only when it is beyond doubt one. The ranges of the numeric formats do
//! not overlap, so that a column of seconds is never read as milliseconds; dates before 1900
//! (numbers: before 1973) are taken for the marks that programs use for "no date". Whatever is no
//! date is never old.

use chrono::{DateTime, Days, MappedLocalTime, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _, Utc};
use rusqlite::types::Value;

use crate::config::DateFormat;
use crate::zone::Zone;

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

/// Local time is ahead of UTC by at most this (Pacific/Kiritimati), the most that SQLite reads as
/// an offset.
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
        // SQLite reads the 31st of February as the 3rd of March; here it is no date. It also reads
        // `now`, times without a day and bare numbers; the pattern keeps those out.
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
    /// Where the clock stood by which text without an offset was written.
    pub(super) zone: Zone,
}

impl Age {
    /// A condition: `column` holds a date before the cutoff. Never NULL, and never true of what is
    /// no date.
    ///
    /// A date without a time is a whole day in the zone, and old when that day had ended by the
    /// cutoff's day.
    pub(super) fn old(&self, column: &str) -> String {
        let readable = readable(self.format, column);
        let before = match self.format {
            DateFormat::Iso => {
                let local = by_the_clock(self.cutoff, self.zone);
                let (day, local) = (local.format("%Y-%m-%d"), local.format("%Y-%m-%dT%H:%M:%S%.3f"));
                let other = if self.zone == Zone::UTC {
                    format!("'{local}'")
                } else {
                    let cutoff = self.cutoff.format("%Y-%m-%dT%H:%M:%S%.3f");
                    format!("CASE WHEN {} THEN '{cutoff}' ELSE '{local}' END", has_offset(column))
                };
                format!(
                    "julianday({column}) < julianday(CASE WHEN length({column}) = 10 THEN '{day}' ELSE {other} END)"
                )
            }
            DateFormat::UnixSeconds | DateFormat::UnixMilliseconds | DateFormat::JulianDay => {
                format!("{column} < {:?}", self.number())
            }
        };
        format!("({readable} AND {before})")
    }

    /// In the binary order of the column, no old row lies at this value, an SQL literal, or behind
    /// it. For walking an index.
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

/// In the binary order of a column, no date of this format lies before this value.
pub(super) fn first(format: DateFormat) -> Value {
    match format {
        DateFormat::Iso => Value::Text(FIRST_DAY.to_owned()),
        DateFormat::UnixSeconds => Value::Real(SECONDS.0),
        DateFormat::UnixMilliseconds => Value::Real(SECONDS.0 * 1e3),
        DateFormat::JulianDay => Value::Real(JULIAN_DAYS.0),
    }
}

/// A condition: an ISO text says how far its clock is from UTC. SQLite reads blanks behind that, of
/// any kind.
fn has_offset(column: &str) -> String {
    let text = format!("rtrim({column}, char(9, 10, 11, 12, 13, 32))");
    format!("(substr({text}, -1) IN ('Z', 'z') OR substr({text}, -6, 1) IN ('+', '-'))")
}

/// What the clock of a zone must have shown at the latest, to be before an instant beyond doubt. In
/// the hour that the end of summer time repeats, the first time round, that is the beginning of the
/// hour.
fn by_the_clock(instant: DateTime<Utc>, zone: Zone) -> NaiveDateTime {
    let local = instant.with_timezone(&zone).naive_local();
    let MappedLocalTime::Ambiguous(first, second) = zone.from_local_datetime(&local) else { return local };
    if instant >= second.to_utc() {
        return local;
    }
    let (mut before, mut after) = (first.to_utc(), second.to_utc());
    while after - before > TimeDelta::milliseconds(1) {
        let middle = before + (after - before) / 2;
        if zone.offset_from_utc_datetime(&middle.naive_utc()).fix() == first.offset().fix() {
            before = middle;
        } else {
            after = middle;
        }
    }
    // Transitions are at whole seconds.
    let after = DateTime::from_timestamp(after.timestamp(), 0).unwrap_or(after);
    after.with_timezone(&zone).naive_local()
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
        let (old, date) = (age.old("c"), readable(age.format, "c"));
        let sql =
            format!("SELECT CASE WHEN {old} THEN 2 WHEN {date} THEN 1 ELSE 0 END FROM (SELECT ?1 AS c)");
        connection.query_row(&sql, [value], |row| row.get(0)).unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn age(format: DateFormat) -> Age {
        Age { format, cutoff: at("2025-11-23T02:00:00Z"), zone: Zone::UTC }
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

    #[test]
    fn the_hour_that_the_end_of_summer_time_repeats_is_before_nothing_within_it() {
        let zone = Zone::named("Europe/Berlin").unwrap();
        let age = |cutoff| Age { format: DateFormat::Iso, cutoff: at(cutoff), zone };
        // 02:40 the first time, and 02:40 the second time.
        let (first, second) = (age("2025-10-26T00:40:00Z"), age("2025-10-26T01:40:00Z"));
        for (text, by_first, by_second) in [
            ("2025-10-26 01:59:59", 2, 2),
            ("2025-10-26 02:00:00", 1, 2),
            ("2025-10-26 02:39:59", 1, 2),
            ("2025-10-26 02:41:00", 1, 1),
            ("2025-10-26 02:39:00+02:00", 2, 2),
            ("2025-10-26 00:39:00Z", 2, 2),
            ("2025-10-26 00:41:00Z ", 1, 2),
            ("2025-10-26", 1, 1),
            ("2025-10-25", 2, 2),
        ] {
            assert_eq!((verdict(first, &text), verdict(second, &text)), (by_first, by_second), "{text}");
        }
    }

    /// An instant of the years 1990 to 2100, a cutoff, an offset in quarter hours, and a way to
    /// write.
    fn cases() -> impl Strategy<Value = (i64, i64, i32, usize)> {
        let millis = 631_152_000_000i64..4_102_444_800_000;
        (millis.clone(), millis, -56i32..=56, 0usize..6)
    }

    proptest! {
        #[test]
        fn a_text_without_an_offset_is_old_when_each_instant_that_it_may_mean_lies_before_the_cutoff(
            cutoff in 631_152_000..4_102_444_800i64, near in -90_000i64..90_000, zone in 0usize..7,
        ) {
            let zone = [Zone::named("Europe/Berlin").unwrap(), Zone::named("America/New_York").unwrap(), Zone::named("Asia/Kathmandu").unwrap(), Zone::named("Australia/Lord_Howe").unwrap(),
                Zone::named("Pacific/Kiritimati").unwrap(), Zone::named("Pacific/Apia").unwrap(), Zone::UTC][zone];
            // Around a change of the clock, where there is one in that year.
            let offset = |at: i64| zone.offset_from_utc_datetime(&DateTime::from_timestamp(at, 0).unwrap().naive_utc()).fix();
            let change = (cutoff..cutoff + 31_536_000).step_by(1800).find(|at| offset(*at) != offset(at + 1800));
            let cutoff = change.unwrap_or(cutoff);
            let age = Age { format: DateFormat::Iso, cutoff: DateTime::from_timestamp(cutoff, 0).unwrap(), zone };
            let naive = age.cutoff.with_timezone(&zone).naive_local() + TimeDelta::seconds(near / 12);
            let latest = match zone.from_local_datetime(&naive) {
                MappedLocalTime::Ambiguous(_, latest) | MappedLocalTime::Single(latest) => latest.to_utc(),
                MappedLocalTime::None => return Ok(()),
            };
            let expected = if latest < age.cutoff { 2 } else { 1 };
            prop_assert_eq!(verdict(age, &naive.format("%Y-%m-%d %H:%M:%S").to_string()), expected, "{} {}", naive, age.cutoff);
            // The same instant with its offset is old by itself.
            let text = latest.with_timezone(&zone).format("%Y-%m-%dT%H:%M:%S%:z").to_string();
            prop_assert_eq!(verdict(age, &text), expected, "{}", text);
        }

        #[test]
        fn a_text_is_old_exactly_when_its_instant_lies_before_the_cutoff(
            (instant, cutoff, quarters, way) in cases(), near in -3_000i64..3_000, is_near: bool,
        ) {
            let cutoff = DateTime::from_timestamp_millis(cutoff).unwrap();
            let instant = if is_near { cutoff.timestamp_millis() + near } else { instant };
            let age = Age { format: DateFormat::Iso, cutoff, zone: Zone::UTC };
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
            let (Value::Text(first), end) = (first(age.format), age.end()) else { panic!() };
            let end = end.trim_matches('\'');
            prop_assert!(expected == 1 || (first <= text && text.as_str() < end), "{} lies outside", text);
        }
    }
}
