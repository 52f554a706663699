//! Which format some values of a column are in: found out where exactly one makes all of them
//! dates that may be, and refused where that is in doubt, with what each format would make of them.
//! Pure; shows days, and never a value itself.

use chrono::{DateTime, Months, NaiveDate, Utc};
use rusqlite::types::Value;

use super::read;
use crate::config::DateFormat;
use crate::error::{Error, Reason};

/// Values of which a format that is set must read one, or the rule fails.
pub(in crate::jobs::cleanup) const MANY: usize = 10;

/// What lies further ahead is a date only where the operator says so.
const FAR: Months = Months::new(100 * 12);

/// Numbers since 1970 read as dates 31 years later where they are taken for Apple's, since 2001,
/// and Apple's own as dates 31 years earlier. Where half of the values would lie within this from
/// now as Apple's, they may be.
const NEAR: Months = Months::new(5 * 12);

/// Values of a column that are not NULL.
#[derive(Debug, Clone)]
pub(in crate::jobs::cleanup) struct Sample {
    /// The column, as SQL names it.
    pub(in crate::jobs::cleanup) column: String,
    pub(in crate::jobs::cleanup) values: Vec<Value>,
}

/// What a format makes of the values.
#[derive(Debug)]
struct Reading {
    format: DateFormat,
    /// Values that it reads.
    dates: usize,
    /// Of these, those that do not lie far ahead, …
    not_far: usize,
    /// … and those that an application of today may have written; the first and the last day among
    /// them.
    plausible: usize,
    days: Option<(NaiveDate, NaiveDate)>,
    /// Whether all values may be such dates.
    fits: bool,
}

impl Reading {
    fn of(format: DateFormat, values: &[Value], now: DateTime<Utc>) -> Self {
        let days: Vec<_> = values.iter().filter_map(|value| read(format, value.into())?.day()).collect();
        let within = |ahead: Months| -> Vec<NaiveDate> {
            let last = now.date_naive().checked_add_months(ahead);
            days.iter().copied().filter(|day| last.is_none_or(|last| *day <= last)).collect()
        };
        let (not_far, plausible) = match format {
            // Whoever writes 9999-12-31 in letters means it.
            DateFormat::Iso => (days.clone(), days.clone()),
            DateFormat::AppleSeconds | DateFormat::AppleNanoseconds => (within(FAR), within(NEAR)),
            _ => (within(FAR), within(FAR)),
        };
        Self {
            format,
            dates: days.len(),
            not_far: not_far.len(),
            plausible: plausible.len(),
            days: plausible.iter().min().copied().zip(plausible.iter().max().copied()),
            fits: not_far.len() == values.len() && plausible.len() * 2 >= values.len(),
        }
    }

    /// `"iso" (2024-01-01 to 2026-11-23)`.
    fn in_words(&self) -> String {
        let days = self.days.map(|(first, last)| format!(" ({first} to {last})")).unwrap_or_default();
        format!("{:?}{days}", self.format.word())
    }
}

impl Sample {
    fn readings(&self, now: DateTime<Utc>) -> Vec<Reading> {
        DateFormat::ALL.iter().map(|(_, format)| Reading::of(*format, &self.values, now)).collect()
    }

    /// The one format of which all values are dates that may be.
    ///
    /// Errors: there is none, or more than one, and what to set.
    pub(in crate::jobs::cleanup) fn format(&self, now: DateTime<Utc>) -> Result<DateFormat, Error> {
        let all = self.values.len();
        // Nothing will be found old where nothing is, in whatever format.
        if all == 0 {
            return Ok(DateFormat::Iso);
        }
        let readings = self.readings(now);
        let fitting: Vec<_> = readings.iter().filter(|reading| reading.fits).collect();
        let column = &self.column;
        let text = match fitting.as_slice() {
            [one] => return Ok(one.format),
            [] => format!("cannot tell how {column} tells the time: {}", self.looked_at(&readings)),
            several => {
                let words: Vec<_> = several.iter().map(|reading| reading.in_words()).collect();
                format!(
                    "cannot tell how {column} tells the time: all {all} values looked at are dates as {}; set the one that \
                     is right as format in the rule",
                    words.join(" and as ")
                )
            }
        };
        Err(Error::new(Reason::Refused, text))
    }

