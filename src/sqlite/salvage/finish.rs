//! The new database around its rows: what it is begun with, the tables, and what comes when they
//! are full. The texts of the schema are untrusted: they are taken as single statements that begin
//! with CREATE, and no single one may run for long before it has rows to work on.

use rusqlite::Connection;

use super::schema::{Entry, Sort};
use super::steps::stopped;
use super::table::TableTree;
use crate::error::{Error, Reason, Result};
use crate::sql::quoting::quoted;
use crate::sqlite::pages::{Database, Header};
use crate::terms::progress::{Stop, Watch};

/// Steps of SQLite's machine that a CREATE may take: it needs hundreds.
const MOST_STEPS: i32 = 1_000_000;

/// Steps between two looks at whether the building of an index is to stop.
const STEPS: i32 = 1000;

/// Makes it like the old one, and begins the one transaction of all rows. Nothing is kept for a
/// rollback: a file that is not finished is removed.
pub(super) fn begin(target: &Connection, database: &Database<'_>) -> Result<()> {
    let layout = database.layout;
    target.pragma_update(None, "page_size", layout.page_size)?;
    target.pragma_update(None, "encoding", layout.encoding.as_str())?;
    if let Some(Header { largest_root: 1.., is_incremental, .. }) = database.header {
        target.pragma_update(None, "auto_vacuum", if is_incremental { 2 } else { 1 })?;
    }
    target.pragma_update(None, "journal_mode", "off")?;
    target.pragma_update(None, "synchronous", "off")?;
    target.pragma_update(None, "foreign_keys", false)?;
    target.pragma_update(None, "legacy_alter_table", true)?;
    Ok(target.execute_batch("BEGIN")?)
}

/// Makes one table, view or trigger.
pub(super) fn create(target: &Connection, entry: &Entry) -> Result<()> {
    made(target, entry, MOST_STEPS, || true).map_err(|error| match error.reason {
        Reason::Cancelled => Error::new(Reason::Sqlite, "its statement does more than to make it"),
        _ => error,
    })
}

/// Makes one index. Of many rows that takes its time.
fn build(target: &Connection, entry: &Entry, stop: Stop) -> Result<()> {
    made(target, entry, STEPS, move || stop())
}

/// Runs its statement; `ends` is asked each so many `steps` whether it has to end.
fn made(
    target: &Connection,
    entry: &Entry,
    steps: i32,
    ends: impl FnMut() -> bool + Send + 'static,
) -> Result<()> {
    let is_one = entry.sql.as_deref().is_some_and(|sql| begins_as(entry.sort, sql));
    let Some(sql) = entry.sql.as_deref().filter(|_| is_one) else {
        return Err(Error::new(Reason::Sqlite, "the schema has no statement that makes it"));
    };
    target.progress_handler(steps, Some(ends))?;
    let made = target.prepare(sql).and_then(|mut statement| statement.execute([]));
    target.progress_handler(0, None::<fn() -> bool>)?;
    Ok(made.map(drop)?)
}

/// `CREATE TABLE …` for a table.
fn begins_as(sort: Sort, sql: &str) -> bool {
    let mut words = sql.split_whitespace().map(str::to_ascii_uppercase);
    let is_create = words.next().is_some_and(|word| word == "CREATE");
    let what = sort.as_str().to_ascii_uppercase();
    let next = words.next().unwrap_or_default();
    is_create && (next == what || (next == "UNIQUE" && words.next().is_some_and(|word| word == what)))
}

/// SQLite's own tables: made by it where the schema has them.
pub(super) fn internal(target: &Connection, entries: &[Entry]) -> Result<Vec<TableTree>> {
    let mut tables = Vec::new();
    for entry in entries.iter().filter(|entry| entry.sort == Sort::Table && entry.is_internal()) {
        if entry.name.starts_with("sqlite_stat") {
            target.execute_batch("ANALYZE main.sqlite_schema")?;
        }
        // One that this SQLite does not make is none that it would use.
        tables.extend(TableTree::describe(target, &entry.name, entry.root).ok());
    }
    let has = |name: &str| entries.iter().any(|entry| entry.name == name);
    let made = |name: &str| target.table_exists(Some("main"), name);
    for name in ["sqlite_stat1", "sqlite_stat4"] {
        if !has(name) && made(name)? {
            target.execute_batch(&format!("DROP TABLE main.{name}"))?;
        }
    }
    Ok(tables)
}

/// What SQLite itself put into a table of its own while other tables were filled goes before what
/// the old one had.
pub(super) fn clear(target: &Connection, table: &str) -> Result<()> {
    Ok(target.execute_batch(&format!("DELETE FROM main.{}", quoted(table)))?)
}

