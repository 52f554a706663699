//! An archive as a database: one file for each rule's table and month, with a table for each that
//! rows come from. Columns have no types, so that no value is changed. A row that is there already,
//! the same in every column, is not added again; one that has the same key and other values is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, ToSql, params_from_iter};

use super::columns::Columns;
use super::file::create;
use crate::error::{Error, Reason, Result};
use crate::sql::quoting::quoted;
use crate::sqlite::look::keys::all_columns;
use crate::sqlite::open;
use crate::store::Directory;

/// The file of one month.
pub(super) struct Month {
    path: PathBuf,
    connection: Connection,
    /// What adds a row, by table.
    inserts: BTreeMap<String, String>,
    /// By whose descriptor the connection knows its files, to its end.
    _directory: Arc<Directory>,
}

impl Month {
    pub(super) fn open(directory: Arc<Directory>, name: &str) -> Result<Self> {
        create(&directory, name)?;
        let path = directory.path().join(name);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let opened = || -> rusqlite::Result<Connection> {
            let connection = Connection::open_with_flags(open::uri(&directory.by_descriptor(name)), flags)?;
            // Who may write to the directory may have made it.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
            // One wait for the disk in each commit, and no half-written row after a power cut.
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "full")?;
            Ok(connection)
        };
        let connection = opened().map_err(|error| failed(&path, error))?;
        Ok(Self { path, connection, inserts: BTreeMap::new(), _directory: directory })
    }

    /// Makes the table, or the columns that it has not got yet.
    pub(super) fn prepare(&mut self, table: &str, columns: &Columns) -> Result<()> {
        let names: Vec<_> = columns.names.iter().map(|name| quoted(name)).collect();
        let key = names[..columns.key].join(", ");
        let known = all_columns(&self.connection, table)?;
        let mut sql = String::new();
        if known.is_empty() {
            let index = quoted(&format!("{table} by key"));
            sql = format!(
                "CREATE TABLE {table} ({}); CREATE INDEX {index} ON {table} ({key});",
                names.join(", "),
                table = quoted(table),
            );
        }
        let missing = columns.names.iter().filter(|name| !known.iter().any(|k| k.eq_ignore_ascii_case(name)));
        for name in missing.filter(|_| !known.is_empty()) {
            // Writing to a String does not fail.
            let _ = write!(sql, "ALTER TABLE {} ADD COLUMN {};", quoted(table), quoted(name));
        }
        self.connection.execute_batch(&sql).map_err(|error| failed(&self.path, error))?;
        let values: Vec<_> = (1..=names.len()).map(|number| format!("?{number}")).collect();
        let same: Vec<_> =
            names.iter().zip(&values).map(|(name, value)| format!("{name} IS {value}")).collect();
        let insert = format!(
            "INSERT INTO {table} ({}) SELECT {} WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE {})",
            names.join(", "),
            values.join(", "),
            same.join(" AND "),
            table = quoted(table),
        );
        self.inserts.insert(table.to_owned(), insert);
        Ok(())
    }

    pub(super) fn add(&mut self, table: &str, values: &[ValueRef<'_>]) -> Result<()> {
        let insert = self.inserts.get(table);
        let insert = insert.ok_or_else(|| Error::new(Reason::Panic, "an archive without its table"))?;
        let add = || -> rusqlite::Result<()> {
            if self.connection.is_autocommit() {
                self.connection.execute_batch("BEGIN IMMEDIATE")?;
            }
            let values = values.iter().map(|value| AsItIs(*value));
            self.connection.prepare_cached(insert)?.execute(params_from_iter(values))?;
            Ok(())
        };
        add().map_err(|error| failed(&self.path, error))
    }

    /// Returns when all of it is on the disk.
    pub(super) fn commit(&mut self) -> Result<()> {
        if self.connection.is_autocommit() {
            return Ok(());
        }
        self.connection.execute_batch("COMMIT").map_err(|error| failed(&self.path, error))
    }

    /// Takes back what was not committed.
    pub(super) fn roll_back(&mut self) -> Result<()> {
        if self.connection.is_autocommit() {
            return Ok(());
        }
        self.connection.execute_batch("ROLLBACK").map_err(|error| failed(&self.path, error))
    }

    /// The path of a file that needs no other beside it.
    pub(super) fn close(self) -> Result<PathBuf> {
        let mode = self.connection.pragma_update(None, "journal_mode", "delete");
        match mode.map_err(|error| failed(&self.path, error)) {
            // Somebody reads it; SQLite moves the log into it when they close it.
            Err(error) if error.reason != Reason::Busy => Err(error),
            _ => Ok(self.path),
        }
    }
}

struct AsItIs<'a>(ValueRef<'a>);

impl ToSql for AsItIs<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0))
    }
}

fn failed(path: &Path, cause: rusqlite::Error) -> Error {
    let error = Error::from(cause);
    let reason = match error.reason {
        // Of the archive, and not of the database.
        Reason::Damaged | Reason::NotADatabase | Reason::Sqlite => Reason::Io,
        other => other,
    };
    Error { reason, ..error.context(format!("cannot write the archive {}", path.display())).of(path) }
}
