//! Whether a replicator such as Litestream owns the write-ahead log of a database (HAZARDS H13): a
//! checkpoint or a VACUUM from outside would break its history.

use std::path::Path;

use rusqlite::Connection;

use super::paths::resolved;

/// Tables that Litestream keeps in each database it replicates, `_litestream_seq` and
/// `_litestream_lock`, or its directory beside the file. A database that cannot be read now is
/// judged by the directory alone.
pub fn owns(connection: &Connection, path: &Path) -> bool {
    has_directory(path) || has_tables(connection)
}

/// The half of it that can be told without opening the database.
pub fn has_directory(path: &Path) -> bool {
    directory(path).is_some_and(|directory| directory.is_dir())
}

fn directory(path: &Path) -> Option<std::path::PathBuf> {
    let path = resolved(path);
    let name = path.file_name()?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push("-litestream");
    Some(path.with_file_name(hidden))
}

fn has_tables(connection: &Connection) -> bool {
    let sql = "SELECT count(*) FROM main.sqlite_schema WHERE name IN ('_litestream_seq', '_litestream_lock')";
    connection.query_row(sql, [], |row| row.get::<_, i64>(0)).is_ok_and(|tables| tables > 0)
}
