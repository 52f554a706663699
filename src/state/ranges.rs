//! Who may have a database open, as a lock on one byte of a file that all databases share: the
//! place of that byte follows from the database's name. So a daemon has one descriptor for all of
//! its databases, where a file for each would cost one for each (systemd gives a service 1024).
//!
//! These are locks of the open file (F_OFD_SETLK in fcntl(2)): like those of flock(2) they go with
//! the descriptor, and like those of POSIX they have a range. Neither std nor rustix has both,
//! which is why this calls libc. The invariants that the block with `unsafe` relies on: the
//! descriptor is borrowed for as long as the call lasts; the kernel reads, and for F_OFD_GETLK
//! writes, one `struct flock`, which lives on the stack of the caller. Must never lock by a
//! descriptor that a second holder in this process has as well: he would not be kept out.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{Error as SystemError, ErrorKind};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use libc::{F_OFD_GETLK, F_OFD_SETLK, F_RDLCK, F_UNLCK, F_WRLCK, c_int, c_short};
use sha2::{Digest as _, Sha256};

/// A file whose bytes are locked, opened once by each holder.
#[derive(Debug, Clone)]
pub(super) struct Bytes(Arc<File>);

/// The byte of one database, held as long as it lives.
#[derive(Debug)]
pub struct ByteLock {
    file: Arc<File>,
    byte: i64,
}

impl Drop for ByteLock {
    fn drop(&mut self) {
        // The last descriptor gives it back in any case.
        let _ = call(&self.file, F_OFD_SETLK, F_UNLCK, self.byte);
    }
}

impl Bytes {
    pub(super) fn new(file: File) -> Self {
        Self(Arc::new(file))
    }

    /// Takes the byte of a database; `None`: somebody else has it.
    pub(super) fn take(&self, database: &str) -> std::io::Result<Option<ByteLock>> {
        let byte = place(database);
        match call(&self.0, F_OFD_SETLK, F_WRLCK, byte) {
            Ok(_) => Ok(Some(ByteLock { file: Arc::clone(&self.0), byte })),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::PermissionDenied) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Whether somebody else has the byte of a database.
    pub(super) fn is_held(&self, database: &str) -> std::io::Result<bool> {
        Ok(call(&self.0, F_OFD_GETLK, F_RDLCK, place(database))? != c_int::from(F_UNLCK as c_short))
    }
}

/// Of 2^62 bytes, which a file need not have to be locked. That two databases of one machine share
/// one does not happen; they would wait for each other's restores.
fn place(database: &str) -> i64 {
    let hash = Sha256::digest(database.as_bytes());
    let first = hash.first_chunk().copied().unwrap_or_default();
    i64::from_le_bytes(first) & (i64::MAX >> 1)
}

/// Gives the kind of lock that the kernel says.
fn call(file: &File, command: c_int, kind: c_int, byte: i64) -> std::io::Result<c_int> {
    let range = libc::flock {
        l_type: kind as c_short,
        l_whence: libc::SEEK_SET as c_short,
        l_start: byte,
        l_len: 1,
        l_pid: 0,
    };
    let mut range = range;
    // SAFETY: see the invariants above.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut range) };
    if done == -1 { Err(SystemError::last_os_error()) } else { Ok(c_int::from(range.l_type)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_has_one_holder_and_others_do_not_know_of_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let [one, other] = [(); 2].map(|()| Bytes::new(file.reopen().unwrap()));
        let held = one.take("a").unwrap().unwrap();
        assert!(other.take("a").unwrap().is_none() && other.is_held("a").unwrap());
        assert!(!one.is_held("a").unwrap(), "its own");
        let second = other.take("b").unwrap().unwrap();
        drop(held);
        assert!(!other.is_held("a").unwrap() && one.is_held("b").unwrap());
        assert!(other.take("a").unwrap().is_some());
        drop(second);
    }
}
