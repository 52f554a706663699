//! Rows that a rule touches, counted and in words.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::words;

/// Rows removed and changed, by table.
pub(super) type Tally = BTreeMap<String, RowCounts>;

/// Rows of one table that a rule touched, or would touch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct RowCounts {
    /// Deleted.
    pub(super) removed: u64,
    /// Their foreign key was set to NULL or to its default.
    pub(super) changed: u64,
}

/// `1,234 rows of users`.
pub(super) fn rows_of(number: u64, table: &str) -> String {
    format!("{} of {table}", rows(number))
}

/// `1,234 rows`.
pub(super) fn rows(number: u64) -> String {
    words::plural(number, "row", "rows")
}
