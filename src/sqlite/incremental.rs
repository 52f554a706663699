//! Gives free pages back a few at a time, in a database with auto_vacuum = INCREMENTAL, so that neither our transaction
//! nor the application's next one is felt. Must not be called where a replicator owns the write-ahead log.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::checkpoint::{Mode, checkpoint};
use super::hold::{self, Holds};
use crate::error::Result;

/// One transaction that freed some pages.
#[derive(Debug, Clone, Copy)]
pub struct Slice {
    /// Pages that are still free.
    pub left: u64,
    /// How long it took to free them, without the commit, which is not shorter for fewer of them.
    pub worked: Duration,
    /// How long writers were held.
    pub held: Duration,
}

/// Frees up to `pages` pages in one transaction, and then moves them out of the write-ahead log, PASSIVE: the
/// application's next commit would have to otherwise, as SQLite's automatic checkpoint.
///
/// In WAL mode the commit does not wait for the disk: what a power cut undoes is done again by the next run, and the
/// checkpoint waits without holding anybody up.
pub fn free(connection: &mut Connection, holds: &Holds, pages: u64) -> Result<Slice> {
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (automatic, synchronous) = (number("wal_autocheckpoint")?, number("synchronous")?);
    let has_log: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if has_log != "wal" {
        return slice(connection, holds, pages);
    }
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "synchronous", "normal")?;
    let freed = slice(connection, holds, pages);
    // The connection is the pool's, and others will use it.
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", automatic)?;
    let freed = freed?;
    checkpoint(connection, Mode::Passive)?;
    Ok(freed)
}

fn slice(connection: &mut Connection, holds: &Holds, pages: u64) -> Result<Slice> {
    let mut began = Instant::now();
    let (worked, left) = hold::write(connection, holds, |transaction| {
        began = Instant::now();
        // The statement frees a page with each row that is asked for.
        let mut statement = transaction.prepare(&format!("PRAGMA main.incremental_vacuum({pages})"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        let left = transaction.query_row("PRAGMA main.freelist_count", [], |row| row.get(0))?;
        Ok((began.elapsed(), left))
    })?;
    Ok(Slice { left, worked, held: began.elapsed() })
}
