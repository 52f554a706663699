//! Times, durations, sizes, shares and counts as people say them. Pure: takes the time as an
//! argument.

use chrono::{DateTime, Utc};

/// `12 s ago`, `4 min ago`, `1 h 53 min ago`, `26 h ago`, `3 days ago`; ahead of `now`: `in 4 min`.
/// Rounded down.
pub fn relative(now: DateTime<Utc>, time: DateTime<Utc>) -> String {
    let seconds = (now - time).num_seconds();
    let away = seconds.unsigned_abs();
    let (minutes, hours, days) = (away / 60, away / 3_600, away / 86_400);
    let words = match hours {
        0 if away < 2 => return "now".to_owned(),
        0 if minutes == 0 => format!("{away} s"),
        0 => format!("{minutes} min"),
        1..10 if minutes.is_multiple_of(60) => format!("{hours} h"),
        1..10 => format!("{hours} h {} min", minutes % 60),
        10..48 => format!("{hours} h"),
        _ => format!("{days} days"),
    };
    if seconds > 0 { format!("{words} ago") } else { format!("in {words}") }
}

/// The same of something that has happened, at a time that may not be known.
pub fn ago(now: DateTime<Utc>, time: Option<DateTime<Utc>>) -> String {
    time.map_or_else(|| String::from("at an unknown time"), |time| relative(now, time))
}

/// `340 ms`, `2.4 s`, `3 min 20 s`, `2 h 5 min`, `3 days 4 h`.
pub fn duration(seconds: f64) -> String {
    if seconds < 0.9995 {
        return format!("{:.0} ms", seconds.max(0.0) * 1000.0);
    }
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    // Ages of a process and times of a job: far below the 2^53 s at which this would lose anything.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, see above")]
    let whole = seconds.round() as u64;
    let (big, big_unit, small, small_unit) = match whole {
        0..60 => return format!("{whole} s"),
        60..3_600 => (whole / 60, "min", whole % 60, "s"),
        3_600..172_800 => (whole / 3_600, "h", whole % 3_600 / 60, "min"),
        _ => (whole / 86_400, "days", whole % 86_400 / 3_600, "h"),
    };
    if small == 0 { format!("{big} {big_unit}") } else { format!("{big} {big_unit} {small} {small_unit}") }
}

/// `512 B`, `1.2 GiB`, `80 GiB`: binary units, two digits where there is room.
pub fn bytes(count: u64) -> String {
    let mut amount = count as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if amount < 1023.5 {
            break;
        }
        amount /= 1024.0;
        unit = larger;
    }
    if unit == "B" || amount >= 9.95 { format!("{amount:.0} {unit}") } else { format!("{amount:.1} {unit}") }
}

/// `+1.2 MiB`, `-80 KiB`, `0 B`: how a size changed.
pub fn change(bytes: f64) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "made positive; sizes of files"
    )]
    let amount = self::bytes(bytes.abs() as u64);
    match bytes {
        ..=-1.0 => format!("-{amount}"),
        1.0.. => format!("+{amount}"),
        _ => amount,
    }
}

/// `1,204,000`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `20%`, `12.5%`: a share of 1, to one decimal.
pub fn percent(share: f64) -> String {
    let text = format!("{:.1}", share * 100.0);
    format!("{}%", text.strip_suffix(".0").unwrap_or(&text))
}

/// `1 problem`, `2 problems`.
pub fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// `not ready` as the beginning of a sentence.
pub fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn says_how_long_ago_and_how_soon() {
        let now = DateTime::UNIX_EPOCH;
        let cases = [
            (0, "now"),
            (-1, "now"),
            (-2, "2 s ago"),
            (-59, "59 s ago"),
            (-60, "1 min ago"),
            (240, "in 4 min"),
            (3_599, "in 59 min"),
            (3_600, "in 1 h"),
            (-6_780, "1 h 53 min ago"),
            (-35_999, "9 h 59 min ago"),
            (-36_000, "10 h ago"),
            (-172_799, "47 h ago"),
            (-172_800, "2 days ago"),
        ];
        for (seconds, words) in cases {
            assert_eq!(relative(now, now + TimeDelta::seconds(seconds)), words, "{seconds}");
        }
    }

    #[test]
    fn says_how_a_size_changed() {
        let cases = [(0.0, "0 B"), (-0.9, "0 B"), (1_258_291.2, "+1.2 MiB"), (-81_920.0, "-80 KiB")];
        for (bytes, words) in cases {
            assert_eq!(change(bytes), words);
        }
    }

    #[test]
    fn says_how_long_something_took() {
        let cases = [
            (0.0, "0 ms"),
            (0.34, "340 ms"),
            (0.9996, "1.0 s"),
            (2.44, "2.4 s"),
            (9.96, "10 s"),
            (59.4, "59 s"),
            (59.6, "1 min"),
            (200.0, "3 min 20 s"),
            (7_500.0, "2 h 5 min"),
            (172_800.0, "2 days"),
            (273_600.0, "3 days 4 h"),
        ];
        for (seconds, words) in cases {
            assert_eq!(duration(seconds), words, "{seconds}");
        }
    }

    #[test]
    fn says_how_large_something_is() {
        let cases = [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (10_485_760, "10 MiB"),
            (1_288_490_189, "1.2 GiB"),
            (u64::MAX, "16384 PiB"),
        ];
        for (number, words) in cases {
            assert_eq!(bytes(number), words, "{number}");
        }
    }

    #[test]
    fn says_which_share_something_is() {
        for (share, words) in [(0.0, "0%"), (0.2, "20%"), (0.125, "12.5%"), (0.0104, "1%"), (1.0, "100%")] {
            assert_eq!(percent(share), words);
        }
    }

    #[test]
    fn groups_digits_by_three() {
        for (number, words) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (123_456, "123,456"), (1_234_567, "1,234,567")]
        {
            assert_eq!(count(number), words);
        }
        assert_eq!(plural(1, "row", "rows"), "1 row");
        assert_eq!(plural(1_200, "row", "rows"), "1,200 rows");
    }
}
