//! A database file looked at or changed between two steps of a test, by a plain connection of this
//! process. Never while this process keeps the file open otherwise than through SQLite.

use rusqlite::Connection;
use rusqlite::types::FromSql;
use std::path::Path;

/// The first value that a query gives.
pub fn value<T: FromSql>(path: &Path, sql: &str) -> T {
    Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Runs statements; foreign keys are not enforced.
pub fn edit(path: &Path, sql: &str) {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "foreign_keys", false).unwrap();
    connection.execute_batch(sql).unwrap();
}

/// Bytes of its write-ahead log; 0 where there is none.
pub fn wal_bytes(path: &Path) -> u64 {
    std::fs::metadata(format!("{}-wal", path.display())).map_or(0, |wal| wal.len())
}
