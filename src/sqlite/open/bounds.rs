//! How much an expression of a schema may take, by the size of the file: a value that is stored is
//! no longer than the file that it is in, so that no schema is refused what it needs for its own
//! data (HAZARDS H27).

use std::path::Path;

use rusqlite::Connection;
use rusqlite::limits::Limit;

use crate::error::Result;
use crate::sqlite::files::paths::{file_bytes, wal_bytes};

/// SQLite's own bound on a value (SQLITE_MAX_LENGTH, <https://www.sqlite.org/limits.html>).
const LONGEST: u64 = 1_000_000_000;

/// What a value may have in any file.
const LEAST: u64 = 16 << 20;

/// What a value may have where the application may add larger ones while the connection is open.
const LEAST_OF_LIVE: u64 = 256 << 20;

/// Bytes of memory that checks take in any file: the pages that they keep ([`CACHE`]), and the
/// schema.
const MEMORY: u64 = 128 << 20;

/// No file gets more for its values than this.
const MOST_MEMORY: u64 = 1 << 30;

/// KiB of pages that a check keeps: each row's entries are looked up in all indexes of its table,
/// and of 1 GiB with two of them SQLite's own 2 MiB have so few that the file is read some ten
/// times over. With 32 MiB the check takes two thirds of the time; more memory brings little. Not
/// mapped: a file that cannot be read would then end the process.
const CACHE: i32 = 32 << 10;

/// The longest value that a database of `bytes`, its log included, has any use for: what it stores,
/// and twice that for what is computed of it (`hex()`).
fn longest_value(bytes: u64) -> u64 {
    (2 * bytes.min(LONGEST)).clamp(LEAST, LONGEST)
}

/// Bytes of a database that may be in use, its log included.
pub(in crate::sqlite) fn bytes_of(path: &Path) -> u64 {
    file_bytes(path) + wal_bytes(path)
}

/// Bounds the values on a connection to a database that may be in use: a trigger, a generated
/// column or an index evaluates what its schema says.
pub(super) fn of_live(connection: &Connection, path: &Path) -> rusqlite::Result<()> {
    let longest = longest_value(bytes_of(path)).max(LEAST_OF_LIVE);
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::try_from(longest).unwrap_or(i32::MAX)).map(drop)
}

/// Bounds the memory of this process by the `bytes` of the file, before its schema is read: past
/// it, "out of memory".
pub(in crate::sqlite) fn of_process(bytes: u64) -> Result<()> {
    // A check of the whole file keeps a bit for each page, which has 512 bytes at least.
    let pages = bytes / 512 / 8;
    let memory = MEMORY + pages + (4 * longest_value(bytes)).min(MOST_MEMORY);
    // It holds for all connections, and the one to the file reads its schema while it is set up.
    Ok(Connection::open_in_memory()?.pragma_update(None, "hard_heap_limit", memory)?)
}

/// Bounds what is done on a connection to a file of `bytes`: past it, "string or blob too big".
pub(in crate::sqlite) fn of_connection(connection: &Connection, bytes: u64) -> Result<()> {
    let longest = i32::try_from(longest_value(bytes)).unwrap_or(i32::MAX);
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, longest)?;
    // Nothing that is done there attaches a file, and what changes no row fires no trigger.
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.set_limit(Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1)?;
    // It reads the schema; one that cannot be read is told by the first question.
    let _ = connection.pragma_update(None, "cache_size", -CACHE);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_is_refused_what_it_stores() {
        for bytes in [0, 8 << 10, 20 << 20, 400_000_000, LONGEST, 1 << 40] {
            assert!(longest_value(bytes) >= bytes.min(LONGEST), "{bytes}");
        }
        assert_eq!(longest_value(8 << 10), LEAST);
    }
}
