//! Rebuilds indexes, and tells whether one is right (HAZARDS H9, H16). One index at a time: whoever
//! calls sets the limit for which writers may be held up.

use rusqlite::Connection;

use crate::error::{Error, Reason, Result};
use crate::sql::quoting::quoted;
use crate::sqlite::checks::{self, Found};
use crate::sqlite::look::names;
use crate::sqlite::look::schema::{ORDINARY, WITHOUT_ROWID};

/// An index and its table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuildable {
    /// The index.
    pub name: String,
    /// The table.
    pub table: String,
}

/// Every index that can be rebuilt, by table. The primary key of a table WITHOUT ROWID cannot: it
/// is the table; nor can one that no statement can name.
pub fn rebuildable(connection: &Connection) -> Result<Vec<Rebuildable>> {
    let mut statement = connection.prepare(&format!(
        "SELECT i.name, t.name FROM main.sqlite_schema AS t JOIN pragma_index_list(t.name, 'main') AS i \
         WHERE {ORDINARY} AND NOT (i.origin = 'pk' AND {WITHOUT_ROWID}) ORDER BY t.name, i.name",
    ))?;
    let rows = statement.query_map([], |row| Ok((names::name(row, 0)?, names::name(row, 1)?)))?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(rows
        .into_iter()
        .filter_map(|(name, table)| Some(Rebuildable { name: name?, table: table? }))
        .collect())
}

/// Of how many rows an index has other values than the rows themselves, and how many of its entries
/// have a row. `None` where it cannot be told: it is partial, has no column of its own, or needs
/// what only the application has.
///
/// Reads the index from start to end, and each row.
pub fn differing(connection: &Connection, index: &str) -> Result<Option<(u64, u64)>> {
    let texts = |sql: &str, name: &str| names::all(connection, sql, [name]);
    let Some(table) = checks::table_of(connection, index)? else { return Ok(None) };
    let own = "SELECT name FROM pragma_index_xinfo(?1) WHERE key AND cid >= 0";
    if !names::unspeakable(connection, own, [index])?.is_empty() {
        return Ok(None);
    }
    let columns = texts(own, index)?;
    let without_rowid = format!(
        "SELECT t.name FROM main.sqlite_schema AS t WHERE t.name = ?1 COLLATE NOCASE AND {WITHOUT_ROWID}"
    );
    let mut keys = vec![String::from("rowid")];
    if !texts(&without_rowid, &table)?.is_empty() {
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

/// Whether an index, or any of a table, is in the order of a collation or of the values of an
/// expression. An application may have its own under SQLite's names (HAZARDS H34): what is wrong
/// here may be right there.
pub fn is_relative(connection: &Connection, table: &str, index: Option<&str>) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pragma_index_list(?1) AS i JOIN pragma_index_xinfo(i.name) AS c \
               WHERE c.key AND (c.coll <> 'BINARY' COLLATE NOCASE OR c.cid = -2) AND i.name = ifnull(?2, i.name))";
    Ok(connection.query_row(sql, (table, index), |row| row.get(0))?)
}

/// Rebuilds one index, in an open transaction.
pub fn rebuild(transaction: &Connection, index: &str) -> Result<()> {
    Ok(transaction.execute_batch(&format!("REINDEX main.{}", quoted(index)))?)
}

/// What a full check of its table says of an index that was rebuilt; `damaged` where it does not
/// agree, or the pages are not in order. What is wrong with the rows, or with another index, is not
/// this one's.
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
