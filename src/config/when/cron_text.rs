//! The grammar of a cron expression, with an error in words and its place for each thing that is
//! wrong. Rules: crontab(5) of Vixie cron, and of its successors `L` for the last day of a month,
//! `MON#1` for the first Monday of one and `MON#L` or `MONL` for the last. Knows no time and no
//! zone; which dates match is `cron`'s.

use std::ops::Range;

use chrono::NaiveDate;

use super::cron::{Cron, LAST, LAST_DAY, occurrence};

/// What is wrong, and which bytes of the expression are to blame.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// Completes "the schedule …".
    pub message: String,
    /// Bytes of the expression; `None`: all of it.
    pub within: Option<Range<usize>>,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

struct Field {
    name: &'static str,
    min: u8,
    max: u8,
    /// Names of `min`, `min + 1`, …
    names: &'static [&'static str],
}

const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const MONTH_LENGTHS: [(&str, u8); 12] = [
    ("January", 31),
    ("February", 29),
    ("March", 31),
    ("April", 30),
    ("May", 31),
    ("June", 30),
    ("July", 31),
    ("August", 31),
    ("September", 30),
    ("October", 31),
    ("November", 30),
    ("December", 31),
];
const FIELDS: [Field; 6] = [
    Field { name: "second", min: 0, max: 59, names: &[] },
    Field { name: "minute", min: 0, max: 59, names: &[] },
    Field { name: "hour", min: 0, max: 23, names: &[] },
    Field { name: "day of month", min: 1, max: 31, names: &[] },
    Field { name: "month", min: 1, max: 12, names: &MONTHS },
    Field { name: "day of week", min: 0, max: 7, names: &DAYS },
];

/// Reads an expression of five fields, or six with seconds first.
pub(super) fn read(text: &str) -> Result<Cron, Fault> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let fields = match words.len() {
        6 => &FIELDS[..],
        5 => &FIELDS[1..],
        0 => return Err(Fault { message: "is empty".to_owned(), within: None }),
        7 => {
            let message =
                "has 7 fields: years are not supported, only 5 fields, or 6 with seconds first".to_owned();
            return Err(Fault { message, within: None });
        }
        n => {
            let message =
                format!("has {n} field{}, not 5, or 6 with seconds first", if n == 1 { "" } else { "s" });
            return Err(Fault { message, within: None });
        }
    };
    let mut sets = Vec::new();
    for (field, word) in fields.iter().zip(&words) {
        let set = field.read(word).map_err(|what| Fault {
            message: format!("has a wrong {}: {what}", field.name),
            within: Some(place(text, word)),
        })?;
        sets.push(set);
    }
    let ([.., minute, hour, day, _, weekday], [.., minutes, hours, days, months, weekdays]) =
        (&words[..], &sets[..])
    else {
        return Err(Fault { message: "is empty".to_owned(), within: None });
    };
    let both_days = day.contains('*') || weekday.contains('*');
    if let Some(message) = never_comes(*days, *months).filter(|_| both_days) {
        return Err(Fault { message, within: Some(place(text, day)) });
    }
    let is_all = |field: &Field, set: u64| set == field.bits(field.min, field.last(), 1);
    let any_time = minute.contains('*')
        || hour.contains('*')
        || is_all(&FIELDS[1], *minutes)
        || is_all(&FIELDS[2], *hours);
    let cron = Cron {
        seconds: if sets.len() == FIELDS.len() { sets[0] } else { 1 },
        minutes: *minutes,
        hours: *hours,
        days: *days,
        months: *months,
        weekdays: *weekdays,
        both_days,
        any_time,
    };
    if cron.has_places() && !comes(&cron) {
        let message = "never fires: no date has both this day of month and this day of week".to_owned();
        return Err(Fault { message, within: None });
    }
    Ok(cron)
}

/// Whether some date matches. Each date of the years has been on each day of the week, and in each
/// place of its month, after 28 of them.
fn comes(cron: &Cron) -> bool {
    let first = NaiveDate::from_ymd_opt(2001, 1, 1);
    first.is_some_and(|first| first.iter_days().take(28 * 366).any(|date| cron.has_date(date)))
}