    /// Where `format`, which is set in the rule, reads none of many values, or all of them far
    /// ahead, and another one reads them all.
    pub(in crate::jobs::cleanup) fn better(&self, format: DateFormat, now: DateTime<Utc>) -> Option<Error> {
        let all = self.values.len();
        let readings = self.readings(now);
        let own = readings.iter().find(|reading| reading.format == format)?;
        let others: Vec<_> = readings.iter().filter(|reading| reading.fits).map(Reading::in_words).collect();
        if all < MANY || own.not_far > 0 || others.is_empty() {
            return None;
        }
        let what =
            if own.dates == 0 { "reads none" } else { "reads as dates far ahead, or not at all, each" };
        Some(Error::new(
            Reason::Refused,
            format!(
                "format = {:?} in the rule {what} of the {all} values of {} that were looked at; all are dates as {}: set \
                 that",
                format.word(),
                self.column,
                others.join(" and as ")
            ),
        ))
    }

    /// Where `format`, which is set in the rule, is known to read no value of the table, which has
    /// many.
    pub(in crate::jobs::cleanup) fn reads_nothing(
        &self,
        format: DateFormat,
        now: DateTime<Utc>,
    ) -> Option<Error> {
        let readings = self.readings(now);
        (self.values.len() >= MANY).then(|| {
            Error::new(
                Reason::Refused,
                format!(
                    "format = {:?} in the rule reads no value of {}: {}",
                    format.word(),
                    self.column,
                    self.looked_at(&readings)
                ),
            )
        })
    }

