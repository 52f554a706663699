//! Numbers that SQLite tells about a database without reading its rows.

use std::path::{Path, PathBuf};

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

/// Where a path leads to: SQLite follows links, and keeps its files beside the link's target. A
/// path that leads nowhere stays as it is.
pub fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// What SQLite adds to a database's name for the files that belong to it.
pub const SIDECARS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The file beside a database that ends in `suffix`, one of [`SIDECARS`].
pub fn sidecar(path: &Path, suffix: &str) -> PathBuf {
    let mut name = resolved(path).into_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

/// Bytes of the database's file, by `stat`; 0 where there is none.
pub fn file_bytes(path: &Path) -> u64 {
    std::fs::metadata(resolved(path)).map_or(0, |file| file.len())
}

/// Bytes of the write-ahead log, by `stat`; 0 where there is none.
pub fn wal_bytes(path: &Path) -> u64 {
    std::fs::metadata(sidecar(path, "-wal")).map_or(0, |wal| wal.len())
}

/// Bytes free for us on the filesystem of `path` (statvfs `f_bavail`).
pub fn disk_free(path: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(path).map_err(|e| {
        crate::error::Error::io(format!("cannot ask {} for its free space", path.display()), &e.into())
    })?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
