//! Durations, sizes and shares as they are written in the file: `"30s"`, `"64MiB"`, `"20%"`; and a
//! limit of the file as it is shown, which reads back as the same value. Pure. What was measured is
//! shown by `words`.

use std::time::Duration;

/// Longest duration that the file may hold: 100 years, so that adding it to a date cannot overflow.
pub const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Units of time in milliseconds, largest first.
const TIMES: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size in bytes: the binary ones, largest first, then the decimal ones.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Reads `"30s"`, `"5ms"`, `"2w"`, or several with falling units, `"1h30m"`. The error completes
/// "must be a duration …: ".
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text;
    let mut millis = 0_u64;
    let mut allowed = &TIMES[..];
    while !rest.is_empty() || millis == 0 && allowed.len() == TIMES.len() {
        let (number, unit, after) = take(rest)?;
        if unit.is_empty() {
            return Err(format!("`{rest}` has no unit; units are ms, s, m, h, d and w"));
        }
        let Some(at) = TIMES.iter().position(|(u, _)| *u == unit) else {
            return Err(no_unit_of_time(number, unit));
        };
        let skipped = TIMES.len() - allowed.len();
        if at < skipped {
            return Err(format!("`{unit}` comes after a smaller or the same unit"));
        }
        allowed = &TIMES[at + 1..];
        millis = number
            .checked_mul(TIMES[at].1)
            .and_then(|m| m.checked_add(millis))
            .filter(|m| Duration::from_millis(*m) <= LONGEST)
            .ok_or("it is longer than 36500d")?;
        rest = after;
    }
    Ok(Duration::from_millis(millis))
}

/// Months and years differ in length, so that they are no units.
fn no_unit_of_time(number: u64, unit: &str) -> String {
    let days = match unit {
        "y" | "yr" | "year" | "years" => 365,
        "M" | "mo" | "month" | "months" => 30,
        _ => return format!("`{unit}` is not a unit; units are ms, s, m, h, d and w"),
    };
    format!("`{unit}` is not a unit; did you mean \"{}d\"?", number.saturating_mul(days))
}

/// The shortest exact form in one unit: `90m`, `365d`, `0s`. Parts below a millisecond are dropped.
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis == 0 {
        return "0s".to_owned();
    }
    let fits = |(_, unit): &&(&str, u64)| millis.is_multiple_of(u128::from(*unit));
    // Weeks are read, but shown as days: "365d" and "28d" compare at a glance, "4w" beside them
    // does not.
    let (name, unit) = TIMES[1..].iter().find(fits).unwrap_or(&("ms", 1));
    format!("{}{name}", millis / u128::from(*unit))
}

/// Reads `"64MiB"` (1024s), `"1GB"` (1000s), or bytes: `"512"`, `"512B"`. The error completes
/// "must be a size …: ".
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit, after) = take(text)?;
    let factor = match unit {
        "" => 1,
        _ => SIZES.iter().find(|(u, _)| *u == unit).map(|(_, f)| *f).ok_or_else(|| no_unit_of_size(unit))?,
    };
    if !after.is_empty() {
        return Err(format!("`{after}` follows the unit"));
    }
    // SQLite counts bytes and pages in signed 64 bits.
    number
        .checked_mul(factor)
        .filter(|n| i64::try_from(*n).is_ok())
        .ok_or_else(|| "it is too large".to_owned())
}

/// `mb` may be MB or MiB, and which one matters.
fn no_unit_of_size(unit: &str) -> String {
    let means = |known: &str| {
        let (known, unit) = (known.to_ascii_lowercase(), unit.to_ascii_lowercase());
        known == unit || known == unit.clone() + "b" || known == unit.replace('b', "") + "ib"
    };
    let likely: Vec<&str> =
        SIZES.iter().map(|(known, _)| *known).filter(|known| means(known)).rev().collect();
    let units = "units are B, KiB, MiB, GiB, TiB (1024s) and kB, MB, GB, TB (1000s)";
    match likely.as_slice() {
        [] => format!("`{unit}` is not a unit; {units}"),
        some => format!("`{unit}` is not a unit; did you mean {}? {units}", some.join(" or ")),
    }
}

/// Reads `"20%"` or `"12.5%"` as 0.2 or 0.125: from 0 % to 100 %. The error completes
/// "must be a share …: ".
pub fn parse_share(text: &str) -> Result<f64, String> {
    let digits = text.strip_suffix('%').ok_or("it has no percent sign")?.trim_end();
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let well_formed = match digits.split_once('.') {
        Some((whole, fraction)) => plain(whole) && plain(fraction),
        None => plain(digits),
    };
    let percent: f64 =
        digits.parse().ok().filter(|_| well_formed).ok_or("it is not a number before the %")?;
    if percent > 100.0 {
        return Err("it is more than 100%".to_owned());
    }
    Ok(percent / 100.0)
}

