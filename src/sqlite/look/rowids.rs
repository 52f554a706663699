//! Which tables lose their rowids to a VACUUM (HAZARDS H7). Reads the schema, and of such a table
//! whether it has a row.

use rusqlite::Connection;

use super::names;
use super::schema::WITHOUT_ROWID;
use crate::error::Result;
use crate::sql::quoting::quoted;

/// The tables whose rowids VACUUM gives out anew: those with neither an INTEGER PRIMARY KEY nor any
/// index (`xferOptimization` in SQLite's insert.c). Whatever refers to such a rowid, an FTS5
/// external-content table for one, points at another row afterwards. Tables that virtual tables
/// keep their content in count as well. An empty table has no rowid to lose.
pub fn renumbered_by_vacuum(connection: &Connection) -> Result<Vec<String>> {
    // A primary key without an index, in a table that is not WITHOUT ROWID, is the rowid itself.
    let mut statement = connection.prepare(&format!(
        "SELECT name FROM main.sqlite_schema AS t \
         WHERE type = 'table' AND rootpage > 0 AND NOT {WITHOUT_ROWID} \
           AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
           AND NOT EXISTS (SELECT 1 FROM pragma_index_list(t.name, 'main')) \
           AND NOT EXISTS (SELECT 1 FROM pragma_table_info(t.name, 'main') WHERE pk > 0) \
         ORDER BY name",
    ))?;
    let rows = statement.query_map([], |row| Ok((names::name(row, 0)?, names::shown(row, 0)?)))?;
    let mut renumbered = Vec::new();
    for row in rows {
        let (name, shown) = row?;
        // One that no statement can name may well have rows.
        let is_full = name.map(|name| has_rows(connection, &name)).transpose()?.unwrap_or(true);
        if is_full {
            renumbered.push(shown);
        }
    }
    Ok(renumbered)
}

fn has_rows(connection: &Connection, table: &str) -> Result<bool> {
    Ok(connection.prepare(&format!("SELECT 1 FROM main.{}", quoted(table)))?.exists([])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_tables_that_have_nothing_but_a_hidden_rowid() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE bare (a);
                 CREATE TABLE own_key (id INTEGER PRIMARY KEY, a);
                 CREATE TABLE text_key (id TEXT PRIMARY KEY);
                 CREATE TABLE descending (id INTEGER PRIMARY KEY DESC);
                 CREATE TABLE is_unique (a UNIQUE);
                 CREATE TABLE indexed (a); CREATE INDEX i ON indexed (a);
                 CREATE TABLE keyed (a PRIMARY KEY) WITHOUT ROWID;
                 CREATE VIEW seen AS SELECT a FROM bare;
                 CREATE VIRTUAL TABLE words USING fts5 (a, content = 'bare');
                 CREATE VIRTUAL TABLE more USING fts4 (a);
                 CREATE TABLE empty (a);
                 INSERT INTO bare VALUES (1); INSERT INTO indexed VALUES (1); INSERT INTO more VALUES ('a');
                 ANALYZE;",
            )
            .unwrap();
        assert_eq!(renumbered_by_vacuum(&connection).unwrap(), ["bare"]);
    }
}
