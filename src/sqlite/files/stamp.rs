//! Whether a database may have been written to since somebody looked, told by `stat` of its file
//! and of its write-ahead log: every commit writes to one of the two. Must never open them (HAZARDS
//! H1).
//!
//! `PRAGMA data_version` tells the same only to the connection that asked before, and a pool's
//! connections come and go, as does the process; the file change counter stands still in WAL mode
//! (<https://www.sqlite.org/pragma.html#pragma_data_version>,
//! <https://www.sqlite.org/fileformat2.html>).

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::paths::{resolved, sidecar};

/// Two writes closer together than the clock of the filesystem ticks can have the same time; none
/// ticks slower than this (FAT, 2 s).
const COARSEST_CLOCK: Duration = Duration::from_secs(2);

/// What `stat` said of a database and of its write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    database: Option<File>,
    log: Option<File>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct File {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Seconds since 1970 and nanoseconds of the last change of the content …
    modified: (i64, i64),
    /// … and of the inode, which nobody can set. Not of the log: SQLite run by root gives it its
    /// owner at each open.
    changed: Option<(i64, i64)>,
}

impl Stamp {
    /// Of the files as they are now.
    pub fn of(database: &Path) -> Self {
        let look = |file: &Path| std::fs::metadata(file).ok().map(|m| File::from(&m));
        // One without a byte holds nothing, and comes and goes with each connection.
        let log = look(&sidecar(database, "-wal")).filter(|log| log.bytes > 0);
        let log = log.map(|log| File { changed: None, ..log });
        Self { database: look(&resolved(database)), log }
    }

    /// Bytes of the database's file; 0 where there is none.
    pub fn bytes(&self) -> u64 {
        self.database.map_or(0, |file| file.bytes)
    }

    /// Whether an equal stamp at a later time means that nothing was written in between: not so
    /// shortly after a write, when the next one could get the same time, and not without a file.
    pub fn is_settled(&self, now: SystemTime) -> bool {
        let Ok(now) = now.duration_since(UNIX_EPOCH) else { return false };
        let Some(settled) = now.checked_sub(COARSEST_CLOCK) else { return false };
        let is_past = |(seconds, _): (i64, i64)| u64::try_from(seconds).is_ok_and(|s| s < settled.as_secs());
        let files = self.database.iter().chain(&self.log);
        let mut times = files.flat_map(|file| std::iter::once(file.modified).chain(file.changed));
        self.database.is_some() && times.all(is_past)
    }
}

impl From<&Metadata> for File {
    fn from(stat: &Metadata) -> Self {
        Self {
            device: stat.dev(),
            inode: stat.ino(),
            bytes: stat.len(),
            modified: (stat.mtime(), stat.mtime_nsec()),
            changed: Some((stat.ctime(), stat.ctime_nsec())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_changes_with_the_log_and_settles_after_a_while() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("d.db");
        assert!(!Stamp::of(&path).is_settled(SystemTime::now()), "there is no file");
        std::fs::write(&path, "one").unwrap();
        let first = Stamp::of(&path);
        assert_eq!(first, Stamp::of(&path));
        assert!(!first.is_settled(SystemTime::now()));
        assert!(first.is_settled(SystemTime::now() + 2 * COARSEST_CLOCK));
        std::fs::write(directory.path().join("d.db-wal"), "").unwrap();
        assert_eq!(first, Stamp::of(&path), "an empty log holds nothing");
        std::fs::write(directory.path().join("d.db-wal"), "two").unwrap();
        assert_ne!(first, Stamp::of(&path));
    }
}
