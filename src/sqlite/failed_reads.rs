//! The calls by which SQLite reads files, ours in the place of the system's: they do the same, and
//! note where one failed (see [`reads`]). Must never change what SQLite is told.
//!
//! With `unsafe`: SQLite calls these functions through pointers, as those of
//! [`super::files::system_calls`], whose invariants hold here.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::sync::OnceLock;

use rusqlite::ffi;
use rustix::io::Errno;

use crate::error::reads;

type Any = unsafe extern "C" fn();
type Reads = unsafe extern "C" fn(c_int, *mut c_void, usize) -> isize;
type ReadsAt = unsafe extern "C" fn(c_int, *mut c_void, usize, i64) -> isize;

static READ: OnceLock<Reads> = OnceLock::new();
static READ_AT: OnceLock<ReadsAt> = OnceLock::new();

/// Of which SQLite makes damage.
const FAILURES: [Errno; 3] = [Errno::IO, Errno::NXIO, Errno::RANGE];

/// Puts them in place, once. `false`: SQLite did not take them.
pub(in crate::sqlite) fn install() -> bool {
    replaced().is_some()
}

fn replaced() -> Option<()> {
    // SAFETY: finds a VFS by a name that is a text; what it gives is null or lives as long as the
    // process.
    let vfs = unsafe { ffi::sqlite3_vfs_find(c"unix".as_ptr()) };
    // SAFETY: see above; nobody changes the table of methods.
    let methods = unsafe { vfs.as_ref() }?;
    let (get, set) = (methods.xGetSystemCall?, methods.xSetSystemCall?);
    let original = |name: &CStr| {
        // SAFETY: this VFS and a text.
        unsafe { get(vfs, name.as_ptr()) }
    };
    let read = original(c"read")?;
    // SAFETY: SQLite's `read` has this type.
    let read = unsafe { std::mem::transmute::<Any, Reads>(read) };
    READ.get_or_init(|| read);
    // SAFETY: as above.
    let mut calls: Vec<(&CStr, Any)> = vec![(c"read", unsafe { std::mem::transmute::<Reads, Any>(on_read) })];
    // SQLite was built with one of them, or with none: what it has not is null.
    for name in [c"pread", c"pread64"] {
        let Some(read) = original(name) else { continue };
        // SAFETY: both have this type, as offsets have 64 bits.
        let read = unsafe { std::mem::transmute::<Any, ReadsAt>(read) };
        READ_AT.get_or_init(|| read);
        // SAFETY: as above.
        calls.push((name, unsafe { std::mem::transmute::<ReadsAt, Any>(on_read_at) }));
    }
    for (name, call) in calls {
        // SAFETY: this VFS, the name of one of its calls, and a function of its type that lives for
        // ever.
        if unsafe { set(vfs, name.as_ptr(), Some(call)) } != ffi::SQLITE_OK {
            return None;
        }
    }
    Some(())
}

/// # Safety
/// Called by SQLite, with a descriptor and a buffer of this length.
unsafe extern "C" fn on_read(file: c_int, buffer: *mut c_void, length: usize) -> isize {
    // What is not there is never called.
    let Some(read) = READ.get() else { return -1 };
    // SAFETY: the caller's arguments, passed on.
    noted(unsafe { read(file, buffer, length) })
}

/// # Safety
/// As of [`on_read`].
unsafe extern "C" fn on_read_at(file: c_int, buffer: *mut c_void, length: usize, at: i64) -> isize {
    let Some(read) = READ_AT.get() else { return -1 };
    // SAFETY: the caller's arguments, passed on.
    noted(unsafe { read(file, buffer, length, at) })
}

fn noted(read: isize) -> isize {
    if read < 0 {
        let code = io::Error::last_os_error().raw_os_error();
        if FAILURES.iter().any(|failure| code == Some(failure.raw_os_error())) {
            reads::failed();
        }
    }
    read
}
