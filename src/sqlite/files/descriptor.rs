//! The descriptor by which SQLite itself has the `-shm` of a database open, to ask the kernel by it
//! who has locks there. Our process must not open that file a second time: closing it would end all
//! of its locks (HAZARDS H1). And asked from here, the kernel passes over our own locks, behind
//! which another process' watch cannot see. Must never be closed, written to or locked by.
//!
//! The invariant that the block with `unsafe` relies on: a connection in WAL mode that has read
//! keeps the `-shm` open until it is closed (`unixOpenSharedMemory` and `unixShmUnmap` in SQLite's
//! os_unix.c; all connections of a process to one file share one descriptor), nobody else in this
//! process opens it, and the connection is borrowed for as long as the descriptor is.
#![allow(unsafe_code)]

use std::fs;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rusqlite::Connection;

use super::access;
use super::paths::sidecar;

/// That of the write-ahead log's index of this database, which the connection has read in WAL mode;
/// `None` where none can be found.
pub(in crate::sqlite) fn of_log<'c>(_open: &'c Connection, database: &Path) -> Option<BorrowedFd<'c>> {
    let wanted = access::identity(&sidecar(database, "-shm"))?;
    let number = fs::read_dir("/proc/self/fd").ok()?.filter_map(Result::ok).find_map(|entry| {
        let is_it = access::identity(&entry.path()) == Some(wanted);
        is_it.then(|| entry.file_name().to_str()?.parse().ok())?
    })?;
    // SAFETY: see the invariant above; the number is that of a descriptor which is open, as it was
    // just found.
    Some(unsafe { BorrowedFd::borrow_raw(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_found_where_the_log_is_open_and_only_there() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a.db");
        let connection = Connection::open(&path).unwrap();
        assert!(of_log(&connection, &path).is_none());
        connection.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE a (b)").unwrap();
        let found = of_log(&connection, &path).unwrap();
        let stat = rustix::fs::fstat(found).unwrap();
        assert_eq!(Some((stat.st_dev, stat.st_ino)), access::identity(&sidecar(&path, "-shm")));
    }
}
