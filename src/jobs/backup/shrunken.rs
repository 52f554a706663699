//! Whether a database has suddenly become much smaller: a mistyped path that SQLite filled with an empty file, a
//! truncated or half-restored one (HAZARDS H5, H6).

use crate::error::{Error, Reason, Result};
use crate::sqlite::facts::Facts;
use crate::sqlite::open;
use crate::sqlite::schema::{self, quoted};
use crate::state::facts::Content;
use crate::words;
use std::path::{Path, PathBuf};

/// What a snapshot holds.
pub(super) fn content(snapshot: &Path, facts: &Facts, place: PathBuf) -> Result<Content> {
    let connection = open::immutable(snapshot)?;
    let has_rows = |table: &str| {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", quoted(table));
        // A table that we cannot read is not an empty one.
        connection.query_row(&sql, [], |row| row.get::<_, bool>(0)).unwrap_or(true)
    };
    let tables = schema::tables(&connection)?.into_iter().map(|table| table.name);
    Ok(Content { place, bytes: facts.used_bytes(), tables: tables.filter(|t| has_rows(t)).collect() })
}

/// Refuses a state that has less than half of the bytes that were there, or lacks a table that had rows. A table
/// that is still there and has become empty does not count: that is what a queue looks like.
pub(super) fn compare(
    snapshot: &Path,
    database: &str,
    before: Option<&Content>,
    now: &Content,
) -> Result<()> {
    let Some(before) = before else { return Ok(()) };
    let existing = schema::tables(&open::immutable(snapshot)?)?;
    let gone: Vec<&str> = before
        .tables
        .iter()
        .filter(|table| !existing.iter().any(|t| t.name == **table))
        .map(String::as_str)
        .collect();
    let why = if !gone.is_empty() {
        format!("these tables had rows and are gone: {}", gone.join(", "))
    } else if now.bytes < before.bytes / 2 {
        format!(
            "it held {} at the last backup and holds {} now",
            words::bytes(before.bytes),
            words::bytes(now.bytes)
        )
    } else {
        return Ok(());
    };
    Err(Error::new(
        Reason::Shrunken,
        format!(
            "no backup was made, because the database has shrunk: {why}. If that is as it should be, run: litekeeper \
             backup {database} --accept-smaller"
        ),
    ))
}
