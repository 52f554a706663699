//! Rebuilds indexes, and tells whether one is right (HAZARDS H9, H16). One index at a time: whoever calls sets the
//! limit for which writers may be held up.

use rusqlite::Connection;

use super::checks::Found;
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

/// Rebuilds one index.
pub fn rebuild(connection: &Connection, index: &str) -> Result<()> {
    Ok(connection.execute_batch(&format!("REINDEX main.{}", quoted(index)))?)
}

/// What a full check of its table says of an index that was rebuilt; what is wrong with either is the error, `damaged`.
pub fn judge(index: &Rebuildable, found: &Found) -> Result<()> {
    let Some(first) = found.structure.first().or(found.rows.first()).or(found.indexes.first()) else {
        return Ok(());
    };
    let text = format!("the integrity check of table {} still finds something: {first}", index.table);
    Err(Error::new(Reason::Damaged, text))
}

/// Checks an index with its table; what is wrong with either is the error, `damaged`.
pub fn check(connection: &Connection, index: &Rebuildable) -> Result<()> {
    let sql = format!("PRAGMA main.integrity_check({})", quoted(&index.table));
    let mut statement = connection.prepare(&sql)?;
    let mut lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    match lines.next().transpose()? {
        None => Ok(()),
        Some(line) if line == "ok" => Ok(()),
        Some(line) => Err(Error::new(
            Reason::Damaged,
            format!("the integrity check of table {} still says: {line}", index.table),
        )),
    }
}
