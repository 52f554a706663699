//! The calls by which SQLite reaches files by their names, ours in the place of the system's: it
//! opens, makes, removes and looks at what lies beneath a directory handle, follows no link of
//! somebody who may not lead it there, and opens regular files only (HAZARDS H32). SQLite opens the
//! files beside a database long after it was judged, and by name: what is put there meanwhile is
//! found out here, on the very file. Must never open a file of which that is not known yet: closing
//! it would end the locks of other connections (H1); what is looked at is `O_PATH`.
//!
//! Where we are root, what is made and removed in a directory of somebody else is so with the
//! rights of the database's owner.
//!
//! With `unsafe`: SQLite calls these functions through pointers (`xSetSystemCall` of its VFS,
//! <https://www.sqlite.org/c3ref/vfs.html>). The invariants that every block relies on:
//!
//! 1. The types are those of `aSyscall` in SQLite's os_unix.c; names are texts that end in NUL,
//!    buffers have the lengths that come with them, both valid for the duration of the call.
//! 2. They are put in place once, before we have SQLite open any file: [`install`] is called by
//!    whatever makes a name for SQLite.
//! 3. No callback can panic into C: each only calls the system and compares; the thread-local is
//!    not borrowed across calls.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::fd::{AsRawFd as _, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rusqlite::ffi;
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::fs::{accessat, fstat, open, openat, readlinkat, statat, unlinkat};
use rustix::io::{Errno, Result as Tried};

use super::paths::SIDECARS;
use super::place::{self, is_trusted, reopened};
use crate::rights::{self, Owner};
use crate::sqlite::failed_reads;

/// What SQLite opens beside databases, by these names: for numbers by chance, and to keep the first
/// descriptors free.
const DEVICES: [&str; 2] = ["/dev/urandom", "/dev/null"];

/// Tries to open a name that somebody makes and removes meanwhile.
const TRIES: usize = 100;

/// SQLite's `fstat`, which knows what its `struct stat` looks like.
type FileStat = unsafe extern "C" fn(c_int, *mut c_void) -> c_int;
static FILE_STAT: OnceLock<FileStat> = OnceLock::new();

/// What SQLite keeps of each call, and the types by which it calls them.
type Any = unsafe extern "C" fn();
type Opens = unsafe extern "C" fn(*const c_char, c_int, c_int) -> c_int;
type Stats = unsafe extern "C" fn(*const c_char, *mut c_void) -> c_int;
type Asks = unsafe extern "C" fn(*const c_char, c_int) -> c_int;
type Removes = unsafe extern "C" fn(*const c_char) -> c_int;
type Reads = unsafe extern "C" fn(*const c_char, *mut c_char, usize) -> isize;

/// The links that SQLite follows to find out where a path leads, on this thread, right before it
/// opens what is there.
#[derive(Default)]
struct LinkOwners {
    /// Their owners, where that is neither root nor we.
    owners: Vec<u32>,
    /// A link was read just now: what is looked at next is still the same path.
    goes_on: bool,
    /// The path that was opened first since then: where SQLite may not write, it opens it once more
    /// to read.
    opened: PathBuf,
}

thread_local! {
    static FOLLOWED: RefCell<LinkOwners> = RefCell::default();
}

/// Puts them in place, the first time that it is called. `false`: SQLite did not take them.
pub(in crate::sqlite) fn install() -> bool {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    *INSTALLED.get_or_init(|| replaced().is_some() && failed_reads::install())
}

