//! Which rows of the rule's table go, as conditions in SQL: those past their age, and those that
//! lie in order behind the newest which a limit of rows or bytes leaves. Pure text; one definition
//! serves counting and deleting.

use std::fmt::Write as _;

use rusqlite::types::Value;

use super::dates::{self, Age};
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
        format!(
            "CASE WHEN {} THEN 2 WHEN {} THEN 1 ELSE 0 END",
            self.condition(prefix),
            self.readable(prefix)
        )
    }

    /// A condition on the first column of the order, behind which no row goes; for walking in that
    /// order.
    pub(super) fn end(&self, prefix: &str) -> Option<String> {
        let order = self.order(prefix);
        let newest = self.newest.as_ref().map(|newest| literals(&newest[..1]).concat());
        let last = match (self.age.map(|age| age.end()), newest) {
            // Both are text or both are numbers, by the format.
            (Some(end), Some(newest)) => format!("max({end}, {newest})"),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return None,
        };
        Some(format!("{} <= {last}", order[0]))
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
