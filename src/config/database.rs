//! `[database.NAME]`, complete, and `[pool]`.

use std::path::PathBuf;
use std::time::Duration;

use super::backup::{Backup, Keep, Verify};
use super::cleanup::Cleanup;
use super::health::Health;
use super::maintain::{Index, Maintain};
use super::place::Place;
use super::watch::Watch;
use super::when::When;
use crate::terms::JobKind;

/// `[database.NAME]` with all that applies to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Database {
    /// The name used on the command line, in labels and in backup files.
    pub name: String,
    /// The SQLite file.
    pub path: PathBuf,
    /// `[pool]`.
    pub pool: Pool,
    /// `[maintain]`.
    pub maintain: Maintain,
    /// `[backup]`.
    pub backup: Backup,
    /// `[verify]`.
    pub verify: Verify,
    /// `[cleanup]`.
    pub cleanup: Cleanup,
    /// `[health]`.
    pub health: Health,
    /// `[watch]`.
    pub watch: Watch,
    /// `[[database.NAME.index]]`, in the order of the file.
    pub indexes: Vec<Index>,
}

/// Where a backup of a bucket is unpacked to be verified: on a disk, and the system's to clean up.
pub const SCRATCH: &str = "/var/tmp";

impl Database {
    /// The place with this name among the copies, or without a name the backups' own, and which of
    /// the backups there rotation keeps.
    pub fn place(&self, copy: Option<&str>) -> Option<(&Place, Keep)> {
        match copy {
            None => Some((&self.backup.dir, self.backup.keep)),
            Some(name) => {
                self.backup.copies.iter().find(|copy| copy.name == name).map(|copy| (&copy.dir, copy.keep))
            }
        }
    }

    /// The directory in which a backup that lies in `place` is unpacked to be verified.
    pub fn scratch_dir(&self, place: &Place) -> PathBuf {
        match (&self.verify.scratch_dir, place) {
            (Some(directory), _) => directory.clone(),
            (None, Place::Directory(above)) => above.join(&self.name),
            (None, Place::Bucket(_)) => PathBuf::from(SCRATCH),
        }
    }
}

impl Database {
    /// When jobs of this kind run on this database; of one that has no schedule, what maintenance
    /// has.
    pub const fn when(&self, kind: JobKind) -> &When {
        match kind {
            JobKind::Backup => &self.backup.when,
            JobKind::Verify => &self.verify.when,
            JobKind::Cleanup => &self.cleanup.when,
            JobKind::Maintain | JobKind::Checkpoint | JobKind::Recover => &self.maintain.when,
            JobKind::Health => &self.health.when,
            JobKind::Integrity => &self.health.integrity_when,
            JobKind::Watch => &self.watch.when,
        }
    }
}

/// `[pool]`: the connections to one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Connections that stay open while work goes on.
    pub size: usize,
    /// Where none was used for so long, all are closed: then nothing of the database is held.
    pub idle: Duration,
    /// More while there is demand, closed when given back.
    pub max_overflow: usize,
    /// Wait for a connection.
    pub timeout: Duration,
    /// A connection older than this is replaced.
    pub recycle: Duration,
    /// Attempts to get a connection.
    pub retries: u32,
    /// Pause between two attempts.
    pub retry_delay: Duration,
    /// How long a statement waits for the application's lock.
    pub busy_timeout: Duration,
    /// How long a write waits for a pause between the application's transactions; zero: it does not
    /// wait.
    pub pause_timeout: Duration,
}
