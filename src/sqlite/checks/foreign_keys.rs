//! SQLite's check of the foreign keys of one table. Must never take keys that cannot be checked here
//! for kept.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::error::{Cause, Result};
use crate::sql::quoting::quoted;
use crate::sqlite::look::names;

/// What the foreign keys of one table lead to.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct References {
    /// Rows whose parent is not there, by the parent's table.
    pub orphans: BTreeMap<String, u64>,
    /// Tables that are referred to and do not exist.
    pub missing: BTreeSet<String>,
    /// A key that SQLite cannot enforce: the columns referred to are neither the primary key nor
    /// unique.
    pub mismatch: Option<String>,
}

impl References {
    /// One sentence for each thing that is wrong with the keys of `table`.
    pub fn in_words(&self, table: &str) -> Vec<String> {
        let orphans = self.orphans.iter().map(|(parent, rows)| match rows {
            1 => format!("1 row of {table} refers to a row of {parent} that does not exist"),
            n => format!("{n} rows of {table} refer to rows of {parent} that do not exist"),
        });
        let missing = self
            .missing
            .iter()
            .map(|parent| format!("{table} refers to the table {parent}, which does not exist"));
        let mismatch = self.mismatch.iter().map(|text| {
            format!("{table} refers to columns that are neither a primary key nor unique, so that SQLite cannot enforce it ({text})")
        });
        orphans.chain(missing).chain(mismatch).collect()
    }
}

/// Whether a table has foreign keys.
pub fn has_foreign_keys(connection: &Connection, table: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pragma_foreign_key_list(?1))";
    Ok(connection.query_row(sql, [table], |row| row.get(0))?)
}

/// Checks the foreign keys of one table, whether or not anybody has enforced them. Errors as
/// [`integrity`](super::integrity), and `damaged`.
pub fn references(connection: &Connection, table: &str) -> Result<References> {
    let mut found = References::default();
    let mut parents = connection.prepare(
        "SELECT DISTINCT \"table\" FROM pragma_foreign_key_list(?1) AS f WHERE NOT EXISTS \
         (SELECT 1 FROM main.sqlite_schema WHERE type IN ('table', 'view') AND name = f.\"table\" COLLATE NOCASE)",
    )?;
    let missing = parents.query_map([table], |row| names::shown(row, 0))?;
    found.missing = missing.collect::<rusqlite::Result<_>>()?;
    match orphans(connection, table) {
        Ok(orphans) => found.orphans = orphans,
        Err(error) if error.cause() == Some(&Cause::ForeignKeyMismatch) => {
            found.mismatch = Some(error.message);
        }
        Err(error) => return Err(error),
    }
    // With its table missing every reference leads nowhere; that is one problem, not one for each
    // row.
    found.orphans.retain(|parent, _| !found.missing.contains(parent));
    Ok(found)
}

fn orphans(connection: &Connection, table: &str) -> Result<BTreeMap<String, u64>> {
    let mut statement = connection.prepare(&format!("PRAGMA main.foreign_key_check({})", quoted(table)))?;
    let mut rows = statement.query([])?;
    let mut orphans = BTreeMap::new();
    while let Some(row) = rows.next()? {
        *orphans.entry(names::shown(row, 2)?).or_default() += 1;
    }
    Ok(orphans)
}