/// Ends the transaction of the rows. No AUTOINCREMENT may fall behind the rows that are there.
pub(super) fn end_of_rows(target: &Connection, entries: &[Entry]) -> Result<()> {
    let is_counted = |entry: &&Entry| {
        entry.sort == Sort::Table
            && entry.sql.as_deref().is_some_and(|sql| sql.to_ascii_uppercase().contains("AUTOINCREMENT"))
    };
    for entry in entries.iter().filter(is_counted) {
        let name = quoted(&entry.name);
        // A table of that word may be another's, or was not made.
        let Ok(Some(highest)) = target.query_row(&format!("SELECT max(rowid) FROM main.{name}"), [], |row| {
            row.get::<_, Option<i64>>(0)
        }) else {
            continue;
        };
        let raised = target.execute(
            "UPDATE sqlite_sequence SET seq = max(CAST(seq AS INTEGER), ?2) WHERE name = ?1",
            (&entry.name, highest),
        );
        if matches!(raised, Ok(0)) {
            target
                .execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", (&entry.name, highest))?;
        }
    }
    Ok(target.execute_batch("COMMIT")?)
}

/// Indexes, virtual tables, views and triggers. What cannot be made again is told, with the reason.
pub(super) fn rest(target: &Connection, entries: &[Entry], watch: &dyn Watch) -> Result<Vec<String>> {
    let mut left_out = Vec::new();
    let mut one = |entry: &Entry, made: Result<()>| -> Result<()> {
        watch.go_on()?;
        if let Err(error) = made {
            left_out.push(said(entry, &stopped(error)?));
        }
        Ok(())
    };
    let of = |sort: Sort| entries.iter().filter(move |entry| entry.sort == sort && !entry.is_internal());
    for entry in of(Sort::Index).filter(|entry| entry.sql.is_some()) {
        one(entry, build(target, entry, watch.stop()))?;
    }
    for entry in of(Sort::Table).filter(|entry| entry.is_virtual()) {
        one(entry, put_into_schema(target, entry))?;
    }
    for entry in of(Sort::View).chain(of(Sort::Trigger)) {
        let made = create(target, entry).or_else(|error| match kept_as_it_is(target, entry) {
            Ok(true) => Ok(()),
            Ok(false) => Err(error),
            Err(other) => Err(other),
        });
        one(entry, made)?;
    }
    Ok(left_out)
}

/// A virtual table is a row of the schema: its module finds its content in tables that are there
/// already. So is what cannot be made by its text and is read by it all the same.
fn put_into_schema(target: &Connection, entry: &Entry) -> Result<()> {
    target.pragma_update(None, "writable_schema", true)?;
    let sql = "INSERT INTO main.sqlite_schema VALUES (?1, ?2, ?3, 0, ?4)";
    let put = target.execute(sql, (entry.sort.as_str(), &entry.name, &entry.table, &entry.sql));
    target.pragma_update(None, "writable_schema", false)?;
    Ok(put.map(drop)?)
}

/// A view or trigger whose text SQLite reads in a file but takes from nobody, as one that names the
/// schema under which it was made: it is kept as VACUUM keeps it, as a row of the schema. `false`,
/// and nothing is left of it, where the new file cannot be read with it.
fn kept_as_it_is(target: &Connection, entry: &Entry) -> Result<bool> {
    let is_one = entry.sql.as_deref().is_some_and(|sql| begins_as(entry.sort, sql));
    let sql = "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema \
               WHERE name = ?1 COLLATE NOCASE AND (type = 'trigger') = (?2 = 'trigger'))";
    if !is_one || target.query_row(sql, (&entry.name, entry.sort.as_str()), |row| row.get(0))? {
        return Ok(false);
    }
    put_into_schema(target, entry)?;
    if reread(target).is_ok() {
        return Ok(true);
    }
    target.pragma_update(None, "writable_schema", true)?;
    let sql = "DELETE FROM main.sqlite_schema WHERE type = ?1 AND name = ?2";
    let removed = target.execute(sql, (entry.sort.as_str(), &entry.name));
    reread(target)?;
    removed?;
    Ok(false)
}

/// Has SQLite read the schema anew, strictly.
fn reread(target: &Connection) -> Result<()> {
    target.execute_batch("PRAGMA writable_schema = RESET")?;
    Ok(target
        .query_row("SELECT count(*) FROM main.sqlite_schema", [], |row| row.get::<_, i64>(0))
        .map(drop)?)
}

/// The numbers that the application keeps in the header.
pub(super) fn numbers(target: &Connection, database: &Database<'_>) -> Result<()> {
    let (user_version, application_id) = database.application_numbers();
    target.pragma_update(None, "user_version", user_version)?;
    Ok(target.pragma_update(None, "application_id", application_id)?)
}

/// `table x: why`.
pub(super) fn said(entry: &Entry, error: &Error) -> String {
    format!("{} {}: {}", entry.sort.as_str(), entry.name, error.message)
}
