//! How a live database is opened, and what is set on each connection to it. Must never create a
//! file (HAZARDS H5).

pub(in crate::sqlite) mod bounds;
pub mod exclusive;
pub mod strictness;

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::files::{replicator, system_calls};
use super::write::hold;

/// The URI under which an existing database is opened for reading and writing: `mode=rw` refuses to
/// create a missing file (<https://www.sqlite.org/uri.html#urimode>).
pub fn uri(path: &Path) -> String {
    escaped(path) + "?mode=rw"
}

/// The URI of a database of our own that is made where it is missing, if the flags say so.
pub fn name_of_own(path: &Path) -> String {
    escaped(path)
}

/// Opens a file of our own that nobody changes, a scratch copy or a restored backup, for reading:
/// SQLite takes no lock and leaves nothing beside it. Never for a live database, whose latest
/// commits it would not see (H4).
pub fn immutable(path: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(escaped(path) + "?immutable=1", flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    strictness::relax(&connection)?;
    Ok(connection)
}

/// Opens a scratch copy of our own to be changed and thrown away: nothing is left beside it, and
/// nothing waits for a disk. Its header must not ask for a write-ahead log, which would be a file
/// beside it.
pub fn throwaway(path: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(escaped(path) + "?mode=rw&nolock=1", flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    strictness::relax(&connection)?;
    connection.pragma_update(None, "journal_mode", "memory")?;
    connection.pragma_update(None, "synchronous", "off")?;
    Ok(connection)
}

/// Opens one more connection to a live database, beside that of the pool: where two are needed at
/// once, or one that knows nothing from before. Whoever calls has one of the pool, and so knows
/// that opening does no harm. It waits for no lock, only reads until [`hold`] lends it for a write,
/// and does nothing with the write-ahead log when it is closed: that is left to the pool's, whose
/// files are looked at.
pub fn another(path: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri(path), flags)?;
    set_up(&connection, path)?;
    keep_log_on_close(&connection)?;
    hold::read_only(&connection)?;
    connection.busy_timeout(Duration::ZERO)?;
    strictness::relax(&connection)?;
    Ok(connection)
}

/// Before SQLite is told any name, the calls by which it opens them are ours.
fn escaped(path: &Path) -> String {
    if !system_calls::install() {
        tracing::error!("SQLite follows links by itself: its calls of the system could not be replaced");
    }
    let mut uri = String::from("file:");
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                uri.push(char::from(byte));
            }
            other => {
                // Writing to a String does not fail.
                let _ = write!(uri, "%{other:02X}");
            }
        }
    }
    uri
}

/// Sets what must hold on every connection, whatever SQLite was compiled with.
///
/// - The file is untrusted input: its schema calls no unsafe function, and cannot be edited behind
///   SQLite's back (<https://www.sqlite.org/security.html>).
/// - Foreign keys are off: deletes cascade only where a job says so, never as a side effect.
/// - No value gets longer than the file has any use for.
/// - Where a replicator owns the write-ahead log, we never checkpoint it, neither by ourselves nor
///   on close.
pub fn set_up(connection: &Connection, path: &Path) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    bounds::of_live(connection, path)?;
    leave_log_to_replicator(connection, path)
}

/// Lets nothing be done with the write-ahead log when the connection is closed: whoever closes it
/// looks first, and then calls [`empty_log_on_close`].
pub fn keep_log_on_close(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(|_| ())
}

/// Lets the last close move the write-ahead log into the file, and remove it.
pub fn empty_log_on_close(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map(|_| ())
}

/// Where a replicator owns the write-ahead log, stops the checkpoints that SQLite makes by itself.
/// A replicator may begin long after the connection was opened, so this is done again before each
/// use.
pub fn leave_log_to_replicator(connection: &Connection, path: &Path) -> rusqlite::Result<()> {
    if replicator::owns(connection, path) {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::files::paths;

    #[test]
    fn escapes_what_a_uri_would_read_as_its_own() {
        assert_eq!(uri(Path::new("/srv/a b?c#d%e/x.db")), "file:/srv/a%20b%3Fc%23d%25e/x.db?mode=rw");
    }

    #[test]
    fn a_connection_to_a_live_database_writes_nothing_that_hold_does_not_lend_it_for() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a.db");
        let made = Connection::open(&path).unwrap();
        made.execute_batch(
            "PRAGMA auto_vacuum = incremental; PRAGMA journal_mode = wal; CREATE TABLE a (b UNIQUE);
             INSERT INTO a VALUES (zeroblob(9999)), (2); DELETE FROM a WHERE b = zeroblob(9999);
             PRAGMA wal_checkpoint(TRUNCATE)",
        )
        .unwrap();
        let holds = hold::Holds::new(|_| {});
        let is_unwritten = || paths::wal_bytes(&path) == 0;
        let mut live = another(&path).unwrap();
        for sql in [
            "BEGIN IMMEDIATE",
            "INSERT INTO a VALUES (3)",
            "UPDATE a SET b = 4",
            "DELETE FROM a",
            "CREATE INDEX i ON a (b)",
            "DROP TABLE a",
            "REINDEX",
            "ANALYZE",
            "SELECT * FROM pragma_optimize(65538)",
            "VACUUM",
            "PRAGMA incremental_vacuum(1)",
            "PRAGMA user_version = 1",
        ] {
            let done = live.prepare(sql).and_then(|mut statement| statement.query([])?.next().map(|_| ()));
            assert!(done.is_err() && is_unwritten(), "{sql}: {done:?}");
        }
        // With it, and not for longer.
        hold::write(&mut live, &holds, |t| Ok(t.execute("UPDATE a SET b = b", [])?)).unwrap();
        assert!(!is_unwritten() && live.execute("DELETE FROM a", []).is_err());
        hold::write(&mut live, &holds, |t| Ok(t.execute_batch("nonsense")?)).unwrap_err();
        assert!(live.execute("DELETE FROM a", []).is_err());
        hold::alone(&live, &holds, "VACUUM").unwrap();
        assert!(live.execute("DELETE FROM a", []).is_err());
    }
}