/// Which bytes of `text` its part `word` is.
fn place(text: &str, word: &str) -> Range<usize> {
    let start = word.as_ptr().addr() - text.as_ptr().addr();
    start..start + word.len()
}

/// Why none of these months ever has one of these days. Over the years each date falls on each
/// weekday, so weekdays never stand in the way.
fn never_comes(days: u64, months: u64) -> Option<String> {
    let first = days.trailing_zeros();
    if days & LAST_DAY != 0 {
        return None;
    }
    let asked = || MONTH_LENGTHS.iter().zip(1..).filter(|(_, n)| months & (1 << n) != 0).map(|(m, _)| m);
    if asked().any(|(_, length)| first <= u32::from(*length)) {
        return None;
    }
    let lengths: Vec<String> =
        asked().map(|(name, length)| format!("{name} has at most {length} days")).collect();
    Some(format!("never fires: it asks for day {first}, and {}", lengths.join(", ")))
}

impl Field {
    /// Its values as bits.
    fn read(&self, word: &str) -> Result<u64, String> {
        word.split(',').try_fold(0, |set, item| {
            if let Some(bit) = self.place_in_month(item)? {
                return Ok(set | bit);
            }
            let (range, step) = match item.split_once('/') {
                Some((range, step)) => (range, Some(self.step(step)?)),
                None => (item, None),
            };
            let (from, to) = self.range(range, step.is_some())?;
            let bits = self.bits(from, to, step.unwrap_or(1));
            // Sunday is 0 and 7.
            Ok(set | if self.max == 7 { bits & 0x7F | bits >> 7 } else { bits })
        })
    }

    /// The bit of `L`, `MON#1`, `MON#L` or `MONL`, which count within a month.
    fn place_in_month(&self, item: &str) -> Result<Option<u64>, String> {
        if self.max == 31 && item.eq_ignore_ascii_case("L") {
            return Ok(Some(LAST_DAY));
        }
        let is_weekday = |day: &str| !day.is_empty() && self.value(day).is_ok();
        let (day, week) = match item.split_once('#') {
            Some(split) => split,
            None => match item.strip_suffix(['L', 'l']).filter(|day| is_weekday(day)) {
                Some(day) => (day, "L"),
                None => return Ok(None),
            },
        };
        if self.max != 7 {
            return Ok(None);
        }
        let weekday = u32::from(self.value(day)? % 7);
        match week {
            "1" | "2" | "3" | "4" | "5" => Ok(Some(occurrence(weekday, week.parse().unwrap_or(LAST)))),
            "L" | "l" => Ok(Some(occurrence(weekday, LAST))),
            _ => {
                Err(format!("`{item}` has no week: write `{day}#1` to `{day}#5`, or `{day}#L` for the last"))
            }
        }
    }

    fn bits(&self, from: u8, to: u8, step: u8) -> u64 {
        debug_assert!(self.min <= from && to <= self.max);
        (from..=to).step_by(usize::from(step)).fold(0, |set, n| set | 1 << n)
    }

    fn step(&self, text: &str) -> Result<u8, String> {
        let values = self.last() - self.min + 1;
        match text.parse() {
            Ok(0) => Err("a step of 0 goes nowhere".to_owned()),
            // Nobody who writes `*/90` in the minutes means "at minute 0 of every hour".
            Ok(n) if n > values => {
                Err(format!("the step {n} is longer than the field, which has {values} values"))
            }
            Ok(n) if text.bytes().all(|b| b.is_ascii_digit()) => Ok(n),
            _ => Err(format!("`{text}` is not a step")),
        }
    }

