//! How rows are named and found: the rowid or the primary key of a table, the order of an index,
//! and a set of rows as a condition. Builds SQL and reads schemas; changes nothing.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::names;
use super::schema::Table;
use crate::error::{Error, Reason, Result};
use crate::sql::quoting::quoted;

/// The values that name one row: its rowid, or its primary key in a WITHOUT ROWID table.
pub type Key = Vec<Value>;

/// The columns that name a row, quoted for SQL: an alias of the rowid that no column hides, or the
/// primary key of a WITHOUT ROWID table, whose columns are never NULL
/// (<https://www.sqlite.org/withoutrowid.html>).
pub fn key(connection: &Connection, table: &Table) -> Result<Vec<String>> {
    if table.without_rowid {
        return Ok(primary_key(connection, &table.name)?.iter().map(|name| quoted(name)).collect());
    }
    let columns = all_columns(connection, &table.name)?;
    ["rowid", "_rowid_", "oid"]
        .iter()
        .find(|alias| !columns.iter().any(|column| column.eq_ignore_ascii_case(alias)))
        .map(|alias| vec![(*alias).to_owned()])
        .ok_or_else(|| {
            let table = &table.name;
            Error::new(
                Reason::Unsupported,
                format!("{table} has columns named rowid, _rowid_ and oid, so that its rows cannot be named"),
            )
        })
}

/// The columns of a table's primary key, in the key's order. Errors: `unsupported` where no
/// statement can name one of them.
pub fn primary_key(connection: &Connection, table: &str) -> Result<Vec<String>> {
    let sql = "SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk";
    speakable(connection, sql, table)?;
    names::all(connection, sql, [table])
}

/// All columns, generated ones included, but for those that no statement can name.
pub fn all_columns(connection: &Connection, table: &str) -> Result<Vec<String>> {
    names::all(connection, COLUMNS, [table])
}

/// The same, where none may be left out. Errors: `unsupported` with the one that no statement can
/// name.
pub fn every_column(connection: &Connection, table: &str) -> Result<Vec<String>> {
    speakable(connection, COLUMNS, table)?;
    all_columns(connection, table)
}

const COLUMNS: &str = "SELECT name FROM pragma_table_xinfo(?1)";

fn speakable(connection: &Connection, sql: &str, table: &str) -> Result<()> {
    match names::unspeakable(connection, sql, [table])?.first() {
        Some(shown) => Err(names::not_utf8("column", &format!("{table}.{shown}"))),
        None => Ok(()),
    }
}

/// Whether the table itself has its rows in the order of `column`: its INTEGER PRIMARY KEY, or the
/// first column of the key of a WITHOUT ROWID table.
pub fn is_in_order_of(connection: &Connection, table: &Table, column: &str) -> Result<bool> {
    if table.without_rowid {
        return Ok(primary_key(connection, &table.name)?
            .first()
            .is_some_and(|first| first.eq_ignore_ascii_case(column)));
    }
    // Only the rowid has no index of its own: INTEGER PRIMARY KEY DESC has one.
    let sql = "SELECT EXISTS (SELECT 1 FROM pragma_table_info(?1) WHERE pk > 0 AND name = ?2 COLLATE NOCASE) \
               AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk')";
    Ok(connection.query_row(sql, (&table.name, column), |row| row.get(0))?)
}

