//! That the operating system failed to read a file while SQLite was at work on this thread. SQLite
//! says `SQLITE_CORRUPT` of it, or puts it into the result of a check as it does damage
//! (`SQLITE_IOERR_CORRUPTFS` in vdbe.c and os_unix.c): of a file that is whole, perhaps, on a disk
//! that could not be read for a moment. Knows no file, and must never be set by anything but a call
//! that failed.

use std::cell::Cell;

thread_local! {
    static HAS_FAILED: Cell<bool> = const { Cell::new(false) };
}

/// A read failed just now. Asks nothing of the system, whose last error stays what it was.
pub fn failed() {
    HAS_FAILED.set(true);
}

/// Whatever failed before has nothing to do with what is done next.
pub fn forget() {
    HAS_FAILED.set(false);
}

/// Whether one failed since [`forget`], or since this was last asked.
pub fn have_failed() -> bool {
    HAS_FAILED.take()
}
