//! Databases in a place that is read-only here: a mount, a medium, a sandbox. Another mount of the
//! same filesystem may be writable, so the database may be in use all the same, and is read by
//! SQLite's own locks only, never as one that nobody changes (HAZARDS H4). Judged by `stat`, by
//! asking for rights and by the header, which another process reads. Must never write.

use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, StatVfsMountFlags, accessat, statvfs};
use rustix::io::Errno;

use super::header;
use super::paths::{resolved, sidecar};
use crate::error::{Error, Reason, Result};
use crate::rights::{self, sandbox};

/// Why nothing can be written to the database, where it lies in such a place.
pub fn why(path: &Path) -> Option<Error> {
    let path = resolved(path);
    is_read_only(&path).then(|| {
        let text = format!(
            "{} lies on a filesystem that is read-only here; it is backed up, verified and checked, and not written. Where \
             it should be: {}",
            path.display(),
            remedy(&path)
        );
        Error::new(Reason::ReadOnly, text).of(&path)
    })
}

/// What to do where the filesystem of a file or directory cannot be written and should be.
pub(super) fn remedy(path: &Path) -> String {
    let directory = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("/")) };
    match sandbox::read_only(directory) {
        Some(remedy) => remedy,
        None if sandbox::is_read_only_mount(directory) => String::from(
            "the filesystem is writable, and is mounted read-only here: mount it writable here, too",
        ),
        None => String::from("mount that filesystem writable"),
    }
}

/// Refuses a place that only the sandbox of our own unit closes: whoever wrote the unit's paths did
/// not think of this database.
pub fn refuse_closed(path: &Path) -> Result<()> {
    let directory = resolved(path).parent().map(Path::to_owned).unwrap_or_default();
    match sandbox::read_only(&directory).and_then(|_| why(path)) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Whether the mount, or the filesystem itself, is read-only. A filesystem below the mount may be,
/// which only the attempt tells (a read-only snapshot of btrfs).
fn is_read_only(path: &Path) -> bool {
    statvfs(path).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY))
        || accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS) == Err(Errno::ROFS)
}

/// Whether SQLite reads the database at `path`, which is resolved, in such a place: outside WAL mode
/// reading takes locks alone. `None` where it is no such place.
pub(super) fn check(path: &Path) -> Option<Result<()>> {
    is_read_only(path).then(|| {
        let us = rights::us();
        accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS)
            .map_err(|e| Error::io(format!("user {us} may not read the database {}", path.display()), &e.into()))?;
        let is_there = |suffix| sidecar(path, suffix).is_file();
        if header::is_wal(path) != Some(true) || (is_there("-wal") && is_there("-shm")) {
            return Ok(());
        }
        let text = format!(
            "{} is in WAL mode and lies on a filesystem that is read-only here: SQLite reads such a database only where \
             it finds its -wal and its -shm, or can make them. On a medium that stays read-only, let path name a copy of it \
             elsewhere, or take it out of WAL mode before it goes there (PRAGMA journal_mode = DELETE). Elsewhere: {}",
            path.display(),
            remedy(path)
        );
        Err(Error::new(Reason::ReadOnly, text).of(path))
    })
}
