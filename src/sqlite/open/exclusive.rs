//! A database that nobody else can read or write, because we hold SQLite's exclusive lock on it,
//! and whose file is complete by itself: what a crash left in its `-journal` was rolled back, what
//! was in its `-wal` is in the file. Must never remove a file beside it: after a swap, those are
//! another database's.
//!
//! Rollback mode: a transaction that is begun EXCLUSIVE (<https://www.sqlite.org/lockingv3.html>).
//! An idle connection of somebody else does not stand in its way; [`crate::sqlite::files::holders`]
//! looks for it. Not in `locking_mode = EXCLUSIVE`: what rolled a `-journal` back in that mode
//! removes it, by its name, as late as on close.
//!
//! WAL mode: `locking_mode = EXCLUSIVE`, set before the first access, makes the first transaction
//! lock the file itself, and use no `-shm` (<https://www.sqlite.org/wal.html#noshm>). Every
//! connection that ever read holds a shared lock on the file until it is closed, so that an idle
//! one stands in the way, too.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::{Error, Reason, Result};
use crate::sqlite::files::paths::wal_bytes;
use crate::sqlite::files::replicator;
use crate::sqlite::look::facts::is_wal;
use crate::sqlite::open;
use crate::sqlite::write::checkpoint::{Mode, checkpoint};
use crate::words;

/// The lock, until it is dropped or [`Exclusive::let_go`].
#[derive(Debug)]
pub struct Exclusive {
    connection: Connection,
}

impl Exclusive {
    /// Takes the lock, and waits for others up to `patience`.
    ///
    /// Errors: `locked` where somebody keeps a lock; `not_a_database`, `damaged` and `io` where
    /// SQLite cannot read the file. Must not be called for an empty file: SQLite then removes the
    /// `-wal` and `-journal` beside it.
    pub fn take(path: &Path, patience: Duration) -> Result<Self> {
        let connection = opened(path, patience)?;
        if in_wal_mode(&connection).map_err(|e| busy(path, patience, e))? {
            drop(connection);
            return Self::take_with_log(path, patience);
        }
        connection.execute_batch("BEGIN EXCLUSIVE").map_err(|e| busy(path, patience, e.into()))?;
        Ok(Self { connection })
    }

    fn take_with_log(path: &Path, patience: Duration) -> Result<Self> {
        let connection = opened(path, patience)?;
        // This one reads nothing yet; the next ones do, and so take the lock.
        connection.pragma_update(None, "locking_mode", "exclusive")?;
        connection
            .pragma_update(None, "synchronous", "full")
            .and_then(|()| connection.execute_batch("BEGIN EXCLUSIVE; ROLLBACK"))
            .map_err(|e| busy(path, patience, e.into()))?;
        if !in_wal_mode(&connection)? {
            let text = format!("the journal mode of {} was changed meanwhile; try again", path.display());
            return Err(Error::new(Reason::Locked, text));
        }
        Ok(Self { connection })
    }

    /// Moves what is in the `-wal` into the file, which is on disk afterwards, and cuts the `-wal`
    /// to nothing. The lock is held all the while.
    pub fn settle(&self, path: &Path) -> Result<()> {
        if !in_wal_mode(&self.connection)? {
            return Ok(());
        }
        let done = checkpoint(&self.connection, Mode::Truncate)?;
        if done.is_none_or(|done| done.busy) || wal_bytes(path) > 0 {
            return Err(Error::new(
                Reason::Io,
                format!("the write-ahead log of {} could not be moved into it", path.display()),
            ));
        }
        Ok(())
    }

    /// Whether a replicator owned the `-wal`.
    pub fn is_replicated(&self, path: &Path) -> bool {
        replicator::owns(&self.connection, path)
    }

    /// Lets go of the lock.
    pub fn let_go(self) {
        drop(self);
    }
}

/// A connection that reads and writes, passes over errors in the schema, and changes nothing when
/// it is closed.
pub(in crate::sqlite) fn opened(path: &Path, patience: Duration) -> Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(open::uri(path), flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // Reads no table, and must not fail where the schema is from a newer SQLite than ours: so
    // errors in it are passed over, which the defensive mode of all our other connections does not
    // allow.
    connection.pragma_update(None, "writable_schema", true)?;
    // Closing must change nothing any more: by then the names may be another database's.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(patience)?;
    Ok(connection)
}

/// Reads the file, and so has SQLite recover what a crash left.
fn in_wal_mode(connection: &Connection) -> Result<bool> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    is_wal(connection)
}

fn busy(path: &Path, patience: Duration, error: Error) -> Error {
    if error.reason != Reason::Busy {
        return error.context(format!("cannot lock {}", path.display()));
    }
    let waited = words::duration(patience.as_secs_f64());
    Error::new(Reason::Locked, format!("{} is locked: somebody has used it for {waited}", path.display()))
}
