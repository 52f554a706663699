//! How many bytes and rows each table has. Each question is a statement of its own, so that no read
//! transaction is longer than one tree (HAZARDS H11).

use rusqlite::Connection;

use super::names::{self, Stored};
use crate::error::{Error, Reason, Result};
use crate::sql::quoting::quoted;

/// A table's rows or one of its indexes: a tree of pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Its own name, as it is shown.
    pub name: String,
    /// The table that it belongs to, which is itself for the rows.
    pub table: String,
    /// A statement can have the table's name.
    pub is_speakable: bool,
    /// Its own name, as it is stored.
    stored: Stored,
}

/// The trees of the application's tables, those that virtual tables keep included, by table.
pub fn trees(connection: &Connection) -> Result<Vec<Tree>> {
    let mut statement = connection.prepare(
        "SELECT name, tbl_name FROM main.sqlite_schema \
         WHERE rootpage > 0 AND tbl_name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY tbl_name, name",
    )?;
    let rows = statement.query_map([], |row| {
        let stored = Stored::of(row, 0)?;
        let is_speakable = names::name(row, 1)?.is_some();
        Ok(Tree { name: names::shown(row, 0)?, table: names::shown(row, 1)?, is_speakable, stored })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Bytes of a tree's pages, its overflow pages included. Reads each of them
/// (<https://www.sqlite.org/dbstat.html>).
pub fn bytes(connection: &Connection, tree: &Tree) -> Result<u64> {
    measured(connection, tree, "pgsize")
}

/// The same without the room on them that rows have left, which new rows fill and VACUUM gives
/// back.
pub fn content_bytes(connection: &Connection, tree: &Tree) -> Result<u64> {
    measured(connection, tree, "pgsize - unused")
}

fn measured(connection: &Connection, tree: &Tree, what: &str) -> Result<u64> {
    let sql =
        format!("SELECT coalesce(sum({what}), 0) FROM dbstat('main') WHERE name = ?1 AND aggregate = TRUE");
    Ok(connection.query_row(&sql, [&tree.stored], |row| row.get(0))?)
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
