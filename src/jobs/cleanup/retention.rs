//! Which rows of the rule's table go, as conditions in SQL: those past their age, and those that
//! lie in order behind the newest which a limit of rows or bytes leaves. Pure text; one definition
//! serves counting and deleting.

use std::fmt::Write as _;

use rusqlite::types::Value;

use super::dates::{self, Age, Place, Places};
use crate::config::DateFormat;
use crate::sql::quoting::quoted;

/// The date column of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// Its name as the schema writes it.
    pub(super) name: String,
    pub(super) format: DateFormat,
}

/// What decides about a row.
#[derive(Debug)]
pub(super) struct Retention {
    pub(super) column: Option<Column>,
    /// What names a row of the table, quoted.
    pub(super) key: Vec<String>,
    /// Rows past this go.
    pub(super) age: Option<Age>,
    /// And so do this one, given by the values of [`Retention::order`], and all before it.
    pub(super) newest: Option<Vec<Value>>,
}

impl Retention {
    /// By what rows are ordered from the oldest to the newest: the column's values as SQLite orders
    /// them, and among equal ones, or without a column, the key.
    pub(super) fn order(&self, prefix: &str) -> Vec<String> {
        let column = self.column.iter().map(|c| format!("{prefix}{} COLLATE BINARY", quoted(&c.name)));
        column.chain(self.key.iter().map(|key| format!("{prefix}{key}"))).collect()
    }

    /// A condition: a row can be judged. What holds no date is never removed.
    pub(super) fn readable(&self, prefix: &str) -> String {
        match &self.column {
            Some(column) => dates::readable(column.format, &format!("{prefix}{}", quoted(&column.name))),
            None => String::from("1"),
        }
    }

    /// A condition: the row goes. Never NULL. `prefix` is the table's alias with its dot, or empty.
    pub(super) fn condition(&self, prefix: &str) -> String {
        let old = self.age.as_ref().zip(self.column.as_ref());
        let old = old.map(|(age, column)| age.old(&format!("{prefix}{}", quoted(&column.name))));
        let beyond = self.newest.as_ref().map(|newest| {
            let (order, newest) = (self.order(prefix).join(", "), literals(newest).join(", "));
            format!("({} AND ({order}) <= ({newest}))", self.readable(prefix))
        });
        let either: Vec<_> = old.into_iter().chain(beyond).collect();
        if either.is_empty() { String::from("0") } else { format!("({})", either.join(" OR ")) }
    }

    /// An expression: 0 where a row cannot be judged, 1 for one that stays, 2 for one that goes.
    pub(super) fn verdict(&self, prefix: &str) -> String {
        if let (Some(age), Some(column), None) = (&self.age, &self.column, &self.newest) {
            return age.verdict(&format!("{prefix}{}", quoted(&column.name)));
        }
        format!(
            "CASE WHEN {} THEN 2 WHEN {} THEN 1 ELSE 0 END",
            self.condition(prefix),
            self.readable(prefix)
        )
    }

    /// Where in the order of an index on the column rows may be old.
    pub(super) fn places(&self) -> Option<Places> {
        self.age.as_ref().map(Places::of)
    }

    /// Whether rows that go may have `value` in the column, or lie behind it in that order; by the
    /// places of [`Retention::places`].
    pub(super) fn place(&self, places: Option<&Places>, value: &Value) -> Place {
        let newest = self.newest.as_ref().and_then(|newest| newest.first());
        match places {
            _ if newest.is_some_and(|newest| !dates::is_before(newest, value)) => Place::Within,
            Some(places) => places.of_value(value),
            // In UTF-16 such text is not in the order of its signs.
            None if matches!(value, Value::Text(text) if !text.is_ascii()) => Place::Within,
            None => Place::Behind,
        }
    }

    /// A condition on the first column of the key, behind which no row goes; for walking a table
    /// without a column in the order of its rows.
    pub(super) fn end(&self, prefix: &str) -> Option<String> {
        let newest = self.newest.as_ref().filter(|_| self.column.is_none())?;
        Some(format!("{} <= {}", self.order(prefix)[0], literals(&newest[..1]).concat()))
    }
}

/// Values as SQL.
fn literals(values: &[Value]) -> Vec<String> {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02X}");
            text
        })
    };
    // Not by its bytes: those are in the encoding of the database, which may be UTF-16. NUL would
    // end the statement.
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let literal = |value: &Value| match value {
        Value::Null => String::from("NULL"),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) if number.is_infinite() => {
            String::from(if *number > 0.0 { "9e999" } else { "-9e999" })
        }
        Value::Real(number) => format!("{number:?}"),
        Value::Text(text) => {
            format!("({})", text.split('\0').map(quoted).collect::<Vec<_>>().join(" || char(0) || "))
        }
        Value::Blob(bytes) => format!("x'{}'", hex(bytes)),
    };
    values.iter().map(literal).collect()
}