fn replaced() -> Option<()> {
    // SAFETY: finds a VFS by a name that is a text; what it gives is null or lives as long as the
    // process.
    let vfs = unsafe { ffi::sqlite3_vfs_find(c"unix".as_ptr()) };
    // SAFETY: see above; nobody changes the table of methods.
    let methods = unsafe { vfs.as_ref() }?;
    let (get, set) = (methods.xGetSystemCall?, methods.xSetSystemCall?);
    // SAFETY: this VFS and a text.
    let original = unsafe { get(vfs, c"fstat".as_ptr()) }?;
    // SAFETY: SQLite's `fstat` has this type (invariant 1).
    let original = unsafe { std::mem::transmute::<unsafe extern "C" fn(), FileStat>(original) };
    FILE_STAT.get_or_init(|| original);
    // SAFETY: SQLite calls each by the type that it has here (invariant 1).
    let calls: [(&CStr, Any); 6] = unsafe {
        [
            (c"open", std::mem::transmute::<Opens, Any>(on_open)),
            (c"stat", std::mem::transmute::<Stats, Any>(on_stat)),
            (c"lstat", std::mem::transmute::<Stats, Any>(on_lstat)),
            (c"access", std::mem::transmute::<Asks, Any>(on_access)),
            (c"unlink", std::mem::transmute::<Removes, Any>(on_unlink)),
            (c"readlink", std::mem::transmute::<Reads, Any>(on_readlink)),
        ]
    };
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
/// As for all of them: called by SQLite, with the arguments that invariant 1 names.
unsafe extern "C" fn on_open(name: *const c_char, flags: c_int, mode: c_int) -> c_int {
    // SAFETY: invariant 1.
    let path = unsafe { path(name) };
    let flags = OFlags::from_bits_retain(flags.cast_unsigned());
    let opened = opened(path, flags, Mode::from_raw_mode(mode.cast_unsigned()));
    told(opened.map(IntoRawFd::into_raw_fd))
}

unsafe extern "C" fn on_stat(name: *const c_char, into: *mut c_void) -> c_int {
    // SAFETY: invariant 1.
    let found = place::handle(unsafe { path(name) }, true);
    // SAFETY: invariant 1: `into` is what SQLite's own `stat` would fill.
    unsafe { stat(found, into) }
}

unsafe extern "C" fn on_lstat(name: *const c_char, into: *mut c_void) -> c_int {
    // SAFETY: invariant 1.
    let path = unsafe { path(name) };
    FOLLOWED.with_borrow_mut(|followed| {
        let begins = path.components().count() == 2;
        if begins && !followed.goes_on {
            followed.owners.clear();
            followed.opened.clear();
        }
        followed.goes_on = false;
    });
    // SAFETY: as above.
    unsafe { stat(place::itself(path), into) }
}

unsafe extern "C" fn on_access(name: *const c_char, access: c_int) -> c_int {
    // SAFETY: invariant 1.
    let path = unsafe { path(name) };
    let access = Access::from_bits_retain(access.cast_unsigned());
    // Only an answer: what it is about is looked at again when it is opened.
    let may = place::handle(path, true).and_then(|_| accessat(CWD, path, access, AtFlags::empty()));
    told(may.map(|()| 0))
}

unsafe extern "C" fn on_unlink(name: *const c_char) -> c_int {
    // SAFETY: invariant 1.
    told(removed(unsafe { path(name) }).map(|()| 0))
}

unsafe extern "C" fn on_readlink(name: *const c_char, into: *mut c_char, length: usize) -> isize {
    // SAFETY: invariant 1.
    let path = unsafe { path(name) };
    let read = place::itself(path).and_then(|link| {
        let owner = fstat(&link)?.st_uid;
        let target = readlinkat(&link, "", Vec::new())?.into_bytes();
        FOLLOWED.with_borrow_mut(|followed| {
            followed.goes_on = true;
            if !is_trusted(owner) {
                followed.owners.push(owner);
            }
        });
        Ok(target)
    });
    match read {
        Ok(target) => {
            let length = target.len().min(length);
            // SAFETY: `into` has room for as many bytes as were asked for, and does not overlap
            // what is ours.
            unsafe { std::ptr::copy_nonoverlapping(target.as_ptr().cast(), into, length) };
            length.cast_signed()
        }
        Err(e) => told(Err(e)) as isize,
    }
}

/// # Safety
/// `name` is a text that ends in NUL and outlives what is returned.
unsafe fn path<'a>(name: *const c_char) -> &'a Path {
    // SAFETY: what is asked of the caller.
    Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes()))
}

/// # Safety
/// `into` is what SQLite's `fstat` may fill.
unsafe fn stat(found: Tried<OwnedFd>, into: *mut c_void) -> c_int {
    match (found, FILE_STAT.get()) {
        // SAFETY: an open descriptor, and what is asked of the caller.
        (Ok(found), Some(fstat)) => unsafe { fstat(found.as_raw_fd(), into) },
        (Err(e), _) => told(Err(e)),
        (_, None) => told(Err(Errno::NOSYS)),
    }
}

