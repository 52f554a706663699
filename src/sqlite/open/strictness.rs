//! How strictly the schema of a file is read: as strictly as SQLite can, until it refuses a part
//! that the application reads; then that part is passed over, and the rest is read as before. Must
//! never pass over damage.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::error::{Cause, Error, Reason};
use crate::sqlite::look::refused;

/// Has the connection pass over what is refused of its schema, where that is all that is wrong with
/// it. Done before each use: the application may change its schema at any time. Errors of the file
/// are left to whoever uses it.
///
/// In defensive mode SQLite refuses every trigger on a shadow table, and without the application's
/// attached files every view of one, and with it the whole file, "malformed". Triggers that it
/// passes over do not fire: who removes rows asks [`refused::all`] first.
pub fn relax(connection: &Connection) -> rusqlite::Result<()> {
    if refused::are_passed_over(connection)? {
        return if is_only_refused(connection) { Ok(()) } else { strict(connection) };
    }
    let read = connection.prepare("SELECT 1 FROM main.sqlite_schema").map(drop);
    let is_refused =
        read.err().is_some_and(|error| matches!(Error::from(error).cause(), Some(Cause::RefusedSchema(_))));
    if !is_refused {
        return Ok(());
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, true)?;
    if is_only_refused(connection) { Ok(()) } else { strict(connection) }
}

fn is_only_refused(connection: &Connection) -> bool {
    let refused = refused::all(connection);
    refused.is_ok_and(|all| all.iter().all(|one| one.error.reason == Reason::Unsupported))
}

/// Reads the schema anew with the next statement, which says what is wrong with it.
fn strict(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("PRAGMA writable_schema = RESET")
}
