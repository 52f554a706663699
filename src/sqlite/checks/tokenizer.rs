//! Whether a full-text table that differs from its content is out of step with it, or was made by a
//! tokenizer that the application registered under one of SQLite's names, which nothing in the file
//! tells (HAZARDS H34). Asks inside a read transaction; must never take the write lock, and leaves
//! nothing in SQLite's temporary database.

use rusqlite::Connection;

use super::fulltext::{self, Agreement};
use crate::error::{Reason, Result};
use crate::sql::quoting::quoted;
use crate::sqlite::look::names;
use crate::sqlite::write::hold;

/// Rows at either end of the content that are cut into words here as well.
const SAMPLE: usize = 100;

/// Of fewer rows nothing can be concluded: each may have been changed.
const LEAST: u64 = 4;

/// How a full-text table stands to its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Every word of the content is in the index, and no other.
    In,
    /// The index was made by this SQLite's tokenizer, and rows are missing in it, or have other
    /// words: a rebuild mends it.
    Out,
    /// The content is not stored, so that there is nothing to compare with.
    Contentless,
    /// It cannot be told, and why.
    Unknown(String),
}

/// Whether a line of `PRAGMA integrity_check` is about a full-text table that differs from its
/// content.
pub fn is_about(line: &str) -> bool {
    line.starts_with("malformed inverted index for FTS")
}

/// How an index is made anew from its content.
pub fn rebuilding(table: &str) -> String {
    let table = quoted(table);
    format!("INSERT INTO {table} ({table}) VALUES ('rebuild')")
}

/// Makes an index anew from its content.
pub fn rebuild(connection: &Connection, table: &str) -> Result<()> {
    let table = quoted(table);
    Ok(connection.execute_batch(&format!("INSERT INTO main.{table} ({table}) VALUES ('rebuild')"))?)
}

/// Whether a table is one of FTS5 that `PRAGMA integrity_check` does not compare with its content.
pub fn is_apart(connection: &Connection, table: &str) -> Result<bool> {
    Ok(fulltext::fts5(connection, table)?.is_some_and(|(_, is_apart)| is_apart))
}

/// Compares a full-text table with its content; reads all of both. Errors: what keeps it from being
/// done.
pub fn step(connection: &mut Connection, table: &str) -> Result<Step> {
    let found = match fulltext::agreement(connection, table) {
        Err(error) if error.reason == Reason::Unsupported => {
            Agreement::Unknown(format!("{table}: {}", error.message))
        }
        found => found?,
    };
    Ok(match found {
        Agreement::Agrees => Step::In,
        Agreement::Contentless => Step::Contentless,
        Agreement::Unknown(why) => Step::Unknown(why),
        Agreement::Differs(_) if is_ours(connection, table)? => Step::Out,
        Agreement::Differs(_) => Step::Unknown(format!(
            "{table} differs from its content in most rows: it is out of step with it, or the application has a tokenizer \
             of its own under the name of one of SQLite's"
        )),
    })
}

/// Cuts some rows into words here, and sees whether the index has the same for at least half of
/// those that it knows. So few that nothing can be concluded were rather changed than made by
/// another tokenizer.
fn is_ours(connection: &Connection, table: &str) -> Result<bool> {
    // FTS3 and FTS4 do not show which words a row has.
    let Some((using, _)) = fulltext::fts5(connection, table)? else { return Ok(true) };
    let columns =
        names::all(connection, "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0", [table])?;
    let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    let (columns, index) = (columns.join(", "), quoted(table));
    let sample = |order: &str| {
        format!(
            "SELECT * FROM (SELECT rowid, {columns} FROM main.{index} ORDER BY rowid {order} LIMIT {SAMPLE})"
        )
    };
    let (known, differing): (u64, u64) = hold::elsewhere(connection, |connection| {
        let transaction = connection.unchecked_transaction()?;
        transaction.execute_batch(&format!(
            "CREATE VIRTUAL TABLE temp.litekeeper_sample USING {using}; \
         INSERT INTO temp.litekeeper_sample (rowid, {columns}) {} UNION {}; \
         CREATE VIRTUAL TABLE temp.litekeeper_ours USING fts5vocab(temp, litekeeper_sample, instance); \
         CREATE VIRTUAL TABLE temp.litekeeper_theirs USING fts5vocab(main, {index}, instance)",
            sample("ASC"),
            sample("DESC")
        ))?;
        let counted = transaction.query_row(
            "WITH ours AS MATERIALIZED (SELECT doc, term, col, offset FROM temp.litekeeper_ours), \
         theirs AS MATERIALIZED (SELECT doc, term, col, offset FROM temp.litekeeper_theirs \
           WHERE doc IN (SELECT doc FROM ours)), \
         known AS MATERIALIZED (SELECT DISTINCT doc FROM theirs) \
         SELECT (SELECT count(*) FROM known), count(DISTINCT doc) FROM \
           (SELECT * FROM ours WHERE doc IN (SELECT doc FROM known) EXCEPT SELECT * FROM theirs)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        transaction.rollback().map(|()| counted)
    })?;
    Ok(known < LEAST || differing * 2 <= known)
}
