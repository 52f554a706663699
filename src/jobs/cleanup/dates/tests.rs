//! The readers against naive models, and what is found out of samples. Must never take a value for
//! expected because the readers give it.

use super::*;
use chrono::{FixedOffset, NaiveDate};
use proptest::prelude::*;
use rusqlite::types::{ToSql, Value};

fn verdict(age: Age, value: &dyn ToSql) -> i64 {
    let connection = Connection::open_in_memory().unwrap();
    install(&connection).unwrap();
    install(&connection).unwrap();
    let (old, date) = (age.old("c"), readable(age.format, "c"));
    let sql = format!("SELECT CASE WHEN {old} THEN 2 WHEN {date} THEN 1 ELSE 0 END FROM (SELECT ?1 AS c)");
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

fn text(format: DateFormat, text: &str) -> Option<Moment> {
    read(format, ValueRef::Text(text.as_bytes()))
}

#[test]
fn what_is_no_date_beyond_doubt_is_none_in_any_format() {
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
        "2020-01-01 10",
        "2020-01-01 10:60",
        "2020-01-01 24:00",
        "2020-01-01 10:00:60",
        "2020-01-01T",
        "2020-01-01 10:00 CET",
        "2020-01-01 10:00:00 +0100 UTC",
        "2020-01-01 10:00:00 +0100 +0200",
        "2020-01-01 10:00:00+15:00",
        "2020-01-01 10:00:00+1",
        "2020-01-01 10:00:00+01:60",
        "2020-01-01 10:00:00.",
        "2020-01-01 10:00:00 +0100 cet",
        "2020-01-01 10:00:00 +0100 CET x",
        "2020-01-01 10:00:00 UTC+01:00",
        "2020-01-01Z",
        "2020-01-01 UTC",
        " 2020-01-01",
        "2020/01/01",
        "01/02/2020",
        "20200230",
        "2020010",
        "20200101T",
        "20200101Z",
        "20200101T25",
        "20200101 100000",
        "-1500000000",
        "+1500000000",
        "01500000000",
        "1500000000 ",
        " 1500000000",
        "1.5e9",
        "1500000000.",
        ".5",
        "1500000000s",
        "99999999999999999999999999",
        "２０２０-01-01",
    ];
    for (word, format) in DateFormat::ALL {
        for one in texts {
            assert_eq!(text(format, one), None, "{one:?} as {word}");
        }
        for value in
            [&rusqlite::types::Null as &dyn ToSql, &b"2020-01-01".as_slice(), &0, &-1, &1.0, &f64::INFINITY]
        {
            assert_eq!(verdict(age(format), value), 0, "{word}");
        }
    }
}

#[test]
fn offsets_and_utc_are_read_in_all_usual_spellings() {
    let instant = at("2026-11-21T16:18:06Z").timestamp_micros();
    for (zone, behind) in [
        ("Z", 0),
        ("z", 0),
        (" Z", 0),
        (" UTC", 0),
        ("UTC", 0),
        (" GMT", 0),
        ("+00:00", 0),
        ("-00:00", 0),
        ("+0000", 0),
        (" +0000", 0),
        ("+00", 0),
        (" +0000 UTC", 0),
        (" +0000 GMT", 0),
        (" +0000 UTC m=+0.000012345", 0),
        (" +0000 +0000", 0),
        (" +0000 m=+12.5", 0),
        ("+01:00", 60),
        (" +0100 CET", 60),
        ("-05:30", -330),
        (" -0700 MST", -420),
        (" +0530 +0530", 330),
        ("+14:00", 840),
        ("+01:00[Europe/Berlin]", 60),
        ("Z[UTC]", 0),
        ("+0100  ", 60),
    ] {
        for (fraction, micros) in [("", 0), (".5", 500_000), (".123456789", 123_456), (",25", 250_000)] {
            let spelled = format!("2026-11-21 16:18:06{fraction}{zone}");
            let expected = instant + micros - behind * 60_000_000;
            assert_eq!(text(DateFormat::Iso, &spelled), Some(Moment::Instant(expected)), "{spelled}");
            let spelled = spelled.replacen(' ', "T", 1);
            assert_eq!(text(DateFormat::Iso, &spelled), Some(Moment::Instant(expected)), "{spelled}");
        }
    }
}