    /// How many values are what, and what can be set.
    fn looked_at(&self, readings: &[Reading]) -> String {
        let all = self.values.len();
        let best = readings.iter().map(|reading| reading.plausible).max().unwrap_or(0);
        let mut seen: Vec<_> =
            readings.iter().filter(|r| r.plausible > 0 && r.plausible * 10 >= best).collect();
        seen.sort_by_key(|reading| std::cmp::Reverse(reading.plausible));
        if seen.is_empty() {
            let ahead = readings.iter().find(|reading| reading.dates > 0);
            let ahead = ahead.map_or_else(
                || String::from("none is a date that can be read"),
                |reading| format!("none is a date but for such as lie far ahead ({})", reading.format.word()),
            );
            return format!(
                "of {all} values looked at, {ahead}, and such are never deleted; leave `column` and `keep` out, and let \
                 keep_rows or max_size limit the table in the order of its rows"
            );
        }
        let counts: Vec<_> =
            seen.iter().map(|reading| format!("{} {}", reading.plausible, reading.format.word())).collect();
        let words: Vec<_> = seen.iter().map(|reading| reading.in_words()).collect();
        let others = if best < all { ", the others none of these, or far ahead" } else { "" };
        format!(
            "of {all} values looked at, {}{others}; set format = {} in the rule; values that are no such date are never \
             deleted",
            counts.join(", "),
            words.join(" or ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn now() -> DateTime<Utc> {
        at("2026-11-23T02:00:00Z")
    }

    /// So many values from this one on.
    fn sample_of(values: impl IntoIterator<Item = Value>) -> Sample {
        Sample { column: String::from("t.\"at\""), values: values.into_iter().collect() }
    }

    fn numbers_from(first: i64, step: i64) -> Sample {
        sample_of((0..50).map(|at| Value::Integer(first + at * step)))
    }

    #[test]
    fn what_can_be_meant_in_two_ways_is_refused_with_the_days_of_each() {
        // 1994 or 2025; 1976 or 2026; 2034 or 2026; 1993 or 2594; 1974 or 2026.
        for (sample, words) in [
            (
                numbers_from(786_000_000, 86_400),
                [
                    "\"unix_seconds\" (1994-11-28 to 1995-01-16)",
                    "\"apple_seconds\" (2025-11-28 to 2026-01-16)",
                ],
            ),
            (
                numbers_from(202_611_200_000, 1),
                [
                    "\"compact\" (2026-11-20 to 2026-11-20)",
                    "\"unix_milliseconds\" (1976-06-03 to 1976-06-03)",
                ],
            ),
            (numbers_from(2_026_112_000, 0), ["\"compact\"", "\"unix_seconds\" (2034-03-16 to 2034-03-16)"]),
            (
                numbers_from(134_000_000_000_000_000, 1_000_000),
                ["\"unix_nanoseconds\" (1974-03-31 to ", "\"windows_filetime\" (2025-08-"],
            ),
            (
                numbers_from(639_000_000_000_000_000, 1_000_000),
                ["\"unix_nanoseconds\" (1990-04-01 to ", "\"dotnet_ticks\" (2025-11-29 to "],
            ),
        ] {
            let refusal = sample.format(now()).unwrap_err().message;
            for word in words {
                assert!(refusal.contains(word), "{refusal}");
            }
            assert!(refusal.contains("as format in the rule") && !refusal.contains("202611"), "{refusal}");
        }
    }

    #[test]
    fn what_can_be_meant_in_one_way_is_found_out() {
        for (sample, format) in [
            (numbers_from(1_700_000_000, 86_400), DateFormat::UnixSeconds),
            (numbers_from(1_000_000_000, 1), DateFormat::UnixSeconds),
            (numbers_from(1_700_000_000_000, 86_400_000), DateFormat::UnixMilliseconds),
            (numbers_from(1_700_000_000_000_000, 86_400_000_000), DateFormat::UnixMicroseconds),
            (numbers_from(1_700_000_000_000_000_000, 86_400_000_000_000), DateFormat::UnixNanoseconds),
            (numbers_from(13_400_000_000_000_000, 1_000_000), DateFormat::ChromiumMicroseconds),
            (numbers_from(20_261_101, 0), DateFormat::Compact),
            (numbers_from(20_261_121_161_800, 1), DateFormat::Compact),
            (
                sample_of((0..50).map(|at| Value::Text(format!("17{:08}", at * 86_400)))),
                DateFormat::UnixSeconds,
            ),
            (
                sample_of(["9999-12-31", "2026-11-23 02:00 UTC"].map(|text| Value::Text(text.to_owned()))),
                DateFormat::Iso,
            ),
        ] {
            assert_eq!(sample.format(now()).map_err(|e| e.message), Ok(format));
            // And another one that is set instead is not carried out in silence.
            let wrong = if format == DateFormat::JulianDay { DateFormat::Iso } else { DateFormat::JulianDay };
            if sample.values.len() >= MANY {
                let refusal = sample.better(wrong, now()).unwrap().message;
                assert!(refusal.contains(&format!("all are dates as {:?}", format.word())), "{refusal}");
            }
            assert!(sample.better(format, now()).is_none());
        }
    }

    #[test]
    fn what_lies_implausibly_far_ahead_is_no_date() {
        // The year 2612 in milliseconds, which no calendar has as digits either.
        let sample = numbers_from(20_269_921_161_800, 1);
        let refusal = sample.format(now()).unwrap_err().message;
        assert!(
            refusal.contains("far ahead (unix_milliseconds)") && !refusal.contains("set format"),
            "{refusal}"
        );
        // A format that is set is the operator's word.
        assert!(sample.better(DateFormat::UnixMilliseconds, now()).is_none());
        let compact = numbers_from(20_261_121_161_800, 1);
        let refusal = compact.better(DateFormat::UnixMilliseconds, now()).unwrap().message;
        assert!(refusal.contains("far ahead") && refusal.contains("\"compact\" (2026-11-21"), "{refusal}");
    }
}
