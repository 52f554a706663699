//! A database that is only ever written: what SQLite writes to it is kept in memory until it is
//! fetched, and forgotten. As the target of the backup API it gives the pages of a live database
//! without a copy on any disk (<https://www.sqlite.org/vfs.html>,
//! <https://www.sqlite.org/backup.html>). Must never touch a file.
//!
//! With `unsafe` once, in [`first_page`], for a statement on a connection that is borrowed; the
//! rest of it is in [`vfs`].
#![allow(unsafe_code)]

mod vfs;

use std::marker::PhantomData;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, ffi};

use self::vfs::{NAME, WRITTEN, WrittenPages, register};
use crate::error::{Error, Reason, Result};

/// A write-only database.
pub(super) struct Sink {
    connection: Connection,
    written: Fetch,
}

/// The right to fetch what was written.
pub(super) struct Fetch {
    /// Tied to its thread.
    _thread: PhantomData<*const ()>,
}

impl Sink {
    /// An empty one. Without journal and cache: every page goes out as soon as the next one comes.
    pub(in crate::sqlite) fn new() -> Result<Self> {
        let registered = register();
        if registered != ffi::SQLITE_OK {
            return Err(defect(&format!("SQLite refused it ({registered})")));
        }
        if WRITTEN.with_borrow(Option::is_some) {
            return Err(defect("a second one on one thread"));
        }
        WRITTEN.set(Some(WrittenPages::default()));
        // From here on dropping it gives the thread free again.
        let written = Fetch { _thread: PhantomData };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags_and_vfs("x", flags, NAME)?;
        connection.pragma_update(None, "journal_mode", "off")?;
        connection.pragma_update(None, "synchronous", "off")?;
        connection.pragma_update(None, "cache_size", 1)?;
        Ok(Self { connection, written })
    }

    /// The connection to write with, and the way to what it wrote.
    pub(in crate::sqlite) fn parts(&mut self) -> (&mut Connection, &Fetch) {
        (&mut self.connection, &self.written)
    }
}

impl Fetch {
    /// Gives what was written since the last time, in the order of writing, each part with its
    /// offset in the file.
    #[allow(clippy::unused_self, reason = "who may fetch is who has the sink, on its thread")]
    pub(in crate::sqlite) fn each(&self, part: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        // Taken out, so that `part` may use SQLite.
        let Some(mut written) = WRITTEN.take() else { return Ok(()) };
        let outcome =
            written.parts.iter().try_for_each(|(offset, range)| part(*offset, &written.bytes[range.clone()]));
        written.bytes.clear();
        written.parts.clear();
        WRITTEN.set(Some(written));
        outcome
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        WRITTEN.set(None);
    }
}