/// An index that holds every row in the binary order of `column`, and can be walked: the one with
/// the fewest columns. One of expressions, or in an order that only the application knows, cannot.
pub fn index_in_order_of(connection: &Connection, table: &str, column: &str) -> Result<Option<String>> {
    // The primary key of a WITHOUT ROWID table is listed as an index but cannot be named in INDEXED
    // BY.
    let mut statement = connection.prepare(
        "SELECT l.name FROM pragma_index_list(?1) AS l JOIN pragma_index_xinfo(l.name) AS x \
         WHERE l.partial = 0 AND l.origin <> 'pk' AND x.seqno = 0 AND x.coll = 'BINARY' \
           AND x.name = ?2 COLLATE NOCASE \
           AND NOT EXISTS (SELECT 1 FROM pragma_index_xinfo(l.name) AS other \
             WHERE other.cid = -2 OR upper(other.coll) NOT IN ('BINARY', 'NOCASE', 'RTRIM')) \
         ORDER BY (SELECT count(*) FROM pragma_index_xinfo(l.name)), l.name",
    )?;
    let mut rows = statement.query([table, column])?;
    while let Some(row) = rows.next()? {
        if let Some(index) = names::name(row, 0)?
            && speakable(connection, "SELECT name FROM pragma_index_xinfo(?1)", &index).is_ok()
        {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

/// A column of an order, as SQL names it behind a table's alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// Its name.
    pub column: String,
    /// With its collation, where it has one.
    pub sql: String,
    /// From large to small.
    pub is_descending: bool,
}

/// In which order an index has the rows of a table, or without one the table itself, down to what
/// names a single row; turned round where that makes the first column ascend. `key` names the rows.
pub fn order_of(
    connection: &Connection,
    table: &Table,
    index: Option<&str>,
    key: &[String],
) -> Result<Vec<Term>> {
    let (sql, name) = match index {
        Some(index) => ("SELECT cid, name, coll, \"desc\" FROM pragma_index_xinfo(?1) ORDER BY seqno", index),
        // Of a primary key that is the table only its own columns are in order.
        None if table.without_rowid => (
            "SELECT x.cid, x.name, x.coll, x.\"desc\" FROM pragma_index_list(?1) AS l \
             JOIN pragma_index_xinfo(l.name) AS x WHERE l.origin = 'pk' AND x.key ORDER BY x.seqno",
            table.name.as_str(),
        ),
        None => {
            let term = |sql: &String| Term { column: sql.clone(), sql: sql.clone(), is_descending: false };
            return Ok(key.iter().map(term).collect());
        }
    };
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([name])?;
    let mut terms = Vec::new();
    while let Some(row) = rows.next()? {
        let (column, sql) = if row.get::<_, i64>(0)? < 0 {
            (key.concat(), key.concat())
        } else {
            let Some(column) = names::name(row, 1)? else {
                let shown = format!("{}.{}", table.name, names::shown(row, 1)?);
                return Err(names::not_utf8("the column", &shown));
            };
            let column = quoted(&column);
            let sql = format!("{column} COLLATE {}", quoted(&row.get::<_, String>(2)?));
            (column, sql)
        };
        terms.push(Term { column, sql, is_descending: row.get(3)? });
    }
    if terms.first().is_some_and(|first| first.is_descending) {
        for term in &mut terms {
            term.is_descending = !term.is_descending;
        }
    }
    Ok(terms)
}

/// Rows looked up by one statement: far below SQLite's limits on variables and on the depth of an
/// expression.
const ROWS_PER_STATEMENT: usize = 256;

/// Some of `rows` at a time, as a number of rows for [`among`] and the values to bind. The last row
/// is repeated up to a power of two, so that few statements serve any number of rows, and stay
/// prepared.
pub fn chunks(rows: &[Key]) -> impl Iterator<Item = (usize, impl Iterator<Item = &Value>)> {
    rows.chunks(ROWS_PER_STATEMENT).map(|chunk| {
        let padded = chunk.len().next_power_of_two();
        let last = chunk.last().into_iter().cycle();
        (padded, chunk.iter().chain(last).take(padded).flatten())
    })
}

/// A condition that holds for `rows` rows whose keys are bound in order, and that looks each of
/// them up. `prefix` is the table's alias with its dot, or empty.
pub fn among(prefix: &str, key: &[String], rows: usize) -> String {
    if let [column] = key {
        return format!("{prefix}{column} IN (VALUES {})", vec!["(?)"; rows].join(", "));
    }
    // A row value IN (VALUES …) is planned as a scan of the whole table; OR is looked up term by
    // term.
    let one = key.iter().map(|column| format!("{prefix}{column} = ?")).collect::<Vec<_>>().join(" AND ");
    format!("({})", vec![one; rows].join(" OR "))
}
