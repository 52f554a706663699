//! What of a schema this SQLite does not read here, though the application does: it trusts nothing
//! in the file, and has it attached under no other name. Must never pass over damage: what is not
//! known to be refused only here is that.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::names;
use crate::error::{Cause, Error, Reason, Result};
use crate::sql::quoting::quoted;

/// A part of the schema that is passed over.
#[derive(Debug, Clone)]
pub struct Refused {
    /// `table`, `index`, `view` or `trigger`.
    pub sort: String,
    /// Its name.
    pub name: String,
    /// The table that it belongs to, which is itself for a table or a view.
    pub table: String,
    /// It has pages, which SQLite does not know of.
    pub has_pages: bool,
    /// Why; `unsupported`, or `damaged` where that is not known.
    pub error: Error,
}

/// Whether the connection passes over what it does not read of its schema. It writes to the schema
/// as little as any other: it is in defensive mode.
pub fn are_passed_over(connection: &Connection) -> rusqlite::Result<bool> {
    connection.db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA)
}

/// What a connection passes over; nothing where it does not.
pub fn all(connection: &Connection) -> Result<Vec<Refused>> {
    if !are_passed_over(connection)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT type, name, tbl_name, coalesce(rootpage, 0) > 0, sql FROM main.sqlite_schema \
               WHERE type IN ('table', 'index', 'view', 'trigger')";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut found: Vec<(Refused, bool)> = Vec::new();
    while let Some(row) = rows.next()? {
        // One that no statement can name cannot be asked for.
        let (Some(sort), Some(name)) = (names::name(row, 0)?, names::name(row, 1)?) else { continue };
        if is_read(connection, &sort, &name) {
            continue;
        }
        let (error, is_orphan) = why(connection, &sort, &name, names::name(row, 4)?.as_deref());
        let (table, has_pages) = (names::shown(row, 2)?, row.get(3)?);
        found.push((Refused { sort, name, table, has_pages, error }, is_orphan));
    }
    let tables: Vec<(String, Error)> = found
        .iter()
        .filter(|(one, _)| one.sort == "table" || one.sort == "view")
        .map(|(one, _)| (one.name.clone(), one.error.clone()))
        .collect();
    // What belongs to such a table goes with it.
    for (one, _) in found.iter_mut().filter(|(_, is_orphan)| *is_orphan) {
        if let Some((_, of_table)) = tables.iter().find(|(name, _)| name.eq_ignore_ascii_case(&one.table)) {
            one.error = of_table.clone();
        }
    }
    Ok(found.into_iter().map(|(one, _)| one).collect())
}

/// Whether SQLite knows it: then a statement that drops it can be prepared, or is refused for
/// another reason than that there is no such thing. It is never run.
fn is_read(connection: &Connection, sort: &str, name: &str) -> bool {
    let prepared = connection.prepare(&format!("DROP {sort} main.{}", quoted(name)));
    !prepared.is_err_and(|error| Error::from(error).cause() == Some(&Cause::NoSuchObject))
}

/// What SQLite has against its text, and whether that is only the want of its table.
fn why(connection: &Connection, sort: &str, name: &str, sql: Option<&str>) -> (Error, bool) {
    let unknown = || Error::new(Reason::Damaged, format!("{name} of its schema cannot be read"));
    let Some(sql) = sql else { return (unknown(), true) };
    let text = sql.to_ascii_lowercase();
    // Made of a query, no schema has it so: that would be planned, which may take for ever
    // (HAZARDS H27).
    if !text.starts_with("create ") || sort == "table" && text.contains("select") {
        return (unknown(), false);
    }
    match connection.prepare(sql) {
        Ok(_) => (unknown(), false),
        Err(error) => {
            let error = Error::from(error);
            let is_orphan = error.cause() == Some(&Cause::NoSuchObject);
            (error.of_schema(name), is_orphan)
        }
    }
}

/// Why a part of the schema is not read, where it is not; for what was to be done with it.
pub fn of(connection: &Connection, name: &str) -> Result<Option<Error>> {
    let found = all(connection)?.into_iter().find(|one| one.name.eq_ignore_ascii_case(name));
    Ok(found.map(|one| one.error))
}