    /// First and last of `*`, `a` or `a-b`.
    fn range(&self, text: &str, stepped: bool) -> Result<(u8, u8), String> {
        if text == "*" {
            return Ok((self.min, self.last()));
        }
        let Some((from, to)) = text.split_once('-') else {
            let n = self.value(text)?;
            // Vixie cron refuses it, others read "from a to the end".
            if stepped {
                return Err(format!("a step needs a range: write `{n}-{}/…` or `*/…`", self.last()));
            }
            return Ok((n, n));
        };
        let first = self.value(from)?;
        let mut last = self.value(to)?;
        // Sunday is 0 and 7; as the end of a range it is 7: SAT-SUN.
        if self.max == 7 && last == 0 && first > 0 {
            last = 7;
        }
        if first > last {
            return Err(format!("the range `{text}` ends before it begins"));
        }
        Ok((first, last))
    }

    /// The last value; Sunday's second number does not count.
    const fn last(&self) -> u8 {
        if self.max == 7 { 6 } else { self.max }
    }

    fn value(&self, text: &str) -> Result<u8, String> {
        if let Some(at) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(self.min + u8::try_from(at).unwrap_or_default());
        }
        if text.is_empty() {
            return Err("a value is missing".to_owned());
        }
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            let quartz = text.contains(['L', 'W', '#', '?', 'l', 'w']) && self.min + self.max != 59;
            return Err(match (quartz, self.names) {
                (true, _) if !text.chars().all(char::is_alphabetic) || text.len() == 1 => {
                    format!(
                        "`{text}` is not known here: there are `L`, the last day of a month, as a day of month, and \
                         `MON#1` and `MON#L`, the first and the last Monday of one, as a day of week"
                    )
                }
                (_, [first, .., last]) => {
                    format!("`{text}` is neither a number nor a name from {first} to {last}")
                }
                _ => format!("`{text}` is not a number"),
            });
        }
        match text.parse() {
            Ok(n) if (self.min..=self.max).contains(&n) => Ok(n),
            _ => Err(format!("{text} is not from {} to {}", self.min, self.max)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        read(text).unwrap_err().message
    }

    /// The values of seconds, minutes, hours, days, months and weekdays.
    fn sets(text: &str) -> [Vec<u32>; 6] {
        let cron = read(text).unwrap();
        let all = [cron.seconds, cron.minutes, cron.hours, cron.days, cron.months, cron.weekdays];
        all.map(|set| (0..u64::BITS).filter(|n| set & 1 << n != 0).collect())
    }

    #[test]
    fn names_ranges_steps_and_lists_become_numbers() {
        let [seconds, minutes, hours, days, months, weekdays] = sets("*/15 8-18/2 1,15 JAN-mar Mon-FRI");
        assert_eq!((seconds, minutes), (vec![0], vec![0, 15, 30, 45]));
        assert_eq!((hours, days), (vec![8, 10, 12, 14, 16, 18], vec![1, 15]));
        assert_eq!((months, weekdays), (vec![1, 2, 3], vec![1, 2, 3, 4, 5]));
        assert_eq!(sets("0 0 * * SAT-SUN")[5], [0, 6]);
        assert_eq!(sets("0 0 * * 7")[5], [0]);
        assert_eq!(sets("30 0 3 * * *")[..3], [vec![30], vec![0], vec![3]]);
        assert_eq!(sets("0  0\t* * */2")[5], [0, 2, 4, 6]);
    }

    #[test]
    fn names_count_only_in_their_own_field() {
        assert_eq!(fault("MON * * * *"), "has a wrong minute: `MON` is not a number");
        assert_eq!(
            fault("0 0 * * JAN"),
            "has a wrong day of week: `JAN` is neither a number nor a name from SUN to SAT"
        );
        assert_eq!(
            fault("0 0 * * MONDAY"),
            "has a wrong day of week: `MONDAY` is neither a number nor a name from SUN to SAT"
        );
        assert_eq!(fault("0 0 5SUN * *"), "has a wrong day of month: `5SUN` is not a number");
    }

    #[test]
    fn extensions_of_other_schedulers_are_refused_by_name() {
        for text in
            ["0 0 15W * *", "0 0 5L * *", "0 0 MON#1 * *", "0 0 * L *", "0 0 * * L", "0 0 ? * 1", "0 0 1 * ?"]
        {
            assert!(
                fault(text).contains("there are `L`, the last day of a month"),
                "{text}: {}",
                fault(text)
            );
        }
        assert!(read("0 0 1 * +1").is_err() && read("L 0 * * *").is_err() && read("0 1#2 * * *").is_err());
    }

    #[test]
    fn a_weekday_of_a_month_is_one_of_five_or_the_last() {
        for wrong in
            ["MON#0", "MON#6", "1#", "MON#", "#1", "MON#1-2", "1-5#1", "MON#1/2", "8#1", "MON#+1", "9L"]
        {
            assert!(read(&format!("0 0 * * {wrong}")).is_err(), "{wrong}");
        }
        assert!(read("0 0 L-3 * *").is_err() && read("0 0 L/2 * *").is_err() && read("0 0 1-L * *").is_err());
        assert_eq!(read("0 0 * * mon#2,friL"), read("0 0 * * 1#2,5#l"));
        assert_eq!(read("0 0 * * 7#1"), read("0 0 * * SUN#1"));
    }

    #[test]
    fn each_mistake_is_said_in_words() {
        for (text, says) in [
            ("", "is empty"),
            ("* * *", "has 3 fields, not 5, or 6 with seconds first"),
            ("0 0 0 1 1 * 2030", "years are not supported"),
            ("60 * * * *", "has a wrong minute: 60 is not from 0 to 59"),
            ("* 24 * * *", "has a wrong hour: 24 is not from 0 to 23"),
            ("* * 0 * *", "has a wrong day of month: 0 is not from 1 to 31"),
            ("* * * 13 *", "has a wrong month: 13 is not from 1 to 12"),
            ("* * * * 8", "has a wrong day of week: 8 is not from 0 to 7"),
            ("*/0 * * * *", "a step of 0 goes nowhere"),
            ("*/90 * * * *", "the step 90 is longer than the field, which has 60 values"),
            ("5/10 * * * *", "a step needs a range: write `5-59/…` or `*/…`"),
            ("30-10 * * * *", "the range `30-10` ends before it begins"),
            ("0 0 * * FRI-MON", "the range `FRI-MON` ends before it begins"),
            ("1,,2 * * * *", "a value is missing"),
            ("1- * * * *", "a value is missing"),
            ("-1 * * * *", "a value is missing"),
            ("*/+5 * * * *", "`+5` is not a step"),
            ("999999999999 * * * *", "999999999999 is not from 0 to 59"),
            ("é * * * *", "`é` is not a number"),
        ] {
            assert!(fault(text).contains(says), "{text:?}: {}", fault(text));
        }
    }

    #[test]
    fn the_wrong_field_is_pointed_at() {
        assert_eq!(read("0 3 *  61 *").unwrap_err().within, Some(7..9));
    }

    #[test]
    fn days_that_no_month_has_never_fire() {
        assert_eq!(fault("0 0 30 2 *"), "never fires: it asks for day 30, and February has at most 29 days");
        assert_eq!(
            fault("0 0 31 FEB,APR *"),
            "never fires: it asks for day 31, and February has at most 29 days, April has at most 30 days"
        );
        assert!(read("0 0 30 2 */2").is_err(), "a starred weekday does not add days");
        assert!(read("0 0 29 2 *").is_ok());
        assert!(read("0 0 30 2 MON").is_ok(), "fires on Mondays in February");
        assert!(read("0 0 31 2,3 *").is_ok());
        assert!(read("0 0 L 2 *").is_ok() && read("0 0 * 2 MON#5").is_ok(), "29 February 2044 is a Monday");
        assert!(fault("0 0 */31 * MON#2").contains("no date has both"), "the 1st is never a second Monday");
    }

    #[test]
    fn the_days_are_alternatives_only_where_both_are_restricted() {
        for (text, both) in [
            ("0 0 13 * FRI", false),
            ("0 0 13 * *", true),
            ("0 0 * * FRI", true),
            ("0 0 */2 * FRI", true),
            ("0 0 13 * */2", true),
        ] {
            assert_eq!(read(text).unwrap().both_days, both, "{text}");
        }
    }
}
