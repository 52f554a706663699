//! A query that the operator gave: refused unless all it does is read, its parameters bound by
//! name.

use rusqlite::types::Value;
use rusqlite::{Connection, Statement};

use crate::error::{Cause, Error, Reason, Result};

/// Values of named parameters, without the sign before the name.
pub type Values = [(String, Value)];

/// Prepares one SELECT, VALUES or WITH that writes nothing, with its values. Errors: `refused`,
/// `config` for parameters without a value, and whatever SQLite has against it.
pub fn prepare<'c>(connection: &'c Connection, sql: &str, values: &Values) -> Result<Statement<'c>> {
    let mut statement = connection.prepare(sql)?;
    // SQLite calls BEGIN, ATTACH and some PRAGMAs read-only as well: they do not write to the file
    // themselves.
    if !statement.readonly() || !is_query(sql) || optimizes(sql) {
        return Err(Error::new(
            Reason::Refused,
            "it is not a query that only reads; give one SELECT, or WITH … SELECT",
        ));
    }
    bind(&mut statement, values)?;
    Ok(statement)
}

/// Binds each parameter of the statement. SQLite would take one without a value for NULL, and
/// nobody would see why the query finds nothing.
pub(super) fn bind(statement: &mut Statement<'_>, values: &Values) -> Result<()> {
    let names = (1..=statement.parameter_count())
        .map(|index| statement.parameter_name(index).map(str::to_owned))
        .collect::<Vec<_>>();
    for (index, name) in (1..).zip(&names) {
        let plain = name.as_deref().and_then(|name| name.strip_prefix([':', '@', '$']));
        let Some(plain) = plain else {
            return Err(Error::new(
                Reason::Config,
                format!("parameter {index} has no name; write it as :name"),
            ));
        };
        let Some((_, value)) = values.iter().find(|(name, _)| name == plain) else {
            return Err(Error::new(
                Reason::Config,
                format!("parameter :{plain} has no value; add it to params"),
            ));
        };
        statement.raw_bind_parameter(index, value)?;
    }
    Ok(())
}

/// Steps through all rows and keeps none; gives their number.
pub fn drain(statement: &mut Statement<'_>) -> Result<u64> {
    let mut rows = statement.raw_query();
    let mut count = 0;
    while rows.next().map_err(|error| without_column(error.into()))?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// Of a query that runs, the columns are known: one that is not there stands in a text that FTS5
/// searches for.
fn without_column(error: Error) -> Error {
    if error.cause() != Some(&Cause::NoSuchColumn) {
        return error;
    }
    Error::new(
        error.reason,
        "MATCH takes what stands before a colon or a hyphen for a column, and there is none of that name",
    )
}

/// Of the pragmas that can be called as a table, this one runs ANALYZE; SQLite calls the SELECT
/// read-only all the same. In a view it is refused as unsafe (`trusted_schema`).
fn optimizes(sql: &str) -> bool {
    sql.to_ascii_lowercase().contains("pragma_optimize")
}

fn is_query(sql: &str) -> bool {
    ["SELECT", "VALUES", "WITH"].iter().any(|query| first_word(sql).eq_ignore_ascii_case(query))
}

/// Whether SQLite plans it: a query or a change of rows.
pub(super) fn has_plan(sql: &str) -> bool {
    let changes = ["INSERT", "REPLACE", "UPDATE", "DELETE"];
    is_query(sql) || changes.iter().any(|change| first_word(sql).eq_ignore_ascii_case(change))
}

fn first_word(sql: &str) -> &str {
    without_comments(sql).split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default()
}

/// The text from its first word on.
fn without_comments(sql: &str) -> &str {
    let text = sql.trim_start();
    let after = if text.starts_with("--") {
        text.split_once('\n')
    } else if text.starts_with("/*") {
        text.split_once("*/")
    } else {
        None
    };
    after.map_or(text, |(_, rest)| without_comments(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_what_reads_and_refuses_the_rest() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (a)").unwrap();
        let reason = |sql: &str| prepare(&connection, sql, &[]).map(|_| ()).map_err(|e| e.reason);
        for sql in ["SELECT 1", " -- x\n/* y */ with c AS (SELECT 1) SELECT * FROM c", "VALUES (1)"] {
            assert_eq!(reason(sql), Ok(()), "{sql}");
        }
        for sql in [
            "DELETE FROM t",
            "WITH c AS (SELECT 1) INSERT INTO t SELECT * FROM c",
            "BEGIN IMMEDIATE",
            "ATTACH 'x' AS y",
            "PRAGMA journal_mode = wal",
            "VACUUM",
            "/* SELECT */ PRAGMA optimize",
            "",
        ] {
            assert_eq!(reason(sql), Err(Reason::Refused), "{sql}");
        }
        assert!(reason("SELECT 1; SELECT 2").is_err());
    }

    #[test]
    fn a_select_that_would_analyze_is_refused_and_in_a_view_unsafe() {
        let connection = Connection::open_in_memory().unwrap();
        connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE t (a); CREATE INDEX i ON t (a); CREATE VIEW v AS SELECT * FROM pragma_optimize(65538);
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) INSERT INTO t SELECT i FROM n",
            )
            .unwrap();
        let tables = || -> i64 {
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap()
        };
        for sql in ["SELECT * FROM [Pragma_Optimize](65538)", "SELECT * FROM v"] {
            prepare(&connection, sql, &[]).and_then(|mut statement| drain(&mut statement)).unwrap_err();
            assert_eq!(tables(), 3, "{sql}");
        }
        // The hazard itself.
        connection.prepare("SELECT * FROM pragma_optimize(65538)").unwrap().exists([]).unwrap();
        assert_ne!(tables(), 3);
    }

    #[test]
    fn an_error_quotes_nothing_of_a_text_that_is_searched_for() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("CREATE VIRTUAL TABLE f5 USING fts5 (a); CREATE VIRTUAL TABLE f4 USING fts4 (a)")
            .unwrap();
        for sql in [
            "SELECT * FROM f5 WHERE f5 MATCH 'secret:x'",
            "SELECT * FROM f5 WHERE f5 MATCH 'x-secret'",
            "SELECT * FROM f5 WHERE f5 MATCH '*secret'",
            "SELECT * FROM f5 WHERE f5 MATCH '\"secret'",
            "SELECT * FROM f5 WHERE f5 MATCH 'secret secret^ ('",
            "SELECT * FROM f5('secret:x')",
            "SELECT * FROM f4 WHERE f4 MATCH '\"secret NEAR/x ('",
        ] {
            let error = drain(&mut prepare(&connection, sql, &[]).unwrap()).unwrap_err();
            assert!(!error.message.contains("secret"), "{sql}: {}", error.message);
        }
    }

    #[test]
    fn a_parameter_without_a_value_is_an_error() {
        let connection = Connection::open_in_memory().unwrap();
        let values = [("a".to_owned(), Value::Integer(5))];
        let sum = |sql: &str| {
            let mut statement = prepare(&connection, sql, &values)?;
            Ok::<_, Error>(statement.raw_query().next()?.map(|row| row.get::<_, i64>(0)).transpose()?)
        };
        assert_eq!(sum("SELECT :a + $a + @a").unwrap(), Some(15));
        assert!(sum("SELECT :a + :b").unwrap_err().message.contains(":b"));
        assert_eq!(sum("SELECT ?").unwrap_err().reason, Reason::Config);
        assert_eq!(sum("SELECT ?1").unwrap_err().reason, Reason::Config);
    }
}
