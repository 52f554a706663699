//! Dates as numbers, stored as such or as text: since which instant each format counts, in which
//! unit, and within which bounds a number is taken for a date. Strict and pure: text is a number
//! only where it has nothing but digits, and a point between them.

use chrono::{NaiveDateTime, NaiveTime};

use super::iso::{day, digits_of};
use super::moment::Moment;
use crate::config::DateFormat;

const MICROS: i128 = 1_000_000;

/// Microseconds of a day.
const DAY: f64 = 86_400e6;

/// Julian day of 1970-01-01 00:00 UTC.
const UNIX_EPOCH: f64 = 2_440_587.5;

/// 1900-01-01 and 9999-12-31 as julian days.
const JULIAN_DAYS: (f64, f64) = (2_415_020.5, 5_373_484.5);

/// 1973-03-03 to 5138-11-16 in seconds since 1970. The bounds of seconds, of thousandths and so on
/// do not overlap, so that no unit is read as another; what lies before is taken for the marks that
/// programs use for "no date".
const UNIX: (i128, i128) = (100_000_000, 100_000_000_000);

/// 2004-03-03 to 2317-11-21 in seconds since 2001: short of numbers with eight digits, which may be
/// `20261121`.
const APPLE: (i128, i128) = (100_000_000, 10_000_000_000);

/// How a format counts.
#[derive(Debug, Clone, Copy)]
struct Scale {
    /// Units in a second.
    per_second: i128,
    /// Seconds from its zero to 1970.
    zero: i128,
    /// Between which values a number is a date.
    bounds: (i128, i128),
}

/// `None` for what does not count units from an instant.
const fn scale(format: DateFormat) -> Option<Scale> {
    let (per_second, zero, (first, last)) = match format {
        DateFormat::UnixSeconds => (1, 0, UNIX),
        DateFormat::UnixMilliseconds => (1_000, 0, UNIX),
        DateFormat::UnixMicroseconds => (1_000_000, 0, UNIX),
        DateFormat::UnixNanoseconds => (1_000_000_000, 0, UNIX),
        DateFormat::ChromiumMicroseconds => (1_000_000, 11_644_473_600, UNIX),
        DateFormat::WindowsFiletime => (10_000_000, 11_644_473_600, UNIX),
        DateFormat::DotnetTicks => (10_000_000, 62_135_596_800, UNIX),
        DateFormat::AppleSeconds => (1, -978_307_200, APPLE),
        DateFormat::AppleNanoseconds => (1_000_000_000, -978_307_200, APPLE),
        DateFormat::Iso | DateFormat::Compact | DateFormat::JulianDay => return None,
    };
    // Apple's are bounds of the numbers themselves, the others of what they mean.
    let zero_of_bounds = if zero < 0 { 0 } else { zero };
    let bounds = ((first + zero_of_bounds) * per_second, (last + zero_of_bounds) * per_second);
    Some(Scale { per_second, zero, bounds })
}

/// A value that may be a number.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Integer(i128),
    Real(f64),
}

impl Number {
    /// Digits, and a point between them; of more digits than any format has, none.
    pub(super) fn of_text(text: &str) -> Option<Self> {
        let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
        let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|sign| sign.is_ascii_digit());
        if whole.len() > 20 || whole.starts_with('0') || !are_digits(whole) || !are_digits(rest) {
            return None;
        }
        if text.contains('.') {
            text.parse().ok().map(Self::Real)
        } else {
            text.parse().ok().map(Self::Integer)
        }
    }

    const fn as_real(self) -> f64 {
        match self {
            Self::Integer(number) => number as f64,
            Self::Real(number) => number,
        }
    }
}