#[test]
fn a_number_is_a_date_in_one_unit_only() {
    for (number, format) in [
        (1_500_000_000.0, DateFormat::UnixSeconds),
        (1_500_000_000_000.0, DateFormat::UnixMilliseconds),
        (1_500_000_000_000_000.0, DateFormat::UnixMicroseconds),
        (1_500_000_000_000_000_000.0, DateFormat::UnixNanoseconds),
        (2_457_948.6, DateFormat::JulianDay),
        (20_170_714.0, DateFormat::Compact),
    ] {
        let units = [
            DateFormat::UnixSeconds,
            DateFormat::UnixMilliseconds,
            DateFormat::UnixMicroseconds,
            DateFormat::UnixNanoseconds,
            DateFormat::JulianDay,
            DateFormat::Compact,
            DateFormat::Iso,
        ];
        let read: Vec<_> = units.into_iter().filter(|f| verdict(age(*f), &number) != 0).collect();
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
        let place = Places::of(&age).of_value(&Value::Text(text.clone()));
        prop_assert!(expected == 1 || place == Place::Within, "{} lies outside", text);
    }

    /// Each number of units since some instant, in all its types, against arithmetic with other
    /// numbers.
    #[test]
    fn a_number_means_the_instant_that_it_is_so_many_units_from(
        seconds in 1_100_000_000i64..4_102_444_800, micros in 0i64..1_000_000, format in 0usize..FORMATS.len(), cutoff in 0i64..2,
    ) {
        let (format, epoch, per_second) = FORMATS[format];
        let epoch = at(epoch).timestamp();
        let units = i128::from(seconds - epoch) * per_second + i128::from(micros) * per_second / 1_000_000;
        let number = i64::try_from(units).unwrap();
        // What the unit is too coarse for is lost.
        let coarse = i64::try_from(1_000_000 / per_second).unwrap().max(1);
        let instant = seconds * 1_000_000 + micros / coarse * coarse;
        let expected = if format == DateFormat::DotnetTicks { Moment::Clock(instant) } else { Moment::Instant(instant) };
        prop_assert_eq!(read(format, ValueRef::Integer(number)), Some(expected));
        prop_assert_eq!(text(format, &number.to_string()), Some(expected));
        let Some(Moment::Instant(real) | Moment::Clock(real)) = read(format, ValueRef::Real(number as f64)) else { panic!() };
        // A REAL has 53 bits.
        prop_assert!((instant - 200..instant + 200).contains(&real), "{} {}", instant, real);
        let age = Age { format, cutoff: DateTime::from_timestamp_micros(instant + cutoff).unwrap(), zone: Zone::UTC };
        prop_assert_eq!(verdict(age, &number), 1 + cutoff);
        for value in [Value::Integer(number), Value::Real(number as f64), Value::Text(number.to_string())] {
            prop_assert!(cutoff == 0 || Places::of(&age).of_value(&value) == Place::Within, "{:?} lies outside", value);
        }
    }

    #[test]
    fn compact_digits_mean_what_chrono_reads_in_them(seconds in 0i64..4_102_444_800, way in 0usize..7, cutoff in 0i64..2) {
        let when = DateTime::from_timestamp(seconds, 0).unwrap().naive_utc();
        let (spelled, precision) = [("%Y%m%d", 86_400), ("%Y%m%d%H", 3_600), ("%Y%m%d%H%M", 60), ("%Y%m%d%H%M%S", 1),
            ("%Y%m%d%H%M%S000", 1), ("%Y%m%dT%H%M%S", 1), ("%Y%m%dT%H%MZ", 60)][way];
        let spelled = when.format(spelled).to_string();
        let start = (seconds - seconds.rem_euclid(precision)) * 1_000_000;
        let expected = match way {
            0 => Moment::Day(when.date()),
            6 => Moment::Instant(start),
            _ => Moment::Clock(start),
        };
        prop_assert_eq!(text(DateFormat::Compact, &spelled), Some(expected));
        let mut values = vec![Value::Text(spelled.clone())];
        if let Ok(number) = spelled.parse::<i64>() {
            prop_assert_eq!(read(DateFormat::Compact, ValueRef::Integer(number)), Some(expected));
            values.push(Value::Integer(number));
        }
        let days = if way == 0 { 86_400_000_000 } else { 1 };
        let age = Age { format: DateFormat::Compact, cutoff: DateTime::from_timestamp_micros(start + cutoff * days).unwrap(), zone: Zone::UTC };
        for value in values {
            prop_assert_eq!(verdict(age, &value), 1 + cutoff, "{:?}", &value);
            prop_assert!(cutoff == 0 || Places::of(&age).of_value(&value) == Place::Within, "{:?} lies outside", value);
        }
    }

    /// A text with one sign changed, left out or doubled: where it is still read, so it is by chrono,
    /// which takes more, and as the same.
    #[test]
    fn a_text_that_is_spelled_a_little_differently_is_read_right_or_not_at_all(
        way in 0usize..6, at in 0usize..32, sign in "[-0-9 :.+TZUC]", change in 0usize..3,
    ) {
        let mut spelled = ["2026-11-21", "2026-11-21 16:18", "2026-11-21T16:18:06.123Z", "2026-11-21 16:18:06 UTC",
            "2026-11-21 16:18:06+02:00", "2026-11-21 16:18:06.5 +0200 CET"][way].to_owned();
        let at = at % spelled.len();
        match change {
            0 => spelled.replace_range(at..=at, &sign),
            1 => spelled.replace_range(at..=at, ""),
            _ => spelled.insert_str(at, &sign),
        }
        if let Some(moment) = text(DateFormat::Iso, &spelled) {
            prop_assert_eq!(Some(moment), naive(&spelled), "{}", spelled);
        }
    }
}

