//! What a statement of upkeep needs that only the application has, told before it is tried: SQLite
//! compiles the statement, and finds what is missing (HAZARDS H16). Must never run one.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::error::{Error, Reason, Result};
use crate::sql::quoting::quoted;

/// What `sql` lacks, where it lacks something. Any other mistake in it is told when it is run.
pub fn lacking(connection: &Connection, sql: &str) -> Option<Error> {
    let error = Error::from(connection.prepare(sql).err()?);
    (error.reason == Reason::Unsupported).then_some(error)
}

/// What ANALYZE of a table lacks.
pub fn of_analyze(connection: &Connection, table: &str) -> Option<Error> {
    lacking(connection, &format!("ANALYZE main.{}", quoted(table)))
}

/// What the rebuilding of an index lacks.
pub fn of_reindex(connection: &Connection, index: &str) -> Option<Error> {
    lacking(connection, &format!("REINDEX main.{}", quoted(index)))
}

/// What VACUUM lacks, one for each table or index: it makes each of them anew by its text
/// (`sqlite3RunVacuum` in vacuum.c). Views and triggers are copied as they are.
pub fn of_vacuum(connection: &Connection) -> Result<Vec<Error>> {
    // Without tables of its own, so that a text can be compiled as if it were new.
    let empty = Connection::open_in_memory()?;
    empty.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    let mut entries = connection.prepare(
        "SELECT type, name, sql FROM main.sqlite_schema WHERE type IN ('table', 'index') AND rootpage > 0 \
         AND sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type DESC, name",
    )?;
    let mut entries = entries.query([])?;
    let mut lacks = Vec::new();
    while let Some(entry) = entries.next()? {
        let (kind, name): (String, String) = (entry.get(0)?, entry.get(1)?);
        let lack = match kind.as_str() {
            "table" => lacking(&empty, &entry.get::<_, String>(2)?),
            _ => of_reindex(connection, &name),
        };
        lacks.extend(lack.map(|error| error.context(format!("{kind} {name}"))));
    }
    Ok(lacks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::functions::FunctionFlags;

    /// A database whose application has a collation and a function.
    fn opened(path: &std::path::Path) -> Connection {
        let theirs = Connection::open(path).unwrap();
        theirs.create_collation("ours", str::cmp).unwrap();
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
        theirs.create_scalar_function("half", 1, flags, |_| Ok(1)).unwrap();
        theirs
            .execute_batch(
                "CREATE TABLE plain (id INTEGER PRIMARY KEY, a UNIQUE, b TEXT COLLATE nocase);
                 CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, a INT);
                 CREATE TABLE kept (a PRIMARY KEY, b AS (a + 1) STORED) WITHOUT ROWID;
                 CREATE INDEX fine ON plain (b, lower(a)) WHERE a IS NOT NULL;
                 CREATE VIRTUAL TABLE words USING fts5 (a);
                 CREATE TABLE ordered (id INTEGER PRIMARY KEY, a TEXT COLLATE ours);
                 CREATE TABLE checked (id INTEGER PRIMARY KEY, a CHECK (half(a) > 0));
                 CREATE INDEX halves ON plain (half(a));
                 INSERT INTO plain (a) VALUES (1), (2); ANALYZE",
            )
            .unwrap();
        drop(theirs);
        Connection::open(path).unwrap()
    }

    #[test]
    fn what_vacuum_lacks_is_what_it_fails_for() {
        let base = tempfile::tempdir().unwrap();
        let connection = opened(&base.path().join("a.db"));
        let mut lacks = of_vacuum(&connection).unwrap();
        lacks.sort_by(|a, b| a.message.cmp(&b.message));
        let names: Vec<_> = lacks.iter().map(|lack| lack.message.split(':').next().unwrap()).collect();
        assert_eq!(names, ["index halves", "table checked", "table ordered"]);
        for (name, drop) in
            [("ordered", "TABLE ordered"), ("checked", "TABLE checked"), ("halves", "INDEX halves")]
        {
            connection.execute_batch("VACUUM").unwrap_err();
            connection.execute_batch(&format!("DROP {drop}")).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        assert!(of_vacuum(&connection).unwrap().is_empty());
        connection.execute_batch("VACUUM").unwrap();
    }

    #[test]
    fn what_analyze_and_reindex_lack_is_what_they_fail_for_and_nothing_is_done() {
        let base = tempfile::tempdir().unwrap();
        let connection = opened(&base.path().join("a.db"));
        connection.execute_batch("CREATE TABLE bare (a)").unwrap();
        for table in ["plain", "counted", "kept", "ordered", "checked", "bare", "words"] {
            let fails = connection.execute_batch(&format!("ANALYZE main.{table}")).is_err();
            assert_eq!(of_analyze(&connection, table).is_some(), fails, "{table}");
        }
        assert!(of_reindex(&connection, "halves").is_some() && of_reindex(&connection, "fine").is_none());
        // Compiled, and not run.
        connection.execute_batch("DROP TABLE sqlite_stat1").unwrap();
        assert!(of_analyze(&connection, "kept").is_none());
        let is_there = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1')";
        assert!(!connection.query_row(is_there, [], |row| row.get::<_, bool>(0)).unwrap());
    }
}