/// Reads a number as a date of a numeric format.
pub(super) fn read(format: DateFormat, number: Number) -> Option<Moment> {
    match format {
        DateFormat::Iso => None,
        DateFormat::Compact => {
            let digits = match number {
                Number::Integer(number) => number.to_string(),
                Number::Real(number) if number.fract() == 0.0 && (1e7..1e15).contains(&number) => {
                    format!("{number:.0}")
                }
                Number::Real(_) => return None,
            };
            compact(digits.as_bytes())
        }
        DateFormat::JulianDay => {
            let days = number.as_real();
            (JULIAN_DAYS.0 <= days && days < JULIAN_DAYS.1).then_some(())?;
            i64::try_from(not_before((days - UNIX_EPOCH) * DAY)).ok().map(Moment::Instant)
        }
        _ => {
            let Scale { per_second, zero, bounds } = scale(format)?;
            let since_zero = match number {
                Number::Integer(number) => {
                    (bounds.0 <= number && number < bounds.1).then_some(())?;
                    (number * MICROS).div_euclid(per_second)
                }
                Number::Real(number) => {
                    (bounds.0 as f64 <= number && number < bounds.1 as f64).then_some(())?;
                    not_before(number * (MICROS as f64 / per_second as f64))
                }
            };
            let micros = i64::try_from(since_zero - zero * MICROS).ok()?;
            Some(if format.is_by_a_clock() { Moment::Clock(micros) } else { Moment::Instant(micros) })
        }
    }
}

/// Whole microseconds, and no earlier than these mean.
#[expect(clippy::cast_possible_truncation, reason = "of numbers within the bounds of a format")]
const fn not_before(micros: f64) -> i128 {
    micros.ceil() as i128
}

/// `20261121T161806Z`, and the same without its letters.
pub(super) fn compact_text(text: &str) -> Option<Moment> {
    let (text, is_utc) = text.strip_suffix('Z').map_or((text, false), |text| (text, true));
    let moment = match text.split_once('T') {
        Some((date, time)) if date.len() == 8 && !time.is_empty() => {
            compact((date.to_owned() + time).as_bytes())
        }
        Some(_) => None,
        None => compact(text.as_bytes()),
    };
    match moment? {
        Moment::Clock(micros) if is_utc => Some(Moment::Instant(micros)),
        moment if !is_utc => Some(moment),
        _ => None,
    }
}

/// A date, or with hours, minutes, seconds, and thousandths of them.
fn compact(digits: &[u8]) -> Option<Moment> {
    let part = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), digits_of);
    let has_length = matches!(digits.len(), 8 | 10 | 12 | 14 | 17);
    let date = day(part(0, 4)?, part(4, 6)?, part(6, 8)?).filter(|_| has_length)?;
    if digits.len() == 8 {
        return Some(Moment::Day(date));
    }
    let time = NaiveTime::from_hms_milli_opt(part(8, 10)?, part(10, 12)?, part(12, 14)?, part(14, 17)?)?;
    Some(Moment::Clock(NaiveDateTime::new(date, time).and_utc().timestamp_micros()))
}

/// Between which numbers, for an index, those lie that may mean an instant before `cutoff`
/// (microseconds since 1970), in order. Some too many rather than one too few.
pub(super) fn stretches(format: DateFormat, cutoff: i64) -> Vec<(f64, f64)> {
    // Two days more: clocks differ, and such numbers are not exact.
    let cutoff = cutoff as f64 + 2.0 * DAY;
    match format {
        DateFormat::Iso => Vec::new(),
        DateFormat::JulianDay => vec![(JULIAN_DAYS.0, cutoff / DAY + UNIX_EPOCH)],
        DateFormat::Compact => {
            let year = 1970.0 + cutoff / (365.2425 * DAY) + 1.0;
            [1e4, 1e6, 1e8, 1e10, 1e13]
                .map(|per_year| (1900.0 * per_year, year.floor() * per_year + per_year))
                .into()
        }
        _ => scale(format).map_or_else(Vec::new, |Scale { per_second, zero, bounds }| {
            let end = (cutoff / MICROS as f64 + zero as f64) * per_second as f64;
            vec![(bounds.0 as f64, end.min(bounds.1 as f64))]
        }),
    }
}