/// The first page of the database in `source`'s open transaction, as a backup has it but for the
/// file change counter, which begins anew.
///
/// SQLite writes the first page of a target last, when it commits; who wants to send a database off
/// as a stream needs it first. So a backup into a sink of its own is begun, with the first page
/// alone, and the target made to commit it by setting the `user_version` to what it is. SQLite's
/// documents leave open what a use of the target during a backup does; the target is thrown away
/// here, and the caller compares the page with the one that the real backup brings at its end.
pub(in crate::sqlite) fn first_page(source: &Connection, user_version: i64) -> Result<Vec<u8>> {
    let mut sink = Sink::new()?;
    // SAFETY: the handle is used below while `sink`, and with it the connection, lives.
    let target = unsafe { sink.connection.handle() };
    let (connection, written) = sink.parts();
    let backup = Backup::new(source, connection)?;
    // A database of one page is committed by this already.
    if backup.step(1)? != StepResult::Done {
        let commit = format!("PRAGMA user_version = {user_version}\0");
        // SAFETY: an open connection of this thread that nobody else uses now, a text that ends in
        // NUL, and neither a callback nor a place for a message. `backup` is not stepped again:
        // finishing it rolls back a transaction that is not open any more, which does nothing.
        let code = unsafe {
            ffi::sqlite3_exec(
                target,
                commit.as_ptr().cast(),
                None,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
        if code != ffi::SQLITE_OK {
            return Err(defect(&format!("the first page was not committed ({code})")));
        }
    }
    drop(backup);
    let mut first = Vec::new();
    written.each(&mut |offset, bytes| {
        if offset == 0 {
            first = bytes.to_vec();
        }
        Ok(())
    })?;
    Ok(first)
}

fn defect(what: &str) -> Error {
    Error::new(
        Reason::Sqlite,
        format!("the pages cannot be streamed: {what}; this is a defect in litekeeper"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(page_size: u32, rows: u32) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "page_size", page_size).unwrap();
        connection
            .execute_batch(&format!(
                "PRAGMA user_version = 7; CREATE TABLE t (a);
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
                 INSERT INTO t SELECT randomblob(1000) FROM n"
            ))
            .unwrap();
        connection
    }

    /// What a backup writes, put together as a file would be.
    fn written(source: &Connection) -> Vec<u8> {
        let mut sink = Sink::new().unwrap();
        let (connection, written) = sink.parts();
        let backup = Backup::new(source, connection).unwrap();
        let mut file = Vec::new();
        loop {
            let step = backup.step(3).unwrap();
            written
                .each(&mut |offset, bytes| {
                    let begin = usize::try_from(offset).unwrap();
                    let end = begin + bytes.len();
                    file.resize(file.len().max(end), 0);
                    file[begin..end].copy_from_slice(bytes);
                    Ok(())
                })
                .unwrap();
            if step == StepResult::Done {
                return file;
            }
        }
    }

    #[test]
    fn what_is_written_is_the_database() {
        for page_size in [512, 4096, 65536] {
            for rows in [0, 1, 300] {
                let source = database(page_size, rows);
                let file = tempfile::NamedTempFile::new().unwrap();
                std::fs::write(file.path(), written(&source)).unwrap();
                let copy = Connection::open(file.path()).unwrap();
                let say = |c: &Connection, sql: &str| {
                    c.query_row(sql, [], |row| row.get::<_, rusqlite::types::Value>(0)).unwrap()
                };
                assert_eq!(say(&copy, "PRAGMA integrity_check"), "ok".to_owned().into());
                for sql in
                    ["PRAGMA page_count", "SELECT count(*) FROM t", "SELECT hex(group_concat(a)) FROM t"]
                {
                    assert_eq!(say(&copy, sql), say(&source, sql), "{page_size} {rows} {sql}");
                }
            }
        }
    }

    #[test]
    fn the_first_page_can_be_had_first() {
        for page_size in [512, 4096, 65536] {
            let source = database(page_size, 300);
            let mut early = first_page(&source, 7).unwrap();
            let mut late = written(&source)[..page_size as usize].to_vec();
            assert_eq!(early.len(), late.len());
            // A backup gives the schema cookie a value of its own.
            early[40..44].fill(0);
            late[40..44].fill(0);
            assert_eq!(early, late, "{page_size}");
        }
    }

    #[test]
    fn one_thread_has_one_at_a_time_and_threads_do_not_meet() {
        let first = Sink::new().unwrap();
        assert!(Sink::new().is_err());
        let beside = std::thread::spawn(|| written(&database(4096, 50)).len());
        assert!(beside.join().unwrap() > 50_000);
        drop(first);
        assert!(Sink::new().is_ok());
    }

    #[test]
    fn nothing_else_can_be_done_with_it() {
        let mut sink = Sink::new().unwrap();
        let (connection, _) = sink.parts();
        connection.execute_batch("CREATE TABLE t (a)").unwrap();
        connection.execute_batch("PRAGMA shrink_memory").unwrap();
        // What was written is gone.
        assert!(connection.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).is_err());
        // Without a sink on its thread there is no file of this VFS.
        drop(sink);
        assert!(Connection::open_with_flags_and_vfs("x", OpenFlags::SQLITE_OPEN_READ_WRITE, NAME).is_err());
    }
}
