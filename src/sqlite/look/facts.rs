//! Numbers that SQLite tells about a database without reading its rows.

use rusqlite::Connection;

use crate::error::Result;

/// What a database file looks like inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Bytes of a page.
    pub page_size: u64,
    /// Pages of the file.
    pub pages: u64,
    /// Pages on the freelist.
    pub free_pages: u64,
    /// `wal`, `delete`, `truncate`, `persist`, `memory` or `off`.
    pub journal_mode: String,
    /// 0 none, 1 full, 2 incremental.
    pub auto_vacuum: i64,
    /// `PRAGMA user_version`.
    pub user_version: i64,
    /// `PRAGMA application_id`.
    pub application_id: i64,
}

impl Facts {
    /// Reads them in one go; concurrent writers may move on in between.
    pub fn read(connection: &Connection) -> Result<Self> {
        let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        let count = |pragma: &str| number(pragma).map(|n| u64::try_from(n).unwrap_or(0));
        Ok(Self {
            // First: it reads the file, the others only tell what the connection knows from when it
            // last did.
            pages: count("page_count")?,
            page_size: count("page_size")?,
            free_pages: count("freelist_count")?,
            journal_mode: connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?,
            auto_vacuum: number("auto_vacuum")?,
            user_version: number("user_version")?,
            application_id: number("application_id")?,
        })
    }

    /// Bytes of the file.
    pub const fn bytes(&self) -> u64 {
        self.page_size * self.pages
    }

    /// Bytes of the pages in use.
    pub const fn used_bytes(&self) -> u64 {
        self.bytes().saturating_sub(self.free_bytes())
    }

    /// Bytes on the freelist.
    pub const fn free_bytes(&self) -> u64 {
        self.page_size * self.free_pages
    }
}

/// Whether the database is in WAL mode, as the connection knows from when it last read the file.
pub fn is_wal(connection: &Connection) -> Result<bool> {
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    Ok(mode == "wal")
}

/// Changes when anybody but this connection has committed; says nothing to another connection
/// (<https://www.sqlite.org/pragma.html#pragma_data_version>).
pub fn data_version(connection: &Connection) -> Result<i64> {
    Ok(connection.pragma_query_value(None, "data_version", |row| row.get(0))?)
}