/// As C is told: the number, or -1 and why in `errno`.
fn told(done: Tried<c_int>) -> c_int {
    done.unwrap_or_else(|e| {
        errno::set_errno(errno::Errno(e.raw_os_error()));
        -1
    })
}

fn opened(path: &Path, flags: OFlags, mode: Mode) -> Tried<OwnedFd> {
    if DEVICES.iter().any(|device| path == Path::new(device)) {
        return open(path, flags | OFlags::CLOEXEC, mode);
    }
    let there = flags.difference(OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW);
    if place::is_descriptor(path) {
        return reopened(&place::handle(path, false)?, there);
    }
    let owners = FOLLOWED.with_borrow_mut(|followed| {
        if followed.opened.as_os_str().is_empty() {
            path.clone_into(&mut followed.opened);
        }
        if followed.opened == path { followed.owners.clone() } else { Vec::new() }
    });
    let (directory, name) = place::beneath(path)?;
    let above = fstat(&directory)?;
    let may_lead = |owner: u32| owners.iter().all(|maker| *maker == owner);
    for _ in 0..TRIES {
        match place::look(&directory, name) {
            Ok(_) if flags.contains(OFlags::CREATE | OFlags::EXCL) => return Err(Errno::EXIST),
            Ok(found) => {
                let file = fstat(&found)?;
                let is_right = match FileType::from_raw_mode(file.st_mode) {
                    FileType::RegularFile => !place::has_foreign_name(&above, &file),
                    // To be flushed.
                    FileType::Directory => flags.intersection(OFlags::ACCMODE) == OFlags::RDONLY,
                    _ => false,
                };
                if !is_right || !may_lead(file.st_uid) {
                    return Err(Errno::LOOP);
                }
                return match reopened(&found, there) {
                    // Where there is no /proc.
                    Err(Errno::NOENT) => by_name(&directory, name, &file, there),
                    opened => opened,
                };
            }
            Err(Errno::NOENT) if flags.contains(OFlags::CREATE) => {
                if !may_lead(above.st_uid) {
                    return Err(Errno::LOOP);
                }
                let flags = flags | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match with_rights(&directory, &above, name, || openat(&directory, name, flags, mode)) {
                    Err(Errno::EXIST) => {}
                    done => return done,
                }
            }
            Err(e) => return Err(e),
        }
    }
    Err(Errno::LOOP)
}

/// Opens a file that was looked at once more by its name.
fn by_name(directory: &OwnedFd, name: &OsStr, looked_at: &Stat, flags: OFlags) -> Tried<OwnedFd> {
    // What got there meanwhile is not waited for.
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = openat(directory, name, flags, Mode::empty())?;
    let file = fstat(&opened)?;
    let is_same = (file.st_dev, file.st_ino) == (looked_at.st_dev, looked_at.st_ino);
    if is_same { Ok(opened) } else { Err(Errno::LOOP) }
}

fn removed(path: &Path) -> Tried<()> {
    let (directory, name) = place::beneath(path)?;
    let above = fstat(&directory)?;
    with_rights(&directory, &above, name, || unlinkat(&directory, name, AtFlags::empty()))
}

