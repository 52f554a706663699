//! Rebuilds indexes, and tells whether one is right (HAZARDS H9, H16). One index at a time: whoever calls sets the
//! limit for which writers may be held up.

use rusqlite::Connection;

use super::checks;
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

/// Of how many rows an index has other values than the rows themselves, and how many of its entries have a row. `None`
/// where it cannot be told: it is partial, has no column of its own, or needs what only the application has.
///
/// Reads the index from start to end, and each row.
pub fn differing(connection: &Connection, index: &str) -> Result<Option<(u64, u64)>> {
    let texts = |sql: &str, name: &str| -> Result<Vec<String>> {
        let mut statement = connection.prepare(sql)?;
        Ok(statement.query_map([name], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
    };
    let Some(table) = checks::table_of(connection, index)? else { return Ok(None) };
    let columns = texts("SELECT name FROM pragma_index_xinfo(?1) WHERE key AND cid >= 0", index)?;
    let without_rowid =
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND wr AND name = ?1 COLLATE NOCASE";
    let mut keys = vec![String::from("rowid")];
    if !texts(without_rowid, &table)?.is_empty() {
        keys = texts("SELECT name FROM pragma_table_info(?1) WHERE pk > 0", &table)?;
    } else if texts("SELECT name FROM pragma_table_xinfo(?1)", &table)?
        .iter()
        .any(|c| c.eq_ignore_ascii_case("rowid"))
    {
        return Ok(None);
    }
    if columns.is_empty() {
        return Ok(None);
    }
    let all = |names: &[String], sign: &str, end: &str, between: &str| {
        let one = |name: &String| format!("row.{0} {sign} entry.{0}{end}", quoted(name));
        names.iter().map(one).collect::<Vec<_>>().join(between)
    };
    let sql = format!(
        "SELECT count(*), count(iif({}, 1, NULL)) FROM main.{table} AS entry INDEXED BY {} CROSS JOIN main.{table} AS row ON {}",
        all(&columns, "IS NOT", " COLLATE BINARY", " OR "),
        quoted(index),
        all(&keys, "=", "", " AND "),
        table = quoted(&table)
    );
    match connection.query_row(&sql, [], |row| Ok((row.get(1)?, row.get(0)?))).map_err(Error::from) {
        Ok(count) => Ok(Some(count)),
        Err(error) if checks::cannot_be_done(&error) => Ok(None),
        Err(error) => Err(error),
    }
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
