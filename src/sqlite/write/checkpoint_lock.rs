//! SQLite's lock for checkpoints, held by us: until it is let go no process and no connection moves
//! a write-ahead log into its database file (HAZARDS H29). Must only be taken by [`super::hold`],
//! which lets nothing of ours commit without it.
//!
//! SQLite takes the lock for each checkpoint and has no statement that takes it alone, so that it
//! is asked for where SQLite itself asks: by the method `xShmLock` of the open database file
//! (<https://www.sqlite.org/c3ref/io_methods.html>), for the second of the locks in the wal-index
//! (`WAL_CKPT_LOCK` in <https://www.sqlite.org/walformat.html>). The invariants that every block
//! with `unsafe` relies on:
//!
//! 1. The file object is SQLite's own, of the database `main` (SQLITE_FCNTL_FILE_POINTER,
//!    <https://www.sqlite.org/c3ref/c_fcntl_begin_atomic_write.html>). It lives as long as the
//!    connection, which is borrowed for as long as the lock lives.
//! 2. A connection is used on one thread at a time, and borrowed it stays on that one (`Connection`
//!    is not `Sync`): nobody else is within a method of its file object.
//! 3. The wal-index is there, and stays. It is opened by the first read in WAL mode and closed with
//!    the connection; a connection in WAL mode keeps a shared lock on the file all the while, so
//!    that nobody takes the database out of that mode. A file object without one refuses the lock,
//!    and nothing is done.
//! 4. The lock is given back once, by who has it: SQLite would give back one that the connection
//!    does not have as well.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;

use rusqlite::{Connection, ffi};

use crate::error::{Error, Reason, Result};
use crate::sqlite::look::facts::is_wal;

/// Its place among the locks of a wal-index.
const WAL_CKPT_LOCK: c_int = 1;

/// The lock, until it is dropped. Of a database without a write-ahead log, which has no
/// checkpoints, an empty one.
pub(in crate::sqlite) struct CheckpointLock<'c> {
    file: Option<*mut ffi::sqlite3_file>,
    connection: PhantomData<&'c Connection>,
}

impl<'c> CheckpointLock<'c> {
    /// Takes it; `None` while somebody makes a checkpoint, which is not waited for. The connection
    /// must have read the database since others could last change its journal mode: in a
    /// transaction it has.
    ///
    /// Until it is dropped, the connection itself makes no checkpoint either: it would find the
    /// lock taken.
    pub(in crate::sqlite) fn take(connection: &'c Connection) -> Result<Option<Self>> {
        if !is_wal(connection)? {
            return Ok(Some(Self { file: None, connection: PhantomData }));
        }
        let file = main_file(connection)?;
        match shm_lock(file, ffi::SQLITE_SHM_LOCK) {
            ffi::SQLITE_OK => Ok(Some(Self { file: Some(file), connection: PhantomData })),
            ffi::SQLITE_BUSY => Ok(None),
            code => Err(refused(code)),
        }
    }
}

impl Drop for CheckpointLock<'_> {
    fn drop(&mut self) {
        let Some(file) = self.file else { return };
        let code = shm_lock(file, ffi::SQLITE_SHM_UNLOCK);
        if code != ffi::SQLITE_OK {
            // Until the connection is closed nobody makes a checkpoint; nothing is lost by that.
            tracing::error!("the lock for checkpoints could not be given back: SQLite says {code}");
        }
    }
}

/// The file object of the database.
fn main_file(connection: &Connection) -> Result<*mut ffi::sqlite3_file> {
    let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
    let into: *mut c_void = (&raw mut file).cast();
    // SAFETY: an open connection, a name that ends in NUL, and room for the pointer that this
    // operation stores.
    let code = unsafe {
        ffi::sqlite3_file_control(connection.handle(), c"main".as_ptr(), ffi::SQLITE_FCNTL_FILE_POINTER, into)
    };
    if code == ffi::SQLITE_OK && !file.is_null() { Ok(file) } else { Err(refused(code)) }
}

/// Takes the lock or gives it back; SQLite's result code. `file` is of [`main_file`], and its
/// connection still borrowed.
fn shm_lock(file: *mut ffi::sqlite3_file, what: c_int) -> c_int {
    // SAFETY: (1) and (2). The table of methods is null for a file that is not open, and static
    // otherwise; what it has of version 2 is only there in one of that version.
    let method = unsafe {
        (*file).pMethods.as_ref().filter(|methods| methods.iVersion >= 2).and_then(|methods| methods.xShmLock)
    };
    let Some(method) = method else { return ffi::SQLITE_IOERR_SHMLOCK };
    // SAFETY: (1) to (4), and flags as sqlite3.h demands them for one lock of those in a wal-index.
    unsafe { method(file, WAL_CKPT_LOCK, 1, what | ffi::SQLITE_SHM_EXCLUSIVE) }
}

