//! Rebuilds indexes, and tells whether one is right (HAZARDS H9, H16). One index at a time: whoever calls sets the
//! limit for which writers may be held up.

use rusqlite::Connection;

use super::schema::quoted;
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
    let mut statement = connection.prepare(
        "SELECT i.name, t.name FROM pragma_table_list AS t JOIN pragma_index_list(t.name, 'main') AS i \
         WHERE t.schema = 'main' AND t.type = 'table' AND NOT (t.wr AND i.origin = 'pk') \
           AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY t.name, i.name",
    )?;
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

/// Rebuilds one index.
pub fn rebuild(connection: &Connection, index: &str) -> Result<()> {
    Ok(connection.execute_batch(&format!("REINDEX main.{}", quoted(index)))?)
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
