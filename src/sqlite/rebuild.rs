//! Rebuilds indexes, and tells whether one is right (HAZARDS H9, H16). One index at a time: whoever calls sets the
//! limit for which writers may be held up.

use rusqlite::Connection;

use super::checks::{self, Depth, Found};
use super::schema::{ORDINARY, WITHOUT_ROWID, quoted};
use crate::error::{Error, Reason, Result};

/// An index and its table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuildable {
    /// The index.
    pub name: String,
    /// The table.
    pub table: String,
}

/// Every index that can be rebuilt, by table. The primary key of a table WITHOUT ROWID cannot: it is the table.
pub fn rebuildable(connection: &Connection) -> Result<Vec<Rebuildable>> {
    let mut statement = connection.prepare(&format!(
        "SELECT i.name, t.name FROM main.sqlite_schema AS t JOIN pragma_index_list(t.name, 'main') AS i \
         WHERE {ORDINARY} AND NOT (i.origin = 'pk' AND {WITHOUT_ROWID}) ORDER BY t.name, i.name",
    ))?;
    let rows = statement.query_map([], |row| Ok(Rebuildable { name: row.get(0)?, table: row.get(1)? }))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Whether an index, or any of a table, is in the order of a collation or of the values of an expression. An application
/// may have its own under SQLite's names (HAZARDS H34): what is wrong here may be right there.
pub fn is_relative(connection: &Connection, table: &str, index: Option<&str>) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pragma_index_list(?1) AS i JOIN pragma_index_xinfo(i.name) AS c \
               WHERE c.key AND (c.coll <> 'BINARY' COLLATE NOCASE OR c.cid = -2) AND i.name = ifnull(?2, i.name))";
    Ok(connection.query_row(sql, (table, index), |row| row.get(0))?)
}

/// Rebuilds one index, in an open transaction.
pub fn rebuild(transaction: &Connection, index: &str) -> Result<()> {
    Ok(transaction.execute_batch(&format!("REINDEX main.{}", quoted(index)))?)
}

/// What a full check of its table says of an index that was rebuilt; `damaged` where it does not agree, or the pages are
/// not in order. What is wrong with the rows, or with another index, is not this one's.
pub fn judge(index: &Rebuildable, found: &Found) -> Result<()> {
    let Rebuildable { name, table } = index;
    let damaged = |text: String| Err(Error::new(Reason::Damaged, text));
    if let Some(first) = found.structure.first() {
        return damaged(format!("the integrity check of table {table} still says: {first}"));
    }
    if found.indexes.contains(name) {
        return damaged(format!("the index {name} still does not agree with table {table}"));
    }
    if found.is_cut_off {
        return damaged(format!(
            "so much is wrong with table {table} that its check ended before it had seen all of the index {name}"
        ));
    }
    Ok(())
}

/// Checks an index with its table, as [`judge`] has it.
pub fn check(connection: &Connection, index: &Rebuildable) -> Result<()> {
    judge(index, &checks::integrity(connection, Depth::Full, Some(&index.table))?)
}
