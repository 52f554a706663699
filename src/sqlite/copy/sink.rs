//! A database that is only ever written: what SQLite writes to it is kept in memory until it is fetched, and
//! forgotten. As the target of the backup API it gives the pages of a live database without a copy on any disk
//! (<https://www.sqlite.org/vfs.html>, <https://www.sqlite.org/backup.html>). Must never touch a file.
//!
//! With `unsafe`: SQLite calls a VFS through pointers. The invariants that every block relies on:
//!
//! 1. The file object holds nothing but the pointer to the table of methods, which is static. What was written lies
//!    in a thread-local of safe Rust, so no pointer of ours is ever given to SQLite but to statics.
//! 2. A [`Sink`] stays on the thread that made it (it is `!Send`), there is one at a time on a thread, and SQLite
//!    calls a VFS on the thread that uses the connection: the thread-local is that sink's.
//! 3. SQLite passes buffers of the lengths that it names, valid for the duration of the call (sqlite3.h,
//!    `sqlite3_io_methods` and `sqlite3_vfs`).
//! 4. No callback can panic into C: each does nothing but copy and compare, and the thread-local is not borrowed
//!    across a call into SQLite.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::mem::size_of;
use std::ops::Range;
use std::sync::OnceLock;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, ffi};

use crate::error::{Error, Reason, Result};

/// The VFS's name.
const NAME: &CStr = c"litekeeper-sink";
/// The longest name of a file; ours has one letter.
const LONGEST_NAME: c_int = 64;

/// A pointer.
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "8")]
const SIZE_OF_FILE: c_int = size_of::<ffi::sqlite3_file>() as c_int;

/// A write-only database.
pub(in crate::sqlite) struct Sink {
    connection: Connection,
    written: Fetch,
}

/// The right to fetch what was written.
pub(in crate::sqlite) struct Fetch {
    /// Tied to its thread.
    _thread: PhantomData<*const ()>,
}

/// What was written and not yet fetched.
#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    /// Where the parts of `bytes` belong in the file, in the order of writing; what joins is one part.
    parts: Vec<(u64, Range<usize>)>,
    /// Bytes of the file so far.
    size: u64,
}

thread_local! {
    static WRITTEN: RefCell<Option<Written>> = const { RefCell::new(None) };
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
        WRITTEN.set(Some(Written::default()));
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
    /// Gives what was written since the last time, in the order of writing, each part with its offset in the file.
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

/// The first page of the database in `source`'s open transaction, as a backup has it but for the file change
/// counter, which begins anew.
///
/// SQLite writes the first page of a target last, when it commits; who wants to send a database off as a stream
/// needs it first. So a backup into a sink of its own is begun, with the first page alone, and the target made
/// to commit it by setting the `user_version` to what it is. SQLite's documents leave open what a use of the
/// target during a backup does; the target is thrown away here, and the caller compares the page with the one that
/// the real backup brings at its end.
pub(in crate::sqlite) fn first_page(source: &Connection, user_version: i64) -> Result<Vec<u8>> {
    let mut sink = Sink::new()?;
    // SAFETY: the handle is used below while `sink`, and with it the connection, lives.
    let target = unsafe { sink.connection.handle() };
    let (connection, written) = sink.parts();
    let backup = Backup::new(source, connection)?;
    // A database of one page is committed by this already.
    if backup.step(1)? != StepResult::Done {
        let commit = format!("PRAGMA user_version = {user_version}\0");
        // SAFETY: an open connection of this thread that nobody else uses now, a text that ends in NUL, and neither
        // a callback nor a place for a message. `backup` is not stepped again: finishing it rolls back a
        // transaction that is not open any more, which does nothing.
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

/// Makes the VFS known to SQLite, once; never as the default one.
fn register() -> c_int {
    static REGISTERED: OnceLock<c_int> = OnceLock::new();
    *REGISTERED.get_or_init(|| {
        let vfs = Box::leak(Box::new(ffi::sqlite3_vfs {
            iVersion: 1,
            szOsFile: SIZE_OF_FILE,
            mxPathname: LONGEST_NAME,
            pNext: std::ptr::null_mut(),
            zName: NAME.as_ptr(),
            pAppData: std::ptr::null_mut(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_pathname),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xSleep: Some(sleep),
            xCurrentTime: Some(current_time),
            xGetLastError: None,
            xCurrentTimeInt64: None,
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        }));
        // SAFETY: the structure is complete and lives for ever.
        unsafe { ffi::sqlite3_vfs_register(vfs, 0) }
    })
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(number),
    xFileSize: Some(file_size),
    xLock: Some(number),
    xUnlock: Some(number),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// Only the database itself: without a journal there is nothing else to open.
unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    _: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let is_ours = flags & ffi::SQLITE_OPEN_MAIN_DB != 0 && WRITTEN.with_borrow(Option::is_some);
    // SAFETY: (3) `file` has `szOsFile` bytes for us; `out_flags` may be null.
    unsafe {
        (*file).pMethods = if is_ours { &raw const METHODS } else { std::ptr::null() };
        if !out_flags.is_null() {
            *out_flags = flags;
        }
    }
    if is_ours { ffi::SQLITE_OK } else { ffi::SQLITE_CANTOPEN }
}

unsafe extern "C" fn close(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_OK
}

/// Before the first write the file is empty; nothing that was written is ever read back.
unsafe extern "C" fn read(
    _: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    length: c_int,
    _: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: (3)
    unsafe { std::ptr::write_bytes(buffer.cast::<u8>(), 0, usize::try_from(length).unwrap_or(0)) };
    let is_empty = WRITTEN.with_borrow(|written| written.as_ref().is_some_and(|w| w.size == 0));
    if is_empty { ffi::SQLITE_IOERR_SHORT_READ } else { ffi::SQLITE_IOERR_READ }
}

unsafe extern "C" fn write(
    _: *mut ffi::sqlite3_file,
    buffer: *const c_void,
    length: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let (Ok(length), Ok(offset)) = (usize::try_from(length), u64::try_from(offset)) else {
        return ffi::SQLITE_IOERR_WRITE;
    };
    // SAFETY: (3)
    let bytes = unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), length) };
    WRITTEN.with_borrow_mut(|written| match written {
        Some(written) => {
            written.push(offset, bytes);
            ffi::SQLITE_OK
        }
        None => ffi::SQLITE_IOERR_WRITE,
    })
}

