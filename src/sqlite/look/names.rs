//! Names as a schema has them, which are any bytes: an application that writes Latin-1 gets what it
//! wrote, and SQLite does not mind. No statement of ours can name what is not UTF-8, and none of
//! the tables around it has to wait for it. Must never give a shown name to a statement: another
//! table may have just that one.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Params, Row, ToSql};

use crate::error::{Error, Reason, Result};

/// A name as it is stored, to be bound as a value; no statement has to have it then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored(Vec<u8>);

impl Stored {
    /// Of a column.
    pub fn of(row: &Row<'_>, at: usize) -> rusqlite::Result<Self> {
        Ok(Self(row.get_ref(at)?.as_bytes().unwrap_or_default().to_vec()))
    }
}

impl ToSql for Stored {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(&self.0)))
    }
}

/// A name that a statement can have; `None` for one that is not UTF-8, and for NULL.
pub fn name(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<String>> {
    Ok(match row.get_ref(at)? {
        ValueRef::Text(text) => str::from_utf8(text).ok().map(str::to_owned),
        _ => None,
    })
}

/// A name for people, with U+FFFD for what is not UTF-8; empty for NULL.
pub fn shown(row: &Row<'_>, at: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(at)? {
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    })
}

/// The names in the first column of a query, but for those that no statement can have.
pub fn all(connection: &Connection, sql: &str, values: impl Params) -> Result<Vec<String>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map(values, |row| name(row, 0))?;
    Ok(rows.filter_map(Result::transpose).collect::<rusqlite::Result<_>>()?)
}

/// Whether it is a name, and one that no statement can have.
fn is_unspeakable(row: &Row<'_>, at: usize) -> rusqlite::Result<bool> {
    Ok(matches!(row.get_ref(at)?, ValueRef::Text(_)) && name(row, at)?.is_none())
}

/// Those that no statement can have, as they are shown.
pub fn unspeakable(connection: &Connection, sql: &str, values: impl Params) -> Result<Vec<String>> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if is_unspeakable(row, 0)? {
            found.push(shown(row, 0)?);
        }
    }
    Ok(found)
}

/// The tables, indexes, views and triggers whose names are not UTF-8, as they are shown, with the
/// word for what each is.
pub fn unspeakable_objects(connection: &Connection) -> Result<Vec<(String, String)>> {
    let mut statement = connection.prepare("SELECT name, type FROM main.sqlite_schema ORDER BY rowid")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if is_unspeakable(row, 0)? {
            found.push((shown(row, 1)?, shown(row, 0)?));
        }
    }
    Ok(found)
}

/// Of what cannot be done with a table or column that is called so.
pub fn not_utf8(what: &str, shown: &str) -> Error {
    let text =
        format!("{what} {shown}: its name is not UTF-8, so that no statement of litekeeper can have it");
    Error::new(Reason::Unsupported, text)
}
