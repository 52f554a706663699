//! The lock that stands in for those whose files cannot be made, because the state directory's disk
//! is full or read-only, or the directory is gone: one for all databases of a process, on the
//! directory above. Coarse, and so only where there is no other: two processes then work one after
//! the other. Must never be taken beside a file that can be locked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::fs::{Mode, OFlags, openat};

use crate::error::{Error, Reason, Result};
use crate::sqlite::files::place;

/// What a process has locked so: the directory, and the names for which it is held.
static HELD: Mutex<BTreeMap<PathBuf, Held>> = Mutex::new(BTreeMap::new());

#[derive(Default)]
struct Held {
    lock: Weak<Locked>,
    names: BTreeSet<String>,
}

/// Unlocked when it is dropped: a process that was just begun may have the directory open as well.
#[derive(Debug)]
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        // It is closed in any case.
        let _ = self.0.unlock();
    }
}

/// Held as long as it lives.
#[derive(Debug)]
pub(super) struct StandIn {
    above: PathBuf,
    name: String,
    _lock: Arc<Locked>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        if let Some(held) = HELD.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&self.above) {
            held.names.remove(&self.name);
        }
    }
}

/// Whether the file of a lock is missing for want of a disk or a directory, and not because
/// somebody keeps us from it.
pub(super) const fn may_stand_in(why: &Error) -> bool {
    matches!(why.reason, Reason::NoSpace | Reason::ReadOnly | Reason::NotFound | Reason::Io)
}

/// Takes it for the lock `name` of this state directory; or says that another process has it.
pub(super) fn take(directory: &Path, name: &str) -> Result<Result<StandIn, String>> {
    let above = above(directory);
    let mut all = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let held = all.entry(above.clone()).or_default();
    if held.names.contains(name) {
        return Ok(Err(format!("another run (process {})", std::process::id())));
    }
    let lock = match held.lock.upgrade() {
        Some(lock) => lock,
        None => match open(&above)?.try_lock_now()? {
            Some(lock) => Arc::new(lock),
            None => {
                return Ok(Err(String::from("another litekeeper, while the state directory cannot be used")));
            }
        },
    };
    held.lock = Arc::downgrade(&lock);
    held.names.insert(name.to_owned());
    Ok(Ok(StandIn { above, name: name.to_owned(), _lock: lock }))
}

/// Whether another process holds it, or this one for the same name: asked by whoever has the file,
/// which may not have been there when the other began.
pub(super) fn is_in_the_way(directory: &Path, name: &str) -> bool {
    let above = above(directory);
    let all = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(held) = all.get(&above).filter(|held| held.lock.strong_count() > 0) {
        return held.names.contains(name);
    }
    open(&above).is_ok_and(|file| {
        let taken = file.0.try_lock_shared();
        matches!(taken, Err(TryLockError::WouldBlock))
    })
}

fn above(directory: &Path) -> PathBuf {
    directory.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(directory).to_owned()
}

struct Opened(File);

impl Opened {
    fn try_lock_now(self) -> Result<Option<Locked>> {
        match self.0.try_lock() {
            Ok(()) => Ok(Some(Locked(self.0))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => {
                Err(Error::io("cannot lock the directory of the state directory", &e))
            }
        }
    }
}

fn open(above: &Path) -> Result<Opened> {
    let (found, real) = place::directory(above)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened: OwnedFd = openat(&found, ".", flags, Mode::empty())
        .map_err(|e| Error::io(format!("cannot open {}", real.display()), &e.into()))?;
    Ok(Opened(File::from(opened)))
}
