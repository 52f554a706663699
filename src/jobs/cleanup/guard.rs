//! The share of each table that a run may remove (HAZARDS H28): a wrong clock or a wrong rule makes
//! everything look old. Counts over all rules of a run; never deletes.

use std::collections::BTreeMap;

use crate::error::{Error, Reason, Result};
use crate::words;

/// What a run has removed so far from the tables it has touched.
#[derive(Debug, Default)]
pub(super) struct Guard {
    tables: BTreeMap<String, TableShare>,
}

#[derive(Debug, Clone, Copy)]
struct TableShare {
    rows_before: u64,
    removed: u64,
}

impl Guard {
    /// Refuses when removing `more` rows would take the run past `max_share` of the table, which
    /// has `rows` now; `why` they go, as an operator would say it.
    pub(super) fn check(&self, table: &str, rows: u64, more: u64, max_share: f64, why: &str) -> Result<()> {
        let known = self.tables.get(table).copied().unwrap_or(TableShare { rows_before: rows, removed: 0 });
        let removed = known.removed + more;
        if removed as f64 <= max_share * known.rows_before as f64 {
            return Ok(());
        }
        let share = removed as f64 / known.rows_before as f64;
        Err(Error::new(
            Reason::Refused,
            format!(
                "{} of {} rows of {table} ({}) would be removed {why}, and max_share allows {}; if the \
                 clock and the rule are right, set a higher max_share in the database's cleanup table",
                words::count(removed),
                words::count(known.rows_before),
                words::percent(share),
                words::percent(max_share)
            ),
        ))
    }

    /// Writes down that a rule removed `removed` rows of a table that had `rows` before it.
    pub(super) fn note(&mut self, table: &str, rows: u64, removed: u64) {
        let known =
            self.tables.entry(table.to_owned()).or_insert(TableShare { rows_before: rows, removed: 0 });
        known.removed += removed;
    }
}