/// The whole number and the letters at the start of `text`, and what follows them.
fn take(text: &str) -> Result<(u64, &str, &str), String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    if rest.starts_with(['.', ',']) && !number.is_empty() {
        return Err("it has a fraction: use a smaller unit".to_owned());
    }
    if number.is_empty() {
        return Err(if text.is_empty() {
            "it is empty".to_owned()
        } else {
            format!("`{text}` is not a number")
        });
    }
    let number = number.parse().map_err(|_| "it is too large".to_owned())?;
    // A space between number and unit is how sizes are often written: "64 MiB".
    let rest =
        rest.strip_prefix(' ').filter(|r| r.starts_with(|c: char| c.is_ascii_alphabetic())).unwrap_or(rest);
    let letters = rest.find(|c: char| c.is_ascii_digit() || c.is_whitespace()).unwrap_or(rest.len());
    Ok((number, &rest[..letters], &rest[letters..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, seconds) in [
            ("30s", 30.0),
            ("5m", 300.0),
            ("1h", 3600.0),
            ("365d", 31_536_000.0),
            ("2w", 1_209_600.0),
            ("5ms", 0.005),
            ("1h30m", 5400.0),
            ("0s", 0.0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
    }

    #[test]
    fn malformed_durations_say_what_is_wrong() {
        for (text, says) in [
            ("", "it is empty"),
            ("30", "`30` has no unit"),
            ("30 sec", "`sec` is not a unit"),
            ("1y", "`y` is not a unit; did you mean \"365d\"?"),
            ("6months", "did you mean \"180d\"?"),
            ("1.5h", "use a smaller unit"),
            ("-5s", "`-5s` is not a number"),
            ("5m1h", "`h` comes after a smaller"),
            ("5m5m", "`m` comes after a smaller or the same unit"),
            ("36501d", "longer than 36500d"),
            ("99999999999999999999s", "too large"),
            ("18446744073709551615w", "longer than 36500d"),
            ("5s ", "is not a number"),
        ] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.contains(says), "{text:?}: {error}");
        }
        assert_eq!(parse_duration("36500d"), Ok(LONGEST));
    }

    #[test]
    fn sizes_are_binary_with_an_i_and_decimal_without() {
        for (text, bytes) in [
            ("512", 512),
            ("512B", 512),
            ("64MiB", 67_108_864),
            ("64 MiB", 67_108_864),
            ("1GB", 1_000_000_000),
            ("1kB", 1000),
            ("2TiB", 2_199_023_255_552),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for (text, says) in [
            ("64M", "`M` is not a unit; did you mean MB or MiB?"),
            ("64mb", "`mb` is not a unit; did you mean MB or MiB?"),
            ("64mib", "`mib` is not a unit; did you mean MiB?"),
            ("64G", "did you mean GB or GiB?"),
            ("64x", "`x` is not a unit; units are B,"),
            ("9223372036854775808", "too large"),
            ("99999999TiB", "too large"),
            ("1.5GB", "use a smaller unit"),
            ("1MB2", "`2` follows the unit"),
        ] {
            let error = parse_size(text).unwrap_err();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }

    #[test]
    fn shares_go_from_0_to_100_percent() {
        assert_eq!(parse_share("20%"), Ok(0.2));
        assert_eq!(parse_share("12.5%"), Ok(0.125));
        assert_eq!(parse_share("0%"), Ok(0.0));
        assert_eq!(parse_share("100%"), Ok(1.0));
        for text in ["", "%", "20", "101%", "100.1%", "-1%", "nan%", "inf%", "1e1%", ".5%", "5.%", "+5%"] {
            assert!(parse_share(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn durations_are_shown_in_the_largest_unit_that_fits() {
        let shown =
            [90_000, 5_400_000, 31_536_000_000, 1, 0].map(|ms| show_duration(Duration::from_millis(ms)));
        assert_eq!(shown, ["90s", "90m", "365d", "1ms", "0s"]);
    }

    proptest! {
        #[test]
        fn every_value_is_read_exactly(ms in 0..=3_153_600_000_000_u64, bytes in 0..=i64::MAX as u64, permille in 0..=1000_u32) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
            prop_assert_eq!(parse_size(&format!("{bytes}B")), Ok(bytes));
            let share = format!("{}.{}%", permille / 10, permille % 10);
            prop_assert_eq!(parse_share(&share), Ok(f64::from(permille) / 10.0 / 100.0));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,12}|[0-9]{0,20}(ms|[smhdw%]|[KMG]iB){0,3}") {
            // A panic is the failure looked for; the bounds are what the rest of the program relies
            // on.
            if let Ok(duration) = parse_duration(&text) { prop_assert!(duration <= LONGEST); }
            if let Ok(bytes) = parse_size(&text) { prop_assert!(i64::try_from(bytes).is_ok()); }
            if let Ok(share) = parse_share(&text) { prop_assert!((0.0..=1.0).contains(&share)); }
        }
    }
}
