//! A file on its way into a directory: under a name of its own until it is whole and durable. Must never
//! leave one behind: dropped, it is removed; of a killed process, the next one removes it.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise, fdatasync, fstat};

use super::directory::Directory;
use crate::error::{Error, Reason, Result};

/// How a temporary file's name begins: hidden, so never listed.
const PREFIX: &str = ".tmp-";

/// Written bytes go to disk this often: one big flush at the end would stall the application's own writes for
/// as long as it lasts.
const FLUSH_EVERY: u64 = 8 << 20;

/// A temporary file. Locked while it lives, which tells it from a dead one.
pub(super) struct Temp<'a> {
    dir: &'a Directory,
    name: String,
    file: File,
    /// Still under its temporary name.
    pending: bool,
}

impl<'a> Temp<'a> {
    /// Makes one for the file `name`, after removing dead ones.
    pub(super) fn create(dir: &'a Directory, name: &str) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        sweep(dir)?;
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{PREFIX}{name}-{}-{number}", std::process::id());
            let Some(file) = dir.create_file(&name)? else { continue };
            let temp = Self { dir, name, file, pending: true };
            // Another process may have taken it for dead between its making and its locking.
            if lock(&temp.file, Kind::Exclusive, Duration::from_secs(10))
                .map_err(|e| dir.failed("cannot lock", &temp.name, e))?
                && is_linked(&temp.file)
            {
                return Ok(temp);
            }
        }
    }

    /// A writer into it that flushes as it goes.
    pub(super) fn writer(&self) -> Flushing<'_> {
        Flushing { file: &self.file, written: 0, flushed: 0, failure: None }
    }

    /// Makes it durable and gives it its name; with `new`, only if that is not taken.
    pub(super) fn publish(mut self, name: &str, new: bool) -> Result<()> {
        self.file.sync_all().map_err(|e| self.dir.failed("cannot flush", &self.name, e))?;
        if !new {
            self.dir.rename(&self.name, name)?;
        } else if !self.dir.rename_new(&self.name, name)? {
            return Err(taken(self.dir, name));
        }
        self.pending = false;
        let synced = self.dir.sync();
        if synced.is_err() && new {
            // Whole or nothing: it might not survive a power cut, so it must not be seen now.
            self.dir.remove(name)?;
        }
        synced
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        if self.pending {
            // Gone already, or beyond our reach: a later sweep removes it.
            let _ = self.dir.remove(&self.name);
        }
        let _ = self.file.unlock();
    }
}

/// The error for a name that is taken.
pub(super) fn taken(dir: &Directory, name: &str) -> Error {
    Error::new(Reason::Refused, format!("{} exists already; it is not overwritten", dir.shown(name)))
}

/// Removes temporary files that no living process has locked.
pub(super) fn sweep(dir: &Directory) -> Result<()> {
    for name in dir.names()?.iter().filter(|n| n.starts_with(PREFIX)) {
        // One that cannot be opened or locked now is somebody's, or a later put's.
        let Ok(file) = dir.open_file(name, true) else { continue };
        if file.try_lock().is_ok() && is_linked(&file) && dir.remove(name).is_ok() {
            tracing::info!(path = dir.shown(name), "removed an unfinished file of a run that was killed");
        }
    }
    Ok(())
}

/// Whether the file still has a name.
pub(super) fn is_linked(file: &File) -> bool {
    fstat(file).is_ok_and(|s| s.st_nlink > 0)
}

/// A locked file. Unlocked by name, not by closing alone: a process forked just now has a copy of the descriptor
/// until it executes something else.
pub(super) struct Locked(pub(super) File);

impl Drop for Locked {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// How a file is locked.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// With others.
    Shared,
    /// Alone.
    Exclusive,
}

/// Locks a file by `flock`, waiting up to `limit`; `false` when another kept it that long.
pub(super) fn lock(file: &File, kind: Kind, limit: Duration) -> io::Result<bool> {
    let start = Instant::now();
    loop {
        let tried = match kind {
            Kind::Shared => file.try_lock_shared(),
            Kind::Exclusive => file.try_lock(),
        };
        match tried {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if start.elapsed() >= limit => return Ok(false),
            // Polling, as a waiting flock could be ended by nothing.
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            Err(TryLockError::Error(e)) => return Err(e),
        }
    }
}

/// Writes to a file, sends it to disk every [`FLUSH_EVERY`] bytes and lets go of the page cache, which is the
/// application's. Remembers its first error, however the caller words it.
pub(super) struct Flushing<'a> {
    file: &'a File,
    written: u64,
    flushed: u64,
    failure: Option<(io::ErrorKind, Option<i32>)>,
}

impl Flushing<'_> {
    /// Bytes written.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// The error that a write met, if any did.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.failure.map(|(kind, code)| code.map_or_else(|| kind.into(), io::Error::from_raw_os_error))
    }

    fn flush_to_disk(&mut self) -> io::Result<()> {
        fdatasync(self.file)?;
        if let Some(length) = NonZeroU64::new(self.written - self.flushed) {
            // Advice only.
            let _ = fadvise(self.file, self.flushed, Some(length), Advice::DontNeed);
        }
        self.flushed = self.written;
        Ok(())
    }
}

impl Write for Flushing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let outcome = self.file.write(bytes).and_then(|n| {
            self.written += n as u64;
            if self.written - self.flushed >= FLUSH_EVERY {
                self.flush_to_disk()?;
            }
            Ok(n)
        });
        if let Err(e) = &outcome
            && e.kind() != io::ErrorKind::Interrupted
        {
            self.failure.get_or_insert((e.kind(), e.raw_os_error()));
        }
        outcome
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
