//! The VFS of a sink: what SQLite calls to write a file, and to know that there is none.
//!
//! With `unsafe`: SQLite calls a VFS through pointers. The invariants that every block relies on:
//!
//! 1. The file object holds nothing but the pointer to the table of methods, which is static. What
//!    was written lies in a thread-local of safe Rust, so no pointer of ours is ever given to
//!    SQLite but to statics.
//! 2. A [`super::Sink`] stays on the thread that made it (it is `!Send`), there is one at a time on
//!    a thread, and SQLite calls a VFS on the thread that uses the connection: the thread-local is
//!    that sink's.
//! 3. SQLite passes buffers of the lengths that it names, valid for the duration of the call
//!    (sqlite3.h, `sqlite3_io_methods` and `sqlite3_vfs`).
//! 4. No callback can panic into C: each does nothing but copy and compare, and the thread-local is
//!    not borrowed across a call into SQLite.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::size_of;
use std::ops::Range;
use std::sync::OnceLock;

use rusqlite::ffi;

/// The VFS's name.
pub(super) const NAME: &CStr = c"litekeeper-sink";
/// The longest name of a file; ours has one letter.
const LONGEST_NAME: c_int = 64;

/// A pointer.
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "8")]
const SIZE_OF_FILE: c_int = size_of::<ffi::sqlite3_file>() as c_int;

/// What was written and not yet fetched.
#[derive(Default)]
pub(super) struct WrittenPages {
    pub(super) bytes: Vec<u8>,
    /// Where the parts of `bytes` belong in the file, in the order of writing; what joins is one
    /// part.
    pub(super) parts: Vec<(u64, Range<usize>)>,
    /// Bytes of the file so far.
    size: u64,
}

thread_local! {
    /// Of the sink on this thread; `None`: it has none.
    pub(super) static WRITTEN: RefCell<Option<WrittenPages>> = const { RefCell::new(None) };
}

/// Makes the VFS known to SQLite, once; never as the default one.
pub(super) fn register() -> c_int {
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

impl WrittenPages {
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

/// No page is smaller: with a larger sector SQLite would write the pages of one sector together,
/// and again.
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
