//! Where in the order of an index on the column old rows may lie: an index has numbers before text,
//! numbers by their size, and text sign by sign. Pure. Takes some rows too many into a stretch
//! rather than one too few.

use chrono::Days;
use rusqlite::types::Value;

use super::iso::{FIRST_YEAR, LARGEST_OFFSET};
use super::{Age, numbers};
use crate::config::DateFormat;

/// Stretches of the order in which old rows may lie: each from its first value on, up to before its
/// last.
#[derive(Debug, Clone)]
pub(in crate::jobs::cleanup) struct Places(Vec<(Value, Value)>);

/// What a value's place in the order says.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::jobs::cleanup) enum Place {
    /// Old rows may lie here.
    Within,
    /// None before this value.
    Before(Value),
    /// None from here on.
    Behind,
}

impl Places {
    /// Those of a column whose dates are read so.
    pub(in crate::jobs::cleanup) fn of(age: &Age) -> Self {
        let cutoff = age.cutoff.timestamp_micros();
        let mut places: Vec<_> = numbers::stretches(age.format, cutoff)
            .into_iter()
            .map(|(first, end)| (Value::Real(first), Value::Real(end)))
            .collect();
        // Not a text that looks like a number: SQLite compares a column of numbers with the number.
        let first = if age.format == DateFormat::Iso { format!("{FIRST_YEAR}-01-01") } else { String::new() };
        let last = age.cutoff + LARGEST_OFFSET + Days::new(1);
        let end = match age.format {
            DateFormat::Iso => last.format("%Y-%m-%d").to_string(),
            DateFormat::Compact => last.format("%Y%m%d").to_string(),
            // Numbers in text are in no order, but for having more than one digit.
            _ => String::from(":"),
        };
        places.push((Value::Text(first), Value::Text(end)));
        Self(places)
    }

    /// Before the first stretch, and behind NULL. A column of text is compared with the number as
    /// text: this one lies before all digits.
    pub(in crate::jobs::cleanup) fn first(&self) -> Option<Value> {
        self.0.first().map(|(first, _)| match first {
            Value::Real(_) => Value::Real(f64::NEG_INFINITY),
            first => first.clone(),
        })
    }

    /// Where a value lies.
    pub(in crate::jobs::cleanup) fn of_value(&self, value: &Value) -> Place {
        // In UTF-16 such text is not in the order of its signs.
        if matches!(value, Value::Text(text) if !text.is_ascii()) {
            return Place::Within;
        }
        let Some((first, _)) = self.0.iter().find(|(_, end)| is_before(value, end)) else {
            return Place::Behind;
        };
        if is_before(value, first) { Place::Before(first.clone()) } else { Place::Within }
    }
}

/// Whether one value comes before another in SQLite's binary order.
pub(in crate::jobs::cleanup) fn is_before(one: &Value, other: &Value) -> bool {
    let kind = |value: &Value| match value {
        Value::Null => 0,
        Value::Integer(_) | Value::Real(_) => 1,
        Value::Text(_) => 2,
        Value::Blob(_) => 3,
    };
    let number = |value: &Value| match value {
        Value::Integer(number) => *number as f64,
        Value::Real(number) => *number,
        _ => 0.0,
    };
    match (one, other) {
        (Value::Text(one), Value::Text(other)) => one < other,
        (Value::Blob(one), Value::Blob(other)) => one < other,
        _ if kind(one) == 1 && kind(other) == 1 => number(one) < number(other),
        _ => kind(one) < kind(other),
    }
}
