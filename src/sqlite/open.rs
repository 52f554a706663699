//! How a live database is opened, and what is set on each connection to it. Must never create a file (HAZARDS H5).

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::{names, replicator};

/// The URI under which an existing database is opened for reading and writing: `mode=rw` refuses to create a
/// missing file (<https://www.sqlite.org/uri.html#urimode>).
pub fn uri(path: &Path) -> String {
    escaped(path) + "?mode=rw"
}

/// The URI of a database of our own that is made where it is missing, if the flags say so.
pub fn name_of_own(path: &Path) -> String {
    escaped(path)
}

/// Opens a file of our own that nobody changes, a scratch copy or a restored backup, for reading: SQLite takes no
/// lock and leaves nothing beside it. Never for a live database, whose latest commits it would not see (H4).
pub fn immutable(path: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(escaped(path) + "?immutable=1", flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    Ok(connection)
}

/// Opens a scratch copy of our own to be changed and thrown away: nothing is left beside it, and nothing waits for a
/// disk. Its header must not ask for a write-ahead log, which would be a file beside it.
pub fn throwaway(path: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(escaped(path) + "?mode=rw&nolock=1", flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.pragma_update(None, "journal_mode", "memory")?;
    connection.pragma_update(None, "synchronous", "off")?;
    Ok(connection)
}

/// Opens one more connection to a live database, beside that of the pool: where two are needed at once, or one that
/// knows nothing from before. Whoever calls has one of the pool, and so knows that opening does no harm. It waits for no
/// lock.
pub fn another(path: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri(path), flags)?;
    set_up(&connection, path)?;
    connection.busy_timeout(Duration::ZERO)?;
    Ok(connection)
}

/// Before SQLite is told any name, the calls by which it opens them are ours.
fn escaped(path: &Path) -> String {
    if !names::install() {
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
/// - The file is untrusted input: its schema calls no unsafe function, and cannot be edited behind SQLite's back
///   (<https://www.sqlite.org/security.html>).
/// - Foreign keys are off: deletes cascade only where a job says so, never as a side effect.
/// - Where a replicator owns the write-ahead log, we never checkpoint it, neither by ourselves nor on close.
pub fn set_up(connection: &Connection, path: &Path) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    leave_log_to_replicator(connection, path)
}

/// Where a replicator owns the write-ahead log, stops the checkpoints that SQLite makes by itself. A replicator may
/// begin long after the connection was opened, so this is done again before each use.
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

    #[test]
    fn escapes_what_a_uri_would_read_as_its_own() {
        assert_eq!(uri(Path::new("/srv/a b?c#d%e/x.db")), "file:/srv/a%20b%3Fc%23d%25e/x.db?mode=rw");
    }
}