fn refused(code: c_int) -> Error {
    Error::new(Reason::Io, format!("SQLite refused the lock for checkpoints ({code}); nothing was written"))
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::{Mode, checkpoint};
    use super::*;

    /// Two connections to one database in WAL mode, with something in its log.
    fn two() -> (tempfile::TempDir, [Connection; 2]) {
        let base = tempfile::tempdir().unwrap();
        let open = || Connection::open(base.path().join("a.db")).unwrap();
        let both = [open(), open()];
        both[0].execute_batch("PRAGMA journal_mode = wal; CREATE TABLE a (b)").unwrap();
        assert!(is_read(&both[1]));
        (base, both)
    }

    fn is_read(connection: &Connection) -> bool {
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).is_ok()
    }

    fn is_busy(connection: &Connection, mode: Mode) -> bool {
        checkpoint(connection, mode).unwrap().unwrap().busy
    }

    #[test]
    fn while_it_is_held_nobody_makes_a_checkpoint_and_everybody_reads_and_writes() {
        let (_base, [ours, theirs]) = two();
        for connection in [&ours, &theirs] {
            let lock = CheckpointLock::take(connection).unwrap().unwrap();
            for mode in [Mode::Passive, Mode::Truncate] {
                assert!(is_busy(&theirs, mode) && is_busy(&ours, mode), "{mode:?}");
            }
            for other in [&ours, &theirs] {
                other.execute("INSERT INTO a VALUES (1)", []).unwrap();
                assert!(is_read(other));
            }
            drop(lock);
            for mode in [Mode::Passive, Mode::Truncate] {
                assert!(!is_busy(&theirs, mode) && !is_busy(&ours, mode), "{mode:?}");
            }
        }
    }

    #[test]
    fn it_is_one_person_s_at_a_time_in_a_transaction_and_outside() {
        let (_base, [ours, theirs]) = two();
        ours.execute_batch("BEGIN IMMEDIATE; INSERT INTO a VALUES (1)").unwrap();
        let lock = CheckpointLock::take(&ours).unwrap().unwrap();
        assert!(CheckpointLock::take(&theirs).unwrap().is_none());
        ours.execute_batch("COMMIT").unwrap();
        assert!(CheckpointLock::take(&theirs).unwrap().is_none());
        assert!(CheckpointLock::take(&ours).unwrap().is_none());
        // What was not had is not given back.
        assert!(is_busy(&theirs, Mode::Passive));
        drop(lock);
        assert!(CheckpointLock::take(&theirs).unwrap().is_some());
    }

    #[test]
    fn it_is_given_back_by_a_panic() {
        let (_base, [ours, theirs]) = two();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _lock = CheckpointLock::take(&ours).unwrap().unwrap();
            assert!(!is_busy(&theirs, Mode::Passive), "a panic");
        }));
        assert!(panicked.is_err());
        assert!(!is_busy(&theirs, Mode::Passive));
    }

    #[test]
    fn outside_wal_mode_there_is_nothing_to_hold() {
        let base = tempfile::tempdir().unwrap();
        let on_disk = Connection::open(base.path().join("a.db")).unwrap();
        on_disk.execute_batch("CREATE TABLE a (b)").unwrap();
        for connection in [on_disk, Connection::open_in_memory().unwrap()] {
            let first = CheckpointLock::take(&connection).unwrap();
            assert!(first.is_some() && CheckpointLock::take(&connection).unwrap().is_some());
        }
    }

    /// In exclusive mode the index of the log lies in memory of the connection's own; nobody else
    /// has the file open.
    #[test]
    fn without_a_shared_index_it_is_refused() {
        let (base, both) = two();
        drop(both);
        let alone = Connection::open(base.path().join("a.db")).unwrap();
        alone.execute_batch("PRAGMA locking_mode = exclusive; INSERT INTO a VALUES (1)").unwrap();
        let refused = CheckpointLock::take(&alone).map(|_| ()).unwrap_err();
        assert_eq!(refused.reason, Reason::Io);
        alone.execute_batch("INSERT INTO a VALUES (2)").unwrap();
    }
}
