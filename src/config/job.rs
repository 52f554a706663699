//! The kinds of job, and when each is due. Names only: what a job does is not known here.

use std::time::Duration;

use super::{Database, Schedule};

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
    /// Salvage into a new file. Only by command: it has no schedule.
    Recover,
}

impl JobKind {
    /// All that have a schedule.
    pub const ALL: [Self; 7] = [
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
            Self::Recover => "recover",
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
            JobKind::Maintain | JobKind::Recover => &self.maintain.when,
            JobKind::Health => &self.health.when,
            JobKind::Integrity => &self.health.integrity_when,
            JobKind::Watch => &self.watch.when,
        }
    }
}
