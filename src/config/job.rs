//! The kinds of job, and when each is due. Names only: what a job does is not known here.

use std::time::Duration;

use super::{Blackout, Database, Schedule};

/// When a job runs and for how long: the keys that every job's table has.
#[derive(Debug, Clone, PartialEq)]
pub struct When {
    /// The cron expression.
    pub schedule: Schedule,
    /// A run missed while the daemon was down happens once, at start.
    pub catch_up: bool,
    /// Up to this much is added to each due time, the same for the same database, job and time.
    pub jitter: Duration,
    /// A run that takes longer is stopped and fails.
    pub timeout: Duration,
    /// When it does not start; only heavy jobs have any.
    pub blackout: Blackout,
}

/// The kinds of job, in the order in which they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Snapshot, compress, rotate.
    Backup,
    /// Restore the newest backup into scratch space and check it.
    Verify,
    /// Remove rows past their retention.
    Cleanup,
    /// VACUUM, ANALYZE, REINDEX, checkpoint.
    Maintain,
    /// Pool, indexes, table sizes, query performance.
    Health,
    /// `quick_check` or `integrity_check`, and foreign keys.
    Integrity,
    /// The watch-list.
    Watch,
    /// The write-ahead log between two runs of maintenance. Has no schedule.
    Checkpoint,
    /// Salvage into a new file. Only by command: it has no schedule.
    Recover,
}

impl JobKind {
    /// Those that have a schedule.
    pub const SCHEDULED: [Self; 7] = [
        Self::Backup,
        Self::Verify,
        Self::Cleanup,
        Self::Maintain,
        Self::Health,
        Self::Integrity,
        Self::Watch,
    ];

    /// The word used in labels, in the run history and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Verify => "verify",
            Self::Cleanup => "cleanup",
            Self::Maintain => "maintain",
            Self::Health => "health",
            Self::Integrity => "integrity",
            Self::Watch => "watch",
            Self::Checkpoint => "checkpoint",
            Self::Recover => "recover",
        }
    }

    /// Whether it reads or writes much of a database: such jobs share the disks, and may have a blackout.
    pub const fn is_heavy(self) -> bool {
        self.blackout_key().is_some()
    }

    /// Whether a blackout that begins also stops a run at work, between two of its slices: what such a job has done
    /// stays, and the next run goes on. Of the others, half a run is worth nothing.
    pub const fn works_in_slices(self) -> bool {
        matches!(self, Self::Cleanup | Self::Maintain)
    }

    /// The key of the file that holds its blackout, where it may have one.
    pub const fn blackout_key(self) -> Option<&'static str> {
        match self {
            Self::Backup => Some("backup.blackout"),
            Self::Verify => Some("verify.blackout"),
            Self::Cleanup => Some("cleanup.blackout"),
            Self::Maintain => Some("maintain.blackout"),
            Self::Integrity => Some("health.integrity_blackout"),
            Self::Health | Self::Watch | Self::Checkpoint | Self::Recover => None,
        }
    }
}

impl std::fmt::Display for JobKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl Database {
    /// When jobs of this kind run on this database; of one that has no schedule, what maintenance has.
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
