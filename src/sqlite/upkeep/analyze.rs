//! Refreshes the planner's statistics of single tables, without leaving kinds of statistics in the
//! file that were not there before (HAZARDS H25).

use rusqlite::Connection;

use crate::error::{Error, Reason, Result};
use crate::sql::quoting::quoted;
use crate::sqlite::look::schema::{indexes, sql_of, tables};
use crate::sqlite::look::{names, refused};

/// Rows of an index that are looked at before ANALYZE estimates the rest: what `PRAGMA optimize`
/// sets for itself (SQLITE_DEFAULT_OPTIMIZE_LIMIT).
const ESTIMATE: u32 = 2000;

/// No limit: every row is looked at.
const EXACT: u32 = 0;

/// The tables whose statistics SQLite finds missing, or off by a factor of ten: asks
/// `PRAGMA optimize` what it would do (bit 1) on all tables (bit 0x10000), for it knows nothing of
/// the application's queries. Empty tables have no statistics to refresh.
///
/// The connection must be new: SQLite compares with the statistics that it read when it read the
/// schema. And it must be for nothing else: a collation that only the application has gets a
/// stand-in, without which one table would end the look at all. Nothing is put in its order, for
/// the look counts pages. Errors: `unsupported` where SQLite does not read all of the schema, and so
/// no statistics.
pub fn due(connection: &Connection) -> Result<Vec<String>> {
    if let Some(first) = refused::all(connection)?.first() {
        let text = format!(
            "which statistics are due cannot be told, as SQLite reads none where it does not read all of a schema ({})",
            first.error.message
        );
        return Err(Error::new(Reason::Unsupported, text));
    }
    connection.collation_needed(|connection, name| connection.create_collation(name, str::cmp))?;
    let mut statement = connection.prepare("PRAGMA main.optimize(0x10003)")?;
    let planned =
        statement.query_map([], |row| names::shown(row, 0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    let mut due = Vec::new();
    for table in tables(connection)? {
        let name = quoted(&table.name);
        if planned.contains(&format!("ANALYZE \"main\".{name}"))
            && connection.prepare(&format!("SELECT 1 FROM main.{name}"))?.exists([])?
        {
            due.push(table.name);
        }
    }
    Ok(due)
}

/// Whether the application's statistics have samples of rows (`sqlite_stat4`).
pub fn has_samples(connection: &Connection) -> Result<bool> {
    Ok(sql_of(connection, "sqlite_stat4")?.is_some())
}

/// What to refresh one after the other, so that all of a table is refreshed by an estimate and no
/// part takes longer than it must: a SQLite with STAT4 counts all entries of each index whatever
/// the limit is. The indexes, where their statistics are all that the table has; otherwise the
/// table itself.
pub fn parts(connection: &Connection, table: &str) -> Result<Vec<String>> {
    // Of a table without rowids, those of the primary key are kept under the table's name.
    let is_keyed = tables(connection)?.iter().any(|known| known.name == table && known.without_rowid);
    let indexes = indexes(connection, table)?;
    // The number of rows is kept apart where no index tells it.
    let is_told = indexes.iter().any(|index| !index.partial);
    let list = "SELECT name FROM pragma_index_list(?1)";
    // With the table, one that no statement can name is refreshed as well.
    let has_others = !names::unspeakable(connection, list, [table])?.is_empty();
    if is_keyed || !is_told || has_others || has_count_of_its_own(connection, table)? {
        return Ok(vec![table.to_owned()]);
    }
    Ok(indexes.into_iter().map(|index| index.name).collect())
}

fn has_count_of_its_own(connection: &Connection, table: &str) -> Result<bool> {
    let count = "SELECT 1 FROM main.sqlite_stat1 WHERE tbl = ?1 COLLATE NOCASE AND idx IS NULL";
    Ok(sql_of(connection, "sqlite_stat1")?.is_some() && connection.prepare(count)?.exists([table])?)
}

/// Refreshes the statistics of one table or index in an open transaction: by an estimate, or by a
/// look at every row.
///
/// Our SQLite also samples rows into `sqlite_stat4`, and creates that table where it is missing; an
/// application's SQLite may not know it. It is dropped again in the same transaction, so that
/// nobody ever sees it. Where it exists it is kept up to date, which takes a full look: with a
/// limit SQLite would only empty it.
pub fn analyze(transaction: &Connection, what: &str, exactly: bool) -> Result<()> {
    let samples = has_samples(transaction)?;
    transaction.pragma_update(None, "analysis_limit", if samples || exactly { EXACT } else { ESTIMATE })?;
    transaction.execute_batch(&format!("ANALYZE main.{}", quoted(what)))?;
    if !samples {
        transaction.execute_batch("DROP TABLE IF EXISTS main.sqlite_stat4")?;
    }
    Ok(())
}