impl Written {
    fn push(&mut self, offset: u64, bytes: &[u8]) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        let end = self.bytes.len();
        match self.parts.last_mut() {
            Some((last, range)) if *last + range.len() as u64 == offset => range.end = end,
            _ => self.parts.push((offset, begin..end)),
        }
        self.size = self.size.max(offset + bytes.len() as u64);
    }
}

unsafe extern "C" fn file_size(_: *mut ffi::sqlite3_file, size: *mut ffi::sqlite3_int64) -> c_int {
    let bytes = WRITTEN.with_borrow(|written| written.as_ref().map_or(0, |w| w.size));
    // SAFETY: (3)
    unsafe { *size = ffi::sqlite3_int64::try_from(bytes).unwrap_or(ffi::sqlite3_int64::MAX) };
    ffi::SQLITE_OK
}

/// A target is never shortened; SQLite may set the length that it has.
unsafe extern "C" fn truncate(_: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    let has = WRITTEN.with_borrow(|written| written.as_ref().map_or(0, |w| w.size));
    if u64::try_from(size) == Ok(has) { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_TRUNCATE }
}

/// Locks and syncs: nobody else knows the file, and nothing is to be kept.
unsafe extern "C" fn number(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(_: *mut ffi::sqlite3_file, is_locked: *mut c_int) -> c_int {
    // SAFETY: (3)
    unsafe { *is_locked = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

/// No page is smaller: with a larger sector SQLite would write the pages of one sector together, and again.
unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    512
}

/// With this, SQLite takes sectors for 512 bytes whatever they are.
unsafe extern "C" fn device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, _: *const c_char, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

/// There is no journal beside it.
unsafe extern "C" fn access(
    _: *mut ffi::sqlite3_vfs,
    _: *const c_char,
    _: c_int,
    exists: *mut c_int,
) -> c_int {
    // SAFETY: (3)
    unsafe { *exists = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_pathname(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: (3) `name` ends in NUL and `out` has `room` bytes.
    unsafe {
        let name = CStr::from_ptr(name).to_bytes_with_nul();
        if name.len() > usize::try_from(room).unwrap_or(0) {
            return ffi::SQLITE_CANTOPEN;
        }
        std::ptr::copy_nonoverlapping(name.as_ptr(), out.cast::<u8>(), name.len());
    }
    ffi::SQLITE_OK
}

/// SQLite seeds its generator by the default VFS; this one's bytes decide nothing.
unsafe extern "C" fn randomness(_: *mut ffi::sqlite3_vfs, length: c_int, out: *mut c_char) -> c_int {
    // SAFETY: (3)
    unsafe { std::ptr::write_bytes(out, 0, usize::try_from(length).unwrap_or(0)) };
    length
}

unsafe extern "C" fn sleep(_: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    microseconds
}

/// The Julian day of 1970: no statement on a sink asks for the time.
unsafe extern "C" fn current_time(_: *mut ffi::sqlite3_vfs, day: *mut f64) -> c_int {
    // SAFETY: (3)
    unsafe { *day = 2_440_587.5 };
    ffi::SQLITE_OK
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
