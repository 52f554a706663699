//! How many bytes and rows each table has. Each question is a statement of its own, so that no read
//! transaction is longer than one tree (HAZARDS H11).

use rusqlite::Connection;

use super::names;
use crate::error::{Error, Reason, Result};
use crate::sql::quoting::quoted;

/// A table's rows or one of its indexes: a tree of pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Its own name.
    pub name: String,
    /// The table that it belongs to, which is itself for the rows.
    pub table: String,
}

/// The trees of the application's tables, those that virtual tables keep included, by table, but
/// for those that no statement can name.
pub fn trees(connection: &Connection) -> Result<Vec<Tree>> {
    let mut statement = connection.prepare(
        "SELECT name, tbl_name FROM main.sqlite_schema \
         WHERE rootpage > 0 AND tbl_name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY tbl_name, name",
    )?;
    let rows = statement.query_map([], |row| Ok((names::name(row, 0)?, names::name(row, 1)?)))?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(rows.into_iter().filter_map(|(name, table)| Some(Tree { name: name?, table: table? })).collect())
}

/// Bytes of a tree's pages, its overflow pages included. Reads each of them
/// (<https://www.sqlite.org/dbstat.html>).
pub fn bytes(connection: &Connection, tree: &str) -> Result<u64> {
    let sql = "SELECT coalesce(sum(pgsize), 0) FROM dbstat('main') WHERE name = ?1 AND aggregate = TRUE";
    Ok(connection.query_row(sql, [tree], |row| row.get(0))?)
}

/// The same without the room on them that rows have left, which new rows fill and VACUUM gives
/// back.
pub fn content_bytes(connection: &Connection, tree: &str) -> Result<u64> {
    let sql =
        "SELECT coalesce(sum(pgsize - unused), 0) FROM dbstat('main') WHERE name = ?1 AND aggregate = TRUE";
    Ok(connection.query_row(sql, [tree], |row| row.get(0))?)
}

/// Rows of a table. SQLite counts the entries of its smallest index, or, where that needs a
/// collation that only the application has, the rows themselves.
pub fn rows(connection: &Connection, table: &str) -> Result<u64> {
    let count = |how: &str| -> Result<u64> {
        let sql = format!("SELECT count(*) FROM main.{} {how}", quoted(table));
        connection.query_row(&sql, [], |row| row.get(0)).map_err(Error::from)
    };
    count("").or_else(|error| match error.reason {
        Reason::Unsupported => count("NOT INDEXED"),
        _ => Err(error),
    })
}
