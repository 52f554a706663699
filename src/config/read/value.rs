//! One value of the file as a value of ours: a whole number in a range, a duration, a word of a
//! list, a path. Each reader says what it expected and what it found. Merges nothing, knows no key.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use toml::de::{DeInteger, DeValue};

use super::wrong::{Mistake, describe};
use crate::config::units::{LONGEST, parse_duration, parse_share, parse_size, show_duration};
use crate::config::{Blackout, Schedule, Value};

type Read<T> = Result<T, Mistake>;

fn integer(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// Text that is not empty.
pub(in crate::config) fn text(value: &DeValue<'_>) -> Read<String> {
    match value {
        DeValue::String(text) if text.trim().is_empty() => Err(Mistake::new("is empty")),
        DeValue::String(text) if text.contains('\0') => Err(Mistake::new("contains a zero byte")),
        DeValue::String(text) => Ok(text.clone().into_owned()),
        other => Err(Mistake::expected("text in quotes", other)),
    }
}

/// A list of such texts, at least one.
pub(super) fn texts(value: &DeValue<'_>) -> Read<Vec<String>> {
    match value {
        DeValue::Array(items) if items.is_empty() => Err(Mistake::new("is an empty list")),
        DeValue::Array(items) => items.iter().map(|item| text(item.get_ref())).collect(),
        other => Err(Mistake::expected("a list of texts", other).help("write [\"a\", \"b\"]")),
    }
}

/// `true` or `false`.
pub(super) fn flag(value: &DeValue<'_>) -> Read<bool> {
    value.as_bool().ok_or_else(|| Mistake::expected("true or false", value))
}

/// A whole number in a range.
pub(in crate::config) fn count<T: TryFrom<i64>>(
    range: RangeInclusive<i64>,
) -> impl FnOnce(&DeValue<'_>) -> Read<T> {
    move |value| {
        let number = value.as_integer().and_then(integer).filter(|n| range.contains(n));
        number.and_then(|n| T::try_from(n).ok()).ok_or_else(|| {
            Mistake::expected(&format!("a whole number from {} to {}", range.start(), range.end()), value)
        })
    }
}

/// One of these words.
pub(super) fn choice<T: Copy>(words: &[(&str, T)]) -> impl FnOnce(&DeValue<'_>) -> Read<T> {
    move |value| {
        let word = value.as_str().unwrap_or_default();
        words.iter().find(|(w, _)| *w == word).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<String> = words.iter().map(|(w, _)| format!("{w:?}")).collect();
            let what = match &words[..] {
                [most @ .., last] if !most.is_empty() => format!("{} or {last}", most.join(", ")),
                _ => words.concat(),
            };
            Mistake::expected(&what, value)
        })
    }
}

/// A duration of this length or more.
pub(super) fn at_least(shortest: Duration) -> impl FnOnce(&DeValue<'_>) -> Read<Duration> {
    between(shortest, LONGEST)
}

/// A duration from `shortest` to `longest`.
pub(super) fn between(shortest: Duration, longest: Duration) -> impl FnOnce(&DeValue<'_>) -> Read<Duration> {
    move |value| {
        let what = "a duration such as \"30s\", \"5m\" or \"365d\"";
        let DeValue::String(text) = value else {
            let wrong = Mistake::expected(what, value);
            return Err(match value {
                DeValue::Integer(n) => wrong.help(format!("a number needs quotes and a unit: \"{n}s\"")),
                _ => wrong,
            });
        };
        let duration = parse_duration(text)
            .map_err(|why| Mistake::new(format!("must be {what}, not {text:?}: {why}")))?;
        if duration < shortest {
            return Err(Mistake::new(format!("must be at least {}, not {text:?}", show_duration(shortest))));
        }
        if duration > longest {
            return Err(Mistake::new(format!("must be at most {}, not {text:?}", show_duration(longest))));
        }
        Ok(duration)
    }
}

/// A number of bytes.
pub(in crate::config) fn size(value: &DeValue<'_>) -> Read<u64> {
    let what = "a size such as \"64MiB\", \"1GB\" or \"512\"";
    match value {
        DeValue::String(text) => {
            parse_size(text).map_err(|why| Mistake::new(format!("must be {what}, not {text:?}: {why}")))
        }
        DeValue::Integer(bytes) => {
            integer(bytes).and_then(|n| u64::try_from(n).ok()).ok_or_else(|| Mistake::expected(what, value))
        }
        other => Err(Mistake::expected(what, other)),
    }
}

/// A share as a number from 0 to 1.
pub(in crate::config) fn share(value: &DeValue<'_>) -> Read<f64> {
    let what = "a share from \"0%\" to \"100%\"";
    match value {
        DeValue::String(text) => {
            parse_share(text).map_err(|why| Mistake::new(format!("must be {what}, not {text:?}: {why}")))
        }
        other => Err(Mistake::expected(what, other).help("write it as text with a percent sign: \"20%\"")),
    }
}

/// A cron expression that fires.
pub(in crate::config) fn schedule(value: &DeValue<'_>) -> Read<Schedule> {
    let Some(text) = value.as_str() else {
        return Err(Mistake::expected(
            "a cron expression such as \"0 3 * * *\", \"@hourly\" or \"never\"",
            value,
        ));
    };
    Schedule::parse(text).map_err(|fault| Mistake {
        message: fault.message,
        help: Some(
            "fields: [second] minute hour day-of-month month day-of-week; \"never\" for by hand only".into(),
        ),
        item: None,
        within: fault.within,
    })
}