/// Does something in a directory with the rights of the database's owner, where others than root
/// and ourselves may write there; and where he may not, with those of the directory's.
fn with_rights<T>(directory: &OwnedFd, above: &Stat, name: &OsStr, work: impl Fn() -> Tried<T>) -> Tried<T> {
    if !place::is_others(above) {
        return work();
    }
    let database = SIDECARS.iter().find_map(|suffix| name.as_bytes().strip_suffix(suffix.as_bytes()));
    let file = database
        .and_then(|name| statat(directory, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW).ok())
        .map_or(*above, |file| file);
    let owner = |of: &Stat| Owner { uid: of.st_uid, gid: of.st_gid };
    match rights::of(owner(&file), above.st_gid, &work) {
        Err(Errno::ACCESS | Errno::PERM) => rights::of(owner(above), above.st_gid, &work),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::{Connection, OpenFlags};
    use std::os::unix::fs::symlink;

    fn made(path: &Path) -> Connection {
        assert!(install());
        let connection = Connection::open(path).unwrap();
        connection.execute_batch("CREATE TABLE a (b); INSERT INTO a VALUES (1)").unwrap();
        connection
    }

    fn count(connection: &Connection) -> rusqlite::Result<i64> {
        connection.query_row("SELECT count(*) FROM a", [], |row| row.get(0))
    }

    #[test]
    fn a_database_is_made_written_and_read_in_each_journal_mode() {
        let base = tempfile::tempdir().unwrap();
        for mode in ["delete", "truncate", "persist", "wal"] {
            let path = base.path().join(format!("{mode}.db"));
            let connection = made(&path);
            connection.pragma_update(None, "journal_mode", mode).unwrap();
            connection.execute_batch("INSERT INTO a VALUES (2)").unwrap();
            let other = Connection::open(&path).unwrap();
            assert_eq!(count(&other).unwrap(), 2);
            drop(connection);
            other.execute_batch("BEGIN; INSERT INTO a VALUES (3); ROLLBACK; VACUUM").unwrap();
            assert_eq!(count(&other).unwrap(), 2);
        }
        let left: Vec<_> = std::fs::read_dir(base.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.iter().filter(|name| name.to_string_lossy().contains("-wal")).count(), 0, "{left:?}");
    }

    #[test]
    fn own_links_are_followed_and_those_beside_a_database_are_not() {
        let base = tempfile::tempdir().unwrap();
        let (real, link) = (base.path().join("real.db"), base.path().join("link.db"));
        drop(made(&real));
        symlink("real.db", &link).unwrap();
        assert_eq!(count(&Connection::open(&link).unwrap()).unwrap(), 1);

        let victim = base.path().join("victim");
        std::fs::write(&victim, "theirs").unwrap();
        symlink(&victim, base.path().join("real.db-journal")).unwrap();
        let connection = Connection::open(&real).unwrap();
        connection.execute_batch("INSERT INTO a VALUES (2)").unwrap_err();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "theirs");
    }

    /// Where it may not write a file, SQLite asks for it once more, to read.
    #[test]
    fn a_link_of_somebody_else_is_followed_neither_to_write_nor_to_read() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("skipped: needs root");
        }
        let base = tempfile::tempdir().unwrap();
        let (real, link) = (base.path().join("real.db"), base.path().join("link.db"));
        drop(made(&real));
        symlink("real.db", &link).unwrap();
        std::os::unix::fs::chown(&real, Some(12346), None).unwrap();
        std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
        for flags in [OpenFlags::SQLITE_OPEN_READ_WRITE, OpenFlags::SQLITE_OPEN_READ_ONLY] {
            let opened = Connection::open_with_flags(&link, flags);
            assert!(opened.and_then(|connection| count(&connection)).is_err(), "{flags:?}");
        }
        std::os::unix::fs::lchown(&link, Some(12346), None).unwrap();
        assert_eq!(count(&Connection::open(&link).unwrap()).unwrap(), 1);
    }

    #[test]
    fn a_pipe_in_place_of_a_journal_or_a_database_hangs_nothing() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a.db");
        drop(made(&path));
        for name in ["a.db-journal", "pipe.db"] {
            let pipe = base.path().join(name);
            rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        }
        count(&Connection::open(&path).unwrap()).unwrap_err();
        Connection::open(base.path().join("pipe.db")).unwrap_err();
    }

    #[test]
    fn what_is_named_by_a_descriptor_is_the_file_that_it_stands_for() {
        let base = tempfile::tempdir().unwrap();
        let (path, away) = (base.path().join("a.db"), base.path().join("away.db"));
        drop(made(&path));
        let file = std::fs::File::open(&path).unwrap();
        std::fs::rename(&path, &away).unwrap();
        std::fs::write(&path, "another file that is no database").unwrap();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let connection = Connection::open_with_flags(place::of_descriptor(&file), flags).unwrap();
        assert_eq!(count(&connection).unwrap(), 1);

        let directory = std::fs::File::open(base.path()).unwrap();
        let connection = Connection::open(place::of_descriptor(&directory).join("away.db")).unwrap();
        connection.execute_batch("INSERT INTO a VALUES (2)").unwrap();
        assert_eq!(count(&connection).unwrap(), 2);
    }
}
