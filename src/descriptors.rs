//! File descriptors, of which a process may have so many and no more. Jobs on one database must not
//! starve those on another: who could keep one asks first whether they are scarce.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Of those that there may be, so many are left to who asks for one now: more than one job takes.
const SPARE: u64 = 16;

/// How long a count holds.
const FRESH: Duration = Duration::from_millis(100);

/// Raises the limit of this process to the highest that it may have. In a service whose filter of
/// system calls forbids that, the unit has set it.
pub fn raise() {
    let now = getrlimit(Resource::Nofile);
    if now.current != now.maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
    }
}

/// How many this process may have.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many it has; `None`: that cannot be told.
pub fn open() -> Option<u64> {
    // One of them is what counts them.
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as u64)
}

/// Whether more than half of them are in use. Asked often, it counts ten times a second.
pub fn are_scarce() -> bool {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    static COUNTED: AtomicU64 = AtomicU64::new(u64::MAX);
    static SCARCE: AtomicBool = AtomicBool::new(false);
    let fresh = u64::try_from(FRESH.as_millis()).unwrap_or(u64::MAX);
    let now =
        u64::try_from(BEGAN.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX) / fresh;
    if COUNTED.swap(now, Ordering::Relaxed) != now {
        // Where they cannot be counted, because there is none for that, they are.
        SCARCE.store(open().is_none_or(|open| open > limit() / 2), Ordering::Relaxed);
    }
    SCARCE.load(Ordering::Relaxed)
}

/// Whether what has just failed may have failed because there was none left: SQLite only says that
/// it cannot open a file.
pub fn ran_out() -> bool {
    let tried = openat(CWD, "/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    tried.is_err_and(|e| matches!(e, Errno::MFILE | Errno::NFILE))
        || open().is_some_and(|open| open.saturating_add(SPARE) >= limit())
}

/// What to do where there are too few.
pub const REMEDY: &str = "raise LimitNOFILE= in the daemon's unit, or `ulimit -n` where it runs without one";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_opened_is_counted() {
        let before = open().unwrap();
        let files: Vec<_> = (0..100).map(|_| tempfile::tempfile().unwrap()).collect();
        assert!(
            open().unwrap() >= before.saturating_sub(20) + 100,
            "other tests open and close files as well"
        );
        drop(files);
        assert!(!ran_out());
    }
}