/// Windows of the week, perhaps none.
pub(in crate::config) fn blackout(value: &DeValue<'_>) -> Read<Blackout> {
    const FORM: &str = "write [\"08:00-18:00 Mon-Fri\"], or [] for none";
    let DeValue::Array(items) = value else {
        return Err(Mistake::expected("a list of windows", value).help(FORM));
    };
    let mut blackout = Blackout::default();
    for (n, item) in items.iter().enumerate() {
        let at = |wrong: Mistake| Mistake { item: Some(n), ..wrong.help(FORM) };
        let text = item
            .get_ref()
            .as_str()
            .ok_or_else(|| at(Mistake::expected("a list of texts", item.get_ref())))?;
        blackout.add(text).map_err(|fault| {
            let wrong = Mistake::new(format!("has the window {text:?}, which {}", fault.message));
            at(Mistake { within: fault.within, ..wrong })
        })?;
    }
    if blackout.is_always() {
        return Err(Mistake::new("leaves no minute of the week")
            .help("to run the job by hand only: schedule = \"never\""));
    }
    Ok(blackout)
}

/// An absolute path without `..`, so that two paths can be compared.
pub(in crate::config) fn path(value: &DeValue<'_>) -> Read<PathBuf> {
    let text = text(value)?;
    let path = Path::new(&text);
    if !path.is_absolute() {
        let wrong = Mistake::new(format!("must be an absolute path, not {text:?}"));
        return Err(wrong.help(if text.starts_with('~') {
            "`~` is not expanded: write the home directory out"
        } else {
            "a daemon has no directory of its own to start from: write the whole path, from / on"
        }));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(
            Mistake::new(format!("must not contain `..`: {text:?}")).help("write the path that it leads to")
        );
    }
    Ok(path.components().collect())
}

/// The path of a file.
pub(super) fn file_path(value: &DeValue<'_>) -> Read<PathBuf> {
    let path = path(value)?;
    if value.as_str().is_some_and(|text| text.ends_with('/')) || path.file_name().is_none() {
        return Err(Mistake::new(format!("must be a file, not a directory: {}", describe(value))));
    }
    if value.as_str().is_some_and(|text| text.contains(['*', '?'])) {
        let wrong = Mistake::new(format!("must name one file, and is a pattern: {}", describe(value)));
        return Err(wrong.help(
            "write a table for each database: [database.NAME] with its path; where a file's own name has such a \
             character, let path name a link to it",
        ));
    }
    Ok(path)
}

/// `"auto"`, which is none, or an absolute path.
pub(super) fn auto_or_path(value: &DeValue<'_>) -> Read<Option<PathBuf>> {
    if value.as_str() == Some("auto") { Ok(None) } else { path(value).map(Some) }
}

/// `"off"`, or bytes in a second.
pub(super) fn rate(value: &DeValue<'_>) -> Read<Option<NonZeroU64>> {
    if value.as_str() == Some("off") {
        return Ok(None);
    }
    let wrong = || Mistake::expected("\"off\" or bytes a second, such as \"20MiB\"", value);
    let rate = NonZeroU64::new(size(value).map_err(|_| wrong())?);
    rate.map(Some).ok_or_else(|| wrong().help("without a limit: \"off\""))
}

/// `"off"`, or an address with its port.
pub(in crate::config) fn listen(value: &DeValue<'_>) -> Read<Option<SocketAddr>> {
    match value {
        DeValue::String(text) if text == "off" => Ok(None),
        DeValue::String(text) => text.parse().map(Some).map_err(|_| {
            let wrong = Mistake::expected("an IP address with a port, or \"off\"", value);
            match text.rsplit_once(':') {
                Some(("", port)) => {
                    wrong.help(format!("for every address of this machine: \"0.0.0.0:{port}\""))
                }
                Some(("localhost", port)) => {
                    wrong.help(format!("names are not looked up: \"127.0.0.1:{port}\""))
                }
                _ => wrong.help("for this machine only: \"127.0.0.1:9742\""),
            }
        }),
        other => Err(Mistake::expected("an IP address with a port, or \"off\"", other)),
    }
}

/// Names of hosts, without a port.
pub(in crate::config) fn hosts(value: &DeValue<'_>) -> Read<Vec<String>> {
    const FORM: &str =
        "write the names as they stand in the URL, without scheme and port: [\"status.example.org\"]";
    let Some(items) = value.as_array() else {
        return Err(Mistake::expected("a list of names", value).help(FORM));
    };
    let is_name =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    let read = |item: &DeValue<'_>| match item.as_str() {
        Some(name) if is_name(name) => Ok(name.to_owned()),
        _ => Err(Mistake::expected("a list of names of hosts", value).help(FORM)),
    };
    items.iter().map(|item| read(item.get_ref())).collect()
}

/// A parameter of a watched query.
pub(super) fn parameter(value: &DeValue<'_>) -> Read<Value> {
    match value {
        DeValue::String(text) => Ok(Value::Text(text.clone().into_owned())),
        DeValue::Boolean(flag) => Ok(Value::Integer(i64::from(*flag))),
        DeValue::Integer(number) => integer(number)
            .map(Value::Integer)
            .ok_or_else(|| Mistake::new(format!("must fit in 64 bits, which {number} does not"))),
        // SQLite turns a NaN into NULL without a word.
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .ok()
            .filter(|n: &f64| n.is_finite())
            .map(Value::Real)
            .ok_or_else(|| Mistake::new(format!("must be a finite number, not {number}"))),
        other => Err(Mistake::expected("text, a number or true or false", other)
            .help("a date is written as text, in the form in which the column holds it")),
    }
}