/// Formats, the instant from which they count, and their units in a second.
const FORMATS: [(DateFormat, &str, i128); 9] = [
    (DateFormat::UnixSeconds, "1970-01-01T00:00:00Z", 1),
    (DateFormat::UnixMilliseconds, "1970-01-01T00:00:00Z", 1_000),
    (DateFormat::UnixMicroseconds, "1970-01-01T00:00:00Z", 1_000_000),
    (DateFormat::UnixNanoseconds, "1970-01-01T00:00:00Z", 1_000_000_000),
    (DateFormat::ChromiumMicroseconds, "1601-01-01T00:00:00Z", 1_000_000),
    (DateFormat::WindowsFiletime, "1601-01-01T00:00:00Z", 10_000_000),
    (DateFormat::DotnetTicks, "0001-01-01T00:00:00Z", 10_000_000),
    (DateFormat::AppleSeconds, "2001-01-01T00:00:00Z", 1),
    (DateFormat::AppleNanoseconds, "2001-01-01T00:00:00Z", 1_000_000_000),
];

/// A text by chrono's own readers, one after the other.
fn naive(text: &str) -> Option<Moment> {
    let text = text.trim_end().replace("  ", " ");
    let text = text.as_str();
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(Moment::Day(day));
    }
    let (text, is_utc) =
        ["UTC", "Z"].iter().find_map(|utc| text.strip_suffix(utc)).map_or((text, false), |text| (text, true));
    let text = text.trim_end().trim_end_matches(|sign: char| sign.is_ascii_uppercase()).trim_end();
    let micros = |local: NaiveDateTime| local.and_utc().timestamp_micros();
    for clock in ["%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S%.f"] {
        if let Ok(local) = NaiveDateTime::parse_from_str(text, clock) {
            return Some(if is_utc { Moment::Instant(micros(local)) } else { Moment::Clock(micros(local)) });
        }
        if let Ok(instant) = DateTime::parse_from_str(text, &format!("{clock}%#z")) {
            return Some(Moment::Instant(instant.timestamp_micros()));
        }
    }
    None
}
