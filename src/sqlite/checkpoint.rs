//! Moves commits from the write-ahead log into the database file (HAZARDS H12). Must not be called where a
//! replicator owns the log.

use rusqlite::Connection;
use serde::Serialize;

use crate::error::Result;

/// How hard to try (<https://www.sqlite.org/pragma.html#pragma_wal_checkpoint>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As much as nobody else uses now; holds up no one.
    Passive,
    /// All, and the file is cut to 0 bytes. While it waits for readers it keeps writers out.
    Truncate,
}

/// What a checkpoint came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Checkpoint {
    /// A reader, a writer or another checkpoint stood in the way of the whole.
    pub busy: bool,
    /// Pages in the log.
    pub log_pages: u64,
    /// Those of them that are in the database file now.
    pub moved_pages: u64,
}

impl Checkpoint {
    /// Whether all that was in the log is in the database file.
    pub const fn is_complete(&self) -> bool {
        !self.busy && self.moved_pages == self.log_pages
    }
}

/// Makes a checkpoint; `None` where the database has no write-ahead log.
pub fn checkpoint(connection: &Connection, mode: Mode) -> Result<Option<Checkpoint>> {
    let sql = match mode {
        Mode::Passive => "PRAGMA main.wal_checkpoint(PASSIVE)",
        Mode::Truncate => "PRAGMA main.wal_checkpoint(TRUNCATE)",
    };
    let (busy, log, moved): (bool, i64, i64) =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    // -1 both without a log and where the log could not be looked at for a lock.
    let count = |pages: i64| u64::try_from(pages).unwrap_or(0);
    Ok((busy || log >= 0).then(|| Checkpoint { busy, log_pages: count(log), moved_pages: count(moved) }))
}
